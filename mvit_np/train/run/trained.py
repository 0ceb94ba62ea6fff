"""A trained model, from a file of weights or the folder of a run, and how it does on a data set."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...backend.arrays import to_device
from ...backend.types import FilePath, Params
from ...data.datasets import Dataset
from ...data.sets.builtin import BUILTIN
from ...model.config import MViTConfig
from ...weights.about import About, check_classes
from ...weights.load import BEST, MODEL, open_model
from ..classify import default_normalisation
from ..evaluate import Evaluation, Views, evaluate, predictor
from . import snapshot
from . import task as tasks
from .examples import not_learned, noted_classes
from .recipe import Recipe
from .run_folder import RECIPE, SNAPSHOTS, STATE, classes_in, is_finished, recipe_in, resolve


@dataclass(frozen=True)
class Trained:
    """A model and what is known of its training."""

    params: Params = field(repr=False)  # too many numbers to be shown
    config: MViTConfig
    recipe: Recipe  # the run's, or for a file of weights one that says how to test such a model
    classes: tuple[str, ...] | None  # in the order of the scores
    folder: Path | None  # of the run
    about: About  # what is known of its classes, and of how clips are sampled and normalised
    begun_in: str | None = None  # the folder that the recipe's relative paths start from


@dataclass(frozen=True)
class Test:
    """What a model is tested on."""

    data: Dataset
    name: str  # of the data: a built-in set, a folder or a list
    views: Views

    @property
    def shown(self) -> str:
        """What is shown of an example, in words."""
        return f"{self.views.clips} x {self.views.crops} views"


def trained(
    path: FilePath, device: str = "cpu", best: bool = False, like: str | MViTConfig | None = None,
    headless: bool = False,
) -> Trained:  # fmt: skip
    """The `Trained` of a file of weights or of a run: its last parameters, or so far its best.

    best       of a run's folder: the best so far in any case
    like       a preset's name or a config, where a file does not say what it is (see `load`)
    headless   whether a file without a head will do, for its features

    Raises FileNotFoundError or ValueError where there is none.
    """
    path = Path(path)
    if like is not None or not (path / RECIPE).is_file():
        return _of_file(path, device, best, like, headless)
    recipe, begun_in = recipe_in(path)
    finished = is_finished(path, recipe)
    params, config, classes = _of_run(path, best, finished)
    about = About(classes_in(path) or classes, recipe.tau, recipe.normalise)
    check_classes(about, config)
    return Trained(to_device(params, device), config, recipe, about.classes, path, about, begun_in)


def _of_file(path, device, best, like, headless):
    found = open_model(path, like, best)
    if found.headless and not headless:
        raise ValueError(
            f"classes are told by a head, and {path} has none: train one with mvit-np finetune"
        )
    if found.assumed:
        warnings.warn(f"{path}: {found.assumed}", stacklevel=3)
    recipe = Recipe(tau=found.about.tau, normalise=default_normalisation(found.config))
    params, about = to_device(found.params, device), found.about
    return Trained(params, found.config, recipe, about.classes, None, about)


def test_of(
    found: Trained, data: str | None = None, views: tuple[int, int] | None = None,
    tau: float | None = None, normalise: str | tuple | None = None,
    say: Callable[[str], Any] | None = None, data_root: str | None = None,
) -> Test:  # fmt: skip
    """The `Test` of a `Trained` on the data named, else on its run's tests or what it held out.

    What is not given is as the model tells.

    data_root   where relative paths of a list start
    say         called with a sentence about what nobody tells and is assumed, and about files that
                are left out

    Raises ValueError or FileNotFoundError where there are no such data, or they have other classes
    than the model.
    """
    say, about = say or (lambda sentence: None), found.about
    recipe: Recipe = resolve(found.recipe, found.begun_in, say)
    recipe = replace(recipe, views=views or recipe.views, tau=recipe.tau if tau is None else tau)
    if data not in (None, recipe.data, recipe.tests):
        # The two sizes are of the run's own data.
        recipe = replace(recipe, train_clips=0, test_clips=0, **_of_other_data(recipe, say))
    recipe = replace(recipe, data_root=data_root or recipe.data_root, cache=_usable(recipe.cache))
    own = recipe.data in BUILTIN or recipe.holdout
    name = data or recipe.tests or (recipe.data if own else None)
    if name is None:
        raise ValueError(
            f"a test needs data: give --data with {', '.join(BUILTIN)}, "
            "a folder of class/video.mp4, or a list"
        )
    _say_assumed(found, tau, normalise, recipe, name in BUILTIN, say)
    train, tests = tasks.data_sets(name, found.config, recipe, found.classes)
    chosen: Any = tests if name in BUILTIN else train
    if data is None and recipe.holdout:
        chosen = not_learned(tasks.parts_of(train, recipe)[1], recipe, found.folder or "", say)
    for sentence in tasks.notes_of(chosen):
        say(sentence)
    if found.classes is not None:
        chosen = tasks.counted_in(found.classes, chosen, name)
    elif len(chosen.classes) != found.config.num_classes:
        raise ValueError(
            f"a test has the model's {found.config.num_classes} classes; {name} has "
            f"{len(chosen.classes)}: give the data that the model was trained for"
        )
    normalise = normalise or about.normalise or recipe.normalise
    return Test(chosen, name, Views(found.config.size_hw, *recipe.views, normalise))


def _of_other_data(recipe, say):
    """Fields for data that are not the run's own: what it read for its own may be gone."""
    if recipe.classes is None or Path(recipe.classes).is_file():
        return {}
    say(f"there is no {recipe.classes} any more: labels that are numbers count the classes from 0")
    return {"classes": None}


