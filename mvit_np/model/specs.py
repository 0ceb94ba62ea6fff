"""The sizes of each part of a model: `plan` works them out; layers, costs and figures read them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..backend.types import Triple
from ..ops.windows import out_grid


@dataclass(frozen=True)
class PoolSpec:
    """P(.; k, s, p): pooling of a (T, H, W) grid (Sec. 3.1), on each axis

    L_out = floor((L + 2p - k) / s) + 1

    p = k // 2 as released; an even kernel (s, or s + 1 of an odd s) takes what makes L_out L / s.
    """

    kind: str  # "conv", "max" or "avg"
    kernel: Triple
    stride: Triple
    thw_in: Triple

    @property
    def padding(self) -> Triple:
        both = zip(self.kernel, self.stride)
        t, h, w = (k // 2 if k % 2 else (k - s + 1) // 2 for k, s in both)
        return t, h, w

    @property
    def thw_out(self) -> Triple:
        return out_grid(self.thw_in, self.kernel, self.stride, self.padding)


@dataclass(frozen=True)
class EmbedSpec:
    """Cube embedding: (T, H, W, channels) pixels to a (t, h, w) grid of `dim` channels.

    With `per_frame` (ViViT) each frame of that grid is a sequence with a class token of its own.
    """

    thw_in: Triple
    channels: int
    kernel: Triple
    stride: Triple
    dim: int
    positions: str
    cls: bool
    per_frame: bool

    @property
    def padding(self) -> Triple:
        t, h, w = (0 if k == s else k // 2 for k, s in zip(self.kernel, self.stride))
        return t, h, w

    @property
    def thw(self) -> Triple:
        return out_grid(self.thw_in, self.kernel, self.stride, self.padding)

    @property
    def thw_sequence(self) -> Triple:
        """The grid of one sequence of tokens: the whole, or a frame of it."""
        return (1, *self.thw[1:]) if self.per_frame else self.thw

    @property
    def sequences(self) -> int:
        """How many token lists each clip makes."""
        return self.thw[0] if self.per_frame else 1


@dataclass(frozen=True)
class BlockSpec:
    """One transformer block. A pool that is None does not exist (kernel and stride all 1)."""

    index: int
    stage: int
    dim_in: int
    dim_attn: int
    dim_out: int
    dim_mlp: int
    heads: int
    thw: Triple  # of the input
    pool_q: PoolSpec | None
    pool_kv: PoolSpec | None
    pool_skip: PoolSpec | None
    cls: bool
    unit: Triple | None  # tokens of the input grid that attend among themselves alone (Hiera)
    coupled: bool  # one of a chain of reversible blocks, on two streams (Rev-MViT)
    sequences: int  # token lists of a clip here: its frames, where each is one (ViViT)
    relative: tuple[tuple[str, int], ...]  # (axis, table length); empty without relative positions
    residual_pooling: str | None
    skip: str
    qkv_bias: bool
    eps: float
    drop_path: float

    @property
    def head_dim(self) -> int:
        return self.dim_attn // self.heads

    @property
    def thw_q(self) -> Triple:
        """The grid of the queries, and of the block's output."""
        return self.pool_q.thw_out if self.pool_q else self.thw

    @property
    def thw_kv(self) -> Triple:
        return self.pool_kv.thw_out if self.pool_kv else self.thw

    @property
    def thw_keys(self) -> Triple:
        """The grid of a clip's keys, all its sequences together."""
        return (self.sequences * self.thw_kv[0], *self.thw_kv[1:])

    @property
    def unit_q(self) -> Triple:
        """The size of a mask unit after query pooling, where the block has units."""
        t, h, w = (u // s for u, s in zip(self.unit, self.stride_q))  # type: ignore[arg-type]
        return t, h, w

    @property
    def tokens_seen(self) -> int:
        """Keys that each query attends to."""
        return math.prod(self.unit) if self.unit else self.tokens_kv

    @property
    def tokens_in(self) -> int:
        return self.cls + math.prod(self.thw)

    @property
    def tokens_q(self) -> int:
        return self.cls + math.prod(self.thw_q)

    @property
    def tokens_kv(self) -> int:
        return self.cls + math.prod(self.thw_kv)

    @property
    def stride_q(self) -> Triple:
        return self.pool_q.stride if self.pool_q else (1, 1, 1)

    @property
    def stride_kv(self) -> Triple:
        return self.pool_kv.stride if self.pool_kv else (1, 1, 1)


@dataclass(frozen=True)
class BridgeSpec:
    """Between ViViT's two encoders: a frame's normed class token (or mean) is its new token."""

    dim: int
    frames: int
    positions: bool
    cls: bool
    mean_first: bool
    eps: float


@dataclass(frozen=True)
class HeadSpec:
    """Final norm, class token (or the mean over tokens, before or after it), dropout, linear."""

    dim: int
    num_classes: int
    cls: bool
    mean_first: bool
    dropout: float
    eps: float
