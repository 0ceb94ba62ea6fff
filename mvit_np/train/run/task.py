"""What a recipe's words stand for: config and parameters, data sets, loss, optimiser."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...autodiff.kept import keep
from ...backend.outputs import check_outside
from ...backend.plain_text import nearest, plain, some
from ...backend.random import default_rng
from ...backend.types import Array, Generator, Hook, Params
from ...data.augment import augmentation
from ...data.clips import cover_of
from ...data.datasets import Dataset
from ...data.draws import MASKS
from ...data.frame_cache import FrameCache
from ...data.holdout import held_out
from ...data.labels import class_names
from ...data.loader import Loader
from ...data.mixing import mix
from ...data.sets.builtin import BUILTIN, builtin
from ...data.video_table import VideoTable
from ...model.config import MViTConfig
from ...model.features import scores_of
from ...model.forward import forward
from ...model.presets import preset
from ...ops import cross_entropy
from ..distributed import Alone, Mpi
from ..evaluate import Views
from ..schedule import warmup_cosine
from .recipe import Recipe


@dataclass(frozen=True)
class Task:
    """What is learned from what."""

    config: MViTConfig
    train: Dataset
    tests: Dataset | None
    directed: bool  # left and right matter to the classes
    of_features: bool = False  # examples are pooled vectors, (1, 1, 1, D), which the head reads

    def scores(
        self, params: Params, clips: Array, rng: Generator | None = None, hook: Hook | None = None,
        checkpoint: bool = False,
    ) -> Array:  # fmt: skip
        """The logits of a batch, as `forward` gives them."""
        if self.of_features:
            return scores_of(params, clips[:, 0, 0, 0], self.config, rng)
        return forward(params, clips, self.config, rng=rng, hook=hook, checkpoint=checkpoint)

    def views(self, recipe: Recipe) -> Views:
        """What a test shows the model."""
        if self.of_features:
            return Views((1, 1), *recipe.views, unchanged=True)
        return Views(self.config.size_hw, *recipe.views, recipe.normalise)


def task_of(recipe: Recipe) -> Task:
    """The `Task` of a recipe. Raises ValueError or FileNotFoundError for a name that is none."""
    if recipe.data is None:
        raise ValueError(
            f"a run learns from data: give {' or '.join(BUILTIN)}, "
            "a folder of class/video.mp4, or a list of films"
        )
    if recipe.holdout and recipe.data in BUILTIN:
        raise ValueError(
            f"a test part is held out of films on disk; {recipe.data} has tests of its own: "
            "leave out holdout"
        )
    base = model_config(recipe)
    train, tests = data_sets(recipe.data, base, recipe)
    if recipe.tests is not None:
        whole, own_tests = data_sets(recipe.tests, base, recipe, train.classes)
        tests = own_tests if recipe.tests in BUILTIN else whole
    elif recipe.holdout:
        train, tests = parts_of(train, recipe)
    config = _fitting(base, train, recipe)
    if tests is not None:
        tests = counted_in(train.classes, tests, recipe.tests or recipe.data)
    return Task(config, train, tests, recipe.directed or train.direction_sensitive)


def parts_of(data: Dataset, recipe: Recipe) -> tuple[VideoTable, VideoTable]:
    """The recipe's films in two parts: to learn from, and what it holds out to test on.

    Raises ValueError where they are too few.
    """
    assert isinstance(data, VideoTable)  # what is built in has tests of its own
    path = Path(recipe.data or "")
    root = path if path.is_dir() else recipe.data_root or path.parent
    return held_out(data, recipe.holdout, root)


def counted_in(classes: Iterable[str], data: Dataset, name: str) -> Dataset:
    """The data set with labels that count these classes. Raises ValueError where it has others."""
    classes = tuple(classes)
    if others := [label for label in data.classes if label not in classes]:
        raise ValueError(
            f"a test has the model's {len(classes)} classes; {name} has {len(data.classes)}, and "
            f"{plain(others[0])} is none of the model's ({some(classes)}): "
            "give data that the model was trained for"
        )
    if tuple(data.classes) == classes:
        return data
    indices = np.array([classes.index(label) for label in data.classes])
    return replace(data, labels=indices[data.labels], classes=classes)  # type: ignore[type-var]


def notes_of(*data: Dataset | None) -> tuple[str, ...]:
    """What the data sets have to say about files that they left out, each sentence once."""
    return tuple(dict.fromkeys(note for one in data if one is not None for note in one.notes))


def model_config(recipe: Recipe, **also: Any) -> MViTConfig:
    """The preset with the recipe's own fields. Raises ValueError for an unknown one."""
    for name in recipe.model_fields:
        check_model_field(name)
    return replace(preset(recipe.model), **recipe.model_fields | also)


