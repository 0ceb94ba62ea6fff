"""Fields of a config that a caller gives by name: they have priority over what a file says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from ..backend.plain_text import did_you_mean


class Overrides(TypedDict, total=False):
    """The fields of `MViTConfig`, each with its type; any of them may be left out."""

    frames: int
    size: int | tuple[int, int]
    channels: int
    num_classes: int
    cube_kernel: tuple[int, int, int]
    cube_stride: tuple[int, int, int]
    dim: int
    heads: int
    depths: tuple[int, ...]
    stride_q: tuple
    stride_kv: tuple[int, int, int] | None
    adaptive_kv: bool
    unpooled_kv: tuple[int, ...]
    pool: str
    pool_kernel: tuple[int, int, int] | str
    pool_q_always: bool
    uneven: bool
    positions: str
    relative_time: bool
    cls_token: bool
    mean_before_norm: bool
    residual_pooling: str | None
    expand: bool
    expand_in: str
    skip: str
    skip_kernel: str
    mask_unit: tuple[int, int, int] | None
    mask_unit_stages: int
    reversible: bool
    time_depth: int
    mlp_ratio: float
    qkv_bias: bool
    eps: float
    dropout: float
    drop_path: float


def check_names(overrides: Mapping[str, object]) -> None:
    """Raise TypeError for names that are no fields of MViTConfig, with the nearest."""
    fields = Overrides.__annotations__
    if unknown := sorted(overrides.keys() - fields.keys()):
        remedy = did_you_mean(unknown[0], fields, "give such as stride_kv=(1, 4, 4)")
        raise TypeError(f"MViTConfig has no field {', '.join(unknown)}: {remedy}")
