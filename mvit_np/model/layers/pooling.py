"""Pooling attention's P(.; k, s, p) shrinks a grid of tokens, not the class token (Sec. 3.1)."""

from ...backend.types import Array, Generator, Params
from ...ops import avg_pool, depthwise_conv, join_class, layer_norm, max_pool, reshape, split_class
from ..specs import BlockSpec, PoolSpec
from . import initial


def pool_tokens(x: Array, spec: PoolSpec, cls: bool, weight: Array | None = None) -> Array:
    """Pool the grid part of a token list.   x: (B, [1 +] T H W, ...)   ->   (B, [1 +] t h w, ...)

    The class token is not part of the grid: it is not pooled.
    """
    first, rest = split_class(x) if cls else (None, x)
    grid = reshape(rest, (x.shape[0], *spec.thw_in, *x.shape[2:]))
    if spec.kind == "conv":
        grid = depthwise_conv(grid, weight, spec.stride, spec.padding)
    else:
        pool = max_pool if spec.kind == "max" else avg_pool
        grid = pool(grid, spec.kernel, spec.stride, spec.padding)
    rest = reshape(grid, (x.shape[0], -1, *x.shape[2:]))
    return join_class(first, rest) if cls else rest


def pool_heads(
    params: Params, x: Array, spec: PoolSpec | None, which: str, block: BlockSpec
) -> Array:
    """P applied to one of q, k, v.   x: (B, N, h, d)   which: "q", "k" or "v"   ->   (B, n, h, d)

    A convolution is followed by a norm, which the class token shares; without a pool (`spec` None)
    there is neither.
    """
    if spec is None:
        return x
    if spec.kind != "conv":
        return pool_tokens(x, spec, block.cls)
    x = pool_tokens(x, spec, block.cls, params[f"pool_{which}"]["w"])
    norm = params[f"norm_{which}"]
    return layer_norm(x, norm["g"], norm["b"], block.eps)


def init_pool(spec: PoolSpec | None, which: str, head_dim: int, rng: Generator) -> Params:
    """The parameters of `pool_heads`: none but for a convolution."""
    if spec is None or spec.kind != "conv":
        return {}
    return {
        f"pool_{which}": {"w": initial.normal(rng, *spec.kernel, head_dim)},
        f"norm_{which}": initial.norm(rng, head_dim),
    }