def check_model_field(name: str) -> None:
    """Raise ValueError where a model's config has no field of that name, with the nearest."""
    names = [f.name for f in dataclasses.fields(MViTConfig)]
    if name not in names:
        near = nearest(name.replace("-", "_"), names)
        meant = f"did you mean 'model.{near[0]}'? " if near else ""
        raise ValueError(
            f"a model has no field 'model.{name}': {meant}They are those of MViTConfig"
        )


def data_sets(
    name: str, config: MViTConfig, recipe: Recipe, classes: tuple[str, ...] | None = None
) -> tuple[Dataset, Dataset | None]:
    """(train, tests) of a built-in set; of a folder or a list (all of it, None).

    classes   in the order of the model's outputs; None: as the recipe's file or the data have them

    Raises ValueError where there are no such data, or their files do not fit the model.
    """
    if name in BUILTIN:
        sizes = {"train": recipe.train_clips, "test": recipe.test_clips}
        return builtin(name, **{part: count for part, count in sizes.items() if count})
    path = Path(name)
    if not path.exists():
        near, every = nearest(path.name, BUILTIN), ", ".join(BUILTIN)
        meant = f"did you mean {near[0]!r}" if near else f"the built-in ones are {every}"
        raise ValueError(
            f"there is no data set {path.name!r}, and no folder or table {path.absolute()}: "
            f"{meant}, or check the path"
        )
    names, first = class_names(recipe.classes) if recipe.classes else (None, 0)
    how: tuple[Any, ...] = config.frames, recipe.tau, cover_of(config.size_hw), config.channels == 1
    also: dict[str, Any] = {"classes": names if classes is None else classes, "first_label": first}
    also |= {"direction_sensitive": recipe.directed, "frame_rate": recipe.frame_rate}
    if recipe.cache is not None:
        check_outside(recipe.cache, [path])
        also["cache"] = FrameCache(recipe.cache, recipe.cache_gb)
    if path.is_dir():
        return VideoTable.from_folder(path, *how, **also), None
    return VideoTable.from_csv(path, *how, root=recipe.data_root, **also), None


def _fitting(base, data, recipe):
    """The config with the data's classes, and where they are in memory their frames and colours."""
    found = {"num_classes": len(data.classes)}
    if hasattr(data, "clips"):
        found |= {"frames": data.clips.shape[1], "channels": data.clips.shape[4]}
    for name, value in found.items():
        given = recipe.model_fields.get(name, value)
        if given != value:
            raise ValueError(
                f"the data have {name} {value}, the recipe says {given}: leave out model.{name}"
            )
    return replace(base, **found)


def loader_of(
    recipe: Recipe, task: Task, comm: Alone | Mpi, on_broken: Callable[[str, str], Any]
) -> Loader:
    """The batches of a run, this rank's part of each."""
    mixed = None
    if recipe.mix_p and (recipe.mixup or recipe.cutmix):
        ways: dict[str, Any] = {"mixup": recipe.mixup, "cutmix": recipe.cutmix}
        mixed = partial(mix, **ways, switch=recipe.switch, p=recipe.mix_p)
    return Loader(
        task.train,
        batch=recipe.batch,
        augment=_unchanged
        if task.of_features
        else augmentation(recipe, task.config.size_hw, task.directed),
        seed=recipe.seed,
        workers=recipe.workers,
        repeats=recipe.repeats,
        shard=(comm.rank, comm.size),
        ahead=recipe.ahead,
        mix=mixed,
        balance=recipe.balance,
        on_broken=on_broken,
    )


def _unchanged(clip, rng):
    return clip


def masks(recipe: Recipe, step: int, rank: int, like: Array) -> Generator:
    """The generator of what stochastic depth and dropout drop in a step, for arrays like `like`."""
    return default_rng([recipe.seed, MASKS, step, rank], like)


def loss_of(recipe: Recipe, task: Task) -> Callable[[Params, Any], tuple[Array, Any]]:
    """loss(params, (clips, targets, masks)) -> (value, (logits, targets))"""

    def loss(params, batch):
        clips, targets, masks = batch
        with keep("hidden" if recipe.keep_hidden else "inputs"):
            logits = task.scores(params, clips, rng=masks, checkpoint=recipe.checkpoint)
        return cross_entropy(logits, targets, smoothing=recipe.smoothing), (logits, targets)

    return loss


def lr_of(recipe: Recipe, steps: int, steps_per_epoch: int) -> Callable[[int], float]:
    """The learning rate as a function of the step."""
    scale = recipe.batch / recipe.lr_batch
    rates = {"peak": recipe.lr, "start": recipe.start_lr, "end": recipe.end_lr}
    rates = {name: rate * scale for name, rate in rates.items()}
    warmup = round(recipe.warmup * steps_per_epoch)
    return lambda step: warmup_cosine(step, steps, warmup=warmup, **rates)


def accuracy(logits: Array, targets: Array) -> Array:
    """The share of clips whose class scores highest; of two mixed the class of the larger share.

    logits, targets: (B, classes)   ->   ()
    """
    return (logits.argmax(-1) == targets.argmax(-1)).mean()
