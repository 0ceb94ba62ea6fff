"""A recipe as a TOML file, and back as {name: value}."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from ...backend.plain_text import ENCODING, plain
from ...backend.types import FilePath

BEGUN_IN = "begun_in"  # no field of a recipe, but a note in that of a run's folder
ABOUT_BEGUN_IN = "where this run was begun: its relative paths start there (--config ignores it)"


def to_toml(recipe: Any, begun_in: FilePath | None = None) -> str:
    """The recipe as a TOML file that `Recipe.from_toml` reads, each field under what it is.

    begun_in   the folder that relative paths start from, for the file in a run's folder
    """
    lines = []
    if begun_in is not None:
        lines.append(f"# {ABOUT_BEGUN_IN}\n{BEGUN_IN} = {_toml(str(begun_in))}")
    lines += [f"# {f.metadata['about']}\n{f.name} = {_toml(value)}" for f, value in _filled(recipe)]
    lines += ["", "[model]  # a preset, and fields of its config where they differ"]
    model = {"preset": recipe.model, **recipe.model_fields}
    lines += [f"{name} = {_toml(value)}" for name, value in model.items()]
    return "\n".join([*lines, ""])


def _filled(recipe):
    """(field, value) of all but the model, and but None by default: TOML has no word for it."""
    for f in dataclasses.fields(recipe):
        value = getattr(recipe, f.name)
        if f.name not in ("model", "model_fields") and (value is not None or f.default is not None):
            yield f, value


def _toml(value):
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str):
        # TOML escapes as JSON does, but for this one.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return '"none"' if value is None else repr(value)


def table_in(path: FilePath) -> dict[str, Any]:
    """{name: value} of a TOML file, with `model.NAME` for what is in its table `[model]`.

    Raises FileNotFoundError, or ValueError where it is no TOML.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"a recipe is read from a TOML file, and there is none at {path}: check the path"
        )
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return _flat(tomllib.loads(Path(path).read_text(**ENCODING)))
    except (ValueError, RecursionError) as problem:  # the latter: thousands of brackets
        raise ValueError(
            f"{path} is no TOML ({plain(problem)}): write lines such as `epochs = 10`"
        ) from None


def _flat(table):
    """Tables as dotted names, those of values that are tables themselves."""
    model = table.pop("model", {})
    model = model if isinstance(model, dict) else {"preset": model}
    return table | {f"model.{name}": value for name, value in model.items()}
