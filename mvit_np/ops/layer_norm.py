"""Layer normalisation (Ba et al. 2016)."""

from ..autodiff.tape import op
from ..backend.types import Array


@op
def layer_norm(x: Array, g: Array, b: Array, eps: float = 1e-6):
    """g (x - mean) / sqrt(var + eps) + b over the last axis.

    x: (..., D)   g, b: (D,)   ->   (..., D)

    With z = (x - mean) r, r = 1 / sqrt(var + eps), and dz = g dy:
    dx = r (dz - mean(dz) - z mean(z dz)),  dg = sum z dy,  db = sum dy, both over all rows.
    """
    z = x - _mean(x)
    z = z - _mean(z)  # what rounding left of the mean: of a row of 1000s more than eps
    r = (_mean(z * z) + eps) ** -0.5
    z = z * r

    def backward(dy):
        dz, rows = g * dy, tuple(range(dy.ndim - 1))
        dx = r * (dz - _mean(dz) - z * _mean(z * dz))
        return dx, (z * dy).sum(axis=rows), dy.sum(axis=rows)

    return g * z + b, backward


def _mean(x):
    return x.mean(axis=-1, keepdims=True)
