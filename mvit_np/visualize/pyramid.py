"""The boxes of `stage_figure`: each stage as high and deep as its grid, as long as its channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Polygon

from .style import GREY, INK, SMALL, times

MIDDLE = 4.78  # of the boxes, in inches, as are all the lengths below
TALLEST = 1.2  # side of a box: of the largest grid
LONGEST = 1.9, 1.4, 0.9  # of the most channels: the first of these that fits
SLANT = 0.3  # of the side that goes back into the page
SLOT, GROUP = 1.12, 3.4  # at least, for the labels of a stage and of a model
GAP = 0.28  # between two stages


def pyramids(axes: Axes, models: Sequence[Any]) -> None:
    """Both models' boxes, side by side on one scale.

    models   two, each with its name, totals, colour and stages; see `stages.stage_figure`

    Raises ValueError where there is no room for so many stages.
    """
    room = axes.get_xlim()[1] - 0.6
    for scale in _scales(models):
        widths = [_group_width(model, scale) for model in models]
        if sum(widths) < room:
            break
    else:
        rule = "stage_figure has room for about 8 stages of both models together"
        raise ValueError(f"{rule}: choose models with fewer")
    space = (axes.get_xlim()[1] - sum(widths)) / 3
    left = space
    for model, width in zip(models, widths):
        _pyramid(axes, model, left, width, scale)
        left += width + space


def _scales(models):
    """(inches a cell of the grid, inches a channel), from the largest to the smallest."""
    stages = [stage for model in models for stage in model.stages]
    grid = max(max(stage.thw[1:]) for stage in stages)
    channels = max(stage.channels for stage in stages)
    return [(TALLEST / grid, longest / channels) for longest in LONGEST]


def _group_width(model, scale):
    return max(sum(_slots(model, scale)) + GAP * (len(model.stages) - 1), GROUP)


def _slots(model, scale):
    """The width that each stage takes."""
    return [max(_length(stage, scale), SLOT) for stage in model.stages]


def _pyramid(axes, model, left, width, scale):
    slots, middle = _slots(model, scale), left + width / 2
    axes.text(middle, 5.94, model.name, fontsize=14, weight="bold", color=model.colour, ha="center")
    axes.text(middle, 5.7, model.totals, fontsize=SMALL, color=INK, ha="center")
    x = middle - (sum(slots) + GAP * (len(slots) - 1)) / 2
    for number, (stage, slot) in enumerate(zip(model.stages, slots), 1):
        right = _box(axes, stage, x + slot / 2, scale, model.colour)
        if number < len(slots):
            following = model.stages[number]
            _arrow(axes, right, x + slot + GAP + slots[number] / 2 - _length(following, scale) / 2)
        label = {"fontsize": SMALL, "color": INK, "ha": "center", "va": "top", "linespacing": 1.25}
        axes.text(x + slot / 2, 3.9, _label(number, stage), **label)
        x += slot + GAP


def _length(stage, scale):
    """How wide a box is drawn: the side that goes back is seen, too."""
    return stage.channels * scale[1] + SLANT * stage.thw[2] * scale[0]


def _label(number, stage):
    blocks = "1 block" if stage.blocks == 1 else f"{stage.blocks} blocks"
    sizes = f"{times(stage.thw)}\n{stage.tokens} tokens\n{stage.channels} channels"
    return f"stage {number}\n{blocks}\n{sizes}"


def _box(axes, stage, middle, scale, colour):
    """A cuboid, as high and deep as the grid, as long as the channels. Returns its right end."""
    high, deep = stage.thw[1] * scale[0], stage.thw[2] * scale[0] * SLANT
    long = stage.channels * scale[1]
    x, y = middle - (long + deep) / 2, MIDDLE - (high + deep) / 2
    back, right, up = (deep, deep), (long, 0), (0, high)
    _side(axes, (x, y), right, up, colour, 0.75)
    _side(axes, (x, y + high), right, back, colour, 0.35)
    _side(axes, (x + long, y), up, back, colour, 0.55)
    return x + long + deep


def _side(axes, corner, a, b, colour, shade):
    """A parallelogram from `corner` along a and b, filled with so much colour."""
    (x, y), path = corner, ((0, 0), a, (a[0] + b[0], a[1] + b[1]), b)
    points = [(x + dx, y + dy) for dx, dy in path]
    axes.add_patch(Polygon(points, facecolor="white", zorder=2))
    axes.add_patch(Polygon(points, facecolor=colour, alpha=shade, zorder=2))
    edge: dict[str, Any] = {"edgecolor": INK, "linewidth": 0.8, "joinstyle": "round"}
    axes.add_patch(Polygon(points, fill=False, zorder=3, **edge))


def _arrow(axes, start, stop):
    style = {"arrowstyle": "-|>", "color": GREY, "linewidth": 1.4, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", (stop - 0.06, MIDDLE), (start + 0.06, MIDDLE), arrowprops=style)
