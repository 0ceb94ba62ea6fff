"""Sliding windows over a (T, H, W) grid, shared by the convolutions and the pools.

A window op looks at x (B, T, H, W, ...) through a kernel (kt, kh, kw) that moves by a stride. `windows` shows all of them at
once as a view without a copy; `seen` finds the cells that some of them look at, in a grid that is not padded yet; `taps` walks
over the kernel's positions, each a strided slice of the padded grid.
"""

import functools
import itertools

from ..backend.arrays import array_module


def out_grid(grid, kernel, stride, padding):
    """How many windows fit on each axis: floor((n + 2 p - k) / s) + 1."""
    return tuple((n + 2 * p - k) // s + 1 for n, k, s, p in zip(grid, kernel, stride, padding))


def seen(x, block, kernel, stride, padding):
    """The cells that the windows of some outputs look at, with zeros beyond the grid.

    block   a slice of clips, and one of outputs on each grid axis

    x: (B, T, H, W, ...)   ->   (b, t, h, w, ...), the steps in it from window to window, and those from tap to tap
    """
    outs = tuple((at.start, at.stop) for at in block[1:])
    lengths, steps, tap_steps, runs, whole = _looked_at(x.shape[1:4], outs, kernel, stride, padding)
    x = x[block[0]]
    if whole:
        return x[(slice(None), *whole)], steps, tap_steps
    wide = array_module(x).zeros((x.shape[0], *lengths, *x.shape[4:]), dtype=x.dtype)
    for into, cells in runs:
        wide[(slice(None), *into)] = x[(slice(None), *cells)]
    return wide, steps, tap_steps


@functools.lru_cache(maxsize=1024)
def _looked_at(grid, outs, kernel, stride, padding):
    """Of a grid's cells those that the windows `outs` look at: how many, the two kinds of steps among them, where they are.

    The last are pairs (places among them, cells), and if one pair fills them all its cells by themselves.
    """
    axes = [_along_axis(*sizes) for sizes in zip(grid, outs, kernel, stride, padding)]
    lengths, steps, tap_steps, runs = zip(*axes)
    pairs = [tuple(zip(*run)) for run in itertools.product(*runs)]
    filled = len(pairs) == 1 and pairs[0][0] == tuple(slice(0, length) for length in lengths)
    return lengths, steps, tap_steps, pairs, pairs[0][1] if filled else None


def _along_axis(n, outs, k, s, p):
    """On one axis: one run of neighbours, or where the stride leaves cells out what each tap sees, one tap after the other."""
    first, stop = outs
    if s <= k:
        start, end = s * first - p, s * (stop - 1) - p + k
        low, high = min(max(start, 0), n), max(min(end, n), 0)
        return end - start, s, 1, [(slice(low - start, max(low, high) - start), slice(low, max(low, high)))]
    runs = []
    for i in range(k):
        a, b = max(first, -(-(p - i) // s)), min(stop, (n - 1 + p - i) // s + 1)
        if a < b:
            at = i * (stop - first) - first
            runs.append((slice(at + a, at + b), slice(s * a + i - p, s * (b - 1) + i - p + 1, s)))
    return k * (stop - first), 1, stop - first, runs


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


def windows(x, block, kernel, steps, tap_steps):
    """The windows of a block of outputs, a view of what `seen` found for it.   ->   (b, t, h, w, kt, kh, kw, ...)"""
    grid, move = tuple(at.stop - at.start for at in block[1:]), x.strides[1:4]
    return array_module(x).lib.stride_tricks.as_strided(
        x,
        (x.shape[0], *grid, *kernel, *x.shape[4:]),
        (x.strides[0], *_times(move, steps), *_times(move, tap_steps), *x.strides[4:]),
    )


def _times(strides, steps):
    return tuple(bytes_ * step for bytes_, step in zip(strides, steps))


def taps(kernel, stride, grid):
    """(position in the kernel, index of the cells it looks at for every window) for each position in turn."""
    for tap in itertools.product(*map(range, kernel)):
        cells = (slice(i, i + s * (n - 1) + 1, s) for i, s, n in zip(tap, stride, grid))
        yield tap, (slice(None), *cells)
