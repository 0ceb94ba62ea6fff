"""Exercises of notebook 03, first part: softmax and attention."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..ops.softmax import softmax_array
from .checker import Exercise


def softmax(x):
    """Probabilities over the last axis, exp(x) / sum exp(x).   x: (..., N)   ->   (..., N)

    It must also work for numbers whose exp overflows.
    Hint: softmax does not change when the same number is subtracted from a whole row: subtract the
    row's maximum. keepdims=True keeps the axis.
    """
    return ops.softmax(x)


def _scores(rng):
    for shape in ((4, 4), (4, 4, 4), (2, 3, 7)):
        yield (rng.standard_normal(shape),)
    yield (rng.standard_normal((5, 1)),)
    yield (1000 * rng.standard_normal((3, 6)),)
    yield (rng.standard_normal((3, 6)) + np.array([[0], [2000], [-2000]]),)


def _plain_softmax(x, axis=-1):
    return np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)


def _divided_by_sum(shifted, **over):
    """A softmax whose sum runs over something else, with each row's maximum taken off or not."""

    def wrong(x):
        e = np.exp(x - x.max(axis=-1, keepdims=True)) if shifted else np.exp(x)
        return e / e.sum(**over)

    return wrong


_OTHER_SUMS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("the sum runs over the first axis: it is the last, axis=-1", dict(axis=0, keepdims=True)),
    ("the sum runs over the columns, axis=-2: each row sums to 1, axis=-1",
     dict(axis=-2, keepdims=True)),
    ("the sum runs over the whole array: each row sums to 1, axis=-1", dict()),
    ("the row's sum has lost its axis, so it divides the columns: keepdims=True", dict(axis=-1)),
)  # fmt: skip


def _one_maximum(x):
    e = np.exp(x - x.max())
    return e / e.sum(axis=-1, keepdims=True)


SOFTMAX = Exercise(
    softmax,
    ops.softmax,
    _scores,
    (
        ("exp overflows: take each row's maximum off first", _plain_softmax),
        ("the maximum of the whole array is taken off, and rows far below it vanish: "
         "take each row's own",
         _one_maximum),
        *((message, _divided_by_sum(shifted, **over))
          for message, over in _OTHER_SUMS for shifted in (True, False)),
        ("the exponentials are not divided by their sum", lambda x: np.exp(x)),
        ("the exponentials are not divided by their sum, after the maximum is taken off",
         lambda x: np.exp(x - x.max(-1, keepdims=True))),
        ("the logarithm is taken: this is log softmax", lambda x: np.log(softmax(x))),
        ("the numbers are divided by their sum, without exp",
         lambda x: x / x.sum(axis=-1, keepdims=True)),
    ),
    shown=(softmax_array,),
)  # fmt: skip


def attention(q, k, v):
    """softmax(Q K' / sqrt(d)) V for one head.

    q: (B, Nq, d)   k: (B, Nk, d)   v: (B, Nk, e)   ->   (B, Nq, e)

    Hint: @ multiplies the last two axes; k.swapaxes(-1, -2) is K'. Your softmax runs over the keys.
    d**0.5 stays float32 with float32 arrays, np.sqrt(d) does not.
    """
    scores = q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5  # (B, Nq, Nk)
    return softmax(scores) @ v


def _reference_attention(q, k, v):
    q, k, v = (x[:, :, None] for x in (q, k, v))  # the axis of heads
    return ops.attend(q, k, v, q.shape[-1] ** -0.5)[:, :, 0]


def _queries_keys_values(rng):
    for batch, queries, keys, d, e in ((2, 5, 7, 4, 4), (1, 3, 3, 3, 3), (2, 1, 6, 2, 5)):
        shapes = (batch, queries, d), (batch, keys, d), (batch, keys, e)
        yield tuple(map(rng.standard_normal, shapes))
    q, k, v = rng.standard_normal((3, 2, 4, 3))
    yield 100 * q, 100 * k, v


def _attention_with(weights):
    return lambda q, k, v: weights(q, k) @ v


def _scaled(scale):
    """Attention with the scores times scale(d, queries, keys)."""

    def weights(q, k):
        factor = scale(q.shape[-1], q.shape[1], k.shape[1])
        return ops.softmax(q @ k.swapaxes(-1, -2) * factor)

    return _attention_with(weights)


def _scores_of(q, k):
    return q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5


def _attended_over(shifted, axis):
    softmax_over = _divided_by_sum(shifted, axis=axis, keepdims=True)
    return _attention_with(lambda q, k: softmax_over(_scores_of(q, k)))


_OTHER_SOFTMAXES = (
    ("the softmax runs over the queries: it runs over the keys, the last axis", -2),
    ("the softmax runs over queries and keys: each query has its own, the last axis", (-2, -1)),
    ("the softmax runs over the clips: it runs over the keys, the last axis", 0),
)

ATTENTION = Exercise(
    attention,
    _reference_attention,
    _queries_keys_values,
    (
        ("the scale is missing: divide the scores by sqrt(d)", _scaled(lambda d, queries, keys: 1)),
        ("the scores are divided by d: divide by its root",
         _scaled(lambda d, queries, keys: 1 / d)),
        ("the scores are multiplied by sqrt(d): divide", _scaled(lambda d, queries, keys: d**0.5)),
        ("the scores are divided by the root of the number of keys: it is that of the channels d",
         _scaled(lambda d, queries, keys: keys**-0.5)),
        ("the scores are divided by the root of the number of queries: "
         "it is that of the channels d",
         _scaled(lambda d, queries, keys: queries**-0.5)),
        ("exp overflows: take each row's maximum off first", _attended_over(False, -1)),
        *((message, _attended_over(shifted, axis))
          for message, axis in _OTHER_SOFTMAXES for shifted in (True, False)),
        ("the softmax is missing: the scores themselves weigh the values",
         _attention_with(_scores_of)),
        ("the exponentials are not divided by their sum",
         _attention_with(lambda q, k: np.exp(_scores_of(q, k)))),
        ("the scale comes after the softmax: it belongs before",
         lambda q, k, v: _scaled(lambda *_: 1)(q, k, v) / q.shape[-1] ** 0.5),
        ("the keys are summed where the values belong", lambda q, k, v: attention(q, k, k)),
        ("the weights are returned, not the values that they sum",
         lambda q, k, v: ops.softmax(_scores_of(q, k))),
    ),
)  # fmt: skip

EXERCISES = (SOFTMAX, ATTENTION)
