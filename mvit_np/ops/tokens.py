"""Moving tokens about: nothing here computes, and every backward moves the gradients back."""

import itertools
import math

from ..autodiff.tape import op
from ..backend.arrays import array_module


@op
def reshape(x, shape):
    """The same numbers in another shape, such as a token list as a grid.   x: any   ->   shape"""
    before = x.shape  # the shape alone: a backward that named x would keep it

    def backward(dy):
        return dy.reshape(before), None

    return x.reshape(shape), backward


@op
def split_class(x):
    """The class token and the rest.   x: (B, 1 + N, ...)   ->   (B, 1, ...), (B, N, ...)"""
    xp, shape, dtype = array_module(x), x.shape, x.dtype

    def backward(d_class, d_rest):
        dx = xp.empty(shape, dtype=dtype)
        dx[:, :1] = 0 if d_class is None else d_class
        dx[:, 1:] = 0 if d_rest is None else d_rest
        return (dx,)

    return (x[:, :1], x[:, 1:]), backward


@op
def join_class(cls, x):
    """The class token before the rest.   cls: (B, 1, ...), or one (D,) for all clips   x: (B, N, ...)   ->   (B, 1 + N, ...)"""
    xp = array_module(x)
    y = xp.empty((x.shape[0], x.shape[1] + 1, *x.shape[2:]), dtype=x.dtype)
    y[:, :1] = cls
    y[:, 1:] = x
    for_all = cls.ndim == 1

    def backward(dy):
        d_class = dy[:, :1]
        return (d_class.sum(axis=(0, 1)) if for_all else d_class), dy[:, 1:]

    return y, backward


@op
def take_seen(x, thw, kernel, stride, padding):
    """The tokens that some window of a pool looks at: where its stride is larger than its kernel, the others are left out.

    x: (B, [1 +] T H W, ...)   ->   (B, [1 +] t h w, ...); the class token stays.
    """
    xp, shape, cls = array_module(x), x.shape, x.shape[1] - math.prod(thw)
    axes = [_seen_on_axis(*sizes) for sizes in zip(thw, kernel, stride, padding)]
    grid = tuple(max(into.stop for into, _ in runs) for runs in axes)
    pairs = [tuple((slice(None), *side) for side in zip(*runs)) for runs in itertools.product(*axes)]

    def as_grid(tokens, thw):
        return tokens[:, cls:].reshape(tokens.shape[0], *thw, *tokens.shape[2:])

    y = xp.empty((shape[0], cls + math.prod(grid), *shape[2:]), dtype=x.dtype)
    y[:, :cls] = x[:, :cls]
    for into, cells in pairs:
        as_grid(y, grid)[into] = as_grid(x, thw)[cells]

    def backward(dy):
        dx = xp.zeros(shape, dtype=dy.dtype)
        dx[:, :cls] = dy[:, :cls]
        for into, cells in pairs:
            as_grid(dx, thw)[cells] = as_grid(dy, grid)[into]
        return dx, None, None, None, None

    return y, backward


@op
def first_token(x):
    """The class token alone.   x: (B, N, D)   ->   (B, D)"""

    def backward(dy):
        dx = array_module(x).zeros(x.shape, dtype=x.dtype)
        dx[:, 0] = dy
        return (dx,)

    return x[:, 0], backward


@op
def mean_token(x):
    """The mean over the tokens, for models without a class token.   x: (B, N, D)   ->   (B, D)"""
    shape = x.shape

    def backward(dy):
        share = dy[:, None] * (1 / shape[1])
        return (array_module(dy).broadcast_to(share, shape),)

    return x.mean(axis=1), backward


@op
def join_channels(x, y):
    """Two streams side by side.   x: (B, N, D)   y: (B, N, E)   ->   (B, N, D + E)"""
    width = x.shape[-1]

    def backward(dz):
        return dz[..., :width], dz[..., width:]

    return array_module(x).concatenate([x, y], axis=-1), backward


@op
def split_units(x, thw, unit):
    """Cut a grid of tokens into units that lie side by side.   x: (B, T H W, ...)   ->   (B units, tokens of a unit, ...)"""
    shape = x.shape

    def backward(dy):
        return _joined(dy, thw, unit).reshape(shape), None, None

    return _split(x, thw, unit), backward


@op
def join_units(x, thw, unit):
    """Units back in their places of the grid.   x: (B units, tokens of a unit, ...)   ->   (B, T H W, ...)"""

    def backward(dy):
        return _split(dy, thw, unit), None, None

    return _joined(x, thw, unit), backward


def _seen_on_axis(n, k, s, p):
    """(places among those that are kept, cells of the axis): all, or those that each tap of the windows falls on."""
    if s <= k:
        return [(slice(0, n), slice(0, n))]
    count, runs = (n + 2 * p - k) // s + 1, []
    for i in range(k):
        a, b = max(0, -(-(p - i) // s)), min(count, (n - 1 + p - i) // s + 1)
        at = i - max(0, p)  # the first window's taps before the grid have no place
        if a < b:
            runs.append((slice(k * a + at, k * (b - 1) + at + 1, k), slice(s * a + i - p, s * (b - 1) + i - p + 1, s)))
    return runs


def _split(x, thw, unit):
    counts = [n // u for n, u in zip(thw, unit)]
    cells = x.reshape(x.shape[0], *(length for pair in zip(counts, unit) for length in pair), *x.shape[2:])
    return cells.transpose(0, 1, 3, 5, 2, 4, 6, *range(7, cells.ndim)).reshape(-1, math.prod(unit), *x.shape[2:])


def _joined(x, thw, unit):
    counts = [n // u for n, u in zip(thw, unit)]
    cells = x.reshape(-1, *counts, *unit, *x.shape[2:])
    return cells.transpose(0, 1, 4, 2, 5, 3, 6, *range(7, cells.ndim)).reshape(-1, math.prod(thw), *x.shape[2:])
