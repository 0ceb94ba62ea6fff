"""Runs a student's function beside the package's own and names the mistake, where it is known."""

from __future__ import annotations

import inspect
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from .faults import UNCHANGED, fault, first_fault, refused, unchanged, unfinished
from .hints import LAST, after, check_step, formula
from .trials import attempt, called, replaced, trials_of
from .withholding import withheld

SEEDS = 1_000_000
LEVELS = FILL_IN, SPECIFICATION, INVESTIGATE = "fill in", "specification", "investigate"


@dataclass(frozen=True)
class Exercise:
    """A function to write, and how to tell whether it is right.

    solution   as a student would write it; its name, arguments and docstring are the exercise
    reference  the right answer to the same arguments, from a source that is not the solution
    cases      from a random generator to argument tuples, arrays in float64; the first shows most
               mistakes
    mistakes   (message, function that makes this mistake) pairs, three at least
    returns    names of the results where there are several
    tolerance  in float64, relative to the largest number of the reference or to 1
    single     whether the first case is tried in float32 as well
    shown      functions of the package that the solution calls: their text goes with it
    level      what is asked for: "fill in" (a few lines are missing, the formula stands above
               them), "specification" (the whole function, from words and shapes alone), or
               "investigate" (an open question, with a reference result to compare with)
    judge      for a question with many right answers: from an answer's value, the reference and
               the arguments to what is wrong, as "rule: what came", or "" where all is right; two
               values make the same mistake where they break the same rule
    given      a function with a planted bug, to be mended; an answer that does the same is no
               answer yet
    finding    the reference result of an investigation in a sentence, told with a right answer

    Raises ValueError for another level.
    """

    solution: Callable
    reference: Callable
    cases: Callable
    mistakes: tuple[tuple[str, Callable], ...]
    returns: tuple[str, ...] = ()
    tolerance: float = 1e-9
    single: bool = True
    shown: tuple[Callable, ...] = ()
    level: str = FILL_IN
    judge: Callable[..., str] | None = None
    finding: str = ""
    given: Callable | None = None

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise ValueError(f"a level is one of {', '.join(LEVELS)}; came {self.level!r}")


@dataclass(frozen=True, repr=False)
class Result:
    """What `check` found; true where the answer is right. Shown, it is its message.

    likely    the mistake that the answer looks like, "" where none is known
    finished  whether every `...` of the stub has been replaced
    seed      draws the same numbers again
    """

    passed: bool
    message: str
    likely: str = ""
    finished: bool = True
    seed: int = 0

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        return self.message

    __repr__ = __str__


def examine(
    name: str,
    exercise: Exercise,
    answer: Callable,
    seed: int | None = None,
    hints: int = 2,
    known: Mapping[str, Exercise] | None = None,
) -> Result:
    """The Result of `answer` on every trial of an exercise; it reports what `answer` raises.

    seed   draws the numbers; None for a seed drawn anew
    hints  how much a refusal says, from 1 (where) to 4 (the solution): see `hints.py`
    known  other exercises by name, whose functions the answer may call

    Raises ValueError for another number of hints.
    """
    check_step(hints)
    seed = secrets.randbelow(SEEDS) if seed is None else seed
    if not callable(answer):
        rule = f"{name}: hand over the function itself, f and not f(...)"
        return Result(False, f"{rule}; came {type(answer).__name__}", finished=False, seed=seed)
    trials = trials_of(exercise, seed)
    if other := refused(exercise, answer, trials[0].args):
        return Result(False, f"{name}: {other}", seed=seed)
    first = attempt(exercise, answer, trials[0])
    if open_line := unfinished(exercise, answer, first):
        return Result(False, f"{name}: nothing yet, {open_line}", finished=False, seed=seed)
    if unchanged(exercise, answer, trials):
        return Result(False, f"{name}: nothing yet, {UNCHANGED}", finished=False, seed=seed)
    found = fault(exercise, answer, trials)
    if found and known:
        if lacks := _missing(exercise, answer, trials[found.at], known, name):
            return Result(False, f"{name}: not yet\n  {lacks}", seed=seed)
        blamed, own = _others(exercise, answer, trials, known, name, seed)
        if blamed and own is None:
            return Result(False, _not_its_own(name, blamed), seed=seed)
        found = own or found
    if found is None:
        shown = [_shown(exercise, trial) for trial in trials]
        found_here = [f"for comparison: {exercise.finding}"] if exercise.finding else []
        lines = [f"{name}: correct, tried with", *shown, *found_here]
        return Result(True, "\n  ".join(lines), seed=seed)
    return Result(False, _told(name, exercise, found, trials, hints, seed), found.likely, seed=seed)


