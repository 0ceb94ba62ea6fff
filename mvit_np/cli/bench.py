"""`mvit-np bench`: how fast, how large and how exact a model is on this machine, beside PyTorch
where asked for.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

from ..backend import tiles
from ..backend.plain_text import plain
from ..backend.precision import PRECISIONS
from ..model.text_table import aligned, wrapped
from .arguments import count, place
from .bench_files import check_targets, picture, read, write

DEFAULT, WIDTH = "mvit_b_16x4", 80  # characters
ON_DEVICE = ("precision", "only", "go_on")
NOT_ON_DEVICE = ("threads", "dtype", "checkpoint", "profile", "accuracy", "scaling", "figure")
OF_ONE = (
    "preset",
    "batch",
    "mode",
    "dtype",
    "profile",
    "accuracy",
    "scaling",
    "figure",
    "json",
    "checkpoint",
)


def add(commands):
    """The command's options."""
    parser = commands.add_parser(
        "bench", help="time, memory and accuracy of a model on this machine, beside PyTorch's"
    )
    parser.add_argument("preset", metavar="PRESET", nargs="?", help=f"the model ({DEFAULT})")
    parser.add_argument("--batch", type=count, metavar="N", help="clips in a call (1)")
    parser.add_argument(
        "--threads", type=count, metavar="N", help="of ours and of torch's (all cores)"
    )
    parser.add_argument(
        "--mode",
        choices=("forward", "step", "both"),
        help="a step: forward, backward, AdamW (both)",
    )
    parser.add_argument(
        "--rounds",
        type=count,
        metavar="N",
        default=6,
        help="turns, of which the median is told (%(default)s)",
    )
    parser.add_argument("--dtype", choices=("float32", "float64"), help="(float32)")
    parser.add_argument(
        "--checkpoint", action="store_true", help="steps keep only the blocks' inputs"
    )
    parser.add_argument(
        "--against", choices=("torch",), help="also torchvision's MViT, taking turns with ours"
    )
    parser.add_argument(
        "--profile", action="store_true", help="every op: calls, time, share, distance to its floor"
    )
    parser.add_argument(
        "--accuracy", action="store_true", help="logits and gradients against float64"
    )
    parser.add_argument(
        "--scaling", action="store_true", help="time and memory against frames and size (minutes)"
    )
    parser.add_argument("--figure", type=place, metavar="FILE", help="draw the scaling run")
    parser.add_argument("--json", type=place, metavar="FILE", help="also write all numbers there")
    parser.add_argument(
        "--page",
        type=place,
        metavar="FILE",
        help="measure all that docs/performance.md shows and write it there",
    )
    parser.add_argument(
        "--from",
        type=place,
        dest="source",
        metavar="JSON",
        help="write the page of numbers measured before",
    )
    parser.add_argument(
        "--device", metavar="NAME", help="where, such as cuda: a whole plan there, or PRESET"
    )
    parser.add_argument("--precision", choices=tuple(PRECISIONS), help="on a device (all three)")
    parser.add_argument(
        "--only",
        choices=("cases", "kernels", "curves"),
        help="on a device: speed, kernels or losses alone",
    )
    parser.add_argument(
        "--go-on",
        action="store_true",
        help="on a device, keep what the file of numbers has already",
    )
    parser.set_defaults(run=run)


def run(arguments):
    """Measure, then print the tables; or write the page, its numbers and its figure."""
    if arguments.device not in (None, "cpu"):
        return _device(arguments)
    _check(arguments)
    if arguments.page:
        return _page(arguments)
    from ..studies.bench import suite

    against = arguments.against is not None
    settings = suite.Settings(arguments.threads or tiles.threads(), arguments.rounds, against)
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
        raise ValueError(
            f"--page measures what docs/performance.md shows; came with {', '.join(extra)}: give it "
            "alone"
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
    name, batch, dtype = (
        arguments.preset or DEFAULT,
        arguments.batch or 1,
        arguments.dtype or "float32",
    )
    calls = [
        Workload(name, mode, batch, dtype, arguments.checkpoint and mode == "step")
        for mode in modes
    ]
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

    yield from (
        wrapped(line, WIDTH) for line in (tables.machine_line(results), tables.roof_line(results))
    )
    for case in results["cases"]:
        yield from _table(case["title"], *tables.case_table(case, results["roof"]))
    if results["accuracy"]:
        yield from _table(
            "relative errors against float64", *tables.accuracy_table(results["accuracy"])
        )
    for profile in results["profiles"]:
        yield from _table(f"{profile['title']}, by op", *tables.profile_table(profile))
    if results["scaling"]:
        yield from _table(
            f"{results['scaling']['preset']}, one clip",
            *tables.scaling_table(results["scaling"]["points"]),
        )


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

    settings = suite.Settings(
        arguments.threads or tiles.threads(),
        arguments.rounds,
        bool(arguments.against or peers.available()),
    )
    return suite.run(suite.PAGE, settings, _command(arguments), _tell)


def _draw(results, path):
    from .. import visualize

    return plain(
        visualize.save(
            visualize.scaling_figure(results["scaling"], results["roof"]["flops_per_s"]), path
        )
    )


# -- on a device -----------------------------------------------------------------------------------


def _device(arguments):
    """Measure a plan's parts, each written and printed as soon as it is known."""
    _check_device(arguments)
    from ..studies.bench.device import page, suite

    if arguments.source:
        print(write(arguments.page, page.render(read(arguments.source, suite.KIND))))
        return 0
    files = [
        Path(file)
        for file in (arguments.json, arguments.page and Path(arguments.page).with_suffix(".json"))
        if file
    ]
    against = arguments.against is not None
    bench = suite.bench(arguments.device, against)
    there = [file for file in files if file.exists()] if arguments.go_on else []
    before = read(there[0], suite.KIND) if there else None
    settings, results = suite.Settings(arguments.rounds, _command(arguments), _tell), before
    for results, name, newest in suite.run(_parts(arguments, against), bench, settings, before):
        for file in files:
            write(file, json.dumps(results, indent=1) + "\n")
        print("\n".join(_part_lines(results, name, newest)), flush=True)
    if arguments.page:
        print(write(arguments.page, page.render(results)))
    return 0


def _check_device(arguments):
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

    chosen = {
        "models": arguments.preset,
        "batches": arguments.batch,
        "precisions": arguments.precision,
    }
    chosen["modes"] = arguments.mode if arguments.mode in MODES else None
    chosen = {name: (value,) for name, value in chosen.items() if value}
    return whole(**chosen, against=against, only=arguments.only or ("cases" if chosen else None))


def _part_lines(results, name, newest):
    from ..studies.bench.device import tables

    if sum(len(results[part]) for part in ("cases", "kernels", "curves")) == 1:
        yield from (
            wrapped(line, WIDTH) for line in (tables.card_line(results), tables.roof_line(results))
        )
    yield from _table(newest["title"], *tables.newest(name, newest, results["roofs"]))
