"""Depthwise convolution: the learned pooling P of "conv" models, one small filter a channel, shared by all heads."""

import itertools
import math

from .. import tiles
from ..autodiff import op
from ..backend import array_module
from .windows import out_grid, seen


@op
def depthwise_conv(x, w, stride, padding):
    """Slide one filter per channel.   x: (B, T, H, W, heads, d)   w: (kt, kh, kw, d)   ->   (B, t, h, w, heads, d)

    y[o] = sum over the kernel's taps i of w[i] x[s o + i - p], so  dw[i] = sum over o of x[s o + i - p] dy[o],
    and dx[c] = sum over the taps that fall on c. Cells s apart are seen by the same taps, so each of the s^3 classes of
    cells is a convolution of dy, with stride 1, by every s-th tap in reverse order.
    """
    xp, kernel, heads = array_module(x), w.shape[:3], x.shape[4]
    flat = x.reshape(*x.shape[:4], -1)  # all heads' channels side by side: one long inner loop
    filters = xp.concatenate([w] * heads, axis=3) if heads > 1 else w
    y = xp.empty((x.shape[0], *out_grid(x.shape[1:4], kernel, stride, padding), flat.shape[4]), dtype=x.dtype)
    pieces = grid_blocks(y, math.prod(kernel))

    def tile(at):
        y[at] = _filtered(seen(flat, at, kernel, stride, padding), filters)

    tiles.run(tile, pieces)

    def backward(dy):
        dy = dy.reshape(y_shape)

        def tile(at, dw):
            dw += xp.einsum("bthwijkd,bthwd->ijkd", seen(flat, at, kernel, stride, padding), dy[at])

        (dw,) = tiles.total(tile, pieces, (filters,))
        dx = xp.zeros(flat.shape, dtype=x.dtype)
        for first in itertools.product(*(range(min(k, s)) for k, s in zip(kernel, stride))):
            _spread(dx, dy, filters, first, stride, padding)
        return dx.reshape(x.shape), dw.reshape(*kernel, heads, -1).sum(axis=3), None, None

    y_shape = y.shape
    return y.reshape(*y_shape[:4], *x.shape[4:]), backward


def _spread(dx, dy, w, first, stride, padding):
    """Fill the class of cells of dx that the taps first, first + s, first + 2 s, ... fall on."""
    taps = w[tuple(slice(i, None, s) for i, s in zip(first, stride))][::-1, ::-1, ::-1]
    kernel = taps.shape[:3]
    before = [-(-(p - i) // s) for i, s, p in zip(first, stride, padding)]  # s u + first - p is in the grid from this u on
    cells = (slice(s * u + i - p, None, s) for u, i, s, p in zip(before, first, stride, padding))
    target, reach = dx[(slice(None), *cells)], tuple(k - 1 for k in kernel)

    def tile(at):
        outs = [slice(u + a.start, u + a.stop) for u, a in zip(before, at[1:])]
        target[at] = _filtered(seen(dy, (at[0], *outs), kernel, (1, 1, 1), reach), taps)

    tiles.run(tile, grid_blocks(target, math.prod(kernel)))


def _filtered(cells, w):
    """(b, t, h, w, kt, kh, kw, d) windows times (kt, kh, kw, d) weights, summed over the taps."""
    return array_module(w).einsum("bthwijkd,ijkd->bthwd", cells, w)


def grid_blocks(y, work=1):
    """Blocks of clips and rows of a grid (B, T, H, W, ...), all frames and full width, so that few windows overlap two.

    work   numbers read for each one made
    """
    b, t, h, w = y.shape[:4]
    width = t * math.prod(y.shape[3:])
    pieces = tiles.blocks(y, (b, h), width, width * work)
    return [(clips, slice(0, t), rows, slice(0, w)) for clips, rows in pieces]
