"""The MLP of a block: the place where an MViT widens its channels (Sec. 3.2)."""

from ..ops import gelu, linear
from . import initial


def mlp(params, x):
    """Two linear layers with a GELU between.   x: (B, N, D)   ->   (B, N, D_out)"""
    hidden = gelu(linear(x, params["fc1"]["w"], params["fc1"]["b"]))
    return linear(hidden, params["fc2"]["w"], params["fc2"]["b"])


def init_mlp(spec, rng):
    """The parameters of `mlp`."""
    return {
        "fc1": initial.linear(rng, spec.dim_attn, spec.dim_mlp),
        "fc2": initial.linear(rng, spec.dim_mlp, spec.dim_out),
    }
