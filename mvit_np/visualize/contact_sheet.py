"""What a model says about a film, over the frames of a clip and where its class token looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from ..backend.types import Array
from ..model.plan import Plan
from ..model.text_table import percent
from .attention import ALPHA, CMAP
from .style import (
    BLUE,
    BODY,
    GREY,
    INK,
    PALE,
    SKY,
    SMALL,
    WIDTH,
    colour_bar,
    new_figure,
    panel,
    spelled,
)

ROW, FRAMES = 8, 16  # frames in a row and in all, at most
# Inches: margin, between frames, colour bar, a frame at most.
EDGE, GAP, BAR, CELL = 0.3, 0.08, 1.15, 3.6
LETTER, LINE = 0.115, 0.32  # inches: of the classes' names, a letter (bold) and the pitch of lines
# Inches above the classes, over the frames, for the times over a row.
TOP, CAPTION, TIMES = 1.1, 0.62, 0.3


def contact_sheet_figure(result: Any, maps: Sequence[tuple[int, Array]], plan: Plan) -> Figure:
    """The top classes of a file, and the frames of its middle view over the token's attention.

    result  what `classify` returns
    maps    what `class_attention` returns for `result.clip`; the last stage's is drawn
    plan    of the model

    How to read it. On top are the most probable classes, as a mean over all views. Then come the
    frames of one view (every second one, or fewer, of a long clip), with the time at which each is
    shown, and under each the same frame in grey with the class token's attention in the last stage
    over it (beside it, for a picture). Yellow is where it attends most, dark where it does not; all
    frames share one scale. A tile is one key, a cell that several frames share where the cube and
    the pooling have a stride in time. The maximum is given as a multiple of uniform attention: near
    1× the token has no preference, however colourful the tiles are. Without a class token it is the
    mean over all tokens.
    """
    count = len(result.frames)
    top, shown = result.top(5), range(0, count, -(-count // FRAMES))  # all, or every second, third
    stage, shares = maps[-1]
    size, corners, height = _layout(len(shown), *result.frames.shape[1:3])
    classes = LINE * len(top)
    message = f"{spelled(top[0][0], 50)}: {percent(top[0][1], 1)}"
    figure = new_figure(TOP + classes + CAPTION + height + EDGE, message, _about(result))
    _classes(figure, top, height + EDGE + CAPTION, classes)
    _caption(figure, plan, height + EDGE + CAPTION - 0.34, beside=len(shown) == 1)
    for frame, (picture, heat) in zip(shown, corners):
        axes = _picture(figure, picture, size, result.frames[frame])
        when = f"{result.seconds[frame]:.2f} s" if result.duration else ""
        axes.set_title(when, fontsize=SMALL, color=INK, pad=4)
        grey = result.frames[frame].mean(-1, keepdims=True)
        _heat(_picture(figure, heat, size, grey), shares, frame / count, size)
    _colour_bar(figure, corners, size, shares.max() * shares.size)
    return figure


def _layout(count, h, w):
    """(width, height) of a frame, [its corner and that of its map], height of all, in inches."""
    rows, pair = -(-count // ROW), count == 1
    columns = 2 if pair else -(-count // rows)
    width = min((WIDTH - EDGE - BAR - (columns - 1) * GAP) / columns, CELL)
    height = width * h / w
    pitch = TIMES + height + (0 if pair else height + GAP)
    corners = []
    for k in range(count):
        row, column = divmod(k, columns)
        left, bottom = EDGE + column * (width + GAP), EDGE + (rows - 1 - row) * pitch
        if pair:
            corners.append(((left, bottom), (left + width + GAP, bottom)))
        else:
            corners.append(((left, bottom + height + GAP), (left, bottom)))
    return (width, height), corners, rows * pitch


def _about(result):
    name, (clips, crops) = spelled(result.path.name, 44), result.views
    if not result.duration:
        still = f", repeated over {len(result.frames)} frames" if len(result.frames) > 1 else ""
        return f"{name}, {_several(crops, 'crop')}{still}"
    views = f"{_several(clips, 'clip')} × {_several(crops, 'crop')}"
    first, last = result.seconds[0], result.seconds[-1]
    span = f"{first:.1f} to {last:.1f} s" if last > first else f"{first:.1f} s"
    return f"{name}, {result.duration:.1f} s, {views}; the view below: {span}"


def _several(count, noun):
    return f"{count} {noun}" + ("s" if count > 1 else "")


def _classes(figure, top, bottom, height):
    """A line per class: its name, a bar of its probability and the number."""
    names, values = [spelled(name, 40) for name, _ in top], [value for _, value in top]
    left, rows = EDGE + LETTER * max(map(len, names)), range(len(top))
    axes = panel(figure, left + 0.15, bottom, WIDTH - BAR - left - 0.15, height)
    axes.barh(rows, [1] * len(top), color=PALE, height=0.62)
    axes.barh(rows, values, color=[BLUE] + [SKY] * (len(top) - 1), height=0.62)
    for row, name, value in zip(rows, names, values):
        look: dict[str, Any] = {"fontsize": BODY, "color": INK, "va": "center"}
        look["weight"] = "bold" if row == 0 else "normal"
        axes.text(-0.012, row, name, ha="right", **look)
        axes.text(1.012, row, percent(value, 1), ha="left", **look)
    axes.set(xlim=(0, 1), ylim=(len(top) - 0.5, -0.5))
    axes.set_axis_off()


def _caption(figure, plan, y, beside):
    who = "class token" if plan.config.cls_token else "mean token"
    where = "Beside the frame" if beside else "Under each frame"
    text = f"{where}: what the {who} attends to in the last stage; a tile is one key"
    corner = EDGE / WIDTH, y / figure.get_figheight()
    figure.text(*corner, text, fontsize=BODY, color=GREY, va="center")


def _picture(figure, corner, size, frame):
    axes = panel(figure, *corner, *size)
    picture = frame.squeeze(-1) if frame.shape[-1] == 1 else frame
    axes.imshow(picture, cmap="gray", vmin=0, vmax=255, aspect="auto")
    axes.set_axis_off()
    return axes


def _heat(axes, shares, when, size):
    """One time's tiles over a frame.   when: where it is in the clip, 0 to 1"""
    right, low = axes.get_xlim()[1], axes.get_ylim()[0]
    over = {"extent": (-0.5, right, low, -0.5), "aspect": "auto", "alpha": ALPHA}
    look = {"cmap": CMAP, "vmin": 0, "vmax": shares.max(), "interpolation": "nearest"}
    axes.imshow(shares[int(when * len(shares))], **look, **over)


def _colour_bar(figure, corners, size, peak):
    """The scale of the tiles, along the last map."""
    left = max(corner[0] for pair in corners for corner in pair) + size[0] + 0.2
    most = f"{peak:.1f}×\nuniform"
    colour_bar(figure, left, corners[-1][1][1], size[1], CMAP, most, va="center")
