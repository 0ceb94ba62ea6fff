"""What a model costs, from its plan alone: parameters, multiply-adds, memory. No array is made.

A multiply-add counts as one, as in the paper. Convolutions and matrix products are counted, class
token included; norms, softmax, additions and max pooling are not (they are below 1 %). Keys
and values count as projected from all tokens, though `layers.attention` leaves out those that their
pool never looks at (`skipped_macs`: 2.1 % of MViT-B).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..ops.fast.take_seen import on_seen, skips_cells
from .specs import BlockSpec

FLOAT32_BYTES = 4


@dataclass(frozen=True)
class Cost:
    """One line of the account, for one clip."""

    name: str
    stage: int | None
    params: int
    macs: int
    activation_bytes: int  # float32 arrays a training step keeps for the backward pass
    attention_bytes: int  # the largest array of attention weights, made and dropped again


@dataclass(frozen=True)
class Costs:
    """The account of a model, for one clip: a line for the embedding, each block and the head."""

    lines: tuple[Cost, ...]

    @property
    def params(self) -> int:
        return sum(line.params for line in self.lines)

    @property
    def macs(self) -> int:
        return sum(line.macs for line in self.lines)

    @property
    def activation_bytes(self) -> int:
        return sum(line.activation_bytes for line in self.lines)

    @property
    def attention_bytes(self) -> int:
        return max(line.attention_bytes for line in self.lines)


def account(p: Any) -> Costs:  # a Plan, whose module needs this one
    """Parameters, multiply-adds and memory of the model that a plan describes."""
    blocks = [_block(s, kept) for s, kept in zip(p.blocks, _kept_by_blocks(p.blocks))]
    if p.bridge:
        blocks.insert(sum(p.config.depths), _bridge(p.bridge, p.blocks[0]))
    return Costs((_embed(p.embed), *blocks, _head(p.head, p.blocks[-1])))


def _embed(spec):
    cube, tokens = math.prod(spec.kernel) * spec.channels, math.prod(spec.thw)
    t, h, w = spec.thw_sequence
    rows = {"separate": h * w + t, "space": h * w, "joint": t * h * w}
    positions = rows[spec.positions] + spec.cls if spec.positions in rows else 0
    params = spec.dim * (cube + 1 + spec.cls + positions)
    pixels = math.prod(spec.thw_in) * spec.channels
    return Cost("embedding", None, params, tokens * cube * spec.dim, FLOAT32_BYTES * pixels, 0)


def attention_macs(s: BlockSpec) -> int:
    """Multiply-adds of a block's attention in one of its sequences: all but MLP and shortcut."""
    macs = s.tokens_in * s.dim_in * 3 * s.dim_attn  # q, k, v
    macs += sum(math.prod(p.thw_out) * math.prod(p.kernel) * s.dim_attn for p in _convs(s))
    macs += 2 * s.tokens_q * s.tokens_seen * s.dim_attn  # q k', and its softmax times v
    macs += sum(
        math.prod(s.thw_q) * s.thw_kv["thw".index(axis)] * s.dim_attn for axis, _ in s.relative
    )
    return macs + s.tokens_q * s.dim_attn * s.dim_attn  # output projection


def attention_complexity(block: BlockSpec) -> tuple[float, float]:
    """How attention grows (Sec. 3.1): (time, memory), with f = s_T s_H s_W.

    time     THW D (D + THW / f_Q f_K)
    memory   THW h (D / h + THW / f_Q f_K)

    THW are the tokens of the block's input grid without class token; those of a mask unit, times
    the units, where it has some. Without class token, widening and convolutions, the multiply-adds
    are (3 + 1 / f_Q) THW D^2 + 2 THW D THW / f_Q f_K, 2 to 4 times `time`; the attention weights
    are h THW THW / f_Q f_K floats, once what `memory` says.
    """
    length, d, h = math.prod(block.unit or block.thw), block.dim_attn, block.heads
    units = math.prod(block.thw) // length
    keys = length / (math.prod(block.stride_q) * math.prod(block.stride_kv))
    return units * length * d * (d + keys), units * length * h * (d / h + keys)


