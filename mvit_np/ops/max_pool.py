"""Max pooling: the pooling of the skip connection, and P of "max" models."""

import math

from ..autodiff.tape import op
from ..backend.arrays import array_module
from ..backend.types import Array, Triple
from .windows import inside, out_grid, padded, taps


@op
def max_pool(x: Array, kernel: Triple, stride: Triple, padding: Triple):
    """The largest value in each window; padding never wins.

    x: (B, T, H, W, ...)   ->   (B, t, h, w, ...)

    dy goes to the cell that won; among equals to the first, as in PyTorch.
    """
    xp, grid = array_module(x), out_grid(x.shape[1:4], kernel, stride, padding)
    wide = padded(x, padding, -math.inf)
    y = xp.full((x.shape[0], *grid, *x.shape[4:]), -math.inf, dtype=x.dtype)
    for _, cells in taps(kernel, stride, padding, grid):
        y = xp.maximum(y, wide[cells])

    def backward(dy):
        d_wide, left = xp.zeros_like(wide), dy  # what no cell has claimed yet
        for _, cells in taps(kernel, stride, padding, grid):
            won = left * (wide[cells] == y)
            d_wide[cells] += won
            left = left - won
        return d_wide[inside(padding)], None, None, None

    return y, backward
