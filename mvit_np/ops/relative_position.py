"""Decomposed relative positions (MViTv2, Sec. 4.1), folded into the product of queries and keys.

The logit of query i and key j gains  q_i . R_h[h(i) - h(j)] + q_i . R_w[w(i) - w(j)] + q_i . R_t[t(i) - t(j)].
On an axis of k key places, q_i . R[i - j] takes only k values a query. So each query gets k more columns that hold them,
each key a one-hot row that picks its own, and the bias comes out of Q K' itself.

`grids` is ((axis, query thw, key thw), ...) with axis 0, 1, 2 for t, h, w, one entry for each table.
"""

import functools
import itertools
import math

from ..autodiff.tape import op
from ..backend import tiles
from ..backend.arrays import array_module, device_tools
from ..backend.cuda.kernels import relative_position as fused
from ..backend.matmul import matmul, operand
from .interpolation import linear_matrix


@op
def relative_query(q, scale, grids, *tables):
    """Append the bias columns to each query.   q: (B, [1 +] T H W, h, d)   tables: (L, d) each   ->   (B, N, h, d + M)

    scale is the attention's: the columns are divided by it, because the bias is added unscaled (in all released code).
    The class token's row gets no bias. With c[i, j] = q_i . r[i, j]:  dq_i = sum_j dc[i, j] r[i, j],  dr[i, j] = dc[i, j] q_i.
    """
    if device_tools(q):
        return _fused(q, scale, grids, tables)
    xp = array_module(q)
    width, thw = q.shape[3], grids[0][1]
    cls, axes = q.shape[1] - math.prod(thw), [axis for axis, _, _ in grids]
    sizes = [(table.shape[0], thw_q[axis], thw_kv[axis]) for (axis, thw_q, thw_kv), table in zip(grids, tables)]
    picks = [_selection(xp, q.dtype, *some) for some in sizes]
    rows = [xp.tensordot(pick, table * (1 / scale), 1) for pick, table in zip(picks, tables)]
    columns = [slice(end - r.shape[1], end) for end, r in zip(_ends(width, rows), rows)]

    y = xp.empty((*q.shape[:3], columns[-1].stop), dtype=q.dtype)
    tiles.run(lambda at: xp.copyto(y[at][..., :width], q[at]), tiles.blocks(q, q.shape[:2], math.prod(q.shape[2:])))
    y[:, :cls, :, width:] = 0
    for axis, r, at in zip(axes, rows, columns):
        _products(_lines(q[:, cls:], thw, axis), r.swapaxes(1, 2), _lines(y[:, cls:], thw, axis)[..., at])

    def backward(dy):
        dq, d_tables = dy[..., :width].copy(), []
        for axis, r, at, pick in zip(axes, rows, columns, picks):
            d_bias, lines = _lines(dy[:, cls:], thw, axis)[..., at], _lines(q[:, cls:], thw, axis)
            _products(d_bias, r, _lines(dq[:, cls:], thw, axis), add=True)
            d_rows = xp.empty((*lines.shape[:3], *r.shape[1:]), dtype=q.dtype)
            _products(d_bias.swapaxes(3, 4), lines, d_rows)
            d_tables.append(xp.tensordot(pick, d_rows.sum(axis=(0, 1)), ((0, 1), (0, 1))) * (1 / scale))
        return dq, None, None, *d_tables

    return y, backward


def _fused(q, scale, grids, tables):
    """The same on a device: one product takes the rows of all tables, and one gives them their gradients."""
    xp, lengths = array_module(q), [table.shape[0] for table in tables]
    q = xp.ascontiguousarray(q)
    axes = tuple((thw_q[axis], thw_kv[axis], length) for (axis, thw_q, thw_kv), length in zip(grids, lengths))
    pick = _constant(_picks, q, axes, scale)
    rows = matmul(pick, xp.concatenate(tables), exact=True)
    parts = [slice(end - n, end) for n, end in zip(lengths, itertools.accumulate(lengths))]

    def backward(dy):
        dq, d_rows = fused.relative_query_backward(q, rows, xp.ascontiguousarray(dy), grids)
        d_tables = matmul(pick.T, d_rows, exact=True)
        return dq, None, None, *(d_tables[part] for part in parts)

    return fused.relative_query(q, rows, grids), backward


