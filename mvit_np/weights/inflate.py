"""An image model as the start of a video model (Sec. 4.3), its kernels and positions with time."""

from __future__ import annotations

import numpy as np

from ..backend import tree as trees
from ..backend.types import Params
from ..model.config import MViTConfig
from ..model.forward import check_params
from ..model.layers import initial
from ..model.parameters import parameter_shapes
from ..model.plan import plan
from ..model.resize import resize
from ..ops.interpolation import linear_matrix
from .layouts.renames import nested

HOW = ("centre", "mean", "repeat")
DRAWN = ("cls_token", "head.w", "head.b")  # where the image model has none, or one of other classes
MAY_GO = ("cls_token", "pos_embed", "pos_embed_spatial", "pos_embed_temporal", "pos_embed_class")


def inflate(
    params: Params,
    image_config: MViTConfig,
    video_config: MViTConfig,
    how: str = "centre",
    rng: np.random.Generator | None = None,
) -> Params:
    """Parameters of `video_config` that start from an image model's.

    how   what a kernel of one frame becomes in time: "centre" puts it in the middle frame, zeros
          elsewhere (the paper's); "mean" repeats it, divided by the number of frames; "repeat"
          repeats it as it is (SlowFast's)
    rng   a numpy.random.Generator for the parameters that `to_draw` names
    Positions in space are kept, resized to another grid; along time, separate and relative ones
    start from 0. Raises ValueError for models that differ in more than time, size and classes, and
    where rng is missing.
    """
    if how not in HOW:
        raise ValueError(f"how is one of {', '.join(HOW)}; came {how!r}: pick one")
    check_params(params, image_config)
    _check_pair(image_config, video_config)
    if (drawn := to_draw(image_config, video_config)) and rng is None:
        raise ValueError(
            f"the image model has no {', '.join(drawn)} of this shape: give rng to draw them"
        )
    params, image_config = _on_grid(params, image_config, video_config)

    given, wanted = dict(trees.paths(params)), parameter_shapes(video_config)
    gone = [path for path in given if path not in wanted and path not in MAY_GO]
    if lost := [path for path in gone if not path.endswith("rel_pos_t")]:
        rule = "a video model continues all of its image model"
        raise ValueError(f"{rule}; it has no {lost[0]}: inflate into another config")
    given |= _positions(given, image_config, plan(video_config).embed)
    given |= _drawn(drawn, wanted, rng)
    dtype = params["head"]["w"].dtype
    made = {path: _grown(path, given.get(path), shape, how) for path, shape in wanted.items()}
    return nested({path: x.astype(dtype, copy=False) for path, x in made.items()})


def to_draw(image_config: MViTConfig, video_config: MViTConfig) -> tuple[str, ...]:
    """Paths of what a video model cannot take from an image model."""
    head = image_config.num_classes != video_config.num_classes
    token = video_config.cls_token and not image_config.cls_token
    return tuple(path for path, needed in zip(DRAWN, (token, head, head)) if needed)


def _check_pair(image, video):
    if plan(image).embed.thw[0] != 1 or image.cube_kernel[0] != 1:
        came = f"came {image.frames} frames and cubes {image.cube_kernel}"
        rule = "an image model embeds one frame by flat cubes"
        raise ValueError(f"{rule}; {came}: inflate a model of frames=1")
    old, new = image.positions, video.positions
    if (old == "relative") != (new == "relative") or new == "none" != old:
        came = f"came {old!r} for {new!r}"
        raise ValueError(f"both models have one type of positions; {came}: change video_config")


def _on_grid(params, image, video):
    """The image model for pictures that make the video model's grid of tokens."""
    wanted = plan(video).embed.thw[1:]
    if plan(image).embed.thw[1:] == wanted:
        return params, image
    size = tuple(n * stride for n, stride in zip(wanted, image.cube_stride[1:]))
    return resize(params, image, size=size)


def _positions(given, image, embed):
    """Absolute tables of the video model: every frame's are the picture's."""
    spatial, cls = _picture(given, image)
    if spatial is None:
        spatial = np.zeros((embed.thw[1] * embed.thw[2], embed.dim), np.float32)
    cls = np.zeros_like(spatial[0]) if cls is None else cls
    if embed.positions == "joint":
        frames = np.tile(spatial, (embed.thw[0], 1))
        return {"pos_embed": np.concatenate([cls[None], frames]) if embed.cls else frames}
    if embed.positions not in ("separate", "space"):
        return {}
    temporal = np.zeros((embed.thw[0], embed.dim), spatial.dtype)
    return {"pos_embed_spatial": spatial, "pos_embed_temporal": temporal, "pos_embed_class": cls}


def _picture(given, image):
    """(table of the grid, row of the class token) of the image model, or None."""
    if image.positions == "joint":
        table = given["pos_embed"]
        return table[image.cls_token :], (table[0] if image.cls_token else None)
    spatial = given.get("pos_embed_spatial")
    if image.positions == "separate":
        spatial = spatial + given["pos_embed_temporal"]
    return spatial, given.get("pos_embed_class")


def _drawn(paths, wanted, rng):
    """The head's bias starts from 0, as all biases."""
    stds = {path: 0 if path == "head.b" else initial.STD for path in paths}
    return {path: initial.normal(rng, *wanted[path], std=std) for path, std in stds.items()}


def _grown(path, x, shape, how):
    """One parameter of the video model from the image model's of the same path."""
    if path.endswith("rel_pos_t"):
        return np.zeros(shape, np.float32)
    if x is not None and ".rel_pos_" in path and len(x) != shape[0]:
        return linear_matrix(np, len(x), shape[0]) @ x
    if x is not None and len(shape) in (4, 5) and x.shape == (1, *shape[1:]):
        return _in_time(x, shape[0], how)
    if x is None or x.shape != shape:
        came = "which the image model lacks" if x is None else f"and the image model {x.shape}"
        rule = "both models differ in time, size and classes alone"
        raise ValueError(f"{rule}; this one has {path} {shape}, {came}")
    return x


def _in_time(kernel, frames, how):
    """(1, ...) -> (frames, ...)"""
    repeated = np.repeat(kernel, frames, axis=0)
    if how == "centre":
        repeated[np.arange(frames) != frames // 2] = 0
    return repeated / kernel.dtype.type(frames) if how == "mean" else repeated
