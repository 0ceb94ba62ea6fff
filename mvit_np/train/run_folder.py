"""The folder of a run: its recipe, a row a step, its snapshots. What is written stays, whatever comes after."""

from __future__ import annotations

import csv
import errno
import os
from contextlib import suppress
from pathlib import Path

from ..outputs import replacing, telling
from . import snapshot
from .recipe import Recipe, differing, from_plain
from .toml_text import to_toml

FIELDS = (
    "step", "epoch", "seconds", "loss", "accuracy", "learning_rate", "gradient_norm", "clips_per_s", "test_accuracy",
    "test_top5",
)  # fmt: skip
RECIPE, METRICS, SNAPSHOTS = "recipe.toml", "metrics.csv", "snapshots"
MODEL, CLASSES, CURVES = "model.npz", "classes.txt", "curves.png"  # what a run writes besides
LOCK = ".lock"


def look_into(path, recipe, resume=False):
    """(recipe, state of the newest snapshot or None, sentences about it) of the run that `path` is for; nothing is written.

    recipe   what was asked for; None: that of the run there
    Raises ValueError where a run is there and `resume` does not ask for it, or it is one of another recipe.
    """
    path = Path(path)
    state, said = snapshot.latest(path / SNAPSHOTS)
    if state is None and not read_rows(path / METRICS):  # nothing was learned here
        if recipe is None:
            raise ValueError(f"there is no run to go on with in {path}: give its folder, or a recipe to begin one")
        return recipe, None, said
    if not resume:
        raise ValueError(f"{path} holds a run already: go on with it by --resume, or give another folder with --out")
    if state is None:
        said = [f"the run in {path} has no snapshot yet: it begins anew"]
    old = from_plain(state["recipe"]) if state else Recipe.from_toml(path / RECIPE)
    return _same_recipe(old, recipe, path), state, said


def claim(path, recipe, classes):
    """Write the recipe and the names of the classes into the folder; the file whose closing gives the folder free.

    Raises ValueError where it cannot be written, and where another process has claimed it. (Where the system or the disk has
    no locks, nobody is told of another.)
    """
    path = Path(path)
    try:
        (path / SNAPSHOTS).mkdir(parents=True, exist_ok=True)
        lock = _locked(path)
        for left_behind in path.glob(".*.part"):  # by `replacing`, in a process that was killed
            left_behind.unlink()
        for name, text in {RECIPE: to_toml(recipe), CLASSES: "".join(f"{label}\n" for label in classes)}.items():
            with replacing(path / name) as file:
                file.write(text.encode())
    except OSError as problem:
        reason = problem.strerror or problem
        raise ValueError(f"the folder {path} cannot be written ({reason}): give another with --out") from None
    return lock


def _locked(path):
    """A file that this process holds a lock on. The system takes the lock away with the process, however it ends."""
    lock = open(path / LOCK, "w")
    with suppress(ImportError):  # not on Windows
        import fcntl

        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            if problem.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise ValueError(f"another process trains in {path}: wait for its end, or give another --out") from None
    return lock


def _same_recipe(old, new, path):
    """The recipe to go on with: the old one, on the machine of the new one."""
    if new is None:
        return old
    if names := differing(old, new):
        name = names[0]
        raise ValueError(
            f"the run in {path} has {name} = {getattr(old, name)!r}, you ask for {getattr(new, name)!r}: a run goes on as it "
            "began; leave that out, or give another folder with --out"
        )
    return new


class Metrics:
    """metrics.csv: a row a step, handed to the system at once. Raises OSError in one sentence where the disk is full.

    folder  of the run; None where another rank writes
    steps   of the snapshot that the run goes on from: rows of later steps go, for those steps are done again
    """

    def __init__(self, folder, steps=0):
        self.rows, self._file = [], None
        if folder is not None:
            self._path = Path(folder) / METRICS
            self.rows = [row for row in read_rows(self._path) if row["step"] <= steps]
            self._begin()

    def _begin(self):
        with telling(self._path), replacing(self._path) as file:
            file.write(_lines([FIELDS, *map(_cells, self.rows)]).encode())
        self._file = open(self._path, "a", newline="", encoding="utf-8")

    def _drop(self):
        """The file with what of a row did not fit into it: closing it would try again."""
        file, self._file = self._file, None
        with suppress(OSError):
            file.close()

    def add(self, row):
        """One more step."""
        self.rows.append(row)
        if self._file:
            with telling(self._path):
                try:
                    self._file.write(_lines([_cells(row)]))
                    self._file.flush()
                except OSError:
                    self._drop()
                    raise

    def complete(self, results):
        """The last row has these cells besides."""
        if self._file:
            self.rows[-1] |= results
            self._file.close()
            self._begin()

    def sync(self):
        """All rows are on the disk when this returns: before a snapshot that stands for them."""
        if self._file:
            os.fsync(self._file.fileno())

    def close(self):
        """Nothing more comes."""
        if self._file:
            self._file.close()


def read_rows(path):
    """The rows of a metrics.csv, whole ones, as numbers; None where a cell is empty. [] where there is no file."""
    if not Path(path).is_file():
        return []
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    whole = text[: text.rfind("\n") + 1]  # the last row may be cut off
    rows = list(csv.DictReader(whole.splitlines()))
    return [numbers for row in rows if (numbers := _numbers(row))]


def _numbers(row):
    try:
        return {name: _number(name, row[name]) for name in FIELDS}
    except (KeyError, TypeError, ValueError):  # a damaged row
        return None


def _number(name, text):
    return int(text) if name == "step" else float(text) if text else None


def _cells(row):
    return [f"{value:.9g}" if isinstance(value, float) else value for value in (row.get(name) for name in FIELDS)]


def _lines(rows):
    return "".join(",".join("" if cell is None else str(cell) for cell in row) + "\n" for row in rows)
