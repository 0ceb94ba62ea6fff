"""Training by a recipe, in memory: batches, steps, schedule, tests, and a row for each step.

A run with a folder (`run.py`), the demo and the experiments are built on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple, cast

from ...backend.arrays import from_host, to_host
from ...backend.precision import use_precision
from ...backend.types import Params
from ...data.datasets import Dataset
from ...data.loader import Loader
from ..distributed import Alone, Mpi
from ..evaluate import Evaluation, evaluate
from ..loop import State
from ..metrics import Row
from . import start
from . import task as tasks
from .recipe import Recipe, steps_of
from .steps import steps


@dataclass(frozen=True, kw_only=True)
class Training:
    """What is ready to be trained, or to be trained on."""

    recipe: Recipe
    task: tasks.Task
    comm: Alone | Mpi
    loader: Loader
    state: State  # where it begins
    steps: int  # in all
    say: Callable[[str], Any]  # takes a sentence that the user should read
    seconds: float = 0.0  # of training so far
    said: set[str] = field(default_factory=set)  # what need not be said again


class Taken(NamedTuple):
    """What `train` tells of a step."""

    state: State  # after it
    row: Row  # of `metrics.FIELDS`
    test: Evaluation | None  # where one was due
    untested: bool  # whether one was due, and not made to its end
    stopping: bool  # whether any rank wants to end


def training_of(
    recipe: Recipe, task: tasks.Task, *, comm: Alone | Mpi | None = None,
    say: Callable[[str], Any] | None = None, state: State | None = None,
) -> Training:  # fmt: skip
    """The `Training` of a recipe on a task.

    state: a `State` to go on from; None: the recipe's own start
    """
    comm, say = comm or Alone(), say or (lambda sentence: None)
    loader = tasks.loader_of(recipe, task, comm, partial(_leave_out, say))
    return Training(
        recipe=recipe,
        task=task,
        comm=comm,
        loader=loader,
        state=state or start.begun(recipe, task, comm, say),
        steps=steps_of(recipe, loader.steps_per_epoch),
        say=say,
    )


def _leave_out(say, name, reason):
    say(f"{name} is left out: {reason}")


def on_task(training: Any, task: tasks.Task) -> Any:
    """The same training on another task with as many examples."""
    leave_out = partial(_leave_out, training.say)
    loader = tasks.loader_of(training.recipe, task, training.comm, leave_out)
    return replace(training, task=task, loader=loader)


def train(
    training: Training, stop: Callable[[], bool] = lambda: False, clock: Clock | None = None
) -> Generator[Taken, None, None]:
    """The steps that are left, with tests where they are due; yields what was `Taken`.

    stop    asked in every step, and in tests after every batch: whether to end now. What drives
            this then ends it
    clock   the `Clock` of the training, where others use it too

    Raises NotFinite at a loss or gradient of NaN or infinity, unless the recipe says to skip such
    steps.
    """
    clock = clock or Clock(training.seconds)
    with closing(steps(training, stop)) as taken:
        for step, numbers in taken:
            state, due, test = step.state, test_is_due(training, step.state.step), None
            if due and not numbers.stopping:
                with clock.standing():
                    test = tested(training, state, stop)
            untested = due and test is None
            row = _row(training, step, numbers, clock.seconds) | results_of(test)
            yield Taken(state, row, test, untested, numbers.stopping or untested)


class Clock:
    """Seconds of training, without those spent within `standing`."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._start = time.monotonic() - seconds

    @property
    def seconds(self) -> float:
        """Seconds of training so far."""
        return time.monotonic() - self._start

    @contextmanager
    def standing(self) -> Iterator[None]:
        """The clock stands still within this context: what is done there is no training."""
        before = time.monotonic()
        yield
        self._start += time.monotonic() - before


# -- a row per step --------------------------------------------------------------------------------


def _row(training, step, numbers, seconds):
    """A line of metrics.csv, without the results of a test."""
    done, batch = step.state.step, training.recipe.batch
    clips = (done - training.state.step) * batch
    return {
        "step": done,
        "epoch": done / training.loader.steps_per_epoch,
        "seconds": seconds,
        "loss": numbers.loss,
        "accuracy": numbers.accuracy,
        "learning_rate": step.lr,
        "gradient_norm": numbers.norm,
        "clips_per_s": clips / max(seconds - training.seconds, 1e-9),
    }


def results_of(test: Evaluation | None) -> Row:
    """The results of a test, of a line of metrics.csv."""
    if test is None:
        return {"test_accuracy": None, "test_top5": None, "test_loss": None}
    return {"test_accuracy": test.top1, "test_top5": test.top5, "test_loss": test.loss}


# -- tests -----------------------------------------------------------------------------------------


def test_is_due(training: Training, step: int) -> bool:
    """Whether a step is followed by a test."""
    every = max(round(training.recipe.test_every * training.loader.steps_per_epoch), 1)
    return training.task.tests is not None and (step % every == 0 or step == training.steps)


def tested(training: Training, state: State, stop: Callable[[], bool]) -> Evaluation | None:
    """The `Evaluation` of the model to use, by all ranks together; None where one has to stop.

    The task has tests.
    """
    task, recipe, tests = training.task, training.recipe, cast(Dataset, training.task.tests)
    options: dict[str, Any] = {"batch": 32, "workers": recipe.workers, "comm": training.comm}
    options |= {"stop": stop, "on_broken": partial(_say_once, training)}
    with use_precision(recipe.precision):
        params, like = learned(state), state.params["head"]["w"]

        def predict(clips):
            return to_host(task.scores(params, from_host(clips, like)))

        return evaluate(predict, tests, task.views(recipe), **options)


def learned(state: State) -> Params:
    """The parameters to use: their running mean where there is one."""
    return state.params if state.average is None else state.average


def _say_once(training, name, reason):
    if name not in training.said:
        training.said.add(name)
        training.say(f"{name} is left out of the tests: {reason}")
