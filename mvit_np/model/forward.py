"""The whole model: clip -> cube embedding -> stages of blocks -> head."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..autodiff.checkpoint import checkpoint as checkpointed
from ..autodiff.tape import untraced
from ..autodiff.versions import composed
from ..backend import tree as trees
from ..backend.arrays import array_module, check_not_mixed, is_array, is_float
from ..backend.blas import one_blas_thread
from ..backend.plain_text import are, some
from ..backend.types import Array, Generator, Hook, Params
from .config import MViTConfig
from .layers.block import block
from .layers.bridge import bridge
from .layers.embedding import embed
from .layers.head import head
from .layers.two_streams import two_streams
from .parameters import fresh_params, parameter_shapes
from .plan import plan


def init(config: MViTConfig, rng: Generator) -> Params:
    """Fresh float32 parameters of a model: nested dicts and a list `blocks`.

    rng: a numpy.random.Generator

    Raises TypeError without a generator; `mvit_np.model.parameters.parameter_shapes(config)` says
    what shapes they have.
    """
    if rng is None:
        words = "parameters are drawn by a random generator; came None"
        raise TypeError(f"{words}: use numpy.random.default_rng(seed)")
    _check_generator(rng, "standard_normal")
    return fresh_params(plan(config), rng)


def forward(
    params: Params,
    clip: Array,
    config: MViTConfig,
    rng: Generator | None = None,
    hook: Hook | None = None,
    checkpoint: bool = False,
) -> Array:
    """Class scores (logits) of a batch of clips.

    clip: (B, T, H, W, C) floats   ->   (B, num_classes)

    rng         draws stochastic depth and dropout where `clip` lies; None is evaluation
    hook        called with (name, array) along the way: "blocks.3.attention" (B, heads, Nq, Nk),
                "blocks.3.output" (B, N, D); mask units, and frames that are sequences of their
                own, stand side by side in the first axis
    checkpoint  keep only the blocks' inputs for the backward pass, and run each block (and `hook`)
                a second time there

    Raises TypeError or ValueError for a clip or parameters that do not fit the config.
    """
    check_params(params, config)
    check_clip(clip, config)
    _check_generator(rng, "random")
    check_not_mixed(clip, *trees.leaves(params))
    with one_blas_thread():  # once for all ops
        if rng is None and hook is None and not checkpoint:
            return evaluate(params, clip, config)
        return run(params, clip, config, rng, hook, checkpointed(block) if checkpoint else block)


@composed
def evaluate(params: Params, clip: Array, config: MViTConfig) -> Array:
    """Class scores without dropout.   (B, T, H, W, C)   ->   (B, num_classes)"""
    return run(params, clip, config)


def run(
    params: Params,
    clip: Array,
    config: MViTConfig,
    rng: Generator | None = None,
    hook: Hook | None = None,
    run_block: Callable[..., Array] = block,
) -> Array:
    """The layers, one after the other.   (B, T, H, W, C)   ->   (B, num_classes)"""
    x = trunk(params, clip, config, rng, hook, run_block)
    return head(params, x, plan(config).head, rng=rng)


def trunk(
    params: Params, clip: Array, config: MViTConfig, rng: Generator | None = None,
    hook: Hook | None = None, run_block: Callable[..., Array] = block,
) -> Array:  # fmt: skip
    """All layers but the head.   (B, T, H, W, C)   ->   (B, N, D)"""
    p = plan(config)
    x = embed(params, clip, p.embed)
    if hook:
        hook("embedding", untraced(x))
    if config.reversible:
        return two_streams(params["blocks"], x, p.blocks, rng=rng, hook=hook, run=run_block)
    for spec, block_params in zip(p.blocks, params["blocks"]):
        if p.bridge and spec.index == sum(config.depths):
            x = bridge(params["bridge"], x, p.bridge)
        x = run_block(block_params, x, spec, rng=rng, hook=_inside(hook, f"blocks.{spec.index}."))
    return x


def predict(params: Params, clips: Array, config: MViTConfig, batch: int = 64) -> Array:
    """Logits of many clips, a batch at a time.   clips: (N, T, H, W, C)   ->   (N, num_classes)

    Raises TypeError or ValueError for clips or parameters that do not fit the config.
    """
    check_clip(clips[:1], config)
    xp = array_module(clips)
    parts = [forward(params, clips[i : i + batch], config) for i in range(0, len(clips), batch)]
    return xp.concatenate(parts)


def check_clip(clip: Array, config: MViTConfig) -> None:
    """Raise TypeError or ValueError where `clip` is no float (B, T, H, W, C) of the right size."""
    if not is_array(clip):
        rule = "a clip is a NumPy or CuPy array (B, T, H, W, C)"
        raise TypeError(f"{rule}; came {type(clip).__name__}: use numpy.asarray")
    if clip.ndim != 5:
        remedy = "add the batch axis with clip[None]"
        came = f"came {clip.ndim}, {clip.shape}"
        raise ValueError(f"a clip has 5 axes (B, T, H, W, C); {came}: {remedy}")
    if not clip.shape[0]:
        raise ValueError(f"a batch has at least one clip; came none, {clip.shape}: pass clips")
    _check_sizes(clip.shape, config)
    if not is_float(clip):
        whole = clip.dtype.kind in "biu"
        remedy = "convert it, such as clip.astype('float32')"
        if whole:
            remedy = "scale it, such as (clip / 255 - 0.45) / 0.225"
        raise TypeError(f"a clip is float32 or float64; came {clip.dtype}: {remedy}")
    # on a device this would wait
    if isinstance(untraced(clip), np.ndarray) and not np.isfinite(untraced(clip)).all():
        remedy = "clean it before the forward pass"
        raise ValueError(f"a clip is finite; this one holds NaN or infinity: {remedy}")


def _check_sizes(shape, config):
    channels, (h, w) = config.channels, config.size_hw
    if shape[4] != channels:
        remedy = "pick the channels"
        if shape[1] == channels:
            remedy = "it looks channels-first: use numpy.moveaxis(clip, 1, -1)"
        rule = f"a clip is channels-last with {channels} channels"
        raise ValueError(f"{rule}; came {shape}, {shape[4]} channels: {remedy}")
    if shape[1] != config.frames:
        steps = f"cube stride {config.cube_stride[0]} x {plan(config).embed.thw[0]}"
        raise ValueError(
            f"clip has {shape[1]} frames; the model embeds {config.frames} ({steps}): resample the "
            "clip, pick another preset, or use params, config = mv.resize(params, config, "
            f"frames={shape[1]})"
        )
    if shape[2:4] != (h, w):
        raise ValueError(
            f"clip is {shape[2]} x {shape[3]} pixels; the model embeds {h} x {w}: resize or crop "
            f"it, or use params, config = mv.resize(params, config, size={shape[2:4]})"
        )


def check_params(params: Params, config: MViTConfig) -> None:
    """Raise ValueError where `params` lacks a part, or has one too many or of another shape."""
    wanted, given = parameter_shapes(config), dict(trees.paths(params))
    if missing := [path for path in wanted if path not in given]:
        came = f"include {some(missing)}, which {are(missing)} missing"
        raise ValueError(f"parameters of this config {came}: load or init them")
    question = "do the parameters belong to another config?"
    if unknown := [path for path in given if path not in wanted]:
        raise ValueError(f"this config has no parameters {some(unknown)}: {question}")
    for path, shape in wanted.items():
        came = getattr(given[path], "shape", type(given[path]).__name__)
        if came != shape:
            rule = f"parameter {path} has shape {shape} in this config"
            raise ValueError(f"{rule}; came {came}: {question}")


def _check_generator(rng, method):
    if rng is not None and not callable(getattr(rng, method, None)):
        came = f"came {type(rng).__name__}: use numpy.random.default_rng(seed)"
        raise TypeError(f"rng is a random generator; {came}")


def _inside(hook, prefix):
    return (lambda name, array: hook(prefix + name, array)) if hook else None
