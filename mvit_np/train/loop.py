"""The training loop: a generator, so that whoever drives it sees every step and may stop at any."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ..autodiff.tape import value_and_grad
from ..backend.types import Array, Tree
from .accumulate import accumulated
from .distributed import Alone, Mpi
from .ema import ema_decay as decay_at
from .ema import ema_update
from .graphed import GraphedSteps
from .optimizer import BETAS, adamw, adamw_hyperparameters, adamw_state, clip_by_norm


@dataclass(frozen=True)
class Optimizer:
    """How parameters follow gradients."""

    init: Callable[[Tree], Any]  # params -> what it remembers
    # (params, grads, remembered, lr) -> (new params, remembered)
    update: Callable[..., tuple[Tree, Any]]
    # (steps taken before, lr) -> what changes from step to step, as floats. On a device `update`
    # takes an array of them instead of the learning rate (`kernels.flat.fill` writes them there),
    # so that a captured graph of it is a new step each time
    hyperparameters: Callable[[int, float], tuple[float | Array, ...]] | None = None


@dataclass(frozen=True)
class State:
    """All that one step hands to the next.

    If it is written down and read again, training goes on as if nothing had happened.
    """

    step: int  # steps done
    params: Tree
    optimizer: Any  # what it remembers
    average: Tree = None  # the running mean of the parameters, where there is one


@dataclass(frozen=True)
class Step:
    """What one step did.

    `params` are the new ones; `aux` is what the loss returned beside its value.
    """

    index: int
    params: Tree
    loss: Array  # the mean over all ranks; `aux` is this rank's
    aux: Any
    lr: float
    norm: Array
    state: State
    skipped: str = ""  # why nothing was learned from this batch
    # the mean over all ranks of what the argument of that name gave
    extra_metrics: Array | None = None


def fit(
    loss: Callable[[Tree, Any], tuple[Array, Any]], params: Tree, batches: Iterable[Any], *,
    lr: Callable[[int], float], weight_decay: float = 0.05, clip_norm: float = 1.0,
    optimizer: Optimizer | None = None, state: State | None = None, accumulate: int = 1,
    ema_decay: float = 0.0, comm: Alone | Mpi | None = None,
    extra_metrics: Callable[[Array, Any], Array] | None = None,
    guard: Callable[..., str] | None = None, graph: bool = False,
) -> Generator[Step, None, None]:  # fmt: skip
    """Minimise `loss(params, batch) -> (value, aux)` over `batches`; yields a `Step` for each.

    lr             the learning rate as a function of the step's index, such as `warmup_cosine`
    optimizer      an `Optimizer`; without one AdamW with `weight_decay`
    state          a `State` to go on from, instead of `params`; the first batch is then that of
                   step `state.step`
    accumulate     in how many parts a batch is computed, to save memory: see `accumulated`
    ema_decay      decay of a running mean of the parameters, kept in `state.average`; 0: none
    comm           other ranks that run this loop on other clips of the batch: see `distributed`
    extra_metrics  extra_metrics(value, aux) gives an array like `value` of further numbers for all
                   ranks to know, such as a wish to stop: they travel with the gradients, and their
                   mean is in `Step.extra_metrics`
    guard          guard(index, params, batch, loss, grads, norm) looks at a step before it is
                   taken: it raises an error, or says why to skip it, or "" where it is to be taken
    graph          on a device: record a step as a CUDA graph and replay it. What a `Step` then
                   holds is overwritten by the next. The guard is asked after the step, with None
                   for the gradients: if it was not finite, it has changed nothing

    Raises ValueError where a graph is asked for and there are several processes, or what
    `GraphedSteps` needs is missing.
    """
    comm, optimizer = comm or Alone(), optimizer or adamw_with(weight_decay)
    if graph and comm.size > 1:
        raise ValueError(
            f"a graph holds the step of one process, came {comm.size} processes: "
            "do without the graph"
        )
    gradient = accumulated(value_and_grad(loss, has_aux=True), accumulate)
    state = state or begin(params, optimizer, ema_decay)
    del params  # nothing here keeps what a step has done with
    shared: dict[str, Any] = {"clip_norm": clip_norm, "ema_decay": ema_decay}
    shared["extra_metrics"] = extra_metrics
    if graph:
        steps = GraphedSteps(gradient, optimizer, state, **shared)
        take = partial(_replayed, steps, lr, guard)
    else:
        take = partial(_taken, gradient, optimizer, comm, lr, guard, **shared)
    for batch in batches:
        step = take(state, batch)
        state = step.state
        yield step


def _taken(
    gradient, optimizer, comm, lr, guard, state, batch, *, clip_norm, ema_decay, extra_metrics
):
    """The step after a state."""
    index = state.step
    (value, aux), grads = gradient(state.params, batch)
    extra = [extra_metrics(value, aux)] if extra_metrics else []
    value, grads, *extra = comm.mean([value, grads, *extra])  # all ranks know the same
    clipped, norm = clip_by_norm(grads, clip_norm)
    skipped = guard(index, state.params, batch, value, grads, norm) if guard else ""
    if skipped:
        state = replace(state, step=index + 1)
    else:
        state = _learned(state, clipped, lr(index), optimizer, ema_decay)
    return Step(index, state.params, value, aux, lr(index), norm, state, skipped, *extra)


def _replayed(steps, lr, guard, before, batch):
    """The same by a graph, which knows what the state before is."""
    index = before.step
    state, value, aux, norm, *extra = steps.take(batch, lr(index))
    skipped = guard(index, before.params, batch, value, None, norm) if guard else ""
    state = steps.skip() if skipped else state
    return Step(index, state.params, value, aux, lr(index), norm, state, skipped, *extra)


def begin(params: Tree, optimizer: Optimizer, ema_decay: float = 0.0) -> State:
    """The `State` before the first step."""
    return State(0, params, optimizer.init(params), params if ema_decay else None)


def adamw_with(weight_decay: float = 0.05, **settings: Any) -> Optimizer:
    """AdamW as an `Optimizer`; settings are `adamw`'s."""
    hyperparameters = partial(adamw_hyperparameters, betas=settings.get("betas", BETAS))
    update = partial(adamw, weight_decay=weight_decay, **settings)
    return Optimizer(adamw_state, update, hyperparameters)


def _learned(state, grads, lr, optimizer, ema_decay):
    params, remembered = optimizer.update(state.params, grads, state.optimizer, lr)
    average = None
    if ema_decay:
        average = ema_update(state.average, params, decay_at(state.step, ema_decay))
    return State(state.step + 1, params, remembered, average)
