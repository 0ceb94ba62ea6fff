"""Exercises of notebook 10, second part: residual pooling, and what it saves to widen later."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from .. import ops
from ..model.account import account
from ..model.config import MViTConfig
from ..model.plan import plan
from .checker import INVESTIGATE, SPECIFICATION, Exercise


def residual_pooling(q, k, v):
    """Attention as in MViTv2's video models: the pooled queries join the result.

    q: (B, heads, 1 + Nq, d)   k, v: (B, heads, 1 + Nk, d)   ->   (B, heads, 1 + Nq, d)

    All three are pooled already, and the class token is the first token of each. Every query
    attends to all keys, the class token's included, and the scores are divided by the root of d.
    Each query is added to its own row of attended values. Nothing is added to the class token's
    row.
    Hint: ops.softmax is given, and acts on the last axis.
    """
    scores = q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5
    z = ops.softmax(scores) @ v
    return np.concatenate([z[:, :, :1], z[:, :, 1:] + q[:, :, 1:]], axis=2)


def _reference_residual(q, k, v):
    q, k, v = (np.ascontiguousarray(x.swapaxes(1, 2)) for x in (q, k, v))  # as in the model
    z = ops.attend(q, k, v, q.shape[-1] ** -0.5)
    return np.ascontiguousarray(ops.residual(z, q, None, 1).swapaxes(1, 2))


def _pooled(rng):
    for clips, heads, queries, keys, d in ((2, 2, 5, 5, 3), (1, 3, 4, 2, 4), (2, 1, 1, 3, 2)):
        q = rng.standard_normal((clips, heads, queries, d))
        yield q, *rng.standard_normal((2, clips, heads, keys, d))


def _attended(q, k, v, scale=None):
    scores = q @ k.swapaxes(-1, -2)
    return ops.softmax(scores / q.shape[-1] ** 0.5 if scale is None else scale * scores) @ v


def _joined(z, q):
    """z with q added to all rows but the class token's."""
    return np.concatenate([z[:, :, :1], z[:, :, 1:] + q[:, :, 1:]], axis=2)


def _class_row_alone(q, k, v):
    z = _attended(q, k, v)
    return np.concatenate([z[:, :, :1] + q[:, :, :1], z[:, :, 1:]], axis=2)


def _averaged(q, k, v):
    z = _attended(q, k, v)
    return np.concatenate([z[:, :, :1], (z[:, :, 1:] + q[:, :, 1:]) / 2], axis=2)


RESIDUAL_POOLING = Exercise(
    residual_pooling,
    _reference_residual,
    _pooled,
    (
        ("the query is added to the class token's row too: to this row nothing is added",
         lambda q, k, v: _attended(q, k, v) + q),
        ("the queries are not added", _attended),
        ("the class token's row alone gets the query: all rows but this one do", _class_row_alone),
        ("the scores are not divided by the root of d",
         lambda q, k, v: _joined(_attended(q, k, v, 1), q)),
        ("the scores are divided by d: the root of d is right",
         lambda q, k, v: _joined(_attended(q, k, v, 1 / q.shape[-1]), q)),
        ("attended values and query are averaged: they are added",
         _averaged),
        ("the query is subtracted: add it", lambda q, k, v: _joined(_attended(q, k, v), -q)),
        ("the class token is left out: its row belongs to the result",
         lambda q, k, v: residual_pooling(q, k, v)[:, :, 1:]),
        ("the class token's key and value are left out: every query attends to all keys",
         lambda q, k, v: _joined(_attended(q, k[:, :, 1:], v[:, :, 1:]), q)),
    ),
    level=SPECIFICATION,
)  # fmt: skip


# -- where the channels widen ----------------------------------------------------------------------

SAVED = ("multiply_adds", "parameters")


