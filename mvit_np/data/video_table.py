"""A data set of films or pictures on disk: class folders or a CSV file, read when asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..backend.plain_text import plain, some
from ..backend.plain_values import is_whole
from ..backend.types import Array, FilePath, Generator
from .clips import random_times, view_times
from .datasets import BrokenExample
from .frame_cache import FrameCache
from .labels import check_name
from .media import is_picture
from .track import track_of
from .video import frames_at
from .video_file import is_the_files
from .video_lists import rows_of_csv, rows_of_folder

DIGITS = 18  # of a number, at most: what is longer is a name
# Labels that are numbers are below SPARE + TIMES x rows: higher ones are dates or the like, and
# would make as many classes.
SPARE, TIMES = 1000, 10


@dataclass(frozen=True, eq=False)
class VideoTable:
    """Films (or pictures, for models of one frame) with a class each; a `Dataset`.

    Labels are names of classes, or whole numbers that count them from 0 (07 is 7). Without
    `classes` (those of the training set, where this is the test set, which may lack some) they are
    the names that occur, sorted, or all numbers up to the highest. `notes` are sentences about what
    was left out, and about classes that cannot be learned.

    Raises ValueError for an empty table, labels of no class, numbers too high to count so few rows,
    a name of several lines, a file of two classes, films among pictures, pictures for a model of
    several frames and numbers that are not above 0. Whether the files are whole is found out only
    when they are read.
    """

    rows: Sequence[tuple[FilePath, str | int]]  # (path, label) each
    frames: int  # T, of a clip
    tau: float  # frames of 1/30 s from one frame of a clip to the next: the 4 of "16 x 4"
    cover_hw: tuple[int, int] | None  # (H, W) pixels: decoded as small as just covers these
    grey: bool = False
    classes: tuple[str, ...] | Any = field(default=None, kw_only=True)  # never None once made
    direction_sensitive: bool = field(default=False, kw_only=True)
    notes: tuple[str, ...] = field(default=(), kw_only=True, repr=False)
    cache: FrameCache | None = field(default=None, kw_only=True, repr=False)
    labels: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        rows = tuple((Path(path), str(label)) for path, label in self.rows)
        if not rows:
            rule = "a table of films has at least one row, (path, label)"
            raise ValueError(f"{rule}; came none: check where they come from")
        _check_sizes(self.frames, self.tau, self.cover_hw)
        _check_media([path for path, _ in rows], self.frames)
        for path, label in {label: (path, label) for path, label in rows}.values():
            check_name(label, f"the label of {path}")
        classes = _classes_in(rows) if self.classes is None else tuple(self.classes)
        labels = _labels_in(rows, classes)
        _check_one_class_each(rows, labels)
        notes = (*self.notes, *_notes_on(classes, labels, counted=self.classes is None))
        made = dict(rows=rows, classes=classes, labels=labels, notes=notes)
        for name, value in made.items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_folder(
        cls, path: FilePath, frames: int, tau: float, cover_hw: tuple[int, int] | None,
        grey: bool = False, *, classes: tuple[str, ...] | None = None,
        direction_sensitive: bool = False,
    ) -> VideoTable:  # fmt: skip
        """The films or pictures in `path`/class name/ and further in; a folder of none is no class.

        Classes are in the order of their names, or of their sizes if called by numbers. Raises
        FileNotFoundError or ValueError without such folders or films; else as the class.
        """
        rows, notes = rows_of_folder(Path(path))
        if classes is None:
            classes = tuple(dict.fromkeys(label for _, label in rows))
        return cls(
            rows, frames, tau, cover_hw, grey, classes=classes,
            direction_sensitive=direction_sensitive, notes=tuple(notes),
        )  # fmt: skip

    @classmethod
    def from_csv(
        cls, path: FilePath, frames: int, tau: float, cover_hw: tuple[int, int] | None,
        grey: bool = False, *, classes: tuple[str, ...] | None = None,
        direction_sensitive: bool = False,
    ) -> VideoTable:  # fmt: skip
        """The rows `path,label` of a CSV file whose files are there; relative paths start from its
        folder.

        A first row that names the columns "path" and "label" may put them anywhere among others.
        Raises FileNotFoundError for a missing table and where none of its files is there,
        ValueError for a row that is none; else as the class.
        """
        rows, notes = rows_of_csv(Path(path))
        return cls(
            rows, frames, tau, cover_hw, grey, classes=classes,
            direction_sensitive=direction_sensitive, notes=tuple(notes),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.rows)

    def clip(self, index: int, rng: Generator) -> Array:
        """A clip that starts anywhere it fits.   -> (T, h, w, 1 if grey else 3) uint8

        In a film shorter than a clip it starts at 0 and the last frame is held. Raises
        BrokenExample.
        """
        with self._reading(index) as path:
            track = self._track(path)
            seconds = random_times(track.duration, self.frames, self.tau, rng)
            return self._frames(path, seconds, track)

    def views(self, index: int, clips: int) -> Array:
        """Clips uniform in time, as `clip_times` has them.

        -> (V, T, h, w, 1 if grey else 3) uint8

        V is `clips`, or 1 for a picture and for a film no longer than a clip. Raises BrokenExample.
        """
        with self._reading(index) as path:
            track = self._track(path)
            times = view_times(track, self.frames, self.tau, clips)
            frames = self._frames(path, times.ravel(), track)
            return frames.reshape(*times.shape, *frames.shape[1:])

    def name_of(self, index: int) -> str:
        """Its path."""
        return str(self.rows[index][0])

    def _track(self, path):
        return self.cache.track(path) if self.cache else track_of(path)

    def _frames(self, path, seconds, track):
        how = {"cover": self.cover_hw, "grey": self.grey, "track": track}
        if self.cache:
            return self.cache.frames_at(path, seconds, **how)
        return frames_at(path, seconds, **how, threads=1)

    @contextmanager
    def _reading(self, index):
        """-> the path; what is wrong with the file becomes a BrokenExample."""
        try:
            yield self.rows[index][0]
        except Exception as problem:  # whatever a decoder raises, training goes on
            if not is_the_files(problem):
                raise
            name = self.name_of(index)
            raise BrokenExample(name, str(problem).replace(name, "it", 1)) from problem


# -- labels ----------------------------------------------------------------------------------------


def _classes_in(rows):
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


def _labels_in(rows, classes):
    """-> (N,) int64, indices into `classes`"""
    index_of, numbers = {name: index for index, name in enumerate(classes)}, _numbers_of(classes)
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


def _numbers_of(classes):
    """What a number stands for.

    -> {number: index}: of the class called so, or where none is called by a number, the index
    """
    if not any(_is_whole(name) for name in classes):
        return {index: index for index in range(len(classes))}
    return {int(name): index for index, name in enumerate(classes) if _is_whole(name)}


def _check_one_class_each(rows, labels):
    """Raise ValueError where a file is there twice, under two classes."""
    label_of: dict[str, tuple[str, int]] = {}
    for (path, name), label in zip(rows, labels.tolist()):
        before = label_of.setdefault(os.path.abspath(path), (name, label))
        if before[1] != label:
            came = f"{path} is labelled {before[0]!r} and {name!r}"
            raise ValueError(f"a file is of one class; {came}: leave one of them out")


def _notes_on(classes, labels, counted):
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
        notes.append(f"{lost} have no example, such as {classes[first]}")
    return notes


# -- rules -----------------------------------------------------------------------------------------


def _check_sizes(frames, tau, cover_hw):
    if not is_whole(frames, 1):
        raise ValueError(f"frames are a whole number above 0; came {frames!r}: give T, such as 16")
    if not tau > 0:
        raise ValueError(f"tau is above 0; came {tau}: give frames of 1/30 s, such as 4")
    if cover_hw is not None and (len(cover_hw) != 2 or min(cover_hw) < 1):
        rule = "cover_hw is (H, W) in pixels or None"
        raise ValueError(f"{rule}; came {cover_hw!r}: give such as (256, 256)")


def _check_media(paths, frames):
    """Films or pictures, and the latter only for a model of one frame."""
    pictures = [path for path in paths if is_picture(path)]
    films = [path for path in paths if not is_picture(path)]
    if films and pictures:
        raise ValueError(
            f"a table holds films or pictures; this one has {len(films)} films such as {films[0]} "
            f"and {len(pictures)} pictures such as {pictures[0]}: make two tables"
        )
    if pictures and frames > 1:
        raise ValueError(
            f"a picture is one frame, the model's clips are {frames}; the table has pictures such "
            f"as {pictures[0]}: take an image model (frames=1), or films"
        )
