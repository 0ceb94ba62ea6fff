"""The MLP of a block, which is where an MViT widens its channels (Sec. 3.2)."""

from ... import ops
from ...backend.types import Array, Generator, Params
from ..specs import BlockSpec
from . import initial


def mlp(params: Params, x: Array) -> Array:
    """Two linear layers with a GELU between.   x: (B, N, D)   ->   (B, N, D_out)"""
    fc1, fc2 = params["fc1"], params["fc2"]
    return ops.mlp(x, fc1["w"], fc1["b"], fc2["w"], fc2["b"])


def init_mlp(spec: BlockSpec, rng: Generator) -> Params:
    """The parameters of `mlp`."""
    return {
        "fc1": initial.linear(rng, spec.dim_attn, spec.dim_mlp),
        "fc2": initial.linear(rng, spec.dim_mlp, spec.dim_out),
    }
