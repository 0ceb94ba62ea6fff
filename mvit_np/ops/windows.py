"""Sliding windows over a (T, H, W) grid, shared by the convolutions and the pools.

A window op looks at x (B, T, H, W, ...) through a kernel (kt, kh, kw) that moves by a stride. `windows` shows all of them at
once as a view without a copy; `cut` takes out the part of a grid that some of them look at, with padding where they reach
beyond it; `taps` walks over the kernel's positions, each a strided slice of the padded grid.
"""

import itertools

from ..backend import array_module


def out_grid(grid, kernel, stride, padding):
    """How many windows fit on each axis: floor((n + 2 p - k) / s) + 1."""
    return tuple((n + 2 * p - k) // s + 1 for n, k, s, p in zip(grid, kernel, stride, padding))


def cut(x, spans, value=0.0):
    """The cells of `spans`, one (start, stop) a grid axis; where they reach beyond the grid there is `value`.

    x: (B, T, H, W, ...)   ->   (B, t, h, w, ...), a view where nothing reaches beyond
    """
    held = [(max(start, 0), min(stop, n)) for (start, stop), n in zip(spans, x.shape[1:4])]
    part = x[(slice(None), *(slice(a, b) for a, b in held))]
    if all(span == have for span, have in zip(spans, held)):
        return part
    xp = array_module(x)
    wide = xp.full((x.shape[0], *(b - a for a, b in spans), *x.shape[4:]), value, dtype=x.dtype)
    wide[(slice(None), *(slice(a - start, b - start) for (start, _), (a, b) in zip(spans, held)))] = part
    return wide


def seen(x, block, kernel, stride, padding):
    """All windows of the outputs `block`, slices of clips and of up to three grid axes of length n_out; padded with zeros.

    x: (B, T, H, W, ...)   ->   (b, t, h, w, kt, kh, kw, ...)
    """
    outs = [(at.start, at.stop) for at in block[1:]]
    spans = [(s * a - p, s * (b - 1) - p + k) for (a, b), k, s, p in zip(outs, kernel, stride, padding)]
    return windows(cut(x[block[0]], spans), kernel, stride)


def padded(x, padding, value=0.0):
    """x (B, T, H, W, ...) with `padding` = (pt, ph, pw) cells of `value` on both sides of each grid axis."""
    return cut(x, [(-p, n + p) for n, p in zip(x.shape[1:4], padding)], value)


def inside(padding):
    """The index that takes the padding off again."""
    return (slice(None), *(slice(p, -p or None) for p in padding))


def windows(x, kernel, stride):
    """All windows of a padded grid, a view.   x: (B, T, H, W, ...)   ->   (B, t, h, w, kt, kh, kw, ...)"""
    as_strided = array_module(x).lib.stride_tricks.as_strided
    grid = out_grid(x.shape[1:4], kernel, stride, (0, 0, 0))
    step = tuple(bytes_ * s for bytes_, s in zip(x.strides[1:4], stride))
    shape = (x.shape[0], *grid, *kernel, *x.shape[4:])
    return as_strided(x, shape, (x.strides[0], *step, *x.strides[1:4], *x.strides[4:]))


def taps(kernel, stride, grid):
    """(position in the kernel, index of the cells it looks at for every window) for each position in turn."""
    for tap in itertools.product(*map(range, kernel)):
        cells = (slice(i, i + s * (n - 1) + 1, s) for i, s, n in zip(tap, stride, grid))
        yield tap, (slice(None), *cells)
