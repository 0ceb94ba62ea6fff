"""`mvit-np evaluate`: how often a model is right on a data set, from several views of each example."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path

from tqdm import tqdm

from ..backend.outputs import check_apart, check_not_read, claim, make_folder, own, write
from ..backend.plain_text import plain
from ..backend.tiles import threads, use_threads
from ..data import NORMALISATIONS
from ..train import run as runs
from ..train.distributed import communicator
from .arguments import MISTAKES, count, place, positive
from .classify import views
from .terminal import say

METRICS, CONFUSION = WRITTEN = "metrics.csv", "confusion.png"
BAR = "{percentage:3.0f}%|{bar}| {rate_fmt}, {remaining} left{postfix}"


def add(commands):
    """The command's options."""
    parser = commands.add_parser(
        "evaluate", help="the accuracy of a model, or of a run, on a data set"
    )
    parser.add_argument(
        "model", type=place, metavar="WEIGHTS", help="a file of parameters, or the folder of a run"
    )
    parser.add_argument(
        "--best",
        action="store_true",
        help="of a run: the parameters of its best test, not the last ones",
    )
    parser.add_argument(
        "--data",
        type=place,
        metavar="DATA",
        help="a built-in set, a folder of class/video.mp4, a CSV (a run: its tests)",
    )
    parser.add_argument(
        "--views",
        type=views,
        metavar="CxS",
        help="clips in time x crops in space (5x1, or as the run has it)",
    )
    parser.add_argument(
        "--tau",
        type=positive,
        help="frames of 1/30 s between a clip's (as the model tells, else 4)",
    )
    parser.add_argument(
        "--normalise", choices=NORMALISATIONS, help="the weights' (as the model tells)"
    )
    parser.add_argument(
        "--batch",
        type=count,
        default=32,
        help="views that go through the model together (%(default)s)",
    )
    parser.add_argument(
        "--workers", type=int, default=2, help="threads that read files ahead (%(default)s)"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (%(default)s)")
    parser.add_argument(
        "--out",
        type=place,
        metavar="FOLDER",
        help="for metrics.csv and confusion.png (a run's: its folder/evaluation)",
    )
    parser.set_defaults(run=run)


def run(arguments):
    """Evaluate, print, write."""
    comm, start = communicator(), time.perf_counter()
    with comm.guarding(MISTAKES), use_threads(max(1, threads() // comm.local_size)):
        found = runs.trained(arguments.model, arguments.device, arguments.best)
        asked = {name: getattr(arguments, name) for name in ("data", "views", "tau", "normalise")}
        test = runs.test_of(found, **asked, say=say if comm.rank == 0 else None)
        out = _place(arguments.out, found, [arguments.model, test.name]) if comm.rank == 0 else None
        result = _evaluate(found, test, arguments, comm)
    if comm.rank == 0:
        seconds = time.perf_counter() - start
        print(
            f"{result.examples} examples of {len(result.classes)} classes, {test.shown}; "
            f"{seconds:.0f} s"
        )
        print(f"top-1 {result.top1:7.2%}\ntop-5 {result.top5:7.2%}\nloss  {result.loss:7.3f}")
        for path in _written(result, out):
            print(f"wrote {plain(path)}")
    return 0


def _evaluate(found, test, arguments, comm):
    options = {"batch": arguments.batch, "workers": arguments.workers, "comm": comm}
    shares = range(comm.rank, len(test.data), comm.size)
    with tqdm(
        total=len(shares),
        unit=" examples",
        dynamic_ncols=True,
        bar_format=BAR,
        disable=comm.rank > 0,
    ) as bar:

        def progress(so_far):
            bar.set_postfix(
                {"loss": f"{so_far.loss:.3f}", "acc": f"{so_far.top1:.1%}"}, refresh=False
            )
            bar.update(so_far.examples - bar.n)

        return runs.evaluated(found, test, progress=progress, on_broken=_leave_out, **options)


def _leave_out(name, reason):
    say(f"{name} is left out: {reason}")


def _place(out, found, read):
    """The folder to write into, or None: made, and noted as this command's. Raises ValueError where
    it is another's.
    """
    usual = found.folder and found.folder / "evaluation"
    folder = usual if out is None else Path(out)
    if folder is None:
        return None
    check_not_read([folder / name for name in WRITTEN], read)
    check_apart(folder, read[1:])
    make_folder(folder)
    if usual and folder.resolve() == usual.resolve():  # an earlier version left no note there
        claim(folder, "evaluate", WRITTEN)
    else:
        own(folder, "evaluate", WRITTEN)
    return folder


def _written(result, folder):
    """metrics.csv, a row a class, and the confusion matrix."""
    if folder is None:
        return
    from .. import visualize

    table = io.StringIO()
    lines = csv.writer(table)
    lines.writerow(
        ["class", "examples", "right", *(f"taken for {name}" for name in result.classes)]
    )
    for name, row, right in zip(result.classes, result.confusion, result.confusion.diagonal()):
        lines.writerow([name, row.sum(), right, *row])
    write(folder / METRICS, table.getvalue())
    yield folder / METRICS
    yield visualize.save(visualize.confusion_figure(result), folder / CONFUSION)
