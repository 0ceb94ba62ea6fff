"""The arguments that a function is tried with, and what it returned for them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

SINGLE = 1e-4  # tolerance in float32


@dataclass(frozen=True)
class Trial:
    """One set of arguments and the right answer to it."""

    args: tuple
    expected: Any
    dtype: str  # of the arrays; "" where there are none
    tolerance: float


@dataclass(frozen=True)
class Attempt:
    """What a function made of a trial: a value or what it raised, and the inputs it wrote to."""

    value: Any
    problem: Exception | None
    written: tuple[str, ...]


def trials_of(exercise: Any, seed: int) -> list[Trial]:
    """Every case of an exercise in float64, then the first in float32."""
    cases = list(exercise.cases(np.random.default_rng(seed)))
    trials = [_trial(exercise, args, exercise.tolerance) for args in cases]
    if exercise.single and trials[0].dtype:
        args = tuple(_each_array(x, _single) for x in cases[0])
        trials.append(_trial(exercise, args, max(SINGLE, exercise.tolerance)))
    return trials


def attempt(exercise: Any, function: Callable, trial: Trial) -> Attempt:
    """`function` on a copy of a trial's arguments; what it raises is kept."""
    args = tuple(_each_array(x, np.copy) for x in trial.args)
    value = problem = None
    with np.errstate(all="ignore"):
        try:
            value = function(*args)
        except Exception as raised:
            problem = raised
    names = inspect.signature(exercise.solution).parameters
    written = [name for name, before, x in zip(names, trial.args, args) if _changed(before, x)]
    return Attempt(value, problem, tuple(written))


def _trial(exercise, args, tolerance):
    dtype = next((str(x.dtype) for x in map(_an_array_of, args) if x is not None), "")
    return Trial(args, exercise.reference(*args), dtype, tolerance)


def _single(array):
    """Numbers in float32; whole numbers as they are."""
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def _each_array(x, change):
    """`x` with `change` made of it, or of every array in its dicts; else as it is."""
    if isinstance(x, dict):
        return {name: _each_array(part, change) for name, part in x.items()}
    if isinstance(x, list):
        return [_each_array(part, change) for part in x]
    return change(x) if isinstance(x, np.ndarray) else x


def _an_array_of(x):
    """The first array in an argument, None where there is none."""
    while isinstance(x, (dict, list)) and x:
        x = next(iter(x.values())) if isinstance(x, dict) else x[0]
    return x if isinstance(x, np.ndarray) else None


def _changed(before, x):
    if isinstance(before, dict) and isinstance(x, dict):
        return before.keys() != x.keys() or any(_changed(before[name], x[name]) for name in before)
    if isinstance(before, list) and isinstance(x, list):
        return len(before) != len(x) or any(map(_changed, before, x))
    return isinstance(x, np.ndarray) and not np.array_equal(x, before)


# -- the reader's other functions ------------------------------------------------------------------


def called(answer: Callable, known: set[str]) -> list[str]:
    """Those of the names `known` that `answer` calls, also by way of its own helpers."""
    space = getattr(answer, "__globals__", {})
    todo: list[Any] = [answer]
    seen: list[str] = []
    while todo:
        for name in _names_in(getattr(todo.pop(), "__code__", None)):
            function = space.get(name)
            if getattr(function, "__globals__", None) is space and name not in seen:
                seen.append(name)
                todo.append(function)
    own = getattr(answer, "__name__", "")
    return [name for name in seen if name in known and name != own]


def _names_in(code):
    if code is None:
        return
    yield from code.co_names
    for constant in code.co_consts:
        if inspect.iscode(constant):
            yield from _names_in(constant)


@contextmanager
def replaced(space: MutableMapping[str, Any], functions: dict[str, Any]) -> Iterator[None]:
    """Other functions under these names of a module, for a while."""
    before = {name: space[name] for name in functions if name in space}
    space.update(functions)
    try:
        yield
    finally:
        for name in functions:
            space.pop(name, None)
        space.update(before)
