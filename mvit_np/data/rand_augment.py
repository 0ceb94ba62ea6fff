"""RandAugment (Cubuk et al. 2020) on a clip: a few random changes of light, colour and place, the same in all frames.

The fifteen changes, their ranges and the way they are drawn are those of `rand-m7-n4-mstd0.5-inc1`, the recipe that MViT is
trained with: each grows with the magnitude. A change that looks at the pixels (contrast, equalising) looks at the whole clip,
so that all frames are changed alike and nothing flickers. A clip is (T, H, W, C) uint8, C being 3 (RGB) or 1 (grey).
"""

from __future__ import annotations

import math

import numpy as np

from .transforms import check_clip, happens

STRONGEST = 10.0  # magnitudes go from 0 to here
FILL = 128  # what comes in over the edge: grey
LUMINANCE = 0.299, 0.587, 0.114  # how much of red, green and blue is in grey (ITU-R 601)
LEVELS = np.arange(256)
ROWS = 8  # of a picture turned at once, so that the work stays in the cache


def rand_augment(clip, rng, layers=4, magnitude=7.0, deviation=0.5, p=0.5, geometric=True):
    """A clip changed in random ways, one after the other.   (T, H, W, C) uint8 -> the same shape, uint8

    layers      how many changes are drawn, each out of all of them
    magnitude   how strong, 0 to 10, on average; normal with this `deviation` and cut off at 0 and 10
    p           how likely each of the drawn changes is made
    geometric   False leaves out what turns, shears and shifts: for data in which a direction makes the class

    Raises ValueError or TypeError for what is no such clip or number.
    """
    check_pixels(clip)
    _check_numbers(layers, magnitude, deviation)
    names = [name for name in CHANGES if geometric or name not in GEOMETRIC]
    for index in rng.integers(len(names), size=layers):
        if happens(rng, p):
            level = min(max(rng.normal(magnitude, deviation), 0), STRONGEST) / STRONGEST
            change, amount = CHANGES[names[index]]
            clip = change(clip, *(amount(level, rng) if amount else ()))
    return clip


def check_pixels(clip):
    """Raise TypeError or ValueError where `clip` is no (T, H, W, 3) or (T, H, W, 1) array of uint8."""
    check_clip(clip)
    if clip.shape[-1] not in (1, 3):
        raise ValueError(f"RandAugment takes RGB or grey, C = 3 or 1; came {clip.shape[-1]} channels: leave it out for others")


def _check_numbers(layers, magnitude, deviation):
    if not isinstance(layers, (int, np.integer)) or layers < 0:
        raise ValueError(f"layers is a whole number, 0 or more; came {layers!r}: the paper's is 4")
    if not 0 <= magnitude <= STRONGEST:
        raise ValueError(f"magnitude is a number in [0, {STRONGEST:.0f}]; came {magnitude}: the paper's is 7")
    if not 0 <= deviation < math.inf:
        raise ValueError(f"deviation is a number, 0 or more; came {deviation}: the recipe's is 0.5, 0 keeps to the magnitude")


# -- light: a table of 256 new levels ---------------------------------------------------------------------------------


