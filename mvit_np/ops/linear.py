"""y = x W + b: every projection of the model."""

from ..autodiff import op
from ..backend import array_module


@op
def linear(x, w, b=None):
    """x W + b over the last axis.   x: (..., I)   w: (I, O)   b: (O,) or None   ->   (..., O)

    With X and dY flattened to (rows, I) and (rows, O):  dX = dY W',  dW = X' dY,  db = the sum of dY's rows.
    """
    rows = x.reshape(-1, x.shape[-1])  # one 2-D product: batched ones are slower, and copied on a device
    y = rows @ w
    if b is not None:
        y += b

    def backward(dy):
        dy = dy.reshape(-1, dy.shape[-1])
        dx = (dy @ w.T).reshape(x.shape)
        ones = array_module(dy).ones((1, dy.shape[0]), dtype=dy.dtype)
        return dx, rows.T @ dy, None if b is None else (ones @ dy).reshape(b.shape)

    return y.reshape(*x.shape[:-1], w.shape[-1]), backward
