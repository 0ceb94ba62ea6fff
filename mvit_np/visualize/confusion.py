"""Which classes a model takes for which."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..model.text_table import percent
from .style import GREY, INK, SMALL, colour_bar, new_figure, panel, spelled

SIDE = 6.2  # inches of the matrix
NAMED = 24  # classes whose names have room
LISTED = 5  # classes and pairs in the lists


def confusion_figure(evaluation: Any) -> Figure:
    """The confusion matrix of an `Evaluation`, each row as shares of its class.

    How to read it. A row is what a class was taken for; right answers lie on the outlined diagonal.
    A dark cell off it is a pair that the model mixes up; a dark column is a class that it guesses
    too often. On the right are the classes that it knows least, and the pairs that it mixes up most
    often, by name, however many classes there are.
    """
    examples = evaluation.confusion.sum(axis=1, keepdims=True)
    shares = evaluation.confusion / np.maximum(examples, 1)
    title = f"{percent(evaluation.top1, 1)} of {evaluation.examples} examples right"
    figure = new_figure(8.8, title, f"{percent(evaluation.top5, 1)} among the five most probable")
    axes = panel(figure, 1.9, 1.4, SIDE, SIDE)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    axes.set_xlabel("taken for", fontsize=SMALL, color=INK)
    axes.set_ylabel("examples of", fontsize=SMALL, color=INK)
    names = [spelled(name, 18) for name in evaluation.classes]
    if len(names) <= NAMED:
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(names)), names)
        for index in range(len(names)):
            corner = (index - 0.5, index - 0.5)
            axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=GREY, linewidth=1))
    colour_bar(figure, 8.4, 6.0, 1.6, "Blues", "all", fontsize=SMALL)
    right = np.diag(shares)
    worst = [k for k in np.argsort(right, kind="stable") if examples[k]][:LISTED]
    _list(figure, 3.9, "known least", [(names[k], percent(right[k])) for k in worst])
    _list(figure, 1.3, "mixed up most often", _pairs(evaluation))
    return figure


def _pairs(evaluation):
    """[("class taken for another", how often)], the most frequent first."""
    wrong = evaluation.confusion - np.diag(np.diag(evaluation.confusion))
    order = np.argsort(-wrong, axis=None, kind="stable")[:LISTED]
    cells = [cell for cell in zip(*np.unravel_index(order, wrong.shape)) if wrong[cell]]
    names = [spelled(name, 15) for name in evaluation.classes]
    return [(f"{names[one]} → {names[other]}", str(wrong[one, other])) for one, other in cells]


def _list(figure, bottom, title, lines):
    """Words and a number in each line, under a title."""
    axes = panel(figure, 8.4, bottom, 3.3, 1.6, title if lines else "")
    axes.set_axis_off()
    for line, (words, number) in enumerate(lines):
        height = 0.88 - 0.2 * line
        axes.text(0, height, words, fontsize=SMALL, color=INK)
        axes.text(1, height, number, fontsize=SMALL, color=GREY, ha="right")
