"""Runs a student's function beside the package's own and names the mistake, where it is known."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .compare import agrees, difference
from .stops import open_ellipsis, stop

SINGLE = 1e-4  # tolerance in float32


@dataclass(frozen=True)
class Exercise:
    """A function to write, and how to tell whether it is right.

    solution   as a student would write it; its name, arguments and docstring are the exercise
    reference  the package's own answer to the same arguments
    cases      from a random generator to argument tuples, arrays in float64; the first shows most
               mistakes
    mistakes   (message, function that makes this mistake) pairs
    returns    names of the results where there are several
    tolerance  in float64, relative to the largest number of the reference or to 1
    single     whether the first case is tried in float32 as well
    shown      functions of the package that the solution calls: their text goes with it
    """

    solution: Callable
    reference: Callable
    cases: Callable
    mistakes: tuple[tuple[str, Callable], ...]
    returns: tuple[str, ...] = ()
    tolerance: float = 1e-9
    single: bool = True
    shown: tuple[Callable, ...] = ()


@dataclass(frozen=True, repr=False)
class Result:
    """What `check` found; true where the answer is right. Shown, it is its message."""

    passed: bool
    message: str

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        return self.message

    __repr__ = __str__


@dataclass(frozen=True)
class _Trial:
    """One set of arguments and the right answer to it."""

    args: tuple
    expected: object
    dtype: str  # of the arrays; "" where there are none
    tolerance: float


@dataclass(frozen=True)
class _Attempt:
    """What a function made of a trial: a value or what it raised, and the inputs it wrote to."""

    value: object
    problem: Exception | None
    written: tuple[str, ...]


def examine(name: str, exercise: Exercise, answer: Callable) -> Result:
    """The Result of `answer` on every trial of an exercise; it reports what `answer` raises."""
    if not callable(answer):
        rule = f"{name}: hand over the function itself, f and not f(...)"
        return Result(False, f"{rule}; came {type(answer).__name__}")
    trials = _trials(exercise)
    if refused := _refused(exercise, answer, trials[0].args):
        return Result(False, f"{name}: {refused}")
    attempts = [_attempt(exercise, answer, trial) for trial in trials]
    if unfinished := _unfinished(exercise, answer, attempts[0]):
        return Result(False, f"{name}: nothing yet, {unfinished}")
    for at, trial in enumerate(trials):
        if fault := _fault(exercise, answer, trials, attempts, at):
            tried = f"  tried with {_shown(exercise, trial)}"
            return Result(False, f"{name}: not yet\n{fault}\n{tried}")
    shown = [_shown(exercise, trial) for trial in trials]
    return Result(True, "\n  ".join([f"{name}: correct, tried with", *shown]))


def _trials(exercise):
    """Every case in float64, then the first in float32."""
    cases = list(exercise.cases(np.random.default_rng(0)))
    trials = [_trial(exercise, args, exercise.tolerance) for args in cases]
    if exercise.single and trials[0].dtype:
        args = tuple(x.astype(np.float32) if isinstance(x, np.ndarray) else x for x in cases[0])
        trials.append(_trial(exercise, args, max(SINGLE, exercise.tolerance)))
    return trials


def _trial(exercise, args, tolerance):
    dtype = next((str(x.dtype) for x in args if isinstance(x, np.ndarray)), "")
    return _Trial(args, exercise.reference(*args), dtype, tolerance)


def _attempt(exercise, function, trial):
    args = tuple(x.copy() if isinstance(x, np.ndarray) else x for x in trial.args)
    value = problem = None
    with np.errstate(all="ignore"):
        try:
            value = function(*args)
        except Exception as raised:
            problem = raised
    names = inspect.signature(exercise.solution).parameters
    written = [name for name, before, x in zip(names, trial.args, args) if _changed(before, x)]
    return _Attempt(value, problem, tuple(written))


def _changed(before, x):
    return isinstance(x, np.ndarray) and not np.array_equal(x, before)


# -- what is wrong, if anything --------------------------------------------------------------------


def _refused(exercise, answer, args):
    try:
        signature = inspect.signature(answer)
    except (ValueError, TypeError):  # some built-in functions have none
        return None
    try:
        signature.bind(*args)
    except TypeError:
        expected = ", ".join(inspect.signature(exercise.solution).parameters)
        return f"the arguments are ({expected}), in this order; yours takes {signature}"
    return None


def _fault(exercise, answer, trials, attempts, at):
    """What is wrong with one attempt, in a line or two; None where nothing is."""
    attempt = attempts[at]
    if attempt.problem:
        known = _known_mistake(exercise, trials, attempts, at)
        return f"{known}  {stop(answer, attempt.problem)}"
    if attempt.written:
        names = ", ".join(attempt.written)
        return f"  the function writes into its input {names}: work on a copy (x = x.copy())"
    names, count = ", ".join(exercise.returns), len(exercise.returns)
    if count and not _is_tuple_of(attempt.value, count):
        return f"  return {names}, a tuple of {count}; {_described(attempt.value)} came"
    return _wrong_value(exercise, trials, attempts, at)


def _wrong_value(exercise, trials, attempts, at):
    trial, attempt = trials[at], attempts[at]
    part: int | None
    for part, what in enumerate(exercise.returns or ("the result",)):
        part = part if exercise.returns else None
        found = difference(_part(attempt.value, part), _part(trial.expected, part), trial.tolerance)
        if found:
            known = _known_mistake(exercise, trials, attempts, at, part)
            return f"{known}  {what} {found}"
    return None


def _unfinished(exercise, answer, attempt):
    """Which `...` of a stub is still there; None for a function that has been written."""
    value, problem = attempt.value, attempt.problem
    if isinstance(problem, NotImplementedError):
        return "the function raises NotImplementedError: put your lines in its place"
    if problem:
        where = open_ellipsis(answer, problem)
        return f"{where}: write its line, then run both cells again" if where else None
    if value is None:
        return "the function returns None: is a line to be written, or its `return`?"
    if value is ...:
        return "the function returns `...`: write the missing lines, then run both cells again"
    if isinstance(value, (tuple, list)) and any(x is ... or x is None for x in value):
        names = exercise.returns
        if len(names) != len(value):
            names = ["a part of the result"] * len(value)
        missing = dict.fromkeys(name for name, x in zip(names, value) if x is ... or x is None)
        return f"still missing: {', '.join(missing)}"
    return None


def _known_mistake(exercise, trials, attempts, at, part=None):
    """A line with the mistake that does the same on this trial and on most others, "" for none."""
    best, most = "", 0
    for message, wrong in exercise.mistakes:
        theirs = [_attempt(exercise, wrong, trial) for trial in trials]
        same = [_same(a, b, part, trial.tolerance) for a, b, trial in zip(attempts, theirs, trials)]
        if same[at] and sum(same) > most:
            best, most = f"  likely: {message}\n", sum(same)
    return best


def _same(a, b, part, tolerance):
    if a.problem or b.problem:
        return type(a.problem) is type(b.problem) and str(a.problem) == str(b.problem)
    return agrees(_part(a.value, part), _part(b.value, part), tolerance)


def _part(value, part):
    """One of several results, None where it is missing; all of `value` where `part` is None."""
    if part is None:
        return value
    return value[part] if isinstance(value, (tuple, list)) and part < len(value) else None


def _is_tuple_of(value, count):
    return isinstance(value, (tuple, list)) and len(value) == count


# -- in words --------------------------------------------------------------------------------------


def _described(value):
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    return type(value).__name__


def _shown(exercise, trial):
    """The arguments in a line: the shapes of arrays, and numbers as they are."""
    shown = []
    for name, x in zip(inspect.signature(exercise.solution).parameters, trial.args):
        if isinstance(x, np.ndarray):
            shown.append(f"{name}.shape={x.shape}")
        elif isinstance(x, (int, float, tuple)):
            shown.append(f"{name}={x}")
    return ", ".join(shown) + (f" ({trial.dtype})" if trial.dtype else "")
