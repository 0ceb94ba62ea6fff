"""Cube embedding: a strided convolution makes tokens of a clip (Sec. 3.2, "initial scale")."""

from ..autodiff.tape import op
from ..backend.arrays import array_module
from ..backend.types import Array, Triple
from .windows import inside, out_grid, padded, taps


@op
def cube_conv(x: Array, w: Array, b: Array, stride: Triple, padding: Triple):
    """Each cube of pixels times W, plus b.

    x: (B, T, H, W, C)   w: (kt, kh, kw, C, D)   b: (D,)   ->   (B, t, h, w, D)

    y[o]  = b + sum over the taps i of x[s o + i - p] W[i],  so
    dW[i] = sum over o of x[s o + i - p]' dy[o],
    db    = sum over o of dy[o],
    and each cell of x gets dy[o] W[i]' from every window o that meets it.
    """
    xp, kernel = array_module(x), w.shape[:3]
    grid = out_grid(x.shape[1:4], kernel, stride, padding)
    wide = padded(x, padding)
    y = xp.zeros((x.shape[0], *grid, w.shape[4]), dtype=x.dtype) + b
    for tap, cells in taps(kernel, stride, padding, grid):
        y += wide[cells] @ w[tap]

    def backward(dy):
        dw, d_wide = xp.zeros_like(w), xp.zeros_like(wide)
        dy_rows = dy.reshape(-1, w.shape[4])
        for tap, cells in taps(kernel, stride, padding, grid):
            dw[tap] = wide[cells].reshape(-1, w.shape[3]).T @ dy_rows
            d_wide[cells] += dy @ w[tap].T
        return d_wide[inside(padding)], dw, dy_rows.sum(axis=0), None, None

    return y, backward
