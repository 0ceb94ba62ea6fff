"""Files without a head: backbones, and encoders that learned to predict what was hidden."""

from __future__ import annotations

import re

import numpy as np

from ...backend.types import Array
from .renames import without_prefix

# What predicts hidden cubes: MaskFeat's and MAE's in SlowFast, Hiera's MAE.
PREDICTORS = re.compile(
    r"mask_token|(pred_head|hogs|multi_scale_fusion_heads)\..*|(decoder|dec)_.*"
)
HEAD = re.compile(r"head\.(?!norm\.).*")  # timm's Hiera has its last norm in there
ENCODER_NORM = "encoder_norm."  # of Hiera's MAE; the classifier's in timm's layout is the other
HIERA_NORM = "head.norm."


def encoder_of(tensors: dict[str, Array]) -> tuple[dict[str, Array], bool]:
    """({name: array} without what predicts hidden cubes, True), or (all, False) with a head."""
    found = without_prefix(tensors)
    if any(HEAD.fullmatch(name) for name in found):
        return tensors, False
    kept = {name: x for name, x in found.items() if not PREDICTORS.fullmatch(name)}
    return {name.replace(ENCODER_NORM, HIERA_NORM, 1): x for name, x in kept.items()}, True


def new_parts(entries: dict[str, Array], classes: int) -> dict[str, Array]:
    """{our path: array} of the head, and of the last norm where it is missing too.

    entries   {our path: array} of all else

    The head is of zeros, which score all classes alike: nobody can take that for knowledge.
    """
    outs = [(int(path.split(".")[1]), path) for path in entries if path.endswith(".mlp.fc2.b")]
    if not outs:
        return {}
    last = entries[max(outs)[1]]
    width = entries["norm.g"].size if "norm.g" in entries else last.size
    norm = {"norm.g": np.ones(width, last.dtype), "norm.b": np.zeros(width, last.dtype)}
    head = {"w": np.zeros((width, classes), last.dtype), "b": np.zeros(classes, last.dtype)}
    new = {} if norm.keys() & entries.keys() else norm
    return new | {f"head.{leaf}": x for leaf, x in head.items()}
