"""Depthwise convolution: the learned pooling P of "conv" models, one small filter a channel, shared by all heads."""

import itertools
import math

from .. import tiles
from ..autodiff import op
from ..backend import array_module
from .windows import out_grid, seen, windows

LINE = 1536  # numbers in an inner loop at most, so that the filters, as often as there are channels in it, stay in the cache


@op
def depthwise_conv(x, w, stride, padding):
    """Slide one filter per channel.   x: (B, T, H, W, heads, d)   w: (kt, kh, kw, d)   ->   (B, t, h, w, heads, d)

    y[o] = sum over the kernel's taps i of w[i] x[s o + i - p], so  dw[i] = sum over o of x[s o + i - p] dy[o],
    and dx[c] = sum over the taps that fall on c. Cells s apart are seen by the same taps, so each of the s^3 classes of
    cells is a convolution of dy, with stride 1, by every s-th tap in reverse order.
    """
    xp, kernel = array_module(x), w.shape[:3]
    flat = x.reshape(*x.shape[:4], -1)  # all heads' channels side by side
    y = xp.empty((x.shape[0], *out_grid(x.shape[1:4], kernel, stride, padding), flat.shape[4]), dtype=x.dtype)
    pieces, shape = grid_blocks(y, math.prod(kernel)), y.shape

    def tile(at):
        y[at] = _filtered(flat, at, w, stride, padding)

    tiles.run(tile, pieces)

    def backward(dy):
        dy = dy.reshape(shape)

        def tile(at, dw):
            lines = _lines(flat, at, kernel, stride, padding, LINE // 4)
            part = xp.einsum("thgijkx,thgx->ijkx", lines, _clips_last(dy[at]).reshape(*lines.shape[:3], -1))
            dw += part.reshape(*kernel, -1, w.shape[3]).sum(axis=3)

        dx = xp.zeros(flat.shape, dtype=x.dtype)
        for first in itertools.product(*(range(min(k, s)) for k, s in zip(kernel, stride))):
            _spread(dx, dy, w, first, stride, padding)
        return dx.reshape(x.shape), *tiles.total(tile, pieces, (w,)), None, None

    return y.reshape(*shape[:4], *x.shape[4:]), backward


def _spread(dx, dy, w, first, stride, padding):
    """Fill the class of cells of dx that the taps first, first + s, first + 2 s, ... fall on."""
    taps = w[tuple(slice(i, None, s) for i, s in zip(first, stride))][::-1, ::-1, ::-1]
    before = [-(-(p - i) // s) for i, s, p in zip(first, stride, padding)]  # s u + first - p is in the grid from this u on
    cells = (slice(s * u + i - p, None, s) for u, i, s, p in zip(before, first, stride, padding))
    target, reach = dx[(slice(None), *cells)], tuple(k - 1 for k in taps.shape[:3])
    if not target.size:
        return

    def tile(at):
        outs = [slice(u + a.start, u + a.stop) for u, a in zip(before, at[1:])]
        target[at] = _filtered(dy, (at[0], *outs), taps, (1, 1, 1), reach)

    tiles.run(tile, grid_blocks(target, math.prod(taps.shape[:3])))


def _filtered(x, block, w, stride, padding):
    """A block of the convolution.   x: (B, T, H, W, C)   w: (kt, kh, kw, d), for each d channels of C   ->   (b, t, h, w, C)"""
    xp, lines = array_module(x), _lines(x, block, w.shape[:3], stride, padding)
    filters = xp.tile(w, lines.shape[-1] // w.shape[3])
    y = xp.einsum("thgijkx,ijkx->thgx", lines, filters)
    return xp.moveaxis(y.reshape(*y.shape[:2], block[3].stop - block[3].start, -1, x.shape[4]), 3, 0)


def _lines(x, block, kernel, stride, padding, longest=LINE):
    """Windows, for long inner loops: the clips beside the channels, and where the cells they see are neighbours u windows too.

    x: (B, T, H, W, C)   ->   (t, h, w / u, kt, kh, kw, u b C)
    """
    xp, out_w = array_module(x), block[3].stop - block[3].start
    clips_inside = xp.moveaxis(x[block[0]], 0, 3)
    block = (slice(0, 1), *block[1:])
    cells, steps, tap_steps = seen(clips_inside[None], block, kernel, stride, padding)
    cells = xp.ascontiguousarray(cells).reshape(*cells.shape[:4], -1)
    each = windows(cells, block, kernel, steps, tap_steps)[0]
    length = each.shape[6]
    u = max(u for u in range(1, out_w + 1) if u == 1 or (steps[2] == 1 and out_w % u == 0 and u * length <= longest))
    shape = (*each.shape[:2], out_w // u, *kernel, u * length)
    return xp.lib.stride_tricks.as_strided(each, shape, (*each.strides[:2], u * each.strides[2], *each.strides[3:]))


def _clips_last(x):
    """(b, t, h, w, C) -> (t, h, w, b C)"""
    return array_module(x).moveaxis(x, 0, 3).reshape(*x.shape[1:4], -1)


def grid_blocks(y, work=1, width=None):
    """Blocks of clips and rows of a grid (B, T, H, W, ...), all frames and full width, so that few windows overlap two.

    work    numbers read for each one made
    width   numbers at each place of the grid of the widest array in use, by default of y
    """
    b, t, h, w = y.shape[:4]
    numbers, places = math.prod(y.shape[4:]), t * w
    pieces = tiles.blocks(y, (b, h), places * (width or numbers), places * numbers * work)
    return [(clips, slice(0, t), rows, slice(0, w)) for clips, rows in pieces]
