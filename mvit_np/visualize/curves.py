"""Loss, accuracy and learning rate of a run, step by step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..model.text_table import percent
from .style import BLUE, GREY, INK, SMALL, new_figure, panel
from .training import RINGS, smoothed

HEIGHT = 5.6  # inches
BOTTOM, TALL, WIDE = 0.8, 3.35, 3.1  # of every panel
MOST = 2000  # points of a curve


def curves_figure(rows: Sequence[Mapping[str, Any]], chance: float) -> Figure:
    """What a run's metrics.csv holds.   rows: a dict per step   chance: the accuracy of guessing

    How to read it. Left and middle: light is every batch, strong its running mean; rings are tests.
    Dashed is guessing: a model that has learned nothing stays there. Training clips are cropped,
    coloured and mixed and their labels smoothed, and those of tests are not: an accuracy below the
    rings, or a loss above them, is as it should be. A loss that rises again at the rings, while the
    line falls, is overfitting. Right: the learning rate, rising and falling.
    """
    tests = [row for row in rows if row.get("test_accuracy") is not None]
    last = rows[-1]
    right = last["test_accuracy"] if tests and tests[-1] is last else last["accuracy"]
    message = f"{percent(right, 1)} of the {'tests' if tests else 'clips'} right"
    effort = f"{last['step']} steps of training in {last['seconds']:.0f} s"
    figure = new_figure(HEIGHT, message, f"{effort}, {last['clips_per_s']:.0f} clips per second")
    shown = rows[:: max(len(rows) // MOST, 1)]
    _loss(_panel(figure, 0.75, "loss"), shown, tests, chance)
    _accuracy(_panel(figure, 4.75, "accuracy"), shown, tests, chance)
    rate = _panel(figure, 8.6, "learning rate")
    rate.plot(_column(shown, "step"), _column(shown, "learning_rate"), color=BLUE, linewidth=2)
    rate.set_ylim(0, None)
    return figure


def _panel(figure, left, title):
    axes = panel(figure, left, BOTTOM, WIDE, TALL, title)
    axes.set_xlabel("step", fontsize=SMALL, color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    return axes


def _loss(axes, rows, tests, chance):
    loss, guess = _column(rows, "loss"), -math.log(chance)
    _curve(axes, rows, loss)
    highest = [guess, _rings(axes, tests, "test_loss"), 1e-3]
    _guessing(axes, guess)
    finite = loss[np.isfinite(loss)]
    axes.set_ylim(0, 1.25 * max(*highest, np.quantile(finite, 0.99) if len(finite) else 0))


def _accuracy(axes, rows, tests, chance):
    _curve(axes, rows, _column(rows, "accuracy"), "training clips")
    _rings(axes, tests, "test_accuracy")
    _guessing(axes, chance)
    axes.set_ylim(0, 1.04)
    axes.set_yticks(np.linspace(0, 1, 5), [f"{share:.0f} %" for share in np.linspace(0, 100, 5)])
    style = {"fontsize": SMALL, "frameon": False, "labelcolor": INK}
    axes.legend(loc="best", **style)


def _rings(axes, tests, name):
    """A ring per test that has such a result; the highest value, or 0."""
    there = [row for row in tests if row.get(name) is not None]  # an earlier version had no loss
    if there:
        axes.plot(_column(there, "step"), _column(there, name), "o", label="tests", **RINGS)
    return max((row[name] for row in there), default=0)


def _guessing(axes, value):
    axes.axhline(value, color=GREY, linestyle="--", linewidth=1.5, label="guessing")


def _curve(axes, rows, y, label=None):
    """Every value light, and the running mean strong."""
    x = _column(rows, "step")[np.isfinite(y)]
    y = y[np.isfinite(y)]
    axes.plot(x, y, color=BLUE, alpha=0.25, linewidth=1)
    axes.plot(x, smoothed(y), color=BLUE, linewidth=2.5, label=label)


def _column(rows, name):
    return np.array([row[name] for row in rows], dtype=float)
