"""Exercises of notebook 06: three backwards with one planted bug each, for gradcheck."""

from __future__ import annotations

import numpy as np

from .. import ops
from ..autodiff.tape import op
from .backwards import but, pulled
from .chapter_06d import gelu_backward
from .checker import INVESTIGATE, Exercise


def mend_gate(x, w, v, dy):
    """Mend the gradients of a gate, y = gelu(x W) (x V), a product entry by entry.

    x: (N, D)   w, v: (D, H)   dy: (N, H)   ->   dx, dw, dv
    One term is wrong. mv.gradcheck says which gradients are.
    Hint: two of the three gradients are wrong, and they have one line in common. Your
    gelu_backward(u, dy) is used.
    """
    gate, value = x @ w, x @ v
    dgate = gelu_backward(gate, dy * value)
    dvalue = dy * ops.gelu(gate)
    return dgate @ w.T + dvalue @ v.T, x.T @ dgate, x.T @ dvalue


def mend_rms_norm(x, g, dy):
    """Mend the gradients of a norm without a mean, y = g x r with r = 1 / sqrt(mean(x^2) + 1e-6).

    x, dy: (N, D)   g: (D,)   ->   dx, dg
    One term is wrong. mv.gradcheck says which gradient is.
    Hint: the derivative of r by x_i is -r^3 x_i / D. When is r^2 as good as r^3?
    """
    r = 1 / np.sqrt((x * x).mean(axis=-1, keepdims=True) + 1e-6)
    dz = g * dy
    dx = r * dz - r**3 * x * (x * dz).mean(axis=-1, keepdims=True)
    return dx, (x * r * dy).sum(axis=0)


def mend_lookup(table, index, dy):
    """Mend the gradient of a lookup, y = table[index], which has a row of the table per token.

    table: (R, D)   index: (N,) whole numbers from 0 to R - 1   dy: (N, D)   ->   (R, D)
    MViTv2 looks up its relative positions like this. With some indices mv.gradcheck finds no fault.
    Hint: try an index in which a row occurs twice. What does dtable[index] += dy do then?
    """
    dtable = np.zeros_like(table)
    for row, d in zip(index, dy):
        dtable[row] += d
    return dtable


# -- as they are given, with the bug ---------------------------------------------------------------


def given_gate(x, w, v, dy):
    gate, value = x @ w, x @ v
    dgate = gelu_backward(gate, dy * value)
    dvalue = dy * gate
    return dgate @ w.T + dvalue @ v.T, x.T @ dgate, x.T @ dvalue


def given_rms_norm(x, g, dy):
    r = 1 / np.sqrt((x * x).mean(axis=-1, keepdims=True) + 1e-6)
    dz = g * dy
    dx = r * dz - r**2 * x * (x * dz).mean(axis=-1, keepdims=True)
    return dx, (x * r * dy).sum(axis=0)


def given_lookup(table, index, dy):
    dtable = np.zeros_like(table)
    dtable[index] += dy
    return dtable


# -- gate ------------------------------------------------------------------------------------------


@op
def _product(x, y):
    return x * y, lambda dy: (dy * y, dy * x)


def _gate(x, w, v):
    return _product(ops.gelu(_matmul(x, w)), _matmul(x, v))


def _matmul(x, w):
    return ops.linear(x, w, np.zeros(w.shape[1], w.dtype))


def _gates(rng):
    for n, d, hidden in ((4, 3, 3), (5, 2, 6), (1, 4, 2)):
        yield tuple(map(rng.standard_normal, ((n, d), (d, hidden), (d, hidden), (n, hidden))))


GATE = Exercise(
    mend_gate,
    pulled(_gate, range(3)),
    _gates,
    (
        ("the slope of GELU belongs to the gate's path; the value's path has GELU itself",
         lambda x, w, v, dy: _gated(x, w, v, dy, dvalue=gelu_backward(x @ w, dy))),
        ("x is used twice: its gradient is the sum over both paths",
         but(mend_gate, 0, lambda dx, x, w, v, dy: gelu_backward(x @ w, dy * (x @ v)) @ w.T)),
        ("the gate's path was right: it has the slope of GELU",
         lambda x, w, v, dy: _gated(x, w, v, dy, dgate=dy * (x @ v))),
        ("the gate's path was right: it has the other factor, x V",
         lambda x, w, v, dy: _gated(x, w, v, dy, dgate=gelu_backward(x @ w, dy))),
        ("the value's path lacks the other factor, gelu(x W)",
         lambda x, w, v, dy: _gated(x, w, v, dy, dvalue=dy)),
    ),
    returns=("dx", "dw", "dv"),
    given=given_gate,
    level=INVESTIGATE,
    finding="the value's path had x W where gelu(x W) belongs; gradcheck names dx and dv.",
)  # fmt: skip


