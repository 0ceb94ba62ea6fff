"""Depthwise convolution: the learned pooling P of "conv" models, one small filter a channel, shared by all heads."""

import itertools
import math

from .. import tiles
from ..autodiff import op
from ..backend import array_module
from .windows import cut, out_grid, seen, windows


@op
def depthwise_conv(x, w, stride, padding):
    """Slide one filter per channel.   x: (B, T, H, W, heads, d)   w: (kt, kh, kw, d)   ->   (B, t, h, w, heads, d)

    y[o] = sum over the kernel's taps i of w[i] x[s o + i - p], so  dw[i] = sum over o of x[s o + i - p] dy[o],
    and dx[c] = sum over the taps that fall on c. Cells s apart are seen by the same taps, so each of the s^3 classes of
    cells is a convolution of dy, with stride 1, by every s-th tap in reverse order.
    """
    xp, kernel = array_module(x), w.shape[:3]
    y = xp.empty((x.shape[0], *out_grid(x.shape[1:4], kernel, stride, padding), *x.shape[4:]), dtype=x.dtype)
    pieces = grid_blocks(y)

    def tile(at):
        y[at] = _filtered(seen(x, at, kernel, stride, padding), w)

    tiles.run(tile, pieces)

    def backward(dy):
        def tile(at, dw):
            dw += xp.einsum("bthwijkgd,bthwgd->ijkd", seen(x, at, kernel, stride, padding), dy[at])

        dx = xp.zeros(x.shape, dtype=x.dtype)
        for first in itertools.product(*map(range, stride)):
            _spread(dx, dy, w, first, stride, padding)
        return dx, *tiles.total(tile, pieces, (w,)), None, None

    return y, backward


def _spread(dx, dy, w, first, stride, padding):
    """Fill the class of cells of dx that the taps first, first + s, first + 2 s, ... see."""
    part = w[tuple(slice(i, None, s) for i, s in zip(first, stride))]
    cells = [_cells(n, i, s, p) for n, i, s, p in zip(dx.shape[1:4], first, stride, padding)]
    target = dx[(slice(None), *(slice(s * u + i - p, None, s) for (u, _), i, s, p in zip(cells, first, stride, padding)))]
    if 0 in part.shape or 0 in target.shape:
        return
    backwards = part[::-1, ::-1, ::-1]

    def tile(at):
        inner = [(u + a.start, u + a.stop) for (u, _), a in zip(cells, at[1:])]
        spans = [(a - k + 1, b) for (a, b), k in zip(inner, part.shape)]
        target[at] = _filtered(windows(cut(dy[at[0]], spans), part.shape[:3], (1, 1, 1)), backwards)

    tiles.run(tile, grid_blocks(target))


def _cells(n, first, stride, padding):
    """The range of u for which the cell s u + first - p lies in range(n)."""
    return -(-(padding - first) // stride), -(-(n + padding - first) // stride)


def _filtered(cells, w):
    """(b, t, h, w, kt, kh, kw, heads, d) windows times (kt, kh, kw, d) weights, summed over the taps."""
    return array_module(w).einsum("bthwijkgd,ijkd->bthwgd", cells, w)


def grid_blocks(y):
    """Blocks of clips, frames and rows of a grid (B, T, H, W, ...), in full width."""
    return [(*at, slice(0, y.shape[3])) for at in tiles.blocks(y, y.shape[:3], math.prod(y.shape[3:]))]
