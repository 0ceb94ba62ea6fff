"""Every gradient of the package, checked: a case for each op, each layer, and whole models
(`mvit-np check`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np

from .. import ops
from ..autodiff.checkpoint import checkpoint
from ..autodiff.gradcheck import gradcheck
from ..backend import tiles
from ..backend import tree as trees
from ..backend.arrays import from_host, plain_ops
from ..model.config import MViTConfig
from ..model.forward import forward, init
from ..model.layers.attention import attention
from ..model.layers.block import block
from ..model.layers.embedding import embed
from ..model.layers.head import head
from ..model.layers.mlp import mlp
from ..model.layers.pooling import pool_tokens
from ..model.layers.stochastic import add_branch, drop_branch, dropout
from ..model.plan import plan
from ..ops.fast.project import project
from ..ops.fast.take_seen import take_seen

VERSIONS = {"plain": plain_ops, "fast": nullcontext, "tiles": tiles.smallest}


@dataclass(frozen=True)
class Case:
    """A function of float arrays; `make(rng)` draws the arrays, in float64."""

    name: str
    fun: Callable
    make: Callable
    composed: bool = False  # of many ops, or large numbers: roundings of float32 add up
    # which run: "plain", the definitions; "fast"; "tiles", fast in the smallest tiles
    versions: str = "fast"

    def check(self, dtype="float64", seed=0, **options):
        """The gradient check of this case in one dtype, as a Report."""
        args = trees.map(lambda x: x.astype(dtype), self.make(np.random.default_rng(seed)))
        if self.composed and dtype == "float32":
            options.setdefault("tolerance", 1e-4)
        with VERSIONS[self.versions]():
            return gradcheck(self.fun, *args, seed=seed, name=self.name, **options)

    def values(self, dtype="float64", seed=0):
        """What the function gives for the arrays of the check."""
        args = trees.map(lambda x: x.astype(dtype), self.make(np.random.default_rng(seed)))
        with VERSIONS[self.versions]():
            return self.fun(*args)

    def by(self, versions):
        """The same case by other versions."""
        return replace(self, name=f"{self.name} ({versions})", versions=versions)


def all_cases():
    """Ops, layers and models: by the definitions, by the fast versions, and but for models by these
    in the smallest tiles.
    """
    layers, models = (
        [replace(case, composed=True) for case in cases] for cases in (layer_cases(), model_cases())
    )
    parts = [*op_cases(), *layers]
    return [
        case.by(versions)
        for cases, versions in (
            (parts + models, "plain"),
            (parts + models, "fast"),
            (parts, "tiles"),
        )
        for case in cases
    ]


def normals(*shapes):
    """A maker of standard normal arrays."""
    return lambda rng: [rng.standard_normal(shape) for shape in shapes]


def distinct(*shape):
    """A maker of one array whose values all differ by far more than a finite difference: max
    pooling has no ties.
    """
    return lambda rng: [
        rng.permutation(np.arange(float(np.prod(shape)))).reshape(shape) / np.prod(shape) ** 0.5
    ]


def beside(x, host):
    """A constant NumPy array in the library and dtype of `x`."""
    return from_host(host.astype(x.dtype), x)


def op_cases():
    """At least one case for each op, several where it has several forms."""
    grid = (2, 3, 5, 4, 2, 3)  # (B, T, H, W, heads, d)
    grids = ((1, (2, 3, 2), (2, 2, 3)), (2, (2, 3, 2), (2, 2, 3)), (0, (2, 3, 2), (2, 2, 3)))
    labels, shares = (
        np.array([2, 0, 1]),
        np.array([[0.7, 0, 0.3, 0], [1, 0, 0, 0], [0.1, 0.2, 0.3, 0.4]]),
    )
    mask = np.array([0.0, 2.0]).reshape(2, 1, 1)
    return [
        Case("linear", ops.linear, normals((2, 3, 5), (5, 4), (4,))),
        Case("linear without bias", ops.linear, normals((2, 3, 5), (5, 4))),
        Case("project", lambda x, w, b: project(x, w, b, 3), normals((2, 3, 5), (5, 12), (12,))),
        Case(
            "project, no bias",
            lambda x, w: ops.add(*project(x, w, None, 2)),
            normals((2, 3, 5), (5, 8)),
        ),
        Case(
            "project, the others of other tokens",
            lambda x, w, b, rest: ops.add(
                project(x, w, b, 3, rest)[0], ops.add(*project(x, w, b, 3, rest)[1:])
            ),
            normals((1, 3, 5), (5, 12), (12,), (2, 3, 5)),
        ),
        Case("gelu", ops.gelu, normals((4, 7))),
        Case("mlp", ops.mlp, normals((2, 3, 5), (5, 6), (6,), (6, 4), (4,))),
        Case("softmax", ops.softmax, normals((3, 2, 6))),
        Case(
            "attend",
            lambda q, k, v: ops.attend(q, k, v, 0.5),
            normals((2, 5, 3, 4), (2, 6, 3, 4), (2, 6, 3, 2)),
        ),
        Case(
            "attend, large logits",
            lambda q, k, v: ops.attend(q, k, v, 0.5),
            _with_large_logits,
            composed=True,
        ),
        Case("layer_norm", ops.layer_norm, normals((2, 5, 6), (6,), (6,))),
        Case(
            "cube_conv",
            lambda x, w, b: ops.cube_conv(x, w, b, (2, 2, 3), (1, 0, 1)),
            normals((2, 4, 5, 6, 2), (3, 2, 3, 2, 4), (4,)),
        ),
        Case(
            "depthwise_conv",
            lambda x, w: ops.depthwise_conv(x, w, (1, 2, 2), (1, 1, 1)),
            normals(grid, (3, 3, 3, 3)),
        ),
        Case(
            "max_pool", lambda x: ops.max_pool(x, (1, 3, 3), (1, 2, 2), (0, 1, 1)), distinct(*grid)
        ),
        Case(
            "max_pool, even kernel",
            lambda x: ops.max_pool(x, (2, 2, 2), (2, 2, 2), (1, 1, 1)),
            distinct(*grid),
        ),
        Case("avg_pool", lambda x: ops.avg_pool(x, (3, 3, 2), (1, 2, 2), (1, 1, 1)), normals(grid)),
        Case(
            "relative_query",
            lambda q, h, w, t: ops.relative_query(q, 0.5, grids, h, w, t),
            normals((2, 13, 2, 3), (5, 3), (7, 3), (3, 3)),
        ),
        Case("relative_key", lambda k: ops.relative_key(k, grids), normals((2, 13, 2, 3))),
        Case("reshape", lambda x: ops.reshape(x, (2, 6)), normals((3, 4))),
        Case("split_class", ops.split_class, normals((2, 4, 3))),
        Case("join_class", ops.join_class, normals((2, 1, 3), (2, 4, 3))),
        Case("join_class, one for all", ops.join_class, normals((3,), (2, 4, 3))),
        Case(
            "take_seen",
            lambda x: take_seen(x, (2, 5, 4), (1, 1, 2), (1, 3, 3), (0, 0, 1)),
            normals((2, 41, 3)),
        ),
        Case("split_channels", lambda x: ops.split_channels(x, 3), normals((2, 4, 6))),
        Case("join_channels", ops.join_channels, normals((2, 4, 3), (2, 4, 2))),
        Case(
            "split_units", lambda x: ops.split_units(x, (2, 4, 6), (1, 2, 3)), normals((2, 48, 3))
        ),
        Case("join_units", lambda x: ops.join_units(x, (2, 4, 6), (2, 2, 3)), normals((8, 12, 3))),
        Case("first_token", ops.first_token, normals((2, 4, 3))),
        Case("mean_token", ops.mean_token, normals((2, 4, 3))),
        Case("add", ops.add, normals((2, 4, 3), (2, 4, 3))),
        Case("add, repeated", ops.add, normals((4, 3), (2, 1, 3))),
        Case("add, repeated along leading and inner axes", ops.add, normals((1, 3), (2, 4, 3))),
        Case("residual", ops.residual, normals((2, 4, 3), (2, 4, 3))),
        Case(
            "residual, masked",
            lambda x, y: ops.residual(x, y, beside(x, mask)),
            normals((2, 4, 3), (2, 4, 3)),
        ),
        Case(
            "residual, first tokens left out",
            lambda x, y: ops.residual(x, y, None, 1),
            normals((2, 4, 2, 3), (2, 4, 2, 3)),
        ),
        Case("scale", lambda x: ops.scale(x, beside(x, mask)), normals((2, 4, 3))),
        Case(
            "cross_entropy", lambda x: ops.cross_entropy(x, from_host(labels, x)), normals((3, 4))
        ),
        Case(
            "cross_entropy, smoothed",
            lambda x: ops.cross_entropy(x, from_host(labels, x), 0.2),
            normals((3, 4)),
        ),
        Case(
            "cross_entropy, soft targets",
            lambda x: ops.cross_entropy(x, beside(x, shares), 0.2),
            normals((3, 4)),
        ),
    ]


TINY = MViTConfig(
    frames=4, size=16, channels=2, num_classes=3, cube_kernel=(3, 3, 3), cube_stride=(2, 2, 2), dim=4, depths=(1, 1),
    stride_kv=(1, 2, 2), mlp_ratio=2,
)  # fmt: skip
TINY_V2 = replace(
    TINY,
    positions="relative",
    pool_q_always=True,
    residual_pooling="tokens",
    expand_in="attention",
    stride_kv=(1, 4, 4),
)

TINY_REV = replace(
    TINY,
    reversible=True,
    depths=(2, 2),
    expand_in="attention",
    skip="plain",
    cls_token=False,
    qkv_bias=False,
    drop_path=0.4,
)
TINY_HIERA = replace(
    TINY, size=32, mask_unit=(1, 4, 4), mask_unit_stages=1, pool="max", pool_kernel="s", skip_kernel="s", stride_kv=None,
    expand_in="attention", cls_token=False, mean_before_norm=True,
)  # fmt: skip
TINY_VIVIT = replace(TINY, depths=(2,), time_depth=1, stride_kv=None, positions="joint")


def layer_cases():
    """Each layer on a small clip, with the parameters as arguments."""
    p, v2 = plan(TINY), plan(TINY_V2)
    params, params_v2 = roughened(TINY), roughened(TINY_V2)
    first, second = p.blocks
    x = normals((2, first.tokens_in, first.dim_in))
    pooled = normals((2, second.tokens_in, 2, 3))
    return [
        Case(
            "embedding",
            lambda q, x: embed(q, x, p.embed),
            _with(params, normals((2, 4, 16, 16, 2)), _embedding),
        ),
        Case("pooling", lambda x: pool_tokens(x, second.pool_skip, True), _distinct_tokens(pooled)),
        Case(
            "attention",
            lambda q, x: attention(q, x, first),
            _with(params, x, lambda q: q["blocks"][0]["attn"]),
        ),
        Case("attention, MViTv2", *_attention_v2(v2.blocks[1], params_v2)),
        Case("mlp", mlp, _with(params, x, lambda q: q["blocks"][0]["mlp"])),
        Case(
            "block, widening",
            lambda q, x: block(q, x, first),
            _with(params, x, lambda q: q["blocks"][0]),
        ),
        Case(
            "block, pooling",
            lambda q, x: block(q, x, second),
            _with(params, _tokens(second), lambda q: q["blocks"][1]),
        ),
        Case(
            "head",
            lambda q, x: head(q, x, p.head),
            _with(params, normals((2, 5, p.head.dim)), _head),
        ),
        Case(
            "stochastic depth",
            lambda x, y: add_branch(x, y, 0.5, _rng()),
            normals((4, 2, 3), (4, 2, 3)),
        ),
        Case(
            "stochastic depth, no skip", lambda y: drop_branch(y, 0.5, _rng()), normals((4, 2, 3))
        ),
        Case("dropout", lambda x: dropout(x, 0.5, _rng()), normals((4, 6))),
    ]


def model_cases():
    """Whole models, every parameter and the clip: the family, and with stochastic depth, reversed
    and checkpointed.
    """
    mean = replace(TINY, cls_token=False, pool="max", pool_kernel="s+1", positions="joint")
    remembered = checkpoint(lambda q, x, rng: forward(q, x, TINY, rng=rng))
    return [
        _model("MViT", TINY),
        _model("MViTv2", TINY_V2),
        _model("MViT, mean of tokens, max pooling", mean),
        _model("Hiera", TINY_HIERA),
        _model("ViViT, factorised", TINY_VIVIT),
        _model("MViT, mean of the grid before the norm", replace(TINY, mean_before_norm=True)),
        Case(
            "Rev-MViT, training",
            lambda q, x: forward(q, x, TINY_REV, rng=_rng()),
            _model("", TINY_REV).make,
        ),
        Case(
            "MViT, checkpointed, training",
            lambda q, x: remembered(q, x, rng=_rng()),
            _model("", TINY).make,
        ),
    ]


def roughened(config, seed=1):
    """float64 parameters with every bias, norm and token away from its neutral start, so that each
    one matters.
    """
    rng = np.random.default_rng(seed)
    return trees.map(lambda p: p + 0.3 * rng.standard_normal(p.shape), init(config, rng))


def _model(name, config):
    shape = (2, *config.thw, config.channels)
    return Case(
        name,
        lambda q, x: forward(q, x, config),
        lambda rng: [roughened(config), rng.standard_normal(shape)],
    )


def _with(params, make, part):
    return lambda rng: [part(params), *make(rng)]


def _embedding(params):
    return {
        k: v for k, v in params.items() if k.startswith(("patch_embed", "cls_token", "pos_embed"))
    }


def _head(params):
    return {"norm": params["norm"], "head": params["head"]}


def _tokens(spec):
    return normals((2, spec.tokens_in, spec.dim_in))


def _attention_v2(spec, params):
    return lambda q, x: attention(q, x, spec), _with(
        params, _tokens(spec), lambda q: q["blocks"][1]["attn"]
    )


def _with_large_logits(rng):
    """q, k and v whose scores have about 110 in common: exp(110) is beyond float32."""
    q, k, v = normals((2, 5, 3, 4), (2, 6, 3, 4), (2, 6, 3, 2))(rng)
    q[..., 0] = k[..., 0] = 15
    return q, k, v


def _distinct_tokens(make):
    return lambda rng: distinct(*make(rng)[0].shape)(rng)


def _rng():
    return np.random.default_rng(3)
