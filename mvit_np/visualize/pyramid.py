"""The boxes of `stage_figure`: each stage a cuboid, high and deep as its token grid and long as it
has channels.
"""

from __future__ import annotations

from matplotlib.patches import Polygon

from .style import GREY, INK, SMALL, times

MIDDLE = 4.78  # of the boxes, in inches, as are all the lengths below
# sides of a box: the largest grid; the most channels, the first that fits
TALLEST, LONGEST = 1.2, (1.9, 1.4, 0.9)
SLANT = 0.3  # of the side that goes back into the page
# at least for a stage's labels, between two stages, at least for a model's
SLOT, GAP, GROUP = 1.12, 0.28, 3.4


def pyramids(axes, models):
    """Both models' boxes, side by side on one scale."""
    room = axes.get_xlim()[1] - 0.6
    scale = next(
        (each for each in _scales(models) if sum(_group_width(m, each) for m in models) < room),
        None,
    )
    if scale is None:
        raise ValueError(
            "stage_figure has room for about 8 stages of both models together: choose models with "
            "fewer"
        )
    widths = [_group_width(model, scale) for model in models]
    space = (axes.get_xlim()[1] - sum(widths)) / 3
    left = space
    for model, width in zip(models, widths):
        _pyramid(axes, model, left, width, scale)
        left += width + space


def _scales(models):
    """(inches a place of the grid, inches a channel), from the largest to the smallest."""
    stages = [stage for model in models for stage in model.stages]
    grid, channels = (
        max(max(stage.thw[1:]) for stage in stages),
        max(stage.channels for stage in stages),
    )
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
    return (
        f"stage {number}\n{blocks}\n{times(stage.thw)}\n{stage.tokens} tokens\n{stage.channels} "
        "channels"
    )


def _box(axes, stage, middle, scale, colour):
    """A cuboid: height and depth are the grid's, length the channels'. Returns where its right side
    is.
    """
    high, deep, long = (
        stage.thw[1] * scale[0],
        stage.thw[2] * scale[0] * SLANT,
        stage.channels * scale[1],
    )
    x, y = middle - (long + deep) / 2, MIDDLE - (high + deep) / 2
    back, right, up = (deep, deep), (long, 0), (0, high)
    for (a, b), shade in (((right, up), 0.75), ((right, back), 0.35), ((up, back), 0.55)):
        corner = (
            (x + long, y)
            if (a, b) == (up, back)
            else (x, y + high)
            if (a, b) == (right, back)
            else (x, y)
        )
        _side(axes, corner, a, b, colour, shade)
    return x + long + deep


def _side(axes, corner, a, b, colour, shade):
    """A parallelogram from `corner` along a and b, filled with so much colour."""
    (x, y), path = corner, ((0, 0), a, (a[0] + b[0], a[1] + b[1]), b)
    points = [(x + dx, y + dy) for dx, dy in path]
    axes.add_patch(Polygon(points, facecolor="white", zorder=2))
    axes.add_patch(Polygon(points, facecolor=colour, alpha=shade, zorder=2))
    axes.add_patch(
        Polygon(points, fill=False, edgecolor=INK, linewidth=0.8, zorder=3, joinstyle="round")
    )


def _arrow(axes, start, stop):
    style = {"arrowstyle": "-|>", "color": GREY, "linewidth": 1.4, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", (stop - 0.06, MIDDLE), (start + 0.06, MIDDLE), arrowprops=style)
