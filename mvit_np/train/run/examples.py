"""The examples of a run and of its tests: noted when it begins, compared when it is resumed."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...backend.plain_text import ENCODING, are, plain, some
from ...backend.types import FilePath
from ...data.frame_folders import size_of
from ...data.video_table import VideoTable
from .recipe import Recipe
from .run_folder import EXAMPLES, classes_in
from .task import Task

COLUMNS = ["part", "name", "class", "bytes_or_sha256"]
PARTS = {"train": "to learn from", "tests": "to test on"}
DIGITS = 16  # of a clip's SHA-256


@dataclass(frozen=True)
class Record:
    """The classes of a run, and its examples by part."""

    classes: tuple[str, ...]
    # {"train" and "tests": [(name, class, bytes of the file or SHA-256 of the clip)]}
    rows: dict[str, list[tuple[str, str, str]]]

    @property
    def table(self) -> str:
        """As CSV, for people and for `check`."""
        return _csv([COLUMNS, *((part, *row) for part, rows in self.rows.items() for row in rows)])

    @property
    def summary(self) -> dict[str, Any]:
        """What a snapshot keeps of it."""
        parts = {part: _summary(rows) for part, rows in self.rows.items()}
        return {"classes": list(self.classes), **parts}


def record_of(task: Task, recipe: Recipe) -> Record:
    """The `Record` of a task.   recipe: with whole paths"""
    rows = {"train": _rows(task.train, recipe.data, recipe.data_root)}
    rows["tests"] = _rows(task.tests, recipe.tests or recipe.data, recipe.data_root)
    return Record(tuple(task.train.classes), rows)


def not_learned(
    data: VideoTable, recipe: Recipe, folder: FilePath, say: Callable[[str], Any]
) -> VideoTable:
    """The examples held out that the run in `folder` has not learned from.

    recipe   with whole paths
    say      called with a sentence where there are others: the data have changed since it began
    """
    learned = {name for name, *_ in _rows_in(Path(folder) / EXAMPLES)["train"]}
    names = [name for name, *_ in _rows(data, recipe.data, recipe.data_root)]
    new = [index for index, name in enumerate(names) if name not in learned]
    if not new:
        raise ValueError(
            f"a test is of films that were not learned from; the run in {folder} has learned from "
            f"all {len(names)} that would be held out now, as the data have changed: give --data"
        )
    if len(new) < len(names):
        say(
            f"{len(names) - len(new)} of {len(names)} examples held out are left out, as the run "
            "has learned from them: the data have changed since it began"
        )
    return data.take(new, data.notes)


def check(
    record: Record, saved: dict[str, Any], folder: FilePath, changed_is_meant: bool = False
) -> str:
    """A sentence about the examples where they are others than when the run was saved, else "".

    Raises ValueError where the classes are others, and where the examples are and
    `changed_is_meant` does not say so. Of a run of an earlier version, which noted no examples, the
    classes alone are compared.
    """
    classes = noted_classes(saved)
    noted = saved["data"] if classes else {}
    _check_classes(classes or classes_in(folder) or record.classes, record.classes, folder)
    now = record.summary
    others = [part for part in PARTS if part in noted and noted[part] != now[part]]
    if not others:
        return ""
    before = _rows_in(Path(folder) / EXAMPLES)
    changes = [_change(part, before[part], noted[part], record.rows[part]) for part in others]
    said = "; ".join(changes)
    if changed_is_meant:
        had = f"the data differ from those that the run in {folder} had so far"
        return f"{had}, and it goes on with them: {said}"
    raise ValueError(
        f"a run keeps its examples, and the data of the run in {folder} have changed: {said}. "
        "Bring the old data back, or go on with the new ones by --data-changed"
    )


def noted_classes(saved: dict[str, Any]) -> tuple[str, ...] | None:
    """The names of the classes in the state of a snapshot; None in one of an earlier version."""
    noted = saved.get("data")
    found = noted.get("classes") if isinstance(noted, dict) else None
    return tuple(found) if isinstance(found, list) else None


# -- the rows --------------------------------------------------------------------------------------


def _rows(data, source, data_root=None):
    """The rows of a data set, in order; files are named from the set's folder on."""
    if data is None:
        return []
    in_folder = source and os.path.isdir(source)
    root = Path(source) if in_folder else Path(data_root or Path(source or "").parent)
    return [
        (_name(data.name_of(index), root), data.classes[label], _content(data, index))
        for index, label in enumerate(data.labels)
    ]


def _name(name, root):
    path = Path(name)
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else name


def _content(data, index):
    """What differs where an example of the same name is another one."""
    if hasattr(data, "clips"):
        return hashlib.sha256(np.ascontiguousarray(data.clips[index]).data).hexdigest()[:DIGITS]
    path = data.rows[index][0] if isinstance(data, VideoTable) else data.name_of(index)
    try:
        return str(size_of(path))
    except (OSError, ValueError):
        return ""


def _summary(rows):
    return {"count": len(rows), "sha256": hashlib.sha256(_csv(rows).encode(**ENCODING)).hexdigest()}


def _csv(rows):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _rows_in(path):
    """The rows of an examples.csv by part; none where it cannot be read."""
    found: dict[str, list[tuple[str, ...]]] = {part: [] for part in PARTS}
    try:
        with open(path, newline="", **ENCODING) as file:  # type: ignore[call-overload]
            for part, *row in csv.reader(file):
                if part in PARTS:
                    found[part].append(tuple(row))
    except (OSError, ValueError, csv.Error):
        return {part: [] for part in PARTS}
    return found


# -- what is other ---------------------------------------------------------------------------------


def _check_classes(before, now, folder):
    if before == now:
        return
    gone = [name for name in before if name not in now]
    new = [name for name in now if name not in before]
    changes = [(names, what) for names, what in ((gone, "gone"), (new, "new")) if names]
    said = " and ".join(f"{some(names)} {are(names)} {what}" for names, what in changes)
    raise ValueError(
        f"a run keeps its classes, and of those in {folder} {said or 'the order has changed'}: "
        f"name them as before ({some(before)}), or begin another run"
    )


def _change(part, before, noted, now):
    """In words, with an example of each change where `before` are the examples that were noted."""
    if _summary(before) != noted:
        return f"the {len(now)} examples {PARTS[part]} are not those that it had"
    old, new = ({name: rest for name, *rest in rows} for rows in (before, now))
    both = [name for name in old if name in new]
    same_class = [name for name in both if old[name][0] == new[name][0]]
    changes = {
        "gone": [name for name in old if name not in new],
        "new": [name for name in new if name not in old],
        "of another class": [name for name in both if old[name][0] != new[name][0]],
        "of another content": [name for name in same_class if old[name][1] != new[name][1]],
    }
    said = ", ".join(
        f"{len(names)} {are(names)} {change}, such as {plain(names[0])}"
        for change, names in changes.items()
        if names
    )
    return f"of {len(before)} examples {PARTS[part]}, {said or 'the order has changed'}"
