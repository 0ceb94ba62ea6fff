"""Exercises for the notebooks: write a function, and `check` tells whether it is right, or why not.

    from mvit_np import exercises
    print(exercises.statement("03.softmax_backward"))   # what to write
    exercises.check("03.softmax_backward", my_function)  # is it right?
    print(exercises.solution("03.softmax_backward"))     # one way to write it

Some answers are pieces of a whole model. They add up in a file of the reader's:

    exercises.keep("my_mvit.py", cube_embed, max_pool)   # the right ones go into the file
    exercises.check_model("my_mvit.py")                  # the pieces so far beside mv.forward
    forward = exercises.assemble("my_mvit.py")           # forward(params, clip, config)
    exercises.gradients("my_mvit.py", "tape")            # and back, in one of three ways

Names begin with the notebook's number. `add` registers an exercise of one's own. `import mvit_np`
does not load this package.
"""

from __future__ import annotations

import inspect
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..backend.plain_text import nearest
from ..backend.types import FilePath
from . import (
    chapter_00,
    chapter_01,
    chapter_02,
    chapter_02b,
    chapter_03a,
    chapter_03b,
    chapter_03c,
    chapter_03d,
    chapter_04,
    chapter_04b,
    chapter_04c,
    chapter_05a,
    chapter_05b,
    chapter_05c,
    chapter_05d,
    chapter_06a,
    chapter_06b,
    chapter_06c,
    chapter_06d,
    chapter_06e,
    chapter_06f,
    chapter_06g,
    chapter_06h,
    chapter_06i,
    chapter_06j,
    chapter_06k,
    chapter_06l,
    chapter_07a,
    chapter_07b,
    chapter_08a,
    chapter_08b,
    chapter_09a,
    chapter_09b,
    chapter_10a,
    chapter_10b,
    chapter_11a,
    chapter_11b,
)
from .checker import LEVELS, SEEDS, Exercise, Result, examine
from .keep import put
from .my_mvit import BACKWARDS, PIECES, answers_in, function_name, is_piece, linked
from .own_exercise import check_new
from .ways import WAYS
from .ways import gradients as gradients_of
from .whole import compared
from .withholding import withheld

__all__ = [
    "add", "assemble", "check", "check_model", "exercise", "gradients", "keep", "names", "piece",
    "pieces", "solution", "statement", "Exercise", "LEVELS", "Result", "WAYS",
]  # fmt: skip

_CHAPTERS = (
    chapter_00, chapter_01, chapter_02, chapter_02b, chapter_03a, chapter_03b, chapter_03c,
    chapter_03d, chapter_04, chapter_04b, chapter_04c, chapter_05a, chapter_05b, chapter_05c,
    chapter_05d, chapter_06a, chapter_06b, chapter_06c, chapter_06d, chapter_06e, chapter_06f,
    chapter_06g, chapter_06h, chapter_06i, chapter_06j, chapter_06k, chapter_06l, chapter_07a,
    chapter_07b, chapter_08a, chapter_08b, chapter_09a, chapter_09b, chapter_10a, chapter_10b,
    chapter_11a, chapter_11b,
)  # fmt: skip
_ALL = {
    f"{chapter.__name__.partition('chapter_')[2][:2]}.{exercise.solution.__name__}": exercise
    for chapter in _CHAPTERS
    for exercise in chapter.EXERCISES
}


def names(chapter: str = "", level: str = "") -> list[str]:
    """The names of all exercises in the notebooks' order, or of one notebook's: names("03").

    level  one of LEVELS, for the exercises of that level alone

    Raises ValueError for another level.
    """
    if level and level not in LEVELS:
        raise ValueError(f"the levels are {', '.join(LEVELS)}; came {level!r}: name one of them")
    of_level = [name for name, each in _ALL.items() if level in ("", each.level)]
    return [name for name in of_level if name.startswith(chapter)]


def exercise(name: str) -> Exercise:
    """An exercise by its name: `exercise("03.softmax").level`.

    Raises ValueError for an unknown name.
    """
    if name in _ALL:
        return _ALL[name]
    text = str(name)
    near = [known for known in _ALL if text and text in known] or nearest(text, _ALL, count=3)
    about = f"near it are {', '.join(near)}" if near else "none is near it"
    raise ValueError(f"there is no exercise {text!r}: {about}; mvit_np.course.names() lists all")


def add(name: str, new: Exercise) -> None:
    """Add an exercise of one's own, until Python ends: `check(name, ...)` and the others know it.

    name  a chapter's two digits, a point, and the name of the solution: "12.my_function"

    Raises ValueError for a name of another form, for one that is taken, for fewer than three known
    mistakes, and where the solution does not pass its own check or a mistake does.
    """
    check_new(name, new, _ALL)
    _ALL[name] = new


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
    return examine(name, exercise(name), function, seed, hints, _ALL)


