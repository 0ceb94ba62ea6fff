"""What longer and larger clips cost: time and memory as measured, beside what is counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from .style import BLUE, GREY, INK, SMALL, VERMILLION, WIDTH, fold, new_figure, panel

HEIGHT = 9.0  # inches
LEFTS = {"frames": 0.95, "size": 7.0}  # inches from the left
WIDE, TALL, LOW, HIGH = 4.6, 2.7, 0.95, 4.75  # of each panel; the bottoms of the two rows
# colour, name, macs in the model's
MODES = {"step": (VERMILLION, "training step", 3), "forward": (BLUE, "forward pass", 1)}
AXES = {"frames": "frames", "size": "pixels per side"}


def scaling_figure(scaling: Mapping[str, Any], flops_per_s: float) -> Figure:
    """Time and peak memory of one clip against its frames (left) and its size (right).

    scaling       {"preset", "points"} of `bench.scaling`: dicts of axis, frames, size, macs,
                  kept_bytes and, for "forward", "step" or both, median_s and peak_bytes
    flops_per_s   what matrix products reach on the machine, a multiply-add being two operations

    How to read it. All axes are logarithmic: a straight line is a power of the length or the size,
    and two parallel lines keep their ratio. Above, a dashed line is the time that the counted
    multiply-adds alone would take at the speed of a large matrix product; the gap up to the solid
    line of its colour is everything else. Below, solid is the most that a process held, dashed what
    a step is counted to keep for its backward pass: the two meet where activations outweigh the
    rest. Below each number of frames or pixels stand the multiply-adds of a forward pass.
    """
    points = {axis: [p for p in scaling["points"] if p["axis"] == axis] for axis in AXES}
    figure = new_figure(HEIGHT, _message(points), _words(scaling["preset"], flops_per_s))
    rows = []
    for bottom, title, draw in ((HIGH, "seconds", _time), (LOW, "peak memory in GB", _memory)):
        row = [_panel(figure, LEFTS[axis], bottom, title, points[axis], axis) for axis in AXES]
        for axes, axis in zip(row, AXES):
            draw(axes, points[axis], axis, flops_per_s)
        rows.append(row)
    for left, right in rows:
        left.sharey(right)
        left.autoscale(axis="y")
    style: dict[str, Any] = {"fontsize": SMALL, "frameon": False, "labelcolor": INK}
    style |= {"loc": "upper left", "bbox_to_anchor": (0.15 / WIDTH, 1 - 0.85 / HEIGHT)}
    figure.legend(handles=rows[0][0].lines, ncols=4, handlelength=2.5, **style)
    return figure


def _message(points):
    first, last = points["frames"][0], points["frames"][-1]
    mode = "step" if "step" in first else "forward"
    macs = fold(last["macs"] / first["macs"])
    time = fold(last[mode]["median_s"] / first[mode]["median_s"])
    memory = fold(last[mode]["peak_bytes"] / first[mode]["peak_bytes"])
    frames = f"{first['frames']} to {last['frames']} frames"
    return f"{frames}: {macs} × the multiply-adds, {time} × the time, {memory} × the memory"


def _words(preset, flops_per_s):
    macs = f"multiply-adds at the {flops_per_s / 1e9:.0f} GFLOP/s of matrix products"
    return f"{preset}, one clip. Dashed lines are counted: {macs}, and activations kept"


def _panel(figure, left, bottom, title, points, axis):
    axes = panel(figure, left, bottom, WIDE, TALL, title)
    axes.set_xscale("log")
    axes.set_yscale("log")
    labels = [f"{p[axis]}\n{p['macs'] / 1e9:.3g}" for p in points]
    axes.set_xticks([p[axis] for p in points], labels)
    axes.xaxis.set_minor_locator(NullLocator())
    below = f"{AXES[axis]}, and G multiply-adds of a forward pass"
    axes.set_xlabel(below, fontsize=SMALL, color=INK)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(axis="y", color=GREY, alpha=0.2)
    return axes


def _time(axes, points, axis, flops_per_s):
    for mode, (colour, name, factor) in _present(points):
        _line(axes, points, axis, [p[mode]["median_s"] for p in points], colour, name)
        counted = [2 * factor * p["macs"] / flops_per_s for p in points]
        _line(axes, points, axis, counted, colour, f"counted, of a {name}", "--")


def _memory(axes, points, axis, _):
    for mode, (colour, name, _) in _present(points):
        _line(axes, points, axis, [p[mode]["peak_bytes"] / 1e9 for p in points], colour, name)
        if mode == "step":
            _line(axes, points, axis, [p["kept_bytes"] / 1e9 for p in points], colour, "", "--")


def _present(points):
    return [(mode, style) for mode, style in MODES.items() if mode in points[0]]


def _line(axes, points, axis, values, colour, name, style="o-"):
    widths = {"linewidth": 1.5} if style == "--" else {"linewidth": 2.5, "markersize": 7}
    axes.plot([p[axis] for p in points], values, style, color=colour, label=name, **widths)
