"""A recipe with other values, how two differ, and what is said where a field is none."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from ...backend.plain_text import nearest
from ...model.presets import PRESETS, Preset
from .recipe_fields import FIELDS, under_new_names

# May differ when a run is taken up again: where and how fast it goes, what it does if it cannot.
MAY_DIFFER = (
    "non_finite", "device", "graph", "workers", "ahead", "save_steps", "save_minutes", "keep",
    "patience", "cache", "cache_gb",
)  # fmt: skip


def changed(recipe: Any, changes: dict[str, Any]) -> Any:
    """The recipe with other values, {name: value or text}; `model.NAME` is one of MViTConfig's."""
    new, model_fields = {}, dict(recipe.model_fields)
    changes = under_new_names({name.replace("-", "_"): value for name, value in changes.items()})
    for name, value in changes.items():
        if name.startswith("model.") and name != "model.preset":
            model_fields[name.removeprefix("model.")] = FIELDS.parsed(value)
        else:
            name = "model" if name == "model.preset" else name
            new[name] = field_of(recipe, name).metadata["field_type"].parsed(value)
    if new.get("model", recipe.model) != recipe.model:  # another preset is meant as it is
        asked = [name for name in model_fields if f"model.{name}" in changes]
        model_fields = {name: model_fields[name] for name in asked}
        new.setdefault("tau", None)
    return dataclasses.replace(recipe, **{"model_fields": model_fields} | new)


def differing(ours: Any, theirs: Any) -> list[str]:
    """The names of the fields in which two recipes differ and the outcome of a run with them."""
    names = [f.name for f in dataclasses.fields(ours) if f.name not in MAY_DIFFER]
    return [name for name in names if getattr(ours, name) != getattr(theirs, name)]


def tau_of(model: Any) -> float:
    """A preset's. Whether there is such a preset is found out when its config is asked for."""
    found = PRESETS.get(model) if isinstance(model, str) else None
    return found.tau if found else Preset.tau


def field_of(recipe: Any, name: str) -> dataclasses.Field:
    """The field of that name. Raises ValueError where there is none, with the nearest."""
    fields = {f.name: f for f in dataclasses.fields(recipe)}
    if name not in fields:
        raise ValueError(
            f"a recipe has no field {name!r}: {meant(name, fields)}"
            "`mvit-np train --help` lists them"
        )
    return fields[name]


def meant(name: str, names: Iterable[str]) -> str:
    """A question that suggests the nearest of some names; "" where none is near."""
    close = nearest(name, names)
    return f"did you mean {close[0]!r}? " if close else ""
