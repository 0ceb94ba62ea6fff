"""Depthwise convolution: the pooling P of "conv" models, one filter per channel for all heads."""

from ..autodiff.tape import op
from ..backend.arrays import array_module
from ..backend.types import Array, Triple
from .windows import inside, out_grid, padded, taps


@op
def depthwise_conv(x: Array, w: Array, stride: Triple, padding: Triple):
    """Slide one filter per channel.

    x: (B, T, H, W, h, d)   w: (kt, kh, kw, d)   ->   (B, t, h, w, h, d)

    y[o] = sum over the kernel's taps i of w[i] x[s o + i - p], so
    dw[i] = sum over o of x[s o + i - p] dy[o],  and each cell of x gets w[i] dy[o] from every
    window o that meets it.
    """
    xp, kernel = array_module(x), w.shape[:3]
    grid = out_grid(x.shape[1:4], kernel, stride, padding)
    wide = padded(x, padding)
    y = xp.zeros((x.shape[0], *grid, *x.shape[4:]), dtype=x.dtype)
    for tap, cells in taps(kernel, stride, padding, grid):
        y += w[tap] * wide[cells]

    def backward(dy):
        dw, d_wide = xp.zeros_like(w), xp.zeros_like(wide)
        for tap, cells in taps(kernel, stride, padding, grid):
            dw[tap] = (wide[cells] * dy).sum(axis=(0, 1, 2, 3, 4))
            d_wide[cells] += w[tap] * dy
        return d_wide[inside(padding)], dw, None, None

    return y, backward
