"""`mvit-np bench`: how fast, large and exact a model is on this machine, also beside PyTorch."""

from __future__ import annotations

import json
import shlex
import sys
from argparse import ArgumentTypeError, Namespace
from functools import partial
from pathlib import Path

from ..backend import tiles
from ..backend.plain_text import plain
from ..backend.precision import PRECISIONS
from ..model.text_table import aligned, wrapped
from .arguments import Commands, count, file_path
from .bench_files import check_targets, picture, read, write
from .terminal import WIDTH

DEFAULT = "mvit_b_16x4"
ON_DEVICE = ("precision", "only", "go_on")
OF_STEPS = ("checkpoint", "keep_hidden")
NOT_ON_DEVICE = ("threads", "dtype", *OF_STEPS, "profile", "accuracy", "scaling", "figure")
OF_ONE = (*"preset batch mode dtype profile accuracy scaling figure json".split(), *OF_STEPS)


def add(commands: Commands) -> None:
    """The command's options."""
    parser = commands.add_parser(
        "bench", help="measure time, memory and accuracy of a model here, also beside PyTorch's"
    )
    option = parser.add_argument
    number = partial(option, type=count, metavar="N")
    switch = partial(option, action="store_true")
    file = partial(option, type=file_path, metavar="FILE")
    modes, parts = ("forward", "step", "both"), ("cases", "kernels", "curves")

    option("preset", metavar="PRESET", nargs="?", help=f"the model ({DEFAULT})")
    number("--batch", help="clips per call (1)")
    number("--threads", help="number of threads, ours and each peer's (all cores)")
    option("--mode", choices=modes, help="a step is forward, backward and AdamW (both)")
    number("--rounds", default=6, help="number of turns; the median is shown (%(default)s)")
    option("--dtype", choices=("float32", "float64"), help="of all arrays (float32)")
    switch("--checkpoint", help="steps keep only the blocks' inputs")
    switch("--keep-hidden", help="steps keep the MLPs' hidden layers too")
    option(
        "--against",
        type=peers_of,
        metavar="NAMES",
        default=(),
        help="what to compare with, in turns: torchvision's MViT (torch), its forward pass in "
        "onnxruntime or openvino, our definitions alone (plain); for instance torch,openvino",
    )
    switch("--profile", help="list every op: calls, time, share, times its floor")
    switch("--accuracy", help="compare logits and gradients with those in float64")
    switch("--scaling", help="time and memory for several numbers of frames and sizes (minutes)")
    file("--figure", help="draw the result of --scaling into FILE")
    file("--json", help="also write all numbers into FILE")
    file("--page", help="measure all that docs/performance.md shows, and write the page to FILE")
    file("--from", dest="source", metavar="JSON", help="write the page from the numbers in JSON")
    device = "a device, such as cuda: measure there, all cases or those of PRESET"
    option("--device", metavar="NAME", help=device)
    option("--precision", choices=tuple(PRECISIONS), help="on a device: the precision (all three)")
    option("--only", choices=parts, help="on a device: only speed, kernels or losses")
    switch("--go-on", help="on a device: keep the numbers that the file already holds")
    parser.set_defaults(run=run)


def peers_of(text: str) -> tuple[str, ...]:
    """torch,plain -> ("torch", "plain")"""
    from ..studies.bench.suite import PEERS

    names = tuple(dict.fromkeys(text.split(",")))
    if unknown := [name for name in names if name not in PEERS]:
        rule = f"some of {', '.join(PEERS)}, with commas between"
        raise ArgumentTypeError(f"{rule}; came {unknown[0]!r}")
    return names


def run(arguments: Namespace) -> int:
    """Measure, then print the tables; or write the page, its numbers and its figure."""
    if arguments.device not in (None, "cpu"):
        return _device(arguments)
    _check(arguments)
    if arguments.page:
        return _page(arguments)
    from ..studies.bench import suite

    threads = arguments.threads or tiles.threads()
    settings = suite.Settings(threads, arguments.rounds, arguments.against)
    results = suite.run(_plan(arguments), settings, _command(arguments), _tell)
    for line in _lines(results):
        print(line)
    if arguments.json:
        print(f"wrote {write(arguments.json, json.dumps(results, indent=1))}")
    if arguments.figure and results["scaling"]:
        print(f"wrote {_draw(results, picture(arguments.figure))}")
    return 0


def _check(arguments):
    if extra := [name for name in ON_DEVICE if getattr(arguments, name)]:
        raise ValueError(f"--{_spelled(extra[0])} is for a device: give --device cuda too")
    if arguments.page and (extra := [name for name in OF_ONE if getattr(arguments, name)]):
        came = ", ".join(map(_spelled, extra))
        raise ValueError(
            f"--page measures what docs/performance.md shows; came with {came}: give it alone"
        )
    if arguments.source and not arguments.page:
        raise ValueError("--from says what numbers a page is of: give --page FILE too")
    if arguments.figure and not arguments.scaling:
        raise ValueError("--figure draws a scaling run: give --scaling too")
    check_targets(arguments)


def _spelled(name):
    return name.replace("_", "-")


