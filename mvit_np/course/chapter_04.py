"""Exercises of notebook 04: pooling attention."""

# A solution is written as a student would, without types:
# mypy: disable-error-code="arg-type, call-arg"

from __future__ import annotations

from functools import partial

import numpy as np

from .. import ops
from ..model.layers.pooling import pool_tokens
from ..model.specs import PoolSpec
from ..ops.attend import heads_first
from .checker import Exercise


def split_heads(x, heads):
    """Cut the channels into heads, and bring the axis of heads before that of tokens.

    x: (B, N, D)   ->   (B, h, N, D / h)

    Head 0 gets the first D / h channels of every token, head 1 the next ones, and so on.
    Hint: reshape divides the last axis first; an axis is then moved by transpose or swapaxes, never
    by reshape.
    """
    batch, tokens, dim = x.shape
    return x.reshape(batch, tokens, heads, dim // heads).transpose(0, 2, 1, 3)


def _reference_heads(x, heads):
    return heads_first(ops.reshape(x, (*x.shape[:2], heads, -1)))


def _tokens_and_heads(rng):
    for shape, heads in (((2, 3, 12), 3), ((1, 5, 8), 2), ((3, 4, 4), 4), ((2, 7, 6), 1)):
        yield rng.standard_normal(shape), heads


SPLIT_HEADS = Exercise(
    split_heads,
    _reference_heads,
    _tokens_and_heads,
    (
        ("reshape to (B, h, N, d) mixes tokens and channels: "
         "first (B, N, h, d), then swap two axes",
         lambda x, h: x.reshape(x.shape[0], h, x.shape[1], -1)),
        ("the axis of heads is still behind the tokens: swap them",
         lambda x, h: x.reshape(*x.shape[:2], h, -1)),
        ("a head gets every h-th channel: "
         "it gets D / h neighbours, so the heads come first in (h, d)",
         lambda x, h: x.reshape(*x.shape[:2], -1, h).transpose(0, 3, 1, 2)),
        ("the channels are before the tokens: (B, h, N, d)",
         lambda x, h: split_heads(x, h).swapaxes(-1, -2)),
        ("the heads are before the batch: (B, h, N, d)",
         lambda x, h: split_heads(x, h).swapaxes(0, 1)),
        ("D / h heads of h channels: it is h heads of D / h channels",
         lambda x, h: split_heads(x, x.shape[-1] // h)),
    ),
)  # fmt: skip


def pooling_attention(q_hat, k_hat, v_hat, pool_q, pool_kv):
    """Pool, then attend, in each head.

    softmax(Q K' / sqrt(d)) V   with   Q = P_Q(Q^), K = P_K(K^), V = P_K(V^)

    q_hat, k_hat, v_hat: (B, N, h, d)   ->   (B, Nq, h, d)
    pool_q, pool_kv: functions (B, N, h, d) -> (B, Nq or Nk, h, d), that keep the class token
    Hint: x.swapaxes(1, 2) moves the heads before the tokens, and back.
    """
    q, k, v = pool_q(q_hat), pool_kv(k_hat), pool_kv(v_hat)
    q, k, v = (x.swapaxes(1, 2) for x in (q, k, v))  # (B, h, tokens, d)
    scores = q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5  # (B, h, Nq, Nk)
    return (ops.softmax(scores) @ v).swapaxes(1, 2)


def _reference_pooling_attention(q_hat, k_hat, v_hat, pool_q, pool_kv):
    return ops.attend(pool_q(q_hat), pool_kv(k_hat), pool_kv(v_hat), q_hat.shape[-1] ** -0.5)


def _pool(thw, stride):
    kernel = tuple(s + 1 if s > 1 else 1 for s in stride)
    return partial(pool_tokens, spec=PoolSpec("max", kernel, stride, thw), cls=True)


def _hats(rng):
    def case(batch, thw, heads, d, stride_q, stride_kv):
        shape = (batch, 1 + int(np.prod(thw)), heads, d)
        return *rng.standard_normal((3, *shape)), _pool(thw, stride_q), _pool(thw, stride_kv)

    yield case(2, (2, 4, 4), 2, 3, (1, 2, 2), (1, 4, 4))
    yield case(1, (3, 5, 3), 1, 4, (1, 1, 1), (1, 2, 2))
    yield case(2, (1, 6, 4), 3, 2, (1, 2, 2), (1, 2, 2))


def _attended(change):
    """Pooling attention of what `change` makes of q^, k^, v^ and the two pools."""

    def wrong(*args):
        q, k, v = change(*args)
        return ops.attend(q, k, v, q.shape[-1] ** -0.5)

    return wrong


def _scaled(scale):
    return lambda q, k, v, pool_q, pool_kv: ops.attend(pool_q(q), pool_kv(k), pool_kv(v), scale(q))


def _softmax_over_queries(q_hat, k_hat, v_hat, pool_q, pool_kv):
    q, k, v = (heads_first(x) for x in (pool_q(q_hat), pool_kv(k_hat), pool_kv(v_hat)))
    scores = q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5
    return heads_first(ops.softmax(scores.swapaxes(-1, -2)).swapaxes(-1, -2) @ v)


def _heads_mixed(q_hat, k_hat, v_hat, pool_q, pool_kv):
    pooled = pool_q(q_hat), pool_kv(k_hat), pool_kv(v_hat)
    joined = [x.reshape(*x.shape[:2], 1, -1) for x in pooled]
    z = ops.attend(*joined, q_hat.shape[-1] ** -0.5)
    return z.reshape(*z.shape[:2], *q_hat.shape[2:])


POOLING_ATTENTION = Exercise(
    pooling_attention,
    _reference_pooling_attention,
    _hats,
    (
        ("the queries are not pooled: they set the length of the result",
         _attended(lambda q, k, v, pq, pk: (q, pk(k), pk(v)))),
        ("keys and values are not pooled", _attended(lambda q, k, v, pq, pk: (pq(q), k, v))),
        ("nothing is pooled", _attended(lambda q, k, v, pq, pk: (q, k, v))),
        ("the two pools are exchanged: pool_q is for the queries",
         _attended(lambda q, k, v, pq, pk: (pk(q), pq(k), pq(v)))),
        ("keys and values go through pool_q: theirs is pool_kv",
         _attended(lambda q, k, v, pq, pk: (pq(q), pq(k), pq(v)))),
        ("the values are not pooled, and there are more of them than keys: pool both",
         lambda q, k, v, pq, pk: _weights(pq(q), pk(k)) @ heads_first(v)),
        ("the keys are not pooled, and there are more of them than values: pool both",
         lambda q, k, v, pq, pk: _weights(pq(q), k) @ heads_first(pk(v))),
        ("the result is pooled: pool the queries, before attention",
         lambda q, k, v, pq, pk: pq(ops.attend(q, pk(k), pk(v), q.shape[-1] ** -0.5))),
        ("the scale is missing: divide the scores by sqrt(d)", _scaled(lambda q: 1)),
        ("the scale is that of all channels: d is the width of one head",
         _scaled(lambda q: (q.shape[-1] * q.shape[-2]) ** -0.5)),
        ("the scores are divided by d: divide by its root", _scaled(lambda q: 1 / q.shape[-1])),
        ("the softmax runs over the queries: it runs over the keys, the last axis",
         _softmax_over_queries),
        ("the heads are mixed: each attends with its own channels", _heads_mixed),
        ("the result has the heads before the tokens: swap them back",
         lambda *args: heads_first(pooling_attention(*args))),
        ("the pooled query is added: that is MViTv2's residual pooling, not asked for here",
         lambda q, k, v, pq, pk: pooling_attention(q, k, v, pq, pk) + pq(q)),
    ),
)  # fmt: skip


def _weights(q, k):
    return ops.softmax(heads_first(q) @ heads_first(k).swapaxes(-1, -2) / q.shape[-1] ** 0.5)


def pooled_skip(x, thw, stride):
    """The skip of a block that pools its queries is pooled too, by maxima of overlapping windows.

    x: (B, 1 + T H W, D), the class token first   thw: (T, H, W)   stride: three numbers
    ->   (B, 1 + t h w, D)
    On an axis with stride s > 1 the window is s + 1 long and the padding s // 2.
    On one with s = 1 they are 1 and 0.
    Hint: the class token is not pooled.
    ops.max_pool(grid, kernel, stride, padding) pools (B, T, H, W, D).
    """
    kernel = tuple(s + 1 if s > 1 else 1 for s in stride)
    padding = tuple(s // 2 for s in stride)
    first, rest = x[:, :1], x[:, 1:]
    grid = ops.max_pool(rest.reshape(x.shape[0], *thw, x.shape[-1]), kernel, stride, padding)
    return np.concatenate([first, grid.reshape(x.shape[0], -1, x.shape[-1])], axis=1)


def _reference_skip(x, thw, stride):
    return _pool(thw, stride)(x)


def _skips(rng):
    def case(batch, thw, stride, d):
        return rng.standard_normal((batch, 1 + int(np.prod(thw)), d)), thw, stride

    yield case(2, (2, 4, 6), (1, 2, 2), 3)
    yield case(1, (4, 5, 3), (2, 2, 1), 2)
    yield case(2, (1, 8, 8), (1, 4, 4), 1)
    yield case(1, (3, 9, 6), (1, 3, 3), 2)


def _pooled_by(pool):
    """The class token around pool(grid, stride)."""

    def wrong(x, thw, stride):
        grid = pool(x[:, 1:].reshape(len(x), *thw, x.shape[-1]), stride)
        return np.concatenate([x[:, :1], grid.reshape(len(x), -1, x.shape[-1])], axis=1)

    return wrong


def _average(grid, stride):
    kernel, padding = tuple(s + (s > 1) for s in stride), tuple(s // 2 for s in stride)
    return ops.avg_pool(grid, kernel, stride, padding)


def _max_padded(grid, stride, padding):
    kernel = tuple(s + (s > 1) for s in stride)
    return ops.max_pool(grid, kernel, stride, tuple(map(padding, stride)))


def _class_pooled(x, thw, stride):
    pooled = pooled_skip(np.roll(x, 1, axis=1), thw, stride)
    return np.concatenate([x[:, :1], pooled[:, 1:]], axis=1)


POOLED_SKIP = Exercise(
    pooled_skip,
    _reference_skip,
    _skips,
    (
        ("the mean of each window is taken: the skip takes its maximum", _pooled_by(_average)),
        ("the windows lie side by side: they are s + 1 long and overlap",
         _pooled_by(lambda grid, s: ops.max_pool(grid, s, s, (0, 0, 0)))),
        ("the padding is half of the window, rounded down; it is half of the stride: s // 2",
         _pooled_by(lambda grid, s: _max_padded(grid, s, lambda s: (s + 1) // 2 if s > 1 else 0))),
        ("every s-th token is taken: the skip takes the maximum of each window",
         _pooled_by(lambda grid, s: grid[:, :: s[0], :: s[1], :: s[2]])),
        ("the window is 3 long on every axis: with stride 1 it is 1, and nothing is pooled there",
         _pooled_by(lambda grid, s: ops.max_pool(grid, (3, 3, 3), s, (1, 1, 1)))),
        ("nothing is pooled, so branch and skip do not fit together", lambda x, thw, stride: x),
        ("the class token is pooled with the grid: it is the first token, and is not pooled",
         _class_pooled),
        ("the class token is left out", lambda *args: pooled_skip(*args)[:, 1:]),
        ("the class token is put last: it stays the first",
         lambda *args: np.roll(pooled_skip(*args), -1, axis=1)),
    ),
)  # fmt: skip

EXERCISES = (SPLIT_HEADS, POOLING_ATTENTION, POOLED_SKIP)
