"""What a run starts from: random parameters or a file's, and which of them are learned how."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ...backend.arrays import to_device
from ...backend.plain_text import are, some
from ...backend.types import Params
from ...data.draws import START, rng_for
from ...model.config import MViTConfig
from ...model.forward import init
from ...model.resize import resize
from ...weights import open_model
from ..decay import decays_except, layer_factors
from ..distributed import Alone, Mpi
from ..frozen import Part, begin_part
from ..loop import Optimizer, State, begin
from ..optimizer import (
    adamw,
    adamw_hyperparameters,
    adamw_state,
    sgd,
    sgd_hyperparameters,
    sgd_state,
)
from .recipe import Recipe
from .task import Task

ALL_BUT_THE_HEAD = ("[!h]*",)  # no other parameter's path begins with an h
# In which a run may differ from its file.
FREE = {"num_classes", "dropout", "drop_path", "frames", "size", "uneven"}


def begun(
    recipe: Recipe, task: Task, comm: Alone | Mpi, say: Callable[[str], Any] = lambda sentence: None
) -> State:
    """The `State` before the first step of a recipe on a task.

    say   called, on the rank that writes, with a sentence about what is new beside the file
    """
    say = say if comm.rank == 0 else lambda sentence: None
    found = parameters(recipe, task.config, tuple(task.train.classes), say)
    params = to_device(comm.broadcast(found), recipe.device)
    part = part_of(recipe, params)
    optimizer = optimizer_of(recipe, params, part)
    if part is None:
        return begin(params, optimizer, recipe.ema)
    return begin_part(part, params, optimizer, recipe.ema)


def parameters(
    recipe: Recipe, config: MViTConfig, classes: tuple[str, ...] | None = None,
    say: Callable[[str], Any] = lambda sentence: None,
) -> Params:  # fmt: skip
    """Random parameters, or those of a file, with a random head where the classes are others.

    classes   their names; None: nobody knows

    Raises ValueError where the file holds another model than the recipe's.
    """
    params = init(config, rng_for(recipe.seed, START))
    if recipe.weights is None:
        return params
    file = open_model(recipe.weights)
    if file.assumed and _differing(file.config, config):
        # What its shapes do not tell, the recipe does.
        file = open_model(recipe.weights, like=config)
    if file.assumed:
        say(f"{recipe.weights}: {file.assumed}")
    found, theirs = file.params, file.config
    if names := _differing(theirs, config):
        came = ", ".join(f"{n} {getattr(theirs, n)}, not {getattr(config, n)}" for n in names)
        raise ValueError(
            f"{recipe.weights} is another model than {recipe.model} with the recipe's fields "
            f"({came}): correct `model`"
        )
    if (theirs.frames, theirs.size_hw) != (config.frames, config.size_hw):
        found, _ = resize(found, theirs, frames=config.frames, size=config.size)
    head, sentence = _head(file, config, classes, params["head"])
    if sentence:
        say(f"{recipe.weights}: {sentence}")
    return found | {"head": head}


def _differing(theirs, ours):
    """The fields in which two configs are of different models."""
    return [n for n in vars(ours) if n not in FREE and getattr(theirs, n) != getattr(ours, n)]


def _head(file, config, classes, fresh):
    """(the head to begin with, a sentence about it, or "" where it is the file's as it is)."""
    wanted, theirs = config.num_classes, file.about.classes
    if file.headless:
        return fresh, f"it has no head: the one for {wanted} classes is new"
    if file.config.num_classes != wanted:
        had = f"it is for {file.config.num_classes} classes, and the data have {wanted}"
        return fresh, f"{had}: the head is new"
    head = file.params["head"]
    if theirs is None or classes is None or theirs == classes:
        unnamed = f"it does not name its {wanted} classes, and the data have as many"
        return head, f"{unnamed}: the head is kept" if classes and theirs is None else ""
    if new := [name for name in classes if name not in theirs]:
        return fresh, f"it has no class {some(new)}, which {are(new)} in the data: the head is new"
    order = [theirs.index(name) for name in classes]
    said = "its classes come in another order: the outputs of the head are put into the data's"
    return {"w": head["w"][:, order], "b": head["b"][order]}, said


def part_of(recipe: Recipe, params: Params) -> Part | None:
    """The `Part` that is learned; None: all."""
    frozen = ALL_BUT_THE_HEAD if recipe.probe else recipe.freeze
    return Part(params, frozen) if frozen else None


def optimizer_of(recipe: Recipe, params: Params, part: Part | None = None) -> Optimizer:
    """The recipe's `Optimizer`, of all parameters or of a part."""
    common: dict[str, Any] = {"weight_decay": recipe.weight_decay}
    if recipe.layer_decay != 1:
        factors = layer_factors(params, recipe.layer_decay)
        common["factors"] = factors if part is None else part.of_paths(factors)
    if recipe.no_decay:
        common["decay_mask"] = decays_except(*recipe.no_decay)
    if recipe.optimizer == "sgd":
        update = partial(sgd, momentum=recipe.momentum, nesterov=recipe.nesterov, **common)
        return Optimizer(sgd_state, update, sgd_hyperparameters)
    update = partial(adamw, betas=recipe.betas, eps=recipe.epsilon, **common)
    return Optimizer(adamw_state, update, partial(adamw_hyperparameters, betas=recipe.betas))
