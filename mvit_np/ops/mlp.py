"""The MLP of a block as one op: its hidden layer, four times as wide as the tokens, never exists as a whole."""

from .. import tiles
from ..autodiff import op
from ..backend import array_module
from .gelu import gelu_and_slope, gelu_array
from .linear import column_sums

WIDEST = 1024  # hidden numbers of a row, as far as the size of a tile goes: at 512 rows it pays to pack the weights for one


@op
def mlp(x, w1, b1, w2, b2, skip=None):
    """gelu(x W1 + b1) W2 + b2, added to a skip.   x: (..., I)   w1: (I, H)   b1: (H,)   w2: (H, O)   b2: (O,)   ->   (..., O)

    The same as linear, gelu, linear, some rows at a time; without a skip, (..., O), nothing is added.
    With H = X W1 + b1 and A = gelu(H), both rebuilt:  dW2 = A' dY,  dH = (dY W2') gelu'(H),  dW1 = X' dH,  dX = dH W1',
    each bias gets the sum of its rows, and the skip gets dY.
    """
    xp = array_module(x)
    rows = x.reshape(-1, x.shape[-1])
    skip_rows = None if skip is None else skip.reshape(-1, w2.shape[1])
    y = xp.empty((rows.shape[0], w2.shape[1]), dtype=x.dtype)
    pieces = tiles.rows(rows, min(w1.shape[1], WIDEST), (w1.size + w2.size) // tiles.PRODUCT)

    def hidden(at):
        h = rows[at] @ w1
        h += b1
        return h

    def tile(at):
        xp.matmul(gelu_array(hidden(at)), w2, out=y[at])
        y[at] += b2
        if skip is not None:
            y[at] += skip_rows[at]

    tiles.run(tile, pieces)

    def backward(dy_given):
        dy = dy_given.reshape(-1, dy_given.shape[-1])
        dx = xp.empty(rows.shape, dtype=x.dtype)

        def tile(at, dw1, db1, dw2, db2):
            a, dh = gelu_and_slope(hidden(at))
            dh *= dy[at] @ w2.T
            dw2 += a.T @ dy[at]
            db2 += column_sums(dy[at])
            dw1 += rows[at].T @ dh
            db1 += column_sums(dh)
            xp.matmul(dh, w1.T, out=dx[at])

        return dx.reshape(x.shape), *tiles.total(tile, pieces, (w1, b1, w2, b2)), dy_given

    return y.reshape(*x.shape[:-1], w2.shape[1]), backward
