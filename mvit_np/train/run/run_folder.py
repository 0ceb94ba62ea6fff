"""The folder of a run: whose it is, and what is in it. What is written stays there."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from ...backend import outputs
from ...backend.plain_text import ENCODING
from ...backend.types import FilePath
from ...data.sets.builtin import BUILTIN
from ...weights.load import BEST, MODEL
from ..metrics import METRICS, read_rows
from . import snapshot
from .early_stop import has_seen_enough
from .recipe import Recipe, from_plain, steps_of
from .recipe_changes import differing
from .toml_text import BEGUN_IN, table_in, to_toml

RECIPE, SNAPSHOTS = "recipe.toml", "snapshots"
CLASSES, EXAMPLES, CURVES = "classes.txt", "examples.csv", "curves.png"
FEATURES = "features.npz"  # of a probe
LOCK = ".lock"
READ = ("weights", "data", "tests", "data_root", "classes")  # fields of a recipe that are paths
# All that a run writes into its folder.
WRITTEN = (RECIPE, METRICS, SNAPSHOTS, CLASSES, EXAMPLES, CURVES, MODEL, BEST, FEATURES, LOCK)
STATE = {  # what a snapshot of a run holds; those of earlier versions lack `data` and `begun_in`
    "seconds": (int, float), "best": (int, float, type(None)), "params": dict,
    "average": (dict, type(None)), "optimizer": object, "recipe": dict, "config": dict,
}  # fmt: skip


@dataclass(frozen=True)
class Found:
    """The run that a folder is for."""

    recipe: Recipe  # as it was given
    resolved: Recipe  # the same with whole paths
    begun_in: str  # the folder that its relative paths start from
    state: Any  # of the newest snapshot, or None
    said: list[str]  # sentences about it
    longer: bool = False  # whether it goes on to another epoch than it was begun for


def look_into(
    path: FilePath, recipe: Recipe | None, resume: bool = False, read: Iterable[FilePath] = ()
) -> Found:
    """What there is of the run that `path` is for, as `Found`; nothing is written.

    recipe   what was asked for; None: that of the run there
    read     files that it is from
    Raises ValueError where a run is there and `resume` does not ask for it, or it is one of another
    recipe, and where the folder holds what is not a run's.
    """
    path = Path(path)
    state, said = snapshot.latest(path / SNAPSHOTS, needs=STATE)
    rows = read_rows(path / METRICS)
    if state is None and not rows:  # nothing was learned here
        if recipe is None:
            raise ValueError(
                f"there is no run to go on with in {path}: "
                "give its folder, or a recipe to begin one"
            )
        resolved = resolve(recipe)
        outputs.check_own(path, "train", WRITTEN)
        _check_beginning(path, resolved, read, (MODEL, BEST))
        return Found(recipe, resolved, os.getcwd(), None, said)
    if not resume:
        raise ValueError(
            f"{path} holds a run already: "
            "go on with it by --resume, or give another folder with --out"
        )
    old, begun_in = _of_state(state) if state else recipe_in(path)
    resolved = resolve(old, begun_in, said.append)
    if state is None:
        said.append(f"the run in {path} has no snapshot yet: it begins anew")
        models = (MODEL, BEST) if _had_snapshots(rows) else (MODEL,)
        _check_beginning(path, resolved, read, models)
    had = resolved.epochs
    recipe, resolved = _same_recipe(old, resolved, recipe, path)
    if longer := recipe.epochs != had:
        said.append(_of_other_length(recipe.epochs, had, state, rows, path))
    return Found(recipe, resolved, begun_in or os.getcwd(), state, said, longer)


def _of_other_length(epochs, had, state, rows, path):
    """What it means that a run goes on to another epoch. Raises ValueError where it is past it."""
    done = state["step"] * rows[-1]["epoch"] / rows[-1]["step"] if state and rows else 0
    if epochs < done:
        raise ValueError(
            f"the run in {path} has done {done:g} epochs, and you ask for {epochs:g}: give at "
            "least as many, or another folder with --out"
        )
    return (
        f"the run in {path} was to end after {had:g} epochs and now goes on to {epochs:g}: from "
        f"here on its learning rate is that of a run of {epochs:g} epochs"
    )


def _had_snapshots(rows):
    """Whether a run went on after its first test, after which it saves best.npz and a snapshot."""
    return any(row["test_accuracy"] is not None for row in rows[:-1])


def resolve(
    recipe: Recipe, folder: FilePath | None = None, say: Callable[[str], Any] | None = None
) -> Recipe:
    """The recipe with whole paths: relative ones start from `folder`, if they lead somewhere there.

    folder   None: the current one
    say      called with a sentence for each path that is taken from the current folder instead
    """
    given = {name: getattr(recipe, name) for name in (*READ, "cache")}
    return replace(recipe, **{name: _whole_path(path, folder, say) for name, path in given.items()})


def _whole_path(name, folder, say):
    if name is None or name in BUILTIN:
        return name
    there, here = os.path.abspath(os.path.join(folder or "", name)), os.path.abspath(name)
    if os.path.exists(there) or not os.path.exists(here):
        return there
    if say:
        say(
            f"the run was begun in {folder}, where there is no {name} now: "
            "the one in the current folder is taken"
        )
    return here


def recipe_in(path: FilePath) -> tuple[Recipe, str | None]:
    """(recipe, the folder that its relative paths start from, or None) of the run in a folder."""
    file = Path(path) / RECIPE
    return Recipe.from_toml(file), _text(table_in(file).get(BEGUN_IN))


def _of_state(state):
    return from_plain(state["recipe"]), _text(state.get(BEGUN_IN))


def _text(value):
    return value if isinstance(value, str) else None


def classes_in(path: FilePath) -> tuple[str, ...] | None:
    """The names of the classes of the run in a folder; None where it has no list."""
    file = Path(path) / CLASSES
    if not file.is_file():
        return None
    return tuple(file.read_text(**ENCODING).removesuffix("\n").split("\n"))


def is_finished(path: FilePath, recipe: Recipe) -> bool:
    """Whether a run did its last step, by its metrics.csv; true where that tells nothing."""
    rows = read_rows(Path(path) / METRICS)
    if not rows or not (rows[-1]["epoch"] or 0) > 0:
        return True
    done, epochs = rows[-1]["step"], rows[-1]["epoch"]
    enough = has_seen_enough(rows, recipe.patience)
    return enough or done >= steps_of(recipe, round(done / epochs))


def claim(
    path: FilePath, recipe: Recipe, begun_in: str, classes: Iterable[str], examples: str
) -> TextIO:
    """Write recipe, classes and examples; returns the file whose closing gives the folder free.

    Raises ValueError or OSError where it cannot be written, and ValueError where another process
    has claimed it. (Where the system or the disk has no locks, nobody is told of another.)
    """
    path, names = Path(path), "".join(f"{label}\n" for label in classes)
    outputs.make_folder(path)
    outputs.make_folder(path / SNAPSHOTS)
    ours = (path / LOCK).exists()
    outputs.claim(path, "train", WRITTEN)
    lock = _locked(path)
    if ours:
        outputs.sweep(path)
    outputs.write(path / RECIPE, to_toml(recipe, begun_in))
    outputs.write(path / CLASSES, names)
    outputs.write(path / EXAMPLES, examples)
    return lock


def _check_beginning(path, resolved, read, models):
    """Raise ValueError where a run that begins would write over a model, or into what it reads."""
    for name in models:
        if (path / name).exists():
            raise ValueError(
                f"{path} holds the {name} of an earlier run, which this one would write over: "
                "move it away, or give another folder with --out"
            )
    tables = [
        Path(name) for name in (resolved.data, resolved.tests) if name and os.path.exists(name)
    ]
    files = [name for name in (resolved.weights, resolved.classes) if name]
    outputs.check_not_read([path / name for name in WRITTEN], [*read, *tables, *files])
    outputs.check_outside(path, tables)


def _locked(path):
    """A file that this process holds a lock on, until it ends in whatever way."""
    with outputs.telling(path / LOCK):
        lock = open(path / LOCK, "w")
    with suppress(ImportError):  # not on Windows
        import fcntl

        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            if problem.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise ValueError(
                    f"another process trains in {path}: wait for its end, or give another --out"
                ) from None
    return lock


def _same_recipe(old, resolved, new, path):
    """The recipe to go on with, and the same with whole paths: the old on the new one's machine."""
    if new is None:
        return old, resolved
    asked = resolve(new)
    if names := [name for name in differing(resolved, asked) if name != "epochs"]:
        name = names[0]
        had, wanted = getattr(resolved, name), getattr(asked, name)
        raise ValueError(
            f"the run in {path} has {name} = {had!r}, you ask for {wanted!r}: a run goes on as it "
            "began; leave that out, or give another folder with --out"
        )
    return replace(new, **{name: getattr(old, name) for name in READ}), asked
