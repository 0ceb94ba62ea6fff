"""Sums over the rows of a matrix, for the gradients of biases (plain: ops/linear.py)."""

from ...arrays import array_module
from ..kernel import Kernel

THREADS = 1 << 17  # that share the rows, each with a sum of its own

SUMS = Kernel(
    "column_sums",
    "const FROM* x, T* sums, long long rows",
    """
        T sum = 0;
        for (Int r = i / WIDTH; r < rows; r += (Int)(jobs / WIDTH))
            sum += get(&x[r * WIDTH + i % WIDTH]);
        sums[i] = sum;
    """,
)


def column_sums(rows, like):
    """(N, D), also of bf16 -> (D,), of the dtype of `like`"""
    (count, width), xp = rows.shape, array_module(rows)
    rows = xp.ascontiguousarray(rows)
    shares = max(1, min(count, THREADS // width))
    sums = xp.empty((shares, width), dtype=like.dtype)
    from_type = "bf16" if rows.dtype == "uint16" else "T"
    SUMS(like, shares * width, rows, sums, count, FROM=from_type, WIDTH=width)
    return sums.sum(axis=0)
