"""Exercises of notebook 06, first part: the gradients of linear layer, softmax and norm."""

# A solution is written as a student would, without types:
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import numpy as np

from .. import ops
from ..autodiff.tape import vjp
from .checker import Exercise


def linear_backward(x, w, dy):
    """The gradients of y = x W + b, from the gradient by y.

    x: (..., I)   w: (I, O)   dy: (..., O)   ->   dx: (..., I), dw: (I, O), db: (O,)
    Hint: each gradient has the shape of what it belongs to, which leaves few ways to write it.
    Flatten the leading axes with reshape(-1, I): every row uses W and b, so their gradients are
    sums over rows.
    """
    y, backward = ops.linear.definition(x, w, np.zeros_like(w[0]))
    dx, dw, db = backward(dy)
    return dx, dw, db


def _reference_linear(x, w, dy):
    return tuple(vjp(ops.linear, [x, w, np.zeros_like(w[0])])[1](dy))


def _linears(rng):
    for lead, n_in, n_out in (((2, 3), 4, 4), ((5,), 3, 2), ((2, 1, 3), 1, 5)):
        shapes = (*lead, n_in), (n_in, n_out), (*lead, n_out)
        yield tuple(map(rng.standard_normal, shapes))


def _linear_but(**changes):
    """The right gradients but for those that are given as functions of x, w, dy."""

    def wrong(x, w, dy):
        right = dict(zip(("dx", "dw", "db"), linear_backward(x, w, dy)))
        right |= {name: change(x, w, dy) for name, change in changes.items()}
        return tuple(right.values())

    return wrong


LINEAR_BACKWARD = Exercise(
    linear_backward,
    _reference_linear,
    _linears,
    (
        ("dX = dY W' : W is to be transposed", _linear_but(dx=lambda x, w, dy: dy @ w)),
        ("dx is the cotangent itself: multiply it by W'", _linear_but(dx=lambda x, w, dy: dy)),
        ("dW = X' dY, (I, O) like W; yours is its transpose",
         _linear_but(dw=lambda x, w, dy: linear_backward(x, w, dy)[1].T)),
        ("dW is a sum over rows; yours is their mean",
         _linear_but(dw=lambda x, w, dy: linear_backward(x, w, dy)[1] / dy[..., 0].size)),
        ("dW is a sum over all rows, those of every clip",
         _linear_but(dw=lambda x, w, dy: np.swapaxes(x, -1, -2) @ dy)),
        ("db is a sum over rows; yours is their mean",
         _linear_but(db=lambda x, w, dy: linear_backward(x, w, dy)[2] / dy[..., 0].size)),
        ("db is a sum over all rows, those of every clip",
         _linear_but(db=lambda x, w, dy: dy.sum(axis=0))),
        ("db is a sum over rows, one number a channel; yours runs over the channels",
         _linear_but(db=lambda x, w, dy: dy.sum(axis=-1))),
        ("db is a sum over rows, one number a channel; yours is one number",
         _linear_but(db=lambda x, w, dy: dy.sum())),
        ("db has the shape of b: sum dy over the rows", _linear_but(db=lambda x, w, dy: dy)),
    ),
    returns=("dx", "dw", "db"),
    shown=(ops.linear,),
)  # fmt: skip


def softmax_backward(x, dp, scale):
    """The gradient by x of softmax(scale x), from the gradient by its result.

    x, dp: (..., N)   scale: a number   ->   (..., N)

    The fast version of attention works like this: it does not keep p, but computes it again from
    the scores.
    Hint: first p = softmax(scale x), then p (dp - the mean of dp, weighted by p). What does the
    chain rule say about scale?
    """
    p = ops.softmax(scale * x)
    return scale * p * (dp - (p * dp).sum(axis=-1, keepdims=True))


def _reference_softmax(x, dp, scale):
    return vjp(lambda scores: ops.softmax(ops.scale(scores, scale)), [x])[1](dp)[0]


