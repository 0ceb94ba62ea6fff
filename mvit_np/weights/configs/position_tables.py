"""What position tables tell of a config: how many frames, and the pixels of a picture."""

from __future__ import annotations

import math
from typing import Any

from ...backend.types import Params, Triple
from .shapes import relative_grid


def frames_and_size(
    params: Params,
    seen: dict[str, Any],
    cube_stride: Triple,
    overrides: dict[str, Any],
    usual: dict[str, Any],
) -> dict[str, Any]:
    """What position tables tell of {"frames", "size"}; the usual ones where those fit too.

    Raises ValueError for tables that are no square, where nobody told the size.
    """
    if seen["positions"] == "none":
        return {}
    usual = usual | overrides
    t, cells = _cells(params, seen, cube_stride, overrides, usual.get("frames"))
    found = {"frames": t * cube_stride[0]} if t else {}
    if "size" not in overrides:
        relative = seen["positions"] == "relative"
        found["size"] = _size(cells, cube_stride[1:], usual.get("size"), relative)
    return {field: value for field, value in found.items() if field not in overrides}


def _frame(size, stride):
    """(h, w) of the tokens of a frame of `size` pixels."""
    h, w = ((size, size) if isinstance(size, int) else size)[:2]
    return h // stride[0], w // stride[1]


def _size(cells, stride, usual, relative):
    """Pixels of so many tokens per frame: the usual size, or a square (around relative tables)."""
    if usual is not None:
        h, w = _frame(usual, stride)
        if cells == (max(h, w) ** 2 if relative else h * w):
            return usual
    side = math.isqrt(cells)
    if side * side != cells:
        raise ValueError(f"{cells} positions in a frame make no square: give size=(H, W) in pixels")
    return side * stride[0] if stride[0] == stride[1] else (side * stride[0], side * stride[1])


def _cells(params, seen, cube_stride, overrides, frames):
    """Tokens along time (None: not told) and in a frame, of the first stage."""
    if seen["positions"] == "relative":
        t, side = relative_grid(params["blocks"][0]["attn"])
        return t, side * side
    if seen["positions"] == "joint":
        rows = len(params["pos_embed"]) - seen["cls_token"]
        if "size" in overrides:
            cells = math.prod(_frame(overrides["size"], cube_stride[1:]))
            return max(rows // max(cells, 1), 1), cells
        t = _time_of(rows, frames // cube_stride[0] if frames else 0, seen["cube_kernel"][0] == 1)
        return t, rows // t
    temporal = params.get("pos_embed_temporal")
    return (None if temporal is None else len(temporal)), len(params["pos_embed_spatial"])


def _time_of(rows, wanted, flat):
    """The t of t x n x n rows: the wanted one, 1 where cubes are flat, or the most usual."""
    usual = (wanted, 1, 8, 16, 4, 2) if flat else (wanted, 8, 16, 4, 2, 1)
    squares = [t for t in usual if t and rows % t == 0 and math.isqrt(rows // t) ** 2 == rows // t]
    return (squares or [t for t in usual if t and rows % t == 0])[0]
