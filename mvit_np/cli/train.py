"""`mvit-np train`: a run by a recipe, in front of the user or of a queue; stopped at any moment, it
can be taken up again.
"""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import signal
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..backend.arrays import memory
from ..backend.plain_text import plain
from ..backend.tiles import threads, use_threads
from ..model.config import MViTConfig
from ..train import run as runs
from ..train.distributed import communicator
from ..train.guard import NotFinite
from ..train.run.recipe import RECIPES, Recipe, changed, check_field
from ..train.run.recipe_fields import RENAMED, SWITCH
from ..train.run.run_folder import LOCK, RECIPE, WRITTEN, located, recipe_in
from ..train.run.task import check_model_field
from ..train.run.toml_text import to_toml
from .arguments import MISTAKES, place
from .terminal import say, tell

# with loss and accuracies within 80 columns
BAR = "{percentage:3.0f}%|{bar}| {rate_fmt}, {remaining} left{postfix}"
RECENT = 20  # steps that the live line averages over
# the recipe and the folder of `mvit-np train --device cuda` alone
GPU, GPU_FOLDER = "gpu", "mvit_gpu"


def add(commands):
    """The command's options: a few of its own, and one for every field of a recipe."""
    parser = commands.add_parser(
        "train",
        help="train a model by a recipe; stopped at any moment, it goes on with --resume",
        usage="mvit-np train [--config FILE] [--recipe NAME] [--out FOLDER] [--resume] [--FIELD VALUE ...]",
        description="Train a model by a recipe: a TOML file, or one by name, and any of its fields as --field VALUE. "
        f"With --device cuda alone it is the recipe {GPU}, and the folder {GPU_FOLDER}.",
        allow_abbrev=False,  # a field may begin like an option
    )
    parser.add_argument("--config", type=place, metavar="FILE", help="a recipe in TOML")
    parser.add_argument(
        "--recipe",
        metavar="NAME",
        help=f"one by name, on which the file and the fields build: {_names()}",
    )
    parser.add_argument(
        "--out",
        type=place,
        metavar="FOLDER",
        help="for metrics.csv, curves.png, snapshots and the model",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with the run in FOLDER, or begin where there is none",
    )
    parser.add_argument(
        "--data-changed",
        action="store_true",
        help="with --resume: go on although the examples are others now",
    )
    parser.add_argument(
        "--show",
        action="store_true",
        help="print the recipe as TOML, with a comment a field, and end",
    )
    _add_fields(parser)
    parser.set_defaults(run=run, takes_fields=True)


def _add_fields(parser):
    """An option for each field of a recipe, of a model's config, and for what an earlier version
    called some of them.
    """
    group = parser.add_argument_group(
        "fields of a recipe",
        "With the paper's values (Sec. D.1). --model.NAME VALUE is a field of MViTConfig, such as --model.drop_path 0.1.",
    )
    for field in dataclasses.fields(Recipe):
        kind, about = field.metadata["kind"], field.metadata["about"]
        value = _typed(getattr(RECIPES["paper"], field.name))
        text = f"{about} ({kind.rule}; {value})".replace("%", "%%")
        _add_field(group, field.name, text if value != "{}" else argparse.SUPPRESS, kind is SWITCH)
    for name in ("preset", *(field.name for field in dataclasses.fields(MViTConfig))):
        _add_field(group, f"model.{name}")
    for name in RENAMED:
        _add_field(group, name)


def _add_field(group, name, about=argparse.SUPPRESS, switch=False):
    """`--some_name VALUE`, also spelled `--some-name`; a switch that comes alone is on."""
    options = {"dest": name, "metavar": "VALUE", "default": argparse.SUPPRESS}
    if switch:
        options |= {"nargs": "?", "const": "true"}
    group.add_argument(f"--{name}", help=about, **options)
    if "_" in name:
        group.add_argument(f"--{name.replace('_', '-')}", help=argparse.SUPPRESS, **options)


