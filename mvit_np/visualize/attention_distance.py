"""How far the heads look, block by block, before and after training (Fig. A.6)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..backend.types import Array
from .style import BLUE, BODY, GREY, INK, VERMILLION, new_figure, panel

HEIGHT = 5.7  # inches
LEFTS = (0.95, 6.75)  # inches from the left, of the two panels
BOTTOM, WIDE, TALL = 0.85, 4.85, 3.4


def attention_distance_figure(
    before: Sequence[Array], after: Sequence[Array], unit: str = "pixels"
) -> Figure:
    """Mean attention distance of each head of each block, at the start and after training.

    before, after   a sequence with one (heads,) array per block, of
                    `mvit_np.model.inspection.mean_attention_distance`
    unit            of the numbers, for the axis

    How to read it. From left to right go the blocks, and each dot is one head: high, where its
    queries attend to cells far away in the frame, low, where they attend to their surroundings.
    The line joins the means of the blocks. Both panels share one scale, so that what training did
    shows as dots that move: dots of one block that move away from each other are heads that
    have taken on different work. Raises ValueError where the two are not of one model.
    """
    both = [
        [np.ravel(np.asarray(heads, dtype=float)) for heads in blocks] for blocks in (before, after)
    ]
    sizes = [[len(heads) for heads in blocks] for blocks in both]
    if sizes[0] != sizes[1] or not sizes[0]:
        came = f"came {sizes[0]} and {sizes[1]} heads"
        raise ValueError(f"before and after have the same blocks and heads; {came}: take one model")
    figure = new_figure(HEIGHT, _message(both, unit), _spread(both, unit))
    top = 1.08 * max(heads.max() for blocks in both for heads in blocks) or 1
    looks = (("at the start", VERMILLION), ("after training", BLUE))
    for left, (name, colour), blocks in zip(LEFTS, looks, both):
        axes = panel(figure, left, BOTTOM, WIDE, TALL)
        axes.set_title(name, loc="left", fontsize=14, weight="bold", color=colour, pad=10)
        _dots(axes, blocks, colour)
        axes.set(ylim=(0, top), xlim=(0.4, len(blocks) + 0.6))
        axes.set_xlabel("block", fontsize=BODY, color=INK)
        axes.set_ylabel(f"mean distance in {unit}", fontsize=BODY, color=INK)
        axes.xaxis.set_major_locator(MaxNLocator(12, integer=True))
        axes.grid(axis="y", color=GREY, alpha=0.2)
    return figure


def _message(both, unit):
    ranges = [(min(map(np.min, blocks)), max(map(np.max, blocks))) for blocks in both]
    digits = 0 if ranges[0][1] >= 10 and ranges[1][1] >= 10 else 1
    start, end = (f"{low:.{digits}f} to {high:.{digits}f}" for low, high in ranges)
    return f"Heads look {start} {unit} far at the start, {end} after training"


def _spread(both, unit):
    """How much the heads of one block differ, where a block has several."""
    spreads = [[np.ptp(heads) for heads in blocks if len(heads) > 1] for blocks in both]
    if not spreads[0]:
        return "A dot is a head; here each block has one"
    start, end = (f"{np.mean(each):.1f}" for each in spreads)
    words = f"Heads of one block differ by {start} {unit} on average at the start"
    return f"{words}, by {end} after training; a dot is a head, the line is their mean"


def _dots(axes, blocks, colour):
    x = np.concatenate([np.full(len(heads), index) for index, heads in enumerate(blocks, 1)])
    means = [heads.mean() for heads in blocks]
    axes.plot(range(1, len(blocks) + 1), means, color=colour, linewidth=2)
    look = {"markersize": 7, "markeredgecolor": "white", "markeredgewidth": 0.8, "alpha": 0.75}
    axes.plot(x, np.concatenate(blocks), "o", color=colour, label="a head", **look)
