"""What an exercise of one's own must be, before it joins the others."""

from __future__ import annotations

import re
import runpy
from collections.abc import Mapping
from typing import Any

from ..backend.types import FilePath
from .checker import Exercise, examine

MISTAKES = 3  # known ones, at least


def check_new(name: str, exercise: Any, known: Mapping[str, Exercise]) -> None:
    """Raise ValueError where a new exercise, under this name, could not be checked well."""
    if not isinstance(exercise, Exercise):
        rule = "an exercise is a course.Exercise"
        raise ValueError(f"{rule}; {type(exercise).__name__} came: see its documentation")
    function = exercise.solution.__name__
    if not re.fullmatch(r"\d\d\.\w+", name) or name[3:] != function:
        rule = f"a name is two digits, a point, and the solution's name, such as 12.{function}"
        raise ValueError(f"{rule}; came {name!r}: give such a name")
    if name in known:
        raise ValueError(f"there is an exercise {name} already: give the solution another name")
    if len(exercise.mistakes) < MISTAKES:
        rule = f"an exercise knows {MISTAKES} typical mistakes at least"
        raise ValueError(f"{rule}; {name} knows {len(exercise.mistakes)}: think of more")
    if not (result := examine(name, exercise, exercise.solution, 0)):
        raise ValueError(f"its own solution does not pass: {result}")
    for message, wrong in exercise.mistakes:
        if examine(name, exercise, wrong, 0):
            rule = f"{name}: a known mistake fails, and this one passes, {message!r}"
            raise ValueError(f"{rule}: mend the mistake, or add a case that shows it")


def load(file: FilePath) -> None:
    """Run a teacher's file, which adds exercises.   Raises ValueError where it stops."""
    try:
        runpy.run_path(str(file))
    except Exception as problem:
        rule = f"{file} is to add exercises, and stops with {type(problem).__name__}: {problem}"
        raise ValueError(f"{rule}: mend it, or name another file") from problem
