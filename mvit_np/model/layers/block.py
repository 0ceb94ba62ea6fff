"""A transformer block: pooling shrinks the grid in it, widening grows the channels."""

from ...autodiff.tape import untraced
from ...backend.types import Array, Generator, Hook, Params
from ...ops import layer_norm, linear, reshape
from ..specs import BlockSpec
from . import initial
from .attention import attention, init_attention
from .mlp import init_mlp, mlp
from .pooling import pool_heads, pool_tokens
from .stochastic import add_branch, drop_branch


def block(
    params: Params,
    x: Array,
    spec: BlockSpec,
    *,
    rng: Generator | None = None,
    hook: Hook | None = None,
) -> Array:
    """Attention, then MLP, each normed before and added to a skip.

    x: (B, N, D_in)   ->   (B, n, D_out)

    The skip shrinks with the queries (max pooling) and widens with the channels (a linear layer on
    the *normed* input).
    """
    y = _norm(params["norm1"], x, spec)
    skip = _widened(params, x, y, spec) if spec.dim_attn != spec.dim_in else x
    if spec.pool_skip and skip is not None:
        skip = _pooled(params["attn"], skip, spec)
    x = add_branch(skip, attention(params["attn"], y, spec, hook=hook), spec.drop_path, rng)

    y = _norm(params["norm2"], x, spec)
    skip = _widened(params, x, y, spec) if spec.dim_out != spec.dim_attn else x
    x = add_branch(skip, mlp(params["mlp"], y), spec.drop_path, rng)
    if hook:
        hook("output", untraced(x))
    return x


def _pooled(params, skip, spec):
    """The skip on the query's grid: its maximum in each window; in Rev-MViT the query's pool."""
    if spec.pool_skip is not spec.pool_q:
        return pool_tokens(skip, spec.pool_skip, spec.cls)
    heads = reshape(skip, (*skip.shape[:2], spec.heads, spec.head_dim))
    pooled = pool_heads(params, heads, spec.pool_q, "q", spec)
    return reshape(pooled, (*pooled.shape[:2], spec.dim_attn))


def _norm(params, x, spec):
    return layer_norm(x, params["g"], params["b"], spec.eps)


def _widened(params, x, normed, spec):
    """The skip where the width grows (Table A.1): of the normed input, the plain one, or none."""
    if spec.skip == "none":
        return None
    skip = normed if spec.skip == "normalised" else x
    return linear(skip, params["proj"]["w"], params["proj"]["b"])


def attention_half(
    params: Params,
    x: Array,
    spec: BlockSpec,
    *,
    rng: Generator | None = None,
    hook: Hook | None = None,
) -> Array:
    """The first branch alone, of a block that changes no shape.

    params: {norm1, attn}   x: (B, N, D)   ->   (B, N, D)
    """
    y = attention(params["attn"], _norm(params["norm1"], x, spec), spec, hook=hook)
    return drop_branch(y, spec.drop_path, rng)


def mlp_half(params: Params, x: Array, spec: BlockSpec, *, rng: Generator | None = None) -> Array:
    """The second branch alone.   params: {norm2, mlp}   x: (B, N, D)   ->   (B, N, D)"""
    return drop_branch(mlp(params["mlp"], _norm(params["norm2"], x, spec)), spec.drop_path, rng)


def init_block(spec: BlockSpec, rng: Generator) -> Params:
    """The parameters of `block`."""
    params = {
        "norm1": initial.norm(rng, spec.dim_in),
        "attn": init_attention(spec, rng),
        "norm2": initial.norm(rng, spec.dim_attn),
        "mlp": init_mlp(spec, rng),
    }
    if spec.dim_in != spec.dim_out and spec.skip != "none":
        params["proj"] = initial.linear(rng, spec.dim_in, spec.dim_out)
    return params
