"""Multiscale Vision Transformers as explicit array maths on NumPy or CuPy, with every gradient checked."""

from . import ops, tree
from .autodiff import op, value_and_grad
from .backend import to_device, to_host
from .checkpoint import checkpoint
from .config import MViTConfig
from .costs import costs
from .gradcheck import adjointcheck, gradcheck
from .model import forward, init, predict
from .ops import cross_entropy
from .plan import plan
from .precision import use_precision
from .presets import PRESETS, preset
from .report import GradientError
from .resize import resize
from .tiles import use_threads
from .weights import About, convert, inflate, load, save

__version__ = "0.1.0"

__all__ = [
    # a model, from choice to scores
    "MViTConfig",
    "PRESETS",
    "preset",
    "plan",
    "init",
    "forward",
    "predict",
    "costs",
    "load",
    "save",
    "About",
    "resize",
    "convert",
    "inflate",
    # gradients
    "op",
    "value_and_grad",
    "checkpoint",
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
]
