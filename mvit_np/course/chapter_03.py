"""Exercises of notebook 03: attention."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from .. import ops
from ..autodiff.tape import vjp
from ..model.account import attention_macs as attention_macs_of_the_model
from ..ops.softmax import softmax_array
from .checker import Exercise


def softmax(x):
    """Probabilities over the last axis, exp(x) / sum exp(x).   x: (..., N)   ->   (..., N)

    It also works for numbers of which exp would overflow. Hint: softmax does not change when a
    number is taken from a whole row: take its maximum. keepdims=True keeps the axis.
    """
    return ops.softmax(x)


def _scores(rng):
    for shape in ((4, 4), (4, 4, 4), (2, 3, 7)):
        yield (rng.standard_normal(shape),)
    yield (rng.standard_normal((5, 1)),)
    yield (1000 * rng.standard_normal((3, 6)),)


def _plain_softmax(x, axis=-1):
    return np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)


def _divided_by_sum(shifted, **over):
    """A softmax whose sum runs over something else, with each row's maximum taken off or not."""

    def wrong(x):
        e = np.exp(x - x.max(axis=-1, keepdims=True)) if shifted else np.exp(x)
        return e / e.sum(**over)

    return wrong


_OTHER_SUMS = (
    ("the sum runs over the first axis: it is the last, axis=-1", dict(axis=0, keepdims=True)),
    (
        "the sum runs over the columns, axis=-2: each row sums to 1, axis=-1",
        dict(axis=-2, keepdims=True),
    ),
    ("the sum runs over the whole array: each row sums to 1, axis=-1", dict()),
    ("the row's sum has lost its axis, so it divides the columns: keepdims=True", dict(axis=-1)),
)


def _one_maximum(x):
    e = np.exp(x - x.max())
    return e / e.sum(axis=-1, keepdims=True)


SOFTMAX = Exercise(
    softmax,
    ops.softmax,
    _scores,
    (
        ("exp overflows: take each row's maximum off first", _plain_softmax),
        ("the maximum of the whole array is taken off, and rows far below it vanish: take each row's own", _one_maximum),
        *((message, _divided_by_sum(shifted, **over)) for message, over in _OTHER_SUMS for shifted in (True, False)),
        ("the exponentials are not divided by their sum", lambda x: np.exp(x)),
        ("the exponentials are not divided by their sum, after the maximum is taken off",
         lambda x: np.exp(x - x.max(-1, keepdims=True))),
        ("the logarithm is taken: this is log softmax", lambda x: np.log(softmax(x))),
        ("the numbers are divided by their sum, without exp", lambda x: x / x.sum(axis=-1, keepdims=True)),
    ),
    shown=(softmax_array,),
)  # fmt: skip


def attention(q, k, v):
    """softmax(Q K' / sqrt(d)) V for one head.

    q: (B, Nq, d)   k: (B, Nk, d)   v: (B, Nk, e)   ->   (B, Nq, e)

    Hint: @ multiplies the last two axes; k.swapaxes(-1, -2) is K'. The softmax runs over the keys.
    d**0.5 stays float32 with float32 arrays, np.sqrt(d) does not.
    """
    scores = q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5  # (B, Nq, Nk)
    return ops.softmax(scores) @ v


def _reference_attention(q, k, v):
    q, k, v = (x[:, :, None] for x in (q, k, v))  # the axis of heads
    return ops.attend(q, k, v, q.shape[-1] ** -0.5)[:, :, 0]


def _queries_keys_values(rng):
    for batch, queries, keys, d, e in ((2, 5, 7, 4, 4), (1, 3, 3, 3, 3), (2, 1, 6, 2, 5)):
        yield tuple(
            rng.standard_normal(shape)
            for shape in ((batch, queries, d), (batch, keys, d), (batch, keys, e))
        )


def _attention_with(weights):
    return lambda q, k, v: weights(q, k) @ v


def _scaled(scale):
    """Attention with the scores times scale(d, queries, keys)."""
    return _attention_with(
        lambda q, k: ops.softmax(
            q @ k.swapaxes(-1, -2) * scale(q.shape[-1], q.shape[1], k.shape[1])
        )
    )


def _scores_of(q, k):
    return q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5


def _attended_over(shifted, axis):
    return _attention_with(
        lambda q, k: _divided_by_sum(shifted, axis=axis, keepdims=True)(_scores_of(q, k))
    )


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
        ("the scores are divided by d: divide by its root", _scaled(lambda d, queries, keys: 1 / d)),
        ("the scores are multiplied by sqrt(d): divide", _scaled(lambda d, queries, keys: d**0.5)),
        ("the scores are divided by the root of the number of keys: it is that of the channels d",
         _scaled(lambda d, queries, keys: keys**-0.5)),
        ("the scores are divided by the root of the number of queries: it is that of the channels d",
         _scaled(lambda d, queries, keys: queries**-0.5)),
        *((message, _attended_over(shifted, axis)) for message, axis in _OTHER_SOFTMAXES for shifted in (True, False)),
        ("the softmax is missing: the scores themselves weigh the values", _attention_with(_scores_of)),
        ("the exponentials are not divided by their sum", _attention_with(lambda q, k: np.exp(_scores_of(q, k)))),
        ("the scale comes after the softmax: it belongs before",
         lambda q, k, v: _scaled(lambda *_: 1)(q, k, v) / q.shape[-1] ** 0.5),
        ("the keys are summed where the values belong", lambda q, k, v: attention(q, k, k)),
        ("the weights are returned, not the values that they sum", lambda q, k, v: ops.softmax(_scores_of(q, k))),
    ),
)  # fmt: skip


