"""What the films of each class look like: a row per class, a frame per film."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from ..backend.plain_text import many
from ..backend.types import Array
from .style import BODY, GREY, INK, SMALL, WIDTH, new_figure, panel, spelled

ROWS, COLUMNS = 16, 6  # classes, and films of each, at most
# Inches: margin, names of the classes, a row, between pictures, above all.
EDGE, NAMES, ROW, GAP, TOP = 0.3, 2.2, 1.15, 0.08, 1.1


def class_sheet_figure(
    pictures: Mapping[str, Sequence[Array]], counts: Mapping[str, int], title: str
) -> Figure:
    """Some films of each class, a frame of each.

    pictures   {class: [(h, w, 3) uint8, ...]}; of more than 16 classes the first 16 are drawn, of
               each six films at most
    counts     {class: how many examples it has}
    title      what is said on top

    How to read it. A row is a class, with the number of its examples. A picture is the frame in the
    middle of a film. Look for films in the wrong row, for pictures that lie on their side, are
    black or all alike, and for classes that one can tell by their surroundings alone.
    """
    shown, total = list(pictures)[:ROWS], many(counts, "class", "classes")
    about = f"the first {len(shown)} of {total}" if len(shown) < len(counts) else total
    height = TOP + len(shown) * ROW + EDGE
    figure = new_figure(
        height, spelled(title, 70), f"{about}; the frame in the middle of some films"
    )
    for row, name in enumerate(shown):
        bottom = height - TOP - (row + 1) * ROW
        left, middle = EDGE / WIDTH, bottom + ROW / 2
        there = f"{counts[name]} example{'s' * (counts[name] != 1)}"
        figure.text(
            left, (middle + 0.03) / height, spelled(name, 22), va="bottom", fontsize=BODY, color=INK
        )
        figure.text(left, (middle - 0.03) / height, there, va="top", fontsize=SMALL, color=GREY)
        _row(figure, pictures[name][:COLUMNS], bottom + GAP / 2)
    return figure


def _row(figure, frames, bottom):
    """The pictures of a class beside each other, each in a box of its own, not stretched."""
    width, height = (WIDTH - 2 * EDGE - NAMES) / COLUMNS, ROW - GAP
    for column, frame in enumerate(frames):
        left = EDGE + NAMES + column * width
        axes = panel(figure, left, bottom, width - GAP, height)
        axes.imshow(frame, aspect="equal", vmin=0, vmax=255)
        axes.set_axis_off()
