"""Exercises of notebook 07, first part: the cost of a model, before any array is made."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from ..model.config import MViTConfig
from ..model.costs import costs
from ..model.plan import plan
from ..model.presets import preset
from .checker import INVESTIGATE, SPECIFICATION, Exercise


def attention_share(tokens, dim):
    """Which share of a ViT block's multiply-adds the products between tokens take, Q K' and P V.

    tokens: (n,), numbers of tokens N   dim: the channels D, a whole number   ->   (n,)
    share = 2 N^2 D / (4 N D^2 + 2 N^2 D + 8 N D^2)
    Hint: D and N are in every term, so they cancel once each.
    """
    return tokens / (tokens + 6 * dim)


def _tokens(rng):
    for count, dim in ((4, 768), (3, 96), (5, int(32 * rng.integers(1, 20)))):
        yield rng.integers(10, 5000, count).astype(float), dim


def _share(products=2.0, linear=12.0, whole=True):
    """A share with other factors; with the linear layers alone below it where not `whole`."""

    def wrong(n, d):
        between, other = products * n * n * d, linear * n * d * d
        return between / (between + other if whole else other)

    return wrong


ATTENTION_SHARE = Exercise(
    attention_share,
    _share(),
    _tokens,
    (
        ("one of the two products is missing: Q K' and P V", _share(products=1.0)),
        ("the MLP is missing: it has 8 N D^2", _share(linear=4.0)),
        ("the projections are missing: they have 4 N D^2", _share(linear=8.0)),
        ("attention is divided by the other parts: divide by the sum of all parts",
         _share(whole=False)),
        ("this is the share of the linear layers: give that of the products between tokens",
         lambda n, d: 12 * d / (2 * n + 12 * d)),
        ("tokens and channels are swapped", lambda n, d: d / (d + 6 * n)),
        ("a multiply-add of the products counts twice, and one of the linear layers once",
         _share(products=4.0)),
    ),
)  # fmt: skip


def predict_macs(config):
    """All multiply-adds of a model for one clip, from its sizes alone.

    config: an MViTConfig with conv or max pooling and a class token   ->   one whole number
    Count the cubes; for each block its linear layers, pools, products between tokens and the MLP
    with its widening skip; and the head. Norms, softmax, additions and max pooling are not counted.
    Hint: plan(config) has every size: embed.thw, embed.kernel, embed.channels, embed.dim; of each
    of blocks tokens_in, tokens_q, tokens_kv, dim_in, dim_attn, dim_mlp, dim_out, pool_q and pool_kv
    (None, or with thw_out, kernel and kind); head.dim and head.num_classes. prod is math.prod.
    """
    sizes = plan(config)
    cubes = prod(sizes.embed.thw) * prod(sizes.embed.kernel) * sizes.embed.channels
    macs = cubes * sizes.embed.dim
    for s in sizes.blocks:
        macs += s.tokens_in * s.dim_in * 3 * s.dim_attn + s.tokens_q * s.dim_attn**2
        macs += 2 * s.tokens_q * s.tokens_kv * s.dim_attn
        for pool in (s.pool_q, s.pool_kv, s.pool_kv):
            if pool and pool.kind == "conv":
                macs += prod(pool.thw_out) * prod(pool.kernel) * s.dim_attn
        macs += s.tokens_q * s.dim_mlp * (s.dim_attn + s.dim_out)
        if s.dim_out != s.dim_attn:
            macs += s.tokens_q * s.dim_attn * s.dim_out
    return macs + sizes.head.dim * sizes.head.num_classes


def _models(rng):
    micro = preset("mvit_micro")
    yield (micro,)
    yield (preset("mvit_b_16x4"),)
    yield (preset("vit_b_8f"),)
    for pool in ("max", "conv"):
        dim, depths = int(16 * rng.integers(1, 5)), tuple(map(int, rng.integers(1, 4, 3)))
        yield (MViTConfig(frames=8, size=64, dim=dim, depths=depths, pool=pool),)


def _and(extra):
    """The right count, and something more or less for the plan."""
    return lambda config: costs(config).macs + extra(plan(config))


def _per_block(extra):
    return _and(lambda p: sum(extra(s) for s in p.blocks))


def _conv_macs(pool, dim):
    return prod(pool.thw_out) * prod(pool.kernel) * dim if pool and pool.kind == "conv" else 0


PREDICT_MACS = Exercise(
    predict_macs,
    lambda config: costs(config).macs,
    _models,
    (
        ("the cubes are not counted",
         _and(lambda p: -prod((*p.embed.thw, *p.embed.kernel, p.embed.channels, p.embed.dim)))),
        ("the head is not counted", _and(lambda p: -p.head.dim * p.head.num_classes)),
        ("the head sees the class token alone, not every token",
         _and(lambda p: (p.blocks[-1].tokens_q - 1) * p.head.dim * p.head.num_classes)),
        ("the widening skip is not counted",
         _per_block(lambda s: -s.tokens_q * s.dim_attn * s.dim_out * (s.dim_out != s.dim_attn))),
        ("the pools of keys and values are two: each is counted",
         _per_block(lambda s: -_conv_macs(s.pool_kv, s.dim_attn))),
        ("the pools are not counted: a convolution reads its kernel for each number it makes",
         _per_block(lambda s: -_conv_macs(s.pool_q, s.dim_attn)
                    - 2 * _conv_macs(s.pool_kv, s.dim_attn))),
        ("there are two products between tokens: Q K' and P V",
         _per_block(lambda s: -s.tokens_q * s.tokens_kv * s.dim_attn)),
        ("the output projection is not counted", _per_block(lambda s: -s.tokens_q * s.dim_attn**2)),
        ("the output projection has the pooled queries: tokens_q, not tokens_in",
         _per_block(lambda s: (s.tokens_in - s.tokens_q) * s.dim_attn**2)),
        ("queries, keys and values are made of all tokens, before the pool: tokens_in",
         _per_block(lambda s: (s.tokens_q + 2 * s.tokens_kv - 3 * s.tokens_in)
                    * s.dim_in * s.dim_attn)),
        ("a multiply-add counts as one, not two", lambda config: 2 * costs(config).macs),
    ),
    level=SPECIFICATION,
)  # fmt: skip


def growth(config, frames):
    """By which power of its length a clip's cost grows.

    config: an MViTConfig   frames: numbers of frames, each larger than the one before
    ->   one exponent less than frames: 1 where a clip twice as long costs twice as much, 2 where it
    costs four times as much
    Hint: replace(config, frames=n) is the same model for other clips, and costs(...).macs is its
    cost. If cost = c frames^e, then log(cost) = log(c) + e log(frames).
    """
    macs = [costs(replace(config, frames=n)).macs for n in frames]
    return np.diff(np.log(macs)) / np.diff(np.log(frames))


def _macs(config, frames):
    return np.array([predict_macs(replace(config, frames=n)) for n in frames], float)


def _exponents(config, frames):
    """Pair by pair, from a count of its own."""
    macs = _macs(config, frames)
    return np.array([
        np.log2(macs[i + 1] / macs[i]) / np.log2(frames[i + 1] / frames[i])
        for i in range(len(frames) - 1)
    ])  # fmt: skip


def _clips(rng):
    yield preset("vit_b_8f"), (8, 24, 48, 96)
    yield preset("mvit_b_16x4"), (8, 16, 64)
    more = MViTConfig(size=128, dim=int(32 * rng.integers(1, 4)), depths=(1, 2, 2), pool="max")
    yield more, (4, 8, int(2 * rng.integers(8, 40)))


GROWTH = Exercise(
    growth,
    _exponents,
    _clips,
    (
        ("it is how many times the cost grows: its logarithm over that of the frames is asked for",
         lambda c, frames: _macs(c, frames)[1:] / _macs(c, frames)[:-1]),
        ("it is how many times the cost grows over how many times the frames do: take logarithms",
         lambda c, frames: (_macs(c, frames)[1:] / _macs(c, frames)[:-1])
         / (np.array(frames[1:]) / frames[:-1])),
        ("the logarithm of the frames is missing below the line",
         lambda c, frames: np.diff(np.log(_macs(c, frames)))),
        ("the frames are taken to double: divide by the logarithm of how much they grow",
         lambda c, frames: np.diff(np.log2(_macs(c, frames)))),
        ("the fraction is upside down: the cost's logarithm is above the line",
         lambda c, frames: 1 / _exponents(c, frames)),
        ("the growth is measured from the first clip on: from each to the next is asked for",
         lambda c, frames: np.log(_macs(c, frames)[1:] / _macs(c, frames)[0])
         / np.log(np.array(frames[1:]) / frames[0])),
        ("it is the slope of cost by frames, not the exponent",
         lambda c, frames: np.diff(_macs(c, frames)) / np.diff(frames)),
    ),
    level=INVESTIGATE,
    finding="from 8 to 16, 32, 64 and 128 frames the exponent of ViT-B is 1.32, 1.49, 1.65 and "
    "1.79, and that of MViT-B 1.15, 1.27, 1.42 and 1.59: both come near to 2, MViT-B later.",
)  # fmt: skip

EXERCISES = (ATTENTION_SHARE, PREDICT_MACS, GROWTH)
