"""How exact float32 is: logits and gradients against our own in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...autodiff.tape import value_and_grad
from ...backend import tree as trees
from ...backend.types import Array, Params, Tree
from ...model.config import MViTConfig
from ...model.forward import forward
from ...ops import cross_entropy
from .workloads import Workload, examples, parameters


def accuracy(workload: Workload, threads: int, against: bool = False) -> dict[str, Any]:
    """{"mvit_np": {"logits": e, "gradients": e}}; with `against` also that of "torch".

    e = ||x32 - x64|| / ||x64||, for gradients over all parameters at once; x64 is ours, of the same
    numbers in float64.
    """
    params, (clips, labels), config = parameters(workload), examples(workload), workload.config
    in64 = trees.map(lambda p: p.astype(np.float64), params)
    truth = logits_and_gradients(in64, clips.astype(np.float64), labels, config)
    found = {"mvit_np": logits_and_gradients(params, clips, labels, config)}
    if against:
        from . import peers

        found["torch"] = peers.logits_and_gradients(params, clips, labels, config, threads)
    parts = ("logits", "gradients")
    return {
        who: {part: relative_error(x, y) for part, x, y in zip(parts, both, truth)}
        for who, both in found.items()
    }


def logits_and_gradients(
    params: Params, clips: Array, labels: Array, config: MViTConfig
) -> tuple[Array, Params]:
    """Of the cross-entropy in evaluation: logits (B, K) and gradients like `params`."""

    def loss(params):
        logits = forward(params, clips, config)
        return cross_entropy(logits, labels), logits

    (_, logits), grads = value_and_grad(loss, has_aux=True)(params)
    return logits, grads


def relative_error(found: Tree, truth: Tree) -> float:
    """||found - truth|| / ||truth|| over all leaves of two trees, summed in float64."""
    off = trees.map(lambda x, y: float(((x.astype(np.float64) - y) ** 2).sum()), found, truth)
    whole = trees.map(lambda y: float((y.astype(np.float64) ** 2).sum()), truth)
    return (sum(trees.leaves(off)) / sum(trees.leaves(whole))) ** 0.5
