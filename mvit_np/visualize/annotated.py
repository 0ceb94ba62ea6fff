"""The frames of a film with a map over them and words beneath, for an annotated film."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..backend.types import Array
from ..model.text_table import percent
from .attention import CMAP
from .fonts import add_fonts, quiet_about_fonts
from .style import BLUE, INK, PALE, spelled

ALPHA = 0.45  # of the map
LINE, DPI = 24, 100  # pixels of a line of words


def heated(frame: Array, heat: Array, seen: tuple[int, int, int, int], most: float) -> Array:
    """A frame with a map over the part that the model sees; the rest is darker.

    (H, W, 1 or 3) uint8   ->   (H, W, 3) uint8

    heat   (h, w), coloured from 0 to `most`
    seen   (top, left, bottom, right) pixels
    """
    top, left, bottom, right = seen
    picture = np.broadcast_to(frame, (*frame.shape[:2], 3)).astype(float)
    rows, columns = np.arange(bottom - top), np.arange(right - left)
    rows, columns = rows * heat.shape[0] // len(rows), columns * heat.shape[1] // len(columns)
    tiles = np.clip(heat / max(most, 1e-12), 0, 1)[rows[:, None], columns]
    colours = 255 * matplotlib.colormaps[CMAP](tiles)[..., :3]
    result = 0.5 * picture
    inside = picture[top:bottom, left:right]
    result[top:bottom, left:right] = (1 - ALPHA) * inside + ALPHA * colours
    return result.round().astype(np.uint8)


def words_strip(lines: Sequence[tuple[str, float]], width: int) -> Array:
    """A class with a bar and its probability per line, on white.   -> (lines x LINE, width, 3)"""
    height = LINE * len(lines)
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1), frameon=False)
    axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    for row, (name, share) in enumerate(lines):
        y = LINE * (row + 0.5)
        axes.barh(y, 0.22 * width, left=0.55 * width, height=10, color=PALE)
        axes.barh(y, 0.22 * width * share, left=0.55 * width, height=10, color=BLUE)
        look: dict[str, Any] = {"color": INK, "va": "center", "fontsize": 9}
        letters = int(0.52 * width / 8)
        axes.text(6, y, spelled(name, letters), weight="normal" if row else "bold", **look)
        axes.text(width - 6, y, percent(share, 1), ha="right", **look)
    with quiet_about_fonts():
        add_fonts(figure)
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
