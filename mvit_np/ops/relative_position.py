"""Decomposed relative positions (MViTv2, Sec. 4.1), folded into the product of queries and keys.

The logit of query i and key j gains

    q_i . R_h[h(i) - h(j)] + q_i . R_w[w(i) - w(j)] + q_i . R_t[t(i) - t(j)]

On an axis with k keys, q_i . R[i - j] takes only k values per query. So each query gets k more
columns that hold them, each key a one-hot row that picks its own, and the bias comes out of Q K'
itself.

`grids` is ((axis, query thw, key thw), ...), one for each table, with axis 0, 1, 2 for t, h, w.
"""

import math

from ..autodiff.tape import op
from ..backend.arrays import array_module
from ..backend.types import Array, Grids
from .interpolation import linear_matrix


@op
def relative_query(q: Array, scale: float, grids: Grids, *tables: Array):
    """Append the bias columns to each query.

    q: (B, [1 +] T H W, h, d)   tables: (L, d) each   ->   (B, N, h, d + M)

    scale is the attention's: the columns are divided by it, because the bias is added unscaled (in
    all released code). The class token's row gets no bias. With c[i, j] = q_i . r[i, j]:
    dq_i = sum_j dc[i, j] r[i, j],  dr[i, j] = sum over the queries at i of dc[i, j] q_i.
    """
    xp, d, thw = array_module(q), q.shape[3], grids[0][1]
    cls = q.shape[1] - math.prod(thw)
    on_grid = q[:, cls:].reshape(q.shape[0], *thw, *q.shape[2:])  # (B, T, H, W, h, d)
    letters = ["thw"[axis] for axis, _, _ in grids]  # n: a head, k: a key's index on the axis
    sizes = [(thw_q[axis], thw_kv[axis]) for axis, thw_q, thw_kv in grids]
    picks = [selection(xp, q.dtype, len(table), *some) for table, some in zip(tables, sizes)]
    rows = [xp.tensordot(pick, table, 1) * (1 / scale) for pick, table in zip(picks, tables)]

    bias = [xp.einsum(f"bthwnd,{i}kd->bthwnk", on_grid, r) for i, r in zip(letters, rows)]
    y = xp.zeros((*q.shape[:3], d + sum(c.shape[-1] for c in bias)), dtype=q.dtype)
    y[..., :d] = q
    y[:, cls:, :, d:] = xp.concatenate(bias, axis=-1).reshape(*y[:, cls:].shape[:3], -1)

    def backward(dy):
        dq, d_tables, end = dy[..., :d].copy(), [], d
        for i, r, pick in zip(letters, rows, picks):
            start, end = end, end + r.shape[1]
            dc = dy[:, cls:, :, start:end].reshape(*on_grid.shape[:5], -1)
            dq[:, cls:] += xp.einsum(f"bthwnk,{i}kd->bthwnd", dc, r).reshape(dq[:, cls:].shape)
            dr = xp.einsum(f"bthwnk,bthwnd->{i}kd", dc, on_grid)
            d_tables.append(xp.tensordot(pick, dr, ((0, 1), (0, 1))) * (1 / scale))
        return dq, None, None, *d_tables

    return y, backward


@op
def relative_key(k: Array, grids: Grids):
    """Append to each key the one-hot row that picks its columns.

    k: (B, [1 +] T H W, h, d)   ->   (B, N, h, d + M)
    """
    xp, d = array_module(k), k.shape[3]
    axes = tuple(axis for axis, _, _ in grids)
    hot = one_hot_rows(xp, str(k.dtype), k.shape[1], grids[0][2], axes)
    y = xp.empty((*k.shape[:3], d + hot.shape[2]), dtype=k.dtype)
    y[..., :d] = k
    y[..., d:] = hot

    def backward(dy):
        return dy[..., :d], None

    return y, backward


def relative_index(xp, q_size, k_size):
    """Table row of each (query, key) pair of an axis: (q_size, k_size), whole numbers as float32.

    Distances count in the finer of the two grids, in float32 and in SlowFast's order of operations:
    where the sizes are no multiples of each other the rounding decides the row, and another order,
    or float64, picks other rows.
    """
    q_ratio, k_ratio = max(k_size / q_size, 1.0), max(q_size / k_size, 1.0)
    q_coords = xp.arange(q_size, dtype="float32")[:, None] * q_ratio
    k_coords = xp.arange(k_size, dtype="float32")[None] * k_ratio
    # not floor: rounding can leave a 0 just below 0
    return xp.trunc((q_coords - k_coords) + (k_size - 1) * k_ratio)


def selection(xp, dtype, length, q_size, k_size):
    """(q_size, k_size, L): picks each pair's row, interpolated where L is not 2 max(q, k) - 1."""
    needed = 2 * max(q_size, k_size) - 1
    same = needed == length
    rows = xp.eye(length, dtype=dtype) if same else linear_matrix(xp, length, needed).astype(dtype)
    return rows[relative_index(xp, q_size, k_size).astype("int64")]


def one_hot_rows(xp, dtype, tokens, thw, axes):
    """All keys' one-hot rows, of zeros for the class token.   (N, 1, M)"""
    hot = xp.concatenate([_one_hot(xp, thw, axis, dtype) for axis in axes], axis=1)
    rows = xp.zeros((tokens, 1, hot.shape[1]), dtype=dtype)
    rows[tokens - hot.shape[0] :, 0] = hot
    return rows


def _one_hot(xp, thw, axis, dtype):
    """(T H W, length of the axis): 1 at the index where the token lies on the axis."""
    shape = [1, 1, 1, thw[axis]]
    shape[axis] = thw[axis]
    same = xp.arange(thw[axis]).reshape(shape[:3] + [1]) == xp.arange(thw[axis])
    return xp.broadcast_to(same, (*thw, thw[axis])).reshape(-1, thw[axis]).astype(dtype)
