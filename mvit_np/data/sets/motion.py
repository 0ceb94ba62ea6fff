"""Which way does the picture move, left or right? On real video; no single frame can tell.

film -> shots -> windows over 8 frames -> shifts by phase correlation
-> clips with a clear direction -> four ways each.

Every clip goes in four times: as it is, mirrored, reversed in time, and both. Mirroring turns the
label and so does reversal, so each set of frames appears under both labels equally often, and a
model blind to their order gets exactly half right. That makes the task a small stand-in for the
paper's question of whether a video model uses time (Table 9).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ...backend.types import Array, Generator
from ..video import decode
from .films import film_paths

LABELS = ("left", "right")  # where the content of the picture goes, as the viewer sees it

FRAMES = 8  # of a clip
SIZE = 32  # pixels per side of a clip, resampled from
WINDOW = 40  # pixels per side of a film shrunk to
HEIGHT = 136  # pixels: half of the street film's
GRID = 20  # pixels between windows: half a window
STRIDES = (1, 2)  # every frame, and every second frame

# Mean absolute difference of successive frames, of 255: in these films at most 21 in a shot, at
# least 50 at a cut.
CUT = 22.0
TRAVEL = 5  # pixels that a window's content moves over the clip, at least
DOMINANCE = 2  # times the pixels moved up and down, at least
PEAK = 0.2  # of the phase correlation at every step, at least: below it something else passes
CONTRAST = 8.0  # standard deviation over the clip, of 255, at least

# The shots of the test, held out whole: overlapping windows of one shot are near-duplicates, which
# a random split would put on both sides. Chosen by hand, before any model saw them, as about a
# quarter of the clips, from two films, moving both ways: a slow pan across a parked van (left),
# cars behind a fence (right), a man moving his head (both).
HELD_OUT = ("bikes 2", "bikes 3", "carphone 0")


@dataclass(frozen=True)
class MotionClips:
    """Clips with their labels and shots, four times as many as were cut out: see `four_ways`.

    clips   (N, 8, 32, 32, 1) float32, each of mean 0 and deviation 1
    labels  (N,) int64, indices into LABELS; shots (N,) int64, indices into `shot_names`
    """

    train_clips: Array
    train_labels: Array
    train_shots: Array
    test_clips: Array
    test_labels: Array
    test_shots: Array
    shot_names: tuple[str, ...]  # "film k", k counting the film's shots from 0


def load_motion(progress: Callable[[str], Any] | None = None) -> MotionClips:
    """The whole task, the same at every call, in a few seconds.

    progress: called with a film's name before each
    """
    found = {}
    for film, path in film_paths().items():
        if progress is not None:
            progress(film)
        frames = decode(path, height=HEIGHT, grey=True)[..., 0]
        for k, (start, stop) in enumerate(shots(frames)):
            found[f"{film} {k}"] = moving_clips(frames[start:stop])

    names = tuple(found)
    train = _gather(found, [name for name in names if name not in HELD_OUT], names)
    test = _gather(found, HELD_OUT, names)
    return MotionClips(*train, *test, names)


def _gather(found, chosen, names) -> tuple[Array, Array, Array]:
    """-> clips (4 N, 8, 32, 32, 1), labels (4 N,), shots (4 N,) of the chosen shots"""
    shots_of = zip(*(found[name] for name in chosen), strict=True)
    clips, labels = map(np.concatenate, shots_of)
    ids = np.concatenate([np.full(len(found[name][1]), names.index(name)) for name in chosen])
    return *four_ways(clips, labels), np.tile(ids, 4)


def shots(frames: Array) -> list[tuple[int, int]]:
    """(F, H, W) uint8 -> [(start, stop), ...]: what lies between cuts, together every frame."""
    # One pair at a time: a whole film in int16 would be large.
    jumps = [np.abs(b.astype(np.int16) - a).mean() for a, b in pairwise(frames)]
    ends = [0, *(np.flatnonzero(np.array(jumps) > CUT) + 1).tolist(), len(frames)]
    return list(pairwise(ends))


def shifts(frames: Array, stride: int = 1) -> tuple[Array, Array]:
    """How far the content moves from each frame to the one `stride` later, and how surely.

    (..., F, S, S) -> moves (..., F - stride, 2) int, peaks (..., F - stride)

    A move is (down, right) in whole pixels, from -S/2 to S/2; a peak is 1 for two equal pictures
    and about 0.1 for two with nothing in common. Phase correlation: a shift by d multiplies the
    spectrum by exp(-i w d), so the cross-spectrum with its magnitudes divided out is the transform
    of a peak at d.
    """
    size = frames.shape[-1]
    spectra = np.fft.rfft2(_tapered(frames))
    cross = spectra[..., stride:, :, :] * spectra[..., :-stride, :, :].conj()
    cross /= np.abs(cross) + 1e-6  # a flat window has no spectrum: it stays at zero
    surface = np.fft.irfft2(cross, s=(size, size)).reshape(*cross.shape[:-2], -1)

    moves = np.stack(np.divmod(surface.argmax(-1), size), axis=-1)
    return (moves + size // 2) % size - size // 2, surface.max(-1)


def _tapered(frames):
    """(..., S, S) -> float32, mean 0 and faded out at the edges, whose jump would correlate."""
    x = frames.astype(np.float32)
    fade = np.hanning(x.shape[-1] + 2)[1:-1].astype(np.float32)
    return (x - x.mean((-2, -1), keepdims=True)) * fade * fade[:, None]


def moving_clips(shot: Array) -> tuple[Array, Array]:
    """Windows of a shot that clearly move left or right.

    (F, H, W) uint8 -> clips (N, 8, 32, 32, 1), labels (N,)
    """
    clips, labels = [np.empty((0, FRAMES, WINDOW, WINDOW), np.uint8)], [np.empty(0, np.int64)]
    windows = sliding_window_view(shot, (WINDOW, WINDOW), axis=(1, 2))[:, ::GRID, ::GRID]
    tracks = windows.transpose(1, 2, 0, 3, 4).reshape(-1, len(shot), WINDOW, WINDOW)

    for stride in STRIDES:
        if len(shot) > (FRAMES - 1) * stride:
            clip, label = _pick(tracks, stride)
            clips.append(clip)
            labels.append(label)
    return normalised(shrunk(np.concatenate(clips)))[..., None], np.concatenate(labels)


def _pick(tracks, stride):
    """(windows, F, 40, 40) uint8 -> clips (N, 8, 40, 40) uint8, labels (N,)"""
    found = [shifts(track, stride) for track in tracks]  # a window at a time: it stays in the cache
    moves, peaks = (_spans(np.stack(part), FRAMES - 1, stride) for part in zip(*found, strict=True))
    down, right = moves[:, :, 0], moves[:, :, 1]  # (windows, starts, 7)
    keep = clearly_sideways(right, down) & (peaks > PEAK).all(-1)

    clips = np.moveaxis(_spans(tracks, FRAMES, stride)[keep], -1, 1)
    sharp = clips.std((1, 2, 3)) > CONTRAST
    return clips[sharp], (right.sum(-1) > 0)[keep][sharp].astype(np.int64)


def _spans(x, count, stride):
    """(windows, F, ...) -> (windows, starts, ..., count): runs of every `stride`-th frame."""
    return sliding_window_view(x, (count - 1) * stride + 1, axis=1)[:, ::stride, ..., ::stride]


def clearly_sideways(right: Array, down: Array) -> Array:
    """Whether all steps go one way, far enough, and mostly sideways.

    right, down: (..., steps) pixels -> (...) bool
    """
    agree = (right > 0).all(-1) | (right < 0).all(-1)
    travel = np.abs(right.sum(-1))
    return agree & (travel >= TRAVEL) & (travel >= DOMINANCE * np.abs(down).sum(-1))


def shrunk(clips: Array) -> Array:
    """(..., 40, 40) -> (..., 32, 32) float32, each pixel a mean of 1.25 x 1.25 old ones."""
    old, new = np.arange(WINDOW), np.arange(SIZE)[:, None] * WINDOW / SIZE
    cover = np.minimum(new + WINDOW / SIZE, old + 1) - np.maximum(new, old)  # (32, 40) pixels
    area = (cover.clip(0) * SIZE / WINDOW).astype(np.float32)
    return area @ clips.astype(np.float32) @ area.T


def normalised(clips: Array) -> Array:
    """(N, F, H, W) -> the same with mean 0 and standard deviation 1 over each clip"""
    axes = tuple(range(1, clips.ndim))
    return (clips - clips.mean(axes, keepdims=True)) / clips.std(axes, keepdims=True)


def four_ways(clips: Array, labels: Array) -> tuple[Array, Array]:
    """As they are, mirrored, reversed in time, both.

    (N, F, H, W, C), (N,) -> (4 N, F, H, W, C), (4 N,)
    """
    mirrored, reverse = clips[:, :, :, ::-1], slice(None, None, -1)
    ways = np.concatenate([clips, mirrored, clips[:, reverse], mirrored[:, reverse]])
    return ways, np.concatenate([labels, 1 - labels, 1 - labels, labels])


def shuffle_frames(clips: Array, rng: Generator) -> Array:
    """A new array with the frames of each clip in an order of its own (Table 9).

    (N, F, ...) -> (N, F, ...)
    """
    order = rng.permuted(np.tile(np.arange(clips.shape[1]), (len(clips), 1)), axis=1)
    return clips[np.arange(len(clips))[:, None], order]
