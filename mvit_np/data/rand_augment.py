"""RandAugment (Cubuk et al. 2020) on a clip: a few random operations, the same in all frames.

The fifteen operations, their ranges and the way they are drawn are those of
`rand-m7-n4-mstd0.5-inc1`, the recipe that MViT is trained with; Pillow carries them out. A clip
becomes one tall picture, its frames one below the other. So an operation that looks at the levels
(autocontrast, equalize, contrast) looks at the whole clip, and nothing flickers. What moves pixels
or looks at their neighbours is done to each frame by itself. A clip is (T, H, W, C) uint8, C being
3 (RGB) or 1 (grey).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from ..backend.types import Array, Generator
from .transforms import check_clip, happens

STRONGEST = 10.0  # magnitudes go from 0 to here
FILL = 128  # what comes in over the edge: grey


def rand_augment(
    clip: Array,
    rng: Generator,
    layers: int = 4,
    magnitude: float = 7.0,
    deviation: float = 0.5,
    p: float = 0.5,
    geometric: bool = True,
) -> Array:
    """A clip after random operations, one after the other.   (T, H, W, C) uint8 -> the same

    layers      how many operations are drawn, each out of all of them
    magnitude   how strong, 0 to 10, on average; normal with this `deviation`, cut off at 0 and 10
    p           how likely each of the drawn operations is applied
    geometric   False leaves out what turns, shears and shifts: for data in which a direction makes
                the class

    Raises ValueError or TypeError for what is no such clip or number.
    """
    check_pixels(clip)
    _check_numbers(layers, magnitude, deviation)
    names = [name for name in OPERATIONS if geometric or name not in GEOMETRIC]
    drawn = []
    for index in rng.integers(len(names), size=layers):
        if happens(rng, p):
            level = min(max(rng.normal(magnitude, deviation), 0), STRONGEST) / STRONGEST
            _, numbers_at = OPERATIONS[names[index]]
            drawn.append((names[index], numbers_at(level, rng)))
    return operated(clip, drawn) if drawn else clip


def operated(clip: Array, operations: Sequence[tuple[str, tuple]]) -> Array:
    """A clip after operations, [(name, its numbers)].   (T, H, W, C) uint8 -> the same"""
    frames, h, w, c = clip.shape
    tall = Image.fromarray(clip.reshape((frames * h, w, c) if c == 3 else (frames * h, w)))
    for name, numbers in operations:
        operation, _ = OPERATIONS[name]
        if name in FRAME_BY_FRAME:
            tall = _frame_by_frame(tall, h, operation, numbers)
        else:
            tall = operation(tall, *numbers)
    return np.array(tall).reshape(clip.shape)


def _frame_by_frame(tall, h, operation, numbers):
    changed = Image.new(tall.mode, tall.size)
    for top in range(0, tall.height, h):
        box = 0, top, tall.width, top + h
        changed.paste(operation(tall.crop(box), *numbers), box)
    return changed


def check_pixels(clip: Any) -> None:
    """Raise TypeError or ValueError where `clip` is no (T, H, W, 3 or 1) array of uint8."""
    check_clip(clip)
    if clip.shape[-1] not in (1, 3):
        came = f"came {clip.shape[-1]} channels: leave it out for others"
        raise ValueError(f"RandAugment takes RGB or grey, C = 3 or 1; {came}")


def _check_numbers(layers, magnitude, deviation):
    if not isinstance(layers, (int, np.integer)) or layers < 0:
        raise ValueError(f"layers is a whole number, 0 or more; came {layers!r}: the paper's is 4")
    if not 0 <= magnitude <= STRONGEST:
        raise ValueError(
            f"magnitude is a number in [0, {STRONGEST:.0f}]; came {magnitude}: the paper's is 7"
        )
    if not 0 <= deviation < math.inf:
        remedy = "the recipe's is 0.5, 0 keeps to the magnitude"
        raise ValueError(f"deviation is a number, 0 or more; came {deviation}: {remedy}")


# -- operations: (picture, numbers) -> picture -----------------------------------------------------


def _posterize(picture, bits):
    """The `bits` highest bits of each level stay; also 0 bits, which ImageOps.posterize refuses."""
    return _by_table(picture, [level >> (8 - bits) << (8 - bits) for level in range(256)])


def _solarize_add(picture, added):
    """The darker half of the levels is made lighter by `added` levels."""
    table = [min(level + added, 255) if level < 128 else level for level in range(256)]
    return _by_table(picture, table)


def _by_table(picture, table):
    return picture.point(table * len(picture.getbands()))


def _enhance(enhancer):
    """Away from black, grey or a blurred picture by a factor, at which 1 is no change."""
    return lambda picture, factor: enhancer(picture).enhance(factor)


def _rotate(picture, degrees):
    """Turned about the centre, counter-clockwise."""
    return picture.rotate(degrees, Image.Resampling.BILINEAR, fillcolor=_fill(picture))


def _moved(picture, a=1, b=0, c=0, d=0, e=1, f=0):
    """The new pixel at (x, y) is the old one at (a x + b y + c, d x + e y + f)."""
    matrix, bilinear = (a, b, c, d, e, f), Image.Resampling.BILINEAR
    affine = Image.Transform.AFFINE
    return picture.transform(picture.size, affine, matrix, bilinear, fillcolor=_fill(picture))


def _fill(picture):
    return (FILL,) * len(picture.getbands())


# -- numbers of an operation at a level, 0 to 1 ----------------------------------------------------


def _sign(rng):
    return 1 if rng.random() < 0.5 else -1


def _none(level, rng):
    return ()


def _signed(most):
    """Up to `most`, either way."""
    return lambda level, rng: (most * level * _sign(rng),)


def _factor(level, rng):
    """Away from 1, either way: down to 0.1 and up to 1.9."""
    return (max(0.1, 1 + 0.9 * level * _sign(rng)),)


OPERATIONS = {  # name: (operation, its numbers at a level)
    "AutoContrast": (ImageOps.autocontrast, _none),
    "Equalize": (ImageOps.equalize, _none),
    "Invert": (ImageOps.invert, _none),
    "Rotate": (_rotate, _signed(30)),  # degrees
    "PosterizeIncreasing": (_posterize, lambda level, rng: (4 - int(4 * level),)),  # bits
    "SolarizeIncreasing": (ImageOps.solarize, lambda level, rng: (256 - int(256 * level),)),
    "SolarizeAdd": (_solarize_add, lambda level, rng: (int(110 * level),)),
    "ColorIncreasing": (_enhance(ImageEnhance.Color), _factor),
    "ContrastIncreasing": (_enhance(ImageEnhance.Contrast), _factor),
    "BrightnessIncreasing": (_enhance(ImageEnhance.Brightness), _factor),
    "SharpnessIncreasing": (_enhance(ImageEnhance.Sharpness), _factor),
    "ShearX": (lambda picture, slope: _moved(picture, b=slope), _signed(0.3)),
    "ShearY": (lambda picture, slope: _moved(picture, d=slope), _signed(0.3)),
    "TranslateXRel": (lambda picture, x: _moved(picture, c=x * picture.width), _signed(0.45)),
    "TranslateYRel": (lambda picture, y: _moved(picture, f=y * picture.height), _signed(0.45)),
}
GEOMETRIC = ("Rotate", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel")
FRAME_BY_FRAME = (*GEOMETRIC, "SharpnessIncreasing")
