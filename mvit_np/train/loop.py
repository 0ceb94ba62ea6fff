"""The training loop: a generator, so that whoever drives it sees every step and may stop at any."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ..autodiff.tape import value_and_grad
from .accumulate import accumulated
from .distributed import Alone
from .ema import ema_decay, ema_update
from .graphed import GraphedSteps
from .optimizer import BETAS, adamw, adamw_numbers, adamw_state, clip_by_norm


@dataclass(frozen=True)
class Optimizer:
    """How parameters follow gradients."""

    begin: Callable  # params -> what it remembers
    update: Callable  # (params, grads, remembered, rate) -> (new params, remembered)
    # (steps taken before, rate) -> what changes from step to step, as floats. On a device `update` takes an array of them in
    # place of the rate (`kernels.flat.fill` writes them there), so that a captured graph of it is a new step each time
    numbers: Callable | None = None


@dataclass(frozen=True)
class State:
    """All that one step hands to the next: written down and read again, training goes on as if nothing had happened."""

    step: int  # steps done
    params: Any
    optimizer: Any  # what it remembers
    average: Any = None  # the running mean of the parameters, where there is one


@dataclass(frozen=True)
class Step:
    """What one step did. `params` are the new ones; `aux` is what the loss returned beside its value."""

    index: int
    params: Any
    loss: Any  # the mean over all ranks; `aux` is this rank's
    aux: Any
    rate: float
    norm: Any
    state: State
    skipped: str = ""  # why nothing was learned from this batch
    shared: Any = None  # the mean over all ranks of what `share` gave


def fit(
    loss, params, batches, *, rate, weight_decay=0.05, clip_norm=1.0,
    optimizer=None, state=None, parts=1, ema=0.0, comm=None, share=None, guard=None, graph=False,
):  # fmt: skip
    """Minimise `loss(params, batch) -> (value, aux)` over `batches`; yields a `Step` for each.

    rate       the learning rate as a function of the step's index, such as `warmup_cosine`
    optimizer  an `Optimizer`; without one AdamW with `weight_decay`
    state      a `State` to go on from, in place of `params`; the first batch is then that of step `state.step`
    parts      how many parts a batch is taken in, for memory: see `accumulated`
    ema        decay of a running mean of the parameters, kept in `state.average`; 0: none
    comm       other ranks that run this loop on other clips of the same batch: see `distributed`
    share      share(value, aux) gives an array like `value` of further numbers for all ranks to know, such as a wish to stop:
               they travel with the gradients, and their mean is in `Step.shared`
    guard      guard(index, params, batch, loss, grads, norm) looks at a step before it is taken: it raises an error, or says
               why to skip it, or "" where it is to be taken
    graph      on a device: record a step as a CUDA graph and replay it. What a `Step` then holds is overwritten by the next.
               The guard is asked after the step, with None for the gradients: if it was not finite, it has changed nothing
    """
    comm, optimizer = comm or Alone(), optimizer or adamw_with(weight_decay)
    if graph and comm.size > 1:
        raise ValueError(f"a graph holds the step of one process, came {comm.size} processes: do without the graph")
    gradient = accumulated(value_and_grad(loss, has_aux=True), parts)
    state = state or begin(params, optimizer, ema)
    del params  # nothing here keeps what a step has done with
    if graph:
        steps = GraphedSteps(gradient, optimizer, state, clip_norm=clip_norm, ema=ema, share=share)
        take = partial(_replayed, steps, rate, guard)
    else:
        take = partial(_taken, gradient, optimizer, clip_norm, ema, comm, share, rate, guard)
    for batch in batches:
        step = take(state, batch)
        state = step.state
        yield step


def _taken(gradient, optimizer, clip_norm, ema, comm, share, rate, guard, state, batch):
    """The step after a state."""
    index = state.step
    (value, aux), grads = gradient(state.params, batch)
    value, grads, *shared = comm.mean([value, grads] + ([share(value, aux)] if share else []))  # all ranks know the same
    clipped, norm = clip_by_norm(grads, clip_norm)
    skipped = guard(index, state.params, batch, value, grads, norm) if guard else ""
    state = replace(state, step=index + 1) if skipped else _learned(state, clipped, rate(index), optimizer, ema)
    return Step(index, state.params, value, aux, rate(index), norm, state, skipped, *shared)


def _replayed(steps, rate, guard, before, batch):
    """The same by a graph, which knows what the state before is."""
    index = before.step
    state, value, aux, norm, *shared = steps.take(batch, rate(index))
    skipped = guard(index, before.params, batch, value, None, norm) if guard else ""
    state = steps.skip() if skipped else state
    return Step(index, state.params, value, aux, rate(index), norm, state, skipped, *shared)


def begin(params, optimizer, ema=0.0):
    """The `State` before the first step."""
    return State(0, params, optimizer.begin(params), params if ema else None)


def adamw_with(weight_decay=0.05, **settings):
    """AdamW as an `Optimizer`; settings are `adamw`'s."""
    numbers = partial(adamw_numbers, betas=settings.get("betas", BETAS))
    return Optimizer(adamw_state, partial(adamw, weight_decay=weight_decay, **settings), numbers)


def _learned(state, grads, rate, optimizer, ema):
    params, remembered = optimizer.update(state.params, grads, state.optimizer, rate)
    average = ema_update(state.average, params, ema_decay(state.step, ema)) if ema else None
    return State(state.step + 1, params, remembered, average)
