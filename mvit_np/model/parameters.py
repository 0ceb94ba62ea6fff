"""The parameters of a model: how a fresh model's are put together, and which shapes they have."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import MappingProxyType

from ..backend import tree as trees
from ..backend.types import Generator, Params
from .config import MViTConfig
from .layers.block import init_block
from .layers.bridge import init_bridge
from .layers.embedding import init_embed
from .layers.head import init_head
from .layers.initial import SHAPES_ALONE
from .plan import Plan, plan


def fresh_params(p: Plan, rng: Generator) -> Params:
    """The parameters of a plan's model, in the clip's order: a seed's draws depend on it."""
    start = init_embed(p.embed, rng)
    blocks = [init_block(spec, rng) for spec in p.blocks]
    between = {"bridge": init_bridge(p.bridge, rng)} if p.bridge else {}
    return {**start, "blocks": blocks, **between, **init_head(p.head, rng)}


@functools.lru_cache(maxsize=64)
def parameter_shapes(config: MViTConfig) -> Mapping[str, tuple[int, ...]]:
    """{path: shape} of the parameters that `init` makes, in its order, without making them.

    Paths are those of `mv.tree.paths`, such as `blocks.3.attn.qkv.w`; the mapping is read-only.
    Raises ValueError for a shape that no array has.
    """
    params = fresh_params(plan(config), SHAPES_ALONE)
    return MappingProxyType({path: leaf.shape for path, leaf in trees.paths(params)})
