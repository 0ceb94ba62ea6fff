"""What the films of a table are before any is learned from: lengths, sizes, what is wrong."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..backend.types import Array
from .clips import covering_size
from .film_part import part_of
from .frame_folders import frames_in, size_of
from .holdout import film_of, is_cut
from .loader import run_ahead
from .track import track_of
from .transforms import resize
from .video import frames_at
from .video_file import is_the_files
from .video_table import VideoTable

SMALL = (120, 160)  # (H, W) pixels that a picture for a contact sheet covers
GLANCE = (8, 8)  # pixels of the same frame, to compare it with another
# By how much two copies of a film differ at most: in length, and in the grey of these pixels.
ALIKE_S, ALIKE_GREY = 0.1, 6.0
PIECE = 2**20  # bytes that are read at once


@dataclass(frozen=True)
class Seen:
    """What was found out about an example. Of one that cannot be read, the numbers are 0."""

    part: str  # "train" or "tests"
    path: Path
    label: str
    start: float  # seconds of the film, and `inf` for its end
    end: float
    problem: str = ""  # why it cannot be read
    bytes: int = 0  # of the file, or of all frames of a folder
    seconds: float = 0.0  # of the part that is an example; 0 of a picture
    frames: int = 0  # in these
    rate: float = 0.0  # frames per second; 0 of a picture
    height: int = 0  # pixels, upright
    width: int = 0
    picture: Array | None = None  # (h, w, 3) uint8: the frame in the middle, small
    glance: Array | None = None  # (8, 8): its grey values, smaller


def survey(table: VideoTable, part: str = "train", workers: int = 2) -> Iterator[Seen]:
    """Each example of a table, in order: its film is read through, one frame of it is decoded.

    Raises ImportError where there is no decoder.
    """
    with ThreadPoolExecutor(max(workers, 1)) as pool:
        yield from run_ahead(
            lambda index: pool.submit(_seen, table, index, part), range(len(table)), 2 * workers
        )


def _seen(table, index, part):
    (path, _), (start, end) = table.rows[index], table.spans[index]
    what = part, path, table.classes[table.labels[index]], start, end
    try:
        track = track_of(path, table.frame_rate)
        own = part_of(track, (start, end), path)
        middle = own.in_film(np.array([own.duration / 2]))
        frame = frames_at(path, middle, track=track, threads=1)
        _check_whole(path)
    except Exception as problem:  # files are broken in unforeseen ways
        if not is_the_files(problem):
            raise
        return Seen(*what, problem=str(problem).replace(str(path), "it", 1))
    h, w = frame.shape[1:3]
    moves, small = len(track.times) > 1, resize(frame, covering_size(h, w, SMALL))
    return Seen(
        *what, bytes=size_of(path), seconds=own.duration * moves, frames=len(own.times),
        rate=len(track.times) / track.duration * moves, height=h, width=w,
        picture=small[0], glance=resize(small, GLANCE)[0].mean(-1),
    )  # fmt: skip


def _check_whole(path):
    """Raise ValueError for a folder with frames of no byte, as a full disk leaves them."""
    empty = [file for file in frames_in(path) if not file.stat().st_size] if path.is_dir() else []
    if empty:
        raise ValueError(f"{len(empty)} of its frames hold no byte, such as {empty[0].name}")


def same_bytes(seen: Iterable[Seen]) -> list[list[Seen]]:
    """Groups of films that are there more than once, byte by byte, under several names."""
    by_size: dict[int, dict[str, Seen]] = {}
    for one in seen:
        if not one.problem:
            by_size.setdefault(one.bytes, {}).setdefault(os.path.abspath(one.path), one)
    groups: dict[bytes, list[Seen]] = {}
    for films in by_size.values():
        for one in films.values() if len(films) > 1 else ():
            groups.setdefault(_digest(one.path), []).append(one)
    return [group for group in groups.values() if len(group) > 1]


def _digest(path):
    digest = hashlib.sha256()
    for file in frames_in(path) if path.is_dir() else [path]:
        with open(file, "rb") as opened:
            while piece := opened.read(PIECE):
                digest.update(piece)
    return digest.digest()


def same_films(seen: Iterable[Seen]) -> list[tuple[Seen, Seen]]:
    """Pairs (to learn from, to test on) that are probably of one film, by their names.

    They are pieces of one film of Kinetics or UCF101, or are called alike and are alike: in length
    and in what the frame in the middle shows at a glance.
    """
    learned: dict[str, list[Seen]] = {}
    tested: dict[str, list[Seen]] = {}
    for one in seen:
        if not one.problem:
            (learned if one.part == "train" else tested).setdefault(film_of(one.path), []).append(
                one
            )
    pairs = []
    for film in learned.keys() & tested.keys():
        found = [
            (ours, theirs) for theirs in tested[film] for ours in learned[film]
            if is_cut(theirs.path) or _alike(ours, theirs)
        ]  # fmt: skip
        pairs += found[:1]
    return sorted(pairs, key=lambda pair: pair[1].path)


def _alike(one, other):
    if not one.rate or abs(one.seconds - other.seconds) > ALIKE_S:
        return False
    return bool(np.abs(one.glance - other.glance).mean() < ALIKE_GREY)
