"""The recipe of a run that begins with a trained model: the file says what it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ...model.config import MViTConfig
from ...model.presets import PRESETS
from ...weights import open_model
from ..classify import TAU, default_normalisation
from ..decay import EMBEDDING
from .recipe import Recipe, known
from .recipe_changes import changed

MODES = ("probe", "freeze", "full")  # recipes
PROBED = {"dropout"}  # fields of a model that a recipe's own count for, not the file's


def transfer_recipe(
    weights: str, mode: str = "probe", changes: dict[str, Any] | None = None,
    like: str | MViTConfig | None = None, say: Callable[[str], Any] = lambda sentence: None,
) -> Recipe:  # fmt: skip
    """One of `MODES` for a file of weights: architecture, frames, size, tau and pixels are its own.

    weights   a file, or the folder of a run
    changes   {name: value or text} of fields of the recipe that are to be otherwise
    like      a preset's name or a config, where the file does not say what it is (see `load`)
    say       called with a sentence about what nobody tells and is assumed

    Raises ValueError or FileNotFoundError where there is no such file, mode or field.
    """
    if mode not in MODES:
        raise ValueError(f"a mode is {', '.join(MODES)}; came {mode!r}: pick one")
    file, changes = open_model(weights, like), dict(changes or {})
    config, about = file.config, file.about
    told = {"weights": str(weights)} | _model(config)
    told["normalise"] = about.normalise or default_normalisation(config)
    told["tau"] = about.tau or float(TAU)
    if mode == "freeze":
        told["freeze"] = before_the_last_stage(config)
    assumed = {
        "tau": None if about.tau or config.frames == 1 else f"tau {TAU}",
        "normalise": None if about.normalise else f"normalisation {told['normalise']!r}",
    }
    if missing := {name: words for name, words in assumed.items() if words and name not in changes}:
        options = ", ".join(f"--{name}" for name in missing)
        say(f"{weights} does not say, and it is assumed: {', '.join(missing.values())} ({options})")
    base = known(mode)
    told |= {f"model.{name}": value for name, value in base.model_fields.items()}
    return changed(changed(base, told), changes)


def before_the_last_stage(config: MViTConfig) -> tuple[str, ...]:
    """Patterns of all parameters before the last stage; of a ViT, before the last quarter."""
    last = config.depths[-1] if len(config.depths) > 1 else -(-config.depth // 4)
    tables = [f"{name}*" for name in EMBEDDING if name != "cls_token" or config.cls_token]
    if config.positions in ("none", "relative"):
        tables.remove("pos_embed*")
    return (*tables, *(f"blocks.{index}.*" for index in range(sum(config.depths) - last)))


def _model(config):
    """The preset with the fewest other fields, and these, as a recipe has them."""

    def others(name):
        base = asdict(PRESETS[name].config)
        return {field: value for field, value in asdict(config).items() if value != base[field]}

    name = min(PRESETS, key=lambda name: len(others(name)))
    fields = {field: value for field, value in others(name).items() if field != "num_classes"}
    return {"model": name} | {f"model.{field}": value for field, value in fields.items()}
