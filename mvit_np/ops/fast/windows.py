"""All windows of a grid at once, as a view: for the fast convolutions and pools.

`seen` finds the cells that some windows look at, in a grid that is not padded yet; `windows` shows
them window by window without a copy; `seen_by` is the one formula of which windows see a cell.
"""

import functools
import itertools
import math

from ...backend import tiles
from ...backend.arrays import array_module


def seen_by(tap, n, windows, stride, padding):
    """On an axis of n cells: which of `windows` = (first, stop) meet one with a tap; those cells.

    Window o meets the cell s o + tap - p. Returns two slices, or None where no window does.
    """
    first, stop = windows
    first, stop = (
        max(first, -(-(padding - tap) // stride)),
        min(stop, (n - 1 + padding - tap) // stride + 1),
    )
    if first >= stop:
        return None
    start = stride * first + tap - padding
    return slice(first, stop), slice(start, start + stride * (stop - first - 1) + 1, stride)


def seen(x, block, kernel, stride, padding):
    """The cells that the windows of some outputs look at, with zeros beyond the grid.

    block   a slice of clips, and one of outputs on each grid axis

    x: (B, T, H, W, ...)   ->   (b, t, h, w, ...), its steps of windows, and those of taps
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
    """Of the cells that the windows `outs` look at: how many, both kinds of steps, where they are.

    The last are pairs (places among them, cells); if one pair fills them all, its cells alone.
    """
    axes = [_along_axis(*sizes) for sizes in zip(grid, outs, kernel, stride, padding)]
    lengths, steps, tap_steps, runs = zip(*axes)
    pairs = [tuple(zip(*run)) for run in itertools.product(*runs)]
    filled = len(pairs) == 1 and pairs[0][0] == tuple(slice(0, length) for length in lengths)
    return lengths, steps, tap_steps, pairs, pairs[0][1] if filled else None


def _along_axis(n, outs, k, s, p):
    """On one axis: a run of neighbours, or what each tap sees where the stride leaves cells out."""
    first, stop = outs
    if s <= k:
        start, end = s * first - p, s * (stop - 1) - p + k
        low, high = min(max(start, 0), n), max(min(end, n), 0)
        return (
            end - start,
            s,
            1,
            [(slice(low - start, max(low, high) - start), slice(low, max(low, high)))],
        )
    runs = []
    for i in range(k):
        if found := seen_by(i, n, outs, s, p):
            at = i * (stop - first) - first
            runs.append((slice(at + found[0].start, at + found[0].stop), found[1]))
    return k * (stop - first), 1, stop - first, runs


def windows(x, block, kernel, steps, tap_steps):
    """The windows of a block of outputs, a view of what `seen` found for it.

    ->   (b, t, h, w, kt, kh, kw, ...)
    """
    grid, move = tuple(at.stop - at.start for at in block[1:]), x.strides[1:4]
    return array_module(x).lib.stride_tricks.as_strided(
        x,
        (x.shape[0], *grid, *kernel, *x.shape[4:]),
        (x.strides[0], *_times(move, steps), *_times(move, tap_steps), *x.strides[4:]),
    )


def _times(strides, steps):
    return tuple(bytes_ * step for bytes_, step in zip(strides, steps))


def grid_blocks(y, work=1, width=None, grid=None):
    """Blocks of clips and rows of a grid (B, T, H, W, ...): all frames, full width, little overlap.

    work    numbers read for each one made
    width   numbers at each place of the grid of the widest array in use, by default of y
    grid    how many places on each axis, by default those of y
    """
    t, h, w = grid or y.shape[1:4]
    numbers, places = math.prod(y.shape[4:]), t * w
    pieces = tiles.blocks(y, (y.shape[0], h), places * (width or numbers), places * numbers * work)
    return [(clips, slice(0, t), rows, slice(0, w)) for clips, rows in pieces]
