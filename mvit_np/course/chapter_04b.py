"""Exercises of notebook 04, second part: the layer of a model, with weights in a dictionary."""

from __future__ import annotations

from math import prod

import numpy as np

from .. import ops
from ..backend import tree as trees
from ..model.layers.attention import attention as attention_of_the_model
from ..model.layers.attention import init_attention
from ..model.layers.pooling import pool_heads as pool_heads_of_the_model
from ..model.specs import BlockSpec, PoolSpec
from .chapter_02 import depthwise_conv, pool_tokens
from .chapter_03a import attention
from .chapter_04 import split_heads
from .checker import SPECIFICATION, Exercise


def pool_heads(x, thw, heads, weight, g, b, stride):
    """Pool one of q, k, v by a convolution that all heads share, then norm each token's channels.

    x: (B, 1 + T H W, D), the class token first   thw: (T, H, W)   weight: (kt, kh, kw, d)
    g, b: (d,)   stride: three numbers   ->   (B, h, 1 + t h w, d), with d = D / h
    The padding is half of the kernel, rounded down. The norm runs over the d channels of one head.
    The class token is not pooled, but it is normed.
    Hint: use your pool_tokens, depthwise_conv and split_heads, and ops.layer_norm(x, g, b).
    """

    def pool(grid):  # (B, T, H, W, D) -> (B, t, h, w, D)
        cut = grid.reshape(*grid.shape[:4], heads, -1)
        pooled = depthwise_conv(cut, weight, stride, tuple(k // 2 for k in weight.shape[:3]))
        return pooled.reshape(*pooled.shape[:4], -1)

    return ops.layer_norm(split_heads(pool_tokens(x, thw, pool), heads), g, b)


def attention_layer(params, x, thw, heads, stride_q, stride_kv):
    """Multi Head Pooling Attention as a layer: project, pool, attend in each head, project.

    params: {"qkv": {"w": (D, 3 D'), "b"}, "proj": {"w": (D', D'), "b"}} and, for each of q, k, v
    that is pooled, {"pool_q": {"w"}, "norm_q": {"g", "b"}}
    x: (B, 1 + T H W, D)   thw: (T, H, W)   stride_q, stride_kv: three numbers each
    ->   (B, 1 + t h w, D')
    q^, k^, v^ = the thirds of x W + b   z = softmax(q k' / sqrt(d)) v in each head
    Hint: use your pool_heads where params has "pool_q", else split_heads alone. Use your attention
    for each head; np.stack joins the heads.
    """

    def pooled(which, x_hat, stride):  # (B, N, D') -> (B, h, n, d)
        if f"pool_{which}" not in params:
            return split_heads(x_hat, heads)
        weight, norm = params[f"pool_{which}"]["w"], params[f"norm_{which}"]
        return pool_heads(x_hat, thw, heads, weight, norm["g"], norm["b"], stride)

    q_hat, k_hat, v_hat = np.split(x @ params["qkv"]["w"] + params["qkv"]["b"], 3, axis=-1)
    q = pooled("q", q_hat, stride_q)
    k, v = pooled("k", k_hat, stride_kv), pooled("v", v_hat, stride_kv)
    z = np.stack([attention(q[:, i], k[:, i], v[:, i]) for i in range(heads)], axis=2)
    z = z.reshape(*z.shape[:2], -1)  # (B, n, h, d) -> (B, n, D')
    return z @ params["proj"]["w"] + params["proj"]["b"]


# thw, heads, stride_q, stride_kv; without a stride the queries are not pooled.
SIZES = (
    ((2, 4, 6), 2, (1, 2, 2), (1, 2, 3)),
    ((3, 4, 5), 1, (1, 1, 1), (1, 2, 2)),
    ((4, 3, 3), 3, (2, 1, 1), (1, 1, 1)),
)


def block_spec(thw, heads, stride_q, stride_kv, dim=12, dim_out=12):
    """The sizes of a block on a grid, as the package's own layers take them."""

    def pool(kind, kernel, stride, there=True):
        return PoolSpec(kind, kernel, stride, thw) if there else None

    shrinks = prod(stride_q) > 1
    window = tuple(s + 1 if s > 1 else 1 for s in stride_q)
    return BlockSpec(
        index=0, stage=0, dim_in=dim, dim_attn=dim, dim_out=dim_out, dim_mlp=2 * dim, heads=heads,
        thw=thw, pool_q=pool("conv", (1, 3, 3), stride_q, shrinks),
        pool_kv=pool("conv", (3, 3, 3), stride_kv),
        pool_skip=pool("max", window, stride_q, shrinks),
        cls=True, unit=None, coupled=False, sequences=1, relative=(), residual_pooling=None,
        skip="normalised", qkv_bias=True, eps=1e-6, drop_path=0.0,
    )  # fmt: skip


def drawn(init, spec, rng):
    """Parameters of a layer in which no two numbers are alike, float64."""
    return trees.map(lambda fresh: rng.standard_normal(fresh.shape) / 2, init(spec, rng))


# -- pool_heads ------------------------------------------------------------------------------------


def _pools(rng):
    for thw, heads, stride_q, stride_kv in SIZES:
        for stride, kernel in ((stride_kv, (3, 3, 3)), (stride_q, (1, 3, 3))):
            d, tokens = 12 // heads, 1 + prod(thw)
            shapes = (2, tokens, 12), (*kernel, d), (d,), (d,)
            x, weight, g, b = map(rng.standard_normal, shapes)
            yield x, thw, heads, weight, g, b, stride


def _reference_pool(x, thw, heads, weight, g, b, stride):
    spec = block_spec(thw, heads, (1, 1, 1), (1, 1, 1))
    pool = PoolSpec("conv", weight.shape[:3], stride, thw)
    params = {"pool_k": {"w": weight}, "norm_k": {"g": g, "b": b}}
    cut = x.reshape(*x.shape[:2], heads, -1)
    return pool_heads_of_the_model(params, cut, pool, "k", spec).swapaxes(1, 2)


def _normed_together(x, thw, heads, weight, g, b, stride):
    """The norm of all channels, not of one head's."""
    one = np.ones_like(g)
    pooled = _without_norm(x, thw, heads, weight, one, b, stride)  # (B, h, n, d)
    joined = pooled.swapaxes(1, 2)
    joined = joined.reshape(*joined.shape[:2], -1)
    normed = ops.layer_norm(joined, np.tile(g, heads), np.tile(b, heads))
    return split_heads(normed, heads)


def _without_norm(x, thw, heads, weight, g, b, stride):
    def pool(grid):
        cut = grid.reshape(*grid.shape[:4], heads, -1)
        pooled = depthwise_conv(cut, weight, stride, tuple(k // 2 for k in weight.shape[:3]))
        return pooled.reshape(*pooled.shape[:4], -1)

    return split_heads(pool_tokens(x, thw, pool), heads)


def _norm_before(x, thw, heads, weight, g, b, stride):
    cut = ops.layer_norm(split_heads(x, heads), g, b).swapaxes(1, 2)
    return _without_norm(cut.reshape(x.shape), thw, heads, weight, g, b, stride)


def _class_not_normed(*args):
    pooled, normed = _without_norm(*args), pool_heads(*args)
    return np.concatenate([pooled[:, :, :1], normed[:, :, 1:]], axis=2)


POOL_HEADS = Exercise(
    pool_heads,
    _reference_pool,
    _pools,
    (
        ("the norm is missing: it comes after the convolution", _without_norm),
        ("the norm comes before the convolution: it comes after", _norm_before),
        ("the norm runs over all channels: each head's d channels are normed alone",
         _normed_together),
        ("the class token is not normed: it is not pooled, but it is normed",
         _class_not_normed),
        ("the norm's g and b are missing",
         lambda x, thw, heads, w, g, b, s: pool_heads(x, thw, heads, w, 1 + 0 * g, 0 * b, s)),
        ("the grid is not pooled: the window moves by the stride",
         lambda x, thw, heads, w, g, b, s: pool_heads(x, thw, heads, w, g, b, (1, 1, 1))),
        ("the heads are still behind the tokens: (B, h, n, d)",
         lambda *args: pool_heads(*args).swapaxes(1, 2)),
        ("the class token is left out", lambda *args: pool_heads(*args)[:, :, 1:]),
    ),
)  # fmt: skip


# -- attention_layer -------------------------------------------------------------------------------


def _layers(rng):
    for thw, heads, stride_q, stride_kv in SIZES:
        params = drawn(init_attention, block_spec(thw, heads, stride_q, stride_kv), rng)
        x = rng.standard_normal((2, 1 + prod(thw), 12))
        yield params, x, thw, heads, stride_q, stride_kv


def _reference_layer(params, x, thw, heads, stride_q, stride_kv):
    return attention_of_the_model(params, x, block_spec(thw, heads, stride_q, stride_kv))


def _with(**parts):
    """The layer with other parameters: parts are functions of those that are given."""
    return lambda params, *rest: attention_layer(
        {**params, **{name: change(params) for name, change in parts.items()}}, *rest
    )


def _thirds(order):
    """q, k, v taken from the thirds of the projection in another order."""

    def moved(params):
        w, b = params["qkv"]["w"], params["qkv"]["b"]
        pick = [np.split(part, 3, axis=-1) for part in (w, b)]
        return {name: np.concatenate([part[i] for i in order], axis=-1)
                for name, part in zip("wb", pick)}  # fmt: skip

    return _with(qkv=moved)


def _unprojected(params, *rest):
    width = len(params["proj"]["b"])
    same = {"w": np.eye(width, dtype=params["proj"]["w"].dtype), "b": 0 * params["proj"]["b"]}
    return attention_layer({**params, "proj": same}, *rest)


ATTENTION_LAYER = Exercise(
    attention_layer,
    _reference_layer,
    _layers,
    (
        ("the projection at the end is missing", _unprojected),
        ("the bias of the last projection is missing",
         _with(proj=lambda p: {"w": p["proj"]["w"], "b": 0 * p["proj"]["b"]})),
        ("the bias of the first projection is missing",
         _with(qkv=lambda p: {"w": p["qkv"]["w"], "b": 0 * p["qkv"]["b"]})),
        ("the thirds are taken in another order: queries, keys, values", _thirds((1, 0, 2))),
        ("the thirds are taken in another order: the values are the last", _thirds((0, 2, 1))),
        ("keys and values go through one filter: each has its own",
         _with(pool_v=lambda p: p["pool_k"], norm_v=lambda p: p["norm_k"])),
        ("keys and values share a norm: each has its own", _with(norm_v=lambda p: p["norm_k"])),
        ("the heads are mixed: each attends with its own channels",
         lambda p, x, thw, heads, *strides: _one_head(p, x, thw, heads, *strides)),
    ),
    level=SPECIFICATION,
)  # fmt: skip


def _one_head(params, x, thw, heads, stride_q, stride_kv):
    """One attention with all channels, of what is pooled and normed in heads."""

    def pooled(which, x_hat, stride):
        if f"pool_{which}" not in params:
            return x_hat
        weight, norm = params[f"pool_{which}"]["w"], params[f"norm_{which}"]
        y = pool_heads(x_hat, thw, heads, weight, norm["g"], norm["b"], stride).swapaxes(1, 2)
        return y.reshape(*y.shape[:2], -1)

    hats = np.split(x @ params["qkv"]["w"] + params["qkv"]["b"], 3, axis=-1)
    strides = stride_q, stride_kv, stride_kv
    z = attention(*(pooled(*each) for each in zip("qkv", hats, strides)))
    return z @ params["proj"]["w"] + params["proj"]["b"]


EXERCISES = (POOL_HEADS, ATTENTION_LAYER)
