"""Exercises for the notebooks: write a function, and `check` tells whether it is right, or why not.

    from mvit_np import exercises
    print(exercises.statement("03.softmax_backward"))   # what to write
    exercises.check("03.softmax_backward", my_function)  # is it right?
    print(exercises.solution("03.softmax_backward"))     # one way to write it

Names begin with the notebook's number. `import mvit_np` does not load this package.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

from ..backend.plain_text import nearest
from . import (
    chapter_01,
    chapter_02,
    chapter_03a,
    chapter_03b,
    chapter_04,
    chapter_05a,
    chapter_05b,
    chapter_06a,
    chapter_06b,
    chapter_06c,
)
from .checker import Result, examine

__all__ = ["check", "names", "solution", "statement", "Result"]

_CHAPTERS = (
    chapter_01, chapter_02, chapter_03a, chapter_03b, chapter_04, chapter_05a, chapter_05b,
    chapter_06a, chapter_06b, chapter_06c,
)  # fmt: skip
_ALL = {
    f"{chapter.__name__.partition('chapter_')[2][:2]}.{exercise.solution.__name__}": exercise
    for chapter in _CHAPTERS
    for exercise in chapter.EXERCISES
}


def names(chapter: str = "") -> list[str]:
    """The names of all exercises in the notebooks' order, or of one notebook's: names("03")."""
    return [name for name in _ALL if name.startswith(chapter)]


def check(name: str, function: Callable, *, seed: int | None = None, hints: int = 2) -> Result:
    """Try `function` on small arrays beside the package's own.

    seed   draws the numbers again that a refusal was found with; None draws new ones, so that an
           answer cannot be a table of numbers
    hints  how much a refusal says: 1 where, 2 also what kind of mistake it looks like, 3 also the
           line of the derivation, 4 also one solution

    Returns a Result, whose text says what was found. A wrong answer raises nothing, nor does an
    error inside `function`: both are told. Where `function` calls another answer of the reader's
    that is wrong, the result says so. Raises ValueError for an unknown name or number of hints.
    """
    return examine(name, _exercise(name), function, seed, hints, _ALL)


def statement(name: str) -> str:
    """What to write: the signature, what goes in and out with shapes, a hint.

    Raises ValueError for an unknown name.
    """
    function = _exercise(name).solution
    signature = f"{function.__name__}{inspect.signature(function)}"
    return f"{name}\n\n{signature}\n\n{inspect.getdoc(function)}"


def solution(name: str) -> str:
    """One way to write it, as source text that needs `numpy as np` and, where it says so, `ops`.

    Where it calls a definition of the package, that follows as a comment. Raises ValueError for an
    unknown name.
    """
    exercise = _exercise(name)
    return inspect.getsource(exercise.solution) + "".join(map(_as_comment, exercise.shown))


def _as_comment(function):
    """Where a function of the package is, and its text."""
    lines = inspect.getsource(function).splitlines()
    where = inspect.unwrap(function).__module__.replace(".", "/")
    return "\n".join(["", "", f"# {where}.py:", "#", *(f"# {line}".rstrip() for line in lines), ""])


def _exercise(name):
    if name in _ALL:
        return _ALL[name]
    text = str(name)
    near = [known for known in _ALL if text and text in known] or nearest(text, _ALL, count=3)
    about = f"near it are {', '.join(near)}" if near else "none is near it"
    raise ValueError(f"there is no exercise {text!r}: {about}; mvit_np.course.names() lists all")