def _usable(cache):
    """A run's cache where it is here and may be written: a run may have come from elsewhere."""
    return cache if cache and os.path.isdir(cache) and os.access(cache, os.W_OK) else None


def _say_assumed(found, tau, normalise, recipe, in_memory, say):
    """What neither the user nor the model tells."""
    if normalise is None and found.about.normalise is None:
        say(
            "the file does not say how pixels were normalised: "
            f"{recipe.normalise!r} is assumed; give --normalise"
        )
    if tau is None and found.about.tau is None and found.config.frames > 1 and not in_memory:
        say(
            "the file does not tell the time from one frame of a clip to the next: "
            f"tau {recipe.tau:g} is assumed; give --tau"
        )


def evaluated(found: Trained, test: Test, **options: Any) -> Evaluation | None:
    """The `Evaluation`; options are those of `evaluate`."""
    return evaluate(predictor(found.params, found.config), test.data, test.views, **options)


def _of_run(path, best, finished):
    """(params, config, classes): of a finished run's model.npz, else of its best or last state."""
    names = (MODEL, BEST) if finished and not best else (BEST,)
    for name in names:
        if (path / name).is_file():
            found = open_model(path / name)
            return found.params, found.config, found.about.classes
    state = _marked_best(path)
    if state is None and not best:
        state, _ = snapshot.latest(path / SNAPSHOTS, needs=STATE)
    if state is None and best:
        then = "leave out --best" if finished else "wait for one, or leave out --best"
        raise ValueError(
            f"the run in {path} has no {BEST}, which is written at the best test so far: {then}"
        )
    if state is None:
        raise ValueError(
            f"the run in {path} has not saved anything yet: wait for its first snapshot"
        )
    params = state["params"] if state["average"] is None else state["average"]
    return params, MViTConfig(**state["config"]), noted_classes(state)


def _marked_best(path):
    """The best so far of a run by an earlier version, which had no best.npz."""
    try:
        return snapshot.latest(path / SNAPSHOTS, best=True, needs=STATE)[0]
    except ValueError:  # damaged; the newest one will do
        return None
