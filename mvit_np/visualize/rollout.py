"""Maps over the embedding's grid, such as attention rollout: on which tokens an answer rests."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from ..backend.types import Array
from ..model.text_table import percent
from .style import BODY, GREY, INK, SMALL, WIDTH, colour_bar, fold, new_figure, panel, times

COLUMNS = 8  # times shown at most
# Inches: row labels, a map at most, between maps, colour bar.
LABELS, CELL, GAP, BAR = 2.35, 2.2, 0.1, 1.15
TOP, BOTTOM = 1.35, 0.3  # inches above and below the rows
PITCH = 0.95  # from row to row at least: the label's lines
CMAP = "viridis"


def rollout_figure(
    maps: dict[str, Array] | Array, clip: Array | None = None, title: str = ""
) -> Figure:
    """Maps of shares over time, a row per map, under the frames of the clip.

    maps    {name: (t, h, w) shares}, or one such array: of
            `mvit_np.model.inspection.attention_rollout`, `shares[0, 1:].reshape(plan.embed.thw)`;
            all on grids of one length in time
    clip    (T, H, W, C) floats of any range, grey or RGB; None leaves its frames out
    title   about the clip, such as its label

    How to read it. Time runs to the right: each column is one time of the grid (every second one,
    or fewer, of a long clip), and above it is the middle one of the frames that its tokens were
    made of. A tile is one token; yellow is where much of the attention goes, dark where none
    goes. Each row has a scale of its own, up to the maximum that is given beside it as a multiple
    of an even share: a row with a maximum near 1× has no preference, however colourful it is. The
    title says on how many tokens half of it lies: the fewer, the sharper. Raises ValueError for
    what is no map.
    """
    rows = _named(maps)
    count = len(next(iter(rows.values())))
    shown = range(0, count, -(-count // COLUMNS))
    width, height = _sizes(len(shown), [clip] * (clip is not None) + list(rows.values()))
    pitch = max(height + GAP, PITCH)
    number = len(rows) + (clip is not None)
    figure = new_figure(TOP + number * pitch + BOTTOM, _message(rows), _about(title, count, shown))
    for row, (name, shares) in enumerate(reversed(rows.items())):
        _map_row(figure, name, shares, shown, BOTTOM + row * pitch, (width, height))
    if clip is not None:
        _frames_row(
            figure, np.asarray(clip), count, shown, BOTTOM + (number - 1) * pitch, (width, height)
        )
    right = LABELS + len(shown) * (width + GAP)
    colour_bar(figure, right + 0.12, BOTTOM, (len(rows) - 1) * pitch + height, CMAP, "row's\nmax")
    _times_above(figure, shown, BOTTOM + (number - 1) * pitch + height, width)
    return figure


def _named(maps):
    rows = maps if isinstance(maps, dict) else {"rollout": maps}
    rows = {name: np.asarray(shares) for name, shares in rows.items()}
    shapes = [shares.shape for shares in rows.values()]
    alike = all(len(shape) == 3 and shape[0] == shapes[0][0] for shape in shapes)
    if not rows or not alike:
        came = ", ".join(map(str, shapes)) or "none"
        raise ValueError(
            f"rollout_figure draws maps (t, h, w) of one length in time; came {came}: "
            "leave the class token out and reshape the rest to the grid"
        )
    for name, shares in rows.items():
        if not (shares.min() >= 0 and shares.max() > 0):
            came = f"{shares.min():.3g} to {shares.max():.3g}"
            raise ValueError(
                f"shares are at least 0, and some are more; came {came} in {name!r}: "
                "use numpy.maximum(map, 0)"
            )
    return rows


def _sizes(columns, pictures):
    """(width, height) of a map in inches: as wide as there is room, shaped as the widest one."""
    width = min((WIDTH - LABELS - BAR - columns * GAP) / columns, CELL)
    return width, width * max(picture.shape[1] / picture.shape[2] for picture in pictures)


# -- the words -------------------------------------------------------------------------------------


def _message(rows):
    """Of the only map, or of the sharpest and the flattest."""
    part = {name: _half(shares) for name, shares in rows.items()}
    names = sorted(part, key=part.get)  # type: ignore[arg-type]
    first, last = names[0], names[-1]
    if len(rows) == 1:
        name, tokens = f"{first[0].upper()}{first[1:]}", _two_digits(part[first])
        return f"{name}: half of the attention lies on {tokens} of the tokens"
    least, most = _two_digits(part[first]), _two_digits(part[last])
    return f"Half of the attention lies on {least} of the tokens ({first}), or on {most} ({last})"


def _half(shares):
    """The part of the tokens, largest shares first, that together hold half of them all."""
    ordered = np.sort(shares, axis=None)[::-1]
    return (np.searchsorted(np.cumsum(ordered), ordered.sum() / 2) + 1) / shares.size


def _two_digits(part):
    return percent(part, 0 if part >= 0.095 else 1)


def _about(title, count, shown):
    some = f", every {shown.step}. of {count} times is shown" if shown.step > 1 else ""
    reading = (
        f"yellow: much attention goes there; a tile is one token; each row has its own scale{some}"
    )
    return f"{title}   |   {reading}" if title else reading[0].upper() + reading[1:]


# -- the rows --------------------------------------------------------------------------------------


def _frames_row(figure, clip, count, shown, bottom, size):
    low, high = clip.min(), clip.max()
    bright = (clip - low) / (high - low if high > low else 1)
    each = len(clip) / count
    for column, when in enumerate(shown):
        frame = bright[min(int((when + 0.5) * each), len(clip) - 1)]
        axes = _picture(figure, column, bottom, size)
        picture = frame.squeeze(-1) if frame.shape[-1] == 1 else frame
        axes.imshow(picture, cmap="gray", vmin=0, vmax=1, aspect="auto")
    _label(figure, bottom + size[1] / 2, "the clip", "one column per frame")


def _map_row(figure, name, shares, shown, bottom, size):
    for column, when in enumerate(shown):
        axes = _picture(figure, column, bottom, size)
        axes.imshow(
            shares[when],
            cmap=CMAP,
            vmin=0,
            vmax=shares.max(),
            interpolation="nearest",
            aspect="auto",
        )
    more = f"{times(shares.shape)}\nmax {fold(shares.max() / shares.mean())}× an even share"
    _label(figure, bottom + size[1] / 2, name, more)


def _picture(figure, column, bottom, size):
    axes = panel(figure, LABELS + column * (size[0] + GAP), bottom, *size)
    axes.set_axis_off()
    return axes


def _times_above(figure, shown, top, width):
    w, h = figure.get_size_inches()
    for column, when in enumerate(shown):
        x = LABELS + column * (width + GAP) + width / 2
        figure.text(
            x / w, (top + 0.08) / h, f"time {when + 1}", fontsize=SMALL, color=INK, ha="center"
        )


def _label(figure, y, name, more):
    w, h = figure.get_size_inches()
    figure.text(0.3 / w, (y + 0.14) / h, name, fontsize=BODY, weight="bold", color=INK, va="bottom")
    figure.text(0.3 / w, (y + 0.1) / h, more, fontsize=SMALL, color=GREY, va="top", linespacing=1.3)
