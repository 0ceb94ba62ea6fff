"""How a model's sizes follow from its `config`: down the pyramid, block by block (Sec. 3.2).

Here a config is only read: it checks itself by these sizes when it is made, and `plan` puts them
together. Since the module of `MViTConfig` needs this one, its type is `Any` here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from .specs import BlockSpec, BridgeSpec, EmbedSpec, PoolSpec


def embed_size(config: Any) -> EmbedSpec:
    """The `EmbedSpec` of a config."""
    cubes = config.cube_kernel, config.cube_stride
    tokens = config.dim, config.positions, config.cls_token
    return EmbedSpec(config.thw, config.channels, *cubes, *tokens, per_frame=config.time_depth > 0)


def block_sizes(config: Any, embed: EmbedSpec) -> Iterator[BlockSpec]:
    """The `BlockSpec` of each block. Raises ValueError where a pool's window is beyond its grid."""
    thw, floored = embed.thw_sequence, _rounded_down(config.thw, config.cube_stride)
    unit, index = config.mask_unit, 0
    for stage, count in enumerate(config.depths):
        for block_in_stage in range(count):
            pools = stage > 0 and block_in_stage == 0
            stride_q = config.transitions[stage - 1] if pools else (1, 1, 1)
            stride_kv = None if index in config.unpooled_kv else _stride_kv(config, stage)
            block = _block(config, index, stage, block_in_stage, thw, floored, stride_q, stride_kv)
            # a stage's first block attends in the units of the one before
            old_stage = stage - pools
            united = unit and old_stage < config.mask_unit_stages
            yield replace(block, sequences=embed.sequences, unit=unit if united else None)
            thw, floored, index = block.thw_q, _rounded_down(floored, stride_q), index + 1
            unit = united and tuple(u // s for u, s in zip(unit, stride_q))


def _stride_kv(config, stage):
    """In a stage; with `adaptive_kv` divided by the query strides so far, rounded down to >= 1."""
    stride_kv = config.stride_kv
    for stride_q in config.transitions[:stage] if stride_kv and config.adaptive_kv else ():
        stride_kv = tuple(max(kv // q, 1) for kv, q in zip(stride_kv, stride_q))
    return stride_kv


def _block(config, index, stage, block_in_stage, thw, floored, stride_q, stride_kv):
    dim_in, dim_attn, dim_out = _widths(config, stage, block_in_stage)
    pooled = math.prod(stride_q) > 1
    has_pool_q, rule = config.pool_q_always or pooled, (config.pool, config.pool_kernel)
    pool_q = _pool(*rule, stride_q, thw) if has_pool_q else None
    pool_kv = _pool(*rule, stride_kv, thw) if stride_kv else None
    pool_skip = _pool("max", config.skip_kernel, stride_q, thw)
    return BlockSpec(
        index=index, stage=stage, dim_in=dim_in, dim_attn=dim_attn, dim_out=dim_out,
        dim_mlp=int(config.mlp_ratio * dim_attn), thw=thw,
        heads=config.heads * (2**stage if config.expand else 1),
        pool_q=pool_q, pool_kv=pool_kv,
        pool_skip=pool_q if pooled and config.reversible else pool_skip,  # Rev-MViT's as the query
        cls=config.cls_token, unit=None, sequences=1,
        coupled=config.reversible and (stage == 0 or block_in_stage > 0),
        relative=_relative_tables(config, floored, stride_q, stride_kv or (1, 1, 1)),
        residual_pooling=config.residual_pooling, skip=config.skip, qkv_bias=config.qkv_bias,
        eps=config.eps,
        drop_path=config.drop_path * index / max(config.depth - 1, 1),
    )  # fmt: skip


def time_block_sizes(config: Any, last: BlockSpec, bridge: BridgeSpec) -> Iterator[BlockSpec]:
    """ViViT's second encoder: blocks like the last of the first, on a token per frame, unpooled."""
    like = replace(
        last, stage=len(config.depths), thw=(bridge.frames, 1, 1), sequences=1, relative=(),
        dim_in=last.dim_out, dim_attn=last.dim_out, pool_q=None, pool_kv=None, pool_skip=None,
    )  # fmt: skip
    for index in range(sum(config.depths), config.depth):
        rate = config.drop_path * index / max(config.depth - 1, 1)
        yield replace(like, index=index, drop_path=rate)


def _widths(config, stage, block_in_stage):
    """(into the block, inside its attention, out of it): the width doubles from stage to stage."""
    if not config.expand:
        return config.dim, config.dim, config.dim
    here = config.dim * 2**stage
    if config.expand_in == "attention":  # MViTv2: in the first block of the new stage
        return (here // 2 if stage > 0 and block_in_stage == 0 else here), here, here
    last = block_in_stage == config.depths[stage] - 1 and stage < len(config.depths) - 1
    return here, here, (2 * here if last else here)


def _pool(kind, kernel, stride, thw):
    spec = PoolSpec(kind, _kernel(kernel, stride), tuple(stride), thw)
    if min(spec.thw_out) < 1:
        raise ValueError(
            f"a pool's window fits its grid, came {spec.kernel} for grid {thw}: "
            "give a smaller stride or pool_kernel"
        )
    return None if math.prod(spec.kernel) == math.prod(spec.stride) == 1 else spec


def _kernel(rule, stride):
    if not isinstance(rule, str):
        return rule
    grow = {"s": lambda s: s, "s+1": lambda s: s + 1, "2s+1": lambda s: 2 * s + 1}[rule]
    return tuple(grow(s) if s > 1 else 1 for s in stride)


def _relative_tables(config, thw, stride_q, stride_kv):
    """Table lengths as released: 2 max(q, kv) - 1, squares in space, every division rounded down.

    That holds for `thw` too, all the way from the clip: where true grids are rounded up, tables
    fall short and are resized.
    """
    if config.positions != "relative":
        return ()
    t, space = thw[0], max(thw[1:])
    wide = 2 * max(space // max(stride_q[1:]), space // max(stride_kv[1:]), 1) - 1
    tables = (("h", wide), ("w", wide))
    return (*tables, ("t", 2 * t - 1)) if config.relative_time else tables


def _rounded_down(thw, stride):
    return tuple(max(n // s, 1) for n, s in zip(thw, stride))
