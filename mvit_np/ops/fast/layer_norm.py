"""Layer normalisation in tiles, its means as products with a column of 1 / D; z, r are remade."""

from ...autodiff.versions import fast
from ...backend import tiles
from ...backend.arrays import array_module
from ..layer_norm import layer_norm as definition
from .linear import column_sums


@fast(definition, on="numpy")
def layer_norm(x, g, b, eps=1e-6):
    """As `ops.layer_norm`; only x is kept."""
    xp, width = array_module(x), x.shape[-1]
    rows = x.reshape(-1, width)
    pieces = tiles.rows(rows, width, 9 * width)  # nine passes
    y = xp.empty(rows.shape, dtype=x.dtype)

    def tile(at):
        normalised(rows[at], g, b, eps, out=y[at])

    tiles.run(tile, pieces)

    def backward(dy):
        dy = dy.reshape(-1, width)
        dx = xp.empty(rows.shape, dtype=x.dtype)
        g_share = g[:, None] * (1 / width)  # rows @ g_share are the means of g rows

        def tile(at):
            c, r = _centred(rows[at], eps)  # z = c r
            c_dy, d = c * dy[at], dx[at]
            dg, db = r[:, 0] @ c_dy, column_sums(dy[at])
            c *= (c_dy @ g_share) * (r * r)
            c += dy[at] @ g_share
            xp.multiply(dy[at], g, out=d)
            d -= c
            d *= r
            return dg, db

        return dx.reshape(x.shape), *tiles.total(tile, pieces, (g, b))

    return y.reshape(x.shape), backward


def normalised(rows, g, b, eps, out=None):
    """The norm of some rows, plain arrays in the cache.   rows: (N, D)   ->   (N, D)"""
    z, r = _centred(rows, eps, out)
    z *= r
    z *= g
    z += b
    return z


def _centred(rows, eps, out=None):
    """x - mean, and r.   rows: (N, D)   ->   (N, D), (N, 1)"""
    xp, width = array_module(rows), rows.shape[1]
    share = xp.full((width, 1), 1 / width, dtype=rows.dtype)  # rows @ share are their means
    c = xp.subtract(rows, rows @ share, out=out)
    rest, r = c @ share, _mean_square(c)
    near_zero = xp.finfo(rows.dtype).eps  # beside the deviation: as any number's rounding
    if (abs(rest) > near_zero * xp.sqrt(r)).any():  # rounding left this of the mean
        c -= rest
        r = _mean_square(c)
    r += eps
    xp.sqrt(r, out=r)
    return c, xp.divide(1, r, out=r)


def _mean_square(x):
    """(N, D) -> (N, 1)"""
    square = array_module(x).vecdot(x, x)[:, None]
    square *= 1 / x.shape[-1]
    return square
