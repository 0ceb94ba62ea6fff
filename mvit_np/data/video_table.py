"""A data set of films or pictures on disk: class folders or a list, read when asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..backend.plain_values import is_whole
from ..backend.types import Array, FilePath, Generator
from .class_folders import rows_of_folder
from .clips import random_times, view_times
from .datasets import BrokenExample
from .film_part import WHOLE, part_of
from .frame_cache import FrameCache
from .labels import check_name
from .media import is_picture
from .table_labels import check_one_class_each, classes_in, labels_in, notes_on
from .text_lists import rows_of_list
from .track import track_of
from .video import frames_at
from .video_file import RATE, is_the_files


@dataclass(frozen=True, eq=False)
class VideoTable:
    """Films (or pictures, for models of one frame) with a class each; a `Dataset`.

    A row is (path, label) of a film, or (path, label, start, end) of a part of it, in seconds.
    Labels are names of classes, or whole numbers that count them from `first_label` (07 is 7).
    Without `classes` (those of the training set, where this is the test set, which may lack some)
    they are the names that occur, sorted, or all numbers from 0 up to the highest. `notes` are
    sentences about what was left out, and about classes that cannot be learned.

    Raises ValueError for an empty table, labels of no class, numbers too high to count so few rows,
    a name of several lines, a file of two classes, films among pictures, pictures for a model of
    several frames and numbers that are not above 0. Whether the files are whole is found out only
    when they are read.
    """

    rows: Sequence[tuple[Any, ...]]  # once made: (path, label) each
    frames: int  # T, of a clip
    tau: float  # frames of 1/30 s from one frame of a clip to the next: the 4 of "16 x 4"
    cover_hw: tuple[int, int] | None  # (H, W) pixels: decoded as small as just covers these
    grey: bool = False
    classes: tuple[str, ...] | Any = field(default=None, kw_only=True)  # never None once made
    direction_sensitive: bool = field(default=False, kw_only=True)
    notes: tuple[str, ...] = field(default=(), kw_only=True, repr=False)
    cache: FrameCache | None = field(default=None, kw_only=True, repr=False)
    first_label: int = field(default=0, kw_only=True)
    frame_rate: float = field(default=RATE, kw_only=True)  # of folders of frames
    labels: Array = field(init=False, repr=False)
    # (start, end) of each row in seconds, or `WHOLE`
    spans: tuple[tuple[float, float], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        rows = tuple((Path(path), str(label)) for path, label, *_ in self.rows)
        spans = tuple(tuple(map(float, row[2:])) or WHOLE for row in self.rows)
        if not rows:
            rule = "a table of films has at least one row, (path, label)"
            raise ValueError(f"{rule}; came none: check where they come from")
        _check_sizes(self.frames, self.tau, self.cover_hw)
        _check_media([path for path, _ in rows], self.frames)
        for path, label in {label: (path, label) for path, label in rows}.values():
            check_name(label, f"the label of {path}")
        classes = classes_in(rows) if self.classes is None else tuple(self.classes)
        labels = labels_in(rows, classes, self.first_label)
        check_one_class_each(rows, spans, labels)
        notes = (*self.notes, *notes_on(classes, labels, counted=self.classes is None))
        made = dict(rows=rows, classes=classes, labels=labels, notes=notes, spans=spans)
        for name, value in made.items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_folder(
        cls, path: FilePath, frames: int, tau: float, cover_hw: tuple[int, int] | None,
        grey: bool = False, *, classes: tuple[str, ...] | None = None, **also: Any,
    ) -> VideoTable:  # fmt: skip
        """The films or pictures in `path`/class name/ and further in; a folder of none is no class.

        also   further fields: direction_sensitive, first_label, frame_rate, cache

        Classes are in the order of their names, or of their sizes if called by numbers. For a model
        of several frames a folder of numbered pictures inside a class's is a film. Raises
        FileNotFoundError or ValueError without such folders or films; else as the class.
        """
        rows, notes = rows_of_folder(Path(path), stills=frames == 1)
        if classes is None:
            classes = tuple(dict.fromkeys(label for _, label in rows))
        return cls(rows, frames, tau, cover_hw, grey, classes=classes, notes=tuple(notes), **also)

    @classmethod
    def from_csv(
        cls, path: FilePath, frames: int, tau: float, cover_hw: tuple[int, int] | None,
        grey: bool = False, *, root: FilePath | None = None, **also: Any,
    ) -> VideoTable:  # fmt: skip
        """The rows of a list (see `text_lists`) whose files are there.

        root   the folder that relative paths start from; None: the list's own
        also   further fields: classes, direction_sensitive, first_label, frame_rate, cache

        Raises FileNotFoundError for a missing list and where none of its files is there, ValueError
        for a row that is none; else as the class.
        """
        folder = None if root is None else Path(root)
        rows, notes = rows_of_list(Path(path), folder, also.get("frame_rate", RATE))
        return cls(rows, frames, tau, cover_hw, grey, notes=tuple(notes), **also)

    def take(self, indices: Iterable[int], notes: tuple[str, ...] = ()) -> VideoTable:
        """The table of some of the rows, with other notes.   indices: ascending"""
        rows = [(*self.rows[index], *self.spans[index]) for index in indices]
        return replace(self, rows=rows, notes=notes)

    def __len__(self) -> int:
        return len(self.rows)

    def clip(self, index: int, rng: Generator) -> Array:
        """A clip that starts anywhere it fits.   -> (T, h, w, 1 if grey else 3) uint8

        In a film shorter than a clip it starts at 0 and the last frame is held. Raises
        BrokenExample.
        """
        with self._reading(index) as (path, track, part):
            seconds = part.in_film(random_times(part.duration, self.frames, self.tau, rng))
            return self._frames(path, seconds, track)

    def views(self, index: int, clips: int) -> Array:
        """Clips uniform in time, as `clip_times` has them.

        -> (V, T, h, w, 1 if grey else 3) uint8

        V is `clips`, or 1 for a picture and for a film no longer than a clip. Raises BrokenExample.
        """
        with self._reading(index) as (path, track, part):
            times = part.in_film(view_times(part, self.frames, self.tau, clips))
            frames = self._frames(path, times.ravel(), track)
            return frames.reshape(*times.shape, *frames.shape[1:])

    def name_of(self, index: int) -> str:
        """Its path, and of a part its seconds."""
        path, (start, end) = self.rows[index][0], self.spans[index]
        return str(path) if (start, end) == WHOLE else f"{path} from {start:g} to {end:g} s"

    def _track(self, path):
        find = self.cache.track if self.cache else track_of
        return find(path, self.frame_rate)

    def _frames(self, path, seconds, track):
        how = {"cover": self.cover_hw, "grey": self.grey, "track": track}
        if self.cache:
            return self.cache.frames_at(path, seconds, **how)
        return frames_at(path, seconds, **how, threads=1)

    @contextmanager
    def _reading(self, index):
        """-> (path, `Track`, `FilmPart`); what is wrong with the file becomes a BrokenExample."""
        path = self.rows[index][0]
        try:
            track = self._track(path)
            yield path, track, part_of(track, self.spans[index], path)
        except Exception as problem:  # whatever a decoder raises, training goes on
            if not is_the_files(problem):
                raise
            reason = str(problem).replace(str(path), "it", 1)
            raise BrokenExample(self.name_of(index), reason) from problem


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
            f"as {pictures[0]}: take an image model (frames=1), or films, of which each may be a "
            "folder of numbered frames inside its class's"
        )
