"""The MLP as one op: its hidden layer, four times as wide as the tokens, never exists as a whole.

It is made of some rows at a time, and made again in the backward pass, unless `keep("hidden")`.
"""

from ...autodiff.kept import keeps
from ...autodiff.tape import op, untraced
from ...autodiff.versions import fast
from ...backend import tiles
from ...backend.arrays import array_module
from ...backend.matmul import matmul, operand
from ..mlp import mlp as definition
from .gelu import gelu_array, gelu_backward
from .linear import column_sums, plus

# Numbers along a tile's longer side, for its size: with 512 rows, packing the weights pays.
WIDEST = 1024
ALL = slice(None)


@fast(definition, on=("numpy", "device"))
def kept_where_traced(x, w1, b1, w2, b2):
    """As `ops.mlp`."""
    traced = untraced(x) is not x or untraced(w1) is not w1
    return mlp(x, w1, b1, w2, b2, keep=traced and keeps("hidden"))


@op
def mlp(x, w1, b1, w2, b2, keep=False):
    """As `ops.mlp`.   keep: x W1 + b1 for the backward pass"""
    xp, shape, dtype = array_module(x), x.shape, x.dtype
    rows, factor1, factor2 = operand(x.reshape(-1, shape[-1])), operand(w1), operand(w2)
    y = xp.empty((rows.shape[0], w2.shape[1]), dtype=dtype)
    hidden = xp.empty((rows.shape[0], w1.shape[1]), dtype=dtype) if keep else None
    pieces = tiles.rows(rows, min(w1.shape[1], WIDEST), (w1.size + w2.size) // tiles.PRODUCT)

    def tile(at):
        if keep:
            plus(hidden[at], rows[at], factor1, b1)
            a = gelu_array(hidden[at], factor=True)
        else:
            a = gelu_array(matmul(rows[at], factor1), b1, factor=True)
        plus(y[at], a, factor2, b2)

    tiles.run(tile, pieces)

    def backward(dy_given):
        dy_rows = dy_given.reshape(-1, dy_given.shape[-1])
        dy = operand(dy_rows)

        def pulled_back(at, some):
            """The GELU's result and the gradient of its argument, of rows and hidden channels."""
            da = matmul(dy[at], factor2[some].T)
            if keep:
                return gelu_backward(hidden[at, some], None, da, factor=True)
            return gelu_backward(matmul(rows[at], factor1[:, some]), b1[some], da, factor=True)

        def rows_tile(at):
            a, dh = pulled_back(at, ALL)
            matmul(dh, factor1.T, out=dx[at])
            first = matmul(rows[at].T, dh), column_sums(dh, b1)
            return *first, matmul(a.T, dy[at]), column_sums(dy_rows[at])

        def hidden_tile(some):
            a, dh = pulled_back(ALL, some)
            matmul(rows.T, dh, out=dw1[:, some])
            matmul(a.T, dy, out=dw2[some])
            db1[some] = column_sums(dh, b1)
            return (matmul(dh, factor1[:, some].T),)

        if x.size > w1.size + w2.size:  # what is added up for each tile is to be small
            dx = xp.empty(rows.shape, dtype=dtype)
            return dx.reshape(shape), *tiles.total(rows_tile, pieces, (w1, b1, w2, b2))
        dw1, db1, dw2 = (xp.empty(w.shape, dtype=dtype) for w in (w1, b1, w2))
        work = rows.shape[0] * (w1.shape[0] + w2.shape[1]) // tiles.PRODUCT
        columns = tiles.rows(w2, min(rows.shape[0], WIDEST), work)
        (dx,) = tiles.total(hidden_tile, columns, (rows,))
        return dx.reshape(shape), dw1, db1, dw2, column_sums(dy_rows)

    return y.reshape(*shape[:-1], w2.shape[1]), backward
