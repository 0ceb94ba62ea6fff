"""Layer normalisation in tiles, its means as products with a column of 1 / D; z, r are remade."""

import numpy as np

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
    share = xp.full((width, 1), 1 / width, dtype=x.dtype)  # rows @ share are their means

    def normal(at):
        return _normal(rows[at], share, eps)

    def tile(at):
        z, _ = normal(at)
        z *= g
        xp.add(z, b, out=y[at])

    tiles.run(tile, pieces)

    def backward(dy):
        dy = dy.reshape(-1, width)
        dx = xp.empty(rows.shape, dtype=x.dtype)

        def tile(at):
            z, r = normal(at)
            z_dy = z * dy[at]
            dg, db = column_sums(z_dy), column_sums(dy[at])
            z_dy *= g
            dz = dy[at] * g
            dz -= dz @ share
            z *= z_dy @ share
            dz -= z
            xp.multiply(dz, r, out=dx[at])
            return dg, db

        return dx.reshape(x.shape), *tiles.total(tile, pieces, (g, b))

    return y.reshape(x.shape), backward


def normalised(rows, g, b, eps):
    """The norm of some rows, plain arrays in the cache.   rows: (N, D)   ->   (N, D)"""
    z, _ = _normal(rows, np.full((rows.shape[1], 1), 1 / rows.shape[1], dtype=rows.dtype), eps)
    z *= g
    z += b
    return z


def _normal(rows, share, eps):
    """z = (x - mean) r and r = 1 / sqrt(var + eps).   share: (D, 1), 1 / D everywhere"""
    z = rows - rows @ share
    z -= z @ share  # what rounding left of the mean: of a row of 1000s more than eps
    r = np.square(z) @ share
    r += eps
    np.sqrt(r, out=r)
    np.divide(1, r, out=r)
    z *= r
    return z, r
