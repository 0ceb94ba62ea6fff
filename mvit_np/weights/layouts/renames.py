"""What a table of names cannot say: fused projections, aliases, stages. All on {name: array}."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np

from ...backend.types import Array, Params
from ...model.config import MViTConfig

MAX_DEPTH = 8
_QUERY = re.compile(r"(.*\.attn)\.q\.(weight|bias)")
_ALIAS = re.compile(r"(.*\.attn)\._attention_pool_([qkv])\.(pool|norm)\.(weight|bias)")
_STAGED = re.compile(r"stages\.(0|[1-9]\d{0,3})\.blocks\.(0|[1-9]\d{0,3})\.(.*)")


def without_prefix(tensors: dict[str, Array]) -> dict[str, Array]:
    """The tensors without the `module.`, `model.` or `_orig_mod.` that wrappers prepend."""
    for prefix in ("module.", "model.", "_orig_mod."):
        if tensors and all(name.startswith(prefix) for name in tensors):
            return without_prefix({name.removeprefix(prefix): x for name, x in tensors.items()})
    return tensors


def fused(tensors: dict[str, Array]) -> dict[str, Array]:
    """q, k and v of an attention as one qkv, rows in that order. Incomplete triples stay."""
    out = dict(tensors)
    for match in filter(None, map(_QUERY.fullmatch, tensors)):
        names = [f"{match[1]}.{which}.{match[2]}" for which in "qkv"]
        whole = f"{match[1]}.qkv.{match[2]}"
        alike = [name in out and out[name].shape == out[names[0]].shape for name in names]
        if whole not in tensors and all(alike):
            out[whole] = np.concatenate([out.pop(name) for name in names])
    return out


def split(tensors: dict[str, Array]) -> dict[str, Array]:
    """Each qkv of an attention as q, k and v: `fused` is the way back."""
    out: dict[str, Array] = {}
    for name, x in tensors.items():
        before, qkv, after = name.partition(".attn.qkv.")
        parts = zip("qkv", np.split(x, 3)) if qkv else ()
        out |= {f"{before}.attn.{which}.{after}": part for which, part in parts} or {name: x}
    return out


def without_aliases(tensors: dict[str, Array]) -> dict[str, Array]:
    """PyTorchVideo registers each pool and its norm twice; raises ValueError if they differ."""
    out = dict(tensors)
    for match in filter(None, map(_ALIAS.fullmatch, tensors)):
        alias, twin = match[0], f"{match[1]}.{match[3]}_{match[2]}.{match[4]}"
        x = out.pop(alias)
        if twin in tensors and not np.array_equal(x, tensors[twin], equal_nan=True):
            came = f"{alias} and {twin} name one parameter, and their numbers differ"
            raise ValueError(f"{came}: was the file edited?")
        out.setdefault(twin, x)
    return out


def stage_depths(tensors: Iterable[str]) -> tuple[int, ...]:
    """Blocks a stage of timm's MViTv2. Raises ValueError where one is missing."""
    matches = filter(None, map(_STAGED.fullmatch, tensors))
    blocks = {(int(match[1]), int(match[2])) for match in matches}
    stages = [stage for stage, _ in blocks]
    depths = tuple(stages.count(stage) for stage in range(1 + max(stages, default=-1)))
    for stage, count in enumerate(depths):
        if absent := [j for j in range(max(count, 1)) if (stage, j) not in blocks]:
            came = f"stages.{stage}.blocks.{absent[0]} is missing: the file is incomplete"
            raise ValueError(f"blocks are counted without gaps, and {came}")
    return depths


def unstaged(tensors: dict[str, Array]) -> dict[str, Array]:
    """timm's names with blocks counted through, and a skip's projection `proj` everywhere.

    Raises ValueError where a block is missing or two tensors get one name.
    """
    depths, out = stage_depths(tensors), {}
    for name, x in tensors.items():
        if match := _STAGED.fullmatch(name):
            rest = re.sub(r"^shortcut_proj_(attn|mlp)\.", "proj.", match[3])
            name = f"blocks.{sum(depths[: int(match[1])]) + int(match[2])}.{rest}"
        if name in out:
            raise ValueError(
                f"two tensors are the one parameter {in_stages(name, depths)}: the file was edited"
            )
        out[name] = x
    return out


def staged(tensors: dict[str, Array], config: MViTConfig) -> dict[str, Array]:
    """Our names as timm's, by stages: `unstaged` is the way back."""
    shortcut = {"attention": "shortcut_proj_attn", "mlp": "shortcut_proj_mlp"}[config.expand_in]
    names = {name: re.sub(r"^(blocks\.\d+)\.proj\.", rf"\1.{shortcut}.", name) for name in tensors}
    return {in_stages(names[name], config.depths): x for name, x in tensors.items()}


def in_stages(name: str, depths: Sequence[int]) -> str:
    """timm's name of a parameter of a block counted through. One beyond those keeps its name."""
    blocks = [f"stages.{i}.blocks.{j}" for i, count in enumerate(depths) for j in range(count)]
    names = {f"blocks.{i}": name for i, name in enumerate(blocks)}
    return re.sub(r"^blocks\.\d+", lambda match: names.get(match[0], match[0]), name)


def nested(entries: dict[str, Array]) -> Params:
    """Paths such as `blocks.3.attn.qkv.w` as nested dicts, with keys 0, 1, 2, ... as lists.

    Raises ValueError for a path that is too deep or goes through a parameter.
    """
    root: Params = {}
    for path, leaf in entries.items():
        *parents, last = path.split(".")
        node = root
        if len(parents) > MAX_DEPTH:
            raise ValueError(
                f"{path[:80]}... lies deeper than any parameter: the file is no model's"
            )
        for key in parents:
            node = node.setdefault(key, {})
            if not isinstance(node, dict):
                raise ValueError(f"{path} lies inside another parameter: the file is damaged")
        node[last] = leaf
    return _lists(root)


def _lists(node):
    if not isinstance(node, dict):
        return node
    children = {key: _lists(child) for key, child in node.items()}
    numbered = children and all(key.isdigit() for key in children)
    return [children[key] for key in sorted(children, key=int)] if numbered else children
