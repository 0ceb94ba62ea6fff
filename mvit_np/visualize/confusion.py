"""Which classes a model takes for which."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..model.text_table import percent
from .style import BODY, GREY, INK, SMALL, colour_bar, new_figure, panel, spelled

SIDE = 6.2  # inches of the matrix
NAMED = 24  # classes whose names have room


def confusion_figure(evaluation: Any) -> Figure:
    """The confusion matrix of an `Evaluation`, each row as shares of its class.

    How to read it. A row is what a class was taken for; right answers lie on the outlined diagonal.
    A dark cell off it is a pair that the model mixes up; a dark column is a class that it guesses
    too often. On the right are the classes that it knows least.
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
    colour_bar(figure, 8.4, 5.6, 2.0, "Blues", "all", fontsize=SMALL)
    _least_known(figure, names, np.diag(shares), examples[:, 0])
    return figure


def _least_known(figure, names, right, examples):
    axes = panel(figure, 8.4, 1.4, 3.2, 3.6, "known least")
    axes.set_axis_off()
    worst = [index for index in np.argsort(right, kind="stable") if examples[index]][:8]
    for line, index in enumerate(worst):
        height = 0.95 - 0.12 * line
        axes.text(0, height, names[index], fontsize=BODY, color=INK)
        share = percent(right[index])
        axes.text(1, height, share, fontsize=BODY, color=GREY, ha="right")