def attention_macs(tokens_in, tokens_q, tokens_kv, dim):
    """Multiply-adds of pooling attention with max pooling, all heads together.

    four whole numbers   ->   one

    tokens_in tokens of dim channels are projected three times; pooling leaves tokens_q queries and
    tokens_kv keys and values; the result is projected once more. A multiply-add counts as one;
    softmax and pooling are not counted. Hint: a product of (a, b) by (b, c) has a b c of them.
    There are six products. How many heads there are does not matter.
    """
    projections = 3 * tokens_in * dim * dim
    scores = tokens_q * tokens_kv * dim
    weighted_values = tokens_q * tokens_kv * dim
    out = tokens_q * dim * dim
    return projections + scores + weighted_values + out


def _reference_macs(tokens_in, tokens_q, tokens_kv, dim):
    sizes = dict(
        tokens_in=tokens_in, tokens_q=tokens_q, tokens_seen=tokens_kv, dim_in=dim, dim_attn=dim
    )
    return attention_macs_of_the_model(
        SimpleNamespace(**sizes, pool_q=None, pool_kv=None, relative=())
    )


def _token_counts(rng):
    yield from (
        (25089, 6273, 393, 192),
        (25089, 25089, 393, 96),
        (1569, 1569, 393, 384),
        (10, 5, 3, 4),
    )


ATTENTION_MACS = Exercise(
    attention_macs,
    _reference_macs,
    _token_counts,
    (
        ("the product of the weights with the values is not counted",
         lambda n, q, k, d: 3 * n * d * d + q * k * d + q * d * d),
        ("the output projection is not counted", lambda n, q, k, d: 3 * n * d * d + 2 * q * k * d),
        ("the projections to queries, keys and values are not counted", lambda n, q, k, d: 2 * q * k * d + q * d * d),
        ("one of three projections is counted: queries, keys and values",
         lambda n, q, k, d: n * d * d + 2 * q * k * d + q * d * d),
        ("a multiply-add counts as one, not two", lambda *sizes: 2 * attention_macs(*sizes)),
        ("keys and values are projected before pooling: from tokens_in",
         lambda n, q, k, d: (n + 2 * k) * d * d + 2 * q * k * d + q * d * d),
        ("queries, keys and values are projected before pooling: from tokens_in",
         lambda n, q, k, d: (q + 2 * k) * d * d + 2 * q * k * d + q * d * d),
        ("the output projection sees the pooled queries: tokens_q, not tokens_in",
         lambda n, q, k, d: 4 * n * d * d + 2 * q * k * d),
        ("the scores are between pooled queries and pooled keys: tokens_q times tokens_kv",
         lambda n, q, k, d: 3 * n * d * d + 2 * n * n * d + q * d * d),
        ("the scores are between queries and pooled keys: tokens_q times tokens_kv",
         lambda n, q, k, d: 3 * n * d * d + 2 * q * q * d + q * d * d),
    ),
)  # fmt: skip


def softmax_backward(p, dp):
    """The gradient by softmax's input, from that by its result.

    p = softmax(x), dp: (..., N)   ->   dx: (..., N)

    dx_i is the sum over j of dp_j times the derivative of p_j by x_i, which is p_j (1 if i = j,
    else 0) - p_j p_i. Hint: written out, each row of dp loses its p-weighted mean, and the rest is
    multiplied by p. No (N, N) array is needed.
    """
    mean = (p * dp).sum(axis=-1, keepdims=True)  # weighted by p, which sums to 1
    return p * (dp - mean)


def _reference_softmax_backward(p, dp):
    return vjp(ops.softmax, [np.log(p)])[1](dp)[0]


def _probabilities(rng):
    for shape in ((4, 4), (2, 3, 5), (7,), (2, 1)):
        yield ops.softmax(rng.standard_normal(shape)), rng.standard_normal(shape)


SOFTMAX_BACKWARD = Exercise(
    softmax_backward,
    _reference_softmax_backward,
    _probabilities,
    (
        ("the mean term is missing: each row of dp loses its p-weighted mean", lambda p, dp: p * dp),
        ("the mean is not weighted: it is the sum of p dp", lambda p, dp: p * (dp - dp.mean(-1, keepdims=True))),
        ("the sum is not weighted: it is the sum of p dp", lambda p, dp: p * (dp - dp.sum(-1, keepdims=True))),
        ("mean where a sum belongs: p already sums to 1", lambda p, dp: p * (dp - (p * dp).mean(-1, keepdims=True))),
        ("the weighted sum runs over the first axis: it is each row's, axis=-1",
         lambda p, dp: p * (dp - (p * dp).sum(0, keepdims=True))),
        ("the weighted sum runs over the whole array: it is each row's, axis=-1", lambda p, dp: p * (dp - (p * dp).sum())),
        ("the row's sum has lost its axis, so it is taken from the columns: keepdims=True",
         lambda p, dp: p * (dp - (p * dp).sum(-1))),
        ("the factor p in front is missing", lambda p, dp: dp - (p * dp).sum(-1, keepdims=True)),
        ("the weighted mean is added: it is taken off", lambda p, dp: p * (dp + (p * dp).sum(-1, keepdims=True))),
        ("p (1 - p) dp is the diagonal alone: each output depends on every input of its row", lambda p, dp: p * (1 - p) * dp),
        ("p is taken for x: it is softmax's result already", lambda p, dp: softmax_backward(softmax(p), dp)),
    ),
)  # fmt: skip

EXERCISES = (SOFTMAX, ATTENTION, ATTENTION_MACS, SOFTMAX_BACKWARD)
