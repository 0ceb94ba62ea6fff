"""Multi Head Pooling Attention (Sec. 3.1, Fig. 3)."""

from ...autodiff.tape import untraced
from ...autodiff.versions import composed
from ...backend.types import Array, Generator, Hook, Params
from ...ops import (
    attend,
    attention_weights,
    join_units,
    linear,
    relative_key,
    relative_query,
    reshape,
    residual,
    split_channels,
    split_units,
)
from ..specs import BlockSpec
from . import initial
from .pooling import init_pool, pool_heads


def attention(params: Params, x: Array, spec: BlockSpec, *, hook: Hook | None = None) -> Array:
    """Project, pool, attend, project.   x: (B, [1 +] T H W, D_in)   ->   (B, [1 +] t h w, D)

    q^, k^, v^ = x W_Q, x W_K, x W_V
    q, k, v = P(q^), P(k^), P(v^)
    softmax(q k' / sqrt(d)) v, heads joined, projected
    """
    q, k, v = queries_keys_values(params, x, spec)  # (B, N, h, d) each, with an N of their own
    z = _attend(params, q, k, v, spec, hook)
    z = _add_query(z, q, spec)
    z = reshape(z, (*z.shape[:2], spec.dim_attn))
    return linear(z, params["proj"]["w"], params["proj"]["b"])


@composed
def queries_keys_values(params: Params, x: Array, spec: BlockSpec) -> tuple[Array, Array, Array]:
    """q, k, v = P(x W_Q), P(x W_K), P(x W_V).

    x: (B, N, D_in)   ->   (B, n, h, d), each on its own grid
    """
    projected = split_channels(linear(x, params["qkv"]["w"], params["qkv"].get("b")), 3)
    q_hat, k_hat, v_hat = (reshape(y, (*y.shape[:2], spec.heads, spec.head_dim)) for y in projected)
    q = pool_heads(params, q_hat, spec.pool_q, "q", spec)
    k = pool_heads(params, k_hat, spec.pool_kv, "k", spec)
    v = pool_heads(params, v_hat, spec.pool_kv, "v", spec)
    return q, k, v


def _attend(params, q, k, v, spec, hook):
    scale = spec.head_dim**-0.5
    if spec.relative:
        axes = [(name, "thw".index(name)) for name, _ in spec.relative]
        grids = tuple((axis, spec.thw_q, spec.thw_kv) for _, axis in axes)
        q = relative_query(q, scale, grids, *(params[f"rel_pos_{name}"] for name, _ in axes))
        k = relative_key(k, grids)
    if spec.unit:
        q = split_units(q, spec.thw_q, spec.unit_q)
        k, v = (split_units(x, spec.thw, spec.unit) for x in (k, v))
    if hook:
        hook("attention", attention_weights(untraced(q), untraced(k), scale))
    z = attend(q, k, v, scale)
    return join_units(z, spec.thw_q, spec.unit_q) if spec.unit else z


def _add_query(z, q, spec):
    """MViTv2's residual pooling: the pooled query joins the output, for video not its class row."""
    if spec.residual_pooling is None:
        return z
    return residual(z, q, None, spec.cls if spec.residual_pooling == "tokens" else 0)


def init_attention(spec: BlockSpec, rng: Generator) -> Params:
    """The parameters of `attention`."""
    params: Params = {"qkv": initial.linear(rng, spec.dim_in, 3 * spec.dim_attn, spec.qkv_bias)}
    for which, pool in (("q", spec.pool_q), ("k", spec.pool_kv), ("v", spec.pool_kv)):
        params |= init_pool(pool, which, spec.head_dim, rng)
    for axis, length in spec.relative:
        params[f"rel_pos_{axis}"] = initial.normal(rng, length, spec.head_dim)
    return params | {"proj": initial.linear(rng, spec.dim_attn, spec.dim_attn)}
