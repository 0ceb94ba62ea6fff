"""Training: what changes the parameters. Nothing here knows a model; the loss is passed in."""

from .loop import Step, fit
from .optimizer import adamw, adamw_state, clip_by_norm, decays
from .schedule import warmup_cosine

__all__ = ["Step", "adamw", "adamw_state", "clip_by_norm", "decays", "fit", "warmup_cosine"]
