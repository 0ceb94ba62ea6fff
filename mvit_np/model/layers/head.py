"""From tokens to class scores (Sec. 3.2): norm, class token, dropout, linear."""

from ...backend.types import Array, Generator, Params
from ...ops import first_token, layer_norm, linear, mean_token, split_class
from ..specs import BridgeSpec, HeadSpec
from . import initial
from .stochastic import dropout


def head(params: Params, x: Array, spec: HeadSpec, *, rng: Generator | None = None) -> Array:
    """Scores of the classes.   x: (B, N, D)   ->   (B, K)"""
    x = dropout(summary(params["norm"], x, spec), spec.dropout, rng)
    return linear(x, params["head"]["w"], params["head"]["b"])


def summary(norm: Params, x: Array, spec: HeadSpec | BridgeSpec) -> Array:
    """The one token that stands for all: class token or mean, normed.   x: (B, N, D)   ->   (B, D)

    A norm treats each token alone, so with a class token only that one is normed. Without one it is
    the mean of the normed tokens, or (`mean_first`) the normed mean of the grid's tokens.
    """
    if spec.mean_first:
        grid = split_class(x)[1] if spec.cls else x
        return layer_norm(mean_token(grid), norm["g"], norm["b"], spec.eps)
    if spec.cls:
        return layer_norm(first_token(x), norm["g"], norm["b"], spec.eps)
    return mean_token(layer_norm(x, norm["g"], norm["b"], spec.eps))


def init_head(spec: HeadSpec, rng: Generator) -> Params:
    """The parameters of `head`."""
    return {
        "norm": initial.norm(rng, spec.dim),
        "head": initial.linear(rng, spec.dim, spec.num_classes),
    }
