"""How a training went, and what became of it when the frames were shuffled."""

from __future__ import annotations

import numpy as np

from .style import BLUE, BODY, GREY, INK, SMALL, VERMILLION, new_figure, panel

HEIGHT = 5.2  # inches
BOTTOM, TALL = 0.85, 2.9


def training_figure(rows, summary):
    """Loss and accuracy over the training, and the test accuracy with frames in order and shuffled.

    rows: dicts of step, seconds, loss, accuracy and, in some, test_accuracy   summary: test_accuracy, shuffled_accuracy

    How to read it. Left: the loss of each batch (pale) and its running mean. Middle: the share of right answers in the
    batches, and as dots on clips from shots that were never trained on. Right: the same test clips, once as they are and
    once with their frames in random order. If the second bar falls to the dashed line, a coin's 50 %, the model had
    nothing but the order of frames to go by (Table 9).
    """
    test, shuffled = summary["test_accuracy"], summary["shuffled_accuracy"]
    title = f"{test:.0%} right on unseen shots, {shuffled:.0%} once their frames are shuffled"
    figure = new_figure(HEIGHT, title, f"{len(rows)} steps in {rows[-1]['seconds']:.0f} s of training")
    seconds = np.array([row["seconds"] for row in rows])
    _loss(panel(figure, 0.75, BOTTOM, 3.7, TALL, "loss"), seconds, np.array([row["loss"] for row in rows]))
    _accuracy(panel(figure, 5.2, BOTTOM, 3.7, TALL, "right answers"), seconds, rows)
    _bars(panel(figure, 9.7, BOTTOM, 2.1, TALL, "test clips"), test, shuffled)
    return figure


def _loss(axes, seconds, loss):
    axes.plot(seconds, loss, color=BLUE, alpha=0.25, linewidth=1)
    axes.plot(seconds, _running_mean(loss), color=BLUE, linewidth=2.5)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("seconds of training", fontsize=SMALL, color=INK)


def _accuracy(axes, seconds, rows):
    accuracy = np.array([row["accuracy"] for row in rows])
    axes.plot(seconds, _running_mean(accuracy), color=BLUE, linewidth=2.5, label="training batches")
    tested = [(row["seconds"], row["test_accuracy"]) for row in rows if row.get("test_accuracy") is not None]
    if tested:
        axes.plot(*zip(*tested), "o", color=VERMILLION, markersize=8, label="unseen shots")
    _percent(axes)
    axes.set_xlabel("seconds of training", fontsize=SMALL, color=INK)
    axes.legend(loc="lower right", fontsize=SMALL, frameon=False, bbox_to_anchor=(1.0, 0.06))


def _bars(axes, test, shuffled):
    axes.bar([0, 1], [test, shuffled], color=[VERMILLION, GREY], width=0.62)
    for x, value in enumerate((test, shuffled)):
        axes.text(x, value + 0.015, f"{value:.0%}", ha="center", va="bottom", fontsize=BODY, weight="bold", color=INK)
    axes.set_xticks([0, 1], ["frames\nin order", "frames\nshuffled"])
    _percent(axes)


def _percent(axes):
    axes.axhline(0.5, color=GREY, linewidth=1.2, linestyle="--", zorder=0)
    axes.set_ylim(0, 1.08)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])


def _running_mean(values, window=15):
    """The mean of the last `window` values at each place, of fewer at the start."""
    sums = np.cumsum(np.insert(values, 0, 0.0))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - window, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)
