"""From tokens to class scores (Sec. 3.2): norm, class token, dropout, linear."""

from ..ops import first_token, layer_norm, linear, mean_token
from . import initial
from .stochastic import dropout


def head(params, x, spec, *, rng=None):
    """Scores of the classes.   x: (B, N, D)   ->   (B, K)

    A norm treats each token alone, so with a class token only that one is normed; else the mean of the normed tokens.
    """
    g, b = params["norm"]["g"], params["norm"]["b"]
    if spec.cls:
        x = layer_norm(first_token(x), g, b, spec.eps)
    else:
        x = mean_token(layer_norm(x, g, b, spec.eps))
    x = dropout(x, spec.dropout, rng)
    return linear(x, params["head"]["w"], params["head"]["b"])


def init_head(spec, rng):
    """The parameters of `head`."""
    return {"norm": initial.norm(spec.dim), "head": initial.linear(rng, spec.dim, spec.num_classes)}