def widening_saves(tokens, dim):
    """What MViTv2 saves at one transition between stages by widening later.

    tokens: number of tokens of the last block before the transition, class token included
    dim: their channels D   ->   multiply_adds, parameters: whole numbers, version 1 less version 2

    Two blocks take part. The last block of the old stage has `tokens` tokens. The first block of
    the new stage projects all of them to queries, keys and values, and then pools the queries to
    fewer. After the transition there are 2D channels. Version 1 widens in the old block, by the
    second linear layer of its MLP. Version 2 widens in the new block, by the projections to
    queries, keys and values. The hidden layer of an MLP is 4 times as wide as what comes in. Where
    the channels widen, the skip connection is a linear layer too. Linear layers have a bias, and a
    norm has two parameters per channel. Find what changes and what does not.
    Hint: write down the sizes of all linear layers of both blocks, for version 1 and version 2, and
    of the two norms of each block. Most are the same. A multiply-add counts as one.
    """
    mlp = tokens * (4 * dim * (dim + 2 * dim) - 4 * dim * (dim + dim))
    qkv = tokens * (2 * dim * 6 * dim - dim * 6 * dim)
    weights = (mlp + qkv) // tokens
    return mlp + qkv, weights + dim + 2 * dim  # a bias of D less, and a norm of D channels less


def _reference_saves(tokens, dim):
    """From the accounts of two models of two blocks that differ in this alone."""
    pixels: dict[str, Any] = dict(
        frames=1, size=(1, tokens - 1), cube_kernel=(1, 1, 1), cube_stride=(1, 1, 1)
    )
    config = MViTConfig(**pixels, dim=dim, heads=1, depths=(1, 1), stride_q=(1, 1, 2))
    one, two = (account(plan(replace(config, expand_in=where))) for where in ("mlp", "attention"))
    return one.macs - two.macs, one.params - two.params


def _transitions(rng):
    yield 25, 8
    yield 6273, 192
    yield 2 * int(rng.integers(2, 500)) + 1, 4 * int(rng.integers(1, 40))


def _saves(macs=lambda n, d: 10 * n * d * d, params=lambda n, d: 10 * d * d + 3 * d):
    return lambda tokens, dim: (macs(tokens, dim), params(tokens, dim))


WIDENING_SAVES = Exercise(
    widening_saves,
    _reference_saves,
    _transitions,
    (
        ("only the MLP is counted: in the new block the projections come from D channels, not 2D",
         _saves(macs=lambda n, d: 4 * n * d * d)),
        ("only the projections to queries, keys and values are counted: the old block's MLP gives "
         "D channels, not 2D",
         _saves(macs=lambda n, d: 6 * n * d * d)),
        ("the skip's linear layer is counted as saved: it has moved, and costs the same",
         _saves(macs=lambda n, d: 12 * n * d * d)),
        ("the projections are counted on the pooled tokens: queries, keys and values are made of "
         "all tokens before they are pooled",
         _saves(macs=lambda n, d: 4 * n * d * d + 6 * (n // 2 + 1) * d * d)),
        ("the new block's MLP is counted as saved: it is the same in both, 2D to 8D to 2D",
         _saves(macs=lambda n, d: 34 * n * d * d)),
        ("a multiply-add counts as one, not two", _saves(macs=lambda n, d: 20 * n * d * d)),
        ("the sign is wrong: it is version 1 less version 2",
         _saves(macs=lambda n, d: -10 * n * d * d)),
        ("biases and norms are not counted among the parameters",
         _saves(params=lambda n, d: 10 * d * d)),
        ("the norm's two parameters per channel are not counted: the new block's first norm has D "
         "channels in version 2, and 2D in version 1",
         _saves(params=lambda n, d: 10 * d * d + d)),
        ("the bias of the old block's MLP is not counted: it has D numbers in version 2, and 2D "
         "in version 1",
         _saves(params=lambda n, d: 10 * d * d + 2 * d)),
    ),
    returns=SAVED,
    level=INVESTIGATE,
    finding="It saves 10 D^2 multiply-adds per token of the old stage and 10 D^2 + 3 D parameters. "
    "The tokens fall to a quarter where D doubles, so every transition saves about the same.",
)  # fmt: skip

EXERCISES = (RESIDUAL_POOLING, WIDENING_SAVES)
