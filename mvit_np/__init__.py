"""Multiscale Vision Transformers as explicit maths on NumPy or CuPy, all gradients checked."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from . import ops
from .autodiff.checkpoint import checkpoint
from .autodiff.gradcheck import adjointcheck, gradcheck
from .autodiff.kept import keep
from .autodiff.report import GradientError
from .autodiff.tape import op, value_and_grad
from .backend import tree
from .backend.arrays import plain_ops, to_device, to_host
from .backend.precision import use_precision
from .backend.tiles import use_threads
from .model.config import MViTConfig
from .model.costs import costs
from .model.features import features
from .model.forward import forward, init, predict
from .model.plan import plan
from .model.presets import PRESETS, list_presets, preset
from .model.resize import resize
from .ops import cross_entropy
from .weights import About, convert, inflate, load, save

if TYPE_CHECKING:
    from .train.run.in_one_call import classify, evaluate, fit

__version__ = "0.1.0"
_LOADED_WHEN_ASKED_FOR = (
    "autodiff", "backend", "cli", "course", "data", "exercises", "model", "studies", "train",
    "visualize",
)  # fmt: skip

__all__ = [
    # a model, from choice to scores
    "MViTConfig",
    "PRESETS",
    "preset",
    "list_presets",
    "plan",
    "init",
    "forward",
    "predict",
    "features",
    "costs",
    "load",
    "save",
    "About",
    "resize",
    "convert",
    "inflate",
    # what the commands do
    "fit",
    "classify",
    "evaluate",
    # gradients
    "op",
    "value_and_grad",
    "checkpoint",
    "keep",
    "cross_entropy",
    "gradcheck",
    "adjointcheck",
    "GradientError",
    # parts to build from
    "ops",
    "tree",
    # where arrays live, on how many threads they are computed, and how exact products are
    "to_device",
    "to_host",
    "use_threads",
    "use_precision",
    # the definitions alone, for reading along
    "plain_ops",
]


def __getattr__(name: str) -> Any:
    """The other wings: `mv.train`, `mv.data`, `mv.visualize`, `mv.course`, ..."""
    if name in ("fit", "classify", "evaluate"):
        return getattr(importlib.import_module(".train.run.in_one_call", __name__), name)
    if name in _LOADED_WHEN_ASKED_FOR:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "course", "data", "train", "visualize", "weights"])
