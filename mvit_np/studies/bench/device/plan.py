"""What is measured on a device, the most wanted first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ....backend.precision import PRECISIONS
from ....model.config import MViTConfig
from ....model.presets import preset
from ..workloads import MODES, Workload

MVIT, GRAPH, TORCH, COMPILED = "mvit_np", "mvit_np graph", "torch", "torch compiled"
BESIDE_EAGER, BESIDE_COMPILED = (MVIT, GRAPH, TORCH), (GRAPH, COMPILED)
CLIP_NORM = 1.0  # what a step holds the norm of the gradients to
MODELS, BATCHES = ("mvit_b_16x4", "mvitv2_s_16x4"), (1, 8, 32)


@dataclass(frozen=True)
class Case:
    """One call of a model, and who makes it, taking turns.

    masks   draw dropout and stochastic depth, as training does, everybody their own; without, both
            are off everywhere
    """

    preset: str
    mode: str = "step"
    batch: int = 1
    precision: str = "float32"
    masks: bool = False
    whos: tuple[str, ...] = BESIDE_EAGER

    @property
    def workload(self) -> Workload:
        return Workload(self.preset, self.mode, self.batch)

    @property
    def config(self) -> MViTConfig:
        config = preset(self.preset)
        return config if self.masks else replace(config, dropout=0.0, drop_path=0.0)

    @property
    def title(self) -> str:
        """mvit_b_16x4 step, batch 8, bf16"""
        masks = ", masks" if self.masks else ""
        return f"{self.preset} {self.mode}, batch {self.batch}, {self.precision}{masks}"


@dataclass(frozen=True)
class Kernels:
    """Every op of a model that has kernels, against the same op in array functions alone."""

    preset: str = "mvit_b_16x4"
    batch: int = 8

    @property
    def title(self) -> str:
        return f"{self.preset}, batch {self.batch}: kernels against plain arrays"


@dataclass(frozen=True)
class Curves:
    """The losses of one training run in each precision."""

    preset: str = "mvit_b_16x4"
    batch: int = 8
    steps: int = 200

    @property
    def title(self) -> str:
        return f"{self.preset}, batch {self.batch}: {self.steps} steps in each precision"


LISTS = {Case: "cases", Kernels: "kernels", Curves: "curves"}


def whole(
    models: Sequence[str] = MODELS, batches: Sequence[int] = BATCHES, modes: Sequence[str] = MODES,
    precisions: Sequence[str] = tuple(PRECISIONS), against: bool = True, only: str | None = None,
) -> tuple[Case | Kernels | Curves, ...]:  # fmt: skip
    """The parts, in order: of the grid that is given; of one of `LISTS` alone with `only`.

    Without `against` nobody is compared with, and what would be measured twice is left out.
    """
    eager = [
        Case(model, mode, batch, precision)
        for mode in reversed(MODES)  # steps first
        for batch in batches
        for model in models
        for precision in precisions
        if mode in modes
    ]
    by_batch = sorted(eager, key=lambda case: case.batch) if against else []
    compiled = [replace(case, whos=BESIDE_COMPILED) for case in by_batch]
    aimed = [case for case in compiled if (case.mode, case.batch) == ("step", 1)]
    masked = [replace(case, masks=True) for case in eager if (case.mode, case.batch) == ("step", 8)]
    if not against:
        eager = [replace(case, whos=(MVIT, GRAPH)) for case in eager]
        masked = [replace(case, whos=(MVIT, GRAPH)) for case in masked]
    steps = [case for case in eager if case.mode == "step"]
    forwards = [case for case in eager if case not in steps]
    rest = [case for case in compiled if case not in aimed]
    model = models[0], batches[len(batches) // 2]
    parts: tuple[Case | Kernels | Curves, ...] = (
        *steps,
        Kernels(*model),
        *aimed,
        Curves(*model),
        *forwards,
        *rest,
        *masked,
    )
    return tuple(part for part in parts if only in (None, LISTS[type(part)]))
