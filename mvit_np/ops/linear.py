"""y = x W + b: every projection of the model."""

from ..autodiff.tape import op
from ..backend.types import Array


@op
def linear(x: Array, w: Array, b: Array | None = None):
    """x W + b over the last axis.   x: (..., I)   w: (I, O)   b: (O,) or None   ->   (..., O)

    With X and dY flattened to rows, (rows, I) and (rows, O):
    dX = dY W',  dW = X' dY,  db = the sum of dY's rows.
    """
    y = x @ w if b is None else x @ w + b

    def backward(dy):
        rows, dy_rows = x.reshape(-1, w.shape[0]), dy.reshape(-1, w.shape[1])
        db = None if b is None else dy_rows.sum(axis=0)
        return dy @ w.T, rows.T @ dy_rows, db

    return y, backward
