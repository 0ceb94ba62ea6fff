"""What the learned positions have in common: each cell beside all cells, and times likewise."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from ..backend.types import Array
from .style import BODY, GREY, INK, SMALL, WIDTH, canvas, new_figure, panel, times

HEIGHT = 7.3  # inches, as are all the lengths below
SIDE, LEFT, BOTTOM = 5.0, 0.95, 0.85  # the larger plane of maps
RIGHT, SQUARE = 7.6, 3.1  # the times
TILES = 8  # maps per side, at most
GAP, LEAST = 0.07, 0.28  # between maps, and a map with its gap at least
CMAP = "RdBu_r"
# of cosines
SCALE: dict[str, Any] = {"cmap": CMAP, "vmin": -1, "vmax": 1, "interpolation": "nearest"}


def position_similarity_figure(space: Array, time: Array | None, grid: tuple[int, int]) -> Figure:
    """Cosine similarities of the learned positions in space (left) and in time (right).

    space   (H W, H W) and
    time    (T, T), or None: both of `mvit_np.model.inspection.position_similarity`
    grid    (H, W) of the embedding: `mvit_np.plan(config).embed.thw[1:]`

    How to read it. Left: each small map belongs to one cell of the grid (every second one, or
    fewer, of a large grid), and lies where that cell does. It shows how similar that cell's
    position is to the position of every cell: red is alike, white is unrelated, blue is opposite.
    A model that has learned where things are shows a red spot that wanders with the cell of the
    map; one that has learned nothing shows a single red cell on white. Right: the same for times;
    red along the diagonal that fades away from it means that neighbouring times were learned to be
    alike.

    Raises ValueError where `space` is not (H W, H W).
    """
    h, w = grid
    space = np.asarray(space)
    if space.shape != (h * w, h * w):
        rule = f"space is ({h * w}, {h * w}) for a grid {h} x {w}"
        raise ValueError(f"{rule}; came {space.shape}: give the embedding's grid")
    figure = new_figure(HEIGHT, _message(space, grid), _about(space, grid, time))
    _space(figure, space.reshape(h, w, h, w))
    if time is not None:
        _time(figure, np.asarray(time))
    _colour_bar(figure)
    return figure


# -- the words -------------------------------------------------------------------------------------


def _message(space, grid):
    both = _near_and_far(space, grid)
    near, far = map(_signed, both)
    if both[0] - both[1] < 0.1:
        return f"Neighbouring cells are no more alike than others: {near} and {far}"
    return f"Neighbouring cells are alike, cosine {near}; all others {far} on average"


def _near_and_far(space, grid):
    """The mean similarity of direct neighbours, and of all pairs at a larger distance."""
    y, x = (axis.ravel() for axis in np.indices(grid))
    steps = abs(y[:, None] - y) + abs(x[:, None] - x)
    return tuple(space[where].mean() if where.any() else 0.0 for where in (steps == 1, steps > 1))


def _about(space, grid, time):
    words = f"Cosine of the learned positions of {times(grid)} cells"
    if time is None:
        return words
    beside = np.diagonal(time, 1)
    if not len(beside):
        return f"{words} and one time"
    return f"{words} and {len(time)} times; neighbouring times: {_signed(beside.mean())}"


def _signed(value):
    return f"{value:.2f}".replace("-", "\N{MINUS SIGN}")


# -- the panels ------------------------------------------------------------------------------------


def _space(figure, space):
    """A map for each of some cells, where that cell lies."""
    h, w = space.shape[:2]
    rows, columns = (_some(n) for n in (h, w))
    wide = max(min(SIDE / len(columns), SIDE / len(rows) * w / h), LEAST)
    high = min(max(wide * h / w, LEAST), SIDE / len(rows))
    top, right, axes = BOTTOM + len(rows) * high, LEFT + len(columns) * wide, canvas(figure)
    for (i, row), (j, column) in itertools.product(enumerate(rows), enumerate(columns)):
        corner = LEFT + j * wide, top - i * high - high
        _tile(axes, space[row, column], *corner, wide - GAP, high - GAP)
    look: dict[str, Any] = {"fontsize": SMALL, "color": INK}
    for i, row in enumerate(rows):
        y = top - (i + 0.5) * high - GAP / 2
        axes.text(LEFT - 0.1, y, str(row + 1), ha="right", va="center", **look)
    for j, column in enumerate(columns):
        x = LEFT + (j + 0.5) * wide - GAP / 2
        axes.text(x, BOTTOM - 0.1, str(column + 1), ha="center", va="top", **look)
    axes.text(LEFT, top + 0.07, "space: a map for each cell", fontsize=BODY, color=INK)
    axes.text((LEFT + right) / 2, 0.34, "column of the grid", ha="center", **look)
    look |= {"ha": "center", "va": "center", "rotation": 90}
    axes.text(0.42, (BOTTOM + top) / 2, "row of the grid", **look)
    axes.set(xlim=(0, WIDTH), ylim=(0, HEIGHT))  # which imshow has moved


def _tile(axes, similar, left, bottom, width, height):
    extent = (left, left + width, bottom, bottom + height)
    axes.imshow(similar, aspect="auto", extent=extent, **SCALE)
    edge: dict[str, Any] = {"fill": False, "edgecolor": GREY, "linewidth": 0.5}
    axes.add_patch(Rectangle((left, bottom), width, height, **edge))


def _some(n):
    """All of n indices, or every second, third, ... of them, so that TILES are left at most.

    They are as far from the borders on both sides.
    """
    step = -(-n // TILES)
    count = max(1, n // step)
    return [int((i + 0.5) * n / count) for i in range(count)]


def _time(figure, time):
    bottom = BOTTOM + SIDE - SQUARE
    axes = panel(figure, RIGHT, bottom, SQUARE, SQUARE, "time: each with all")
    edge = len(time) + 0.5
    axes.imshow(time, extent=(0.5, edge, edge, 0.5), **SCALE)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    axes.set_xlabel("time", fontsize=SMALL, color=INK)
    axes.set_ylabel("time", fontsize=SMALL, color=INK)
    axes.tick_params(length=0)


def _colour_bar(figure):
    axes = panel(figure, RIGHT, BOTTOM + 0.35, SQUARE, 0.2, "cosine")
    axes.imshow(np.linspace(-1, 1, 256)[None], cmap=CMAP, aspect="auto", extent=(-1, 1, 0, 1))
    axes.spines[:].set_visible(False)
    axes.set_yticks([])
    axes.set_xticks([-1, 0, 1], ["\N{MINUS SIGN}1\nopposite", "0\nunrelated", "1\nalike"])
    axes.tick_params(length=0)
