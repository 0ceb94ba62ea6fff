"""One model for clips of any length and size: only its position tables are interpolated."""

from __future__ import annotations

import functools
from dataclasses import replace

from ..backend import tree as trees
from ..backend.arrays import array_module
from ..backend.types import Params
from ..ops.interpolation import cubic_matrix, linear_matrix
from .config import MViTConfig
from .forward import check_params
from .plan import plan


def resize(
    params: Params,
    config: MViTConfig,
    frames: int | None = None,
    size: int | tuple[int, int] | None = None,
) -> tuple[Params, MViTConfig]:
    """The same model for clips of other `frames` or `size` (an int or (H, W)), as (params, config).

    Along time tables are interpolated linearly, over space bicubically (as SlowFast does with a
    checkpoint), relative ones linearly. What has no position table is shared, not copied. Where a
    stride does not divide the new grids they are rounded up (`uneven`). Raises ValueError for
    parameters of another config, or a size the model cannot have.
    """
    check_params(params, config)
    frames = config.frames if frames is None else frames
    size = config.size if size is None else size
    new = _config(config, {"frames": frames, "size": size})
    return _fitted(params, plan(config), plan(new)), new


def _config(config, sizes):
    try:
        return replace(config, **sizes)
    except ValueError as problem:
        if config.uneven:
            raise
        try:
            return replace(config, **sizes, uneven=True)
        except ValueError:
            raise problem from None


def _fitted(params, old, new):
    """Each position table of `params`, in the length that the new plan wants."""
    was, now = old.embed, new.embed
    grids = {
        "pos_embed_spatial": ((1, *was.thw[1:]), (1, *now.thw[1:])),
        "pos_embed_temporal": ((was.thw[0], 1, 1), (now.thw[0], 1, 1)),
        "pos_embed": (was.thw_sequence, now.thw_sequence),
    }
    if old.bridge:
        grids["bridge.pos_embed"] = ((old.bridge.frames, 1, 1), (new.bridge.frames, 1, 1))
    rules = {
        path: functools.partial(_over_grid, thw=thw, new_thw=new_thw)
        for path, (thw, new_thw) in grids.items()
    }
    for block in new.blocks:
        for axis, length in block.relative:
            path = f"blocks.{block.index}.attn.rel_pos_{axis}"
            rules[path] = functools.partial(_along, length=length)
    leaves, rebuild = trees.flatten(params)
    paths = [path for path, _ in trees.paths(params)]
    return rebuild([rules.get(path, lambda x: x)(leaf) for path, leaf in zip(paths, leaves)])


def _over_grid(table, thw, new_thw):
    """A table of a token grid, a class row (if any) first.   (rows, D)   ->   (new rows, D)"""
    if thw == new_thw:
        return table
    xp = array_module(table)
    cls = table.shape[0] - thw[0] * thw[1] * thw[2]
    grid = table[cls:].reshape(*thw, -1)
    makers = (linear_matrix, cubic_matrix, cubic_matrix)
    t, h, w = (_matrix(make, xp, n, m, table.dtype) for make, n, m in zip(makers, thw, new_thw))
    resized = xp.einsum("at,bh,cw,thwd->abcd", t, h, w, grid, optimize=True)
    return xp.concatenate([table[:cls], resized.reshape(-1, table.shape[1])])


def _along(table, length):
    """A relative table.   (L, d)   ->   (length, d)"""
    if table.shape[0] == length:
        return table
    return _matrix(linear_matrix, array_module(table), table.shape[0], length, table.dtype) @ table


def _matrix(make, xp, length, new_length, dtype):
    """An axis that keeps its length is left exactly as it is."""
    return (xp.eye(length) if length == new_length else make(xp, length, new_length)).astype(dtype)
