"""How public code names the parameters that we have, and the role of each.

`#` stands for a block's number, `@` for one letter (q, k, v, or the axis of a relative table).
"""

from __future__ import annotations

import functools
import re

# Every parameter of ours and its role, which decides its axes. Leaves: w and b of a cube embedding
# or a linear layer, g and b of a norm, w of a pool.
ROLES = {
    "patch_embed": "cube",
    "cls_token": "row",
    "pos_embed": "table",
    "pos_embed_spatial": "table",
    "pos_embed_temporal": "table",
    "pos_embed_class": "row",
    "blocks.#.norm1": "norm",
    "blocks.#.attn.qkv": "linear",
    "blocks.#.attn.pool_@": "pool",
    "blocks.#.attn.norm_@": "norm",
    "blocks.#.attn.rel_pos_@": "relative",
    "blocks.#.attn.proj": "linear",
    "blocks.#.norm2": "norm",
    "blocks.#.mlp.fc1": "linear",
    "blocks.#.mlp.fc2": "linear",
    "blocks.#.proj": "linear",
    "norm": "norm",
    "head": "linear",
}
LEAVES = {
    "cube": {"w": "weight", "b": "bias"},
    "linear": {"w": "weight", "b": "bias"},
    "norm": {"g": "weight", "b": "bias"},
    "pool": {"w": "weight"},
}

# What a source calls otherwise; all else has our name there.
RENAMED = {
    "slowfast": {"patch_embed": "patch_embed.proj", "head": "head.projection"},
    "slowfast_rev": {
        "patch_embed": "patch_embed.proj",
        "blocks.#.norm1": "rev_backbone.layers.#.F.norm",
        "blocks.#.attn.qkv": "rev_backbone.layers.#.F.attn.qkv",
        "blocks.#.attn.pool_@": "rev_backbone.layers.#.F.attn.pool_@",
        "blocks.#.attn.norm_@": "rev_backbone.layers.#.F.attn.norm_@",
        "blocks.#.attn.rel_pos_@": "rev_backbone.layers.#.F.attn.rel_pos_@",
        "blocks.#.attn.proj": "rev_backbone.layers.#.F.attn.proj",
        "blocks.#.norm2": "rev_backbone.layers.#.G.norm",
        "blocks.#.mlp.fc1": "rev_backbone.layers.#.G.mlp.fc1",
        "blocks.#.mlp.fc2": "rev_backbone.layers.#.G.mlp.fc2",
        "blocks.#.proj": "rev_backbone.layers.#.res_proj",
        "head": "head.projection",
    },
    "pytorchvideo": {
        "patch_embed": "patch_embed.patch_model",
        "cls_token": "cls_positional_encoding.cls_token",
        "pos_embed": "cls_positional_encoding.pos_embed",
        "pos_embed_spatial": "cls_positional_encoding.pos_embed_spatial",
        "pos_embed_temporal": "cls_positional_encoding.pos_embed_temporal",
        "pos_embed_class": "cls_positional_encoding.pos_embed_class",
        "norm": "norm_embed",
        "head": "head.proj",
    },
    "torchvision": {
        "patch_embed": "conv_proj",
        "cls_token": "pos_encoding.class_token",
        "pos_embed_spatial": "pos_encoding.spatial_pos",
        "pos_embed_temporal": "pos_encoding.temporal_pos",
        "pos_embed_class": "pos_encoding.class_pos",
        "blocks.#.attn.pool_@": "blocks.#.attn.pool_@.pool",
        "blocks.#.attn.norm_@": "blocks.#.attn.pool_@.norm_act.0",
        "blocks.#.attn.proj": "blocks.#.attn.project.0",
        "blocks.#.mlp.fc1": "blocks.#.mlp.0",
        "blocks.#.mlp.fc2": "blocks.#.mlp.3",
        "blocks.#.proj": "blocks.#.project",
        "head": "head.1",
    },
    "timm": {"patch_embed": "patch_embed.proj", "head": "head.fc"},
    "timm_hiera": {"patch_embed": "patch_embed.proj", "norm": "head.norm", "head": "head.fc"},
}


def to_ours(layout: str, name: str) -> tuple[str, str] | None:
    """(our path, its role) of a parameter that the layout calls `name`, or None."""
    return _translated(_rules(layout)[0], name)


def to_theirs(layout: str, path: str) -> tuple[str, str]:
    """(the layout's name, its role) of a parameter of ours; all but a bridge's have one."""
    return _translated(_rules(layout)[1], path)


def _translated(rules, name):
    for pattern, replacement, role in rules:
        if match := pattern.fullmatch(name):
            return match.expand(replacement), role
    return None


@functools.cache
def _rules(layout):
    """Two lists of (pattern, replacement, role): from their names to ours, and back."""
    pairs = []
    for ours, role in ROLES.items():
        theirs = RENAMED[layout].get(ours, ours)
        for our_leaf, their_leaf in LEAVES.get(role, {"": ""}).items():
            dot = "." if our_leaf else ""
            pairs.append((ours + dot + our_leaf, theirs + dot + their_leaf, role + dot + our_leaf))
    there = [(_pattern(theirs), _replacement(ours), role) for ours, theirs, role in pairs]
    return there, [(_pattern(ours), _replacement(theirs), role) for ours, theirs, role in pairs]


def _pattern(template):
    escaped = re.escape(template).replace(r"\#", r"(0|[1-9]\d{0,3})")
    return re.compile(escaped.replace("@", "([a-z])"))


def _replacement(template):
    """Both names have the number before the letter."""
    return template.replace("#", r"\1").replace("@", r"\2")
