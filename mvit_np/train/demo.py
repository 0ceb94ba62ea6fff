"""The demo: a small MViT learns on real video which way the picture moves, by the order of frames.

It is the recipe `demo`, trained by `train/run`. Nothing here prints; `cli` drives it and shows the
progress.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..autodiff.gradcheck import gradcheck
from ..autodiff.report import Report
from ..backend import tree as trees
from ..backend.arrays import to_host
from ..backend.outputs import LEDGER, carries, claim, make_folder, own, write
from ..backend.types import FilePath, Params
from ..data import LABELS, ArrayClips, shuffle_frames
from ..data.draws import FRAMES, rng_for
from ..data.sets.builtin import as_pixels
from ..data.sets.motion import MotionClips
from ..model.config import MViTConfig
from ..model.costs import costs
from ..model.forward import forward, predict
from ..model.inspection import class_attention
from ..model.plan import plan
from ..model.text_table import si_prefix
from ..weights import save
from ..weights.about import About
from ..weights.load import MODEL
from .evaluate import evaluate, predictor, views_of
from .metrics import METRICS, Metrics, Row
from .run.recipe import RECIPES, Recipe
from .run.task import Task, model_config
from .run.training import Training, training_of

# In 1/30 s: between each frame (1.2) and each second one (2.4) of films of 25 frames per second.
TAU = 1.8
ABOUT = About(classes=LABELS, tau=TAU, normalise="clip")
FIGURES = "stages.png", "training.png", "attention.png", "pooling_attention.png"
CONFIG = "config.json"
WRITTEN = METRICS, MODEL, CONFIG, *FIGURES
# How the metrics.csv of an earlier demo begins.
EARLIER = b"step,seconds,loss,accuracy,learning_rate,clips_per_s,test_accuracy\r\n"


def recipe_of(epochs: int = 1, seed: int = 0, device: str = "cpu") -> Recipe:
    """The recipe `demo` for so many epochs, with warm-up and tests in proportion."""
    base = RECIPES["demo"]
    names = "epochs", "warmup", "test_every"
    lengths: dict[str, Any] = {name: epochs * getattr(base, name) for name in names}
    return replace(base, **lengths, seed=seed, device=device)


def training(clips: MotionClips, recipe: Recipe) -> Training:
    """The training of a recipe on `MotionClips`, for `train.run.training.train`."""

    def part(clips, labels):
        return ArrayClips(as_pixels(clips), labels, LABELS, True, "street")

    train = part(clips.train_clips, clips.train_labels)
    tests = part(clips.test_clips, clips.test_labels)
    return training_of(recipe, Task(model_config(recipe), train, tests, directed=True))


def tested(params: Params, training: Training) -> dict[str, float]:
    """Accuracy on unseen shots, with the frames in order and shuffled (Table 9)."""
    task, tests = training.task, cast(ArrayClips, training.task.tests)
    sets = {"test_accuracy": tests, "shuffled_accuracy": frames_shuffled(tests)}
    scores, views = predictor(params, task.config), task.views(training.recipe)
    found: Any = {name: evaluate(scores, data, views, batch=64) for name, data in sets.items()}
    return {name: evaluation.top1 for name, evaluation in found.items()}


def frames_shuffled(data: ArrayClips) -> ArrayClips:
    """An `ArrayClips` with each clip's frames in an order of its own, always the same."""
    return replace(data, clips=shuffle_frames(data.clips, rng_for(0, FRAMES)))


def check_trained(params: Params, training: Training) -> Report:
    """The gradient check of the trained model, in float64: all parameters, and two test clips."""
    params = trees.map(lambda p: p.astype(np.float64), to_host(params))
    two, config = _seen(training, range(2)).astype(np.float64), training.task.config

    def logits(params, clips):
        return forward(params, clips, config)

    return gradcheck(logits, params, two, name="the trained model", check=False)


def _seen(training, indices):
    """Test clips as the model gets them.   -> (N, T, H, W, C)"""
    task = training.task
    return np.concatenate([views_of(task.tests, k, task.views(training.recipe)) for k in indices])


def vit_beside(config: MViTConfig) -> MViTConfig:
    """A ViT as wide as the MViT ends: 8 x 8 patches of single frames, one stage, no pooling."""
    width, depths, patch = plan(config).blocks[-1].dim_attn, (sum(config.depths),), (1, 8, 8)
    one_stage: dict[str, Any] = {"dim": width, "heads": 4, "depths": depths, "stride_kv": None}
    return replace(config, cube_kernel=patch, cube_stride=patch, **one_stage)


def _is_of_an_earlier_version(folder):
    """Whether a folder has no note of who wrote what, and the table of an earlier demo."""
    return not (folder / LEDGER).exists() and carries(folder / METRICS, EARLIER)


class Folder:
    """The folder to write into. Raises ValueError at once where it is another's or read-only."""

    def __init__(self, path: FilePath) -> None:
        self.path = Path(path)
        self._metrics: Any = None  # a `Metrics`, from the first row on
        make_folder(path)
        if _is_of_an_earlier_version(self.path):
            claim(path, "demo", WRITTEN)
        own(path, "demo", WRITTEN)

    def add(self, row: Row) -> None:
        """One more line of metrics.csv, on disk at once; the first starts the file anew."""
        self._metrics = self._metrics or Metrics(self.path)
        self._metrics.add(row)

    def finish(self, params: Params, training: Training, result: dict[str, float]) -> list[Path]:
        """The checkpoint and the four figures; returns the paths written."""
        from .. import visualize

        rows, params, config = self._metrics.rows, to_host(params), training.task.config
        self._metrics.close()
        save(self.path / MODEL, params, config, ABOUT)
        write(self.path / CONFIG, json.dumps(asdict(config), indent=1) + "\n")
        clip, label = _surest(params, training)
        title = f"the test clip that the model is most certain of: it moves {label}"
        p, maps = plan(config), class_attention(params, clip, config)
        first_pooled = next(block for block in p.blocks if block.pool_q)
        figures = (
            visualize.stage_figure(p, plan(vit_beside(config))),
            visualize.training_figure(rows, result),
            visualize.attention_figure(clip[0], maps, p, title=title),
            visualize.pooling_attention_figure(first_pooled),
        )
        for name, figure in zip(FIGURES, figures):
            visualize.save(figure, self.path / name)
        return [self.path / name for name in WRITTEN]


def _surest(params, training):
    """(clip (1, T, H, W, C), label in words): the test clip that is right by the widest margin."""
    tests = training.task.tests
    clips = _seen(training, range(len(tests)))
    logits = predict(params, clips, training.task.config)
    sign = np.where(tests.labels == 1, 1, -1)
    best = int(((logits[:, 1] - logits[:, 0]) * sign).argmax())
    return clips[best : best + 1], LABELS[int(tests.labels[best])]


def totals(config: MViTConfig) -> str:
    """Parameters, multiply-adds and memory of one clip, two lines."""
    account = costs(config)
    factor, prefix = si_prefix(account.macs)
    macs = f"{account.macs / factor:.2f} {prefix} multiply-adds"
    kept, largest = account.activation_bytes / 1e6, account.attention_bytes / 1e6
    return (
        f"{account.params:,} parameters, {macs} per clip\n"
        f"{kept:.2f} MB kept per clip in training, largest attention matrix {largest:.2f} MB"
    )
