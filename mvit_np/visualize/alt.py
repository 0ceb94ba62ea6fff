"""What a figure shows, in words: for readers who hear a page instead of seeing it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch

LONGEST = 600  # letters
DRAWING = "Drawing"
MATHS = re.compile(r"\\(?:mathrm|mathbf|mathit|text)|\\[,;! ]|[${}]")


def alt_text(figure: Figure) -> str:
    """The message of a figure, then each of its panels: what is drawn, of what, against what.

    All words are those that stand in the figure: its title, the titles of panels, axes and legends.
    """
    message, *rest = _messages(figure)
    panels = dict.fromkeys((_kind(axes), _panel(axes)) for axes in figure.axes)
    several = groupby((panel for panel in panels if panel[0]), key=lambda panel: panel[0])
    parts = list(filter(None, [message, *rest]))
    parts += [_of_a_kind(kind, [words for _, words in those if words]) for kind, those in several]
    return _shortened(" ".join(map(_sentence, parts)))


def _of_a_kind(kind: str, panels: list[str]) -> str:
    """Neighbours of a kind: "Maps: frame 0; frame 2"."""
    kind = f"{kind}s" if len(panels) > 1 and not kind.endswith("s") else kind
    return f"{kind}: {'; '.join(panels)}" if panels else kind


def _messages(figure: Figure) -> list[str]:
    """The title and what stands beneath it; [""] where there is none."""
    texts = [text for text in figure.texts if text.get_text().strip()]
    by_size = sorted(texts, key=lambda text: -float(text.get_fontsize()))
    words = [text.get_text() for text in by_size]
    return list(dict.fromkeys(filter(None, [figure.get_suptitle(), *words]))) or [""]


def _panel(axes: Axes) -> str:
    """One panel in words: its title, its axes, its legend."""
    titles = axes.get_title("left"), axes.get_title("center"), axes.get_title("right")
    across, along = axes.get_ylabel(), axes.get_xlabel()
    parts = [" ".join(filter(None, titles))]
    parts += [f"{across} against {along}" if across and along else across or along]
    words = list(filter(None, dict.fromkeys(text.get_text().strip() for text in axes.texts)))
    if names := list(_legend(axes)):
        parts += [f"for {', '.join(names)}"]
    elif words and _kind(axes) == DRAWING:
        parts += [f"with the words {', '.join(words)}"]
    return ", ".join(filter(None, parts))


def _kind(axes: Axes) -> str:
    """What is drawn in a panel, "" for nothing."""
    if not axes.get_visible():
        return ""
    if axes.get_label() == "<colorbar>":
        return "Scale of colours" if axes.get_ylabel() or axes.get_xlabel() else ""
    if axes.images or any(isinstance(drawn, QuadMesh) for drawn in axes.collections):
        return "Map"
    if axes.containers:
        return "Bars"
    measured = axes.axison and (len(axes.get_xticks()) or len(axes.get_yticks()))
    steps = any(isinstance(patch, StepPatch) for patch in axes.patches)
    if measured and (axes.lines or steps):
        return "Curves"
    if measured and axes.collections and not axes.patches:
        return "Points"
    return DRAWING if axes.patches or axes.texts or axes.lines or axes.collections else ""


def _legend(axes: Axes) -> Iterator[str]:
    """The names in a panel's legend, or those that it would have."""
    shown = axes.get_legend()
    names = [text.get_text() for text in shown.get_texts()] if shown else []
    yield from names or axes.get_legend_handles_labels()[1]


def _sentence(text: str) -> str:
    text = _plain(text)
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _plain(text: str) -> str:
    """Words in one line, without the signs of formulas."""
    return " ".join(MATHS.sub("", text.replace(r"\sqrt", "√")).replace("\\", "").split())


def _shortened(text: str) -> str:
    text = _plain(text)
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rpartition(" ")[0] + " …"
