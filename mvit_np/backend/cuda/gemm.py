"""From arrays with strides to calls of a strided-batched GEMM, on evenly spaced matrices.

cuBLAS counts columns first: to it a C-ordered (I, K) array is its (K, I) transpose. So C = A B is
asked for as C' = B' A', and neither A, B nor C is moved. A view with its last two axes swapped is
the other order, which it takes with a flag.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple


class Side(NamedTuple):
    """One of the three matrices of a call."""

    array: object
    start: int  # numbers from the array's first to the first matrix
    flip: bool  # whether it is to be transposed, as cuBLAS sees it
    leading: int  # numbers from one row (or column) to the next
    batch_stride: int  # numbers from one matrix of the batch to the next


def strided_batches(a, b, out):
    """(B, A, out side, (K, I, J), matrices) for each call that out = a b takes; mostly one.

    The batch runs over the longest of the leading axes, axes that lie evenly after one another
    being one; what other axes there are is a call each. An array that is neither C-ordered in its
    last two axes nor with them swapped is copied.
    """
    (i, j), k = a.shape[-2:], b.shape[-1]
    if b.shape[-2] != j or out.shape[-2:] != (i, k) or not (_fits(a, out) and _fits(b, out)):
        raise ValueError(f"shapes do not fit a product: {a.shape} by {b.shape} into {out.shape}")
    if not out.size:
        return
    (a, *a_order), (b, *b_order) = _ordered(a), _ordered(b)
    out, flip, leading = _ordered(out, copy=False)
    if flip:
        came = f"came strides {out.strides} of {out.shape}"
        raise ValueError(f"a product is written to rows that lie in order; {came}")
    shape = out.shape[:-2]
    steps = [_steps(x, shape) for x in (b, a, out)]
    axes = _merged(shape, list(zip(*steps)))
    longest = max(range(len(axes)), key=lambda n: axes[n][0], default=None)
    count, batch_strides = axes.pop(longest) if axes else (1, (0, 0, 0))
    for indices in itertools.product(*(range(n) for n, _ in axes)):
        starts = [sum(at * step[side] for at, (_, step) in zip(indices, axes)) for side in range(3)]
        orders = (b_order, a_order, (False, leading))
        parts = zip((b, a, out), starts, orders, batch_strides)
        sides = [Side(x, start, *order, d) for x, start, order, d in parts]
        yield *sides, (k, i, j), count


def _ordered(x, copy=True):
    """(x, whether its last two axes are swapped, numbers from row to row)"""
    (rows, columns), (down, right) = x.shape[-2:], (s // x.itemsize for s in x.strides[-2:])
    if (right == 1 or columns == 1) and (down >= columns or rows == 1):
        return x, False, max(down if rows > 1 else 0, columns, 1)
    if (down == 1 or rows == 1) and (right >= rows or columns == 1):
        return x, True, max(right if columns > 1 else 0, rows, 1)
    if not copy:
        raise ValueError(
            f"a product is written to rows that lie in order; came strides {x.strides} of {x.shape}"
        )
    return x.copy(), False, max(columns, 1)


def _fits(x, out):
    """Whether the leading axes of x are those of the result, or some of them are repeated."""
    own, shape = x.shape[-3::-1], out.shape[-3::-1]  # the last first
    return len(own) <= len(shape) and all(n in (1, length) for n, length in zip(own, shape))


def _steps(x, shape):
    """Numbers from matrix to matrix on each leading axis of the result; 0 where x is repeated."""
    own = [0 if n == 1 else s // x.itemsize for n, s in zip(x.shape[:-2], x.strides[:-2])]
    return [0] * (len(shape) - len(own)) + own


def _merged(shape, steps):
    """[(length, steps of the three)] of leading axes above 1, joined where they lie evenly."""
    axes = []
    for n, step in zip(shape, steps):
        if n == 1:
            continue
        if axes and all(outer == inner * n for outer, inner in zip(axes[-1][1], step)):
            axes[-1] = (axes[-1][0] * n, step)
        else:
            axes.append((n, step))
    return axes
