"""`mvit-np evaluate`: how often a model is right on a data set, by several views per example."""

from __future__ import annotations

import csv
import io
import time
from argparse import Namespace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..backend.outputs import check_not_read, check_outside, claim, make_folder, own, write
from ..backend.plain_text import plain
from ..backend.tiles import threads, use_threads
from ..data import NORMALISATIONS
from ..train import run as runs
from ..train.answers import prediction_rows, worst_mistakes
from ..train.distributed import communicator
from .arguments import MISTAKES, Commands, count, file_path, positive, views
from .terminal import BAR, say

METRICS, CONFUSION = EARLIER = "metrics.csv", "confusion.png"  # an earlier version's too
PREDICTIONS, MISTAKES_DRAWN = "predictions.csv", "mistakes.png"
WRITTEN = (*EARLIER, PREDICTIONS, MISTAKES_DRAWN)
LEAST = 3  # classes that are printed


def add(commands: Commands) -> None:
    """The command's options."""
    parser = commands.add_parser(
        "evaluate", help="measure the accuracy of a model, or of a run, on a data set"
    )
    option = parser.add_argument
    model = "a file of parameters, or the folder of a run"
    best = "for a run: take the parameters of its best test, not the last ones"
    data = "a built-in set, a folder of class/video.mp4, or a list (default for a run: its tests)"
    root = "where relative paths of a list start (default: the run's, else the list's folder)"
    shown = "views: clips in time x crops in space (default: the run's, else 5x1)"
    tau = "frames of 1/30 s from one frame to the next (default: the model's, else 4)"
    batch = "views that go through the model together (%(default)s)"
    out = "folder for the tables and figures (default for a run: RUN/evaluation)"

    option("model", type=file_path, metavar="WEIGHTS", help=model)
    option("--best", action="store_true", help=best)
    option("--data", type=file_path, metavar="DATA", help=data)
    option("--data_root", "--data-root", type=file_path, metavar="FOLDER", help=root)
    option("--views", type=views, metavar="CxS", help=shown)
    option("--tau", type=positive, help=tau)
    how = "how pixels are normalised (default: as the model says)"
    option("--normalise", choices=NORMALISATIONS, help=how)
    option("--batch", type=count, default=32, help=batch)
    workers = "threads that read files in advance (%(default)s)"
    option("--workers", type=int, default=2, help=workers)
    option("--device", default="cpu", help="cpu, cuda or cuda:N (%(default)s)")
    option("--out", type=file_path, metavar="FOLDER", help=out)
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Evaluate a model, print how it does, and write the table and the figure."""
    comm, start = communicator(), time.perf_counter()
    with comm.guarding(MISTAKES), use_threads(max(1, threads() // comm.local_size)):
        found = runs.trained(arguments.model, arguments.device, arguments.best)
        asked = {name: getattr(arguments, name) for name in ("data", "views", "tau", "normalise")}
        asked["data_root"] = arguments.data_root
        test = runs.test_of(found, **asked, say=say if comm.rank == 0 else None)
        read = [arguments.model, test.name]
        out = _folder_for(arguments.out, found, read) if comm.rank == 0 else None
        result = _evaluate(found, test, arguments, comm)
    if comm.rank == 0:
        seconds = time.perf_counter() - start
        counted = f"{result.examples} examples of {len(result.classes)} classes"
        print(f"{counted}, {test.shown}; {seconds:.0f} s")
        print(f"top-1 {result.top1:7.2%}\ntop-5 {result.top5:7.2%}\nloss  {result.loss:7.3f}")
        if len(result.classes) > 2:
            print(_known_least(result))
        for path in _written(result, test.data, out):
            print(f"wrote {plain(path)}")
    return 0


def _evaluate(found, test, arguments, comm):
    options = {"batch": arguments.batch, "workers": arguments.workers, "comm": comm}
    share = range(comm.rank, len(test.data), comm.size)
    drawn = {"unit": " examples", "bar_format": BAR, "dynamic_ncols": True}
    with tqdm(total=len(share), **drawn, disable=comm.rank > 0) as bar:

        def progress(so_far):
            numbers = {"loss": f"{so_far.loss:.3f}", "acc": f"{so_far.top1:.1%}"}
            bar.set_postfix(numbers, refresh=False)
            bar.update(so_far.examples - bar.n)

        return runs.evaluated(found, test, progress=progress, on_broken=_leave_out, **options)


def _leave_out(name, reason):
    say(f"{name} is left out: {reason}")


def _folder_for(out, found, read):
    """The folder to write into, made, or None. Raises ValueError where it is another command's."""
    usual = found.folder and found.folder / "evaluation"
    folder = usual if out is None else Path(out)
    if folder is None:
        return None
    check_not_read([folder / name for name in WRITTEN], read)
    check_outside(folder, read[1:])
    make_folder(folder)
    if usual and folder.resolve() == usual.resolve():  # an earlier version left no note there
        claim(folder, "evaluate", EARLIER)
    own(folder, "evaluate", WRITTEN)
    return folder


def _known_least(result):
    """The classes of the smallest share of right answers, in a line."""
    order = np.argsort(np.where(np.isnan(result.recall), np.inf, result.recall), kind="stable")
    counts = result.confusion.sum(axis=1)
    least = [k for k in order[:LEAST] if counts[k]]
    said = [f"{plain(result.classes[k])} {result.recall[k]:.1%} of {counts[k]}" for k in least]
    return f"known least: {', '.join(said)}"


def _written(result, data, folder):
    """The rows of classes and of examples, the confusion matrix and the worst mistakes."""
    if folder is None:
        return
    from .. import visualize

    yield _table(folder / METRICS, _class_rows(result))
    yield _table(folder / PREDICTIONS, prediction_rows(result.answers, data, result.classes))
    yield visualize.save(visualize.confusion_figure(result), folder / CONFUSION)
    mistakes = worst_mistakes(result.answers, data, result.classes)
    if mistakes:
        figure = visualize.mistakes_figure(mistakes, result)
        yield visualize.save(figure, folder / MISTAKES_DRAWN)
    else:
        (folder / MISTAKES_DRAWN).unlink(missing_ok=True)  # of an earlier model


def _class_rows(result):
    """The rows of metrics.csv, the titles first."""
    taken_for = [f"taken for {name}" for name in result.classes]
    yield ["class", "examples", "right", "accuracy", "precision", *taken_for]
    for k, (name, row) in enumerate(zip(result.classes, result.confusion)):
        shares = [
            "" if np.isnan(x) else f"{x:.6f}" for x in (result.recall[k], result.precision[k])
        ]
        yield [name, row.sum(), row[k], *shares, *row]


def _table(path, rows):
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    write(path, text.getvalue())
    return path
