"""What a model makes of a clip before its head: a map from each stage, and one vector for all."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..backend import tree as trees
from ..backend.arrays import array_module, check_not_mixed
from ..backend.blas import one_blas_thread
from ..backend.types import Array, Generator, Params
from ..ops import linear, reshape, split_class
from .config import MViTConfig
from .forward import check_clip, check_params, forward, trunk
from .layers.block import block
from .layers.head import summary
from .layers.stochastic import dropout
from .plan import plan
from .specs import BlockSpec


@dataclass(frozen=True)
class Features:
    """What `features` gives."""

    maps: tuple[Array, ...]  # of each stage: (B, t, h, w, D), without the class token
    pooled: Array  # (B, D): what the head's linear layer reads


def features(params: Params, clip: Array, config: MViTConfig) -> Features:
    """The map of each stage after its last block, and the pooled vector: class token or mean.

    clip: (B, T, H, W, C) floats   ->   `Features`, which may be differentiated

    Of a reversible model the maps are the mean of its two streams, and the last one has both. Where
    frames are encoded alone (ViViT), the last map has a token a frame, (B, t, 1, 1, D). Raises
    TypeError or ValueError for a clip or parameters that do not fit the config.
    """
    check_params(params, config)
    check_clip(clip, config)
    check_not_mixed(clip, *trees.leaves(params))
    p = plan(config)
    outputs: dict[int, Array] = {}

    def run_block(block_params, x, spec, **options):
        # Coupled blocks do not come by here; what they leave comes in at the next stage.
        outputs.setdefault(spec.index - 1, x)
        outputs[spec.index] = block(block_params, x, spec, **options)
        return outputs[spec.index]

    with one_blas_thread():
        x = trunk(params, clip, config, run_block=run_block)
        outputs[len(p.blocks) - 1] = x
        last = {spec.stage: spec for spec in p.blocks}
        maps = tuple(_map(outputs[spec.index], spec) for spec in last.values())
        return Features(maps, summary(params["norm"], x, p.head))


def pooled(params: Params, clips: Array, config: MViTConfig) -> Array:
    """The pooled vectors alone, as fast as `forward`.   (B, T, H, W, C)   ->   (B, D)

    It is `forward` with a head that hands on what it gets.
    """
    like = params["head"]["w"]
    xp, dim = array_module(like), len(like)
    same = {"w": xp.eye(dim, dtype=like.dtype), "b": xp.zeros(dim, dtype=like.dtype)}
    return forward(params | {"head": same}, clips, replace(config, num_classes=dim))


def scores_of(
    params: Params, pooled: Array, config: MViTConfig, rng: Generator | None = None
) -> Array:
    """The head alone, of `pooled` vectors.   (B, D)   ->   (B, num_classes)"""
    with one_blas_thread():
        x = dropout(pooled, plan(config).head.dropout, rng)
        return linear(x, params["head"]["w"], params["head"]["b"])


def _map(x: Array, spec: BlockSpec) -> Array:
    """A block's tokens on their grid.   (B sequences, [1 +] N, D)   ->   (B, t, h, w, D)"""
    grid = split_class(x)[1] if spec.cls else x
    t, h, w = spec.thw_q
    return reshape(grid, (-1, spec.sequences * t, h, w, x.shape[-1]))
