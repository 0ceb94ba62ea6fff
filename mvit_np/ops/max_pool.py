"""Max pooling: the pooling of the skip connection, and P of "max" models."""

import math

from ..autodiff import op
from ..backend import array_module
from .windows import inside, padded, taps


@op
def max_pool(x, kernel, stride, padding):
    """The largest value in each window; padding never wins.   x: (B, T, H, W, ...)   ->   (B, t, h, w, ...)

    dy goes to the cell that won; among equals to the first, as in PyTorch.
    """
    xp = array_module(x)
    grid = tuple((n + 2 * p - k) // s + 1 for n, p, k, s in zip(x.shape[1:4], padding, kernel, stride))
    wide = padded(x, padding, -math.inf)
    y = xp.full((x.shape[0], *grid, *x.shape[4:]), -math.inf, dtype=x.dtype)
    for _, cells in taps(kernel, stride, grid):
        xp.maximum(y, wide[cells], out=y)

    def backward(dy):
        wide = padded(x, padding, -math.inf)
        d_wide = xp.zeros(wide.shape, dtype=x.dtype)
        left = dy.copy()  # what no cell has claimed yet
        for _, cells in taps(kernel, stride, grid):
            won = left * (wide[cells] == y)
            d_wide[cells] += won
            left -= won
        return d_wide[inside(padding)], None, None, None

    return y, backward