def _lines(x, thw, axis):
    """All queries that share a place on the axis as rows, a view.   (B, T H W, h, d)   ->   (B, other, places, rows, d)

    The rows are what comes after the axis, (W, h) for H, or before it, (T, H) for W, whichever are more: they lie evenly.
    """
    before, after = math.prod(thw[:axis]), math.prod(thw[axis + 1 :]) * x.shape[2]
    lines = x.reshape(x.shape[0], before, thw[axis], after, x.shape[3])
    return lines if after >= before else lines.swapaxes(1, 3)


def _products(a, b, out, add=False):
    """out = a b, or out += a b, some places at a time.   a: (B, other, places, I, J)   b: the same (J, K), or (places, J, K)"""
    a, b = operand(a), array_module(a).broadcast_to(operand(b), (*a.shape[:3], *b.shape[-2:]))

    def tile(at):
        matmul(a[at], b[at], out=out[at], add=add)

    width = math.prod(a.shape[3:])
    tiles.run(tile, tiles.blocks(a, a.shape[:3], width, width * b.shape[4] // tiles.PRODUCT))


@op
def relative_key(k, grids):
    """Append to each key the one-hot row that picks its columns.   k: (B, [1 +] T H W, h, d)   ->   (B, N, h, d + M)"""
    xp, width = array_module(k), k.shape[3]
    hot = _constant(_hot_rows, k, k.shape[1], grids[0][2], tuple(axis for axis, _, _ in grids))
    y = xp.empty((*k.shape[:3], width + hot.shape[2]), dtype=k.dtype)
    y[..., :width] = k
    y[..., width:] = hot

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


def _selection(xp, dtype, length, q_size, k_size):
    """(q_size, k_size, L): picks each pair's table row, interpolating where the table is not 2 max(q, k) - 1 long."""
    needed = 2 * max(q_size, k_size) - 1
    rows = xp.eye(length, dtype=dtype) if needed == length else linear_matrix(xp, length, needed).astype(dtype)
    return rows[relative_index(xp, q_size, k_size).astype("int64")]


def _picks(xp, dtype, axes, scale):
    """What the picked rows of all axes, one axis after the other, take of all tables' rows, over the scale.

    axes    (query places, key places, length of the table) of each   ->   (sum of queries x keys, sum of lengths)
    """
    pick, row, column = xp.zeros((sum(q * k for q, k, _ in axes), sum(n for _, _, n in axes)), dtype=dtype), 0, 0
    for q, k, n in axes:
        pick[row : row + q * k, column : column + n] = _selection(xp, dtype, n, q, k).reshape(-1, n)
        row, column = row + q * k, column + n
    return pick * (1 / scale)


def _hot_rows(xp, dtype, tokens, thw, axes):
    """All keys' one-hot rows, of zeros for the class token.   (N, 1, M)"""
    hot = xp.concatenate([_one_hot(xp, thw, axis, dtype) for axis in axes], axis=1)
    rows = xp.zeros((tokens, 1, hot.shape[1]), dtype=dtype)
    rows[tokens - hot.shape[0] :, 0] = hot
    return rows


def _one_hot(xp, thw, axis, dtype):
    """(T H W, length of the axis): 1 where the token lies at that place of the axis."""
    shape = [1, 1, 1, thw[axis]]
    shape[axis] = thw[axis]
    same = xp.arange(thw[axis]).reshape(shape[:3] + [1]) == xp.arange(thw[axis])
    return xp.broadcast_to(same, (*thw, thw[axis])).reshape(-1, thw[axis]).astype(dtype)


def _constant(make, like, *sizes):
    """make(library, dtype, *sizes) where the array `like` lives. On a device it is made once."""
    xp, dtype = array_module(like), str(like.dtype)
    if device_tools(like) is None:
        return make(xp, dtype, *sizes)
    return _kept(make, xp, getattr(getattr(like, "device", None), "id", None), dtype, *sizes)


@functools.cache  # without an end: a graph that was recorded goes on reading them
def _kept(make, xp, device, dtype, *sizes):
    return make(xp, dtype, *sizes)


def _ends(start, rows):
    for r in rows:
        start += r.shape[1]
        yield start
