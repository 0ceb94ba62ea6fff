"""Sliding windows over a (T, H, W) grid, shared by the convolutions and the pools.

A window op looks at x (B, T, H, W, ...) through a kernel (kt, kh, kw) that moves by a stride: `windows` shows all of them
at once as a view without a copy, and `taps` walks over the kernel's positions, each a strided slice of the padded grid.
"""

import itertools

from ..backend import array_module


def padded(x, padding, value=0.0):
    """x (B, T, H, W, ...) with `padding` = (pt, ph, pw) cells of `value` on both sides of each grid axis."""
    if not any(padding):
        return x
    xp = array_module(x)
    grid = tuple(n + 2 * p for n, p in zip(x.shape[1:4], padding))
    wide = xp.full((x.shape[0], *grid, *x.shape[4:]), value, dtype=x.dtype)
    wide[inside(padding)] = x
    return wide


def inside(padding):
    """The index that takes the padding off again."""
    return (slice(None), *(slice(p, -p or None) for p in padding))


def windows(x, kernel, stride):
    """All windows of a padded grid, a view.   x: (B, T, H, W, ...)   ->   (B, t, h, w, kt, kh, kw, ...)"""
    as_strided = array_module(x).lib.stride_tricks.as_strided
    grid = tuple((n - k) // s + 1 for n, k, s in zip(x.shape[1:4], kernel, stride))
    step = tuple(bytes_ * s for bytes_, s in zip(x.strides[1:4], stride))
    shape = (x.shape[0], *grid, *kernel, *x.shape[4:])
    return as_strided(x, shape, (x.strides[0], *step, *x.strides[1:4], *x.strides[4:]))


def taps(kernel, stride, grid):
    """(position in the kernel, index of the cells it looks at for every window) for each position in turn."""
    for tap in itertools.product(*map(range, kernel)):
        cells = (slice(i, i + s * (n - 1) + 1, s) for i, s, n in zip(tap, stride, grid))
        yield tap, (slice(None), *cells)
