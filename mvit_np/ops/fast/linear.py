"""Linear layers in tiles: each finds its rows in the cache when it adds the bias."""

from ...autodiff.versions import fast
from ...backend import tiles
from ...backend.arrays import array_module, device_tools
from ...backend.cuda.kernels import column_sums as fused
from ...backend.matmul import matmul, operand
from ..linear import linear as definition


@fast(definition, on=("numpy", "device"))
def linear(x, w, b=None):
    """As `ops.linear`, in one 2-D product of all rows: batched ones are slower."""
    xp, shape, dtype = array_module(x), x.shape, x.dtype
    rows, factor = operand(x.reshape(-1, shape[-1])), operand(w)
    y = xp.empty((rows.shape[0], w.shape[1]), dtype=dtype)

    def tile(at):
        plus(y[at], rows[at], factor, b)

    pieces = tiles.rows(rows, max(w.shape), w.size // tiles.PRODUCT)
    tiles.run(tile, pieces)

    def backward(dy_given):
        dy_rows = dy_given.reshape(-1, dy_given.shape[-1])
        dy = operand(dy_rows)
        dx, dw = xp.empty(rows.shape, dtype=dtype), xp.empty(w.shape, dtype=dtype)
        tiles.run(lambda at: matmul(dy[at], factor.T, out=dx[at]), pieces)
        columns = tiles.rows(w, w.shape[1], dy.size // tiles.PRODUCT)
        tiles.run(lambda at: matmul(rows[:, at].T, dy, out=dw[at]), columns)
        db = None if b is None else column_sums(dy_rows)
        return dx.reshape(shape), dw, db

    return y.reshape(*shape[:-1], w.shape[-1]), backward


def plus(y, rows, w, b=None):
    """y = rows W + b, of plain arrays.

    y: (N, O), whose contents do not matter   rows: (N, I)   w: (I, O)
    """
    if device_tools(y) and b is not None:  # a product that adds to y saves a pass over it
        y[...] = b
        matmul(rows, w, out=y, add=True)
        return
    matmul(rows, w, out=y)
    if b is not None:
        y += b


def column_sums(rows, like=None):
    """(N, D) -> (D,): the sum over rows, of the dtype of `like` where rows are an `operand`."""
    if device_tools(rows):
        return fused.column_sums(rows, rows if like is None else like)
    ones = array_module(rows).ones(rows.shape[0], dtype=rows.dtype)
    return ones @ rows  # the fastest way
