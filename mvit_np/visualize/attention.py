"""A figure of where the class token looks: its attention in each stage, over a clip's frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..backend.types import Array
from ..model.inspection import last_blocks
from ..model.plan import Plan
from .style import BODY, GREY, INK, SMALL, WIDTH, colour_bar, new_figure, panel, times

COLUMNS = 8  # frames shown at most
# Inches: row labels, a frame at most, between frames, colour bar.
LABELS, CELL, GAP, BAR = 2.35, 1.9, 0.08, 0.95
PITCH = 0.8  # inches from row to row at least: three lines of text
TOP, BOTTOM = 1.28, 0.3  # inches above and below the frames
CMAP, ALPHA = "viridis", 0.62


def attention_figure(
    clip: Array, maps: Sequence[tuple[Any, ...]], plan: Plan, title: str = ""
) -> Figure:
    """The frames of a clip, and under them for each stage where the class token looks.

    clip    (T, H, W, C) floats of any range, grey or RGB
    maps    what `class_attention` returns; or (stage, name of the row, (t, h, w) shares)
    plan    of the model, for each stage's grid of keys
    title   about the clip, such as its label; it goes under the message

    How to read it. The upper row is the clip, time runs to the right. Each further row is a stage:
    yellow is where the class token attends most, dark where it does not. A tile is one key: one
    cell of the block's pooled grid, which covers several pixels and often several frames (frames
    of one key stand close together). Each row has a scale of its own, from no attention to its
    maximum; the maximum is given as a multiple of uniform attention, with 1× for a token that
    attends to all keys alike. A row with a maximum near 1× has thus no preference, however
    colourful it is.
    """
    rows = [_stage_row(plan, *each) for each in maps]
    return maps_figure(clip, rows, _message(rows, plan), _about(title))


@dataclass(frozen=True)
class MapRow:
    """A map over a clip's frames, and what is said beside it."""

    name: str
    about: str
    shares: Array  # (t, h, w)
    peak: float  # its maximum, as a multiple of an even share


def maps_figure(clip: Array, rows: Sequence[MapRow], message: str, about: str) -> Figure:
    """The frames of a clip, and under them rows of maps, all on grids of one length in time."""
    clip = _bright(clip)
    shown = range(0, len(clip), -(-len(clip) // COLUMNS))
    lefts, width = _columns(shown, len(clip), rows)
    height = width * clip.shape[1] / clip.shape[2]
    pitch = max(height + GAP, PITCH)
    inches = TOP + height + len(rows) * pitch + BOTTOM
    figure = new_figure(inches, message, about)
    _frames_row(figure, clip, shown, lefts, width, height)
    for number, row in enumerate(rows, 1):
        bottom = BOTTOM + (len(rows) - number) * pitch
        _map_row(figure, clip, shown, lefts, bottom, width, height, row)
    beside, tall = lefts[-1] + width + 0.2, (len(rows) - 1) * pitch + height
    colour_bar(figure, beside, BOTTOM, tall, CMAP, "row's\nmax")
    return figure


def _stage_row(plan, stage, *name_and_shares):
    """Raises ValueError where the map's grid is another than the stage's."""
    *name, shares = name_and_shares
    block, shares = last_blocks(plan)[stage], np.asarray(shares)
    if shares.shape != block.thw_keys:
        raise ValueError(
            f"a map of stage {stage} lies on its keys' grid {times(block.thw_keys)}; came "
            f"{times(shares.shape)}: give the plan of the model that the maps are from"
        )
    peak = shares.max() * block.sequences * block.tokens_kv  # uniform attention is 1 over these
    about = f"keys {times(block.thw_keys)}\nmax {peak:.1f}× uniform"
    return MapRow(name[0] if name else f"stage {stage + 1}", about, shares, peak)


def _message(rows, plan):
    who = "class token" if plan.config.cls_token else "mean token"
    sharpest = max(rows, key=lambda row: row.peak)
    return f"Where the {who} looks: up to {sharpest.peak:.1f}× uniform attention ({sharpest.name})"


def _about(title):
    reading = "yellow: its attention goes there; a tile is one key; each row has its own scale"
    return f"{title}   |   {reading}" if title else reading[0].upper() + reading[1:]


def _bright(clip):
    """Any range -> 0 to 1."""
    clip = np.asarray(clip, dtype=np.float64)
    low, high = clip.min(), clip.max()
    return (clip - low) / (high - low if high > low else 1)


def _columns(shown, frames, rows):
    """The left edges of the frames, those that share a key close together, and their width."""
    keys = [_key(frame, frames, len(rows[0].shares)) for frame in shown]
    wider = 2.5 * GAP if len(set(keys)) < len(keys) else GAP
    steps = [GAP if a == b else wider for a, b in pairwise(keys)]
    room = WIDTH - LABELS - BAR - sum(steps)
    width = min(room / len(keys), CELL)
    return LABELS + np.concatenate([[0], np.cumsum([width + step for step in steps])]), width


def _key(frame, frames, keys):
    """The index in time, of `keys` such, that covers a frame."""
    return frame * keys // frames


def _frames_row(figure, clip, shown, lefts, width, height):
    top = figure.get_figheight() - TOP
    for left, frame in zip(lefts, shown):
        axes = _picture(figure, left, top - height, width, height, clip[frame])
        axes.set_title(f"frame {frame + 1}", fontsize=SMALL, color=INK, pad=4)
    _label(figure, top - height / 2, "the clip", "")


def _map_row(figure, clip, shown, lefts, bottom, width, height, row):
    grey, (frames, h, w) = clip.mean(-1, keepdims=True), clip.shape[:3]
    for left, frame in zip(lefts, shown):
        axes = _picture(figure, left, bottom, width, height, grey[frame])
        cells = row.shares[_key(frame, frames, len(row.shares))]
        over = {"extent": (-0.5, w - 0.5, h - 0.5, -0.5), "aspect": "auto", "alpha": ALPHA}
        colours = {"cmap": CMAP, "vmin": 0, "vmax": row.shares.max()}
        axes.imshow(cells, interpolation="nearest", **over, **colours)
    _label(figure, bottom + height / 2, row.name, row.about)


def _picture(figure, left, bottom, width, height, frame):
    axes = panel(figure, left, bottom, width, height)
    pixels = frame.squeeze(-1) if frame.shape[-1] == 1 else frame
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, aspect="auto")
    axes.set_axis_off()
    return axes


def _label(figure, y, name, more):
    width, height = figure.get_size_inches()
    left, (above, va) = 0.3 / width, (0.14, "bottom") if more else (0, "center")
    bold = {"fontsize": BODY, "weight": "bold", "color": INK}
    small = {"fontsize": SMALL, "color": GREY, "linespacing": 1.3}
    figure.text(left, (y + above) / height, name, va=va, **bold)
    figure.text(left, (y + 0.1) / height, more, va="top", **small)
