"""`mvit-np train`: a run by a recipe; stopped at any moment, it can be taken up again."""

from __future__ import annotations

import shlex
import signal
from argparse import Namespace
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..backend.arrays import memory
from ..backend.plain_text import plain
from ..backend.tiles import threads, use_threads
from ..backend.types import FilePath
from ..train import run as runs
from ..train.distributed import communicator
from ..train.guard import NotFinite
from ..train.metrics import Row
from ..train.run.recipe import RECIPES, Recipe, changed
from ..train.run.run_folder import LOCK, RECIPE, WRITTEN, recipe_in, resolve
from ..train.run.toml_text import to_toml
from .arguments import MISTAKES, Commands, file_path
from .recipe_options import add_fields, fields_of
from .terminal import BAR, RECENT, advance, say, tell

# The recipe and the folder of `mvit-np train --device cuda` alone.
GPU, GPU_FOLDER = "gpu", "mvit_gpu"


def add(commands: Commands) -> None:
    """The command's options: a few of its own, and one for every field of a recipe."""
    parser = commands.add_parser(
        "train",
        help="train a model with a recipe; a run that was stopped continues with --resume",
        usage="mvit-np train [--config FILE] [--recipe NAME] [--out FOLDER] [--resume] "
        "[--FIELD VALUE ...]",
        description="Train a model with a recipe: a TOML file or a named recipe, whose fields can "
        f"be changed with --field VALUE. With --device cuda alone, the recipe is {GPU} and the "
        f"folder is {GPU_FOLDER}.",
        allow_abbrev=False,  # a field may begin like an option
    )
    option, switch = parser.add_argument, partial(parser.add_argument, action="store_true")
    names = f"a named recipe, whose fields the file and --field VALUE change: {_names()}"
    folder = "folder for metrics.csv, curves.png, snapshots and the model"

    option("--config", type=file_path, metavar="FILE", help="a recipe in TOML")
    option("--recipe", metavar="NAME", help=names)
    option("--out", type=file_path, metavar="FOLDER", help=folder)
    switch("--resume", help="continue the run in FOLDER, or begin one if there is none")
    switch("--data-changed", help="with --resume: continue although the examples have changed")
    switch("--show", help="print the recipe as TOML, with a comment per field, and end")
    add_fields(parser)
    parser.set_defaults(run=run, takes_fields=True)


def run(arguments: Namespace) -> int:
    """Train; exit code 1 where a loss was not finite, 130 or 143 where a signal stopped the run."""
    recipe, out = _asked(arguments)
    if arguments.show:
        print(to_toml(recipe), end="")
        return 0
    if out is None:
        raise ValueError("a run needs a folder for what it learns: give --out FOLDER")
    options = {"resume": arguments.resume, "data_changed": arguments.data_changed}
    options["read"] = [arguments.config] if arguments.config else []
    return drive(recipe, out, **options)


