"""The steps of a run. On a device each is queued as a whole, and waited for by a few numbers."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from ...backend.arrays import array_module, from_host, to_host
from ...backend.precision import use_precision
from ..frozen import fit_part
from ..guard import NotFinite, check_step
from ..loop import Step, fit
from . import start
from . import task as tasks


class Numbers(NamedTuple):
    """What is read of a step, on the host."""

    loss: float
    norm: float  # of the gradient
    accuracy: float  # on the batch
    stopping: bool  # whether any rank wants to end


def steps(training: Any, stop: Callable[[], bool]) -> Generator[tuple[Step, Numbers], None, None]:
    """(`fit`'s Step, its `Numbers`) of each step from the training's state on.

    training   a `Training`
    stop       see `run`

    Raises NotFinite, unless the recipe says to skip such steps.
    """
    batches, guard = _Batches(training), _Guard(training)
    with closing(batches), closing(_fit(training, batches, guard, stop)) as queued:
        while True:
            # For as long as the step takes: who drives this has a precision too.
            with use_precision(training.recipe.precision):
                if (step := next(queued, None)) is None:
                    return
                batches.fetch()
                loss, norm, accuracy, wish = _read(step)
                guard.look(loss, norm)
            stopping = wish > 0 or (training.comm.size == 1 and bool(stop()))
            yield step, Numbers(loss, norm, round(accuracy, 6), stopping)  # of float32


def _fit(training, batches, guard, stop):
    recipe, state = training.recipe, training.state

    def extra_metrics(value, aux):
        numbers = array_module(value).empty(2, dtype=value.dtype)
        numbers[0] = tasks.accuracy(*aux)
        # One process is asked later: a graph would record what it says.
        numbers[1] = float(training.comm.size > 1 and bool(stop()))
        return numbers

    part = start.part_of(recipe, state.params)
    loss = tasks.loss_of(recipe, training.task)
    options: dict[str, Any] = dict(
        lr=tasks.lr_of(recipe, training.steps, training.loader.steps_per_epoch),
        clip_norm=recipe.clip_norm,
        optimizer=start.optimizer_of(recipe, state.params, part),
        state=state,
        accumulate=recipe.accumulate,
        ema_decay=recipe.ema,
        comm=training.comm,
        extra_metrics=extra_metrics,
        guard=guard,
        graph=recipe.graph,
    )
    if part is None:
        return fit(loss, state.params, batches, **options)
    return fit_part(part, loss, batches, **options)


def _read(step):
    """Loss, norm and the extra metrics, by one copy from the device."""
    numbers = array_module(step.loss).empty(4, dtype=step.loss.dtype)
    numbers[0], numbers[1], numbers[2:] = step.loss, step.norm, step.extra_metrics
    return to_host(numbers).tolist()


class _Batches:
    """(clips, targets, generator of masks) of the steps that are left, where the parameters are."""

    def __init__(self, training):
        self._there, self._fetched = training.recipe.device != "cpu", []
        self._made = _made(training)

    def fetch(self):
        """Hand the device the next batch while it works; `__next__` tells what goes wrong."""
        if self._there:
            try:
                self._fetched += islice(self._made, 1)
            except Exception as problem:
                self._fetched.append(problem)

    def __iter__(self):
        return self

    def __next__(self):
        batch = self._fetched.pop() if self._fetched else next(self._made)
        if isinstance(batch, Exception):
            raise batch
        return batch

    def close(self):
        """End the loader's threads."""
        self._made.close()


def _made(training):
    like, first = training.state.params["head"]["w"], training.state.step
    with closing(training.loader.batches(first, training.steps)) as batches:
        for index, arrays in enumerate(batches, first):
            clips, targets = (from_host(array, like) for array in arrays)
            yield clips, targets, tasks.masks(training.recipe, index, training.comm.rank, like)


class _Guard:
    """Steps that are not finite stop the run, or are skipped and said.

    On the host that is seen before the parameters change. On a device whether to stop is seen when
    the step is queued and its numbers are read: the next one then does not come, and nothing of it
    is written. Whether to skip has to be seen before the parameters change, so a device is then
    waited for a second time (but with a graph, whose steps change nothing then).
    """

    def __init__(self, training):
        self._training = training
        self._check: Any = None  # of the step that was queued last
        self._stops = training.recipe.non_finite == "stop"
        self._later = training.recipe.device != "cpu"

    def __call__(self, index, params, batch, loss, grads, norm):
        """What `fit` asks: why not to learn from this batch, or ""."""
        self._check = partial(self._checked, index, params, batch, grads)
        if self._stops and self._later:
            return ""
        try:
            self._check(loss, norm)
        except NotFinite as problem:
            if self._stops:
                raise
            self._training.say(f"skipped: {problem}")
            return str(problem)
        return ""

    def look(self, loss, norm):
        """Raise NotFinite where the step's numbers are not, unless skipped; lets gradients go."""
        check, self._check = self._check, None
        if self._stops and self._later:
            check(loss, norm)

    def _checked(self, index, params, batch, grads, loss, norm):
        training = self._training

        def probe(hook):
            drawn = tasks.masks(training.recipe, index, training.comm.rank, batch[0])
            return training.task.scores(params, batch[0], rng=drawn, hook=hook)

        names = partial(training.loader.names_at, index)
        check_step(loss, grads, step=index + 1, names=names, probe=probe, norm=norm)
