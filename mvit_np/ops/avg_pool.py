"""Average pooling: P of "avg" models."""

import math

from ..autodiff.tape import op
from ..backend.arrays import array_module
from ..backend.types import Array, Triple
from .windows import inside, out_grid, padded, taps


@op
def avg_pool(x: Array, kernel: Triple, stride: Triple, padding: Triple):
    """The mean of each window, padding counted as zeros.

    x: (B, T, H, W, ...)   ->   (B, t, h, w, ...)

    Each cell receives dy / (cells in the kernel) from every window it lies in.
    """
    xp = array_module(x)
    grid = out_grid(x.shape[1:4], kernel, stride, padding)
    share = 1 / math.prod(kernel)
    wide = padded(x, padding)
    shape = wide.shape  # the shape alone: a backward that named the array would keep it
    y = xp.zeros((x.shape[0], *grid, *x.shape[4:]), dtype=x.dtype)
    for _, cells in taps(kernel, stride, padding, grid):
        y += wide[cells]
    y *= share

    def backward(dy):
        d_wide = xp.zeros(shape, dtype=dy.dtype)
        for _, cells in taps(kernel, stride, padding, grid):
            d_wide[cells] += dy * share
        return d_wide[inside(padding)], None, None, None

    return y, backward
