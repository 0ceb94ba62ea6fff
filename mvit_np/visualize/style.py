"""What the figures share: canvases in inches, colours for colour-blind readers, units."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..backend.outputs import DRAWN, replacing
from ..backend.plain_text import plain
from ..backend.types import FilePath
from ..model.text_table import digits, si_prefix
from .dark import darken
from .fonts import add_fonts, quiet_about_fonts

# Okabe and Ito's palette, whose colours readers with any colour vision distinguish.
BLUE, ORANGE, GREEN, VERMILLION, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9"
INK, GREY, PALE = "#222222", "#5F5F5F", "#DDDDDD"

WIDTH = 12.0  # inches, of every figure: a slide's
SMALL, BODY, TITLE = 11, 12, 17  # points

# Figures made inside theme("dark"); None outside.
_dark_ones: ContextVar[list[Figure] | None] = ContextVar("dark_ones", default=None)


def new_figure(height: float, title: str, subtitle: str = "") -> Figure:
    """A white figure, WIDTH x `height` inches, with its message on top."""
    figure = Figure(figsize=(WIDTH, height), facecolor="white")
    FigureCanvasAgg(figure)
    words: dict[str, Any] = {"fontsize": TITLE, "weight": "bold", "color": INK, "va": "top"}
    figure.text(0.3 / WIDTH, 1 - 0.2 / height, title, **words)
    figure.text(0.3 / WIDTH, 1 - 0.6 / height, subtitle, fontsize=BODY, color=GREY, va="top")
    if _dark_ones.get() is not None:
        _dark_ones.get().append(figure)  # type: ignore[union-attr]
    return figure


@contextmanager
def theme(name: str) -> Iterator[None]:
    """Figures made in the block are "dark" at its end, or when `save` writes them; or "light".

    Raises ValueError for another name.
    """
    if name not in ("light", "dark"):
        raise ValueError(f"a theme is 'light' or 'dark'; came {name!r}")
    figures: list[Figure] | None = [] if name == "dark" else None
    token = _dark_ones.set(figures)
    try:
        yield
    finally:
        _dark_ones.reset(token)
    for figure in figures or ():
        darken(figure)


def canvas(figure: Figure) -> Axes:
    """Axes over the whole figure without a frame, measured in inches from the lower left corner."""
    width, height = figure.get_size_inches()
    limits: dict[str, Any] = {"xlim": (0, width), "ylim": (0, height)}
    return figure.add_axes((0, 0, 1, 1), xticks=[], yticks=[], frameon=False, **limits)


def panel(
    figure: Figure, left: float, bottom: float, width: float, height: float, title: str = ""
) -> Axes:
    """Axes of a position and a size in inches, with no more lines than needed."""
    w, h = figure.get_size_inches()
    axes = figure.add_axes((left / w, bottom / h, width / w, height / h))
    axes.set_title(title, loc="left", fontsize=BODY, color=INK, pad=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(labelsize=SMALL, colors=GREY, labelcolor=INK)
    return axes


def colour_bar(
    figure: Figure, left: float, bottom: float, height: float, cmap: str, most: str, **text: Any
) -> None:
    """The scale of a map's colours, from "none" to the words `most`; lengths are in inches."""
    axes = panel(figure, left, bottom, 0.16, height)
    axes.imshow([[1 - i / 255] for i in range(256)], cmap=cmap, aspect="auto", extent=(0, 1, 0, 1))
    axes.spines[:].set_visible(False)
    axes.set_xticks([])
    axes.set_yticks([0, 1], ["none", most], **text)
    axes.yaxis.tick_right()
    axes.tick_params(length=0)


def save(figure: Figure, path: FilePath) -> Path:
    """Write `figure` as a picture in the format of the path's ending, or PNG; returns its path.

    Makes the folder. A picture that is there is replaced once the new one is whole. Raises
    ValueError where it cannot be written, or in such a format.
    """
    if figure in (_dark_ones.get() or ()):
        darken(figure)
    add_fonts(figure)
    path = Path(path)
    path = path if path.suffix else path.with_name(f"{path.name}.png")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file, quiet_about_fonts():
            figure.savefig(file, dpi=150, **_marked(path.suffix[1:].lower()))
    except OSError as problem:
        reason = problem.strerror or problem
        rule = f"the figure {path} cannot be written ({reason})"
        raise ValueError(f"{rule}: give another folder") from None
    return path


def _marked(suffix):
    """Options of `savefig` for a format, with the words by which we know our own pictures again."""
    words = DRAWN.decode()
    if suffix in ("jpg", "jpeg"):
        return {"format": suffix, "pil_kwargs": {"comment": words}}
    field = {"png": "Software", "svg": "Creator", "pdf": "Creator"}.get(suffix)
    by = f"{words}, with Matplotlib {matplotlib.__version__}"
    return {"format": suffix, "metadata": {field: by} if field else None}


def spelled(text: str, length: int) -> str:
    """Others' words, such as a class's name, in at most `length` letters, none of a formula."""
    text = plain(text)
    short = text if len(text) <= length else text[: length - 1] + "…"
    return short.replace("$", r"\$")


def times(numbers: Iterable[int]) -> str:
    """(8, 56, 56) -> 8 × 56 × 56"""
    return " × ".join(map(str, numbers))


def rounded(value: float) -> str:
    """Three digits, and one after the point at least: 6.06, 70.6, 179.6"""
    return digits(value, least=1, most=2)


def counted(value: float) -> str:
    """A number with its unit: 70.6 G"""
    factor, prefix = si_prefix(value)
    return f"{rounded(value / factor)} {prefix}" if prefix else str(value)


def fold(ratio: float) -> str:
    """64 or 1.9: a ratio in as many digits as it deserves"""
    return f"{ratio:.0f}" if ratio >= 10 or abs(ratio - round(ratio)) < 0.05 else f"{ratio:.1f}"
