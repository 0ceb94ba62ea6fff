"""The classes of a table of films, from labels that are names or numbers, and what is odd there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ..backend.plain_text import plain, some
from ..backend.types import Array

Rows: TypeAlias = Sequence[tuple[Path, str]]
DIGITS = 18  # of a number, at most: what is longer is a name
# Labels that are numbers are below SPARE + TIMES x rows: higher ones are dates or the like, and
# would make as many classes.
SPARE, TIMES = 1000, 10


def classes_in(rows: Rows) -> tuple[str, ...]:
    """The classes that the labels speak of."""
    names = sorted({label for _, label in rows})
    if not all(_is_whole(name) for name in names):
        return tuple(names)
    for path, label in rows:
        if int(label) < 0:
            came = f"{path} has {label}: leave out what has no class"
            raise ValueError(f"labels count the classes from 0; {came}")
        if int(label) >= TIMES * len(rows) + SPARE:
            came = f"{path} has {label} in a table of {len(rows)} rows"
            remedy = "number them anew, or put a letter before numbers that are names"
            raise ValueError(f"labels that are numbers count the classes from 0; {came}: {remedy}")
    return tuple(str(index) for index in range(max(map(int, names)) + 1))


def _is_whole(label):
    digits = label.removeprefix("-")
    return digits.isdecimal() and len(digits) <= DIGITS


def labels_in(rows: Rows, classes: tuple[str, ...], first: int = 0) -> Array:
    """-> (N,) int64, indices into `classes`

    first   the number of the first class, where labels are numbers and the classes' names are not
    """
    index_of = {name: index for index, name in enumerate(classes)}
    numbers = _numbers_of(classes, first)
    for path, label in rows:
        if label in index_of:
            continue
        if not _is_whole(label) or int(label) not in numbers:
            raise ValueError(
                f"{path} is labelled {label!r}, which is none of the {len(classes)} classes "
                f"({some(classes)}): correct the label, or train on that class too"
            )
        index_of[label] = numbers[int(label)]
    return np.array([index_of[label] for _, label in rows], dtype=np.int64)


def _numbers_of(classes, first):
    """What a number stands for.

    -> {number: index}: of the class called so, or where none is called by a number, as counted
    """
    if not any(_is_whole(name) for name in classes):
        return {first + index: index for index in range(len(classes))}
    return {int(name): index for index, name in enumerate(classes) if _is_whole(name)}


def check_one_class_each(rows: Rows, spans: Sequence[Any], labels: Array) -> None:
    """Raise ValueError where a file, or the same part of it, is there twice, under two classes."""
    label_of: dict[Any, tuple[str, int]] = {}
    for (path, name), span, label in zip(rows, spans, labels.tolist()):
        before = label_of.setdefault((os.path.abspath(path), span), (name, label))
        if before[1] != label:
            came = f"{path} is labelled {before[0]!r} and {name!r}"
            raise ValueError(f"a file is of one class; {came}: leave one of them out")


def notes_on(classes: tuple[str, ...], labels: Array, counted: bool) -> list[str]:
    """Sentences about classes that cannot be learned.

    counted: the classes are numbers up to the highest label
    """
    present, notes = np.unique(labels).tolist(), []
    if len(present) == 1:
        only = plain(classes[present[0]])
        notes.append(f"every example is of the class {only}: there is nothing to learn")
    if counted and len(present) < len(classes):
        first = min(set(range(len(classes))) - set(present))
        lost = f"{len(classes) - len(present)} of the {len(classes)} classes"
        begun = ": if your labels begin at 1, give --classes a file with a line `1 name` for each"
        from_1 = begun if present == list(range(1, len(classes))) else ""
        notes.append(f"{lost} have no example, such as {classes[first]}{from_1}")
    return notes
