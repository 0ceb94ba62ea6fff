"""Moving tokens about: nothing here computes, and every backward moves the gradients back."""

import math

from ..autodiff.tape import op
from ..backend.arrays import array_module
from ..backend.types import Array, Triple


@op
def reshape(x: Array, shape: tuple[int, ...]):
    """The same numbers in another shape, such as a token list as a grid.   x: any   ->   shape"""
    before = x.shape  # the shape alone: a backward that named x would keep it

    def backward(dy):
        return dy.reshape(before), None

    return x.reshape(shape), backward


@op
def split_class(x: Array):
    """The class token and the rest.   x: (B, 1 + N, ...)   ->   (B, 1, ...), (B, N, ...)"""
    xp, shape, dtype = array_module(x), x.shape, x.dtype

    def backward(d_class, d_rest):
        dx = xp.empty(shape, dtype=dtype)
        dx[:, :1] = 0 if d_class is None else d_class
        dx[:, 1:] = 0 if d_rest is None else d_rest
        return (dx,)

    return (x[:, :1], x[:, 1:]), backward


@op
def join_class(cls: Array, x: Array):
    """The class token before the rest.

    cls: (B, 1, ...), or one (D,) for all clips   x: (B, N, ...)   ->   (B, 1 + N, ...)
    """
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
def first_token(x: Array):
    """The class token alone.   x: (B, N, D)   ->   (B, D)"""

    def backward(dy):
        dx = array_module(x).zeros(x.shape, dtype=x.dtype)
        dx[:, 0] = dy
        return (dx,)

    return x[:, 0], backward


@op
def mean_token(x: Array):
    """The mean over the tokens, for models without a class token.   x: (B, N, D)   ->   (B, D)"""
    shape = x.shape

    def backward(dy):
        share = dy[:, None] * (1 / shape[1])
        return (array_module(dy).broadcast_to(share, shape),)

    return x.mean(axis=1), backward


@op
def join_channels(x: Array, y: Array):
    """Two streams side by side.   x: (B, N, D)   y: (B, N, E)   ->   (B, N, D + E)"""
    width = x.shape[-1]

    def backward(dz):
        return dz[..., :width], dz[..., width:]

    return array_module(x).concatenate([x, y], axis=-1), backward


@op
def split_channels(x: Array, count: int):
    """The channels in equal parts, such as queries, keys and values.

    x: (..., count D)   ->   count x (..., D)
    """
    xp, shape, dtype, width = array_module(x), x.shape, x.dtype, x.shape[-1] // count
    parts = [slice(i * width, (i + 1) * width) for i in range(count)]

    def backward(*dys):
        dx = xp.zeros(shape, dtype=dtype)
        for part, dy in zip(parts, dys):
            dx[..., part] = 0 if dy is None else dy
        return dx, None

    return tuple(x[..., part] for part in parts), backward


@op
def split_units(x: Array, thw: Triple, unit: Triple):
    """Cut a grid of tokens into units that lie side by side.

    x: (B, T H W, ...)   ->   (B units, tokens of a unit, ...)
    """
    shape = x.shape

    def backward(dy):
        return _joined(dy, thw, unit).reshape(shape), None, None

    return _split(x, thw, unit), backward


@op
def join_units(x: Array, thw: Triple, unit: Triple):
    """Put units back where they lie in the grid.

    x: (B units, tokens of a unit, ...)   ->   (B, T H W, ...)
    """

    def backward(dy):
        return _split(dy, thw, unit), None, None

    return _joined(x, thw, unit), backward


def _split(x, thw, unit):
    counts = [n // u for n, u in zip(thw, unit)]
    both = (length for pair in zip(counts, unit) for length in pair)
    cells = x.reshape(x.shape[0], *both, *x.shape[2:])
    cells = cells.transpose(0, 1, 3, 5, 2, 4, 6, *range(7, cells.ndim))
    return cells.reshape(-1, math.prod(unit), *x.shape[2:])


def _joined(x, thw, unit):
    counts = [n // u for n, u in zip(thw, unit)]
    cells = x.reshape(-1, *counts, *unit, *x.shape[2:])
    cells = cells.transpose(0, 1, 4, 2, 5, 3, 6, *range(7, cells.ndim))
    return cells.reshape(-1, math.prod(thw), *x.shape[2:])
