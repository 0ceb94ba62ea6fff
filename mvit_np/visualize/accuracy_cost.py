"""Accuracy against cost as published: Kinetics-400, the paper's Table 4."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from ..model import paper
from .style import BLUE, BODY, GREY, INK, SMALL, VERMILLION, fold, new_figure, panel

HEIGHT = 6.6  # inches
ROWS: tuple[Any, ...] = next(table for table in paper.TABLES if table.name == "Table 4").rows
# Points from a mark to its name, and the name's alignment: by the start of the name.
SHIFT = {"MViT": (-9, 9, "right"), "ViT": (11, -4, "left"), "ViViT": (9, 11, "right")}


def accuracy_cost_figure() -> Figure:
    """Top-1 accuracy on Kinetics-400 against the multiply-adds of one video (the paper's Table 4).

    How to read it. To the left is cheaper, upwards is better; the horizontal axis is logarithmic.
    The cost of a video is that of one view (a clip and a crop) times the views that are averaged at
    test. Filled marks were trained on Kinetics alone, rings were first trained on ImageNet-21K. The
    line joins the MViTs. Look along a horizontal for what the same accuracy costs, and along a
    vertical for what the same cost buys. None of these accuracies was reproduced here.
    """
    source = "Kinetics-400, all numbers as published (Fan et al. 2021, Table 4)"
    figure = new_figure(HEIGHT, _message(), source)
    axes = panel(figure, 0.95, 0.85, 10.6, 4.65)
    ours = [(_cost(row), row.top1) for row in ROWS if _ours(row)]
    axes.plot(*zip(*ours), color=BLUE, linewidth=2.5, zorder=2)
    for row in ROWS:
        _mark(axes, row)
    axes.set_xscale("log")
    axes.set(xlim=(40, 1e5), ylim=(67, 83))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    cost = "G multiply-adds of a video: those of a view, times views (log scale)"
    axes.set_xlabel(cost, fontsize=BODY, color=INK)
    axes.set_ylabel("top-1 accuracy in %", fontsize=BODY, color=INK)
    axes.grid(color=GREY, alpha=0.2)
    _legend(axes)
    return figure


def _message():
    """The best MViT beside the best of all others."""
    mvit = max(filter(_ours, ROWS), key=lambda row: row.top1)
    other = max((row for row in ROWS if not _ours(row)), key=lambda row: row.top1)
    cheaper, worse = fold(_cost(other) / _cost(mvit)), other.top1 - mvit.top1
    name = other.label.split(",")[0]
    return f"{mvit.label}: {cheaper}× cheaper than {name}, {worse:.1f} points less accurate"


def _ours(row):
    return row.label.startswith("MViT")


def _cost(row):
    return row.gmacs * math.prod(row.views)


def _mark(axes, row):
    colour = BLUE if _ours(row) else VERMILLION
    look = {"color": colour, "markersize": 11, "markeredgewidth": 2.5, "zorder": 3}
    fill = "white" if row.data else colour
    axes.plot([_cost(row)], [row.top1], "o", markerfacecolor=fill, **look)
    dx, dy, ha = SHIFT[row.label.split("-")[0]]
    words = f"{row.label}  ({row.gmacs:g} × {math.prod(row.views)})"
    style = {"textcoords": "offset points", "fontsize": SMALL, "color": INK, "ha": ha}
    axes.annotate(words, (_cost(row), row.top1), (dx, dy), **style)


def _legend(axes):
    look = {"markersize": 11, "markeredgewidth": 2.5}
    marks = [
        axes.plot([], [], "o", color=colour, markerfacecolor=fill, **look)[0]
        for colour, fill in ((BLUE, BLUE), (VERMILLION, VERMILLION), (VERMILLION, "white"))
    ]
    names = ["MViT, Kinetics alone", "others, Kinetics alone", "others, ImageNet-21K first"]
    axes.legend(marks, names, loc="lower right", fontsize=SMALL, frameon=False, labelcolor=INK)
