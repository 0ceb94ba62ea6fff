"""What speaks for a class, beside what the class token attends to."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from ..backend.types import Array
from ..model.plan import Plan
from ..model.text_table import percent
from .attention import MapRow, maps_figure
from .style import spelled


def relevance_figure(
    result: Any, attention: tuple[int, Array], found: Array, label: str, plan: Plan
) -> Figure:
    """The frames of a view, the class token's attention over them, and what speaks for a class.

    result      what `classify` returns; its middle view is drawn
    attention   the last of what `class_attention` returns for `result.clip`
    found       (t, h, w) of `mvit_np.model.relevance.relevance`, for `label`
    label       the class that was asked about
    plan        of the model

    How to read it. Time runs to the right. The upper map is the class token's attention in the last
    stage alone: it is the same for all classes. The lower one follows the attention of all blocks
    down to the embedded tokens, wherever more attention would raise the score of this class: yellow
    is where most of that comes from. A tile is one key above and one token below. Each row has a
    scale of its own, and its maximum is given as a multiple of an even share. Neither map is a
    proof: see what the answer does when the yellow places are covered.
    """
    who = "class token" if plan.config.cls_token else "mean token"
    _, shares = attention
    rows = [
        _row("attention", shares, f"of the {who}"),
        _row("relevance", found, "of the tokens"),
    ]
    said = dict(result.top(len(result.labels)))
    message = f"What speaks for {spelled(label, 40)}: {percent(said[label], 1)}"
    place = spelled(result.path.name, 44)
    when = f", {result.seconds[0]:.1f} to {result.seconds[-1]:.1f} s" if result.duration else ""
    about = f"{place}{when}   |   yellow: much of it is there; each row has its own scale"
    return maps_figure(result.frames, rows, message, about)


def _row(name, shares, whose):
    peak = shares.max() * shares.size / max(shares.sum(), 1e-12)
    about = f"{whose}\nmax {peak:.1f}× an even share"
    return MapRow(name, about, shares, peak)
