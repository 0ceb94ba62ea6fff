"""Relative positions as products of many rows: all queries with one place on an axis at once."""

import math

from ...autodiff.versions import fast
from ...backend import tiles
from ...backend.arrays import array_module
from ...backend.matmul import matmul, operand
from ..relative_position import relative_query as definition
from ..relative_position import selection


@fast(definition, on="numpy")
def relative_query(q, scale, grids, *tables):
    """As `ops.relative_query`."""
    xp = array_module(q)
    width, thw = q.shape[3], grids[0][1]
    cls, axes = q.shape[1] - math.prod(thw), [axis for axis, _, _ in grids]
    sizes = [(thw_q[axis], thw_kv[axis]) for axis, thw_q, thw_kv in grids]
    picks = [selection(xp, q.dtype, len(table), *some) for table, some in zip(tables, sizes)]
    rows = [xp.tensordot(pick, table * (1 / scale), 1) for pick, table in zip(picks, tables)]
    columns = [slice(end - r.shape[1], end) for end, r in zip(_ends(width, rows), rows)]

    y = xp.empty((*q.shape[:3], columns[-1].stop), dtype=q.dtype)
    pieces = tiles.blocks(q, q.shape[:2], math.prod(q.shape[2:]))
    tiles.run(lambda at: xp.copyto(y[at][..., :width], q[at]), pieces)
    y[:, :cls, :, width:] = 0
    for axis, r, at in zip(axes, rows, columns):
        lines, out = _lines(q[:, cls:], thw, axis), _lines(y[:, cls:], thw, axis)[..., at]
        _products(lines, r.swapaxes(1, 2), out)

    def backward(dy):
        dq, d_tables = dy[..., :width].copy(), []
        for axis, r, at, pick in zip(axes, rows, columns, picks):
            d_bias, lines = _lines(dy[:, cls:], thw, axis)[..., at], _lines(q[:, cls:], thw, axis)
            _products(d_bias, r, _lines(dq[:, cls:], thw, axis), add=True)
            d_rows = xp.empty((*lines.shape[:3], *r.shape[1:]), dtype=q.dtype)
            _products(d_bias.swapaxes(3, 4), lines, d_rows)
            d_table = xp.tensordot(pick, d_rows.sum(axis=(0, 1)), ((0, 1), (0, 1)))
            d_tables.append(d_table * (1 / scale))
        return dq, None, None, *d_tables

    return y, backward


def _lines(x, thw, axis):
    """All queries that share a place on the axis as rows, a view.

    (B, T H W, h, d)   ->   (B, other, places, rows, d)

    The rows are what comes after the axis, (W, h) for H, or before it, (T, H) for W, whichever are
    more, since these lie evenly.
    """
    before, after = math.prod(thw[:axis]), math.prod(thw[axis + 1 :]) * x.shape[2]
    lines = x.reshape(x.shape[0], before, thw[axis], after, x.shape[3])
    return lines if after >= before else lines.swapaxes(1, 3)


def _products(a, b, out, add=False):
    """out = a b, or out += a b, some places at a time.

    a: (B, other, places, I, J)   b: the same (J, K), or (places, J, K)
    """
    a, b = operand(a), array_module(a).broadcast_to(operand(b), (*a.shape[:3], *b.shape[-2:]))

    def tile(at):
        matmul(a[at], b[at], out=out[at], add=add)

    width = math.prod(a.shape[3:])
    tiles.run(tile, tiles.blocks(a, a.shape[:3], width, width * b.shape[4] // tiles.PRODUCT))


def _ends(start, rows):
    for r in rows:
        start += r.shape[1]
        yield start
