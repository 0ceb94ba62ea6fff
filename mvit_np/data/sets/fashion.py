"""Fashion-MNIST: 70,000 pictures of ten classes of clothing, from a Debian package's files."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...backend.types import Array, FilePath, Generator
from .samples import LabelledClips

CLASSES: tuple[str, ...] = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt")
CLASSES += ("sneaker", "bag", "ankle boot")
FOLDER = "/usr/share/datasets/fashion-mnist"
FILES = "train", "t10k"  # for training and for the test
REMEDY = "apt-get install dataset-fashion-mnist, or pass folder= with its four files"


def fashion(
    rngs: Sequence[Generator], train: int = 60_000, test: int = 10_000, folder: FilePath = FOLDER
) -> tuple[LabelledClips, ...]:
    """The pictures of the set, the first of each class.

    -> train, test, each clips (N, 1, 28, 28, 1) uint8 and labels (N,) int64

    The split is the files' own; rngs is not used. Raises FileNotFoundError, or ValueError for files
    that are not in the idx format.
    """
    return tuple(_part(Path(folder), name, count) for name, count in zip(FILES, (train, test)))


def _part(folder, name, count):
    labels = idx(folder / f"{name}-labels-idx1-ubyte.gz")
    images = idx(folder / f"{name}-images-idx3-ubyte.gz")
    if labels.ndim != 1 or images.shape != (len(labels), 28, 28):
        came = f"{name} of {folder} has {images.shape}, {labels.shape}"
        raise ValueError(f"each 28 x 28 picture has a label; {came}: {REMEDY}")
    chosen = first_of_each(labels, count // len(CLASSES))
    return images[chosen][:, None, :, :, None], labels[chosen].astype(np.int64)


def first_of_each(labels: Array, count: int) -> Array:
    """The indices of the first `count` of each class, ascending.   (N,) -> (10 count,)

    Raises ValueError where a class has fewer.
    """
    indices = [np.flatnonzero(labels == label) for label in range(len(CLASSES))]
    fewest = min(map(len, indices))
    if count > fewest:
        rule = f"a class of Fashion-MNIST has {fewest} pictures here"
        raise ValueError(f"{rule}; came {count} of each: ask for fewer")
    return np.sort(np.concatenate([own[:count] for own in indices]))


def idx(path: Path) -> Array:
    """The array of an idx file of bytes.

    That is 0, 0, 8, the number of axes, their lengths (4 bytes each), and the values.
    Raises FileNotFoundError, or ValueError for another file.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"Fashion-MNIST is read from files, and there is none at {path}: {REMEDY}"
        )
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as problem:
        raise ValueError(f"{path} is not a gzip file ({problem}): {REMEDY}") from None
    axes = content[3] if content[:3] == b"\0\0\x08" and len(content) > 3 else 0
    shape = np.frombuffer(content, ">u4", axes, 4).tolist() if len(content) >= 4 + 4 * axes else []
    values = content[4 + 4 * axes :]
    if not shape or len(values) != math.prod(shape):
        raise ValueError(f"{path} is not an idx file of bytes, or is cut off: {REMEDY}")
    return np.frombuffer(values, np.uint8).reshape(shape)
