"""The differentiable steps a Multiscale Vision Transformer is made of: one op per file.

Here stand the definitions, value and backward side by side, for any array library. Faster versions
stand beside them, in `fast/` and `cuda/`; within `mv.plain_ops()` the definitions alone run.
"""

from .attend import attend, attention_weights
from .avg_pool import avg_pool
from .cross_entropy import cross_entropy
from .cube_conv import cube_conv
from .depthwise_conv import depthwise_conv
from .gelu import gelu
from .layer_norm import layer_norm
from .linear import linear
from .max_pool import max_pool
from .mlp import mlp
from .relative_position import relative_key, relative_query
from .residual import add, residual, scale
from .softmax import softmax
from .tokens import (
    first_token,
    join_channels,
    join_class,
    join_units,
    mean_token,
    reshape,
    split_channels,
    split_class,
    split_units,
)

from . import cuda, fast  # noqa: F401  isort:skip  (they register the faster versions)

__all__ = [
    "add",
    "attend",
    "attention_weights",
    "avg_pool",
    "cross_entropy",
    "cube_conv",
    "depthwise_conv",
    "first_token",
    "gelu",
    "join_channels",
    "join_class",
    "join_units",
    "layer_norm",
    "linear",
    "max_pool",
    "mean_token",
    "mlp",
    "relative_key",
    "relative_query",
    "reshape",
    "residual",
    "scale",
    "softmax",
    "split_channels",
    "split_class",
    "split_units",
]
