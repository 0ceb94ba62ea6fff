"""Models that differ in one thing, trained alike: how often each is right, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from ..model.text_table import percent, si_prefix
from .style import BLUE, BODY, GREY, INK, PALE, SMALL, VERMILLION, new_figure, panel, rounded

ROW, TOP, BOTTOM = 0.62, 1.4, 0.8  # inches: a row, what is above the panels, what is below
DOTS, BARS = (2.45, 4.9), (8.75, 1.55)  # inches from the left, and wide
PAPER = 11.0  # inches from the left: the column of the paper's numbers
MEAN = 7.5  # inches from the left: the column of means
SPREAD = 0.13  # of a row, from one seed's dot to the next: equal ones are seen side by side
MARGIN = 1.5  # points of accuracy beside the outermost dots, at least


def experiment_figure(lines: Sequence[Any], question: str, about: str, chance: float) -> Figure:
    """Accuracy and cost of variants, a row per variant.

    lines     of each row: name, accuracies (share per seed), mean, spread (None for one seed), macs
              of a clip, and paper, the accuracy in per cent of its like in the paper, or None
    question  what the rows answer
    about     what was done, a line
    chance    the share that guessing gets right; a dashed line where it is near

    How to read it. Each dot is a model trained from another random start, the stroke is their mean.
    Two rows whose dots overlap cannot be distinguished by so few of them, whatever their means. The
    axis of accuracy begins where the rows do, not at zero. Bars are what one clip costs. On the
    right is what the paper prints for a large model of this family on Kinetics-400: it is the order
    of its rows that may be compared, not the numbers.
    """
    height = TOP + ROW * len(lines) + BOTTOM
    figure = new_figure(height, _message(lines), f"{question} {about}")
    tall = ROW * len(lines)
    dots = panel(figure, DOTS[0], BOTTOM, DOTS[1], tall)
    bars = panel(figure, BARS[0], BOTTOM, BARS[1], tall)
    _dots(dots, lines, chance)
    _bars(bars, lines)
    look: dict[str, Any] = {"fontsize": SMALL, "color": GREY}
    above = (BOTTOM + tall + 0.12) / height
    figure.text(MEAN / 12, above, "mean ± spread", va="bottom", **look)
    figure.text(PAPER / 12, above, "paper", va="bottom", **look)
    for row, line in enumerate(lines):
        y = (BOTTOM + tall - ROW * (row + 0.5)) / height
        figure.text(MEAN / 12, y, _mean(line), fontsize=BODY, color=INK, va="center")
        figure.text(PAPER / 12, y, _paper(line), fontsize=BODY, color=INK, va="center")
    return figure


def _message(lines):
    best, worst = max(lines, key=lambda line: line.mean), min(lines, key=lambda line: line.mean)
    if best is worst:
        return f"{best.name}: {percent(best.mean, 1)} right"
    return f"From {percent(worst.mean, 1)} ({worst.name}) to {percent(best.mean, 1)} ({best.name})"


def _dots(axes, lines, chance):
    shares = [100 * share for line in lines for share in line.accuracies]
    low, high = min(shares), max(shares)
    margin = max(0.08 * (high - low), MARGIN)
    if 100 * chance > low - 4 * margin:
        axes.axvline(100 * chance, color=GREY, linestyle="--", linewidth=1.5, zorder=1)
        low = min(low, 100 * chance)
    for row, line in enumerate(lines):
        axes.axhline(row, color=PALE, linewidth=1, zorder=0)
        middle = (len(line.accuracies) - 1) / 2
        heights = [row + SPREAD * (seed - middle) for seed in range(len(line.accuracies))]
        values = [100 * share for share in line.accuracies]
        dot = {"color": BLUE, "markersize": 9, "markeredgecolor": "white", "clip_on": False}
        axes.plot(values, heights, "o", zorder=3, **dot)
        stroke = {"color": VERMILLION, "linewidth": 3, "zorder": 2}
        axes.plot([100 * line.mean] * 2, [row - 0.33, row + 0.33], **stroke)
    axes.set_xlim(low - margin, min(high + margin, 100 + 0.3 * margin))
    dashed = ", dashed: by chance" if low == 100 * chance else ""
    axes.set_xlabel(f"% of unseen clips right{dashed}", fontsize=SMALL, color=INK)
    _rows(axes, lines, [line.name for line in lines])


def _bars(axes, lines):
    factor, prefix = si_prefix(max(line.macs for line in lines))
    axes.barh(range(len(lines)), [line.macs / factor for line in lines], 0.42, color=GREY)
    for row, line in enumerate(lines):
        style = {"textcoords": "offset points", "fontsize": SMALL, "color": INK, "va": "center"}
        axes.annotate(rounded(line.macs / factor), (line.macs / factor, row), (5, 0), **style)
    axes.set_xlabel(f"{prefix} multiply-adds per clip".strip(), fontsize=SMALL, color=INK)
    axes.set_xlim(0, 1.3 * max(line.macs for line in lines) / factor)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    _rows(axes, lines, [""] * len(lines))


def _rows(axes, lines, names):
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.set_yticks(range(len(lines)), names, fontsize=BODY)
    axes.tick_params(axis="y", length=0)


def _mean(line):
    spread = "" if line.spread is None else f" ± {percent(line.spread, 1, sign='')}"
    return percent(line.mean, 1, sign="") + spread


def _paper(line):
    return "" if line.paper is None else f"{line.paper:.1f}"
