"""Configs that shapes leave open, the most usual in public code first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...backend.types import Params, Triple
from .position_tables import frames_and_size
from .shapes import one_or_each, pools, relative_grid, relative_strides, stage_starts

KEY_STRIDES: tuple[Triple, ...] = ((1, 8, 8), (1, 4, 4), (1, 2, 2), (1, 1, 1), (1, 16, 16))
KEY_STRIDES += ((2, 8, 8), (2, 4, 4), (2, 2, 2))
IMAGE_KEY_STRIDES = ((1, 4, 4), (1, 8, 8), (1, 2, 2), (1, 1, 1), (1, 16, 16))


def candidates(
    params: Params, seen: dict[str, Any], overrides: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield the configs to try, the most usual first, each as {field: value}."""
    blocks = params["blocks"]
    depths = overrides.get("depths") or seen.get("depths") or (len(blocks),)
    half = tuple((k + 1) // 2 if k % 2 else k for k in seen["cube_kernel"])
    stride = overrides.get("cube_stride") or half
    usual = {"depths": depths, "cube_stride": stride} | _unpooled(params, seen, depths)
    if seen["cube_kernel"][0] == 1:
        usual["frames"] = 1
    if seen["reversible"]:
        usual |= {"skip": "plain", "expand_in": "attention"}
    if seen["positions"] == "relative":
        usual["residual_pooling"] = "tokens"
    usual |= seen | frames_and_size(params, seen, stride, overrides, usual)
    tables = _by_tables(blocks, seen, depths)
    for pooling in pools(blocks, stage_starts(depths)):
        fields = usual | pooling | tables
        for adaptive in (True, False):
            for stride_kv in _key_strides(fields):
                yield fields | {"stride_kv": stride_kv, "adaptive_kv": adaptive} | overrides


def _unpooled(params, seen, depths):
    """Where no pool has parameters: Hiera, an MViT with max pooling, or a ViT."""
    if any(name.startswith("pool_") for block in params["blocks"] for name in block["attn"]):
        return {}
    dim = seen["dim"]
    if len(depths) == 1:
        return {"stride_kv": None, "heads": dim // 64 if dim % 64 == 0 else 1}
    heads = next(heads for heads in range(1, dim + 1) if dim % heads == 0 and dim // heads <= 96)
    without = not seen["cls_token"] and seen["positions"] != "relative"
    if without and seen.get("expand_in") == "attention":
        units = {"mask_unit": (1, 8, 8), "mean_before_norm": True, "skip_kernel": "s"}
        return units | {"pool": "max", "pool_kernel": "s", "stride_kv": None, "heads": heads}
    return {"pool": "max", "pool_kernel": "s+1", "heads": heads}


def _by_tables(blocks, seen, depths):
    """Relative tables get shorter where queries are pooled."""
    if seen["positions"] != "relative" or len(depths) == 1:
        return {}
    t, side = relative_grid(blocks[0]["attn"])
    strides = relative_strides(blocks, stage_starts(depths), (t or 1, side))
    return {"stride_q": one_or_each(strides)}


def _key_strides(fields):
    if "stride_kv" in fields:
        return (fields["stride_kv"],)
    return IMAGE_KEY_STRIDES if fields.get("frames") == 1 else KEY_STRIDES
