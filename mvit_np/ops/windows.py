"""Sliding windows over a (T, H, W) grid, shared by the convolutions and the pools.

A window op looks at x (B, T, H, W, ...) through a kernel (kt, kh, kw) that moves by a stride. For
each entry of the kernel, a tap, the cells that it meets in all windows are one strided slice of
the padded grid. So a forward pass adds up slices, and a backward pass adds to them.
"""

import itertools

from ..backend.arrays import array_module


def out_grid(grid, kernel, stride, padding):
    """How many windows fit on each axis: floor((n + 2 p - k) / s) + 1."""
    return tuple((n + 2 * p - k) // s + 1 for n, k, s, p in zip(grid, kernel, stride, padding))


def padded(x, padding, value=0.0):
    """x (B, T, H, W, ...) with padding (pt, ph, pw) cells of `value` on both sides of each axis.

    A negative padding, where windows begin inside the grid, adds nothing: see `taps`.
    """
    xp, thw = array_module(x), [n + 2 * max(p, 0) for n, p in zip(x.shape[1:4], padding)]
    wide = xp.full((x.shape[0], *thw, *x.shape[4:]), value, dtype=x.dtype)
    wide[inside(padding)] = x
    return wide


def inside(padding):
    """The index that takes the padding off again."""
    return (slice(None), *(slice(p, -p) if p > 0 else slice(None) for p in padding))


def taps(kernel, stride, padding, grid):
    """For each entry of the kernel: it, and the index of the cells it meets in the padded grid."""
    for tap in itertools.product(*map(range, kernel)):
        first = [i - min(p, 0) for i, p in zip(tap, padding)]
        cells = (slice(i, i + s * (n - 1) + 1, s) for i, s, n in zip(first, stride, grid))
        yield tap, (slice(None), *cells)