def _told(name, exercise, found, trials, hints, seed):
    """The lines of a refusal, as many as are asked for."""
    lines = [f"{name}: not yet"]
    if hints > 1 and found.likely:
        lines += [f"  likely: {found.likely}"]
    lines += [found.where, f"  tried with {_shown(exercise, trials[found.at])}; seed={seed}"]
    if hints > 2:
        lines += formula(exercise, found.what)
    if hints >= LAST:
        lines += [withheld(name) or inspect.getsource(exercise.solution).rstrip()]
    return "\n".join([*lines, *after(hints, withheld(name))])


# -- the reader's other functions ------------------------------------------------------------------


def _others(exercise, answer, trials, known, name, seed):
    """(names of other exercises whose wrong functions the answer calls, what is wrong without them)

    With the right functions in their place the fault that is left is the answer's own.
    """
    by_function = _by_function(known, name)
    used = called(answer, set(by_function))
    wrong = [n for n in used if _is_wrong(known[by_function[n]], answer.__globals__[n], seed)]
    if not wrong:
        return [], None
    right = {n: known[by_function[n]].solution for n in wrong}
    with replaced(answer.__globals__, right):
        own = fault(exercise, answer, trials)
    return [by_function[n] for n in wrong], own


def _missing(exercise, answer, trial, known, name):
    """Which other answer is called and is not there, in a sentence; None for none."""
    problem = attempt(exercise, answer, trial).problem
    if not isinstance(problem, NameError):
        return None
    if (other := _by_function(known, name).get(problem.name)) is None:
        return None
    where = f'{problem.name} = course.piece("{other}", "my_mvit.py")'
    return f"it calls `{problem.name}`, which is not there: write {other}, or {where}"


def _by_function(known, name):
    """{function name: exercise}; of two with one function name, that of the chapter of `name`."""
    by_function: dict[str, str] = {}
    for other in sorted(known, key=lambda other: _chapter(other) != _chapter(name)):
        by_function.setdefault(_function(other), other)
    return by_function


def _is_wrong(exercise, function, seed):
    trials = trials_of(exercise, seed)
    if refused(exercise, function, trials[0].args):
        return False  # another function of the same name
    return first_fault(exercise, function, trials) is not None


def _not_its_own(name, blamed):
    first, whose = blamed[0], " and ".join(f"`{_function(other)}`" for other in blamed)
    verb = "is" if len(blamed) == 1 else "are"
    return (
        f"{name}: not yet\n  its own lines are right, but it calls your {whose}, which {verb} "
        f'not\n  first: check("{first}", {_function(first)})'
    )


def _chapter(name):
    return name.partition(".")[0]


def _function(name):
    return name.partition(".")[2]


def _shown(exercise, trial):
    """The arguments in a line: the shapes of arrays, and numbers as they are."""
    shown = []
    for name, x in zip(inspect.signature(exercise.solution).parameters, trial.args):
        if isinstance(x, np.ndarray):
            shown.append(f"{name}.shape={x.shape}")
        elif isinstance(x, (int, float, str, tuple)):
            shown.append(f"{name}={x}")
    return ", ".join(shown) + (f" ({trial.dtype})" if trial.dtype else "")
