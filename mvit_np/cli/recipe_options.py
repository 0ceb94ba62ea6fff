"""An option of `mvit-np train` for each field of a recipe, and what was given by them."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from ..model.config import MViTConfig
from ..train.run.recipe import RECIPES, Recipe, check_field
from ..train.run.recipe_fields import RENAMED, SWITCH
from ..train.run.task import check_model_field
from .terminal import say


def add_fields(parser: argparse.ArgumentParser) -> None:
    """An option for each field of a recipe or of a model's config, also under its earlier name."""
    group = parser.add_argument_group(
        "fields of a recipe",
        "In brackets: what a field may hold, and the paper's value (Sec. D.1). "
        "--model.NAME VALUE sets a field of MViTConfig, such as --model.drop_path 0.1.",
    )
    for field in dataclasses.fields(Recipe):
        field_type, about = field.metadata["field_type"], field.metadata["about"]
        value = _typed(getattr(RECIPES["paper"], field.name))
        text = f"{about} ({field_type.rule}; {value})".replace("%", "%%")
        text = text if value != "{}" else argparse.SUPPRESS
        _add_field(group, field.name, text, field_type is SWITCH)
    for name in ("preset", *(field.name for field in dataclasses.fields(MViTConfig))):
        _add_field(group, f"model.{name}")
    for name in RENAMED:
        _add_field(group, name)


def _add_field(group, name, about=argparse.SUPPRESS, switch=False):
    """`--some_name VALUE`, also spelled `--some-name`; a switch that comes alone is on."""
    options = {"dest": name, "metavar": "VALUE", "default": argparse.SUPPRESS}
    if switch:
        options |= {"nargs": "?", "const": "true"}
    group.add_argument(f"--{name}", help=about, **options)
    if "_" in name:
        group.add_argument(f"--{name.replace('_', '-')}", help=argparse.SUPPRESS, **options)


def _typed(value):
    """A field's value as one types it."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def fields_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """{name: text} of the fields of a recipe that were given; `model.NAME` is of the config.

    Raises ValueError for words that are no option, with the nearest field.
    """
    if arguments.rest:
        _refuse(arguments.rest[0])
    given = {name: value for name, value in vars(arguments).items() if _is_field(name)}
    for name in RENAMED.keys() & given.keys():
        say(f"--{name} is called --{RENAMED[name]} now")
    return given


def _is_field(name):
    known = name in RENAMED or name in Recipe.__dataclass_fields__
    return known or name.startswith("model.")


def _refuse(word):
    """Raise ValueError for a word that is no option."""
    name = word[2:].partition("=")[0]
    if not word.startswith("--") or not name:
        raise ValueError(
            f"fields are given as --field VALUE; came {word!r}: "
            "put --out before a folder, and quotes around spaces"
        )
    if name.startswith("model."):
        check_model_field(name.removeprefix("model."))
    check_field(name)