def _scores(rng):
    for shape, scale in (((4, 4), 0.5), ((2, 3, 5), 1.7), ((1, 6), 0.25)):
        yield rng.standard_normal(shape), rng.standard_normal(shape), scale
    yield 2000 * rng.standard_normal((3, 4)) + 5000, rng.standard_normal((3, 4)), 2.0


def _from_p(formula):
    """What `formula` makes of p = softmax(scale x), dp and scale."""
    return lambda x, dp, scale: formula(ops.softmax(scale * x), dp, scale)


def _overflowing(x, dp, scale):
    p = np.exp(scale * x) / np.exp(scale * x).sum(axis=-1, keepdims=True)
    return scale * p * (dp - (p * dp).sum(axis=-1, keepdims=True))


SOFTMAX_BACKWARD = Exercise(
    softmax_backward,
    _reference_softmax,
    _scores,
    (
        ("exp overflows: take each row's maximum off first", _overflowing),
        ("the factor scale in front is missing: the chain rule brings it",
         _from_p(lambda p, dp, s: p * (dp - (p * dp).sum(-1, keepdims=True)))),
        ("the gradient is divided by scale: multiply",
         _from_p(lambda p, dp, s: p * (dp - (p * dp).sum(-1, keepdims=True)) / s)),
        ("p is softmax(scale x); yours is softmax(x)",
         lambda x, dp, scale: scale * softmax_backward(x, dp, 1)),
        ("scale is missing altogether: in p, and in front",
         lambda x, dp, scale: softmax_backward(x, dp, 1)),
        ("the mean term is missing: each row of dp loses its p-weighted mean",
         _from_p(lambda p, dp, s: s * p * dp)),
        ("the sum is not weighted: it is the sum of p dp",
         _from_p(lambda p, dp, s: s * p * (dp - dp.sum(-1, keepdims=True)))),
        ("the mean is not weighted: it is the sum of p dp",
         _from_p(lambda p, dp, s: s * p * (dp - dp.mean(-1, keepdims=True)))),
        ("a mean is taken where a sum belongs: p already sums to 1",
         _from_p(lambda p, dp, s: s * p * (dp - (p * dp).mean(-1, keepdims=True)))),
        ("the weighted sum runs over the first axis: it is each row's, axis=-1",
         _from_p(lambda p, dp, s: s * p * (dp - (p * dp).sum(0, keepdims=True)))),
        ("the row's sum has lost its axis, so it is taken from the columns: keepdims=True",
         _from_p(lambda p, dp, s: s * p * (dp - (p * dp).sum(-1)))),
        ("p is missing in front of the bracket",
         _from_p(lambda p, dp, s: s * (dp - (p * dp).sum(-1, keepdims=True)))),
        ("p (1 - p) dp is the diagonal alone: each output depends on every input of its row",
         _from_p(lambda p, dp, s: s * p * (1 - p) * dp)),
    ),
)  # fmt: skip


def layer_norm_backward(x, g, dy, eps):
    """The gradients of g (x - mean) / sqrt(var + eps) + b, from the gradient by the result.

    x, dy: (..., D)   g: (D,)   eps: a number   ->   dx: (..., D), dg: (D,), db: (D,)
    Mean and variance are those of each row.
    Hint: with r = 1 / sqrt(var + eps), z = (x - mean) r and dz = g dy,
    dx = r (dz - mean(dz) - z mean(z dz)).
    A shift or a stretch of the whole row cannot change z, so dx has no part along either.
    """
    y, backward = ops.layer_norm.definition(x, g, np.zeros_like(g), eps)
    dx, dg, db = backward(dy)
    return dx, dg, db


def _reference_norm(x, g, dy, eps):
    return tuple(vjp(lambda x, g, b: ops.layer_norm(x, g, b, eps), [x, g, np.zeros_like(g)])[1](dy))


