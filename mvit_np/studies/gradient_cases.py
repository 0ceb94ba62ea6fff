"""Every gradient of the package, checked by `mvit-np check`: a case for each op, and all others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .. import ops
from ..backend.arrays import from_host
from ..ops.fast.project import project
from ..ops.fast.take_seen import take_seen
from .case import Case, beside, distinct, normals
from .model_cases import (
    TINY,
    TINY_HIERA,
    TINY_REV,
    TINY_V2,
    TINY_VIVIT,
    layer_cases,
    model_cases,
    roughened,
)

__all__ = [
    "TINY", "TINY_HIERA", "TINY_REV", "TINY_V2", "TINY_VIVIT", "Case", "all_cases", "beside",
    "distinct", "layer_cases", "model_cases", "normals", "op_cases", "roughened",
]  # fmt: skip


def all_cases() -> list[Case]:
    """Ops, layers and models by their definitions and fast; but models also in small tiles."""
    layers = [replace(case, composed=True) for case in layer_cases()]
    models = [replace(case, composed=True) for case in model_cases()]
    parts = [*op_cases(), *layers]
    runs = ((parts + models, "plain"), (parts + models, "fast"), (parts, "tiles"))
    return [case.by(versions) for cases, versions in runs for case in cases]


def op_cases() -> list[Case]:
    """At least one case for each op, several where it has several forms."""
    return [*_dense_cases(), *_window_cases(), *_token_cases(), *_sum_cases(), *_loss_cases()]


def _dense_cases():
    """Linear layers and attention, and what stands between them."""
    qkv = normals((2, 5, 3, 4), (2, 6, 3, 4), (2, 6, 3, 2))

    def attend(q, k, v):
        return ops.attend(q, k, v, 0.5)

    def large_logits(rng):
        """Scores with about 110 in common: exp(110) is beyond float32."""
        q, k, v = qkv(rng)
        q[..., 0] = k[..., 0] = 15
        return q, k, v

    def project_two(x, w, b, rest):
        q, k, v = project(x, w, b, 3, rest)
        return ops.add(q, ops.add(k, v))

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
            project_two,
            normals((1, 3, 5), (5, 12), (12,), (2, 3, 5)),
        ),
        Case("gelu", ops.gelu, normals((4, 7))),
        Case("mlp", ops.mlp, normals((2, 3, 5), (5, 6), (6,), (6, 4), (4,))),
        Case("softmax", ops.softmax, normals((3, 2, 6))),
        Case("attend", attend, qkv),
        Case("attend, large logits", attend, large_logits, composed=True),
        Case("layer_norm", ops.layer_norm, normals((2, 5, 6), (6,), (6,))),
    ]


def _window_cases():
    """Convolutions, pools and relative positions."""
    grid = (2, 3, 5, 4, 2, 3)  # (B, T, H, W, heads, d)
    grids = ((1, (2, 3, 2), (2, 2, 3)), (2, (2, 3, 2), (2, 2, 3)), (0, (2, 3, 2), (2, 2, 3)))
    return [
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
            "max_pool",
            lambda x: ops.max_pool(x, (1, 3, 3), (1, 2, 2), (0, 1, 1)),
            distinct(*grid),
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
    ]


def _token_cases():
    """What splits tokens and channels and joins them."""
    return [
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
            "split_units",
            lambda x: ops.split_units(x, (2, 4, 6), (1, 2, 3)),
            normals((2, 48, 3)),
        ),
        Case("join_units", lambda x: ops.join_units(x, (2, 4, 6), (2, 2, 3)), normals((8, 12, 3))),
        Case("first_token", ops.first_token, normals((2, 4, 3))),
        Case("mean_token", ops.mean_token, normals((2, 4, 3))),
    ]


def _sum_cases():
    """Sums, of branches with masks as stochastic depth has them."""
    two = normals((2, 4, 3), (2, 4, 3))
    mask = np.array([0.0, 2.0]).reshape(2, 1, 1)
    return [
        Case("add", ops.add, two),
        Case("add, repeated", ops.add, normals((4, 3), (2, 1, 3))),
        Case("add, repeated along leading and inner axes", ops.add, normals((1, 3), (2, 4, 3))),
        Case("residual", ops.residual, two),
        Case("residual, masked", lambda x, y: ops.residual(x, y, beside(x, mask)), two),
        Case(
            "residual, first tokens left out",
            lambda x, y: ops.residual(x, y, None, 1),
            normals((2, 4, 2, 3), (2, 4, 2, 3)),
        ),
        Case("scale", lambda x: ops.scale(x, beside(x, mask)), normals((2, 4, 3))),
    ]


def _loss_cases():
    logits, labels = normals((3, 4)), np.array([2, 0, 1])
    shares = np.array([[0.7, 0, 0.3, 0], [1, 0, 0, 0], [0.1, 0.2, 0.3, 0.4]])

    def hard(x, smoothing=0.0):
        return ops.cross_entropy(x, from_host(labels, x), smoothing)

    return [
        Case("cross_entropy", hard, logits),
        Case("cross_entropy, smoothed", lambda x: hard(x, 0.2), logits),
        Case(
            "cross_entropy, soft targets",
            lambda x: ops.cross_entropy(x, beside(x, shares), 0.2),
            logits,
        ),
    ]
