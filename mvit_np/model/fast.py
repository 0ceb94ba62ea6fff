"""Faster versions of parts of the layers; each equals the composition that it stands for.

Keys and values are projected only where their pool looks: 12.8 % of the tokens in MViT-B's first
stage. A batch of large clips is taken clip by clip, one on each thread.
"""

import numpy as np

from ..autodiff.hooks import is_watched
from ..autodiff.tape import untraced
from ..autodiff.versions import fast
from ..backend import tiles
from ..backend import tree as trees
from ..backend.precision import precision
from ..backend.types import Array, Params
from ..ops import reshape
from ..ops.fast.project import project
from ..ops.fast.take_seen import on_seen, skips_cells, take_seen
from . import forward, passes
from .config import MViTConfig
from .layers import attention
from .layers.pooling import pool_heads
from .plan import plan
from .specs import BlockSpec


@fast(attention.queries_keys_values, on=("numpy", "device"))
def queries_keys_values(params: Params, x: Array, spec: BlockSpec) -> tuple[Array, ...]:
    """As `layers.attention.queries_keys_values`."""
    seen, pool_kv = None, spec.pool_kv
    if pool_kv and skips_cells(pool_kv):
        seen = take_seen(x, spec.thw, pool_kv.kernel, pool_kv.stride, pool_kv.padding)
        pool_kv = on_seen(pool_kv)
    projected = project(x, params["qkv"]["w"], params["qkv"].get("b"), 3, seen)
    pools = (("q", spec.pool_q), ("k", pool_kv), ("v", pool_kv))
    hats = (reshape(y, (*y.shape[:2], spec.heads, spec.head_dim)) for y in projected)
    both = zip(hats, pools)
    return tuple(pool_heads(params, hat, pool, which, spec) for hat, (which, pool) in both)


@fast(forward.evaluate, on="numpy")
def evaluate(params: Params, clip: Array, config: MViTConfig) -> Array:
    """As `forward.evaluate`; in passes over rows where nothing is traced and no op is watched."""
    traced = any(leaf is not untraced(leaf) for leaf in (clip, *trees.leaves(params)))
    rounded = precision() != "float32"  # of each op's operands
    if traced or rounded or config.reversible or is_watched():
        return forward.run(params, clip, config)
    if len(clip) == 1 or plan(config).blocks[0].tokens_in * config.dim < tiles.NUMBERS:
        return passes.run(params, clip, config)
    logits = np.empty((len(clip), config.num_classes), dtype=clip.dtype)

    def one(i):
        logits[i : i + 1] = passes.run(params, clip[i : i + 1], config)

    together = len(clip) - len(clip) % tiles.threads()  # the rest one after another, on all threads
    tiles.run(one, range(together))
    for i in range(together, len(clip)):
        one(i)
    return logits
