"""The gradients of layers and of whole models: cases of `gradient_cases`, and their tiny models."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..autodiff.checkpoint import checkpoint
from ..backend import tree as trees
from ..backend.types import Params
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
from .case import Case, distinct, normals

TINY = MViTConfig(
    frames=4, size=16, channels=2, num_classes=3, cube_kernel=(3, 3, 3), cube_stride=(2, 2, 2),
    dim=4, depths=(1, 1), stride_kv=(1, 2, 2), mlp_ratio=2,
)  # fmt: skip
TINY_V2 = replace(
    TINY, positions="relative", pool_q_always=True, residual_pooling="tokens",
    expand_in="attention", stride_kv=(1, 4, 4),
)  # fmt: skip
TINY_REV = replace(
    TINY, reversible=True, depths=(2, 2), expand_in="attention", skip="plain", cls_token=False,
    qkv_bias=False, drop_path=0.4,
)  # fmt: skip
TINY_HIERA = replace(
    TINY, size=32, mask_unit=(1, 4, 4), mask_unit_stages=1, pool="max", pool_kernel="s",
    skip_kernel="s", stride_kv=None, expand_in="attention", cls_token=False, mean_before_norm=True,
)  # fmt: skip
TINY_VIVIT = replace(TINY, depths=(2,), time_depth=1, stride_kv=None, positions="joint")


def layer_cases() -> list[Case]:
    """Each layer on a small clip, with the parameters as arguments."""
    p, params = plan(TINY), roughened(TINY)
    first, second = p.blocks
    skip_pool: Any = second.pool_skip
    second_v2, params_v2 = plan(TINY_V2).blocks[1], roughened(TINY_V2)
    clip, y, two = normals((2, 4, 16, 16, 2)), normals((4, 2, 3)), normals((4, 2, 3), (4, 2, 3))
    x, pooled = _tokens(first), _tokens(second)
    distinct_tokens = distinct(2, second.tokens_in, 2, 3)

    def case(name, layer, spec, make, part, params=params):
        """A layer, its part of the parameters, and what it is called with."""
        return Case(name, lambda q, x: layer(q, x, spec), lambda rng: [part(params), *make(rng)])

    return [
        case("embedding", embed, p.embed, clip, _embedding),
        Case("pooling", lambda x: pool_tokens(x, skip_pool, True), distinct_tokens),
        case("attention", attention, first, x, lambda q: q["blocks"][0]["attn"]),
        case(
            "attention, MViTv2", attention, second_v2, _tokens(second_v2),
            lambda q: q["blocks"][1]["attn"], params_v2,
        ),
        Case("mlp", mlp, lambda rng: [params["blocks"][0]["mlp"], *x(rng)]),
        case("block, widening", block, first, x, lambda q: q["blocks"][0]),
        case("block, pooling", block, second, pooled, lambda q: q["blocks"][1]),
        case(
            "head", head, p.head, normals((2, 5, p.head.dim)),
            lambda q: {"norm": q["norm"], "head": q["head"]},
        ),
        Case("stochastic depth", lambda x, y: add_branch(x, y, 0.5, _rng()), two),
        Case("stochastic depth, no skip", lambda y: drop_branch(y, 0.5, _rng()), y),
        Case("dropout", lambda x: dropout(x, 0.5, _rng()), normals((4, 6))),
    ]  # fmt: skip


def model_cases() -> list[Case]:
    """Whole models, all parameters and the clip: the family, and two of its members in training."""
    mean = replace(TINY, cls_token=False, pool="max", pool_kernel="s+1", positions="joint")
    remembered = checkpoint(lambda q, x, rng: forward(q, x, TINY, rng=rng))
    reversible = Case(
        "Rev-MViT, training",
        lambda q, x: forward(q, x, TINY_REV, rng=_rng()),
        _model("", TINY_REV).make,
    )
    checkpointed = Case(
        "MViT, checkpointed, training",
        lambda q, x: remembered(q, x, rng=_rng()),
        _model("", TINY).make,
    )
    return [
        _model("MViT", TINY),
        _model("MViTv2", TINY_V2),
        _model("MViT, mean of tokens, max pooling", mean),
        _model("Hiera", TINY_HIERA),
        _model("ViViT, factorised", TINY_VIVIT),
        _model("MViT, mean of the grid before the norm", replace(TINY, mean_before_norm=True)),
        reversible,
        checkpointed,
    ]


def roughened(config: MViTConfig, seed: int = 1) -> Params:
    """float64 parameters with no bias, norm or token at its neutral start: each one matters."""
    rng = np.random.default_rng(seed)
    return trees.map(lambda p: p + 0.3 * rng.standard_normal(p.shape), init(config, rng))


def _model(name, config):
    shape = (2, *config.thw, config.channels)

    def make(rng):
        return [roughened(config), rng.standard_normal(shape)]

    return Case(name, lambda q, x: forward(q, x, config), make)


def _embedding(params):
    names = ("patch_embed", "cls_token", "pos_embed")
    return {name: p for name, p in params.items() if name.startswith(names)}


def _tokens(spec):
    return normals((2, spec.tokens_in, spec.dim_in))


def _rng():
    return np.random.default_rng(3)
