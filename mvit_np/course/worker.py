"""One answer of a working copy, graded: python -m mvit_np.course.worker FOLDER EXERCISE SEED OUT S
[OWN], where OWN is a file that adds exercises.

`grading.py` starts it. The student's code runs here, in this process alone.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from . import check, check_model
from .folder import answer_in
from .grading import BYTES, MODEL
from .my_mvit import FILE
from .own_exercise import load


def main(folder: str, exercise: str, seed: str, out: str, seconds: str, own: str = "") -> None:
    """Write {points, state, likely, message} to the file `out`."""
    _limit(int(float(seconds)) + 1)
    try:
        if own:
            load(own)
        points, state, likely, message = _graded(Path(folder), exercise, int(seed))
    except (Exception, SystemExit) as problem:
        message = f"{exercise}: it stops with {type(problem).__name__}: {problem}"
        points, state, likely = 0, "stopped", ""
    told = {"points": points, "state": state, "likely": likely, "message": message}
    Path(out).write_text(json.dumps(told), encoding="utf-8")


def _limit(seconds):
    """Processor time and memory that this process may take, where the system can limit them."""
    try:
        import resource
    except ImportError:  # on Windows
        return
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))


def _graded(folder, exercise, seed):
    if exercise == MODEL:
        result = check_model(folder / FILE, seed=seed)
        right = bool(result and result.finished)
        state = "correct" if right else "not yet" if not result else "nothing yet"
        return int(right), state, result.likely, str(result)
    function, why = answer_in(folder, exercise)
    if function is None:
        return 0, "nothing yet", "", f"{exercise}: nothing yet, {why}"
    result = check(exercise, function, seed=seed)
    state = "correct" if result else "not yet" if result.finished else "nothing yet"
    return int(bool(result)), state, result.likely, str(result)


if __name__ == "__main__":
    main(*sys.argv[1:])
