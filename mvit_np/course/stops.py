"""Where a student's function stopped, and what stopped it, in words."""

from __future__ import annotations

import linecache
import traceback
from collections.abc import Callable


def stop(answer: Callable, problem: Exception) -> str:
    """Where the student's code raised, and what."""
    number, text = _line(answer, problem)
    where = f" at line {number}, `{text}`" if text else ""
    about = f"the function stops{where} with {type(problem).__name__}: {problem}"
    return about + ("\n  (is a keepdims=True missing?)" if "broadcast" in str(problem) else "")


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
