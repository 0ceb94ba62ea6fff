"""The depthwise convolution in tiles, with long inner loops over windows, clips and channels.

Backwards: cells s apart are seen by the same taps, so each of the s^3 classes of cells is a
convolution of dy, with stride 1, by every s-th tap in reverse order.
"""

import functools
import itertools
import math

import numpy as np

from ...autodiff.versions import fast
from ...backend import tiles
from ...backend.arrays import array_module
from ..depthwise_conv import depthwise_conv as definition
from ..windows import out_grid
from .windows import grid_blocks, seen, seen_by

LINE = 1536  # numbers of an inner loop at most: as many of the filters' are to stay in the cache
ONES, ZEROS = (1, 1, 1), (0, 0, 0)


@fast(definition, on="numpy")
def depthwise_conv(x, w, stride, padding):
    """As `ops.depthwise_conv`."""
    xp, kernel = array_module(x), w.shape[:3]
    flat = x.reshape(*x.shape[:4], -1)  # all heads' channels side by side
    grid = out_grid(x.shape[1:4], kernel, stride, padding)
    y = xp.empty((x.shape[0], *grid, flat.shape[4]), dtype=x.dtype)
    pieces, shape = grid_blocks(y, math.prod(kernel)), y.shape

    def tile(at):
        cells, *steps = _cells(flat, at, kernel, stride, padding)
        _filter(cells, w, y[at], *steps)

    tiles.run(tile, pieces)

    def backward(dy):
        dy = dy.reshape(shape)

        def tile(at):
            cells, *steps = _cells(flat, at, kernel, stride, padding)
            lines = _lines(cells, kernel, dy[at].shape[1:4], *steps, longest=LINE // 4)
            d_lines = _clips_last(dy[at]).reshape(*lines.shape[:3], -1)
            part = xp.einsum("thgijkx,thgx->ijkx", lines, d_lines)
            return (part.reshape(*kernel, -1, w.shape[3]).sum(axis=3),)

        dx = _spread(dy, w, flat.shape, stride, padding)
        return dx.reshape(x.shape), *tiles.total(tile, pieces, (w,)), None, None

    return y.reshape(*shape[:4], *x.shape[4:]), backward


def _spread(dy, w, shape, stride, padding):
    """dx: the cells s u + i - p of all u form a class, on which the taps i, i + s, ... fall, i < s.

    dy: (B, t, h, w, C)   w: (kt, kh, kw, d)   ->   `shape`, (B, T, H, W, C)
    """
    dx = array_module(dy).zeros(shape, dtype=dy.dtype)
    axes = [_classes(*sizes) for sizes in zip(shape[1:4], w.shape, stride, padding)]
    most = tuple(max(count for _, count, _ in classes) for classes in axes)
    first = [min(us.start for *_, us in classes) for classes in axes]
    grid = [max(us.stop for *_, us in classes) - u for classes, u in zip(axes, first)]

    def tile(at):
        block = [slice(u + a.start, u + a.stop) for u, a in zip(first, at[1:])]
        cells = _cells(dy, (at[0], *block), most, ONES, tuple(count - 1 for count in most))[0]
        for chosen in itertools.product(*axes):
            along = [_part(*sizes) for sizes in zip(block, chosen, most, stride, padding)]
            into, read, taps = (tuple(slices) for slices in zip(*along))
            out = dx[(at[0], *into)]
            if out.size:
                _filter(cells, w[taps][::-1, ::-1, ::-1], out, first=read)

    tiles.run(tile, grid_blocks(dx, math.prod(most), grid=grid))
    return dx


def _classes(size, k, s, p):
    """Of one axis: each class's first tap, how many taps, and the u whose cells lie in the grid."""
    found = [seen_by(i, size, (-math.inf, math.inf), s, p) for i in range(min(k, s))]
    us = [seen[0] if seen else slice(0, 0) for seen in found]
    return [(i, len(range(i, k, s)), some) for i, some in enumerate(us)]


def _part(block, chosen, most, s, p):
    """Of one axis: a class's cells in dx, what its windows see of a block of u, and its taps."""
    i, count, us = chosen
    start, stop = max(block.start, us.start), min(block.stop, us.stop)
    into = slice(s * start + i - p, max(s * stop + i - p, 0), s)
    return into, start - block.start + most - count, slice(i, None, s)


def _filter(cells, w, out, steps=ONES, tap_steps=ONES, first=ZEROS):
    """A block of the convolution, into `out`.

    cells: see `_cells`   w: (kt, kh, kw, d)   out: (b, t, h, w, C)
    """
    lines = _lines(cells, w.shape[:3], out.shape[1:4], steps, tap_steps, first)
    xp = array_module(cells)
    y = xp.einsum("thgijkx,ijkx->thgx", lines, xp.tile(w, lines.shape[-1] // w.shape[3]))
    out[...] = y.reshape(*out.shape[1:4], out.shape[0], -1).transpose(3, 0, 1, 2, 4)


def _cells(x, block, kernel, stride, padding):
    """What a block's windows look at, clips beside channels, and the steps of windows and of taps.

    x: (B, T, H, W, C)   ->   (t, h, w, b C), steps, tap steps
    """
    clips_inside = x[block[0]].transpose(1, 2, 3, 0, 4)[None]
    cells, steps, tap_steps = seen(clips_inside, (slice(0, 1), *block[1:]), kernel, stride, padding)
    return (
        array_module(x).ascontiguousarray(cells[0]).reshape(*cells.shape[1:4], -1),
        steps,
        tap_steps,
    )


def _lines(cells, kernel, grid, steps, tap_steps, first=ZEROS, longest=LINE):
    """Windows, for long inner loops: u side by side where the cells they see are neighbours.

    cells: (t, h, w, b C)   ->   (t, h, w / u, kt, kh, kw, u b C)
    """
    length = cells.shape[3]
    u = _in_a_line(grid[2], longest // length) if steps[2] == 1 else 1
    strides = [a * b for a, b in zip(cells.strides[:3] * 2, (*steps[:2], u * steps[2], *tap_steps))]
    shape = (*grid[:2], grid[2] // u, *kernel, u * length)
    offset = sum(a * b for a, b in zip(first, cells.strides))
    # as `as_strided`, which takes ten times as long
    return np.ndarray(shape, cells.dtype, cells, offset, (*strides, cells.strides[3]))


@functools.cache
def _in_a_line(windows, most):
    """The largest divisor of a number of windows that is at most `most`."""
    return max(u for u in range(1, windows + 1) if windows % u == 0 and (u == 1 or u <= most))


def _clips_last(x):
    """(b, t, h, w, C) -> (t, h, w, b C)"""
    return x.transpose(1, 2, 3, 0, 4).reshape(*x.shape[1:4], -1)
