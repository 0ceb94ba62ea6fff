"""Exercises of notebook 06, second part: the gradient of max pooling, and finite differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .. import ops
from ..autodiff.tape import vjp
from ..backend.types import Array
from .checker import Exercise


def max_pool_backward(x, dy, kernel, stride):
    """The gradient of max pooling along one axis of tokens, without padding.

    x: (N, D)   dy: (n, D)   kernel, stride: whole numbers, n = (N - kernel) // stride + 1
    ->   dx: (N, D)
    In each channel the largest number of a window gets the window's dy; among equals, the first.
    Hint: x[a:b].argmax(axis=0) counts from a. Windows overlap: a token that wins twice gets both.
    """
    dx, channels = np.zeros_like(x), np.arange(x.shape[1])
    for i, d_window in enumerate(dy):
        start = i * stride
        winner = start + x[start : start + kernel].argmax(axis=0)
        dx[winner, channels] += d_window
    return dx


def _reference_max_pool(x, dy, kernel, stride):
    def pooled(x):
        grid = ops.reshape(x, (1, 1, 1, *x.shape))
        return ops.reshape(ops.max_pool(grid, (1, 1, kernel), (1, 1, stride), (0, 0, 0)), dy.shape)

    return vjp(pooled, [x])[1](dy)[0]


def _lines(rng):
    def case(x, kernel, stride):
        return x, rng.standard_normal(((len(x) - kernel) // stride + 1, x.shape[1])), kernel, stride

    yield case(rng.standard_normal((11, 5)), 3, 2)
    yield case(rng.standard_normal((7, 2)), 4, 1)
    yield case(rng.standard_normal((8, 3)), 2, 2)
    yield case(rng.integers(0, 2, (9, 4)).astype(float), 3, 2)  # with equals
    yield case(rng.standard_normal((9, 2)) - 1000, 3, 3)


def _over_windows(change):
    """dx after change(dx, x, i, at, d_window) for every window; at is its slice of the tokens."""

    def wrong(x, dy, kernel, stride):
        dx = np.zeros_like(x)
        for i, d_window in enumerate(dy):
            change(dx, x, i, slice(i * stride, i * stride + kernel), d_window)
        return dx

    return wrong


def _assigned(dx, x, i, at, d_window):
    dx[at.start + x[at].argmax(0), np.arange(x.shape[1])] = d_window


def _offset_lost(dx, x, i, at, d_window):
    dx[x[at].argmax(0), np.arange(x.shape[1])] += d_window


def _offset_unscaled(dx, x, i, at, d_window):
    dx[i + x[at].argmax(0), np.arange(x.shape[1])] += d_window


def _by_size(dx, x, i, at, d_window):
    dx[at.start + abs(x[at]).argmax(0), np.arange(x.shape[1])] += d_window


def _to_all(share):
    def change(dx, x, i, at, d_window):
        dx[at] += share(x[at]) * d_window

    return change


def _share_of_equals(cells):
    largest = cells == cells.max(0)
    return largest / largest.sum(0)


def _last_of_equals(dx, x, i, at, d_window):
    dx[at.stop - 1 - x[at][::-1].argmax(0), np.arange(x.shape[1])] += d_window


def _one_for_all_channels(dx, x, i, at, d_window):
    dx[at.start + x[at].sum(1).argmax()] += d_window


MAX_POOL_BACKWARD = Exercise(
    max_pool_backward,
    _reference_max_pool,
    _lines,
    (
        ("a token that wins in two windows gets both: add (+=), do not assign",
         _over_windows(_assigned)),
        ("argmax counts from the window's start: add i * stride", _over_windows(_offset_lost)),
        ("the window starts at i * stride, not at i", _over_windows(_offset_unscaled)),
        ("the token of the largest size wins: the sign counts too", _over_windows(_by_size)),
        ("every token of the window gets dy: only the winner does",
         _over_windows(_to_all(lambda cells: 1))),
        ("dy is shared among the window's tokens, as for the mean: the winner gets it all",
         _over_windows(_to_all(lambda cells: 1 / len(cells)))),
        ("among equals each gets dy: only the first does",
         _over_windows(_to_all(lambda cells: cells == cells.max(0)))),
        ("among equals dy is shared: the first gets it all",
         _over_windows(_to_all(_share_of_equals))),
        ("among equals the last gets dy: it is the first", _over_windows(_last_of_equals)),
        ("one token wins for all channels: each channel has its own winner",
         _over_windows(_one_for_all_channels)),
        ("dy is multiplied by the largest number: the derivative of a maximum by its winner is 1",
         _over_windows(_to_all(lambda cells: (cells == cells.max(0)) * cells))),
    ),
)  # fmt: skip


def finite_difference(f, x, h):
    """The gradient of a function by central differences, one entry after the other.

    x: any shape   ->   the same shape

    f: from an array like x to a number   h: the step
    The derivative by an entry is (f(x + h there) - f(x - h there)) / 2h, to within about h^2.
    Hint: np.ndindex(x.shape) gives every index. Change copies of x, not x.
    """
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        ahead, behind = x.copy(), x.copy()
        ahead[index] += h
        behind[index] -= h
        gradient[index] = (f(ahead) - f(behind)) / (2 * h)
    return gradient


@dataclass(frozen=True)
class _Weighted:
    """<weights, op(x)>: a number from an array, and what its gradient is pulled back from."""

    op: Callable[[Array], Array]
    weights: Array

    def __call__(self, x):
        return float((self.weights * self.op(x)).sum())


def _reference_difference(f, x, h):
    return vjp(f.op, [x])[1](f.weights)[0]


def _functions(rng):
    for op, shape in ((ops.softmax, (2, 3)), (ops.gelu, (5,)), (ops.softmax, (1, 2, 4))):
        yield _Weighted(op, rng.standard_normal(shape)), rng.standard_normal(shape), 1e-4


def _complex_step(f, x, h):
    return _moved(lambda f, x, h, u: np.imag(f(x + 1j * h * u)) / h)(f, x, h)


def _moved(formula):
    """`formula` of f, x, h and a unit step at one entry, for every entry."""

    def wrong(f, x, h):
        gradient = np.zeros_like(x)
        for index in np.ndindex(x.shape):
            unit = np.zeros_like(x)
            unit[index] = 1
            gradient[index] = formula(f, x, h, unit)
        return gradient

    return wrong


FINITE_DIFFERENCE = Exercise(
    finite_difference,
    _reference_difference,
    _functions,
    (
        ("a one-sided difference is exact to about h only: step forward and back",
         _moved(lambda f, x, h, u: (f(x + h * u) - f(x)) / h)),
        ("the distance between the points is 2 h: divide by 2 h, not by h",
         _moved(lambda f, x, h, u: (f(x + h * u) - f(x - h * u)) / h)),
        ("(f(x + h) - f(x - h)) / 2 * h multiplies by h: put 2 * h in brackets",
         _moved(lambda f, x, h, u: (f(x + h * u) - f(x - h * u)) / 2 * h)),
        ("the difference is not divided by 2 h",
         _moved(lambda f, x, h, u: f(x + h * u) - f(x - h * u))),
        ("the distance between the points is h: divide by h, or step forward and back",
         _moved(lambda f, x, h, u: (f(x + h * u) - f(x)) / (2 * h))),
        ("a complex step needs an f of complex numbers, and this f takes real ones: "
         "step forward and back",
         _complex_step),
        ("all entries move at once: move one at a time",
         _moved(lambda f, x, h, u: (f(x + h) - f(x - h)) / (2 * h))),
        ("the difference is the wrong way round: f(x + h) - f(x - h)",
         _moved(lambda f, x, h, u: (f(x - h * u) - f(x + h * u)) / (2 * h))),
    ),
    tolerance=1e-6,
    single=False,
)  # fmt: skip

EXERCISES = (MAX_POOL_BACKWARD, FINITE_DIFFERENCE)
