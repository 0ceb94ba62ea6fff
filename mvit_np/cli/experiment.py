"""`mvit-np experiment`: a small ablation like the paper's, trained here; or the page of all."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

from tqdm import tqdm

from ..backend.outputs import carries, check_free, claim, is_drawn_here, make_folder, own, write
from ..backend.plain_text import plain
from ..studies.ablations import findings, page
from ..studies.ablations import run as runner
from ..studies.ablations.table import EXPERIMENTS, experiment
from .arguments import Commands, count, file_path

BAR = "{percentage:3.0f}%|{bar}| {remaining} left, {desc}{postfix}"
OUT = "mvit_experiment"
RESULTS, TABLE, FIGURE = WRITTEN = "results.json", "table.md", "figure.png"
PAGE = b"Written by `mvit-np experiment"  # in the page of all


def add(commands: Commands) -> None:
    """The command's options."""
    parser = commands.add_parser(
        "experiment", help="repeat one of the paper's ablations at small scale, in minutes"
    )
    option = parser.add_argument
    out = f"folder for results.json, table.md and figure.png ({OUT}/NAME)"
    everything = "run what is missing of all experiments, and write docs/experiments.md into FILE"

    option("name", metavar="NAME", nargs="?", help=f"one of {', '.join(EXPERIMENTS)}")
    option("--seeds", type=count, default=3, metavar="N", help="runs per variant (%(default)s)")
    option("--steps", type=count, metavar="N", help="steps per run (default: the experiment's own)")
    option("--out", type=file_path, metavar="FOLDER", help=out)
    option("--page", type=file_path, metavar="FILE", help=everything)
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Train what is not in the results yet, print the table, write the files."""
    if arguments.page:
        return _page(arguments)
    if not arguments.name:
        raise ValueError(
            f"there are the experiments {', '.join(EXPERIMENTS)}: "
            "name one, or give --page FILE for all"
        )
    chosen = experiment(arguments.name)
    folder = Path(arguments.out or Path(OUT) / chosen.name)
    make_folder(folder)
    results = _begun(chosen, folder / RESULTS, arguments)
    # Results of an earlier version, which left no note, vouch for what is beside them.
    note = claim if results["runs"] else own
    note(folder, "experiment", WRITTEN)
    results = _measured(chosen, results, folder / RESULTS, arguments)
    print("\n".join(["", f"{chosen.table}: {chosen.question}", *page.plain(chosen, results), ""]))
    for path in _written(chosen, results, folder):
        print(f"wrote {plain(path)}")
    return 0


def _begun(chosen, path, arguments):
    """The results that are there, or such without runs."""
    try:
        return runner.begun(chosen, arguments.steps, _read(path))
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None


def _measured(chosen, results, path, arguments):
    """The results of all runs; each is on the disk as soon as it is done."""
    todo, steps = runner.left(chosen, results, arguments.seeds), results["steps"]
    total = len(chosen.variants) * arguments.seeds * steps
    drawn = {"bar_format": BAR, "dynamic_ncols": True, "disable": not todo}
    with tqdm(total=total, initial=total - len(todo) * steps, **drawn) as bar:

        def show(at):
            bar.set_description_str(f"{chosen.name}: {at.variant}, seed {at.seed}", refresh=False)
            bar.set_postfix({"loss": f"{at.loss:.3f}", "acc": f"{at.accuracy:.0%}"}, refresh=False)
            bar.update()

        for longer in runner.run(chosen, results, arguments.seeds, on_step=show):
            results, last = longer, longer["runs"][-1]
            _write(path, json.dumps(results, indent=1) + "\n")
            scores = ", ".join(f"{share:.1%} {test}" for test, share in last["accuracy"].items())
            which = f"{last['variant']}, seed {last['seed']}"
            tqdm.write(f"{which}: {scores}, {last['seconds']:.0f} s")
    return results


def _written(chosen, results, folder):
    yield folder / RESULTS
    yield _write(folder / TABLE, page.section(chosen, results, figure=FIGURE) + "\n")
    yield _draw(chosen, results, folder / FIGURE)


def _page(arguments):
    """Results in a folder of the page's name, a file each; figures beside."""
    if arguments.out:
        raise ValueError(
            "--page keeps results in a folder of the page's name, --out another: give one of them"
        )
    target = Path(arguments.page)
    names = [experiment(arguments.name).name] if arguments.name else list(EXPERIMENTS)
    begun = _begun_page(target, names, arguments)
    for name in names:
        _measured(EXPERIMENTS[name], begun[name], _kept(target, name), arguments)
    found = _found(target)
    for name, results in found.items():
        print(f"wrote {plain(_draw(EXPERIMENTS[name], results, _figure(target, name)))}")
    print(f"wrote {plain(_write(target, page.page(found)))}")
    return 0


def _begun_page(target, names, arguments):
    """{name: results to go on with}; first, before any training, what is wrong with the files."""
    if not target.suffix:
        raise ValueError(
            f"--page is a file such as {target}.md, with results in the folder {target}: "
            "give its ending too"
        )
    check_free(target, _is_page)
    begun = {name: _begun(EXPERIMENTS[name], _kept(target, name), arguments) for name in names}
    for name in {**begun, **_found(target)}:  # a page of ours vouches for the figures beside it
        check_free(_figure(target, name), lambda figure: is_drawn_here(figure) or _is_page(target))
    make_folder(target.with_suffix(""))
    return begun


def _found(target):
    return {name: results for name in EXPERIMENTS if (results := _read(_kept(target, name)))}


def _is_page(path):
    return carries(path, PAGE)


def _figure(target, name):
    return target.parent / page.FIGURE.format(name=name)


def _kept(target, name):
    return target.with_suffix("") / f"{name}.json"


def _read(path):
    """Results written before; None where there are none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("runs"), list):
        raise ValueError(
            "these are no results of mvit-np experiment: delete them, or give another folder"
        )
    return found


def _write(path, text):
    write(path, text)
    return path


def _draw(chosen, results, path):
    from .. import visualize

    words = f"{chosen.table} at small scale: {page.about(chosen, results)}"
    figure = visualize.experiment_figure(
        findings.lines(chosen, results), chosen.question, words, results["chance"]
    )
    return visualize.save(figure, path)
