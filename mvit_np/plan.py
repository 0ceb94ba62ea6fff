"""What follows: every token grid, width, head count, kernel and stride of a model, decided once (Sec. 3.2, Table 2).

Init, forward, costs, figures and tests all read the plan; no layer computes a size.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

from .config import MViTConfig

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class PoolSpec:
    """P(.; k, s, p): pooling of a (T, H, W) grid (Sec. 3.1), L_out = floor((L + 2p - k) / s) + 1 on each axis.

    p = k // 2 as released; an even kernel (s, or s + 1 of an odd s) takes what keeps L_out at L / s.
    """

    kind: str
    kernel: Triple
    stride: Triple
    thw_in: Triple

    @property
    def padding(self) -> Triple:
        return tuple(k // 2 if k % 2 else (k - s + 1) // 2 for k, s in zip(self.kernel, self.stride))

    @property
    def thw_out(self) -> Triple:
        return _window_grid(self.thw_in, self.kernel, self.stride, self.padding)


@dataclass(frozen=True)
class EmbedSpec:
    """Cube embedding: (T, H, W, channels) pixels to a (t, h, w) grid of `dim` channels, and its positions."""

    thw_in: Triple
    channels: int
    kernel: Triple
    stride: Triple
    dim: int
    positions: str
    cls: bool

    @property
    def padding(self) -> Triple:
        return tuple(0 if k == s else k // 2 for k, s in zip(self.kernel, self.stride))

    @property
    def thw(self) -> Triple:
        return _window_grid(self.thw_in, self.kernel, self.stride, self.padding)


@dataclass(frozen=True)
class BlockSpec:
    """One transformer block. A pool that is None does not exist (kernel and stride all 1): no pooling and no norm."""

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
class HeadSpec:
    """Final norm, class token (or the mean over tokens), dropout, linear."""

    dim: int
    num_classes: int
    cls: bool
    dropout: float
    eps: float


@dataclass(frozen=True)
class Plan:
    """All sizes of one model. `print(plan)` shows the stage table."""

    config: MViTConfig
    embed: EmbedSpec
    blocks: tuple[BlockSpec, ...]
    head: HeadSpec

    def __str__(self):
        from .table import stage_table  # the one look upwards: the printed table also shows what each stage costs

        return stage_table(self)


@functools.lru_cache(maxsize=64)
def plan(config: MViTConfig) -> Plan:
    """Every size that follows from `config`. Raises TypeError for what is no MViTConfig."""
    if not isinstance(config, MViTConfig):
        raise TypeError(f"a config is an MViTConfig; came {type(config).__name__}: mv.preset(name) gives one by name")
    embed = EmbedSpec(
        config.thw, config.channels, config.cube_kernel, config.cube_stride, config.dim, config.positions, config.cls_token
    )
    blocks = tuple(_blocks(config, embed.thw))
    head = HeadSpec(blocks[-1].dim_out, config.num_classes, config.cls_token, config.dropout, config.eps)
    return Plan(config, embed, blocks, head)


def _blocks(c, thw):
    depth, index = sum(c.depths), 0
    stride_kv = c.stride_kv
    floored = _rounded_down(c.thw, c.cube_stride)
    for stage, count in enumerate(c.depths):
        for place in range(count):
            stride_q = c.transitions[stage - 1] if stage > 0 and place == 0 else (1, 1, 1)
            if stride_kv and c.adaptive_kv:
                stride_kv = tuple(max(kv // q, 1) for kv, q in zip(stride_kv, stride_q))
            drop_path = c.drop_path * index / max(depth - 1, 1)
            block = _block(c, index, stage, place, thw, floored, stride_q, stride_kv, drop_path)
            yield block
            thw, floored, index = block.thw_q, _rounded_down(floored, stride_q), index + 1


def _block(c, index, stage, place, thw, floored, stride_q, stride_kv, drop_path):
    dim_in, dim_attn, dim_out = _widths(c, stage, place)
    always = c.pool_q_always or math.prod(stride_q) > 1
    pool_q = _pool(c.pool, c.pool_kernel, stride_q, thw) if always else None
    pool_kv = _pool(c.pool, c.pool_kernel, stride_kv, thw) if stride_kv else None
    pool_skip = _pool("max", "s+1", stride_q, thw)
    return BlockSpec(
        index=index, stage=stage, dim_in=dim_in, dim_attn=dim_attn, dim_out=dim_out, dim_mlp=int(c.mlp_ratio * dim_attn),
        heads=c.heads * (2**stage if c.expand else 1), thw=thw, pool_q=pool_q, pool_kv=pool_kv, pool_skip=pool_skip,
        cls=c.cls_token, relative=_relative_tables(c, floored, stride_q, stride_kv or (1, 1, 1)),
        residual_pooling=c.residual_pooling, skip=c.skip, qkv_bias=c.qkv_bias, eps=c.eps, drop_path=drop_path,
    )  # fmt: skip


def _widths(c, stage, place):
    """(into the block, inside its attention, out of it): the width doubles from one stage to the next."""
    if not c.expand:
        return c.dim, c.dim, c.dim
    here = c.dim * 2**stage
    if c.expand_in == "attention":  # MViTv2: in the first block of the new stage
        return (here // 2 if stage > 0 and place == 0 else here), here, here
    last = place == c.depths[stage] - 1 and stage < len(c.depths) - 1
    return here, here, (2 * here if last else here)


def _pool(kind, kernel, stride, thw):
    spec = PoolSpec(kind, _kernel(kernel, stride), tuple(stride), thw)
    if min(spec.thw_out) < 1:
        raise ValueError(
            f"a pool's window fits its grid, came {spec.kernel} for grid {thw}: give a smaller stride or pool_kernel"
        )
    return None if math.prod(spec.kernel) == math.prod(spec.stride) == 1 else spec


def _kernel(rule, stride):
    if not isinstance(rule, str):
        return rule
    grow = {"s": lambda s: s, "s+1": lambda s: s + 1, "2s+1": lambda s: 2 * s + 1}[rule]
    return tuple(grow(s) if s > 1 else 1 for s in stride)


def _relative_tables(c, thw, stride_q, stride_kv):
    """Table lengths as the released models have them: 2 max(q, kv) - 1, squares in space, every division rounded down.

    That holds for `thw` too, all the way from the clip: where true grids are rounded up, tables fall short and are resized.
    """
    if c.positions != "relative":
        return ()
    t, space = thw[0], max(thw[1:])
    wide = 2 * max(space // max(stride_q[1:]), space // max(stride_kv[1:]), 1) - 1
    tables = (("h", wide), ("w", wide))
    return (*tables, ("t", 2 * t - 1)) if c.relative_time else tables


def _rounded_down(thw, stride):
    return tuple(max(n // s, 1) for n, s in zip(thw, stride))


def _window_grid(thw, kernel, stride, padding):
    return tuple((n + 2 * p - k) // s + 1 for n, k, s, p in zip(thw, kernel, stride, padding))
