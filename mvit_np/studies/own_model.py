"""A reader's own model, trained on the demo's films: all it takes is its forward function.

The task is that of notebook 08: which way does the picture move? Clips of other shots are the test.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..autodiff.tape import value_and_grad
from ..backend import tree as trees
from ..backend.types import Array, Params
from ..data.sets.motion import MotionClips
from ..model.config import MViTConfig
from ..model.forward import init
from ..ops import cross_entropy
from ..train.optimizer import adamw, adamw_state, clip_by_norm
from ..train.schedule import warmup_cosine

PEAK = 1.5e-3  # learning rate
GOAL = 0.9  # share of unseen clips that a model of this kind gets right


@dataclass(frozen=True)
class Trained:
    """A model that was trained: its parameters, the loss of each step, how it did and how long."""

    params: Params
    losses: tuple[float, ...]
    accuracy: float  # on clips of shots that it has not seen
    seconds: float


def train_own(
    forward: Callable[..., Any],
    clips: MotionClips,
    config: MViTConfig,
    steps: int = 80,
    batch: int = 32,
    seed: int = 0,
    on_step: Callable[[int, float], None] | None = None,
    gradients: Callable[..., tuple[Any, Params]] | None = None,
) -> Trained:
    """Train forward(params, clip, config), then test it.

    on_step    called with (step, loss) after each step
    gradients  (params, clip, labels, config) -> (loss, gradients), as `course.gradients` makes it;
               None for gradients through the lines of `forward`
    """
    start, rng = time.perf_counter(), np.random.default_rng(seed)
    params, losses = init(config, rng), []
    state, labels = adamw_state(params), clips.train_labels
    epochs = -(-steps * batch // len(labels))  # rounded up
    order = np.concatenate([rng.permutation(len(labels)) for _ in range(epochs)])

    def loss(params, clip, label, config):
        return cross_entropy(forward(params, clip, config), label)

    gradients = gradients or value_and_grad(loss)
    for step in range(steps):
        chosen = order[step * batch : (step + 1) * batch]
        value, grads = gradients(params, clips.train_clips[chosen], labels[chosen], config)
        # Sums and means of autograd's own may come back in float64.
        grads = trees.map(lambda gradient, p: gradient.astype(p.dtype), grads, params)
        rate = warmup_cosine(step, steps, PEAK, warmup=steps // 10)
        params, state = adamw(params, clip_by_norm(grads, 1.0)[0], state, rate, weight_decay=0.05)
        losses.append(float(value))
        if on_step:
            on_step(step, losses[-1])
    accuracy = _accuracy(forward, params, clips.test_clips, clips.test_labels, config)
    return Trained(params, tuple(losses), accuracy, time.perf_counter() - start)


def _accuracy(forward, params, clips: Array, labels: Array, config, batch=64) -> float:
    """The share of clips whose label has the highest score."""
    parts = [forward(params, clips[i : i + batch], config) for i in range(0, len(clips), batch)]
    return float((np.concatenate(parts).argmax(axis=1) == labels).mean())
