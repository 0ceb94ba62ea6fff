"""Our calls on a device: launched one by one, or the whole call as one CUDA graph."""

from __future__ import annotations

import itertools
from typing import Any

from ....backend.arrays import to_host
from ....backend.cuda.graph import Graphed
from ....backend.precision import use_precision
from ....backend.random import default_rng
from ....backend.types import Array, Params
from ....model.config import MViTConfig
from ....model.forward import forward
from ....ops import cross_entropy
from ....train import fit
from ..workloads import RATE, WEIGHT_DECAY, examples, parameters
from . import memory
from .clock import Call, Side, between
from .gpu import Gpu
from .plan import CLIP_NORM, Case


def side(xp: Any) -> Side:
    """How our calls are timed and weighed: events and pools of CuPy's."""
    return Side(
        seconds=lambda call, count: between(xp.cuda.Event, xp.cuda.get_elapsed_time, call, count),
        weighed=lambda build: memory.weighed(xp, build),
        release=lambda: xp.get_default_memory_pool().free_all_blocks(),
        fetch=to_host,
    )


def call(case: Case, gpu: Gpu, graph: bool = False) -> Call:
    """The case's call, as a function of no arguments: logits of a forward pass, the loss of a step.

    Clips and parameters lie on the device already. A step starts from the parameters that the one
    before left.
    """
    with use_precision(case.precision):
        run = (_forward if case.mode == "forward" else _step)(case, gpu, graph)

    def precise():
        with use_precision(case.precision):
            return run()

    return precise


def _forward(case, gpu, graph=False):
    params, (clips, _), config = given(case, gpu)
    if not graph:
        return lambda: forward(params, clips, config)
    graphed = Graphed(lambda params, clips: (params, forward(params, clips, config)), params, clips)
    return lambda: graphed(clips)


def _step(case, gpu, graph=False):
    """As a run trains: by `fit`."""
    params, (clips, labels), config = given(case, gpu)

    def loss(params, batch):
        clips, labels, masks = batch
        return cross_entropy(forward(params, clips, config, rng=masks), labels), None

    numbers = itertools.count()
    masks = (default_rng((0, i), clips) if case.masks else None for i in numbers)
    batches = ((clips, labels, mask) for mask in masks)
    settings = {"weight_decay": WEIGHT_DECAY, "clip_norm": CLIP_NORM, "graph": graph}
    steps = fit(loss, params, batches, lr=lambda step: RATE, **settings)
    return lambda: next(steps).loss


def given(case: Case, gpu: Gpu) -> tuple[Params, tuple[Array, Array], MViTConfig]:
    """Parameters, (clips, labels) on the device, and the config."""
    params, batch = parameters(case.workload), examples(case.workload)
    clips, labels = map(gpu.put, batch)
    return gpu.put(params), (clips, labels), case.config
