"""The filters of the cube embedding: what each channel of a token looks for in its cube."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..backend.arrays import to_host
from ..backend.types import Params
from ..model.config import MViTConfig
from ..model.forward import check_params
from ..model.text_table import percent
from .style import BODY, GREY, INK, SMALL, WIDTH, canvas, new_figure, times

COLUMNS = 12  # filters beside each other
ROWS = 6  # time slices below each other, in all bands of filters together
# Inches: row labels, margin, between pictures, above each band.
LEFT, RIGHT, GAP, BAND = 1.35, 0.3, 0.08, 0.42
TOP, BOTTOM = 1.0, 0.25


def cube_filters_figure(params: Params, config: MViTConfig) -> Figure:
    """The strongest filters of the cube embedding, a column per filter, time running downwards.

    params   of a model; `params["patch_embed"]["w"]` (kt, kh, kw, C, D) is drawn
    config   of the same model

    How to read it. A filter is a small clip: a column shows one, time runs downwards, and the
    colours are the weights, grey being 0 (each filter on its own scale, colours as the model sees
    them; a model of grey clips has grey filters). A token's channel is large where the clip looks
    like its filter. A filter whose slices are alike sees what stands still; one whose slices
    differ, or move, sees change and motion. The title says how much of the weights (their squares)
    lies in what differs from a filter's mean over time; for random weights of kt slices it is 1 - 1
    / kt. The number above a column is the channel. Filters are in the order of their size, the
    largest first.

    Raises ValueError where the parameters do not belong to the config.
    """
    check_params(params, config)
    w = np.asarray(to_host(params["patch_embed"]["w"]), dtype=np.float64)
    filters = np.moveaxis(w, -1, 0)  # (D, kt, kh, kw, C)
    slices, aspect = filters.shape[1], filters.shape[2] / filters.shape[3]
    order = np.argsort(-np.square(filters).sum(axis=(1, 2, 3, 4)))
    order = order[: COLUMNS * max(1, ROWS // slices)]
    bands = [order[i : i + COLUMNS] for i in range(0, len(order), COLUMNS)]
    width = (WIDTH - LEFT - RIGHT) / COLUMNS - GAP
    high = width * aspect
    band = BAND + slices * (high + GAP)
    height = TOP + len(bands) * band + BOTTOM
    figure = new_figure(height, _message(filters), _about(filters, len(order)))
    axes = canvas(figure)
    for number, channels in enumerate(bands):
        top = BOTTOM + (len(bands) - number) * band - BAND
        for column, channel in enumerate(channels):
            left = LEFT + column * (width + GAP)
            _filter(axes, filters[channel], channel, left, top, width, high)
        _labels(axes, slices, top, high)
    axes.set(xlim=(0, WIDTH), ylim=(0, figure.get_figheight()))  # which imshow has moved
    return figure


def _message(filters):
    slices = filters.shape[1]
    if slices == 1:
        return f"The {len(filters)} filters of the cube embedding see one frame each"
    energy = max(np.square(filters).sum(), 1e-300)
    change = percent(1 - slices * np.square(filters.mean(axis=1)).sum() / energy)
    random = percent(1 - 1 / slices)
    return f"{change} of the cube filters' energy is change over time (random ones: {random})"


def _about(filters, shown):
    channels, kt, kh, kw, _ = filters.shape
    some = f"the {shown} largest of {channels}" if shown < channels else f"all {channels}"
    cubes = f"Cubes of {times((kt, kh, kw))} (frames × pixels × pixels)"
    return f"{cubes}: {some} filters; grey is a weight of 0"


def _filter(axes, weights, channel, left, top, width, high):
    """Slices of one filter, the first on top.   weights: (kt, kh, kw, C)"""
    colours = weights if weights.shape[-1] == 3 else weights.mean(axis=-1, keepdims=True)
    pictures = 0.5 + colours / (2 * max(abs(colours).max(), 1e-30))
    for number, picture in enumerate(pictures):
        upper = top - number * (high + GAP)
        shown = picture if picture.shape[-1] == 3 else picture[..., 0]
        extent = (left, left + width, upper - high, upper)
        look = {"cmap": "gray", "vmin": 0, "vmax": 1, "interpolation": "nearest"}
        axes.imshow(shown, aspect="auto", extent=extent, **look)
        edge: dict[str, Any] = {"fill": False, "edgecolor": GREY, "linewidth": 0.5}
        axes.add_patch(Rectangle((left, upper - high), width, high, **edge))
    axes.text(left + width / 2, top + 0.055, str(channel), fontsize=SMALL, color=INK, ha="center")


def _labels(axes, slices, top, high):
    for number in range(slices):
        y = top - number * (high + GAP) - high / 2
        axes.text(0.3, y, f"slice {number + 1}", fontsize=BODY, color=GREY, va="center")
    axes.text(0.3, top + 0.055, "channel", fontsize=SMALL, color=INK)