def _norms(rng):
    for shape, eps in (((4, 4), 1e-6), ((2, 3, 7), 0.1), ((1, 5, 3), 1e-6)):
        yield *map(rng.standard_normal, (shape, shape[-1], shape)), eps


def _norm_but(part, formula):
    """The right gradients but for one, `formula` of (z, r, g, dy, mean of a row)."""

    def wrong(x, g, dy, eps):
        right = list(layer_norm_backward(x, g, dy, eps))
        r = 1 / np.sqrt(x.var(-1, keepdims=True) + eps)
        z = (x - x.mean(-1, keepdims=True)) * r
        changed = formula(z, r, g, dy, lambda a: a.mean(-1, keepdims=True))
        right[("dx", "dg", "db").index(part)] = changed
        return tuple(right)

    return wrong


LAYER_NORM_BACKWARD = Exercise(
    layer_norm_backward,
    _reference_norm,
    _norms,
    (
        ("the term mean(dz) is missing: a shift of the whole row changes nothing",
         _norm_but("dx", lambda z, r, g, dy, m: r * (g * dy - z * m(z * g * dy)))),
        ("the term z mean(z dz) is missing: a stretch of the whole row changes nothing",
         _norm_but("dx", lambda z, r, g, dy, m: r * (g * dy - m(g * dy)))),
        ("both mean terms are missing: mean and variance depend on x too",
         _norm_but("dx", lambda z, r, g, dy, m: r * g * dy)),
        ("the gain g is missing: dz = g dy",
         _norm_but("dx", lambda z, r, g, dy, m: r * (dy - m(dy) - z * m(z * dy)))),
        ("the gain g comes last: it belongs inside the means, dz = g dy",
         _norm_but("dx", lambda z, r, g, dy, m: g * r * (dy - m(dy) - z * m(z * dy)))),
        ("the factor r in front is missing",
         _norm_but("dx", lambda z, r, g, dy, m: g * dy - m(g * dy) - z * m(z * g * dy))),
        ("sums are taken where means belong",
         _norm_but("dx", lambda z, r, g, dy, m: (
             r * (g * dy - (m(g * dy) + z * m(z * g * dy)) * g.size)))),
        ("z is not normed: z = (x - mean) r",
         _norm_but("dx", lambda z, r, g, dy, m: (
             r * (g * dy - m(g * dy) - z / r * m(z / r * g * dy))))),
        ("the last term lacks its factor z",
         _norm_but("dx", lambda z, r, g, dy, m: r * (g * dy - m(g * dy) - m(z * g * dy)))),
        ("dg lacks z: dg = sum z dy", _norm_but("dg", lambda z, r, g, dy, m: _rows(dy).sum(0))),
        ("dg is a sum over rows; yours is their mean",
         _norm_but("dg", lambda z, r, g, dy, m: _rows(z * dy).mean(0))),
        ("dg has g in it: it multiplies z, dg = sum z dy",
         _norm_but("dg", lambda z, r, g, dy, m: _rows(z * g * dy).sum(0))),
        ("dg has x in it where z belongs: x normed",
         _norm_but("dg", lambda z, r, g, dy, m: _rows(z / r * dy).sum(0))),
        ("dg has one number a channel: sum over rows",
         _norm_but("dg", lambda z, r, g, dy, m: (z * dy).sum(-1))),
        ("db is a sum over rows; yours is their mean",
         _norm_but("db", lambda z, r, g, dy, m: _rows(dy).mean(0))),
        ("db has g in it: b is added after g",
         _norm_but("db", lambda z, r, g, dy, m: _rows(g * dy).sum(0))),
        ("db has one number a channel: sum over rows",
         _norm_but("db", lambda z, r, g, dy, m: dy.sum(-1))),
    ),
    returns=("dx", "dg", "db"),
    shown=(ops.layer_norm,),
)  # fmt: skip


def _rows(x):
    return x.reshape(-1, x.shape[-1])


EXERCISES = (LINEAR_BACKWARD, SOFTMAX_BACKWARD, LAYER_NORM_BACKWARD)