def _typed(value):
    """A field's value as one types it."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def run(arguments):
    """Train; exit code 1 where a loss was not finite, 130 or 143 where a signal stopped the run."""
    recipe, out = _asked(arguments)
    if arguments.show:
        print(to_toml(recipe), end="")
        return 0
    if out is None:
        raise ValueError("a run needs a folder for what it learns: give --out FOLDER")
    comm = communicator()
    quiet = np.errstate(over="ignore", invalid="ignore")  # every step is looked at before it counts
    # the ranks of one machine share its cores
    share = use_threads(max(1, threads() // comm.local_size))
    with comm.guarding(MISTAKES), _signals() as stop, quiet, share:
        try:
            read = [arguments.config] if arguments.config else []
            options = {
                "resume": arguments.resume,
                "data_changed": arguments.data_changed,
                "read": read,
            }
            job = runs.prepare(recipe, out, **options, comm=comm, say=say)
            return _train(job, stop)
        except NotFinite as problem:
            tell(problem)
            return 1


def _asked(arguments):
    """(recipe, folder), or None. The recipe is, in the order: a field, the file, the named one,
    with --resume the run's own.
    """
    changes, named, out = fields_of(arguments), arguments.recipe, arguments.out
    if not (arguments.config or named):
        alone = changes.get("device", "").startswith("cuda")
        named, out = (GPU, out or GPU_FOLDER) if alone else (None, out)
        if arguments.resume and (Path(out or "") / RECIPE).is_file():
            return changed(located(*recipe_in(out or "")), changes), out
        if arguments.resume and out and not (alone or changes or arguments.show):
            return None, out  # its snapshot has it
        if not alone:
            raise ValueError(
                f"a run needs a recipe: give --config FILE.toml, or --recipe with one of {_names()}"
            )
    return Recipe.from_toml(arguments.config, changes, base=named), out


def fields_of(arguments):
    """{name: text} of the fields of a recipe that were given; `model.NAME` is one of the model's
    config.

    Raises ValueError for words that are no option, with the nearest field.
    """
    if arguments.rest:
        _refuse(arguments.rest[0])
    given = {
        name: value for name, value in vars(arguments).items() if name in RENAMED or _is_field(name)
    }
    for name in RENAMED.keys() & given.keys():
        say(f"--{name} is called --{RENAMED[name]} now")
    return given


def _is_field(name):
    return name in Recipe.__dataclass_fields__ or name.startswith("model.")


def _refuse(word):
    """Raise ValueError for a word that is no option."""
    name = word[2:].partition("=")[0]
    if not word.startswith("--") or not name:
        raise ValueError(
            f"fields are given as --field VALUE; came {word!r}: put --out before a folder, and quotes around spaces"
        )
    if name.startswith("model."):
        check_model_field(name.removeprefix("model."))
    check_field(name)


@contextmanager
def _signals():
    """A function that says which signal asked the run to stop (0: none); a second Ctrl-C does not
    wait for the step.
    """
    received = []

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
    options = {
        "unit": " clips",
        "smoothing": 0.1,
        "dynamic_ncols": True,
        "bar_format": BAR,
        "disable": not job.writes,
    }
    batch = job.recipe.batch
    with tqdm(total=job.steps * batch, initial=first * batch, **options) as bar:
        shown = []
        for row in runs.run(job, stop):
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
    turned = (
        "\nleft and right matter to the classes: clips are not flipped, turned or sheared"
        if task.directed
        else ""
    )
    return (
        f"{job.recipe.model}, clips of {shape}, {config.num_classes} classes\n"
        f"{len(task.train)} examples to learn from, {tests}\n"
        f"{job.steps} steps of {job.recipe.batch} clips{again}{ranks}{where}{products}{graph}{turned}"
    )


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
        # the first step compiles kernels
        rate = steps * job.recipe.batch / seconds if seconds else row["clips_per_s"]
        said.append(f"{rate:.1f} clips/s")
        if taken := memory(job.state.params["head"]["w"]):
            said.append(f"{taken / 1e9:.2f} GB in use on the device")
        if row["test_accuracy"] is not None:
            said.append(
                f"{row['test_accuracy']:.1%} of {len(job.task.tests)} clips to test on right"
            )
    files = ", ".join(
        name for name in sorted(WRITTEN) if name != LOCK and (job.folder / name).exists()
    )
    return "\n".join(filter(None, [", ".join(said), f"wrote into {plain(job.folder)}: {files}"]))


def _names():
    return ", ".join(RECIPES)
