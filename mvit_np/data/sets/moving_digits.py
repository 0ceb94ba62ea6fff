"""A digit moves in one of eight directions over noise: which? Neither digit nor place tells it.

digit -> enlarged -> laid on a torus (what leaves the picture at one side comes in at the other)
-> shifted -> noise added.

Every image goes in under all eight directions. On the torus a position is as likely in any frame of
any direction as another, so a single frame says nothing at all, and neither does the first one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...backend.types import Array, Generator
from .samples import LabelledClips, digit_images

# Where the digit goes, as the viewer sees it.
CLASSES = ("right", "down right", "down", "down left", "left", "up left", "up", "up right")
# Of each class (down, right).
STEPS = np.array([(0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1)])
FRAMES = 8  # of a clip


class Scene(NamedTuple):
    """How large a clip is, how fast the digit moves and how well it is seen."""

    size: int  # pixels per side
    enlarged: int  # times, the digit
    fastest: int  # pixels per frame, along each axis that it moves on
    digit: int  # its brightness at most
    noise: int  # brightness of the noise below; the two together within 0..255


SMALL, LARGE = Scene(32, 2, 3, 160, 96), Scene(64, 3, 6, 80, 176)


def moving_digits(
    rngs: Sequence[Generator], train: int = 4096, test: int = 1024, scene: Scene = SMALL
) -> tuple[LabelledClips, ...]:
    """The clips of the set.

    -> train, test, each clips (N, 8, 32, 32, 1) uint8, labels (N,) int64, all equally often

    No image is in both.
    """
    parts = zip(rngs, digit_images(), (train, test))
    count = len(CLASSES)
    return tuple(_moving(rng, images, n // count, scene) for rng, (images, _), n in parts)


def moving_digits_64(
    rngs: Sequence[Generator], train: int = 8192, test: int = 2048
) -> tuple[LabelledClips, ...]:
    """The same in 64 x 64 pixels, at six speeds, and hard to see."""
    return moving_digits(rngs, train, test, LARGE)


def _moving(rng, images, count, scene):
    """`count` images under each direction."""
    labels = np.tile(np.arange(len(CLASSES)), count)
    rounds = -(-count // len(images))
    chosen = np.concatenate([rng.permutation(len(images)) for _ in range(rounds)])
    chosen = chosen[:count].repeat(len(CLASSES))
    starts = rng.integers(scene.size, size=(len(labels), 1, 2))
    speeds = rng.integers(1, scene.fastest + 1, size=(len(labels), 1, 1))
    corners = starts + np.arange(FRAMES)[:, None] * speeds * STEPS[labels][:, None]  # (N, 8, 2)

    shape = len(labels), FRAMES, scene.size, scene.size
    clips = rng.integers(scene.noise, size=shape, dtype=np.uint8)
    clips += shifted(enlarged(images, scene)[chosen], corners)
    return clips[..., None], labels


def enlarged(images: Array, scene: Scene) -> Array:
    """(N, 8, 8) uint8 -> (N, S, S) uint8, dimmed, at the top left of an empty picture"""
    pictures = np.zeros((len(images), scene.size, scene.size), np.uint8)
    dimmed = (images * (scene.digit / 256)).astype(np.uint8)
    large = dimmed.repeat(scene.enlarged, 1).repeat(scene.enlarged, 2)
    pictures[:, : large.shape[1], : large.shape[2]] = large
    return pictures


def shifted(pictures: Array, corners: Array) -> Array:
    """Pictures (N, S, S) with the top left at corners (N, F, 2), around the torus.

    -> (N, F, S, S)
    """
    size = pictures.shape[-1]
    shown = np.empty((*corners.shape[:2], size, size), pictures.dtype)
    for picture, frames, starts in zip(pictures, shown, (-corners % size).tolist()):
        torus = np.tile(picture, (2, 2))
        for frame, (top, left) in zip(frames, starts):
            frame[...] = torus[top : top + size, left : left + size]
    return shown
