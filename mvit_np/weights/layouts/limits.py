"""What one side has and the other has not: models that a code base cannot be, parts not here."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ...model.config import MViTConfig

# Parts of other models, as their parameters are called.
PARTS = (
    (r"(.*\.)?(num_batches_tracked|running_mean|running_var)", "batch norm"),
    (
        r"(.*\.)?pre_q_fuse\..*",
        "streams that layers fuse before queries are pooled (MVIT.REV.PRE_Q_FUSION)",
    ),
    (r"(.*\.)?fuse\.fuse_fn\..*", "streams that layers join (MVIT.REV.RESPATH_FUSE)"),
    (r"(norm_stem|norm_patch_embed)\..*", "a norm behind the cube embedding (MVIT.NORM_STEM)"),
    (r"(.*\.)?gamma_[12]", "scales of whole layers"),
    (r"head\.projection\.projection\..*", "a head of several layers (CONTRASTIVE.NUM_MLP_LAYERS)"),
    (
        r"mask_token|(pred_head|hogs)\..*|(decoder|dec)_.*",
        "what predicts hidden cubes (MaskFeat, MAE), and no classifier",
    ),
)


def check_parts(names: Iterable[str]) -> None:
    """Raise ValueError where names belong to a part that mvit_np does not have, saying which."""
    for name in names:
        for pattern, what in PARTS:
            if re.fullmatch(pattern, name):
                raise ValueError(
                    f"it has {what}: {name[:80]}; mvit_np has no such part: take another checkpoint"
                )


def check_holds(config: MViTConfig, layout: str, title: str) -> None:
    """Raise ValueError where the code of that layout has no such model."""
    for rule, holds in _RULES[layout]:
        if not holds(config):
            came = f"{title} layout is for models with {rule}, unlike this one"
            raise ValueError(f"{came}: write npz or safetensors")


def _plain_skips(c):
    return c.skip == "normalised" and (c.skip_kernel == "s+1" or c.mask_unit is not None)


def _all_pooled(c):
    return c.pool == "conv" and c.pool_q_always and c.stride_kv is not None and not c.unpooled_kv


def _separate_or_in_time(c):
    return c.positions == "separate" or c.positions == "relative" and c.relative_time


def _relative_in_space(c):
    return c.positions == "relative" and not c.relative_time


def _usual_numbers(c):
    return c.qkv_bias and c.mlp_ratio == 4 and c.eps == 1e-6


_ONE_ENCODER = ("one encoder over space and time (time_depth=0)", lambda c: c.time_depth == 0)
_ONE_STREAM = ("one stream (reversible=False)", lambda c: not c.reversible)
_PLAIN = (_ONE_ENCODER, _ONE_STREAM)
_SKIPS = ("skips from the normed input under max pooling of kernel s+1", _plain_skips)
_NO_UNITS = ("attention over the whole grid (mask_unit=None)", lambda c: c.mask_unit is None)
_TOKEN = ("a class token, or the mean of normed tokens", lambda c: not c.mean_before_norm)
_POSITIONS = ("positions 'separate' or 'joint'", lambda c: c.positions in ("separate", "joint"))
_QUERY_NOT_IN_CLASS = (
    "no pooled query added to the class row",
    lambda c: not c.cls_token or c.residual_pooling != "all",
)
_QUERY_IN_CLASS = (
    "the pooled query added to the class row too",
    lambda c: not c.cls_token or c.residual_pooling != "tokens",
)

_RULES = {
    "slowfast": (
        _ONE_ENCODER,
        _SKIPS,
        _QUERY_NOT_IN_CLASS,
        ("positions 'separate', 'joint', 'relative' or 'none'", lambda c: c.positions != "space"),
    ),
    "slowfast_rev": (
        _ONE_ENCODER,
        ("skips from the plain input (skip='plain')", lambda c: c.skip == "plain"),
        ("no class token", lambda c: not c.cls_token),
    ),
    "pytorchvideo": (*_PLAIN, _NO_UNITS, _TOKEN, _SKIPS, _POSITIONS, _QUERY_IN_CLASS),
    "torchvision": (
        *_PLAIN,
        _NO_UNITS,
        ("a class token", lambda c: c.cls_token),
        _TOKEN,
        _SKIPS,
        ("positions 'separate', or 'relative' with time", _separate_or_in_time),
        ("convolutions as pools", lambda c: c.pool == "conv"),
        ("biases in qkv, mlp_ratio 4 and eps 1e-6", _usual_numbers),
    ),
    "timm": (
        *_PLAIN,
        ("a single frame (frames=1)", lambda c: c.frames == c.cube_kernel[0] == 1),
        _TOKEN,
        _SKIPS,
        ("relative positions in space alone", _relative_in_space),
        ("convolutions that pool q, k and v in every block", _all_pooled),
        ("the pooled query added (residual_pooling)", lambda c: c.residual_pooling is not None),
        _QUERY_IN_CLASS,
    ),
    "timm_hiera": (
        _POSITIONS,
        ("mask units", lambda c: c.mask_unit is not None),
        ("max pooling", lambda c: c.pool == "max"),
        ("the mean over tokens before the norm", lambda c: c.mean_before_norm),
    ),
}
