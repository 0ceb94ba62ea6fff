"""Max pooling by axes, W, then H, then T: the maximum of a box is that of its rows' maxima."""

import math

from ...autodiff.versions import fast
from ...backend import tiles
from ...backend.arrays import array_module
from ..max_pool import max_pool as definition
from ..windows import out_grid
from .windows import seen_by


@fast(definition, on=("numpy", "device"))
def max_pool(x, kernel, stride, padding):
    """As `ops.max_pool`."""
    axes = [axis for axis in (3, 2, 1) if (kernel[axis - 1], stride[axis - 1]) != (1, 1)]
    sizes = {axis: (kernel[axis - 1], stride[axis - 1], padding[axis - 1]) for axis in axes}
    y = x
    for axis in axes:
        y = _along(y, axis, *sizes[axis])

    def backward(dy):
        stages = [x]
        for axis in axes:
            stages.append(_along(stages[-1], axis, *sizes[axis]))
        for axis in axes[::-1]:
            top = stages.pop()
            dy = _back_along(stages[-1], top, dy, axis, *sizes[axis])
        return dy, None, None, None

    return y, backward


def _along(x, axis, k, s, p):
    """The maximum of each window of one axis."""
    xp = array_module(x)
    count = out_grid((x.shape[axis],), (k,), (s,), (p,))[0]
    y = xp.empty((*x.shape[:axis], count, *x.shape[axis + 1 :]), dtype=x.dtype)

    def tile(at):
        top, part = y[at], x[at]
        top[...] = -math.inf
        for wins, cells in _taps(x.shape[axis], count, axis, k, s, p):
            xp.maximum(top[wins], part[cells], out=top[wins])

    tiles.run(tile, _blocks(x, axis, k))
    return y


def _back_along(x, y, dy, axis, k, s, p):
    dx = array_module(x).zeros(x.shape, dtype=x.dtype)

    def tile(at):
        part, top, d_part = x[at], y[at], dx[at]
        left = dy[at].copy()  # what no cell has claimed yet
        for wins, cells in _taps(x.shape[axis], y.shape[axis], axis, k, s, p):
            won = left[wins] * (part[cells] == top[wins])
            d_part[cells] += won
            left[wins] -= won

    tiles.run(tile, _blocks(x, axis, 4 * k))
    return dx


def _blocks(x, axis, passes):
    """Blocks of the axes before `axis`, the others whole."""
    width = math.prod(x.shape[axis:])
    return tiles.blocks(x, x.shape[:axis], width, width * passes)


def _taps(n, count, axis, k, s, p):
    """For each place in the window: the windows whose cell there is inside, and those cells."""
    for i in range(k):
        if found := seen_by(i, n, (0, count), s, p):
            yield tuple(_at(axis, part) for part in found)


def _at(axis, part):
    return (*(slice(None),) * axis, part)
