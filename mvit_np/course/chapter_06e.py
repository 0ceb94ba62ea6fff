"""Exercises of notebook 06, backward passes of one's own: attention, and the learned pool."""

from __future__ import annotations

import numpy as np

from .. import ops
from .backwards import but, calling, pulled, with_dy
from .chapter_02 import DEPTHWISE_CONV
from .chapter_03a import ATTENTION
from .chapter_06a import softmax_backward
from .checker import SPECIFICATION, Exercise


def attention_backward(q, k, v, dy):
    """The gradients of softmax(Q K' / sqrt(d)) V, for one head.

    q: (B, Nq, d)   k: (B, Nk, d)   v: (B, Nk, e)   dy: (B, Nq, e)
    ->   dq, dk, dv, each of the shape of what it belongs to
    Nothing was kept of the forward pass: compute again what a backward needs.
    Hint: there are three steps, two products and a softmax between them. Walk back from the end.
    Your softmax_backward(scores, dp, scale) does the middle step; ops.softmax is given.
    """
    scale = q.shape[-1] ** -0.5
    scores = q @ k.swapaxes(-1, -2)  # (B, Nq, Nk)
    p = ops.softmax(scale * scores)
    dp, dv = dy @ v.swapaxes(-1, -2), p.swapaxes(-1, -2) @ dy
    dscores = softmax_backward(scores, dp, scale)
    return dscores @ k, dscores.swapaxes(-1, -2) @ q, dv


def depthwise_conv_backward(x, weight, stride, padding, dy):
    """The gradients of the depthwise convolution of exercise 02.depthwise_conv.

    x: (B, T, H, W, heads, d)   weight: (kt, kh, kw, d)   stride, padding: three numbers
    dy: (B, t, h, w, heads, d)   ->   dx, dweight, each of the shape of what it belongs to
    y[o] is the sum over the filter's entries i of weight[i] x[s o + i - p]; outside, x
    is 0.
    Hint: loop over the filter's entries. All cells that entry i meets are one slice of the padded
    grid, with the stride as its step. The same slice takes the gradient by them.
    """
    wide = np.pad(x, [(0, 0), *((p, p) for p in padding), (0, 0), (0, 0)])
    dwide, dweight = np.zeros_like(wide), np.zeros_like(weight)
    for i in np.ndindex(weight.shape[:3]):
        met = (slice(a, a + s * n, s) for a, s, n in zip(i, stride, dy.shape[1:4]))
        cells = (slice(None), *met)
        dweight[i] = (wide[cells] * dy).sum(axis=(0, 1, 2, 3, 4))
        dwide[cells] += weight[i] * dy
    inside = (slice(p, p + n) for p, n in zip(padding, x.shape[1:4]))
    return dwide[(slice(None), *inside)], dweight


# -- attention -------------------------------------------------------------------------------------


def _cases(rng):
    for batch, queries, keys, d, e in ((2, 4, 4, 4, 4), (1, 3, 6, 4, 2), (2, 5, 2, 3, 3)):
        shapes = (batch, queries, d), (batch, keys, d), (batch, keys, e), (batch, queries, e)
        yield tuple(map(rng.standard_normal, shapes))
    q, k = 100 * rng.standard_normal((2, 1, 4, 3))
    yield q, k, *rng.standard_normal((2, 1, 4, 3))


def _turned(x):
    return x.swapaxes(-1, -2)


def _p(q, k):
    return ops.softmax(q @ _turned(k) / q.shape[-1] ** 0.5)


def _through(middle):
    """The gradients with another backward of the softmax: `middle` of scores, dp and scale."""
    return calling(attention_backward, softmax_backward=middle)


def _scaled_by(factor):
    return _through(lambda x, dp, s: softmax_backward(x, dp, s) * factor(s))


def _from_values(dp):
    """The gradients with another dp, from dy, v, and p."""

    def wrong(q, k, v, dy):
        scale, scores = q.shape[-1] ** -0.5, q @ _turned(k)
        dscores = softmax_backward(scores, dp(dy, v, _p(q, k)), scale)
        return dscores @ k, _turned(dscores) @ q, _turned(_p(q, k)) @ dy

    return wrong


