"""The forward pass without gradients: what is done to each token alone is one pass over rows.

A block mixes tokens in its pools and in its attention. What lies between the attention of one block
and the pools of the next needs no other token:

    x += z W + b,  MLP(norm2(x)),  then of the next block: norm1 and the projections

So a tile of rows goes through all of it while it is in the cache, and the results between are
never written to memory. Keys and values lie side by side, (B, N, 2, h d), and one convolution pools
both; they are projected only where their pool looks (`ops/fast/take_seen`).
"""

from __future__ import annotations

import functools

import numpy as np

from ..backend import tiles
from ..backend.scratch import scratch
from ..backend.types import Array, Params
from ..ops.fast.gelu import gelu_array
from ..ops.fast.layer_norm import normalised
from ..ops.fast.linear import plus
from ..ops.fast.take_seen import on_seen, skips_cells, take_seen
from .config import MViTConfig
from .layers import attention
from .layers.bridge import bridge
from .layers.embedding import embed
from .layers.head import head
from .layers.pooling import pool_heads, pool_tokens
from .plan import plan
from .specs import BlockSpec

WIDEST = 512  # hidden numbers of a row, for the size of a tile: with 512 rows, packing weights pays


def run(params: Params, clip: Array, config: MViTConfig) -> Array:
    """As `forward.run` without chance and hooks, of plain NumPy arrays and one stream.

    (B, T, H, W, C)   ->   (B, num_classes)
    """
    p = plan(config)
    x, entrance = embed(params, clip, p.embed), None
    blocks = list(zip(params["blocks"], p.blocks))
    bridge_at = sum(config.depths) if p.bridge else len(blocks)
    for i, this in enumerate(blocks):
        if p.bridge and i == bridge_at:
            x = bridge(params["bridge"], x, p.bridge)
        if entrance is None:
            entrance = Entrance(*this, len(x))
            _over_rows(entrance.fill, x, x.shape[-1], this[1])
        z, skip = _mixed(*this, x, entrance)
        ends = i + 1 in (bridge_at, len(blocks))
        entrance = None if ends else Entrance(*blocks[i + 1], len(x))
        x = _branches(*this, z, skip, entrance)
    return head(params, x, p.head)


class Entrance:
    """What a block's norm1 and projections give for all tokens, filled some rows at a time.

    q: (B, N, D)   kv: (B, n, 2 D), where the pool looks   skip: (B, N, D) or None, where it widens
    """

    def __init__(self, params: Params, spec: BlockSpec, clips: int) -> None:
        self.params, self.spec = params, spec
        size, dtype = spec.tokens_in, params["attn"]["qkv"]["w"].dtype
        self.seen, self.pool_kv = _seen(spec.pool_kv, spec.tokens_in, clips)
        count = size if self.seen is None else len(self.seen) // clips
        self.q = np.empty((clips, size, spec.dim_attn), dtype)
        self.kv = np.empty((clips, count, 2 * spec.dim_attn), dtype)
        self.skip = None
        if spec.dim_attn != spec.dim_in and spec.skip != "none":
            self.skip = np.empty((clips, size, spec.dim_attn), dtype)

    def fill(self, at: slice, x: Array) -> None:
        """The rows `at` of all tokens; x: those rows of the block's input, (rows, D_in)."""
        params, spec = self.params, self.spec
        y = normalised(x, params["norm1"]["g"], params["norm1"]["b"], spec.eps)
        w, b, d = params["attn"]["qkv"]["w"], params["attn"]["qkv"].get("b"), spec.dim_attn
        b_q, b_kv = (None, None) if b is None else (b[:d], b[d:])
        plus(_rows(self.q)[at], y, w[:, :d], b_q)
        if self.skip is not None:
            source = y if spec.skip == "normalised" else x
            plus(_rows(self.skip)[at], source, params["proj"]["w"], params["proj"]["b"])
        if self.seen is not None:
            first, stop = np.searchsorted(self.seen, (at.start, at.stop))
            y, at = y[self.seen[first:stop] - at.start], slice(first, stop)
        plus(_rows(self.kv)[at], y, w[:, d:], b_kv)


