"""Cube embedding: a strided convolution that turns a clip into tokens (Sec. 3.2, "initial scale")."""

from ..autodiff import op
from ..backend import array_module
from .windows import inside, padded, taps, windows


@op
def cube_conv(x, w, b, stride, padding):
    """Each cube of pixels times W, plus b.   x: (B, T, H, W, C)   w: (kt, kh, kw, C, D)   b: (D,)   ->   (B, t, h, w, D)

    One matrix product over all cubes laid out as rows: dW = cubes' dY, and dX adds each cube's dY W' back to its place.
    """
    kernel, width = w.shape[:3], w.shape[-1]

    def cubes():
        every = windows(padded(x, padding), kernel, stride)
        return every.reshape(-1, w[..., 0].size), every.shape[:4]

    rows, grid = cubes()
    y = rows @ w.reshape(-1, width)
    y += b

    def backward(dy):
        dy = dy.reshape(-1, width)
        dw = (cubes()[0].T @ dy).reshape(w.shape)

        def dx():  # as a function: training does not ask for the clip's gradient
            d_cubes = (dy @ w.reshape(-1, width).T).reshape(*grid, *w.shape[:4])
            wide = padded(array_module(x).zeros_like(x), padding)
            for tap, cells in taps(kernel, stride, grid[1:]):
                wide[cells] += d_cubes[(..., *tap, slice(None))]
            return wide[inside(padding)]

        return dx, dw, dy.sum(axis=0), None, None

    return y.reshape(*grid, width), backward
