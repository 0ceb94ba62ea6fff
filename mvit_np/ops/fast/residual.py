"""Adding a branch to its skip in tiles, on all threads."""

from ...autodiff.versions import fast
from ...backend.arrays import array_module
from ...backend.elementwise import elementwise
from ..residual import residual as definition


@fast(definition, on=("numpy", "device"))
def residual(x, y, keep=None, first=0):
    """As `ops.residual`; where nothing is masked the gradients are dz itself, not a copy."""

    def backward(dz):
        dy = dz if keep is None else dz * keep
        if first:
            dy = dy.copy()
            dy[:, :first] = 0
        return dz, dy, None, None

    if keep is not None:
        y = y * keep
    z = elementwise(array_module(x).add, x, y)[0]
    if first:
        z[:, :first] = x[:, :first]
    return z, backward
