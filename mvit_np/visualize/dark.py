"""A figure for a dark page: each colour exchanged for one that stands out on dark.

Artists get their colours one by one where they are made, so a finished figure is what can be
exchanged as a whole.
"""

from __future__ import annotations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb, to_rgba, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.text import Text

PAGE, LIGHT, DIM, FAINT = "#16191D", "#ECECEC", "#AAB0B6", "#3D434A"
INK = "#222222"
FILLS = {  # from style.py: page, ink, grey, pale, blue, sky; the other colours stand out on both
    "#FFFFFF": PAGE, "#000000": LIGHT, "#222222": LIGHT, "#5F5F5F": DIM, "#DDDDDD": FAINT,
    "#0072B2": "#3F95DB", "#56B4E9": "#8FCDF3",
}  # fmt: skip
# White stays white in words: they lie on a coloured ground.
WORDS = {light: dark for light, dark in FILLS.items() if light != "#FFFFFF"}
LEGIBLE = 3.0  # contrast of words with what they lie on
PARTS = ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor")


def darken(figure: Figure) -> None:
    """Exchange the colours of a figure but not of its images. A second time changes nothing.

    What is drawn over an image keeps its colours, as they were chosen for the image's. Words that
    lie on something light are dark.
    """
    kept = {artist for axes in figure.axes for artist in _over_images(axes)}
    for axes in figure.axes:
        # also for ticks that are yet to be made
        axes.tick_params(which="both", colors=DIM, labelcolor=LIGHT)
    for artist in set(figure.findobj()) - kept:
        _exchange(artist)
        box = artist.get_bbox_patch() if isinstance(artist, Text) else None
        for patch in (getattr(artist, "arrow_patch", None), box):
            if patch:
                _exchange(patch)
    _make_legible(figure)


def _over_images(axes):
    """What is drawn in axes that show an image, save for words."""
    return [*axes.lines, *axes.patches, *axes.collections] if axes.images else []


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


# -- words on what is not the page -----------------------------------------------------------------


def _make_legible(figure):
    """Words without enough contrast become light or dark, whichever stands out more."""
    words = [
        text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()
    ]
    ground, renderer = _ground(figure, words)
    for text in words:
        box = text.get_window_extent(renderer)
        (left, low), (right, high) = np.clip(np.rint(box.get_points()), 0, ground.shape[1::-1])
        under = ground[::-1][int(low) : int(high), int(left) : int(right)]
        if under.size:
            behind = np.median(under.reshape(-1, 3), axis=0) / 255
            if _contrast(to_rgb(text.get_color()), behind) < LEGIBLE:
                text.set_color(max((LIGHT, INK), key=lambda ink: _contrast(to_rgb(ink), behind)))


def _ground(figure, words):
    """(the figure as it is without words (rows, columns, 3), what measures its words)"""
    before = [text.get_alpha() for text in words]
    for text in words:
        text.set_alpha(0)  # invisible ones would not be given room
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    for text, alpha in zip(words, before):
        text.set_alpha(alpha)
    return np.array(canvas.buffer_rgba())[..., :3], canvas.get_renderer()


def _contrast(one, other):
    """As WCAG 2 has it, from 1 to 21."""
    low, high = sorted(map(_luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(rgb):
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in rgb]
    return np.dot(linear, [0.2126, 0.7152, 0.0722])