def drive(recipe: Recipe | None, out: FilePath, **options: Any) -> int:
    """Prepare a run, with options of `prepare`, and train; the exit code as of `run`."""
    comm = communicator()
    quiet = np.errstate(over="ignore", invalid="ignore")  # every step is looked at before it counts
    # The ranks of one machine share its cores.
    share = use_threads(max(1, threads() // comm.local_size))
    with comm.guarding(MISTAKES), _signals() as stop, quiet, share:
        try:
            job = runs.prepare(recipe, out, **options, comm=comm, say=say)
            return _train(job, stop)
        except NotFinite as problem:
            tell(problem)
            return 1


def _asked(arguments):
    """(recipe or None for the run's own, folder): a field goes before the file, the named one."""
    changes, named, out = fields_of(arguments), arguments.recipe, arguments.out
    if not (arguments.config or named):
        alone = changes.get("device", "").startswith("cuda")
        named, out = (GPU, out or GPU_FOLDER) if alone else (None, out)
        if arguments.resume and (Path(out or "") / RECIPE).is_file():
            return changed(resolve(*recipe_in(out or "")), changes), out
        if arguments.resume and out and not (alone or changes or arguments.show):
            return None, out  # its snapshot has it
        if not alone:
            raise ValueError(
                f"a run needs a recipe: give --config FILE.toml, or --recipe with one of {_names()}"
            )
    return Recipe.from_toml(arguments.config, changes, base=named), out


@contextmanager
def _signals():
    """A function: which signal asked to stop, or 0. A second Ctrl-C does not wait for the step."""
    received: list[int] = []

    def note(number, frame):
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: received[0] if received else 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _train(job, stop):
    """All steps, with a line that shows how it goes; the exit code."""
    first, start, row = job.state.step, None, None
    if job.writes:
        print(_heading(job))
    batch = job.recipe.batch
    counted = {"total": job.steps * batch, "initial": first * batch, "unit": " clips"}
    drawn = {"bar_format": BAR, "smoothing": 0.1, "dynamic_ncols": True, "disable": not job.writes}
    hidden = drawn["disable"] or not job.recipe.probe
    features = tqdm(unit=" clips", desc="features", **drawn | {"disable": hidden})
    with features, tqdm(**counted, **drawn) as bar:
        shown: list[Row] = []
        for row in runs.run(job, stop, partial(advance, features)):
            if start is None:
                bar.unpause()  # features took their own time
            start = start or row
            shown = [*shown[1 - RECENT :], row]
            _show(bar, shown, row)
            bar.update(batch)
    done = first if row is None else row["step"]
    if not job.finished.is_set():
        return _stopped(job, done, stop() or signal.SIGTERM)
    if job.writes:
        print(_ending(job, start, row))
    return 0


def _heading(job):
    config, task = job.task.config, job.task
    tests = f"{len(task.tests)} to test on" if task.tests is not None else "no tests"
    again = f", from step {job.state.step}" if job.state.step else ""
    ranks = f", {job.comm.size} processes" if job.comm.size > 1 else ""
    shape = "x".join(map(str, (*config.thw, config.channels)))
    where = "" if job.recipe.device == "cpu" else f", on {job.recipe.device}"
    products = "" if job.recipe.precision == "float32" else f", products in {job.recipe.precision}"
    graph = ", each the replay of a graph" if job.recipe.graph else ""
    lines = [
        f"{job.recipe.model}, clips of {shape}, {config.num_classes} classes",
        f"{len(task.train)} examples to learn from, {tests}",
        f"{job.steps} steps of {job.recipe.batch} clips{again}{ranks}{where}{products}{graph}",
    ]
    if task.directed:
        lines.append(
            "left and right matter to the classes: clips are not flipped, turned or sheared"
        )
    return "\n".join(lines)


def _show(bar, shown, row):
    means = {name: sum(row[name] for row in shown) / len(shown) for name in ("loss", "accuracy")}
    text = {"loss": f"{means['loss']:.3f}", "acc": f"{means['accuracy']:.0%}"}
    if row["test_accuracy"] is not None:
        bar.last_test = f"{row['test_accuracy']:.1%}"
    if test := getattr(bar, "last_test", None):
        text["test"] = test
    bar.set_postfix(text, refresh=False)


def _stopped(job, done, number):
    if job.writes:
        name = signal.Signals(number).name
        again = f"mvit-np train --out {shlex.quote(str(job.folder))} --resume"
        tell(f"{name} after step {done} of {job.steps}, which is saved; go on with: {again}")
    return 128 + number


def _ending(job, start, row):
    """How fast it was, what it took, how well it does, what there is."""
    said = []
    if row is not None:
        seconds, steps = row["seconds"] - start["seconds"], row["step"] - start["step"]
        # Since the first step, which compiles kernels.
        rate = steps * job.recipe.batch / seconds if seconds else row["clips_per_s"]
        said.append(f"{rate:.1f} clips/s")
        if taken := memory(job.state.params["head"]["w"]):
            said.append(f"{taken / 1e9:.2f} GB in use on the device")
        if row["test_accuracy"] is not None:
            clips = f"{len(job.task.tests)} test clips"
            said.append(f"{row['test_accuracy']:.1%} of {clips} right")
    there = [name for name in sorted(WRITTEN) if (job.folder / name).exists() and name != LOCK]
    wrote = f"wrote into {plain(job.folder)}: {', '.join(there)}"
    return f"{', '.join(said)}\n{wrote}" if said else wrote


def _names():
    return ", ".join(RECIPES)
