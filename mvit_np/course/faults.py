"""What is wrong with an answer, in words, and which known mistake does the same."""

from __future__ import annotations

import inspect
from typing import NamedTuple

import numpy as np

from .compare import agrees, difference
from .stops import open_ellipsis, stop
from .trials import attempt

UNCHANGED = "it does what it did when it was given: mv.gradcheck says which gradient is wrong"


class Fault(NamedTuple):
    """What is wrong with an answer: where, what kind of mistake, which result, in which trial."""

    where: str
    likely: str
    what: str
    at: int


def refused(exercise, answer, args):
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


def fault(exercise, answer, trials):
    """The first trial's fault in words, with the mistake that does the same; None for none."""
    found = first_fault(exercise, answer, trials)
    if found is None:
        return None
    at, part, where = found
    attempts = [attempt(exercise, answer, trial) for trial in trials]
    likely = _known_mistake(exercise, trials, attempts, at, part)
    names = exercise.returns
    return Fault(where, likely, names[part] if names and part is not None else "", at)


def first_fault(exercise, answer, trials):
    """(trial, result, what is wrong there) of the first trial that goes wrong, None for none."""
    for at, trial in enumerate(trials):
        part, where = _wrong(exercise, answer, trial)
        if where:
            return at, part, where
    return None


def _wrong(exercise, answer, trial):
    """(which result, what is wrong) of one attempt; what is "" where nothing is."""
    tried = attempt(exercise, answer, trial)
    if tried.problem:
        return None, f"  {stop(answer, tried.problem)}"
    if tried.written:
        names = ", ".join(tried.written)
        copy = "work on a copy (x = x.copy())"
        return None, f"  the function writes into its input {names}: {copy}"
    if exercise.judge:
        said = _judged(exercise, tried.value, trial)
        return None, f"  {said}" if said else ""
    names, count = ", ".join(exercise.returns), len(exercise.returns)
    if count and not _is_tuple_of(tried.value, count):
        return None, f"  return {names}, a tuple of {count}; {_described(tried.value)} came"
    part: int | None
    for part, what in enumerate(exercise.returns or ("the result",)):
        part = part if exercise.returns else None
        found = difference(_part(tried.value, part), _part(trial.expected, part), trial.tolerance)
        if found:
            return part, f"  {what} {found}"
    return None, ""


def unfinished(exercise, answer, tried):
    """Which `...` of a stub is still there; None for a function that has been written."""
    value, problem = tried.value, tried.problem
    if isinstance(problem, NotImplementedError):
        return "the function raises NotImplementedError: write your lines instead of it"
    if problem:
        where = open_ellipsis(answer, problem)
        return f"{where}: write its line, then run both cells again" if where else None
    if value is None:
        return "the function returns None: is a line to be written, or its `return`?"
    if value is ...:
        return "the function returns `...`: write the missing lines, then run both cells again"
    if isinstance(value, (tuple, list)) and any(map(_is_open, value)):
        names = exercise.returns
        if len(names) != len(value):
            names = ["a part of the result"] * len(value)
        missing = dict.fromkeys(name for name, x in zip(names, value) if _is_open(x))
        return f"still missing: {', '.join(missing)}"
    return None


def unchanged(exercise, answer, trials):
    """Whether an answer still has the planted bug, and does the same as what was given."""
    if exercise.given is None:
        return False
    for trial in trials:
        now, then = attempt(exercise, answer, trial), attempt(exercise, exercise.given, trial)
        if not _same(exercise, now, then, None, trial):
            return False
    return True


def _is_open(value):
    """Whether a part of a result, or an entry of a dictionary, is not there yet."""
    parts = value.values() if isinstance(value, dict) else ()
    return value is ... or value is None or any(map(_is_open, parts))


def _known_mistake(exercise, trials, attempts, at, part):
    """The mistake that does the same on this trial and on most others, "" for none."""
    best, most = "", 0
    for message, wrong in exercise.mistakes:
        theirs = [attempt(exercise, wrong, trial) for trial in trials]
        same = [_same(exercise, a, b, part, trial)
                for a, b, trial in zip(attempts, theirs, trials)]  # fmt: skip
        if same[at] and sum(same) > most:
            best, most = message, sum(same)
    return best


def _judged(exercise, value, trial):
    """What an exercise's own judge says of a value; an odd one may make it stop."""
    try:
        return exercise.judge(value, trial.expected, *trial.args)
    except Exception as problem:
        came = f"{_described(value)} came, of which {type(problem).__name__}: {problem}"
        return f"the result is not what the statement asks for: {came}"


def _same(exercise, a, b, part, trial):
    if a.problem or b.problem:
        return type(a.problem) is type(b.problem) and str(a.problem) == str(b.problem)
    if exercise.judge:
        said = [_judged(exercise, value, trial).partition(": ")[0] for value in (a.value, b.value)]
        return said[0] == said[1]
    return agrees(_part(a.value, part), _part(b.value, part), trial.tolerance)


def _part(value, part):
    """One of several results, None where it is missing; all of `value` where `part` is None."""
    if part is None:
        return value
    return value[part] if isinstance(value, (tuple, list)) and part < len(value) else None


def _is_tuple_of(value, count):
    return isinstance(value, (tuple, list)) and len(value) == count


def _described(value):
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    return type(value).__name__