def _plan(arguments):
    from ..studies.bench.suite import Case, Plan
    from ..studies.bench.workloads import MODES, Workload

    modes = MODES if arguments.mode in (None, "both") else (arguments.mode,)
    name, of_all = arguments.preset or DEFAULT, (arguments.batch or 1, arguments.dtype or "float32")
    kept = {field: getattr(arguments, field) for field in OF_STEPS}
    calls = [Workload(name, mode, *of_all, **kept if mode == "step" else {}) for mode in modes]
    return Plan(
        tuple(map(Case, calls)),
        accuracy=tuple(calls[-1:]) if arguments.accuracy else (),
        profiles=tuple(calls) if arguments.profile else (),
        scaling=name if arguments.scaling else None,
    )


def _command(arguments):
    return shlex.join(["mvit-np", *arguments.typed])


def _tell(words):
    print(words, file=sys.stderr, flush=True)


def _lines(results):
    """What is printed."""
    from ..studies.bench import tables

    yield wrapped(tables.machine_line(results), WIDTH)
    yield wrapped(tables.roof_line(results), WIDTH)
    for case in results["cases"]:
        yield from _table(case["title"], *tables.case_table(case, results["roof"]))
    if errors := results["accuracy"]:
        yield from _table("relative errors against float64", *tables.accuracy_table(errors))
    for profile in results["profiles"]:
        yield from _table(f"{profile['title']}, by op", *tables.profile_table(profile))
    if scaling := results["scaling"]:
        table = tables.scaling_table(scaling["points"])
        yield from _table(f"{scaling['preset']}, one clip", *table)


def _table(title, head, rows):
    return ["", title, *aligned([head, *rows], left=1)]


# -- the page --------------------------------------------------------------------------------------


def _page(arguments):
    from ..studies.bench import page

    target = Path(arguments.page)
    numbers = target.with_suffix(".json")
    if arguments.source:
        results = read(arguments.source)
    else:
        results = _measured(arguments)
        print(write(numbers, json.dumps(results, indent=1) + "\n"))
    print(write(target, page.render(results)))
    if results["scaling"]:
        print(_draw(results, target.parent / page.FIGURE))
    return 0


def _measured(arguments):
    from ..studies.bench import peers, suite

    against = arguments.against or ("torch",) * peers.available()
    settings = suite.Settings(arguments.threads or tiles.threads(), arguments.rounds, against)
    return suite.run(suite.PAGE, settings, _command(arguments), _tell)


def _draw(results, path):
    from .. import visualize

    figure = visualize.scaling_figure(results["scaling"], results["roof"]["flops_per_s"])
    return plain(visualize.save(figure, path))


# -- on a device -----------------------------------------------------------------------------------


def _device(arguments):
    """Measure a plan's parts, each written and printed as soon as it is known."""
    _check_device(arguments)
    from ..studies.bench.device import page, suite

    if arguments.source:
        print(write(arguments.page, page.render(read(arguments.source, suite.KIND))))
        return 0
    beside_page = arguments.page and Path(arguments.page).with_suffix(".json")
    files = [Path(file) for file in (arguments.json, beside_page) if file]
    against = "torch" in arguments.against
    bench = suite.bench(arguments.device, against)
    there = [file for file in files if file.exists()] if arguments.go_on else []
    before = read(there[0], suite.KIND) if there else None
    settings, results = suite.Settings(arguments.rounds, _command(arguments), _tell), before
    for results, name, newest in suite.run(_parts(arguments, against), bench, settings, before):
        for file in files:
            write(file, json.dumps(results, indent=1) + "\n")
        print("\n".join(_part_lines(results, name, newest)), flush=True)
    if arguments.page and results:
        print(write(arguments.page, page.render(results)))
    return 0


def _check_device(arguments):
    if extra := [name for name in arguments.against if name != "torch"]:
        raise ValueError(f"on a device the peer is torch alone; came {extra[0]}: leave it out")
    if extra := [name for name in NOT_ON_DEVICE if getattr(arguments, name)]:
        raise ValueError(
            f"--{_spelled(extra[0])} is for the processor: leave it out, or leave out --device"
        )
    if arguments.source and not arguments.page:
        raise ValueError("--from says what numbers a page is of: give --page FILE too")
    if arguments.go_on and not (arguments.json or arguments.page):
        raise ValueError(
            "--go-on keeps what a file of numbers has: give --json FILE or --page FILE too"
        )
    check_targets(arguments)


def _parts(arguments, against):
    """The whole plan, or of what was chosen the cases alone."""
    from ..studies.bench.device.plan import whole
    from ..studies.bench.workloads import MODES

    chosen = {"models": arguments.preset, "batches": arguments.batch}
    chosen["precisions"] = arguments.precision
    chosen["modes"] = arguments.mode if arguments.mode in MODES else None
    chosen = {name: (value,) for name, value in chosen.items() if value}
    return whole(**chosen, against=against, only=arguments.only or ("cases" if chosen else None))


def _part_lines(results, name, newest):
    from ..studies.bench.device import tables

    if sum(len(results[part]) for part in ("cases", "kernels", "curves")) == 1:
        yield wrapped(tables.card_line(results), WIDTH)
        yield wrapped(tables.roof_line(results), WIDTH)
    yield from _table(newest["title"], *tables.newest(name, newest, results["roofs"]))
