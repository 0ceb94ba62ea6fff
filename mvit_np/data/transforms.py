"""Cut, resize, mirror and erase a clip: one draw holds for all frames, except erasing's noise.

Pixels are uint8 up to `normalise`, and nothing is changed in place. The same generator gives the
same result on every machine, for any number of threads: Pillow resizes by sums of whole numbers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backend.types import Array, Generator
from .clips import crop_corners, cut

TRIES = 10  # rectangles drawn, until one fits into the picture


def random_resized_crop(
    clip: Array,
    size_hw: tuple[int, int],
    rng: Generator,
    area: tuple[float, float] = (0.08, 1.0),
    aspect: tuple[float, float] = (3 / 4, 4 / 3),
) -> Array:
    """A random part of the picture at the size `size_hw`, Inception's crop.

    (T, H, W, C) uint8 -> (T, *size_hw, C) uint8

    area, aspect  the range of the part's share of the picture, and of its width : height (its
                  logarithm is uniform)

    Raises ValueError or TypeError for what is no such clip, size or range.
    """
    check_clip(clip)
    corner, part = crop_box(clip.shape[1:3], rng, area, aspect)
    return resize(cut(clip, corner, part), size_hw)


def crop_box(
    picture_hw: tuple[int, int],
    rng: Generator,
    area: tuple[float, float] = (0.08, 1.0),
    aspect: tuple[float, float] = (3 / 4, 4 / 3),
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Which part `random_resized_crop` takes.   -> ((top, left), (height, width)) pixels

    Where none of ten draws fits, it is the largest one in the centre whose shape is in range.
    Raises ValueError for what is no range.
    """
    box = _box(picture_hw, picture_hw, rng, area, aspect)
    if box is not None:
        return box
    h, w = picture_hw
    part = min(h, max(1, round(w / aspect[0]))), min(w, max(1, round(h * aspect[1])))
    return ((h - part[0]) // 2, (w - part[1]) // 2), part


def centre_crop(clip: Array, size_hw: tuple[int, int]) -> Array:
    """The part of size `size_hw` in the middle.   (T, H, W, C) -> (T, *size_hw, C), a view

    Raises ValueError where it is larger than the picture.
    """
    size = _size(size_hw)
    return cut(clip, crop_corners(clip.shape[1:3], size, 1)[0], size)


def resize(clip: Array, size_hw: tuple[int, int]) -> Array:
    """All of the picture at another size, of any shape.   (T, H, W, C) -> (T, *size_hw, C), uint8

    Pillow's bilinear resizing: a larger picture is linear between the old pixels, and a new pixel
    of a smaller one is a weighted mean over the old ones that it covers (antialiasing). A clip of
    that size is returned as it is. Raises ValueError or TypeError for what is no such clip or size.
    """
    from PIL import Image  # here, as the package is imported with NumPy, autograd and SciPy alone

    check_clip(clip)
    size = _size(size_hw)
    if clip.shape[1:3] == size:
        return clip
    rgb = clip.shape[-1] == 3
    pictures = clip if rgb else np.moveaxis(clip, -1, 1).reshape(-1, *clip.shape[1:3])
    resized = np.empty((len(pictures), *size, *pictures.shape[3:]), np.uint8)
    for picture, new in zip(pictures, resized):
        new[...] = Image.fromarray(picture).resize(size[::-1], Image.Resampling.BILINEAR)
    return resized if rgb else np.moveaxis(resized.reshape(len(clip), -1, *size), 1, -1)


def flip(clip: Array) -> Array:
    """Left and right exchanged.   (T, H, W, C) -> the same shape, a view"""
    return clip[:, :, ::-1]


def random_flip(clip: Array, rng: Generator, p: float = 0.5) -> Array:
    """Left and right exchanged, or not.   (T, H, W, C) -> the same shape

    p: how likely. Not for data in which a direction makes the class. Raises ValueError for a p
    outside [0, 1].
    """
    return flip(clip) if happens(rng, p) else clip


def random_erasing(
    clip: Array,
    rng: Generator,
    p: float = 0.25,
    area: tuple[float, float] = (0.02, 1 / 3),
    aspect: tuple[float, float] = (0.3, 1 / 0.3),
) -> Array:
    """A rectangle of noise over all frames, or not.

    (T, H, W, C) floats, normalised -> the same shape and dtype

    p             how likely
    area, aspect  the range of the rectangle's share of the picture, and of its width : height (its
                  logarithm is uniform)

    The noise is normal, of mean 0 and deviation 1 as the normalised pixels are, and drawn anew in
    each frame, as SlowFast's `RandomErasing` does in the authors' recipe; the rectangle stays.
    Where none of ten draws is smaller than the picture on both sides, nothing is erased. Raises
    ValueError or TypeError for what is no such clip, share or range.
    """
    if not isinstance(clip, np.ndarray) or clip.ndim != 4 or clip.dtype.kind != "f":
        came = f"came {_described(clip)}: call it after normalise"
        raise TypeError(f"random_erasing takes floats (T, H, W, C); {came}")
    if not happens(rng, p):
        return clip
    h, w = clip.shape[1:3]
    box = _box((h, w), (h - 1, w - 1), rng, area, aspect)
    if box is None:
        return clip
    erased = clip.copy()
    rectangle = cut(erased, *box)
    rectangle[...] = rng.standard_normal(rectangle.shape, dtype=np.float32)
    return erased


# -- rules -----------------------------------------------------------------------------------------


def check_clip(clip: Any) -> None:
    """Raise TypeError or ValueError where `clip` is no uint8 (T, H, W, C) with a pixel at least."""
    if not isinstance(clip, np.ndarray) or clip.dtype != np.uint8:
        raise TypeError(
            f"a clip is an array of uint8; came {_described(clip)}: transform it before normalise"
        )
    if clip.ndim != 4 or not clip.size:
        remedy = "give a picture as picture[None]"
        raise ValueError(f"a clip is (T, H, W, C), none of them 0; came {clip.shape}: {remedy}")


def happens(rng: Generator, p: float) -> bool:
    """Whether what has the probability `p` happens. Raises ValueError for a p outside [0, 1]."""
    if not 0 <= p <= 1:
        raise ValueError(
            f"p is a probability in [0, 1]; came {p}: give such as 0.25, or 0 for never"
        )
    return rng.random() < p


def _described(value):
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


def _size(size_hw):
    """-> (height, width) as whole numbers"""
    size = tuple(size_hw) if isinstance(size_hw, (tuple, list)) else ()
    good = [isinstance(side, (int, np.integer)) and side >= 1 for side in size]
    if len(good) != 2 or not all(good):
        rule = "size_hw is (height, width) in pixels, at least 1"
        raise ValueError(f"{rule}; came {size_hw!r}: give such as (224, 224)")
    return size


def _check_range(name, low_high, most):
    low, high = low_high
    if not 0 < low <= high <= most:
        bound = "" if most == math.inf else f", at most {most}"
        came = f"came {tuple(low_high)}: give such as (0.5, 1)"
        raise ValueError(f"{name} is (least, largest), above 0{bound}; {came}")


# -- rectangles ------------------------------------------------------------------------------------


def _box(picture, largest, rng, area, aspect):
    """((top, left), (h, w)) of a random part of a picture, all (H, W); None if TRIES draws fail.

    The part is no larger than `largest`.
    """
    _check_range("area", area, 1)
    _check_range("aspect", aspect, math.inf)
    logs = [math.log(bound) for bound in aspect]
    for _ in range(TRIES):
        pixels = rng.uniform(*area) * picture[0] * picture[1]
        shape = math.exp(rng.uniform(*logs))
        part = round(math.sqrt(pixels / shape)), round(math.sqrt(pixels * shape))
        if all(0 < side <= most for side, most in zip(part, largest)):
            top, left = (int(rng.integers(have - need + 1)) for have, need in zip(picture, part))
            return (top, left), part
    return None
