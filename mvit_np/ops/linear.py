"""y = x W + b: every projection of the model."""

from ..autodiff.tape import op
from ..backend import tiles
from ..backend.arrays import array_module, device_tools
from ..backend.cuda.kernels import column_sums as fused
from ..backend.matmul import matmul, operand


@op
def linear(x, w, b=None, skip=None):
    """x W + b over the last axis, added to a skip.   x: (..., I)   w: (I, O)   b: (O,)   skip: (..., O)   ->   (..., O)

    Without b or skip there is nothing to add. With X and dY flattened to (rows, I) and (rows, O):  dX = dY W',  dW = X' dY,
    db = the sum of dY's rows, and the skip gets dY.
    """
    xp = array_module(x)
    skip_rows = None if skip is None else skip.reshape(-1, w.shape[1])
    shape, dtype = x.shape, x.dtype
    rows, factor = operand(x.reshape(-1, shape[-1])), operand(w)  # one 2-D product: batched ones are slower
    y = xp.empty((rows.shape[0], w.shape[1]), dtype=dtype)

    def tile(at):
        plus(y[at], rows[at], factor, b, None if skip is None else skip_rows[at])

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
        return dx.reshape(shape), dw, db, dy_given

    return y.reshape(*shape[:-1], w.shape[-1]), backward


def plus(y, rows, w, b=None, skip=None):
    """y = rows W + b + skip, of plain arrays.   y: (N, O), whose contents do not matter   rows: (N, I)   w: (I, O)"""
    if device_tools(y) and b is not None:  # a product that adds to what it finds saves a pass over y
        if skip is None:
            y[...] = b
        else:
            array_module(y).add(skip, b, out=y)
        matmul(rows, w, out=y, add=True)
        return
    matmul(rows, w, out=y)
    if b is not None:
        y += b
    if skip is not None:
        y += skip


def column_sums(rows, like=None):
    """The sum over rows.   (N, D) -> (D,), of the dtype of `like` where rows are factors of a product (`operand`)"""
    if device_tools(rows):
        return fused.column_sums(rows, rows if like is None else like)
    return array_module(rows).ones(rows.shape[0], dtype=rows.dtype) @ rows  # as a product with ones: the fastest way
