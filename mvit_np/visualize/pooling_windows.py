"""What a pool looks at: its windows on the plane of tokens, and what they leave out (Sec. 3.1)."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from ..backend.types import Array
from ..model.specs import PoolSpec
from .style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PALE,
    SMALL,
    VERMILLION,
    WIDTH,
    canvas,
    fold,
    new_figure,
    times,
)

COLOURS = (BLUE, ORANGE, GREEN, VERMILLION)  # of the windows in the upper left corner, two by two
ROOM, HIGH = 6.6, 5.0  # inches for the plane before the pool: width and height at most
LEFT, BOTTOM, TOP = 0.5, 0.95, 1.2  # inches around it
ARROW = 2.0  # inches of the arrow, at least
CAPTION = 3.0  # inches of the words under the plane after the pool, at most
LEAST = 12  # cells shown a side, at least, of a plane that has them
LOOKS = {  # of cells, the lowest first
    "padding": {"facecolor": "none", "linestyle": (0, (2, 2)), "zorder": 0.5},
    "seen": {"facecolor": "white", "zorder": 1},
    "unseen": {"facecolor": PALE, "zorder": 1},
}


def pooling_windows_figure(pool_spec: PoolSpec) -> Figure:
    """The windows of one pool over the (height, width) plane of its tokens, and what they make.

    pool_spec   a `PoolSpec`, such as `mvit_np.plan(config).blocks[1].pool_q`

    How to read it. On the left is the plane before the pool, or its upper left corner where it is
    large: a square is a token, a dashed one is padding, a grey one is a token that no window looks
    at. A dot is the centre of a window. Four windows are coloured; where two overlap their colours
    mix, and a token there takes part in both. On the right is the plane after the pool: each
    coloured window has become the one token of its colour. Time is pooled likewise and not drawn.
    """
    rows, columns = (_Axis(pool_spec, axis) for axis in (1, 2))
    cell = min(ROOM / columns.length, HIGH / rows.length)
    high = rows.length * cell
    figure = new_figure(TOP + high + BOTTOM, _message(rows, columns), _about(pool_spec))
    axes = canvas(figure)
    _before(axes, rows, columns, cell, (LEFT, BOTTOM + high))
    right = LEFT + columns.length * cell
    wide, tall = columns.outs * cell, rows.outs * cell
    left = max(right + ARROW, min((right + ARROW + WIDTH - wide) / 2, WIDTH - max(wide, CAPTION)))
    middle = BOTTOM + high / 2
    _after(axes, rows, columns, cell, (left, middle + tall / 2))
    _arrow(axes, pool_spec, right + 0.25, left - 0.2, middle)
    _caption(axes, LEFT, BOTTOM, "before", pool_spec.thw_in, (rows.cells, columns.cells))
    _caption(axes, left, middle - tall / 2, "after", pool_spec.thw_out, (rows.outs, columns.outs))
    return figure


class _Axis:
    """One side of the plane: how much of it is shown, and where its windows lie."""

    def __init__(self, pool: PoolSpec, axis: int) -> None:
        self.n, self.out = pool.thw_in[axis], pool.thw_out[axis]
        self.k, self.s, self.p = pool.kernel[axis], pool.stride[axis], pool.padding[axis]
        self.cells = min(self.n, max(LEAST, 3 * self.s + self.k))
        self.before = max(self.p, 0)
        # cells of padding that the last window looks at
        last = self.s * (self.out - 1) - self.p + self.k - self.n
        self.after = max(last, 0) if self.cells == self.n else 0
        self.length = self.before + self.cells + self.after
        self.outs = sum(1 for i in range(self.out) if self.centre(i) < self.cells)

    def first(self, window: Any) -> Any:
        """The first cell of a window, or of each in an array; negative in the padding."""
        return window * self.s - self.p

    def centre(self, window: int) -> float:
        """The middle of a window, in cells from the edge of the first cell."""
        return self.first(window) + self.k / 2

    def lookers(self) -> Array:
        """How many windows look at each cell of the whole side.   -> (n,)"""
        cells, first = np.arange(self.n), self.first(np.arange(self.out))[:, None]
        return ((cells >= first) & (cells < first + self.k)).sum(axis=0)


# -- the words -------------------------------------------------------------------------------------


def _message(rows, columns):
    lookers = np.outer(rows.lookers(), columns.lookers())
    kernel, stride = times((rows.k, columns.k)), times((rows.s, columns.s))
    start = f"Windows of {kernel} tokens, stride {stride}:"
    if unseen := (lookers == 0).mean():
        return f"{start} {unseen:.0%} of the tokens lie in none".replace("%", " %")
    if lookers.max() == 1:
        return f"{start} each token lies in exactly one"
    return f"{start} a token lies in up to {lookers.max()} of them"


def _about(pool):
    (_, h, w), (_, high, wide) = pool.thw_in, pool.thw_out
    fewer = "As many tokens after it"
    if (h, w) != (high, wide):
        fewer = f"{fold(h * w / (high * wide))}× fewer tokens in the plane"
    kernel, stride, padding = pool.kernel[0], pool.stride[0], pool.padding[0]
    time = f"in time, not drawn: kernel {kernel}, stride {stride}, padding {padding}"
    dashed = "; dashed: padding" if max(pool.padding[1:]) > 0 else ""
    return f"{fewer} ({time}). Dots: window centres{dashed}"


def _caption(axes, x, y, name, thw, shown):
    part = "" if shown == tuple(thw[1:]) else f"\nof which the first {times(shown)} are shown"
    text = f"{name} the pool: {times(thw[1:])} tokens{part}"
    axes.text(x, y - 0.15, text, fontsize=SMALL, color=INK, va="top", linespacing=1.35)


# -- the planes ------------------------------------------------------------------------------------


def _before(axes, rows, columns, cell, corner):
    """The cells with their padding, the coloured windows over them, and all windows' centres."""
    x0, y0 = corner[0] + columns.before * cell, corner[1] - rows.before * cell
    seen = np.outer(rows.lookers(), columns.lookers()) > 0
    shown = [range(-axis.before, axis.cells + axis.after) for axis in (rows, columns)]
    looks = {at: _look(seen, *at) for at in itertools.product(*shown)}
    for name, look in LOOKS.items():
        _squares(axes, (x0, y0), cell, [at for at in looks if looks[at] == name], look)
    for (i, j), colour in _coloured(rows, columns):
        x, y = x0 + columns.first(j) * cell, y0 - rows.first(i) * cell
        _window(axes, x, y, columns.k * cell, rows.k * cell, colour)
    centres = [(rows.centre(i), columns.centre(j)) for i, j in _outs(rows, columns)]
    xs, ys = [x0 + x * cell for _, x in centres], [y0 - y * cell for y, _ in centres]
    axes.plot(xs, ys, "o", color=INK, markersize=min(5, 20 * cell), zorder=5)


