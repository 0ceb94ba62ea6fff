"""The MLP of a block, which is where an MViT widens its channels (Sec. 3.2)."""

from ..autodiff.versions import composed
from ..backend.types import Array
from .gelu import gelu
from .linear import linear


@composed
def mlp(x: Array, w1: Array, b1: Array, w2: Array, b2: Array) -> Array:
    """gelu(x W1 + b1) W2 + b2.

    x: (..., I)   w1: (I, H)   b1: (H,)   w2: (H, O)   b2: (O,)   ->   (..., O)
    """
    return linear(gelu(linear(x, w1, b1)), w2, b2)
