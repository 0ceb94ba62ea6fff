"""A trained model, from a file of weights or the folder of a run, and how it does on a data set."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..backend import to_device
from ..classify import default_normalisation
from ..config import MViTConfig
from ..data.builtin import BUILTIN
from ..train import snapshot
from ..train.evaluate import Views, evaluate
from ..train.recipe import Recipe
from ..train.run_folder import CLASSES, MODEL, RECIPE, SNAPSHOTS
from ..weights import load
from . import task as tasks


@dataclass(frozen=True)
class Trained:
    """A model and what is known of its training."""

    params: Any
    config: MViTConfig
    recipe: Recipe  # the run's, or for a file of weights one with the views and pixels that such a model is tested with
    classes: tuple[str, ...] | None  # in the order of the scores
    folder: Path | None  # of the run


@dataclass(frozen=True)
class Test:
    """What a model is tested on."""

    data: Any  # a data set
    views: Views

    @property
    def shown(self):
        """What is shown of an example, in words."""
        return f"{self.views.clips} x {self.views.crops} views"


def trained(path, device="cpu"):
    """The `Trained` of a file of weights or of a run's folder: its last parameters, or while it runs the best so far.

    Raises FileNotFoundError or ValueError where there is none.
    """
    path = Path(path)
    if not path.is_dir():
        params, config = load(path)
        return Trained(to_device(params, device), config, Recipe(normalise=default_normalisation(config)), None, None)
    if not (path / RECIPE).is_file():
        raise ValueError(f"{path} is no folder of a run (it has no {RECIPE}): give one, or a file of weights")
    params, config = _of_run(path)
    classes = tuple((path / CLASSES).read_text(encoding="utf-8").splitlines()) if (path / CLASSES).is_file() else None
    return Trained(to_device(params, device), config, Recipe.from_toml(path / RECIPE), classes, path)


def test_of(found, data=None, views=None, tau=None, normalise=None):
    """The `Test` of a `Trained`: of the data named, else of its run's tests; the rest as its recipe has it, or as given.

    Raises ValueError or FileNotFoundError where there are no such data, or they have other classes than the model.
    """
    given = {"views": views, "tau": tau, "normalise": normalise}
    recipe = replace(found.recipe, **{name: value for name, value in given.items() if value is not None})
    name = data or recipe.tests or (recipe.data if recipe.data in BUILTIN else None)
    if name is None:
        raise ValueError(f"a test needs data: give --data with {', '.join(BUILTIN)}, a folder of class/video.mp4, or a CSV")
    chosen = tasks.data_sets(name, found.config, recipe, found.classes)[1 if name in BUILTIN else 0]
    if len(chosen.classes) != found.config.num_classes:
        raise ValueError(
            f"a test has the model's {found.config.num_classes} classes; {name} has {len(chosen.classes)}: give the data that "
            "the model was trained for"
        )
    return Test(chosen, Views(found.config.size_hw, *recipe.views, recipe.normalise))


def evaluated(found, test, **options):
    """The `Evaluation`; options are those of `evaluate`."""
    return evaluate(tasks.scores_of(found.params, found.config), test.data, test.views, **options)


def _best(path):
    try:
        return snapshot.latest(path / SNAPSHOTS, best=True)[0]
    except ValueError:  # damaged; the newest one will do
        return None


def _of_run(path):
    if (path / MODEL).is_file():
        return load(path / MODEL)
    state = _best(path) or snapshot.latest(path / SNAPSHOTS)[0]
    if state is None:
        raise ValueError(f"the run in {path} has not saved anything yet: wait for its first snapshot")
    return state["params"] if state["average"] is None else state["average"], MViTConfig(**state["config"])
