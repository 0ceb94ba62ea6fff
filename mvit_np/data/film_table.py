"""A data set of films or pictures on disk: one folder a class, or a CSV file. Nothing is read before it is asked for."""

from __future__ import annotations

import csv
import errno
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .clips import FPS, clip_times
from .datasets import BrokenExample
from .video import frames_at, track_of

VIDEOS = ".mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .ts .mts .m2ts .wmv .flv .3gp .ogv .h264 .gif".split()
IMAGES = ".png .jpg .jpeg .webp .bmp .tif .tiff".split()
HEADER = ["path", "label"]
NOT_THE_FILES_FAULT = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # the machine has no handles or memory left


@dataclass(frozen=True, eq=False)
class FilmTable:
    """Films (or pictures, for models of one frame) with a class each; a `Dataset`.

    Labels are names of classes, or whole numbers that count them from 0. Without `classes` (those of the training set, where
    this is the test set) they are the names that occur, sorted, or all numbers up to the highest.

    Raises ValueError for an empty table, labels of no class, films among pictures, pictures for a model of several frames
    and numbers that are not above 0. Whether the files are whole is found out only when they are read.
    """

    rows: tuple  # of (path, label)
    frames: int  # T, of a clip
    tau: float  # frames of 1/30 s from one frame of a clip to the next: the 4 of "16 x 4"
    cover_hw: tuple[int, int] | None  # the decoder shrinks pictures to the smallest size that covers these (H, W) pixels
    grey: bool = False
    classes: tuple[str, ...] | None = field(default=None, kw_only=True)
    direction_sensitive: bool = field(default=False, kw_only=True)
    labels: np.ndarray = field(init=False, repr=False)

    def __post_init__(self):
        rows = tuple((Path(path), str(label)) for path, label in self.rows)
        if not rows:
            raise ValueError("a table of films has at least one row, (path, label); came none: check where they come from")
        _check_sizes(self.frames, self.tau, self.cover_hw)
        _check_kind([path for path, _ in rows], self.frames)
        classes = _classes_in(rows) if self.classes is None else tuple(self.classes)
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "classes", classes)
        object.__setattr__(self, "labels", _labels_in(rows, classes))

    @classmethod
    def from_folder(cls, path, frames, tau, cover_hw, grey=False, *, classes=None, direction_sensitive=False):
        """The files in `path`/class name/, classes and files in order of their names (of numbers: by their size).

        Raises FileNotFoundError or ValueError where there are no such folders or one of them holds no film; else as the class.
        """
        rows = _rows_of_folder(Path(path))
        if classes is None:
            classes = tuple(dict.fromkeys(label for _, label in rows))
        return cls(rows, frames, tau, cover_hw, grey, classes=classes, direction_sensitive=direction_sensitive)

    @classmethod
    def from_csv(cls, path, frames, tau, cover_hw, grey=False, *, classes=None, direction_sensitive=False):
        """The rows `path,label` of a CSV file; relative paths start from its folder.

        A first row that names the columns "path" and "label" may put them anywhere among others. Raises FileNotFoundError for
        a missing file, ValueError for a row that is none; else as the class.
        """
        rows = _rows_of_csv(Path(path))
        return cls(rows, frames, tau, cover_hw, grey, classes=classes, direction_sensitive=direction_sensitive)

    def __len__(self):
        return len(self.rows)

    def clip(self, index, rng):
        """A clip that starts anywhere it fits.   -> (T, h, w, 1 if grey else 3) uint8

        In a film shorter than a clip it starts at 0 and the last frame is held. Raises BrokenExample.
        """
        with self._reading(index) as path:
            track = track_of(path)
            seconds = random_times(track.duration, self.frames, self.tau, rng)
            return frames_at(path, seconds, cover=self.cover_hw, grey=self.grey, track=track, threads=1)

    def views(self, index, clips):
        """Clips uniform in time, as `clip_times` has them.   -> (V, T, h, w, 1 if grey else 3) uint8

        V is `clips`, or 1 for a picture and for a film no longer than a clip. Raises BrokenExample.
        """
        with self._reading(index) as path:
            track = track_of(path)
            longer = len(track.times) > 1 and track.duration > self.frames * self.tau / FPS
            times = clip_times(track.duration, self.frames, self.tau, clips if longer else 1)
            frames = frames_at(path, times.ravel(), cover=self.cover_hw, grey=self.grey, track=track, threads=1)
            return frames.reshape(*times.shape, *frames.shape[1:])

    def name_of(self, index):
        """Its path."""
        return str(self.rows[index][0])

    @contextmanager
    def _reading(self, index):
        """-> the path; what is wrong with the file becomes a BrokenExample."""
        try:
            yield self.rows[index][0]
        except (ValueError, OSError) as problem:
            if getattr(problem.__cause__ or problem, "errno", None) in NOT_THE_FILES_FAULT:
                raise
            name = self.name_of(index)
            raise BrokenExample(name, str(problem).replace(name, "it", 1)) from problem


