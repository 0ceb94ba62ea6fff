"""Layer normalisation (Ba et al. 2016)."""

from ..autodiff import op
from ..backend import array_module


@op
def layer_norm(x, g, b, eps=1e-6):
    """g (x - mean) / sqrt(var + eps) + b over the last axis.   x: (..., D)   g, b: (D,)   ->   (..., D)

    With z = (x - mean) r, r = 1 / sqrt(var + eps), and dz = g dy:  dx = r (dz - mean(dz) - z mean(z dz)),
    dg = sum z dy,  db = sum dy over all rows.  z is rebuilt from x, one r a row is kept.
    """
    xp = array_module(x)
    mean = x.mean(axis=-1, keepdims=True)
    z = x - mean
    r = 1 / xp.sqrt(xp.mean(z * z, axis=-1, keepdims=True) + eps)
    z *= r
    z *= g
    z += b

    def backward(dy):
        z = (x - mean) * r
        rows, dy_rows = z.reshape(-1, z.shape[-1]), dy.reshape(-1, dy.shape[-1])
        dz = dy * g
        dx = z * -(dz * z).mean(axis=-1, keepdims=True)
        dx += dz
        dx -= dz.mean(axis=-1, keepdims=True)
        dx *= r
        return dx, (rows * dy_rows).sum(axis=0), dy_rows.sum(axis=0)

    return z, backward
