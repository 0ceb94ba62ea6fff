"""A figure for a dark page: each colour exchanged for one that stands out on dark.

Artists get their colours one by one where they are made, so a finished figure is what can be
exchanged as a whole.
"""

from __future__ import annotations

import numpy as np
from matplotlib.colors import to_rgba, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.text import Text

PAGE, LIGHT, DIM, FAINT = "#16191D", "#ECECEC", "#AAB0B6", "#3D434A"
FILLS = {  # from style.py: page, ink, grey, pale, blue, sky; the other colours stand out on both
    "#FFFFFF": PAGE, "#000000": LIGHT, "#222222": LIGHT, "#5F5F5F": DIM, "#DDDDDD": FAINT,
    "#0072B2": "#3F95DB", "#56B4E9": "#8FCDF3",
}  # fmt: skip
# White stays white in words: they lie on a coloured ground.
WORDS = {light: dark for light, dark in FILLS.items() if light != "#FFFFFF"}
PARTS = ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor")


def darken(figure: Figure) -> None:
    """Exchange the colours of a figure but not of its images. A second time changes nothing."""
    for axes in figure.axes:
        # also for ticks that are yet to be made
        axes.tick_params(which="both", colors=DIM, labelcolor=LIGHT)
    for artist in figure.findobj():
        _exchange(artist)
        box = artist.get_bbox_patch() if isinstance(artist, Text) else None
        for patch in (getattr(artist, "arrow_patch", None), box):
            if patch:
                _exchange(patch)


def _exchange(artist):
    colours = WORDS if isinstance(artist, Text) else FILLS
    for part in PARTS:
        get, put = (getattr(artist, f"{verb}_{part}", None) for verb in ("get", "set"))
        if get and put and (new := _exchanged(get(), colours)) is not None:
            put(new)
    if isinstance(artist, Text) and artist.get_path_effects():  # the halo of words on lines
        artist.set_path_effects([withStroke(linewidth=3, foreground=PAGE)])


def _exchanged(colour, colours):
    """A colour or a collection's rows, if all are in the table; None where nothing changes."""
    rows = to_rgba_array(colour)
    names = ["#" + "".join(f"{round(255 * value):02X}" for value in row[:3]) for row in rows]
    if not len(rows) or not all(row[3] and name in colours for row, name in zip(rows, names)):
        return None  # to set what is transparent would make it opaque
    new = [(*to_rgba(colours[name])[:3], row[3]) for row, name in zip(rows, names)]
    return new if np.ndim(colour) == 2 else new[0]
