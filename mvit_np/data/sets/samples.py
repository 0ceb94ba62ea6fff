"""Pictures that come with scikit-learn: 1,797 digits written by hand and two photos."""

from typing import TypeAlias

import numpy as np

from ...backend.install import install
from ...backend.types import Array

LabelledClips: TypeAlias = tuple[Array, Array]  # or pictures, and an index of a class for each

PHOTOS = ("china.jpg", "flower.jpg")  # 640 x 427 pixels each
HELD_OUT = 50  # images of each digit for the test: the last in the file, written last


def digit_images() -> tuple[LabelledClips, ...]:
    """The digits, all equally often.

    -> train, test, each images (N, 8, 8) uint8, 0..255, and digits (N,) int64

    Raises ImportError without scikit-learn.
    """
    found = _datasets().load_digits()
    indices = [np.flatnonzero(found.target == digit) for digit in range(10)]
    kept = min(map(len, indices)) - HELD_OUT
    ends = slice(kept), slice(-HELD_OUT, None)
    parts = [np.sort(np.concatenate([own[part] for own in indices])) for part in ends]
    brightness = np.round(found.images * (255 / 16)).astype(np.uint8)
    return tuple((brightness[part], found.target[part].astype(np.int64)) for part in parts)


def photos() -> list[Array]:
    """A temple and a flower.   -> [(427, 640, 3) uint8 RGB]

    Raises ImportError without scikit-learn.
    """
    return [np.asarray(_datasets().load_sample_image(name)) for name in PHOTOS]


def _datasets():
    """-> the module sklearn.datasets, imported only when a set is made from it."""
    try:
        from sklearn import datasets
    except ModuleNotFoundError as error:
        raise ImportError(
            f"the pictures come with scikit-learn, which is not installed: {install('data')}"
        ) from error
    return datasets