def statement(name: str) -> str:
    """What to write: the level, the signature, what goes in and out with shapes, a hint; or what
    to mend.

    Raises ValueError for an unknown name.
    """
    known = exercise(name)
    function, given = known.solution, known.given
    signature = f"{function.__name__}{inspect.signature(function)}"
    lines = inspect.getsource(given).replace(given.__name__, function.__name__) if given else ""
    head = f"{name} ({known.level})"
    return f"{head}\n\n{signature}\n\n{inspect.getdoc(function)}\n\n{lines}".rstrip()


def solution(name: str) -> str:
    """One way to write it, as source text that needs `numpy as np` and, where it says so, `ops`,
    `plan`, `costs`, `MViTConfig` of `mvit_np`, `prod`, `replace`, or answers to earlier exercises.

    Where it calls a definition of the package, that follows as a comment. Where a teacher withholds
    solutions, a comment says so instead. Raises ValueError for an unknown name.
    """
    known = exercise(name)
    if told := withheld(name):
        return told
    return inspect.getsource(known.solution) + "".join(map(_as_comment, known.shown))


def pieces(backward: bool = False) -> list[str]:
    """The names of the exercises whose answers make a whole model, in the order of the chapters.

    backward  for those that make its way back
    """
    return list(BACKWARDS if backward else PIECES)


def piece(name: str, answers: Any) -> Callable:
    """The reader's function for an exercise, or one that does the same where there is none yet.

    answers: as `assemble` takes them; they hold pieces alone, so not 03.softmax_backward, which
    has the function name of 06's. Raises ValueError for an unknown name.
    """
    own = answers_in(answers).get(function_name(name)) if is_piece(name) else None
    return own or exercise(name).solution


def assemble(answers: Any) -> Callable:
    """forward(params, clip, config) of the reader's pieces; printed solutions stand in for others.

    answers: a file or module with functions of the pieces' names, or a dictionary of functions by
    the exercises' names. None of them is checked here: see `check_model`. The result serves models
    of the preset `mvit_micro`'s kind, with a class token, separate positions and conv pools, and
    may be traced by `mv.value_and_grad`.
    """
    return linked(answers_in(answers), _ALL)["forward"]


def gradients(answers: Any, way: str = "autograd") -> Callable:
    """(params, clip, labels, config) -> (loss, gradients) of the reader's model.

    answers: as `assemble` takes them
    way: one of WAYS. "autograd" follows the lines of the forward pieces; "backward" calls the
    reader's backward passes; "tape" records the forward pieces as nodes, with the backward ones to
    pull, and walks back by the reader's tape_gradients. Raises ValueError for another way.
    """
    return gradients_of(answers_in(answers), _ALL, way)


def check_model(answers: Any, *, seed: int | None = None) -> Result:
    """The reader's pieces alone, then assembled beside `mv.forward`: logits and gradients.

    answers, seed: as `assemble` and `check` take them

    Returns a Result that passes where all that is there is right; it is `finished` where no piece
    is missing. What goes wrong inside a piece is told, not raised.
    """
    return compared(answers, check, _ALL, secrets.randbelow(SEEDS) if seed is None else seed)


def keep(file: FilePath, *functions: Callable) -> Result:
    """Add answers that are pieces of the model, and right, to a file such as my_mvit.py.

    An earlier version of a function is replaced, and the reader's own helpers that it calls come
    with it. Returns a Result that passes where all of them were kept. Raises ValueError for a file
    that is no Python, or a function whose text is not known.
    """
    lines, kept = [], 0
    by_function = {function_name(piece): piece for piece in (*PIECES, *BACKWARDS)}
    for function in functions:
        name = getattr(function, "__name__", str(function))
        result = check(by_function[name], function) if name in by_function else None
        if result:
            put(Path(file), function)
        kept += bool(result)
        lines += [_kept_or_not(name, result, file)]
    return Result(kept == len(functions), "\n".join(lines))


def _kept_or_not(name, result, file):
    if result is None:
        return f"{name}: no piece of the model, so it is not kept; pieces() lists them"
    if result:
        return f"{name}: right, and kept in {file}"
    return f"{name}: not kept\n  " + str(result).replace("\n", "\n  ")


def _as_comment(function):
    """Where a function of the package is, and its text."""
    lines = inspect.getsource(function).splitlines()
    where = inspect.unwrap(function).__module__.replace(".", "/")
    return "\n".join(["", "", f"# {where}.py:", "#", *(f"# {line}".rstrip() for line in lines), ""])
