"""Models side by side, as text of at most 80 columns."""

from __future__ import annotations

from collections.abc import Iterable

from ..model.costs import costs
from ..model.presets import PRESETS, preset
from ..model.text_table import aligned, grouped


def comparison(name: str, others: Iterable[str]) -> str:
    """A table of one clip's costs: the preset `name`, then `others` as multiples of its work.

    Training: float32 kept for the backward pass; attention: the largest array of weights.
    Raises ValueError for an unknown name.
    """
    heads = [
        ("", "", "params", "mult-adds", "", "training", "attention"),
        ("model", "input", "M", "G", "times", "MB", "MB"),
    ]
    one = costs(preset(name)).macs
    return _ruled(heads + [_row(other, one) for other in (name, *others)])


def _row(name, one):
    config = preset(name)
    account = costs(config)
    sizes = "x".join(map(str, config.thw)), f"{account.params / 1e6:.2f}"
    macs = grouped(account.macs / 1e9), f"{account.macs / one:.3g}"
    memory = grouped(account.activation_bytes / 1e6), grouped(account.attention_bytes / 1e6)
    return (name, *sizes, *macs, *memory)


def presets_table() -> str:
    """All presets, a line each: name, parameters, multiply-adds of one clip, what it is."""
    rows = [
        ("", "params", "mult-adds", ""),
        ("preset", "M", "G", "what it is, and its top-1 as published"),
    ]
    for name, known in PRESETS.items():
        account = costs(known.config)
        rows.append((name, f"{account.params / 1e6:.2f}", f"{account.macs / 1e9:.2f}", known.about))
    width = max(len(row[-1]) for row in rows)
    return _ruled([(*row[:-1], row[-1].ljust(width)) for row in rows])


def _ruled(rows):
    """Two lines of heads, a rule, the rest."""
    lines = aligned(rows, left=1)
    return "\n".join([*lines[:2], "-" * max(map(len, lines)), *lines[2:]])
