"""A look inside a model: what its tokens attend to, from where and how far.

All is computed on the host, from what `forward` hands to its `hook` and from the plan's grids.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..backend.arrays import to_host
from ..backend.types import Array, Params, Triple
from ..ops import join_units, split_units
from .config import MViTConfig
from .forward import forward
from .plan import Plan
from .plan import plan as plan_of
from .position_similarity import position_similarity as position_similarity
from .specs import BlockSpec


def attention_weights_of(params: Params, clip: Array, config: MViTConfig) -> list[Array]:
    """The attention weights of every block, softmax(Q K' / sqrt(d)) (Sec. 3.1).

    clip: (B, T, H, W, C)   ->   [(B, heads, Nq, Nk), ...], on the host, in the clip's dtype

    Rows are queries and sum to 1, columns are keys; a class token is the first of both. Mask units,
    and frames encoded alone, stand side by side in the first axis. All blocks' are held at once:
    `costs(config).lines` counts the `attention_bytes` of each block. Raises TypeError or ValueError
    for a clip or parameters that do not fit the config.
    """
    return _weights_in(plan_of(config).blocks, params, clip, config)


def class_attention(params: Params, clip: Array, config: MViTConfig) -> list[tuple[int, Array]]:
    """What the class token gives each key in each stage's last block, as a mean over heads.

    clip: (1, T, H, W, C)   ->   [(stage, (t, h, w) shares), ...], the grid being the block's keys'

    The shares sum to 1 less what the class token gives itself. Without a class token they are a
    mean over all queries, since such a model classifies the mean token. Raises ValueError for more
    than one clip.
    """
    if len(clip) != 1:
        remedy = "choose one with clip[i : i + 1]"
        raise ValueError(f"class_attention looks at one clip; came {len(clip)}: {remedy}")
    blocks = last_blocks(plan_of(config))
    found = _weights_in(blocks, params, clip, config)
    return [(block.stage, class_shares(weights, block)) for block, weights in zip(blocks, found)]


def class_shares(weights: Array, spec: BlockSpec) -> Array:
    """What the class token gives to each key of a block.   (1, heads, Nq, Nk)   ->   (t, h, w)

    Mask units, or frames encoded alone, are the first axis instead of 1, and share alike.
    """
    rows = (weights[:, :, 0, 1:] if spec.cls else weights.mean(2)).mean(1) / len(weights)
    return (join_units(rows, spec.thw, spec.unit) if spec.unit else rows).reshape(spec.thw_keys)


def last_blocks(plan: Plan) -> list[BlockSpec]:
    """The last block of each stage."""
    return list({block.stage: block for block in plan.blocks}.values())


def _weights_in(blocks, params, clip, config):
    """The attention weights of some blocks, on the host."""
    found = {f"blocks.{block.index}.attention": None for block in blocks}

    def keep(name, array):
        if name in found:
            found[name] = to_host(array)

    forward(params, clip, config, hook=keep)
    return list(found.values())


# -- rollout ---------------------------------------------------------------------------------------


def attention_rollout(weights: Sequence[Array], plan: Plan) -> Array:
    """How much each embedded token gives to what the head reads: attention followed to the bottom.

    weights   what `attention_weights_of` gives: [(B, heads, Nq, Nk), ...]
    plan      of the model
    ->        (B, N) float64 shares of the N = [1 +] t h w embedded tokens; rows sum to 1 as in
              `weights`

    The head reads the class token, or the mean of the grid's tokens. With a class token, its own
    share comes first: `shares[:, 1:].reshape(B, *plan.embed.thw)` is the map of the rest. Rollout
    (Abnar and Zuidema 2020, arXiv 2005.00928) multiplies (A + I) / 2 over the blocks, A being the
    mean over heads and I the skip connection. With pooling (ours) it is (A P_K + P_skip) / 2: each
    row of P is the *mean* over the tokens in a window, padding left out. That is an approximation:
    a maximum takes one of them, a convolution weighs them. MLPs, norms and residual pooling change
    no share.

    Raises ValueError for weights of another model, and for models with two streams or with frames
    encoded alone.
    """
    check_one_list(plan, "rollout")
    if len(weights) != len(plan.blocks):
        raise ValueError(
            f"rollout needs the weights of all {len(plan.blocks)} blocks; came {len(weights)}: "
            "give what attention_weights_of gives for this model"
        )
    for block_weights, block in zip(weights, plan.blocks):
        _check_weights(block_weights, block)
    shares = read_by_head(plan, len(weights[-1]) // _units(plan.blocks[-1]))
    for block_weights, block in zip(weights[::-1], plan.blocks[::-1]):
        given = attended(shares, block_weights, block)
        skipped = past_attention(shares, block)
        shares = given if skipped is None else (given + skipped) / 2
    return shares


def check_one_list(plan: Plan, what: str) -> None:
    """Raise ValueError for a model whose tokens are not one list from first block to last."""
    if plan.bridge or plan.config.reversible:
        came = "frames encoded alone" if plan.bridge else "two streams"
        rule = f"{what} follows one list of tokens through all blocks"
        raise ValueError(f"{rule}; came a model with {came}: take another one")


def read_by_head(plan: Plan, batch: int) -> Array:
    """(B, N) shares of the last tokens: all on the class token, or alike on those of the grid."""
    last = plan.blocks[-1]
    shares = np.zeros((batch, last.tokens_q))
    if last.cls and not plan.head.mean_first:
        shares[:, 0] = 1
    else:
        shares[:, last.cls :] = 1 / (last.tokens_q - last.cls)
    return shares


def past_attention(shares: Array, block: BlockSpec) -> Array | None:
    """Shares of a block's queries, handed on to its input by the skip; None where it has none.

    (B, Nq)   ->   (B, N)
    """
    if block.dim_attn != block.dim_in and block.skip == "none":
        return None
    return _unpooled(shares, block.pool_skip, block.cls)


def attended(shares: Array, weights: Array, block: BlockSpec) -> Array:
    """Shares of a block's queries, handed on to the tokens that its keys are made of.

    (B, Nq)   ->   (B, N)
    """
    if block.unit:
        shares = split_units(shares, block.thw_q, block.unit_q)
    keys = (shares[:, None] @ weights.mean(axis=1, dtype=np.float64))[:, 0]
    if block.unit:
        return join_units(keys, block.thw, block.unit)
    return _unpooled(keys, block.pool_kv, block.cls)


def _unpooled(shares, pool, cls):
    """Each pooled token's share, handed out evenly in its window.

    (B, [1 +] t h w)   ->   (B, [1 +] T H W)
    """
    if pool is None:
        return shares
    grid = shares[:, cls:].reshape(-1, *pool.thw_out)
    spread = np.einsum("bijk,it,jh,kw->bthw", grid, *_window_means(pool), optimize=True)
    return np.concatenate([shares[:, :cls], spread.reshape(len(shares), -1)], axis=1)


def _window_means(pool):
    """Three (n_out, n_in): an axis's matrix for the mean over each window, padding left out."""
    for n, count, k, s, p in zip(pool.thw_in, pool.thw_out, pool.kernel, pool.stride, pool.padding):
        first = s * np.arange(count)[:, None] - p
        inside = (np.arange(n) >= first) & (np.arange(n) < first + k)
        yield inside / inside.sum(axis=1, keepdims=True)


# -- distance --------------------------------------------------------------------------------------


def mean_attention_distance(weights: Array, spec: BlockSpec, pixels: Triple = (1, 1, 1)) -> Array:
    """How far in space each head of a block looks, as a mean over queries (Fig. A.6).

    weights   (B, heads, Nq, Nk) of one block, as `attention_weights_of` gives them
    spec      the `BlockSpec` of that block
    pixels    (frames, pixels, pixels) from one token of the block's input to the next:
              `token_pixels(plan, spec.index)`
    ->        (heads,) in pixels of the clip, or with (1, 1, 1) in tokens of the block's input

    The distance from a query to a key is |(dy, dx)| between the centres of the windows that they
    are pooled from, whatever their times; weighted with the attention, and averaged over queries
    and clips. The class token is left out: the weights of the other keys are scaled to sum to 1.
    Raises ValueError for weights of another block, or bad `pixels`.
    """
    _check_weights(weights, spec)
    if len(pixels) != 3 or min(pixels) <= 0:
        rule = "pixels are three positive steps (frames, pixels, pixels)"
        raise ValueError(f"{rule}; came {pixels}: see token_pixels")
    far = _distances(spec, pixels)  # (units, q, k)
    weights = weights[:, :, spec.cls :, spec.cls :].astype(np.float64)
    weights /= weights.sum(axis=-1, keepdims=True)
    weights = weights.reshape(-1, len(far), spec.heads, *far.shape[1:])
    return np.einsum("buhqk,uqk->h", weights, far) / (len(weights) * far[..., 0].size)


def token_pixels(plan: Plan, index: int) -> Triple:
    """(frames, pixels, pixels) of the clip from one token of block `index`'s input to the next.

    Raises ValueError where there is no such block, or where it comes after frames encoded alone.
    """
    blocks = plan.config.depth - plan.config.time_depth
    if not 0 <= index < blocks:
        raise ValueError(f"blocks with a grid in space are 0 to {blocks - 1}; came {index}")
    strides = [plan.embed.stride, *(block.stride_q for block in plan.blocks[:index])]
    return tuple(math.prod(axis) for axis in zip(*strides))


def _distances(spec, pixels):
    """From each query to each key, a unit at a time.   -> (units, q, k)"""
    q, k = (_coordinates(spec.thw, pool, pixels)[None] for pool in (spec.pool_q, spec.pool_kv))
    if spec.unit:
        q, k = split_units(q, spec.thw_q, spec.unit_q), split_units(k, spec.thw, spec.unit)
    y, x = np.moveaxis(q[:, :, None] - k[:, None], -1, 0)
    return np.hypot(y, x)


def _coordinates(thw, pool, pixels):
    """(t h w, 2): where tokens of a grid lie in space, pooled ones at their windows' centres."""
    if pool is None:
        axes = [np.arange(n) for n in thw]
    else:
        sizes = zip(pool.thw_out, pool.kernel, pool.stride, pool.padding)
        axes = [s * np.arange(n) - p + (k - 1) / 2 for n, k, s, p in sizes]
    axes = [along * step for along, step in zip(axes, pixels)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)[:, 1:]


# -- checks ----------------------------------------------------------------------------------------


def _units(block):
    return math.prod(block.thw) // math.prod(block.unit) if block.unit else 1


def _check_weights(weights, block):
    """Raise ValueError where `weights` are not of this block."""
    queries = math.prod(block.unit_q) if block.unit else block.tokens_q
    wanted = (block.heads, queries, block.tokens_seen)
    fits = np.ndim(weights) == 4 and weights.shape[1:] == wanted
    if not fits or len(weights) % (_units(block) * block.sequences):
        rule = f"attention weights of block {block.index} are (B, {', '.join(map(str, wanted))})"
        raise ValueError(
            f"{rule}; came {np.shape(weights)}: give what attention_weights_of gives for this model"
        )
