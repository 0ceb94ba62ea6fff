"""The cube embedding as one product: the cubes laid out as rows, some at a time."""

import math

from ...autodiff.versions import fast
from ...backend import tiles
from ...backend.arrays import array_module
from ...backend.matmul import matmul, operand
from ..cube_conv import cube_conv as definition
from ..windows import inside, out_grid, padded, taps
from .linear import column_sums, plus
from .windows import grid_blocks, seen, windows


@fast(definition, on=("numpy", "device"))
def cube_conv(x, w, b, stride, padding):
    """As `ops.cube_conv`."""
    xp, kernel, width = array_module(x), w.shape[:3], w.shape[-1]
    matrix = operand(w.reshape(-1, width))
    grid = out_grid(x.shape[1:4], kernel, stride, padding)
    y = xp.empty((x.shape[0], *grid, width), dtype=x.dtype)
    pieces = grid_blocks(y, matrix.shape[0] // tiles.PRODUCT + 1, matrix.shape[0])

    def cubes(at):
        cells, steps, tap_steps = seen(x, at, kernel, stride, padding)
        return operand(windows(cells, at, kernel, steps, tap_steps).reshape(-1, matrix.shape[0]))

    def tile(at):
        part = xp.empty((math.prod(y[at].shape[:-1]), width), dtype=x.dtype)
        plus(part, cubes(at), matrix, b)
        y[at] = part.reshape(y[at].shape)

    tiles.run(tile, pieces)

    def backward(dy):
        def tile(at):
            rows = dy[at].reshape(-1, width)
            return matmul(cubes(at).T, operand(rows)), column_sums(rows)

        def dx():  # as a function: training does not ask for the clip's gradient
            d_cubes = matmul(operand(dy.reshape(-1, width)), matrix.T)
            d_cubes = d_cubes.reshape(*dy.shape[:4], *w.shape[:4])
            wide = padded(xp.zeros(x.shape, dtype=x.dtype), padding)
            for tap, cells in taps(kernel, stride, padding, grid):
                wide[cells] += d_cubes[(..., *tap, slice(None))]
            return wide[inside(padding)]

        dw, db = tiles.total(tile, pieces, (w.reshape(-1, width), b))
        return dx, dw.reshape(w.shape), db, None, None

    return y, backward
