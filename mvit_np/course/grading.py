"""Points for a working copy. Each answer runs in a process of its own, with limits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..backend.types import FilePath
from .folder import exercises_folder

SECONDS, BYTES = 20, 4 << 30  # that an answer may take
MODEL = "my_mvit"  # the line of the whole model, beside those of the exercises
STATES = "correct", "not yet", "nothing yet", "stopped"


@dataclass(frozen=True)
class Grade:
    """What an exercise got.

    state    one of STATES
    likely   the mistake that the answer looks like, "" where none is known
    message  what the student is told
    """

    exercise: str
    points: int
    of: int
    state: str
    likely: str
    message: str
    seed: int


def grade(
    folder: FilePath,
    exercises: Sequence[str],
    seed: int,
    seconds: float = SECONDS,
    on_grade: Callable[[Grade], None] | None = None,
    own: FilePath | None = None,
) -> list[Grade]:
    """The grades of a working copy, in the order of `exercises`; MODEL may be one of them.

    on_grade  called with each grade as it is there
    own       a teacher's file that adds exercises, which run in the same processes

    A process that is not done in time, takes too much memory or ends by itself is told as
    "stopped". Student code is kept apart so, and limited; it is not kept from the disk or the
    network. Raises ValueError for a folder without exercises.
    """
    place = exercises_folder(folder).resolve()

    def one(exercise):
        found = _graded(place, exercise, seed, seconds, own)
        if on_grade:
            on_grade(found)
        return found

    with ThreadPoolExecutor(max_workers=2) as pool:
        return list(pool.map(one, exercises))


def _graded(folder, exercise, seed, seconds, own):
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "grade.json"
        words = [str(folder), exercise, str(seed), str(out), str(seconds)]
        words += [str(Path(own).resolve())] if own else []
        ended = _run([sys.executable, "-m", "mvit_np.course.worker", *words], seconds)
        try:
            told = json.loads(out.read_text(encoding="utf-8"))
            parts = [told[name] for name in ("points", "state", "likely", "message")]
        except (OSError, ValueError, KeyError, TypeError):
            parts = [0, "stopped", "", f"{exercise}: {ended}"]
    points, state, likely, message = parts
    return Grade(exercise, points, 1, state, likely, message, seed)


def _run(command, seconds):
    """How a process ended, in words; it and what it started end with the time."""
    quiet: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    one_thread = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MVIT_NP_THREADS": "1"}
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.getenv("PYTHONPATH")]))
    env = {**os.environ, **one_thread, "PYTHONPATH": path}
    process = subprocess.Popen(command, env=env, start_new_session=True, **quiet)
    try:
        code = process.wait(seconds + 10)  # to start Python takes time of its own
    except subprocess.TimeoutExpired:
        return f"it was not done after {seconds:.0f} s"
    finally:
        _end(process)
    if code == -signal.SIGXCPU if hasattr(signal, "SIGXCPU") else False:
        return f"it was not done after {seconds:.0f} s"
    return f"its process ended by itself, with code {code}, before it could be graded"


def _end(process):
    """End a process and all that it started."""
    try:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except ProcessLookupError:
        pass
    process.wait()


def points(grades: Sequence[Grade]) -> tuple[int, int]:
    """(points, of how many)"""
    return sum(each.points for each in grades), sum(each.of for each in grades)
