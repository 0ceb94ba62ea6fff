"""What the commands `train`, `finetune`, `classify` and `evaluate` do, in one call each."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...backend.types import FilePath
from ..classify import TAU, Result
from ..classify import classify as classified
from ..evaluate import Evaluation
from .job import prepare
from .recipe import RECIPES, Recipe, changed, known
from .run import run
from .trained import Trained, evaluated, test_of, trained
from .transfer import MODES, transfer_recipe


def fit(
    recipe: Recipe | str | Path, out: FilePath, *, resume: bool = False,
    progress: Callable[[dict[str, Any]], Any] = lambda row: None,
    say: Callable[[str], Any] = warnings.warn, **fields: Any,
) -> Trained:  # fmt: skip
    """Train by a recipe into the folder `out`, and return the `Trained` model of the last step.

    recipe     a `Recipe`, a name of `train.RECIPES`, or a TOML file. With `weights=` among the
               fields "probe", "freeze" and "full" are for the model of that file, as of `finetune`
    resume     go on with the run in `out`, or begin where there is none
    progress   called with a row of metrics.csv after each step
    say        called with a sentence about whatever one would not expect
    fields     of the recipe, such as data="films", epochs=5; of the model as **{"model.dim": 64}

    Raises ValueError or FileNotFoundError as the commands do, and `train.NotFinite`.
    """
    read = []
    if isinstance(recipe, Recipe):
        chosen = changed(recipe, fields)
    elif str(recipe) in MODES and fields.get("weights") is not None:
        chosen = transfer_recipe(fields.pop("weights"), str(recipe), fields, say=say)
    elif str(recipe) in RECIPES or not Path(recipe).is_file():
        chosen = changed(known(str(recipe)), fields)
    else:
        chosen, read = Recipe.from_toml(recipe, fields), [recipe]
    for row in run(prepare(chosen, out, resume=resume, read=read, say=say)):
        progress(row)
    return trained(out)


def classify(
    model: FilePath, path: FilePath, *, best: bool = False, device: str = "cpu",
    views: tuple[int, int] = (5, 1), tau: float | None = None,
    labels: tuple[str, ...] | None = None, normalise: str | tuple | None = None,
) -> Result:  # fmt: skip
    """What is in a video or a picture, by the model of a file or a run; `result.top(5)` names it.

    What is not given is as the model tells, else as `train.classify.classify` assumes. Raises
    ValueError or FileNotFoundError.
    """
    found = trained(model, device, best)
    about = found.about
    return classified(
        found.params, found.config, path, views=views, tau=tau or about.tau or TAU,
        labels=labels or about.classes, normalisation=normalise or about.normalise,
    )  # fmt: skip


def evaluate(
    model: FilePath, data: str | None = None, *, best: bool = False, device: str = "cpu",
    views: tuple[int, int] | None = None, tau: float | None = None,
    normalise: str | tuple | None = None, say: Callable[[str], Any] = warnings.warn,
    data_root: str | None = None, **options: Any,
) -> Evaluation:  # fmt: skip
    """How often the model of a file or a run is right on a data set, or on the run's tests.

    say       called with a sentence about what is assumed or left out
    data_root where relative paths of a list start; None: as of the run, else in the list's folder
    options   of `train.evaluate`: batch, workers, progress

    Raises ValueError or FileNotFoundError.
    """
    found = trained(model, device, best)
    test = test_of(found, data, views, tau, normalise, say, data_root)

    def leave_out(name, reason):
        say(f"{name} is left out: {reason}")

    result = evaluated(found, test, **{"on_broken": leave_out} | options)
    assert result is not None  # nobody asks it to stop
    return result