@functools.lru_cache(maxsize=256)
def _seen(pool, tokens, clips):
    """The rows of all tokens that a pool looks at, in order, and the pool of those.

    The rows are None where it looks at all.
    """
    if pool is None or not skips_cells(pool):
        return None, pool
    each = np.arange(tokens).reshape(1, tokens)
    each = take_seen(each, pool.thw_in, pool.kernel, pool.stride, pool.padding)
    return (each + tokens * np.arange(clips)[:, None]).reshape(-1), on_seen(pool)


def _mixed(params, spec, x, entrance):
    """Where tokens meet: pools and attention.   ->   z (B, n, D), skip (B, n, D) or None"""
    attn, heads = params["attn"], (spec.heads, spec.head_dim)
    q = pool_heads(attn, entrance.q.reshape(*entrance.q.shape[:2], *heads), spec.pool_q, "q", spec)
    k, v = _keys_values(attn, entrance, spec)
    z = attention._attend(attn, q, k, v, spec, None)
    z = attention._add_query(z, q, spec)
    skip = entrance.skip if spec.dim_attn != spec.dim_in else x
    if spec.pool_skip and skip is not None:
        skip = pool_tokens(skip, spec.pool_skip, spec.cls)
    return z.reshape(*z.shape[:2], spec.dim_attn), skip


def _keys_values(attn, entrance, spec):
    """k, v: (B, n, h, d), pooled side by side."""
    kv, pool = entrance.kv, entrance.pool_kv
    if pool is not None:
        weight = None
        if pool.kind == "conv":
            both = (attn["pool_k"]["w"], attn["pool_v"]["w"])
            weight = np.concatenate([np.tile(w, spec.heads) for w in both], axis=-1)
        kv = pool_tokens(kv[:, :, None], pool, spec.cls, weight)
    kv = kv.reshape(*kv.shape[:2], 2, spec.heads, spec.head_dim)
    k, v = kv[:, :, 0], kv[:, :, 1]
    if pool is None or pool.kind != "conv":
        return k, v
    normed = np.empty((2, *k.shape), k.dtype)

    def fill(i):
        norm, rows = attn[("norm_k", "norm_v")[i]], kv[:, :, i].reshape(-1, spec.head_dim)
        normed[i] = normalised(rows, norm["g"], norm["b"], spec.eps).reshape(k.shape)

    tiles.run(fill, (0, 1))
    return normed[0], normed[1]


def _branches(params, spec, z, skip, entrance):
    """skip + z W + b, then the MLP's branch, and the entrance of the next block if there is one.

    z: (B, n, D)   skip: (B, n, D) or None   ->   (B, n, D_out)
    """
    fc1, fc2, proj = params["mlp"]["fc1"], params["mlp"]["fc2"], params["attn"]["proj"]
    norm = params["norm2"]
    out = np.empty((*z.shape[:2], spec.dim_out), z.dtype)
    z, skip = _rows(z), None if skip is None else _rows(skip)

    def fill(at, out):
        x = scratch("x", (len(out), spec.dim_attn), out)
        plus(x, z[at], proj["w"], proj["b"])
        if skip is not None:
            x += skip[at]
        y = normalised(x, norm["g"], norm["b"], spec.eps)
        h = np.matmul(y, fc1["w"], out=scratch("h", (len(out), spec.dim_mlp), out))
        plus(out, gelu_array(h, fc1["b"]), fc2["w"], fc2["b"])
        if spec.dim_out == spec.dim_attn:
            out += x
        elif spec.skip != "none":
            source = y if spec.skip == "normalised" else x
            widened = scratch("widened", out.shape, out)
            plus(widened, source, params["proj"]["w"], params["proj"]["b"])
            out += widened
        if entrance is not None:
            entrance.fill(at, out)

    _over_rows(fill, out, fc1["w"].shape[1], spec)
    return out


def _over_rows(fill, x, widest, spec):
    """fill(at, rows) for tiles of all tokens of x (B, N, D), on all threads."""
    rows = _rows(x)
    work = (12 * spec.dim_in * spec.dim_out) // tiles.PRODUCT
    tiles.run(
        lambda at: fill(at, rows[at]), tiles.rows(rows, max(1, min(widest // 2, WIDEST)), work)
    )


def _rows(x):
    return x.reshape(-1, x.shape[-1])
