"""Sliding windows over a (T, H, W) grid, shared by the convolutions and the pools.

A window op looks at x (B, T, H, W, ...) through a kernel (kt, kh, kw) that moves by a stride. `windows` shows all of them at
once as a view without a copy; `seen` shows those of some outputs of a grid that is not padded yet; `taps` walks over the kernel's
positions, each a strided slice of the padded grid.
"""

import itertools

from ..backend import array_module


def out_grid(grid, kernel, stride, padding):
    """How many windows fit on each axis: floor((n + 2 p - k) / s) + 1."""
    return tuple((n + 2 * p - k) // s + 1 for n, k, s, p in zip(grid, kernel, stride, padding))


def seen(x, block, kernel, stride, padding):
    """The windows of some outputs: `block` is a slice of clips and one of outputs on each grid axis.

    x: (B, T, H, W, ...)   ->   (b, t, h, w, kt, kh, kw, ...), zeros beyond the grid.  Only cells that are looked at are copied.
    """
    axes = [_looked_at(n, at, *sizes) for n, at, *sizes in zip(x.shape[1:4], block[1:], kernel, stride, padding)]
    x, lengths = x[block[0]], tuple(length for length, _, _ in axes)
    step = tuple(step for _, step, _ in axes)
    runs = list(itertools.product(*(runs for _, _, runs in axes)))
    if len(runs) == 1 and all(into == slice(0, length) for (into, _), length in zip(runs[0], lengths)):
        return windows(x[(slice(None), *(cells for _, cells in runs[0]))], kernel, step)
    xp = array_module(x)
    wide = xp.zeros((x.shape[0], *lengths, *x.shape[4:]), dtype=x.dtype)
    for run in runs:
        into, cells = zip(*run)
        wide[(slice(None), *into)] = x[(slice(None), *cells)]
    return windows(wide, kernel, step)


def _looked_at(n, at, k, s, p):
    """On one axis: how many cells the windows `at` look at, the step between windows among them, and where they come from.

    The last is a list of (cells' places among them, cells): one run of neighbours, or where the stride leaves cells out one
    run for each place in the kernel, so that window after window stands side by side.
    """
    if s <= k:
        start, stop = s * at.start - p, s * (at.stop - 1) - p + k
        low, high = min(max(start, 0), n), max(min(stop, n), 0)
        return stop - start, s, [(slice(low - start, max(low, high) - start), slice(low, max(low, high)))]
    runs = []
    for i in range(k):
        first, last = max(at.start, -(-(p - i) // s)), min(at.stop, (n - 1 + p - i) // s + 1)
        if first < last:
            into = slice(i + k * (first - at.start), i + k * (last - 1 - at.start) + 1, k)
            runs.append((into, slice(s * first + i - p, s * (last - 1) + i - p + 1, s)))
    return k * (at.stop - at.start), k, runs


def padded(x, padding, value=0.0):
    """x (B, T, H, W, ...) with `padding` = (pt, ph, pw) cells of `value` on both sides of each grid axis."""
    if not any(padding):
        return x
    xp = array_module(x)
    wide = xp.full((x.shape[0], *(n + 2 * p for n, p in zip(x.shape[1:4], padding)), *x.shape[4:]), value, dtype=x.dtype)
    wide[inside(padding)] = x
    return wide


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
