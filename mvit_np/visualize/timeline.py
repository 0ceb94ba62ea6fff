"""What a model says along a film: the probabilities of its classes against time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ..backend.types import Array
from ..model.text_table import percent
from .style import (
    BLUE,
    BODY,
    GREEN,
    ORANGE,
    SKY,
    SMALL,
    VERMILLION,
    new_figure,
    panel,
    spelled,
)

COLOURS = (BLUE, VERMILLION, GREEN, ORANGE, SKY)  # of as many classes
TOP, TALL, GAP, BOTTOM = 1.15, 3.0, 0.45, 0.25  # inches
LEFT, WIDE = 0.8, 8.4
APART = 0.075  # between two names beside the curves, as a share of the height


def timeline_figure(
    windows: Array, probabilities: Array, labels: Sequence[str], thumbnails: Array, title: str = ""
) -> Figure:
    """The classes that are most probable somewhere in a film, against time, over its frames.

    windows         (N, 2) seconds: when each clip that the model saw begins and ends
    probabilities   (N, K) of the classes
    labels          their names
    thumbnails      (F, h, w, C) uint8: frames at equal distances, from the film's start to its end
    title           the film's name

    How to read it. Each curve is a class: its height at a time is the probability that the model
    gives it for the clip around that time. Up to five are drawn, those of the highest values.
    The pictures below are the film at these times.
    """
    middle = windows.mean(axis=1)
    chosen = _chosen(probabilities)
    length = float(windows[-1, 1])
    height = WIDE / len(thumbnails) * thumbnails.shape[1] / thumbnails.shape[2]
    figure = new_figure(TOP + TALL + GAP + height + BOTTOM, _message(probabilities, labels), title)
    axes = panel(figure, LEFT, BOTTOM + height + GAP, WIDE, TALL)
    for colour, k in zip(COLOURS, chosen):
        mark = "o" if len(windows) == 1 else None
        axes.plot(middle, probabilities[:, k], color=colour, linewidth=2.2, marker=mark)
    _names(axes, [labels[k] for k in chosen], probabilities[-1, chosen])
    axes.set(xlim=(0, length), ylim=(0, 1.02))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: percent(share)))
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 3, 5, 6, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda s, _: clock(s, length)))
    for k, picture in enumerate(thumbnails):
        beneath = LEFT + k * WIDE / len(thumbnails), BOTTOM
        frame = panel(figure, *beneath, WIDE / len(thumbnails) - 0.03, height)
        frame.imshow(picture.squeeze(-1) if picture.shape[-1] == 1 else picture, cmap="gray",
                     vmin=0, vmax=255, aspect="auto")  # fmt: skip
        frame.set_axis_off()
    return figure


def clock(seconds: float, length: float = 0.0) -> str:
    """83.5 -> 1:23 in films of minutes, 1:02:03 in films of hours, 8.5 s in short ones."""
    if length < 60:
        return f"{seconds:g} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if length >= 3600 else f"{minutes}:{rest:02d}"


def _chosen(probabilities):
    """The classes of the highest values, in the order of these."""
    return np.argsort(-probabilities.max(axis=0), kind="stable")[: len(COLOURS)]


def _message(probabilities, labels):
    first, share = np.unique(probabilities.argmax(axis=1), return_counts=True)
    most = first[share.argmax()]
    part = percent(share.max() / len(probabilities))
    return f"{spelled(labels[most], 40)} is the answer in {part} of the film"


def _names(axes, names, heights):
    """The names beside the ends of their curves, none over another."""
    order, taken = np.argsort(heights, kind="stable"), -1.0
    for k in order:
        taken = max(heights[k], taken + APART)
        look = {"fontsize": BODY if len(names) < 4 else SMALL, "color": COLOURS[k], "va": "center"}
        axes.text(1.012, taken / 1.02, spelled(names[k], 26), transform=axes.transAxes, **look)
