"""Data sets by name, of pictures and films that come with packages: nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np

from ...backend.plain_text import did_you_mean
from ...backend.types import Array
from ..datasets import ArrayClips
from ..draws import MADE, rng_for
from . import camera, fashion, motion, moving_digits, pedestrians
from .samples import digit_images


@dataclass(frozen=True)
class Builtin:
    """A built-in data set: `make(rngs of train and test, **sizes)` gives clips, labels of each.

    Clips are (N, T, H, W, C) uint8, labels (N,) int64.
    """

    make: Callable
    classes: tuple[str, ...]
    direction_sensitive: bool  # a mirrored picture may be of another class: no flips
    about: str


def _street(rngs):
    """The demo's clips, each from its darkest to its brightest pixel in 0..255."""
    clips = motion.load_motion()
    train = as_pixels(clips.train_clips), clips.train_labels
    return train, (as_pixels(clips.test_clips), clips.test_labels)


def _digits(rngs):
    """-> train, test, each clips (N, 1, 8, 8, 1) and labels (N,)"""
    return tuple((images[:, None, :, :, None], digits) for images, digits in digit_images())


BUILTIN = {
    "moving_digits": Builtin(
        moving_digits.moving_digits, moving_digits.CLASSES, True,
        "which of 8 ways a digit goes over noise; 8 frames of 32 x 32, grey",
    ),
    "moving_digits_64": Builtin(
        moving_digits.moving_digits_64, moving_digits.CLASSES, True,
        "the same, larger and at up to 6 pixels per frame; 8 frames of 64 x 64, grey",
    ),
    "street": Builtin(
        _street, motion.LABELS, True,
        "which way the picture of a film goes, as in the demo; 8 frames of 32 x 32, grey",
    ),
    "camera": Builtin(
        camera.camera, camera.CLASSES, True,
        "which of 8 ways a camera moves over a photo; 8 frames of 32 x 32, colour",
    ),
    "digits": Builtin(
        _digits, tuple("0123456789"), True,
        "which digit it is; single pictures of 8 x 8, grey",
    ),
    "fashion": Builtin(
        fashion.fashion, fashion.CLASSES, False,
        "Fashion-MNIST: which piece of clothing; single pictures of 28 x 28, grey",
    ),
    "pedestrians": Builtin(
        pedestrians.pedestrians, pedestrians.CLASSES, True,
        "which way somebody walks before a camera that stands still; 8 frames of 32 x 32, grey",
    ),
}  # fmt: skip


def builtin(name: str, seed: int = 0, **sizes: Any) -> tuple[ArrayClips, ArrayClips]:
    """A built-in data set.   -> (train, test), each an `ArrayClips`

    seed   the same one gives the same clips; "street", "digits" and "fashion" are the same under
           any. The source of a clip is for training under every seed, or for the test.
    sizes  train, test: numbers of clips, as many of each class ("street" and "digits" have one size
           only). fashion: folder of the files. pedestrians: path of the film.

    Raises ValueError for an unknown name or size, FileNotFoundError or ImportError with the command
    that gets what is absent.
    """
    if name not in BUILTIN:
        rule = f"a built-in data set is one of {', '.join(BUILTIN)}"
        raise ValueError(f"{rule}; came {name!r}: {did_you_mean(name, BUILTIN)}")
    made = BUILTIN[name]
    _check(name, made, sizes)
    parts = made.make([rng_for(seed, MADE, part) for part in (0, 1)], **sizes)
    about = made.classes, made.direction_sensitive, name
    train, test = (ArrayClips(clips, labels, *about) for clips, labels in parts)
    return train, test


def as_pixels(clips: Array) -> Array:
    """(N, T, H, W, C) floats -> uint8, each clip from 0 to 255: its mean and contrast are lost."""
    axes = tuple(range(1, clips.ndim))
    low, high = clips.min(axes, keepdims=True), clips.max(axes, keepdims=True)
    return np.round((clips - low) * (255 / (high - low))).astype(np.uint8)


def _check(name, made, sizes):
    """Whether the set takes such sizes, and whether they are whole numbers of clips per class."""
    takes = list(signature(made.make).parameters)[1:]
    for size, value in sizes.items():
        if size not in takes:
            raise ValueError(
                f"{name} takes {', '.join(takes) or 'no sizes'}; came {size!r}: leave it out"
            )
        if size not in ("train", "test"):
            continue
        count = len(made.classes)
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if not whole or value < 1 or value % count:
            rule = f"{size} of {name} is a multiple of its {count} classes"
            raise ValueError(f"{rule}; came {value!r}: give {8 * count}, for instance")
