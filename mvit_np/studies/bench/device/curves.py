"""Losses of one training run in each precision, from the same start on the same batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from ....backend import tree as trees
from ....backend.arrays import to_host
from ....backend.precision import PRECISIONS, use_precision
from ....backend.types import Array, Params
from ....model.forward import forward
from ....ops import cross_entropy
from ....train import fit, warmup_cosine
from ..workloads import parameters
from .gpu import Gpu
from .measure import attempt
from .plan import CLIP_NORM, Case, Curves

# batches that come round again; classes in use, each a picture of its own under noise
BATCHES, CLASSES = 16, 8
FAINT = 0.1  # the picture's deviation, of the noise's: clearer ones are learned in a few steps
PEAK, WARM_UP, WEIGHT_DECAY = 2e-4, 20, 0.05
# relative: what such a run differs by, rounding alone makes of it
NUDGE, NUDGED = 1e-6, "float32, start nudged"
AS_GRAPH = "float32, as a graph"


def measured(
    part: Curves,
    gpu: Gpu,
    torch_losses: Callable[..., list[float]] | None = None,
    tell: Callable[[str], Any] = lambda words: None,
) -> dict[str, Any]:
    """{"by": {run: losses}, "failed": {run: why}} of a `plan.Curves`.

    Runs are the precisions, "float32, as a graph", "float32, start nudged" as a yardstick, and with
    `torch_losses` "torch float32" and so on: the function (params, config, batches, precision,
    rates) -> losses.
    """
    case = Case(part.preset, "step", part.batch)
    start, batches = parameters(case.workload), examples(case, part.batch)
    rates = [rate(i, part.steps) for i in range(part.steps)]
    runs: dict[str, Callable[[], list[float]]] = {
        name: partial(_mvit_losses, case, gpu, start, batches, name, rates) for name in PRECISIONS
    }
    runs[AS_GRAPH] = lambda: _mvit_losses(case, gpu, start, batches, "float32", rates, graph=True)
    runs[NUDGED] = lambda: _mvit_losses(case, gpu, nudged(start), batches, "float32", rates)
    if torch_losses:
        for name in PRECISIONS:
            runs[f"torch {name}"] = partial(torch_losses, start, case.config, batches, name, rates)
    found: dict[str, dict[str, Any]] = {"by": {}, "failed": {}}
    for name, run in runs.items():
        tell(name)
        losses, why = attempt(run)
        found["failed" if why else "by"][name] = why or losses
    return found


def rate(step: int, steps: int) -> float:
    """The learning rate of a step."""
    return warmup_cosine(step, steps, PEAK, min(WARM_UP, steps))


def examples(case: Case, batch: int) -> list[tuple[Array, Array]]:
    """BATCHES of (clips, labels) on the host: noise over a picture that tells the class."""
    rng, config = np.random.default_rng(7), case.config
    classes = min(CLASSES, config.num_classes)
    pictures = FAINT * rng.standard_normal(
        (classes, *config.size_hw, config.channels), dtype=np.float32
    )
    made = []
    for _ in range(BATCHES):
        labels = rng.integers(classes, size=batch)
        noise = rng.standard_normal((batch, *config.thw, config.channels), dtype=np.float32)
        made.append((noise + pictures[labels][:, None], labels))
    return made


def nudged(params: Params) -> Params:
    """The parameters, each changed in its last bits."""
    rng = np.random.default_rng(11)
    return trees.map(
        lambda p: (p * (1 + NUDGE * rng.standard_normal(p.shape))).astype(p.dtype), params
    )


def _mvit_losses(case, gpu, start, batches, precision, rates, graph=False):
    there, config = [tuple(map(gpu.put, batch)) for batch in batches], case.config

    def loss(params, batch):
        return cross_entropy(forward(params, batch[0], config), batch[1]), None

    again = (there[i % len(there)] for i in range(len(rates)))
    settings = dict(
        lr=rates.__getitem__, weight_decay=WEIGHT_DECAY, clip_norm=CLIP_NORM, graph=graph
    )
    with use_precision(precision):
        losses = [step.loss.copy() for step in fit(loss, gpu.put(start), again, **settings)]
    return [float(to_host(x)) for x in losses]


def gap(losses: Sequence[float], truth: Sequence[float]) -> float:
    """The mean distance of two curves, as a share of how far the second falls.

    It falls from its first loss to the mean of its last tenth.
    """
    curve, right = np.array(losses), np.array(truth)
    fall = right[0] - right[-max(1, len(right) // 10) :].mean()
    return float(np.abs(curve - right).mean() / max(fall, 1e-9))
