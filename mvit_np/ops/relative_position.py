"""Decomposed relative positions (MViTv2, Sec. 4.1), folded into the product of queries and keys.

The logit of query i and key j gains  q_i . R_h[h(i) - h(j)] + q_i . R_w[w(i) - w(j)] + q_i . R_t[t(i) - t(j)].
On an axis of k key places, q_i . R[i - j] takes only k values a query. So each query gets k more columns that hold them,
each key a one-hot row that picks its own, and the bias comes out of Q K' itself.

`grids` is ((axis, query thw, key thw), ...) with axis 0, 1, 2 for t, h, w, one entry for each table.
"""

import math

from .. import tiles
from ..autodiff import op
from ..backend import array_module
from ..interpolation import linear_matrix


@op
def relative_query(q, scale, grids, *tables):
    """Append the bias columns to each query.   q: (B, [1 +] T H W, h, d)   tables: (L, d) each   ->   (B, N, h, d + M)

    scale is the attention's: the columns are divided by it, because the bias is added unscaled (in all released code).
    The class token's row gets no bias. With c[i, j] = q_i . r[i, j]:  dq_i = sum_j dc[i, j] r[i, j],  dr[i, j] = dc[i, j] q_i.
    """
    xp = array_module(q)
    width, cls = q.shape[3], q.shape[1] - math.prod(grids[0][1])
    grid = q[:, cls:].reshape(q.shape[0], *grids[0][1], *q.shape[2:])
    axes = [axis for axis, _, _ in grids]
    picks = [_selection(table, thw_q[axis], thw_kv[axis]) for (axis, thw_q, thw_kv), table in zip(grids, tables)]
    rows = [xp.tensordot(pick, table, 1) for pick, table in zip(picks, tables)]
    columns = [slice(end - r.shape[1], end) for end, r in zip(_ends(width, rows), rows)]

    y = xp.empty((*q.shape[:3], columns[-1].stop), dtype=q.dtype)
    y[..., :width] = q
    y[:, :cls, :, width:] = 0
    for axis, r, at in zip(axes, rows, columns):
        bias = _products(_lines(grid, axis), r.swapaxes(1, 2))
        bias *= 1 / scale
        y[:, cls:, :, at] = _unlined(bias, axis, grid.shape).reshape(*q[:, cls:].shape[:3], -1)

    def backward(dy):
        dq, d_tables = dy[..., :width].copy(), []
        d_grid = dy[:, cls:, :, width:].reshape(*grid.shape[:-1], -1)
        for axis, r, at, pick in zip(axes, rows, columns, picks):
            d_bias = _lines(d_grid[..., at.start - width : at.stop - width], axis) * (1 / scale)
            dq[:, cls:] += _unlined(_products(d_bias, r), axis, grid.shape).reshape(q[:, cls:].shape)
            d_rows = _products(d_bias.swapaxes(1, 2), _lines(grid, axis))
            d_tables.append(xp.tensordot(pick.transpose(2, 0, 1), d_rows, 2))
        return dq, None, None, *d_tables

    return y, backward


def _lines(grid, axis):
    """(B, T, H, W, h, d) -> (places on the axis, all others, d)"""
    lines = array_module(grid).moveaxis(grid, 1 + axis, 0)
    return lines.reshape(lines.shape[0], -1, lines.shape[-1])


def _unlined(lines, axis, shape):
    """The way back, to (B, T, H, W, h, last of lines)."""
    rest = (*shape[: 1 + axis], *shape[2 + axis : -1])
    return array_module(lines).moveaxis(lines.reshape(shape[1 + axis], *rest, -1), 0, 1 + axis)


def _products(a, b):
    """A matrix product for each place.   (n, I, J), (n, J, K) -> (n, I, K)"""
    y = array_module(a).empty((*a.shape[:2], b.shape[2]), dtype=a.dtype)
    work = math.prod(a.shape[1:]) * b.shape[2] // tiles.PRODUCT
    tiles.run(lambda at: array_module(a).matmul(a[at], b[at], out=y[at]), tiles.rows(a, math.prod(a.shape[1:]), work))
    return y


@op
def relative_key(k, grids):
    """Append to each key the one-hot row that picks its columns.   k: (B, [1 +] T H W, h, d)   ->   (B, N, h, d + M)"""
    xp = array_module(k)
    width, thw = k.shape[3], grids[0][2]
    cls = k.shape[1] - math.prod(thw)
    hot = [_one_hot(xp, thw, axis, k.dtype) for axis, _, _ in grids]
    y = xp.zeros((*k.shape[:3], width + sum(h.shape[1] for h in hot)), dtype=k.dtype)
    y[..., :width] = k
    y[:, cls:, :, width:] = xp.concatenate(hot, axis=1)[:, None]

    def backward(dy):
        return dy[..., :width], None

    return y, backward


def relative_index(xp, q_size, k_size):
    """Row of the table for each (query, key) pair of one axis: (q_size, k_size), whole numbers as float32.

    Distances count in the finer of the two grids, in float32 and in SlowFast's order of operations: where the sizes are no
    multiples of each other the rounding decides the row, and another order, or float64, picks other rows.
    """
    q_ratio, k_ratio = max(k_size / q_size, 1.0), max(q_size / k_size, 1.0)
    q_place = xp.arange(q_size, dtype="float32")[:, None] * q_ratio
    k_place = xp.arange(k_size, dtype="float32")[None] * k_ratio
    return xp.trunc((q_place - k_place) + (k_size - 1) * k_ratio)  # not floor: rounding can leave a 0 just below 0


def _selection(table, q_size, k_size):
    """(q_size, k_size, L): picks each pair's table row, interpolating where the table is not 2 max(q, k) - 1 long."""
    xp = array_module(table)
    needed = 2 * max(q_size, k_size) - 1
    pick = relative_index(xp, q_size, k_size)[..., None] == xp.arange(needed)
    if needed != table.shape[0]:
        pick = xp.tensordot(pick.astype(table.dtype), linear_matrix(xp, table.shape[0], needed).astype(table.dtype), 1)
    return pick.astype(table.dtype)


def _one_hot(xp, thw, axis, dtype):
    """(T H W, length of the axis): 1 where the token lies at that place of the axis."""
    shape = [1, 1, 1, thw[axis]]
    shape[axis] = thw[axis]
    same = xp.arange(thw[axis]).reshape(shape[:3] + [1]) == xp.arange(thw[axis])
    return xp.broadcast_to(same, (*thw, thw[axis])).reshape(-1, thw[axis]).astype(dtype)


def _ends(start, rows):
    for r in rows:
        start += r.shape[1]
        yield start
