"""y = x W + b: every projection of the model."""

from .. import tiles
from ..autodiff import op
from ..backend import array_module


@op
def linear(x, w, b=None, skip=None):
    """x W + b over the last axis, added to a skip.   x: (..., I)   w: (I, O)   b: (O,)   skip: (..., O)   ->   (..., O)

    Without b or skip there is nothing to add. With X and dY flattened to (rows, I) and (rows, O):  dX = dY W',  dW = X' dY,
    db = the sum of dY's rows, and the skip gets dY.
    """
    xp = array_module(x)
    skip_rows = None if skip is None else skip.reshape(-1, w.shape[1])
    rows = x.reshape(-1, x.shape[-1])  # one 2-D product: batched ones are slower, and copied on a device
    y = xp.empty((rows.shape[0], w.shape[1]), dtype=x.dtype)

    def tile(at):
        xp.matmul(rows[at], w, out=y[at])
        if b is not None:
            y[at] += b
        if skip is not None:
            y[at] += skip_rows[at]

    pieces = tiles.rows(rows, max(w.shape), w.size // tiles.PRODUCT)
    tiles.run(tile, pieces)

    def backward(dy_given):
        dy = dy_given.reshape(-1, dy_given.shape[-1])
        dx, dw = xp.empty(rows.shape, dtype=x.dtype), xp.empty(w.shape, dtype=x.dtype)
        tiles.run(lambda at: xp.matmul(dy[at], w.T, out=dx[at]), pieces)
        columns = tiles.rows(w, w.shape[1], dy.size // tiles.PRODUCT)
        tiles.run(lambda at: xp.matmul(rows[:, at].T, dy, out=dw[at]), columns)
        db = None if b is None else column_sums(dy)
        return dx.reshape(x.shape), dw, db, dy_given

    return y.reshape(*x.shape[:-1], w.shape[-1]), backward


def column_sums(rows):
    """The sum over rows, as a product with ones: the fastest way.   (N, D) -> (D,)"""
    return array_module(rows).ones(rows.shape[0], dtype=rows.dtype) @ rows
