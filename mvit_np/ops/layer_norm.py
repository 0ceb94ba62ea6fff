"""Layer normalisation (Ba et al. 2016)."""

from ..autodiff.tape import op
from ..backend import tiles
from ..backend.arrays import array_module, device_tools
from ..backend.cuda.kernels import layer_norm as fused
from .linear import column_sums


@op
def layer_norm(x, g, b, eps=1e-6):
    """g (x - mean) / sqrt(var + eps) + b over the last axis.   x: (..., D)   g, b: (D,)   ->   (..., D)

    With z = (x - mean) r, r = 1 / sqrt(var + eps), and dz = g dy:  dx = r (dz - mean(dz) - z mean(z dz)),
    dg = sum z dy,  db = sum dy over all rows.  Only x is kept, z and r are rebuilt.
    """
    xp, width = array_module(x), x.shape[-1]
    rows = x.reshape(-1, width)
    if device_tools(x):
        return _fused(rows, g, b, eps, x.shape)
    pieces = tiles.rows(rows, width, 9 * width)  # nine passes
    y = xp.empty(rows.shape, dtype=x.dtype)
    share = xp.full((width, 1), 1 / width, dtype=x.dtype)  # rows @ share are their means

    def normal(at):
        z = rows[at] - rows[at] @ share
        z -= z @ share  # what rounding left of the mean: of a row of 1000s more than eps
        r = xp.square(z) @ share
        r += eps
        xp.sqrt(r, out=r)
        xp.divide(1, r, out=r)
        z *= r
        return z, r

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


def _fused(rows, g, b, eps, shape):
    rows = array_module(rows).ascontiguousarray(rows)

    def backward(dy):
        dy = array_module(dy).ascontiguousarray(dy).reshape(rows.shape)
        dx, dg, db = fused.layer_norm_backward(rows, g, dy, eps)
        return dx.reshape(shape), dg, db

    return fused.layer_norm(rows, g, b, eps).reshape(shape), backward
