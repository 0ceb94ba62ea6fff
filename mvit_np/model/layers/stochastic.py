"""What happens only in training, with an `rng`: stochastic depth (Huang et al. 2016), dropout."""

from ...backend.types import Array, Generator
from ...ops import residual, scale


def add_branch(x: Array | None, y: Array, rate: float, rng: Generator | None = None) -> Array:
    """x + y, or with stochastic depth x alone for a share `rate` of the clips.

    x, y: (B, N, D)   ->   (B, N, D)

    Without a skip connection, x is None, it is y or nothing.
    """
    if x is None:
        return drop_branch(y, rate, rng)
    if rng is None or rate == 0:
        return residual(x, y)
    return residual(x, y, _keep(rng, (x.shape[0], 1, 1), rate, x.dtype))


def drop_branch(y: Array, rate: float, rng: Generator | None = None) -> Array:
    """y, or 0 for a share `rate` of the clips: a branch without a skip connection."""
    if rng is None or rate == 0:
        return y
    return scale(y, _keep(rng, (y.shape[0], 1, 1), rate, y.dtype))


def dropout(x: Array, rate: float, rng: Generator | None = None) -> Array:
    """x with a share `rate` of its entries set to 0 and the others scaled up.

    x: (B, D)   ->   (B, D)
    """
    if rng is None or rate == 0:
        return x
    return scale(x, _keep(rng, x.shape, rate, x.dtype))


def _keep(rng, shape, rate, dtype):
    """1 / (1 - rate) where kept, else 0, which keeps the mean; in the array library of `rng`."""
    kept = rng.random(shape, dtype="float32") >= rate
    return kept.astype(dtype) * (1 / (1 - rate))
