"""How the training went, and whether the model uses the order of the frames (Table 9)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..backend.types import Array
from ..model.text_table import percent
from .style import BLUE, BODY, GREEN, GREY, INK, SMALL, VERMILLION, new_figure, panel

HEIGHT = 5.6  # inches
BOTTOM, TALL = 0.8, 3.35  # of every panel
RINGS = {  # of tests, along a curve of training
    "color": VERMILLION, "markersize": 9, "markerfacecolor": "white", "markeredgewidth": 2.2,
    "clip_on": False, "zorder": 4,
}  # fmt: skip
USED = 0.1  # accuracy that shuffling must cost before the title says that the model uses the order


def training_figure(
    rows: Sequence[Mapping[str, Any]],
    summary: Mapping[str, Any],
    x: str = "seconds",
    chance: float = 0.5,
) -> Figure:
    """Loss and accuracy along the training, and what shuffled frames leave of the accuracy.

    rows      a dict per step: step, seconds, loss, accuracy, clips_per_s, and where the model was
              tested test_accuracy
    summary   test_accuracy and shuffled_accuracy of the trained model
    x         the horizontal axis: "seconds" or "step"
    chance    the accuracy of guessing

    How to read it. Left and middle: light is every batch, strong its running mean; rings are tests
    on unseen clips. A gap between the line and the rings is overfitting. Dashed is guessing: a
    model that has learned nothing stays there. Right: the same test clips twice, once with their
    frames in a random order. All that distinguishes the two is the order, so a bar that drops to
    the dashed line says that single frames do not give the answer away and that the model reads the
    motion.
    """
    figure = new_figure(HEIGHT, _message(summary), _effort(rows))
    _loss(_panel(figure, 0.75, 3.65, "loss", x), rows, x, chance)
    _accuracy(_panel(figure, 5.1, 3.6, "accuracy", x), rows, x, chance)
    _order(_panel(figure, 9.55, 2.15, "accuracy on unseen clips"), summary, chance)
    return figure


# -- the words -------------------------------------------------------------------------------------


def _message(summary):
    ordered, shuffled = summary["test_accuracy"], summary["shuffled_accuracy"]
    used = "the model uses" if ordered - shuffled > USED else "the model hardly uses"
    shares = f"{_whole_percent(ordered)} in order, {_whole_percent(shuffled)} shuffled"
    return f"{shares}: {used} the order of frames"


def _effort(rows):
    last = rows[-1]
    speed = f", {last['clips_per_s']:.0f} clips per second" if last.get("clips_per_s") else ""
    return f"{last['step']} steps of training in {last['seconds']:.0f} s{speed}"


def _whole_percent(share):
    return percent(min(share, 0.99) if share < 1 else 1)  # 99.6 % is not all


# -- the panels ------------------------------------------------------------------------------------


def _panel(figure, left, width, title, x=None):
    axes = panel(figure, left, BOTTOM, width, TALL, title)
    if x is not None:
        name = "seconds of training" if x == "seconds" else "step"
        axes.set_xlabel(name, fontsize=SMALL, color=INK)
        axes.xaxis.set_major_locator(MaxNLocator(6))
    return axes


def _loss(axes, rows, x, chance):
    at, loss = _column(rows, x), _column(rows, "loss")
    guess = -math.log(chance)
    _curve(axes, at, loss)
    if tests := [row for row in rows if row.get("test_loss") is not None]:
        axes.plot(_column(tests, x), _column(tests, "test_loss"), "o", **RINGS)
    axes.axhline(guess, color=GREY, linestyle="--", linewidth=1.5)
    axes.set_ylim(0, 1.25 * max(guess, np.quantile(loss, 0.99)))
    axes.set_xlim(0, 1.02 * at[-1])
    _note(axes, 0.98, guess, f"guessing: {guess:.2f}", GREY)


def _accuracy(axes, rows, x, chance):
    at, tests = _column(rows, x), [row for row in rows if row.get("test_accuracy") is not None]
    _curve(axes, at, _column(rows, "accuracy"), "training clips")
    shares = _column(tests, "test_accuracy")
    axes.plot(_column(tests, x), shares, "o", label="unseen clips", **RINGS)
    axes.axhline(chance, color=GREY, linestyle="--", linewidth=1.5)
    _note(axes, 0.98, chance, f"guessing: {percent(chance)}", GREY)
    _shares(axes)
    axes.set_xlim(0, 1.02 * at[-1])
    axes.legend(loc="lower right", fontsize=SMALL, frameon=False, labelcolor=INK)


def _order(axes, summary, chance):
    shares = summary["test_accuracy"], summary["shuffled_accuracy"]
    axes.bar((0, 1), shares, 0.66, color=(GREEN, VERMILLION))
    for at, share in enumerate(shares):
        inside = share > 0.15
        style = {
            "fontsize": 14,
            "weight": "bold",
            "color": "white" if inside else INK,
            "va": "top" if inside else "bottom",
        }
        shift = (0, -6 if inside else 6)
        style |= {"ha": "center", "textcoords": "offset points"}
        axes.annotate(_whole_percent(share), (at, share), shift, **style)
    axes.axhline(chance, color=GREY, linestyle="--", linewidth=1.5)
    axes.set_xticks((0, 1), ("frames\nin order", "frames\nshuffled"), fontsize=BODY)
    axes.tick_params(axis="x", length=0)
    _shares(axes)


def _shares(axes):
    axes.set_ylim(0, 1.04)
    axes.set_yticks(np.linspace(0, 1, 5), [percent(share) for share in np.linspace(0, 1, 5)])


def _curve(axes, x, y, label=None):
    """Every value light, and the running mean strong."""
    axes.plot(x, y, color=BLUE, alpha=0.25, linewidth=1)
    axes.plot(x, smoothed(y), color=BLUE, linewidth=2.5, label=label)


def _note(axes, x, y, text, colour):
    """Words on a horizontal line; x is a share of the axes' width."""
    style = {"fontsize": SMALL, "color": colour, "ha": "right", "va": "bottom"}
    units = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points"}
    axes.annotate(text, (x, y), (0, 3), **units, **style)


def _column(rows, name):
    return np.array([row[name] for row in rows], dtype=float)


def smoothed(y: Array) -> Array:
    """A running mean over about a twentieth of the values, at the ends of fewer.   (N,) -> (N,)"""
    window = np.ones(2 * (len(y) // 40) + 1)
    return np.convolve(y, window, "same") / np.convolve(np.ones(len(y)), window, "same")
