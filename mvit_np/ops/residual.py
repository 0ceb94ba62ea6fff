"""Adding: positions to tokens, and each branch to its skip (with stochastic depth's masks)."""

from ..autodiff.tape import op
from ..backend.types import Array


@op
def add(x: Array, y: Array):
    """x + y; an axis of length 1, or a missing leading one, is repeated, its gradient summed."""
    x_shape, y_shape = x.shape, y.shape  # the shapes alone: nothing is kept

    def backward(dz):
        return _summed_to(dz, x_shape), _summed_to(dz, y_shape)

    return x + y, backward


@op
def residual(x: Array, y: Array, keep: Array | None = None, first: int = 0):
    """x + keep y, but for the `first` tokens, which stay x.

    x, y: (B, N, D) or (B, N, h, d)   ->   the same

    keep   (B, 1, 1), 0 for a dropped clip, 1 / (1 - rate) for a kept one; None: all are kept
    """

    def masked(y):
        y = y.copy() if keep is None else y * keep
        y[:, :first] = 0
        return y

    def backward(dz):
        return dz, masked(dz), None, None

    return x + masked(y), backward


@op
def scale(x: Array, factor: Array | float):
    """x times a number or a random mask that broadcasts to x's shape and gets no gradient."""

    def backward(dy):
        return dy * factor, None

    return x * factor, backward


def _summed_to(dz, shape):
    """dz summed over the axes that broadcasting added or stretched."""
    if dz.shape == shape:
        return dz
    leading = dz.ndim - len(shape)
    stretched = tuple(i + leading for i, n in enumerate(shape) if n == 1)
    return dz.sum(axis=(*range(leading), *stretched)).reshape(shape)
