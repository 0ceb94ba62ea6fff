"""Training: what changes the parameters. Nothing here knows a model; the loss is passed in."""

from .accumulate import accumulated
from .decay import decays, decays_except, layer_factors
from .distributed import Alone, Mpi, communicator
from .ema import ema_decay, ema_update
from .evaluate import Evaluation, Views, evaluate
from .guard import NotFinite, check_step
from .loop import Optimizer, State, Step, fit
from .optimizer import adamw, adamw_state, clip_by_norm, sgd, sgd_state
from .run import snapshot
from .run.recipe import RECIPES, Recipe
from .schedule import warmup_cosine

__all__ = [
    "Alone",
    "Evaluation",
    "Mpi",
    "NotFinite",
    "Optimizer",
    "RECIPES",
    "Recipe",
    "State",
    "Step",
    "Views",
    "accumulated",
    "adamw",
    "adamw_state",
    "check_step",
    "clip_by_norm",
    "communicator",
    "decays",
    "decays_except",
    "ema_decay",
    "ema_update",
    "evaluate",
    "fit",
    "layer_factors",
    "sgd",
    "sgd_state",
    "snapshot",
    "warmup_cosine",
]
