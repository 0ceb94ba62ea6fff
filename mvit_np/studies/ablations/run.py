"""Trains what an experiment's table asks for and is not there yet, one run after another."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np

from ...backend.arrays import to_host
from ...backend.tiles import threads
from ...data.datasets import ArrayClips
from ...model.config import MViTConfig
from ...model.costs import costs
from ...model.presets import preset
from ...train.demo import frames_shuffled
from ...train.evaluate import Views, evaluate, predictor
from ...train.run.recipe import Recipe
from ...train.run.recipe_fields import under_new_names
from ...train.run.task import Task
from ...train.run.training import train, training_of
from .sets import classes_of, sets_of
from .table import SHUFFLED, WARMUP, Experiment, Variant

RECENT = 20  # steps whose mean loss is kept
# What is kept of a run.
RUN = {"variant", "seed", "params", "macs", "accuracy", "loss", "seconds", "seconds_of_tests"}


@dataclass(frozen=True)
class Progress:
    """Where a run is."""

    variant: str
    seed: int
    step: int  # done
    loss: float
    accuracy: float  # of the batch


def begun(
    experiment: Experiment, steps: int | None = None, found: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Results to go on with: `found`, of JSON, or such without runs.

    Raises ValueError where `found` is not of this experiment as it is now, or lacks something.
    """
    micro = preset("mvit_micro")
    known = {
        "experiment": experiment.name,
        "data": experiment.data,
        "sizes": experiment.sizes,
        "steps": steps or experiment.steps,
        "chance": 1 / len(classes_of(experiment.data)),
        "recipe": _differing(experiment.recipe, Recipe()),
        "variants": {one.label: _differing(one.config, micro) for one in experiment.variants},
    }
    known = json.loads(json.dumps(known))
    if found is None:
        # Imported here, so that the command line does not load the benchmark.
        from ..bench.machine import describe

        return {**known, "machine": {**describe(), "threads": threads()}, "runs": []}
    for name, value in known.items():
        if _of_today(name, found.get(name)) != value:
            raise ValueError(
                f"these results are of another {name!r} than {experiment.name} has now: "
                "delete them, or give another folder"
            )
    whole = all(isinstance(run, dict) and RUN <= run.keys() for run in found["runs"])
    if "machine" not in found or not whole:
        raise ValueError(
            "these results lack numbers that each run has: delete them, or give another folder"
        )
    return found


def _of_today(name, value):
    """A recipe under the names that its fields have now."""
    return under_new_names(value) if name == "recipe" and isinstance(value, dict) else value


def left(experiment: Experiment, results: dict[str, Any], seeds: int) -> list[tuple[Variant, int]]:
    """What is still to be trained: [(variant, seed), ...], all variants by the first seed first."""
    done = {(run["variant"], run["seed"]) for run in results["runs"]}
    todo = [(variant, seed) for seed in range(seeds) for variant in experiment.variants]
    return [(variant, seed) for variant, seed in todo if (variant.label, seed) not in done]


def run(
    experiment: Experiment,
    results: dict[str, Any],
    seeds: int = 3,
    sets: tuple[ArrayClips, ArrayClips] | None = None,
    on_step: Callable[[Progress], Any] | None = None,
) -> Iterator[dict[str, Any]]:
    """Train what is left; yields the results with one more run each time.

    results   of `begun`, which is not changed
    sets      (train, test) instead of the experiment's own, each an `ArrayClips`
    on_step   called with the `Progress` after every step
    """
    todo = left(experiment, results, seeds)
    if todo and sets is None:
        sets = sets_of(experiment.data, **experiment.sizes)
    for variant, seed in todo:
        one = _one(experiment, variant, seed, results["steps"], sets, on_step)
        results = {**results, "runs": [*results["runs"], one]}
        yield results


def _one(experiment, variant, seed, steps, sets, on_step):
    """A model trained and tested: a row of results["runs"]."""
    start, (clips, tests) = time.perf_counter(), sets
    training, losses = _training(experiment, variant, seed, steps, clips), []
    for taken in train(training):
        losses.append(taken.row["loss"])
        if on_step:
            row = taken.row
            on_step(Progress(variant.label, seed, row["step"], row["loss"], row["accuracy"]))
    trained, config = time.perf_counter(), training.task.config
    test = partial(_tested, taken.state.params, config, training.recipe)
    accuracy = {name: test(_shown(tests, name)) for name in experiment.tests}
    account = costs(config)
    return {
        "variant": variant.label,
        "seed": seed,
        "params": account.params,
        "macs": account.macs,
        "accuracy": accuracy,
        "loss": sum(losses[-RECENT:]) / len(losses[-RECENT:]),
        "seconds": trained - start,
        "seconds_of_tests": time.perf_counter() - trained,
    }


def _training(experiment, variant, seed, steps, clips):
    """A variant's model before its first step."""
    epochs = steps / (len(clips) // experiment.recipe.batch)
    recipe = replace(experiment.recipe, seed=seed, epochs=epochs, warmup=WARMUP * epochs)
    config = fitted(variant.config, clips)
    return training_of(recipe, Task(config, clips, None, clips.direction_sensitive))


def _shown(tests, order):
    """The test, with its frames as they are or shuffled, each clip's alike for all models."""
    return frames_shuffled(tests) if order == SHUFFLED else tests


def _tested(params, config, recipe, tests):
    """The share of clips that are classified right."""
    clips, crops = recipe.views
    views = Views(config.size_hw, clips, crops, recipe.normalise)
    found = evaluate(predictor(to_host(params), config), tests, views, batch=64)
    return found.top1  # type: ignore[union-attr] # only `stop` ends it without a result


def fitted(config: MViTConfig, data: ArrayClips) -> MViTConfig:
    """The config with the data's classes, frames and colours."""
    _, frames, _, _, channels = np.shape(data.clips)
    return replace(config, num_classes=len(data.classes), frames=frames, channels=channels)


def _differing(ours, theirs):
    """The fields of a dataclass that differ from another's."""
    names = [f.name for f in fields(ours) if getattr(ours, f.name) != getattr(theirs, f.name)]
    return {name: getattr(ours, name) for name in names}
