"""Public checkpoints of MViT as our parameters, and back: five code bases' names and axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...backend import tree as trees
from ...backend.plain_text import some
from ...backend.types import Array, Params
from ...model.config import MViTConfig
from ...model.forward import check_params
from ...model.plan import plan
from . import arrays, names, renames
from .encoders import new_parts
from .limits import check_holds

TITLES = {
    "slowfast": "SlowFast's",
    "slowfast_rev": "SlowFast's for reversible models",
    "pytorchvideo": "PyTorchVideo's",
    "torchvision": "torchvision's",
    "timm": "timm's",
    "timm_hiera": "timm's for Hiera",
}

# A name that files of a layout have and those above it have not.
MARKS = {
    "torchvision": "conv_proj.weight",
    "pytorchvideo": "patch_embed.patch_model.weight",
    "slowfast_rev": "rev_backbone.layers.0.F.norm.weight",
    "timm": "stages.0.blocks.0.norm1.weight",
    "timm_hiera": "head.norm.weight",
    "slowfast": "patch_embed.proj.weight",
}

SPLITTABLE = ("slowfast", "slowfast_rev", "pytorchvideo")

# Parts that every model has; those on the right wherever it has the one on the left.
ALWAYS = ("patch_embed.w", "patch_embed.b", "norm.g", "norm.b", "head.w", "head.b")
IN_A_BLOCK = (
    "norm1.g norm1.b attn.qkv.w attn.proj.w attn.proj.b norm2.g norm2.b mlp.fc1.w mlp.fc1.b "
    "mlp.fc2.w mlp.fc2.b"
)
TOGETHER = {
    "attn.pool_q.w": ("attn.norm_q.g", "attn.norm_q.b"),
    "attn.pool_k.w": tuple(
        "attn.norm_k.g attn.norm_k.b attn.pool_v.w attn.norm_v.g attn.norm_v.b".split()
    ),
    "attn.pool_v.w": ("attn.pool_k.w",),
    "attn.rel_pos_h": ("attn.rel_pos_w",),
    "attn.rel_pos_w": ("attn.rel_pos_h",),
    "proj.w": ("proj.b",),
}


def recognise(tensors: dict[str, Array]) -> str:
    """The layout of {name: array}: a key of `TITLES`. Raises ValueError for names of no layout."""
    found = renames.without_prefix(tensors)
    for layout, mark in MARKS.items():
        if mark in found:
            return layout
    came, known = some(list(tensors)) or "none at all", ", ".join(TITLES)
    rule = f"these are no parameters of an MViT as {known} have them"
    raise ValueError(f"{rule}; came {came}: give a model's state dict")


def to_params(tensors: dict[str, Array], layout: str, new_classes: int | None = None) -> Params:
    """Parameters in our layout (nested dicts and a list `blocks`) of {name: array} in another.

    new_classes   of an encoder: how many classes the head is for that it gets (`new_parts`)

    Raises ValueError where something is missing, of no use here, or of a shape that no parameter
    in its role has.
    """
    given = renames.without_prefix(tensors)
    tensors = _READ[layout](given)
    translated = ((name, names.to_ours(layout, name)) for name in tensors)
    found = {name: ours for name, ours in translated if ours}
    if unused := [name for name in tensors if name not in found]:
        raise ValueError(
            f"{TITLES[layout]} layout has no {_called(unused, given)}: the file holds more, or "
            "other, than a classifier"
        )
    entries = {}
    for name, (path, role) in found.items():
        entries[path] = arrays.to_ours(name, tensors[name], role)
    if new_classes is not None:
        entries |= new_parts(entries, new_classes)
    if missing := [names.to_theirs(layout, path)[0] for path in _missing(entries)]:
        raise ValueError(
            f"a classifier in {TITLES[layout]} layout also has {_called(missing, given)}: the file "
            "is incomplete"
        )
    return renames.nested(entries)


def from_params(
    params: Params, config: MViTConfig, layout: str, split: bool | None = None
) -> dict[str, Array]:
    """{name: array} in another layout of a model of ours; slowfast and timm choose by the model.

    split   whether q, k and v are three layers, in "slowfast" (which usually has one) and
            "pytorchvideo" (three)

    Raises ValueError for a model that the other code cannot be, and for parameters that do not fit
    the config.
    """
    layout = _of_family(config, layout)
    check_params(params, config)
    check_holds(config, layout, TITLES[layout])
    if split is not None and layout not in SPLITTABLE:
        raise ValueError(
            f"{TITLES[layout]} layout has q, k and v in one layer, came split={split}: leave it out"
        )
    splits = layout == "pytorchvideo" if split is None else split
    image = plan(config).embed.thw[0] == config.cube_kernel[0] == 1
    flat = {"cube.w": image and layout != "torchvision", "pool.w": layout == "timm"}
    tensors = {}
    for path, leaf in trees.paths(params):
        name, role = names.to_theirs(layout, path)
        bare = layout == "torchvision"
        tensors[name] = arrays.to_theirs(leaf, role, flat.get(role, False), bare)
    if layout == "timm":
        return renames.staged(tensors, config)
    return renames.split(tensors) if splits else tensors


def hints(tensors: dict[str, Array], layout: str) -> dict[str, Any]:
    """What a layout says of a config beyond shapes: {field: value}."""
    tensors = renames.without_prefix(tensors)
    fields: dict[str, Any] = {}
    cube = tensors.get(names.to_theirs(layout, "patch_embed.w")[0])
    if cube is not None and cube.ndim == 4:
        fields["frames"] = 1
    if layout in ("pytorchvideo", "torchvision", "timm"):
        fields["mean_before_norm"] = False
    if layout == "timm":
        fields["depths"] = renames.stage_depths(tensors)
        fields |= {"residual_pooling": "all"} if "cls_token" in tensors else {}
    if layout == "timm_hiera":
        fields |= dict(stride_kv=None, pool="max", pool_kernel="s", skip_kernel="s")
        fields["mean_before_norm"] = True
    return fields


def _of_family(config, layout):
    if layout == "slowfast" and config.reversible:
        return "slowfast_rev"
    if layout == "timm" and config.mask_unit:
        return "timm_hiera"
    if layout not in TITLES:
        raise ValueError(f"a layout is one of {', '.join(TITLES)}; came {layout!r}: pick one")
    return layout


def _missing(entries):
    """Paths of ours without which these are no model."""
    yield from (path for path in ALWAYS if path not in entries)
    numbers = {int(path.split(".")[1]) for path in entries if path.startswith("blocks.")}
    for i in range(max(numbers, default=0) + 1):
        implied = [others for part, others in TOGETHER.items() if f"blocks.{i}.{part}" in entries]
        wanted = dict.fromkeys([*IN_A_BLOCK.split(), *sum(implied, ())])
        yield from (f"blocks.{i}.{part}" for part in wanted if f"blocks.{i}.{part}" not in entries)
    if "pos_embed_temporal" in entries and "pos_embed_spatial" not in entries:
        yield "pos_embed_spatial"


def _called(found, given):
    """The first of them, as the file calls them."""
    depths = renames.stage_depths(given)
    return some([renames.in_stages(name, depths) if depths else name for name in found])


_READ: dict[str, Callable[[dict[str, Array]], dict[str, Array]]] = {
    "slowfast": renames.fused,
    "slowfast_rev": renames.fused,
    "pytorchvideo": lambda tensors: renames.fused(renames.without_aliases(tensors)),
    "torchvision": dict,
    "timm": renames.unstaged,
    "timm_hiera": dict,
}
