"""What is timed: a preset's forward pass, or its training step (forward, backward, AdamW)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...autodiff.kept import keep
from ...autodiff.tape import value_and_grad
from ...backend import tree as trees
from ...backend.arrays import plain_ops
from ...backend.types import Array, Params
from ...model.config import MViTConfig
from ...model.costs import costs
from ...model.forward import forward, init
from ...model.presets import preset
from ...ops import cross_entropy
from ...train import adamw, adamw_state
from .machine import blas_threads

MODES = ("forward", "step")
RATE, WEIGHT_DECAY = 1e-4, 0.05  # of AdamW: what they are does not change what a step takes


@dataclass(frozen=True)
class Workload:
    """One call of a model with random weights and clips; `frames`, `size`: None is the preset's."""

    preset: str
    mode: str = "forward"
    batch: int = 1
    dtype: str = "float32"
    checkpoint: bool = False  # of a step: keep only the blocks' inputs
    keep_hidden: bool = False  # of a step: keep the MLPs' hidden layers too
    frames: int | None = None
    size: int | None = None
    seed: int = 0

    @property
    def config(self) -> MViTConfig:
        """The preset's config with the frames and the size that are given."""
        given: dict[str, Any] = {"frames": self.frames} if self.frames is not None else {}
        if self.size is not None:
            given |= {"size": self.size, "uneven": True}  # 112 is no multiple of 32
        return replace(preset(self.preset), **given)

    @property
    def macs(self) -> int:
        """Multiply-adds of a call. A step counts three forward passes, not what is recomputed."""
        return costs(self.config).macs * self.batch * (3 if self.mode == "step" else 1)

    @property
    def title(self) -> str:
        """mvit_b_16x4 step, batch 4, checkpointed"""
        sizes = [f"{self.frames} frames"] * bool(self.frames)
        sizes += [f"{self.size} px"] * bool(self.size)
        settings = [f"batch {self.batch}"] * (self.batch > 1) + ["checkpointed"] * self.checkpoint
        settings += ["hidden layers kept"] * self.keep_hidden
        settings += [self.dtype] * (self.dtype != "float32")
        return ", ".join([f"{self.preset} {self.mode}", *sizes, *settings])


def parameters(workload: Workload) -> Params:
    """Fresh parameters of the workload's model in its dtype; the same at every call."""
    params = init(workload.config, np.random.default_rng(workload.seed))
    return trees.map(lambda p: p.astype(workload.dtype), params)


def examples(workload: Workload) -> tuple[Array, Array]:
    """Clips (B, T, H, W, C) of standard normal numbers and labels (B,); the same at every call."""
    rng, config = np.random.default_rng(workload.seed + 1), workload.config
    clips = rng.standard_normal((workload.batch, *config.thw, config.channels), dtype=np.float32)
    return clips.astype(workload.dtype), rng.integers(config.num_classes, size=workload.batch)


def mvit_call(workload: Workload, params: Params | None = None) -> Callable[[], Any]:
    """The call, as a function of no arguments: logits of a forward pass, the loss of a step.

    params   None: fresh ones
    A step starts from the parameters that the one before left.
    """
    if workload.mode == "forward":
        given = parameters(workload) if params is None else params
        (clips, _), config = examples(workload), workload.config
        return lambda: forward(given, clips, config)
    gradients, update = training(workload, params)

    def step():
        loss, grads = gradients()
        update(grads)
        return loss

    return step


def plain_call(call: Callable[[], Any], threads: int) -> Callable[[], Any]:
    """The same call by the definitions alone; BLAS may use so many threads."""

    def run():
        with plain_ops(), blas_threads(threads):
            return call()

    return run


def training(
    workload: Workload, params: Params | None = None
) -> tuple[Callable[[], tuple[Array, Params]], Callable[[Params], None]]:
    """The two halves of a step: `gradients() -> (loss, grads)` and `update(grads)`."""
    params = parameters(workload) if params is None else params
    (clips, labels), config = examples(workload), workload.config
    masks = np.random.default_rng(workload.seed + 2)
    at = {"params": params, "state": adamw_state(params)}

    def loss(params):
        with keep("hidden" if workload.keep_hidden else "inputs"):
            logits = forward(params, clips, config, rng=masks, checkpoint=workload.checkpoint)
        return cross_entropy(logits, labels)

    def gradients():
        return value_and_grad(loss)(at["params"])

    def update(grads):
        at["params"], at["state"] = adamw(
            at["params"], grads, at["state"], RATE, weight_decay=WEIGHT_DECAY
        )

    return gradients, update
