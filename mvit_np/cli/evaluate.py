"""`mvit-np evaluate`: how often a model is right on a data set, from several views of each example."""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path

from tqdm import tqdm

from .. import runs
from ..tiles import threads, use_threads
from ..train.distributed import communicator
from .arguments import MISTAKES, count
from .classify import views

BAR = "{percentage:3.0f}%|{bar}| {rate_fmt}, {remaining} left{postfix}"


def add(commands):
    """The command's options."""
    parser = commands.add_parser("evaluate", help="the accuracy of a model, or of a run, on a data set")
    parser.add_argument("model", metavar="WEIGHTS", help="a file of parameters, or the folder of a run")
    parser.add_argument("--data", metavar="DATA", help="a built-in set, a folder of class/video.mp4, a CSV (a run: its tests)")
    parser.add_argument("--views", type=views, metavar="CxS", help="clips in time x crops in space (5x1, or as the run has it)")
    parser.add_argument("--tau", type=float, help="frames of 1/30 s between a clip's (4, or as the run has it)")
    parser.add_argument("--normalise", choices=("video", "imagenet", "clip"), help="the weights' (as the model tells)")
    parser.add_argument("--batch", type=count, default=32, help="views that go through the model together (%(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="threads that read files ahead (%(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (%(default)s)")
    parser.add_argument("--out", metavar="FOLDER", help="for metrics.csv and confusion.png (a run's: its folder/evaluation)")
    parser.set_defaults(run=run)


def run(arguments):
    """Evaluate, print, write."""
    comm, start = communicator(), time.perf_counter()
    with comm.guarding(MISTAKES), use_threads(max(1, threads() // comm.local_size)):
        found = runs.trained(arguments.model, arguments.device)
        asked = {name: getattr(arguments, name) for name in ("data", "views", "tau", "normalise")}
        test = runs.test_of(found, **asked)
        result = _evaluate(found, test, arguments, comm)
    if comm.rank == 0:
        seconds = time.perf_counter() - start
        print(f"{result.examples} examples of {len(result.classes)} classes, {test.shown}; {seconds:.0f} s")
        print(f"top-1 {result.top1:7.2%}\ntop-5 {result.top5:7.2%}\nloss  {result.loss:7.3f}")
        for path in _written(result, arguments.out or _folder_of(found)):
            print(f"wrote {path}")
    return 0


def _evaluate(found, test, arguments, comm):
    options = {"batch": arguments.batch, "workers": arguments.workers, "comm": comm}
    shares = range(comm.rank, len(test.data), comm.size)
    with tqdm(total=len(shares), unit=" examples", dynamic_ncols=True, bar_format=BAR, disable=comm.rank > 0) as bar:

        def progress(so_far):
            bar.set_postfix({"loss": f"{so_far.loss:.3f}", "acc": f"{so_far.top1:.1%}"}, refresh=False)
            bar.update(so_far.examples - bar.n)

        return runs.evaluated(found, test, progress=progress, on_broken=_say, **options)


def _say(name, reason):
    tqdm.write(f"{name} is left out: {reason}", file=sys.stderr)


def _folder_of(found):
    return found.folder and found.folder / "evaluation"


def _written(result, folder):
    """metrics.csv, a row a class, and the confusion matrix."""
    if folder is None:
        return
    from .. import visualize

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "metrics.csv", "w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(["class", "examples", "right", *(f"taken for {name}" for name in result.classes)])
        for index, name in enumerate(result.classes):
            row = result.confusion[index]
            lines.writerow([name, row.sum(), row[index], *row])
    yield folder / "metrics.csv"
    yield visualize.save(visualize.confusion_figure(result), folder / "confusion.png")
