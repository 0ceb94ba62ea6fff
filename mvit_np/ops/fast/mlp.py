"""The MLP as one op: its hidden layer, four times as wide as the tokens, never exists as a whole.

It is made of some rows at a time, and made again in the backward pass, unless `keep("hidden")`.
"""

from ...autodiff.kept import keeps
from ...autodiff.tape import op
from ...autodiff.versions import fast
from ...backend import tiles
from ...backend.arrays import array_module
from ...backend.matmul import matmul, operand
from ..mlp import mlp as definition
from .gelu import gelu_array, gelu_backward
from .linear import column_sums, plus

# Hidden numbers of a row, for the size of a tile: with 512 rows, packing the weights pays.
WIDEST = 1024


@fast(definition, on=("numpy", "device"))
@op
def mlp(x, w1, b1, w2, b2):
    """As `ops.mlp`."""
    xp, shape, dtype = array_module(x), x.shape, x.dtype
    rows, factor1, factor2 = operand(x.reshape(-1, shape[-1])), operand(w1), operand(w2)
    y = xp.empty((rows.shape[0], w2.shape[1]), dtype=dtype)
    keep = keeps("hidden")
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
        dx = xp.empty(rows.shape, dtype=dtype)

        def tile(at):
            da = matmul(dy[at], factor2.T)
            if keep:
                a, dh = gelu_backward(hidden[at], None, da, factor=True)
            else:
                a, dh = gelu_backward(matmul(rows[at], factor1), b1, da, factor=True)
            matmul(dh, factor1.T, out=dx[at])
            first = matmul(rows[at].T, dh), column_sums(dh, b1)
            return *first, matmul(a.T, dy[at]), column_sums(dy_rows[at])

        return dx.reshape(shape), *tiles.total(tile, pieces, (w1, b1, w2, b2))

    return y.reshape(*shape[:-1], w2.shape[1]), backward
