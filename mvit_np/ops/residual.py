"""Adding: positions to tokens, and each branch to its skip connection (with stochastic depth's masks)."""

from ..autodiff.tape import op
from ..backend import tiles
from ..backend.arrays import array_module


@op
def add(x, y):
    """x + y; where one has length 1 or lacks leading axes, it is repeated, and its gradient summed over the repeats."""
    x_shape, y_shape = x.shape, y.shape  # the shapes alone: nothing is kept

    def backward(dz):
        return _summed_to(dz, x_shape), _summed_to(dz, y_shape)

    return x + y, backward


@op
def residual(x, y, keep=None, apart=0):
    """x + keep y, but for the first `apart` tokens, which stay x.   x, y: (B, N, D) or (B, N, h, d)   ->   the same

    keep   (B, 1, 1), 0 for a dropped clip, 1 / (1 - rate) for a kept one; None: all kept
    """

    def backward(dz):
        dy = dz if keep is None else dz * keep
        if apart:
            dy = dy.copy()
            dy[:, :apart] = 0
        return dz, dy, None, None

    if keep is not None:
        y = y * keep
    z = tiles.elementwise(array_module(x).add, x, y)[0]
    if apart:
        z[:, :apart] = x[:, :apart]
    return z, backward


@op
def scale(x, factor):
    """x times a number or a random mask (which gets no gradient).   x, factor: shapes that broadcast to x's   ->   x's"""

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