def _block(s, kept):
    macs = attention_macs(s)
    if s.pool_skip and s.pool_skip.kind == "conv":
        macs += math.prod(s.thw_q) * math.prod(s.pool_skip.kernel) * s.dim_attn
    macs += s.tokens_q * s.dim_mlp * (s.dim_attn + s.dim_out)
    if _has_projection(s):
        macs += (s.tokens_in if s.dim_attn != s.dim_in else s.tokens_q) * s.dim_in * s.dim_out
    attention = FLOAT32_BYTES * s.heads * s.tokens_q * s.tokens_seen
    n = s.sequences
    sizes = n * macs, n * FLOAT32_BYTES * kept, n * attention
    return Cost(f"block {s.index}", s.stage, _block_params(s), *sizes)


def _bridge(spec, space):
    params = spec.dim * (2 + spec.cls + spec.positions * (spec.cls + spec.frames))
    normed = 1 if spec.cls or spec.mean_first else space.tokens_q  # tokens of a frame
    return Cost("bridge", None, params, 0, FLOAT32_BYTES * spec.frames * normed * spec.dim, 0)


def tokens_projected(s: BlockSpec) -> int:
    """Those that keys and values are made of: what their pool looks at of `tokens_in`."""
    return s.cls + math.prod(on_seen(s.pool_kv).thw_in) if s.pool_kv else s.tokens_in


def _block_params(s):
    d = s.dim_attn
    params = 2 * s.dim_in + 2 * d  # norms
    params += s.dim_in * 3 * d + 3 * d * s.qkv_bias + d * d + d
    params += sum((math.prod(p.kernel) + 2) * s.head_dim for p in _convs(s))
    params += sum(length * s.head_dim for _, length in s.relative)
    params += d * s.dim_mlp + s.dim_mlp + s.dim_mlp * s.dim_out + s.dim_out
    return params + (s.dim_in * s.dim_out + s.dim_out if _has_projection(s) else 0)


def _convs(s):
    return [p for p in (s.pool_q, s.pool_kv, s.pool_kv) if p is not None and p.kind == "conv"]


def _has_projection(s):
    return s.dim_in != s.dim_out and s.skip != "none"


def _kept_by_blocks(blocks):
    """Floats that each block keeps; a chain of reversible ones keeps two results, with its last."""
    for s, following in zip(blocks, (*blocks[1:], None)):
        if not s.coupled:
            yield _kept(s)
        else:
            yield 0 if following and following.coupled else 2 * s.tokens_q * s.dim_out


def _kept(s):
    """Floats that the block's backward passes hold: the inputs of its ops, each array once."""
    d, n, m, kv = s.dim_attn, s.tokens_in, s.tokens_q, s.tokens_kv
    seen = tokens_projected(s)
    kept = 2 * n * s.dim_in  # x and norm1's result
    kept += seen * s.dim_in if s.pool_kv and skips_cells(s.pool_kv) else 0  # copied for k and v
    kept += d * (_kept_by_pool(s.pool_q, n, m) + 2 * _kept_by_pool(s.pool_kv, seen, kv))
    if s.pool_skip and (d == s.dim_in or s.skip != "none"):
        kept += n * d if d != s.dim_in else 0  # the skip, widened
        kept += m * d if s.pool_skip is s.pool_q and s.pool_q.kind == "conv" else 0  # and normed
    if s.relative:
        columns = s.heads * sum(s.thw_kv["thw".index(axis)] for axis, _ in s.relative)
        kept += m * (d + columns) + kv * columns  # q and k with their bias columns
    kept += m * d  # attention's result
    kept += 2 * m * d  # x and norm2's result: the hidden layer of the MLP is rebuilt
    return kept


def _kept_by_pool(pool, tokens, pooled):
    """Tokens of q, k or v that stay: as projected, before a convolution's norm, and as attended to.

    An average keeps nothing of what it is the average of.
    """
    if pool is None:
        return tokens
    return {"conv": tokens + 2 * pooled, "max": tokens + pooled, "avg": pooled}[pool.kind]


def _head(spec, last):
    params = 2 * spec.dim + spec.dim * spec.num_classes + spec.num_classes
    kept = (last.tokens_q + 1) * spec.dim  # the last block's result, the linear layer's input
    return Cost("head", None, params, spec.dim * spec.num_classes, FLOAT32_BYTES * kept, 0)
