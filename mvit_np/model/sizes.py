"""How the sizes of a model follow from its config `c`: down the pyramid, block by block (Sec. 3.2, Table 2).

Here a config is only read: it checks itself by these sizes when it is made, and `plan` puts them together.
"""

from __future__ import annotations

import math
from dataclasses import replace

from .specs import BlockSpec, EmbedSpec, PoolSpec


def embed_size(c):
    """The `EmbedSpec` of a config."""
    apart = c.time_depth > 0
    return EmbedSpec(c.thw, c.channels, c.cube_kernel, c.cube_stride, c.dim, c.positions, c.cls_token, apart)


def block_sizes(c, embed):
    """The `BlockSpec` of each block, in order. Raises ValueError where a pool's window does not fit its grid."""
    thw, floored, unit, index = embed.thw_sequence, _rounded_down(c.thw, c.cube_stride), c.mask_unit, 0
    for stage, count in enumerate(c.depths):
        for place in range(count):
            stride_q = c.transitions[stage - 1] if stage > 0 and place == 0 else (1, 1, 1)
            stride_kv = None if index in c.unpooled_kv else _stride_kv(c, stage)
            block = _block(c, index, stage, place, thw, floored, stride_q, stride_kv)
            old_stage = stage - (stage > 0 and place == 0)  # a stage's first block attends in the units of the one before
            united = unit and old_stage < c.mask_unit_stages
            yield replace(block, sequences=embed.sequences, unit=unit if united else None)
            thw, floored, index = block.thw_q, _rounded_down(floored, stride_q), index + 1
            unit = united and tuple(u // s for u, s in zip(unit, stride_q))


def _stride_kv(c, stage):
    """In a stage: with `adaptive_kv` divided by the query strides met so far, each rounded down, at least 1."""
    stride_kv = c.stride_kv
    for stride_q in c.transitions[:stage] if stride_kv and c.adaptive_kv else ():
        stride_kv = tuple(max(kv // q, 1) for kv, q in zip(stride_kv, stride_q))
    return stride_kv


def _block(c, index, stage, place, thw, floored, stride_q, stride_kv):
    dim_in, dim_attn, dim_out = _widths(c, stage, place)
    pooled = math.prod(stride_q) > 1
    pool_q = _pool(c.pool, c.pool_kernel, stride_q, thw) if c.pool_q_always or pooled else None
    pool_kv = _pool(c.pool, c.pool_kernel, stride_kv, thw) if stride_kv else None
    pool_skip = _pool("max", c.skip_kernel, stride_q, thw)
    return BlockSpec(
        index=index, stage=stage, dim_in=dim_in, dim_attn=dim_attn, dim_out=dim_out, dim_mlp=int(c.mlp_ratio * dim_attn),
        heads=c.heads * (2**stage if c.expand else 1), thw=thw, pool_q=pool_q, pool_kv=pool_kv,
        pool_skip=pool_q if pooled and c.reversible else pool_skip,  # Rev-MViT pools the skip as it does the query
        cls=c.cls_token, unit=None, coupled=c.reversible and (stage == 0 or place > 0), sequences=1,
        relative=_relative_tables(c, floored, stride_q, stride_kv or (1, 1, 1)),
        residual_pooling=c.residual_pooling, skip=c.skip, qkv_bias=c.qkv_bias, eps=c.eps,
        drop_path=c.drop_path * index / max(c.depth - 1, 1),
    )  # fmt: skip


def time_block_sizes(c, last, bridge):
    """ViViT's second encoder: blocks like the first's last, on one token a frame, without pools."""
    shape = dict(dim_in=last.dim_out, dim_attn=last.dim_out, thw=(bridge.frames, 1, 1), sequences=1, relative=())
    for index in range(sum(c.depths), c.depth):
        rate = c.drop_path * index / max(c.depth - 1, 1)
        pools = dict(pool_q=None, pool_kv=None, pool_skip=None)
        yield replace(last, index=index, stage=len(c.depths), drop_path=rate, **shape, **pools)


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