def _after(axes, rows, columns, cell, corner):
    """The tokens that the windows shown become."""
    x0, y0 = corner
    _squares(axes, corner, cell, _outs(rows, columns), LOOKS["seen"])
    for (i, j), colour in _coloured(rows, columns):
        _window(axes, x0 + j * cell, y0 - i * cell, cell, cell, colour)


def _outs(rows, columns):
    """(row, column) of each token after the pool that is shown."""
    return itertools.product(range(rows.outs), range(columns.outs))


def _coloured(rows, columns):
    corners = [(i, j) for i in range(min(2, rows.outs)) for j in range(min(2, columns.outs))]
    return list(zip(corners, COLOURS))


def _look(seen, i, j):
    if not (0 <= i < seen.shape[0] and 0 <= j < seen.shape[1]):
        return "padding"
    return "seen" if seen[i, j] else "unseen"


def _squares(axes, corner, side, cells, look):
    corners = [(corner[0] + j * side, corner[1] - (i + 1) * side) for i, j in cells]
    squares = [Rectangle(each, side, side) for each in corners]
    collection = PatchCollection(squares, edgecolor=GREY, linewidth=0.7, **look)
    axes.add_collection(collection, autolim=False)


def _window(axes, x, y, width, height, colour):
    """A window from its upper left corner: filled so that what lies below and overlaps is seen."""
    fill = {"facecolor": colour, "alpha": 0.45, "linewidth": 0, "zorder": 3}
    axes.add_patch(Rectangle((x, y - height), width, height, **fill))
    edge = {"fill": False, "edgecolor": colour, "linewidth": 2.5, "zorder": 4}
    axes.add_patch(Rectangle((x, y - height), width, height, **edge))


def _arrow(axes, pool, start, stop, y):
    look: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 16, "linewidth": 1.6}
    axes.add_patch(FancyArrowPatch((start, y), (stop, y), color=INK, **look))
    kernel, stride, padding = (times(size[1:]) for size in (pool.kernel, pool.stride, pool.padding))
    text = f"{pool.kind} {kernel}\nstride {stride}\npadding {padding}"
    words = {"fontsize": SMALL, "color": INK, "ha": "center", "linespacing": 1.35}
    axes.text((start + stop) / 2, y + 0.12, text, **words)
