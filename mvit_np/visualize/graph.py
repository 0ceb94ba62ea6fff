"""A graph of steps drawn in layers: every step lies above all that it was made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from .style import GREY, INK, SKY, SMALL, WIDTH, canvas, new_figure

ROW, TOP, BOTTOM, SIDE = 0.52, 1.05, 0.3, 0.3  # inches, as are all the lengths below
LOW, GAP, LETTER = 0.34, 0.06, 0.088  # a box, and the text beside it
BETWEEN = 0.15  # of boxes side by side
LANE = 0.3  # what a line takes that passes between the boxes
SWEEPS = 24  # up and down again, until the lines are nearly straight


def graph_figure(
    labels: Sequence[str],
    parents: Sequence[Sequence[int]],
    title: str,
    subtitle: str = "",
    colours: Sequence[str] | None = None,
    beside: Sequence[str] | None = None,
) -> Figure:
    """What is made of what.

    labels    a word or two for each node
    parents   for each node the numbers of the nodes that it was made of
    colours   of the nodes' boxes
    beside    a few words to the right of each node, "" for none

    How to read it, from the bottom up. Each box is a step, and the lines that enter it from below
    come from what it was made of. A step lies above all of these, and what was made of nothing
    lies just below the first step that uses it.

    Raises ValueError for a graph that goes round in a circle.
    """
    beside = beside or [""] * len(labels)
    left = [(LETTER * len(label) + 0.22) / 2 for label in labels]
    right = [half + LETTER * len(text) for half, text in zip(left, beside)]
    layers = _layers(parents)
    lines = _with_bends(parents, layers)
    bends = [LANE / 2] * (len(layers) - len(labels))
    across = _across(lines, layers, _ranks(parents, len(bends)), (left + bends, right + bends))
    figure = new_figure(TOP + BOTTOM + ROW * (max(layers) + 1), title, subtitle)
    axes = canvas(figure)
    centres = [(x, BOTTOM + ROW * (layer + 0.5)) for x, layer in zip(across, layers)]
    for below, above in lines:
        _line(axes, centres[below], centres[above], below < len(labels), above < len(labels))
    for at, label in enumerate(labels):
        _box(axes, centres[at], 2 * left[at], label, colours[at] if colours else SKY)
        x, y = centres[at][0] + left[at] + GAP, centres[at][1]
        axes.text(x, y, beside[at], fontsize=10, color=GREY, va="center")
    return figure


# -- which layer -----------------------------------------------------------------------------------


def _layers(parents):
    """One above the highest of what a node was made of; for sources one below their first user."""
    layers: list[Any] = [None] * len(parents)
    for at in range(len(parents)):
        _set_layer(at, parents, layers, ())
    for at, made_of in enumerate(parents):
        users = [layers[user] for user, others in enumerate(parents) if at in others]
        if not made_of and users:
            layers[at] = min(users) - 1
    return layers


def _set_layer(at, parents, layers, above):
    if at in above:
        raise ValueError(f"a graph is drawn from the bottom up; node {at} was made of itself")
    if layers[at] is None:
        for parent in parents[at]:
            _set_layer(parent, parents, layers, (*above, at))
        layers[at] = 1 + max((layers[parent] for parent in parents[at]), default=-1)


def _with_bends(parents, layers):
    """(below, above) pairs, none across a layer: a long line bends in every layer that it passes.

    The bends' layers are added to `layers`, behind those of the nodes.
    """
    lines = []
    for above, made_of in enumerate(parents):
        for below in dict.fromkeys(made_of):
            last = below
            for layer in range(layers[below] + 1, layers[above]):
                layers.append(layer)
                lines.append((last, len(layers) - 1))
                last = len(layers) - 1
            lines.append((last, above))
    return lines


# -- where in the layer ----------------------------------------------------------------------------


def _ranks(parents, bends):
    """Who is set down first: bends (2), then steps (1), then sources that one step uses (0)."""
    used = [at for made_of in parents for at in made_of]
    return [int(bool(own) or used.count(at) > 1) for at, own in enumerate(parents)] + [2] * bends


def _across(lines, layers, ranks, sides):
    """How far right each node and each bend lies; the lines become straight by and by."""
    rows: list[list[int]] = [[] for _ in range(max(layers) + 1)]
    near: list[list[int]] = [[] for _ in layers]
    for at, layer in enumerate(layers):
        rows[layer].append(at)
    for pair in lines:
        for at, other in (pair, pair[::-1]):
            if ranks[other] or not ranks[at]:  # sources move to their users
                near[at].append(other)
    across = [0.0] * len(layers)
    for sweep in range(SWEEPS):
        for row in rows if sweep % 2 == 0 else rows[::-1]:
            wanted = {at: _mean([across[other] for other in near[at]], across[at]) for at in row}
            row.sort(key=wanted.__getitem__)
            _settle(row, wanted, ranks, sides, across)
    left = min(x - side for x, side in zip(across, sides[0]))
    right = max(x + side for x, side in zip(across, sides[1]))
    return [x + (WIDTH - left - right) / 2 for x in across]


def _settle(row, wanted, ranks, sides, across):
    """Each as near as may be to where it is wanted: the mean of what left to right and right to
    left give, since who comes first pushes the others away.
    """
    shoulder, edge = {}, 0.0  # where each is when all stand shoulder to shoulder
    for at in row:
        shoulder[at] = edge + sides[0][at]
        edge = shoulder[at] + sides[1][at] + BETWEEN
    both = [_placed(order, wanted, ranks, shoulder) for order in (row, row[::-1])]
    for at in row:
        across[at] = _mean([found[at] for found in both], 0.0)


def _placed(order, wanted, ranks, shoulder):
    """One after the other, those of a higher rank first."""
    found: dict[int, float] = {}
    for at in sorted(order, key=lambda at: -ranks[at]):
        bounds = [(x + shoulder[at] - shoulder[other], other) for other, x in found.items()]
        low = [x for x, other in bounds if shoulder[other] < shoulder[at]]
        high = [x for x, other in bounds if shoulder[other] > shoulder[at]]
        found[at] = min([max([wanted[at], *low]), *high])
    return found


def _mean(values, default):
    return sum(values) / len(values) if values else default


# -- boxes and lines -------------------------------------------------------------------------------


def _line(axes, below, above, from_box, into_box):
    """From below to above, with a head where it enters a box."""
    start = (below[0], below[1] + (LOW / 2 if from_box else 0))
    stop = (above[0], above[1] - (LOW / 2 if into_box else 0))
    if into_box:
        style = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.2, "mutation_scale": 11}
        axes.annotate("", stop, start, arrowprops=style | {"shrinkA": 0, "shrinkB": 0}, zorder=1)
        return
    axes.plot(*zip(start, stop), color=INK, linewidth=1.2, solid_capstyle="round", zorder=1)


def _box(axes, centre, width, label, colour):
    corner = (centre[0] - width / 2, centre[1] - LOW / 2)
    style: dict[str, Any] = {"boxstyle": "round,pad=0,rounding_size=0.07", "linewidth": 1.2}
    for face, alpha in (("white", 1), (colour, 0.55)):
        box = FancyBboxPatch(corner, width, LOW, facecolor=face, edgecolor=INK, **style)
        box.set(alpha=alpha, zorder=2)
        axes.add_patch(box)
    axes.text(*centre, label, fontsize=SMALL, color=INK, ha="center", va="center", zorder=3)
