"""Where the class token looks, stage by stage, laid over the frames of a clip."""

from __future__ import annotations

import numpy as np

from ..model import forward
from ..plan import plan
from .style import BODY, GREY, INK, SMALL, WIDTH, new_figure, times

CELL, GAP, LEFT, TOP, BOTTOM = 1.2, 0.06, 1.8, 1.3, 0.55  # inches


def class_attention(params, clip, config):
    """The class token's attention over the grid of keys in the last block of each stage, averaged over heads.

    clip: (1, T, H, W, C)   ->   a list of (stage, (t, h, w) array); its sum is 1 less what the class token gives itself.
    Raises ValueError for a model without a class token.
    """
    if not config.cls_token:
        raise ValueError("the class token's attention is asked of a model without one: use a config with cls_token=True")
    seen = {}
    forward(params, clip, config, tap=seen.__setitem__)
    last = {spec.stage: spec for spec in plan(config).blocks}
    return [(stage, _over_grid(seen[f"blocks.{spec.index}.attention"], spec)) for stage, spec in last.items()]


def _over_grid(weights, spec):
    """(1, heads, Nq, Nk) -> (t, h, w): the row of the class token without the column of itself."""
    return weights[0, :, 0, 1:].mean(axis=0).reshape(spec.thw_kv)


def attention_figure(clip, maps, plan, title=""):
    """A clip's frames and, under them, what the class token attends to in each stage.

    clip: (T, H, W, C)   maps: from `class_attention`   plan: of the model   title: what the clip shows

    How to read it. Time runs from left to right. The first row is what the model sees. In each row below, bright places are
    those that the class token, from which the answer is read, takes most from in the last block of that stage. One cell of
    the grid of keys covers several frames and many pixels, so neighbouring frames share a picture. Beside each row stands
    how much its brightest cell gets, compared with attention spread evenly. Each row has a scale of its own.
    """
    frames = clip.shape[0]
    height = TOP + (1 + len(maps)) * (CELL + GAP) + BOTTOM
    figure = new_figure(height, "What the class token looks at, stage by stage", title)
    low, high = np.percentile(clip, (1, 99))
    pictures = np.clip((clip - low) / max(high - low, 1e-6), 0, 1)
    for t in range(frames):
        axes = _cell(figure, height, 0, t, frames)
        axes.imshow(_rgb(pictures[t]), interpolation="nearest")
        axes.set_title(f"frame {t + 1}", fontsize=SMALL, color=INK)
    _label(figure, height, 0, "the clip", f"{frames} frames")
    for row, (stage, grid) in enumerate(maps, 1):
        _stage_row(figure, height, row, stage, grid, pictures)
    figure.text(
        LEFT / WIDTH,
        0.2 / height,
        "dark: little attention   bright: much (each row on its own scale)",
        fontsize=SMALL,
        color=GREY,
    )
    return figure


def _stage_row(figure, height, row, stage, grid, pictures):
    frames, size = pictures.shape[0], pictures.shape[1:3]
    spread = grid.max() * grid.size / max(grid.sum(), 1e-12)
    for t in range(frames):
        axes = _cell(figure, height, row, t, frames)
        axes.imshow(_rgb(pictures[t]), interpolation="nearest")
        heat = grid[t * grid.shape[0] // frames] / grid.max()
        extent = (-0.5, size[1] - 0.5, size[0] - 0.5, -0.5)
        axes.imshow(heat, cmap="inferno", vmin=0, vmax=1, alpha=0.68, extent=extent, interpolation="bilinear")
    _label(figure, height, row, f"stage {stage + 1}", f"{times(grid.shape)} keys\nmost: {spread:.1f}× even")


def _cell(figure, height, row, t, frames):
    """Axes of one picture, without ticks; pictures shrink where there are many frames."""
    step = min(CELL + GAP, (WIDTH - LEFT - 0.2) / frames)
    left, bottom = LEFT + t * step, height - TOP - row * (CELL + GAP) - CELL
    side = step - GAP
    axes = figure.add_axes((left / WIDTH, bottom / height, side / WIDTH, CELL / height), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return axes


def _label(figure, height, row, name, detail):
    middle = (height - TOP - row * (CELL + GAP) - CELL / 2) / height
    figure.text(0.3 / WIDTH, middle + 0.12 / height, name, fontsize=BODY, weight="bold", color=INK, va="bottom")
    figure.text(0.3 / WIDTH, middle + 0.04 / height, detail, fontsize=SMALL, color=GREY, va="top", linespacing=1.3)


def _rgb(picture):
    """(H, W, 1 or 3) in [0, 1] -> (H, W, 3)"""
    return np.repeat(picture, 3, axis=-1) if picture.shape[-1] == 1 else picture[..., :3]
