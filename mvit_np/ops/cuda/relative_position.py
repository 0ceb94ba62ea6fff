"""Relative positions by kernels: one product for the rows of all tables, one for their gradients.

What depends on sizes alone is made once per device and kept.
"""

import functools
import itertools

from ...autodiff.versions import fast
from ...backend.arrays import array_module
from ...backend.cuda.kernels import relative_position as kernels
from ...backend.matmul import matmul
from .. import relative_position as definitions
from ..relative_position import one_hot_rows, selection


@fast(definitions.relative_query, on="device")
def relative_query(q, scale, grids, *tables):
    """As `ops.relative_query`."""
    xp, lengths = array_module(q), [table.shape[0] for table in tables]
    q = xp.ascontiguousarray(q)
    sizes = zip(grids, lengths)
    axes = tuple((thw_q[axis], thw_kv[axis], n) for (axis, thw_q, thw_kv), n in sizes)
    pick = _constant(_picks, q, axes, scale)
    rows = matmul(pick, xp.concatenate(tables), exact=True)
    parts = [slice(end - n, end) for n, end in zip(lengths, itertools.accumulate(lengths))]

    def backward(dy):
        dq, d_rows = kernels.relative_query_backward(q, rows, xp.ascontiguousarray(dy), grids)
        d_tables = matmul(pick.T, d_rows, exact=True)
        return dq, None, None, *(d_tables[part] for part in parts)

    return kernels.relative_query(q, rows, grids), backward


@fast(definitions.relative_key, on="device")
def relative_key(k, grids):
    """As `ops.relative_key`."""
    xp, width = array_module(k), k.shape[3]
    hot = _constant(one_hot_rows, k, k.shape[1], grids[0][2], tuple(axis for axis, _, _ in grids))
    y = xp.empty((*k.shape[:3], width + hot.shape[2]), dtype=k.dtype)
    y[..., :width] = k
    y[..., width:] = hot

    def backward(dy):
        return dy[..., :width], None

    return y, backward


def _picks(xp, dtype, axes, scale):
    """The matrix that makes the picked rows of all axes, over the scale, from all tables' rows.

    axes   (queries on the axis, keys on the axis, length of the table) of each
    ->   (sum of queries x keys, sum of lengths)
    """
    pick, row, column = (
        xp.zeros((sum(q * k for q, k, _ in axes), sum(n for _, _, n in axes)), dtype=dtype),
        0,
        0,
    )
    for q, k, n in axes:
        pick[row : row + q * k, column : column + n] = selection(xp, dtype, n, q, k).reshape(-1, n)
        row, column = row + q * k, column + n
    return pick * (1 / scale)


def _constant(make, like, *sizes):
    """make(library, dtype, *sizes) where the array `like` lives."""
    device = getattr(getattr(like, "device", None), "id", None)
    return _kept(make, array_module(like), device, str(like.dtype), *sizes)


@functools.cache  # without an end: a graph that was recorded goes on reading them
def _kept(make, xp, device, dtype, *sizes):
    return make(xp, dtype, *sizes)
