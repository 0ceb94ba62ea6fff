"""A recipe's changes to one clip, from pixels to what the model trains on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..backend.types import Array, Generator
from .clips import normalise
from .rand_augment import rand_augment
from .transforms import centre_crop, random_erasing, random_flip, random_resized_crop, resize


def augmentation(
    recipe: Any, size_hw: tuple[int, int], directed: bool = False
) -> Callable[[Array, Generator], Array]:
    """A function (clip (T, H, W, C) uint8, rng) -> (T, *size_hw, C) float32, drawn from rng alone.

    recipe    what has the fields of `mvit_np.train.Recipe` on clips: crop_area, crop_aspect, flip,
              rand_*, normalise, erasing
    directed  left and right matter to the classes: clips are not flipped, turned or sheared

    A clip is first cut and mirrored, so that all later steps work on the model's few pixels only;
    erasing comes last, on normalised numbers.
    """

    def augment(clip, rng):
        if recipe.crop_area is None:
            clip = whole(clip, size_hw)
        else:
            area, aspect = recipe.crop_area, recipe.crop_aspect
            clip = random_resized_crop(clip, size_hw, rng, area, aspect)
        if not directed:
            clip = random_flip(clip, rng, recipe.flip)
        if recipe.rand_layers:
            strength = recipe.rand_layers, recipe.rand_magnitude, recipe.rand_deviation
            clip = rand_augment(clip, rng, *strength, recipe.rand_p, geometric=not directed)
        return random_erasing(normalise(clip, recipe.normalise), rng, recipe.erasing)

    return augment


def whole(clip: Array, size_hw: tuple[int, int]) -> Array:
    """As much of the picture as has the shape of `size_hw`, from its centre, at that size.

    uint8 -> uint8
    """
    (h, w), (new_h, new_w) = clip.shape[1:3], size_hw
    scale = max(new_h / h, new_w / w)
    cover = max(round(h * scale), new_h), max(round(w * scale), new_w)
    return centre_crop(resize(clip, cover), size_hw)