def random_times(duration, frames, tau, rng):
    """When to sample a clip to train on.   -> (frames,) seconds since the first frame

    `frames` frames, each `tau` / 30 s after the one before, from a start drawn evenly from those that keep them inside
    `duration` seconds; from 0 in a shorter film.
    """
    return rng.uniform() * max(duration - frames * tau / FPS, 0) + np.arange(frames) * tau / FPS


# -- tables -----------------------------------------------------------------------------------------------------------


def _rows_of_folder(folder):
    """-> [(path, name of its class)]"""
    if not folder.is_dir():
        raise FileNotFoundError(f"films come from a folder, and there is none at {folder}: check the path")
    inside = [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    if not inside:
        raise ValueError(f"{folder} holds no class's folder: put films into {folder}/class_name/, or list them in a CSV file")
    if all(path.name.isdecimal() for path in inside):
        inside.sort(key=lambda path: int(path.name))
    found = {path.name: [film for film in sorted(path.iterdir()) if _is_media(film)] for path in inside}
    for name, films in found.items():
        if not films:
            raise ValueError(f"{folder / name} is a class's folder and holds no film or picture: add some, or delete it")
    return [(film, name) for name, films in found.items() for film in films]


def _is_media(path):
    return path.suffix.lower() in VIDEOS + IMAGES and path.is_file() and not path.name.startswith(".")


def _rows_of_csv(path):
    """-> [(path, label)], each path of a file that is there"""
    if not path.is_file():
        raise FileNotFoundError(f"a table comes from a CSV file, and there is none at {path}: check the path")
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            lines = [(f"row {number} of {path}", line) for number, line in enumerate(csv.reader(file), 1) if any(line)]
    except (UnicodeDecodeError, csv.Error) as problem:
        raise ValueError(f"{path} is not text in UTF-8 with commas ({problem}): save it as such") from None
    titles = [title.strip().lower() for title in lines[0][1]] if lines else []
    if set(HEADER) <= set(titles):
        lines = lines[1:]
    else:
        titles = HEADER
    if not lines:
        raise ValueError(f"a table of films has at least one row, path,label; {path} has none: fill it in")
    return [_row(where, line, path.parent, titles) for where, line in lines]


def _row(where, line, folder, titles):
    """One line of a CSV file -> (path, label)"""
    if len(line) != len(titles):
        raise ValueError(f"{where} has {len(line)} columns instead of {len(titles)}: write {','.join(titles)}")
    film, label = (line[titles.index(title)].strip() for title in HEADER)
    if not film or not label:
        raise ValueError(f"{where} has an empty {'label' if film else 'path'}: fill it in")
    if not (folder / film).is_file():
        raise FileNotFoundError(
            f"{where} names {film}, and there is no such file: correct it (relative paths start from {folder}; "
            "a first row of titles is path,label)"
        )
    return folder / film, label


def _classes_in(rows):
    """The classes that the labels speak of."""
    names = sorted({label for _, label in rows})
    if not all(_is_whole(name) for name in names):
        return tuple(names)
    for path, label in rows:
        if int(label) < 0:
            raise ValueError(f"labels count the classes from 0; {path} has {label}: leave out what has no class")
    return tuple(str(index) for index in range(max(map(int, names)) + 1))


def _is_whole(label):
    return label.removeprefix("-").isdecimal()


def _labels_in(rows, classes):
    """-> (N,) int64, indices into `classes`"""
    index_of = {name: index for index, name in enumerate(classes)}
    if not any(_is_whole(name) for name in classes):  # else a number is a name
        index_of |= {str(index): index for index in range(len(classes))}
    for path, label in rows:
        if label not in index_of:
            known = ", ".join(classes[:3]) + (", ..." if len(classes) > 3 else "")
            raise ValueError(
                f"{path} is labelled {label!r}, which is none of the {len(classes)} classes ({known}): "
                "correct the label, or train on that class too"
            )
    return np.array([index_of[label] for _, label in rows], dtype=np.int64)


def _check_sizes(frames, tau, cover_hw):
    if isinstance(frames, bool) or not isinstance(frames, int) or frames < 1:
        raise ValueError(f"frames are a whole number above 0; came {frames!r}: give T, such as 16")
    if not tau > 0:
        raise ValueError(f"tau is above 0; came {tau}: give frames of 1/30 s, such as 4")
    if cover_hw is not None and (len(cover_hw) != 2 or min(cover_hw) < 1):
        raise ValueError(f"cover_hw is (H, W) in pixels or None; came {cover_hw!r}: give such as (256, 256)")


def _check_kind(paths, frames):
    """Films or pictures, and the latter only for a model of one frame."""
    pictures = [path for path in paths if path.suffix.lower() in IMAGES]
    films = [path for path in paths if path.suffix.lower() not in IMAGES]
    if films and pictures:
        raise ValueError(
            f"a table holds films or pictures; this one has {len(films)} films such as {films[0]} and {len(pictures)} pictures "
            f"such as {pictures[0]}: make two tables"
        )
    if pictures and frames > 1:
        raise ValueError(
            f"a picture is one frame, the model's clips are {frames}; the table has pictures such as {pictures[0]}: "
            "take an image model (frames=1), or films"
        )