def auto_contrast(clip):
    """The darkest level of each channel becomes 0, the lightest 255, those between follow in proportion."""
    tables = []
    for c in range(clip.shape[-1]):
        low, high = int(clip[..., c].min()), int(clip[..., c].max())
        tables.append((LEVELS - low) * 255 // (high - low) if high > low else LEVELS)
    return _by_tables(clip, tables)


def equalize(clip):
    """Each channel's levels spread so that all are about equally frequent."""
    return _by_tables(clip, [_spread(np.bincount(clip[..., c].ravel(), minlength=256)) for c in range(clip.shape[-1])])


def invert(clip):
    """Light becomes dark."""
    return 255 - clip


def posterize(clip, bits):
    """The `bits` highest bits of each level stay, 0 to 8; the others become 0."""
    return _by_table(clip, LEVELS >> (8 - bits) << (8 - bits))


def solarize(clip, threshold):
    """Levels from `threshold` on, 0 to 256, are inverted."""
    return _by_table(clip, np.where(LEVELS < threshold, LEVELS, 255 - LEVELS))


def solarize_add(clip, added):
    """The darker half of the levels is made lighter by `added` levels."""
    return _by_table(clip, np.where(LEVELS < 128, LEVELS + added, LEVELS))


def brightness(clip, factor):
    """Away from black by `factor`: 0 is black, 1 no change."""
    return _by_table(clip, factor * LEVELS)


def contrast(clip, factor):
    """Away from the clip's mean grey by `factor`: 0 is grey, 1 no change."""
    means = [clip[..., c].mean(dtype=np.float64) for c in range(clip.shape[-1])]
    grey = np.dot(LUMINANCE, means) if len(means) == 3 else means[0]
    return _by_table(clip, grey + factor * (LEVELS - grey))


def _spread(counts):
    """How often each level occurs, (256,) -> the new levels, (256,): Pillow's way, 255 equal steps"""
    step = int(counts.sum() - counts[counts.nonzero()[0][-1]]) // 255
    return (np.cumsum(counts) - counts + step // 2) // step if step else LEVELS


def _by_table(clip, table):
    """The new level of each pixel looked up; levels beyond 0 and 255 are cut off."""
    # bytearray has the fastest table there is: numpy.take would first turn each pixel into an index of 8 bytes.
    found = bytearray(np.ascontiguousarray(clip)).translate(_whole(table).tobytes())
    return np.frombuffer(found, np.uint8).reshape(clip.shape)


def _by_tables(clip, tables):
    """The same with a table for each channel."""
    changed = np.empty(clip.shape, np.uint8)
    for c, table in enumerate(tables):
        changed[..., c] = _by_table(clip[..., c], table)
    return changed


def _whole(levels):
    """Numbers -> uint8, rounded, beyond 0 and 255 cut off"""
    return np.rint(np.clip(levels, 0, 255)).astype(np.uint8)


# -- colour and sharpness ---------------------------------------------------------------------------------------------


def colour(clip, factor):
    """Away from grey by `factor`: 0 is grey, 1 no change. A grey clip stays as it is."""
    if clip.shape[-1] == 1:
        return clip
    changed = np.empty(clip.shape, np.uint8)
    for frame, new in zip(clip, changed):
        planes = np.moveaxis(frame, -1, 0).astype(np.float32, order="C")  # (3, H, W)
        grey = sum(share * plane for share, plane in zip(LUMINANCE, planes))
        new[...] = np.moveaxis(_whole(factor * planes + (1 - factor) * grey), 0, -1)
    return changed


def sharpness(clip, factor):
    """Away from a blurred picture by `factor`: 0 is blurred over 3 x 3 pixels, 1 no change. The edge stays as it is."""
    changed = clip.copy()
    for frame, new in zip(clip, changed):
        x = frame.astype(np.uint16)
        box = x[:-2] + x[1:-1] + x[2:]
        box = box[:, :-2] + box[:, 1:-1] + box[:, 2:]
        inner = x[1:-1, 1:-1]
        blurred = (box + 4 * inner + 6) // 13  # 5 parts of the middle, 1 of each neighbour
        new[1:-1, 1:-1] = _whole(np.float32(factor) * inner + np.float32(1 - factor) * blurred)
    return changed


# -- place ------------------------------------------------------------------------------------------------------------


def rotate(clip, degrees):
    """Turned about the centre, counter-clockwise."""
    angle = math.radians(degrees)
    cos, sin = round(math.cos(angle), 15), round(math.sin(angle), 15)  # quarter turns to the pixel
    y, x = (length / 2 for length in clip.shape[1:3])
    return _moved(clip, (cos, -sin, x - cos * x + sin * y), (sin, cos, y - sin * x - cos * y))


def shear_x(clip, slope):
    """The row at height y, counted from the top, moves left by slope y."""
    return _moved(clip, (1, slope, 0), (0, 1, 0))


def shear_y(clip, slope):
    """The column at x, counted from the left, moves up by slope x."""
    return _moved(clip, (1, 0, 0), (slope, 1, 0))


def translate_x(clip, share):
    """Moved left by `share` of the width."""
    return _moved(clip, (1, 0, share * clip.shape[2]), (0, 1, 0))


def translate_y(clip, share):
    """Moved up by `share` of the height."""
    return _moved(clip, (1, 0, 0), (0, 1, share * clip.shape[1]))


def _moved(clip, from_x, from_y):
    """The new pixel at (x, y) is the old picture's value at (a x + b y + c, d x + e y + f), linear between pixels.

    from_x: (a, b, c)   from_y: (d, e, f)   Pixels are cells whose centres lie at i + 1/2; from outside comes FILL.
    """
    frames, h, w, channels = clip.shape
    pixels = clip.reshape(frames, h * w, channels).swapaxes(0, 1).reshape(h * w, -1)  # a pixel of all frames in one piece
    moved = np.empty_like(pixels)
    for top in range(0, h, ROWS):
        y, x = np.mgrid[top : min(top + ROWS, h), :w].reshape(2, -1) + 0.5
        x, y = (a * x + b * y + c for a, b, c in (from_x, from_y))
        inside = (x >= 0) & (x < w) & (y >= 0) & (y < h)
        mixed = sum(share * pixels[place] for place, share in _corners(x - 0.5, y - 0.5, h, w))
        moved[top * w : top * w + len(x)] = np.where(inside[:, None], np.rint(mixed), FILL)
    return np.ascontiguousarray(moved.reshape(h * w, frames, channels).swapaxes(0, 1)).reshape(clip.shape)


def _corners(x, y, h, w):
    """(place, share (N, 1) float32) of the pixels around each point that have a share of it; at the edge it repeats."""
    left, top = np.floor(x), np.floor(y)
    for row, tall in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, wide in ((left, 1 - (x - left)), (left + 1, x - left)):
            if (share := tall * wide).any():
                place = np.clip(row, 0, h - 1) * w + np.clip(column, 0, w - 1)
                yield place.astype(np.intp), share.astype(np.float32)[:, None]


# -- amounts by level, 0 to 1 -----------------------------------------------------------------------------------------


def _sign(rng):
    return 1 if rng.random() < 0.5 else -1


def _signed(most):
    """Up to `most`, either way."""
    return lambda level, rng: (most * level * _sign(rng),)


def _factor(level, rng):
    """Away from 1, either way: down to 0.1 and up to 1.9."""
    return (max(0.1, 1 + 0.9 * level * _sign(rng)),)


CHANGES = {  # name: (function, its amount at a level)
    "AutoContrast": (auto_contrast, None),
    "Equalize": (equalize, None),
    "Invert": (invert, None),
    "Rotate": (rotate, _signed(30)),  # degrees
    "PosterizeIncreasing": (posterize, lambda level, rng: (4 - int(4 * level),)),
    "SolarizeIncreasing": (solarize, lambda level, rng: (256 - int(256 * level),)),
    "SolarizeAdd": (solarize_add, lambda level, rng: (int(110 * level),)),
    "ColorIncreasing": (colour, _factor),
    "ContrastIncreasing": (contrast, _factor),
    "BrightnessIncreasing": (brightness, _factor),
    "SharpnessIncreasing": (sharpness, _factor),
    "ShearX": (shear_x, _signed(0.3)),
    "ShearY": (shear_y, _signed(0.3)),
    "TranslateXRel": (translate_x, _signed(0.45)),
    "TranslateYRel": (translate_y, _signed(0.45)),
}
GEOMETRIC = ("Rotate", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel")