def _gated(x, w, v, dy, dgate=None, dvalue=None):
    dgate = gelu_backward(x @ w, dy * (x @ v)) if dgate is None else dgate
    dvalue = dy * ops.gelu(x @ w) if dvalue is None else dvalue
    return dgate @ w.T + dvalue @ v.T, x.T @ dgate, x.T @ dvalue


# -- norm ------------------------------------------------------------------------------------------


def _reference_norm(x, g, dy):
    """By its Jacobian: dz_j / dx_i = r (1 if i = j) - r^3 x_i x_j / D."""
    r = ((x * x).mean(axis=-1) + 1e-6) ** -0.5
    eye = np.eye(x.shape[1], dtype=x.dtype)
    jacobian = r[:, None, None] * eye
    jacobian = jacobian - r[:, None, None] ** 3 * x[:, :, None] * x[:, None] / x.shape[1]
    dx = np.einsum("nij,nj->ni", jacobian, g * dy)
    return dx, np.einsum("ni,n,ni->i", x, r, dy)


def _rows(rng):
    for shape, size in (((4, 3), 2.0), ((2, 5), 0.5), ((3, 4), 1.0)):
        x, dy = rng.standard_normal((2, *shape))
        yield size * x, rng.standard_normal(shape[1]), dy


def _normed(term):
    """The gradient by x with another second term, of x, r, dz and the mean of a row."""

    def wrong(x, g, dy):
        r = 1 / np.sqrt((x * x).mean(axis=-1, keepdims=True) + 1e-6)
        dz, dg = g * dy, mend_rms_norm(x, g, dy)[1]
        return r * dz - term(x, r, dz, lambda a: a.mean(axis=-1, keepdims=True)), dg

    return wrong


RMS_NORM = Exercise(
    mend_rms_norm,
    _reference_norm,
    _rows,
    (
        ("the second term is missing: r depends on x", _normed(lambda x, r, dz, mean: 0 * x)),
        ("the second term has r once: it has r^3", _normed(lambda x, r, dz, mean: (
            r * x * mean(x * dz)))),
        ("the second term is a mean over the row; yours is a sum", _normed(
            lambda x, r, dz, mean: r**3 * x * mean(x * dz) * x.shape[-1])),
        ("the second term has x in front: this is the row's shift, of a norm with a mean",
         _normed(lambda x, r, dz, mean: r * mean(dz))),
        ("the second term has twice the right size: the root halves the square's slope",
         _normed(lambda x, r, dz, mean: 2 * r**3 * x * mean(x * dz))),
        ("dg was right: it has r",
         but(mend_rms_norm, 1, lambda dg, x, g, dy: (x * dy).sum(axis=0))),
    ),
    returns=("dx", "dg"),
    given=given_rms_norm,
    level=INVESTIGATE,
    finding="the second term had r squared where r cubed belongs; gradcheck names dx.",
)  # fmt: skip

# -- lookup ----------------------------------------------------------------------------------------


def _lookups(rng):
    yield rng.standard_normal((4, 3)), np.array([1, 3, 1, 0, 1]), rng.standard_normal((5, 3))
    yield rng.standard_normal((3, 2)), np.array([2, 2]), rng.standard_normal((2, 2))
    index = rng.integers(0, 5, 9)
    yield rng.standard_normal((5, 4)), index, rng.standard_normal((9, 4))


def _by_counts(change):
    """The sum of each row's dy, changed by how often the row was looked up, (R, 1)."""

    def wrong(table, index, dy):
        counts = np.bincount(index, minlength=len(table))[:, None].astype(dy.dtype)
        return change(mend_lookup(table, index, dy), counts)

    return wrong


def _first_wins(table, index, dy):
    return given_lookup(table, index[::-1], dy[::-1])


LOOKUP = Exercise(
    mend_lookup,
    lambda table, index, dy: (index == np.arange(len(table))[:, None]).astype(dy.dtype) @ dy,
    _lookups,
    (
        ("a row that is looked up twice gets both gradients: yours gets the first", _first_wins),
        ("a row that is looked up twice gets the sum: yours gets the mean",
         _by_counts(lambda total, counts: total / np.maximum(counts, 1))),
        ("the sum is multiplied by the number of lookups: it is a sum already",
         _by_counts(lambda total, counts: total * counts)),
        ("a row that is never looked up has no gradient: yours is moved by one row",
         lambda *args: np.roll(mend_lookup(*args), 1, axis=0)),
        ("these are the gradients of the tokens: the table has its own rows",
         lambda table, index, dy: dy[index % len(dy)]),
    ),
    given=given_lookup,
    level=INVESTIGATE,
    finding="dtable[index] += dy keeps one of several additions to a row only; sum them all.",
)  # fmt: skip


EXERCISES = (GATE, RMS_NORM, LOOKUP)
