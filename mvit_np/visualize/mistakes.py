"""The worst mistakes of a model: the wrong answers that it was most certain of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from matplotlib.figure import Figure

from ..model.text_table import percent
from .style import BODY, GREY, INK, SMALL, VERMILLION, WIDTH, new_figure, panel, spelled

COLUMNS = 3
# Inches: margin, between mistakes, between frames, the lines of words over a strip.
EDGE, GUTTER, GAP, WORDS, TOP = 0.3, 0.35, 0.05, 0.85, 1.0
CELL = (WIDTH - 2 * EDGE - (COLUMNS - 1) * GUTTER) / COLUMNS


def mistakes_figure(mistakes: Sequence[Any], evaluation: Any) -> Figure:
    """Frames of the worst mistakes, with what the model said and what is right.

    mistakes     what `mvit_np.train.answers.worst_mistakes` returns, at least one
    evaluation   the `Evaluation` that they are of

    How to read it. Each strip is one example: some frames of its middle clip in order of time, as
    the file has them. Over it are the model's answer with its probability, the class that the data
    give, and the file. Look for three things: labels that are wrong, films that nobody could tell,
    and what the mistakes have in common. Raises ValueError where there are no mistakes.
    """
    if not mistakes:
        raise ValueError("a figure of mistakes needs some; came none: leave it out")
    height = max(_height(one) for one in mistakes)
    rows = -(-len(mistakes) // COLUMNS)
    wrong = evaluation.examples - int(evaluation.confusion.trace())
    title = "The only mistake" if wrong == 1 else f"All {wrong} mistakes"
    if len(mistakes) < wrong:
        title = f"The {len(mistakes)} worst of {wrong} mistakes"
    about = f"{percent(evaluation.top1, 1)} of {evaluation.examples} examples are right"
    pitch = WORDS + height + 0.3
    figure = new_figure(TOP + rows * pitch + 0.1, title, f"{about}; most certain first")
    for number, one in enumerate(mistakes):
        row, column = divmod(number, COLUMNS)
        _strip(figure, one, EDGE + column * (CELL + GUTTER), 0.3 + (rows - 1 - row) * pitch, height)
    return figure


def _frame_width(mistake):
    count = len(mistake.frames)
    return (CELL - (count - 1) * GAP) / max(count, 2)


def _height(mistake):
    _, h, w, _ = mistake.frames.shape
    return min(_frame_width(mistake) * h / w, CELL)


def _strip(figure, mistake, left, bottom, height):
    _, h, w, channels = mistake.frames.shape
    tall = _height(mistake)
    wide = tall * w / h
    for number, frame in enumerate(mistake.frames):
        at = left + number * (wide + GAP), bottom + height - tall
        axes = panel(figure, *at, wide, tall)
        axes.imshow(frame[..., 0] if channels == 1 else frame, cmap="gray", vmin=0, vmax=255)
        axes.set_axis_off()
    answer = f"{spelled(mistake.answer, 26)}: {percent(mistake.probability, 1)}"
    lines = [
        (answer, BODY, VERMILLION, "bold"),
        (f"is {spelled(mistake.truth, 34)}", BODY, INK, "normal"),
        (spelled(PurePath(mistake.name).name, 44), SMALL, GREY, "normal"),
    ]
    size = figure.get_size_inches()
    for line, (text, points, colour, weight) in enumerate(lines):
        y = bottom + height + WORDS - 0.17 - 0.24 * line
        look: dict[str, Any] = {"fontsize": points, "color": colour, "weight": weight}
        figure.text(left / size[0], y / size[1], text, va="center", **look)
