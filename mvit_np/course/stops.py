"""Where a student's function stopped, and what stopped it, in words."""

from __future__ import annotations

import inspect
import linecache
import re
import traceback
from collections.abc import Callable

SHAPE = r"\(([\d,]*)\)"  # as NumPy writes it


def stop(answer: Callable, problem: Exception) -> str:
    """Where the student's code raised, and what."""
    number, text = _line(answer, problem)
    where = f" at line {number}, `{text}`" if text else ""
    about = f"the function stops{where} with {type(problem).__name__}: {problem}"
    return about + ("\n  (is a keepdims=True missing?)" if _lost_axis(answer, problem) else "")


def _lost_axis(answer, problem):
    """Whether two arrays do not fit since a sum, mean or maximum has lost its axis."""
    found = re.search(rf"operands could not be broadcast .*shapes {SHAPE} {SHAPE}", str(problem))
    if not found:
        return False
    short, long = sorted((shape.split(",") for shape in map(_plain, found.groups())), key=len)
    without_one = [long[:axis] + long[axis + 1 :] for axis in range(len(long))]
    return short in without_one and any(map(_reduces, _texts(answer, problem)))


def _plain(shape):
    return shape.rstrip(",")


def _reduces(text):
    """Whether lines of code have a sum, mean or the like that does not keep its axis."""
    return re.search(r"\b(sum|mean|max|min|var|std)\((?![^()]*keepdims)", text) is not None


def _texts(answer, problem):
    """The text of each function of the student's that `problem` went through."""
    for frame, _ in _frames(answer, problem):
        try:
            yield inspect.getsource(frame.f_code)
        except OSError:  # typed where no text is kept
            yield ""


def open_ellipsis(answer: Callable, problem: Exception) -> str | None:
    """Which `...` made the student's code stop; None where it was something else."""
    variables = [frame.f_locals for frame, _ in _frames(answer, problem)]
    names = [name for known in variables for name, x in known.items() if x is ...]
    if names:
        return f"`{names[0]}` is still `...`"
    if "ellipsis" in str(problem):
        return f"a `...` is still in `{_line(answer, problem)[1]}`"
    return None


def _line(answer, problem):
    """(number, text) of the last line of the student's own code that `problem` went through."""
    frames = _frames(answer, problem)
    if not frames:
        return 0, ""
    frame, number = frames[-1]
    return number, linecache.getline(frame.f_code.co_filename, number, frame.f_globals).strip()


def _frames(answer, problem):
    """(frame, line number) pairs of the student's own file, the outermost first.

    Of what it called, where no frame is of that file.
    """
    frames = list(traceback.walk_tb(problem.__traceback__))[1:]  # the first is the checker's
    file = getattr(getattr(answer, "__code__", None), "co_filename", None)
    return [pair for pair in frames if pair[0].f_code.co_filename == file] or frames[-1:]
