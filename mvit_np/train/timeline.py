"""What a model says along a film, clip by clip, and where in its frames the answer comes from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..backend import tree as trees
from ..backend.arrays import from_host
from ..backend.types import Array, FilePath, Params
from ..data.clips import FPS, cover_of, covering_size, crop_corners, normalise
from ..data.track import track_of
from ..data.video import frames_at
from ..model.config import MViTConfig
from ..model.relevance import relevance
from .evaluate import Views, crops_of, predictor, probabilities

TOGETHER = 8  # clips that are decoded at once, one after another


class Window(NamedTuple):
    """A clip of a film, and what the model says of it."""

    start: float  # seconds
    end: float
    probabilities: Array  # (classes,)
    clip: Array  # (1, T, H, W, C), as the model gets it


def window_starts(duration: float, config: MViTConfig, tau: float, stride: float | None) -> Array:
    """When the clips begin that slide over a film, in seconds.

    stride   seconds from one to the next; None: half of a clip, or for single frames a second

    A film that is shorter than a clip has one, from its start. Raises ValueError for a stride that
    is not above 0.
    """
    span = config.frames * tau / FPS if config.frames > 1 else 0.0
    if stride is None:
        stride = span / 2 if config.frames > 1 else 1.0
    if not stride > 0:
        raise ValueError(f"a stride is above 0 seconds; came {stride:g}: give such as 0.5")
    return np.arange(0, max(duration - span, 0) + 1e-9, stride)


def windows(
    params: Params, config: MViTConfig, path: FilePath, starts: Array, tau: float,
    normalisation: str | tuple,
) -> Iterator[Window]:  # fmt: skip
    """What the model says of the clip from each start on, in order; its central part is shown.

    The film is decoded along, a few clips at a time. Raises FileNotFoundError or ValueError for a
    file that cannot be read.
    """
    track, predict = track_of(path), predictor(params, config)
    cover, grey = cover_of(config.size_hw), config.channels == 1
    shown, dtype = Views(config.size_hw, 1, 1), trees.leaves(params)[0].dtype
    along = np.arange(config.frames) * tau / FPS
    for first in range(0, len(starts), TOGETHER):
        times = starts[first : first + TOGETHER, None] + along
        frames = frames_at(path, times.ravel(), cover=cover, grey=grey, track=track)
        frames = frames.reshape(*times.shape, *frames.shape[1:])
        for seconds, view in zip(times, crops_of(frames, shown)):
            clip = normalise(view, normalisation, dtype)[None]
            end = min(float(seconds[-1]) + tau / FPS, track.duration)
            yield Window(float(seconds[0]), end, probabilities(predict(clip))[0], clip)


def relevance_of(params: Params, config: MViTConfig, window: Window, index: int) -> Array:
    """What speaks for a class in a clip of a film.   ->   (t, h, w) float32"""
    clip = from_host(window.clip, trees.leaves(params)[0])
    return relevance(params, clip, config, [index])[0].astype(np.float32)


def heat_at(second: float, edges: Array, maps: Sequence[Array]) -> Array:
    """The mean of the maps that clips have at a moment.   ->   (h, w)

    edges   (N, 2) seconds: where each clip begins and ends
    maps    N of (t, h, w)

    Where no clip is, the nearest one's end or beginning is held.
    """
    start, end = edges.T
    here = np.flatnonzero((start <= second) & (second < end)).tolist()
    found = []
    for k in here or [int(np.abs(edges - second).min(axis=1).argmin())]:
        part = (second - start[k]) / max(end[k] - start[k], 1e-9)
        found.append(maps[k][int(np.clip(part * len(maps[k]), 0, len(maps[k]) - 1))])
    return np.mean(found, axis=0)


def seen_part(picture_hw: tuple[int, int], size_hw: tuple[int, int]) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) pixels of a picture that a model of clips of a size sees."""
    cover = covering_size(*picture_hw, cover_of(size_hw))
    (top, left), scale = crop_corners(cover, size_hw, 1)[0], picture_hw[0] / cover[0]
    edges = top, left, top + size_hw[0], left + size_hw[1]
    most = (picture_hw * 2)[:4]
    found = [min(round(edge * scale), limit) for edge, limit in zip(edges, most)]
    return found[0], found[1], found[2], found[3]
