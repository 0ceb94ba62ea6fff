"""Versions of the ops for NumPy on several cores; each must equal its definition in `ops/`."""

from . import (
    attend,
    cube_conv,
    depthwise_conv,
    gelu,
    layer_norm,
    linear,
    max_pool,
    mlp,
    relative_position,
    residual,
)

# Importing them registers them.
__all__ = [
    "attend",
    "cube_conv",
    "depthwise_conv",
    "gelu",
    "layer_norm",
    "linear",
    "max_pool",
    "mlp",
    "relative_position",
    "residual",
]
