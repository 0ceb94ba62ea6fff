"""People walk across a square under a still camera: left or right? From OpenCV's film vtest.avi.

film -> what differs from the empty square -> shifts by phase correlation
-> windows in which it clearly goes sideways.

Nobody has labelled this film: the labels are measured, as the street's are, and doubtful windows
are left out. The empty square is the median over time. Half of the windows, drawn at random, are
mirrored, and each goes in as it is and reversed in time, which turns the label: the frames of a
clip without their order fit both. The test is the end of the film, four seconds after the part for
training, but it is the same square, and somebody may walk through both.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ...backend.types import Array, FilePath, Generator
from ..video import decode
from .motion import LABELS, PEAK, clearly_sideways, shifts
from .samples import LabelledClips

CLASSES = LABELS
FOLDERS = ("/usr/share/doc/opencv-doc/examples/data", "/usr/share/opencv4/samples/data")
FILE = "vtest.avi"  # 795 frames, 768 x 576, 10 frames per second
REMEDY = "apt-get install opencv-doc, or pass path= of the film"

HEIGHT = 144  # pixels: a quarter of the film's
FRAMES, SIZE = 8, 32  # of a clip; pixels per side
GRID = SIZE // 2  # pixels between windows
PARTS = (0, 0.7), (0.75, 1)  # of the film: for training and for the test
SOMEBODY = 20  # of 255, from the empty square: more than the noise of the camera
SHARE = 0.02  # of a window's pixels show somebody in every frame, at least


def pedestrians(
    rngs: Sequence[Generator], train: int = 2048, test: int = 512, path: FilePath | None = None
) -> tuple[LabelledClips, ...]:
    """The clips of the set.

    -> train, test, each clips (N, 8, 32, 32, 1) uint8 and labels (N,) int64, half of each

    No frame is in both.

    Raises FileNotFoundError where the film is absent, ValueError for more clips than it holds, else
    as `decode` does.
    """
    film = decode(_found(path), height=HEIGHT, grey=True)[..., 0]
    ends = [[round(len(film) * end) for end in part] for part in PARTS]
    parts = zip(rngs, ends, (train, test))
    return tuple(_both_ways(rng, film[start:stop], n) for rng, (start, stop), n in parts)


def _found(path):
    """Where the film is."""
    tried = [Path(path)] if path is not None else [Path(folder) / FILE for folder in FOLDERS]
    for file in tried:
        if file.is_file():
            return file
    raise FileNotFoundError(
        f"pedestrians walk in {FILE}, which is not at {' or '.join(map(str, tried))}: {REMEDY}"
    )


def _both_ways(rng, frames, clips):
    """Windows drawn without return.   (F, H, W) uint8 -> clips (N, 8, 32, 32, 1), labels (N,)"""
    windows, labels = walking(frames)
    if clips // 2 > len(windows):
        raise ValueError(
            f"this part of the film holds {2 * len(windows)} clips; came {clips}: ask for fewer"
        )
    chosen = rng.permutation(len(windows))[: clips // 2]
    windows = windows[chosen]
    once = np.stack([frames[t : t + FRAMES, y : y + SIZE, x : x + SIZE] for t, y, x in windows])
    mirrored = rng.random(len(once)) < 0.5
    once[mirrored] = once[mirrored, :, :, ::-1]
    labels = labels[chosen] ^ mirrored

    both = np.stack([once, once[:, ::-1]], axis=1)  # (N / 2, 2, 8, 32, 32)
    return both.reshape(-1, FRAMES, SIZE, SIZE, 1), np.stack([labels, 1 - labels], axis=1).ravel()


def walking(frames: Array) -> tuple[Array, Array]:
    """Where somebody clearly walks to one side.

    (F, H, W) uint8 -> (N, 3) first frame, top, left; labels (N,)
    """
    found, labels = [np.empty((0, 3), np.int64)], [np.empty(0, np.int64)]
    if len(frames) < FRAMES:
        return found[0], labels[0]
    people = people_in(frames)
    rows, columns = (length - SIZE + 1 for length in people.shape[1:])
    for top in range(0, rows, GRID):
        for left in range(0, columns, GRID):
            starts, label = _starts(people[:, top : top + SIZE, left : left + SIZE])
            corner = np.full_like(starts, top), np.full_like(starts, left)
            found.append(np.column_stack([starts, *corner]))
            labels.append(label)
    return np.concatenate(found), np.concatenate(labels)


def people_in(frames: Array) -> Array:
    """What differs from the empty square, by how much; 0 elsewhere.

    (F, H, W) uint8 -> (F, H, W) float32
    """
    difference = frames - np.median(frames, axis=0).astype(np.float32)
    return np.where(np.abs(difference) > SOMEBODY, difference, np.float32(0))


def _starts(track):
    """At which frames of a window clips can begin, and their labels.   (F, 32, 32) -> (N,), (N,)"""
    moves, peaks = shifts(track)
    down, right = (sliding_window_view(moves[:, axis], FRAMES - 1) for axis in (0, 1))
    sure = sliding_window_view(peaks, FRAMES - 1).min(-1) > PEAK
    seen = sliding_window_view((track != 0).mean((1, 2)), FRAMES).min(-1) > SHARE
    starts = np.flatnonzero(clearly_sideways(right, down) & sure & seen)
    return starts, (right.sum(-1) > 0)[starts].astype(np.int64)