ATTENTION_BACKWARD = Exercise(
    attention_backward,
    pulled(ATTENTION.reference, range(3)),
    _cases,
    (
        ("the factor 1 / sqrt(d) is missing in the gradients of queries and keys",
         _scaled_by(lambda s: 1 / s)),
        ("the factor 1 / sqrt(d) stands there twice in the gradients of queries and keys",
         _scaled_by(lambda s: s)),
        ("softmax's backward lacks its mean term: p alone is not the slope",
         _through(lambda x, dp, s: s * ops.softmax(s * x) * dp)),
        ("the softmax is left out on the way back", _through(lambda x, dp, s: s * dp)),
        ("softmax's backward runs over the queries: each query has its own softmax",
         _through(lambda x, dp, s: (p := ops.softmax(s * x)) * s * (
             dp - (p * dp).sum(-2, keepdims=True)))),
        ("dp = dy V' : V is to be transposed; yours is not", _from_values(lambda dy, v, p: dy @ v)),
        ("dp = dy V' ; yours is dy times the weights", _from_values(lambda dy, v, p: dy @ p)),
        ("dV = P' dy : P is to be transposed",
         but(attention_backward, 2, lambda _, q, k, v, dy: _p(q, k) @ dy)),
        ("dV is dy itself: each value reaches every query, by its weight",
         but(attention_backward, 2, lambda _, q, k, v, dy: dy)),
        ("dQ = dS K ; yours has Q in it",
         but(attention_backward, 0, lambda dq, q, k, v, dy: _dscores(q, k, v, dy) @ q)),
        ("dK = dS' Q : dS is to be transposed, for a row of it belongs to a query",
         but(attention_backward, 1, lambda dk, q, k, v, dy: _dscores(q, k, v, dy) @ q)),
        ("dK = dS' Q ; yours has K in it",
         but(attention_backward, 1, lambda dk, q, k, v, dy: _turned(_dscores(q, k, v, dy)) @ k)),
    ),
    returns=("dq", "dk", "dv"),
    level=SPECIFICATION,
)  # fmt: skip


def _dscores(q, k, v, dy):
    return softmax_backward(q @ _turned(k), dy @ _turned(v), q.shape[-1] ** -0.5)


# -- depthwise convolution -------------------------------------------------------------------------


def _conv(
    weight_of=lambda weight, i: weight[i],
    padded=True,
    arrive=np.add,
    step=lambda s: s,
    mean=False,
):
    """The gradients of the convolution, with something else in one of the steps."""

    def wrong(x, weight, stride, padding, dy):
        pads = [(0, 0), *((p, p) for p in padding), (0, 0), (0, 0)]
        wide = np.pad(x, pads, mode="constant" if padded else "edge")
        dwide, dweight = np.zeros_like(wide), np.zeros_like(weight)
        for i in np.ndindex(weight.shape[:3]):
            ends = zip(i, map(step, stride), dy.shape[1:4])
            cells = (slice(None), *(slice(a, a + s * n, s) for a, s, n in ends))
            dweight[i] = (wide[cells] * dy).sum(axis=(0, 1, 2, 3, 4))
            dwide[cells] = arrive(dwide[cells], weight_of(weight, i) * dy)
        inside = (slice(p, p + n) for p, n in zip(padding, x.shape[1:4]))
        share = dy[0, ..., 0, 0].size * len(x) if mean else 1
        return dwide[(slice(None), *inside)], dweight / share

    return wrong


def _mirrored(weight, i):
    return weight[::-1, ::-1, ::-1][i]


DEPTHWISE_CONV_BACKWARD = Exercise(
    depthwise_conv_backward,
    pulled(DEPTHWISE_CONV.reference, (0, 1)),
    with_dy(DEPTHWISE_CONV),
    (
        ("windows overlap: add to what has arrived at a cell (+=), do not assign",
         _conv(arrive=lambda before, came: came)),
        ("the filter is mirrored in dx: entry i took x[s o + i - p], so it gives back there",
         _conv(weight_of=_mirrored)),
        ("the filter is missing in dx: what arrives at a cell is weight[i] dy",
         _conv(weight_of=lambda weight, i: 1)),
        ("dweight is a sum over all windows; yours is their mean", _conv(mean=True)),
        ("the windows move by the stride: it is the slice's step", _conv(step=lambda s: 1)),
        ("the padding repeats the edge: it is zeros", _conv(padded=False)),
        ("dx still has the padding: cut it off",
         lambda x, weight, stride, padding, dy: (
             np.pad(depthwise_conv_backward(x, weight, stride, padding, dy)[0],
                    [(0, 0), *((p, p) for p in padding), (0, 0), (0, 0)]),
             depthwise_conv_backward(x, weight, stride, padding, dy)[1])),
        ("all heads share the filter: dweight is a sum over the heads too",
         lambda x, weight, stride, padding, dy: (
             depthwise_conv_backward(x, weight, stride, padding, dy)[0],
             depthwise_conv_backward(x[..., :1, :], weight, stride, padding, dy[..., :1, :])[1])),
    ),
    returns=("dx", "dweight"),
    level=SPECIFICATION,
)  # fmt: skip

EXERCISES = (ATTENTION_BACKWARD, DEPTHWISE_CONV_BACKWARD)
