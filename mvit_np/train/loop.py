"""The training loop: a generator, so that whoever drives it sees every step and may stop at any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..autodiff import value_and_grad
from .optimizer import adamw, adamw_state, clip_by_norm


@dataclass(frozen=True)
class Step:
    """What one step did. `params` are the new ones; `aux` is what the loss returned beside its value."""

    index: int
    params: Any
    loss: Any
    aux: Any
    rate: float
    norm: Any


def fit(loss, params, batches, *, rate, weight_decay=0.05, clip_norm=1.0):
    """Minimise `loss(params, batch) -> (value, aux)` over `batches`; yields a `Step` for each.

    rate   the learning rate as a function of the step's index, such as `warmup_cosine`
    """
    gradient = value_and_grad(loss, has_aux=True)
    state = adamw_state(params)
    for index, batch in enumerate(batches):
        (value, aux), grads = gradient(params, batch)
        grads, norm = clip_by_norm(grads, clip_norm)
        params, state = adamw(params, grads, state, rate(index), weight_decay=weight_decay)
        yield Step(index, params, value, aux, rate(index), norm)
