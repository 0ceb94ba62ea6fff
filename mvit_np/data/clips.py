"""From a film to the views of a test: clips uniform in time, crops in space (the paper's)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from ..backend.types import Array, Generator

Frame = TypeVar("Frame")

FPS = 30  # the frame rate that "16 frames, every 4th" counts in, whatever the film's own
SLACK = 1e-3  # seconds: containers round time stamps to milliseconds
SHORT_SIDE = 256 / 224  # of the picture, in units of the crop's side
NORMALISATIONS = {
    "video": (0.45, 0.225),  # Kinetics models
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),  # image models
    "clip": None,  # each clip by its own mean and deviation, as the demo trains
}


def clip_times(duration: float, frames: int, tau: float, clips: int, fps: float = FPS) -> Array:
    """When to sample.   -> (clips, frames) seconds since the first frame

    A clip of `frames` frames, each `tau` / `fps` s after the one before, spans their product. Clips
    start at equal distances from 0 to the last start that keeps them inside `duration` seconds; a
    single one is in the middle. In a shorter film all start at 0 and reach over the end, where the
    last frame is held. Clips of one frame (of an image model) are the middles of equal parts.

    Raises ValueError for numbers that are not above 0.
    """
    sizes = dict(duration=duration, frames=frames, tau=tau, clips=clips, fps=fps)
    for name, value in sizes.items():
        if not value > 0:
            raise ValueError(f"{name} is above 0; came {value}: give a positive number")
    if frames == 1:
        return ((np.arange(clips) + 0.5) * duration / clips)[:, None]
    starts = _spread(max(duration - frames * tau / fps, 0), clips)
    return starts[:, None] + np.arange(frames) * tau / fps


def random_times(duration: float, frames: int, tau: float, rng: Generator) -> Array:
    """When to sample a clip to train on.   -> (frames,) seconds since the first frame

    `frames` frames, each `tau` / 30 s after the one before, from a start drawn evenly from those
    that keep them inside `duration` seconds; from 0 in a shorter film.
    """
    return rng.uniform() * max(duration - frames * tau / FPS, 0) + np.arange(frames) * tau / FPS


def view_times(track: Any, frames: int, tau: float, clips: int) -> Array:
    """When to sample the clips that a model is tested on.   -> (V, frames) seconds, as `clip_times`

    track   the `Track` of a film or picture, or a `FilmPart`, since whose start the seconds count

    V is `clips`, or 1 for a picture and for a film no longer than a clip, where all would be one.
    """
    longer = len(track.times) > 1 and track.duration > frames * tau / FPS
    return clip_times(track.duration, frames, tau, clips if longer else 1)


def crop_corners(picture: Sequence[int], crop: Sequence[int], crops: int) -> list[tuple[int, int]]:
    """Where to cut.   picture, crop: (H, W)   ->   [(top, left)] pixels

    One crop is in the centre. More lie at equal distances along the axis on which the picture is
    larger than the crop by more (3: left, centre and right, or in a portrait top, centre and
    bottom), central on the other.

    Raises ValueError where the crop is larger than the picture or `crops` is below 1.
    """
    room = [have - need for have, need in zip(picture, crop)]
    if min(room) < 0:
        came = f"came {tuple(crop)} for {tuple(picture)} pixels"
        raise ValueError(f"a crop fits into its picture; {came}: enlarge the picture")
    if crops < 1:
        raise ValueError(f"a view has at least one crop; came {crops}: give 1 or 3")
    along = int(room[1] >= room[0])
    offsets = np.ceil(_spread(room[along], crops)).astype(int).tolist()
    across = -(-room[1 - along] // 2)
    return [(across, offset) if along else (offset, across) for offset in offsets]


def cover_of(size_hw: tuple[int, int]) -> tuple[int, int]:
    """The (H, W) that a picture covers so that crops of `size_hw` come out: 256 pixels for 224."""
    return tuple(round(side * SHORT_SIDE) for side in size_hw)  # type: ignore[return-value]


def covering_size(h: float, w: float, cover: tuple[int, int] | None = None) -> tuple[int, int]:
    """The smallest (height, width) of the aspect ratio h : w that covers `cover`, in pixels."""
    if cover is None:
        return round(h), round(w)
    scale = max(cover[0] / h, cover[1] / w)
    return max(round(h * scale), cover[0]), max(round(w * scale), cover[1])


def shown(frames: Iterable[tuple[float, Frame]], moments: Iterable[float]) -> Iterator[Frame]:
    """Of (time, frame) pairs, the frame shown at each ascending moment, or else the first."""
    waiting, held = list(moments), None
    for time, frame in frames:
        while waiting and waiting[0] + SLACK < time:
            yield frame if held is None else held
            waiting.pop(0)
        if not waiting:
            return
        held = frame
    if held is not None:
        yield from [held] * len(waiting)


def cut(frames: Array, corner: tuple[int, int], crop: tuple[int, int]) -> Array:
    """The part of size `crop` at (top, left).   (T, H, W, C) -> (T, *crop, C), a view"""
    (top, left), (h, w) = corner, crop
    return frames[:, top : top + h, left : left + w]


def normalise(
    frames: Array, how: str | Sequence[Any] = "video", dtype: DTypeLike = "float32"
) -> Array:
    """Pixels 0..255 to the range a model was trained on.   (..., C) uint8 -> the same shape, floats

    how: "video" (minus 0.45, by 0.225), "imagenet" (mean and deviation per channel), "clip" (its
    own), or (mean, deviation) of pixels in 0..1, each a number or one per channel. One-channel
    pictures take the mean of several. Raises ValueError for another.
    """
    x = np.asarray(frames, dtype=np.float32) / 255
    if how == "clip":
        mean, deviation = x.mean(), max(x.std(), 1e-6)
    else:
        mean, deviation = (_level(value, x.shape[-1]) for value in _levels(how))
    return ((x - mean) / deviation).astype(dtype)


def _levels(how):
    """(mean, deviation) of a normalisation."""
    if isinstance(how, str) and how in NORMALISATIONS:
        return NORMALISATIONS[how]
    if isinstance(how, (tuple, list)) and len(how) == 2:
        return how
    known = ", ".join(NORMALISATIONS)
    remedy = "pick one of them, or give (mean, deviation)"
    raise ValueError(f"normalisation is one of {known}; came {how!r}: {remedy}")


def _level(value, channels):
    """One number, or one per channel."""
    level = np.asarray(value, np.float32)
    if level.ndim and channels == 1:  # grey
        return level.mean()
    if level.ndim and level.shape != (channels,):
        raise ValueError(
            f"a normalisation has a number per channel; came {level.shape} for {channels} "
            "channels: give one per channel"
        )
    return level


def _spread(length, count):
    """`count` points from 0 to `length` at equal distances; a single one in the middle."""
    return np.linspace(0, length, count) if count > 1 else np.array([length / 2])
