"""Exercises of notebook 03, second part: what attention costs, and the gradient of softmax."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from .. import ops
from ..autodiff.tape import vjp
from ..model.account import attention_macs as attention_macs_of_the_model
from .checker import Exercise


def attention_macs(tokens_in, tokens_q, tokens_kv, dim):
    """Multiply-adds of pooling attention with max pooling, all heads together.

    four whole numbers   ->   one whole number

    tokens_in tokens of dim channels are projected three times; pooling leaves tokens_q queries and
    tokens_kv keys and values; the result is projected once more. A multiply-add counts as one;
    softmax and pooling are not counted.
    Hint: a product of (a, b) by (b, c) takes a b c multiply-adds. There are six products. The
    number of heads does not matter.
    """
    projections = 3 * tokens_in * dim * dim
    scores = tokens_q * tokens_kv * dim
    weighted_values = tokens_q * tokens_kv * dim
    out = tokens_q * dim * dim
    return projections + scores + weighted_values + out


def _reference_macs(tokens_in, tokens_q, tokens_kv, dim):
    tokens = dict(tokens_in=tokens_in, tokens_q=tokens_q, tokens_seen=tokens_kv)
    pools = dict(pool_q=None, pool_kv=None, relative=())
    block: Any = SimpleNamespace(**tokens, **pools, dim_in=dim, dim_attn=dim)
    return attention_macs_of_the_model(block)


def _token_counts(rng):
    yield 25089, 6273, 393, 192
    yield 25089, 25089, 393, 96
    yield 1569, 1569, 393, 384
    yield 10, 5, 3, 4
    yield tuple(map(int, rng.integers(2, 500, 4)))


ATTENTION_MACS = Exercise(
    attention_macs,
    _reference_macs,
    _token_counts,
    (
        ("the product of the weights with the values is not counted",
         lambda n, q, k, d: 3 * n * d * d + q * k * d + q * d * d),
        ("the output projection is not counted", lambda n, q, k, d: 3 * n * d * d + 2 * q * k * d),
        ("the projections to queries, keys and values are not counted",
         lambda n, q, k, d: 2 * q * k * d + q * d * d),
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
    """The gradient by the input of softmax, from the gradient by its result.

    p = softmax(x), dp: (..., N)   ->   dx: (..., N)

    dx_i is the sum over j of dp_j times the derivative of p_j by x_i, which is
    p_j (1 if i = j, else 0) - p_j p_i.
    Hint: write the sum out. From each row of dp its mean, weighted by p, is subtracted, and the
    rest is multiplied by p. No (N, N) array is needed.
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
        ("the mean term is missing: each row of dp loses its p-weighted mean",
         lambda p, dp: p * dp),
        ("the mean is not weighted: it is the sum of p dp",
         lambda p, dp: p * (dp - dp.mean(-1, keepdims=True))),
        ("the sum is not weighted: it is the sum of p dp",
         lambda p, dp: p * (dp - dp.sum(-1, keepdims=True))),
        ("a mean is taken where a sum belongs: p already sums to 1",
         lambda p, dp: p * (dp - (p * dp).mean(-1, keepdims=True))),
        ("the weighted sum runs over the first axis: it is each row's, axis=-1",
         lambda p, dp: p * (dp - (p * dp).sum(0, keepdims=True))),
        ("the weighted sum runs over the whole array: it is each row's, axis=-1",
         lambda p, dp: p * (dp - (p * dp).sum())),
        ("the row's sum has lost its axis, so it is taken from the columns: keepdims=True",
         lambda p, dp: p * (dp - (p * dp).sum(-1))),
        ("the factor p in front is missing", lambda p, dp: dp - (p * dp).sum(-1, keepdims=True)),
        ("the weighted mean is added: it is taken off",
         lambda p, dp: p * (dp + (p * dp).sum(-1, keepdims=True))),
        ("p (1 - p) dp is the diagonal alone: each output depends on every input of its row",
         lambda p, dp: p * (1 - p) * dp),
        ("p is taken for x: it is softmax's result already",
         lambda p, dp: softmax_backward(ops.softmax(p), dp)),
    ),
)  # fmt: skip

EXERCISES = (ATTENTION_MACS, SOFTMAX_BACKWARD)
