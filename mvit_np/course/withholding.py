"""Where solutions are not shown: in a working copy that a teacher laid out so, or on a machine.

This keeps a solution out of a student's sight, and not out of reach: the installed package is
Python, and holds every solution as source text.
"""

from __future__ import annotations

import os
from pathlib import Path

MARKER = "NO_SOLUTIONS.txt"  # in a working copy, or in a folder above it
VARIABLE = "MVIT_NP_SOLUTIONS"  # "no" withholds them wherever Python runs
TEXT = (
    "In this folder course.solution(...) and hints=4 show no solution.\n"
    "A teacher who wants them shown deletes this file.\n"
)


def withheld(name: str) -> str:
    """A comment that says why the solution of an exercise is not shown here; "" where it is.

    Raises ValueError for another value of the environment's variable than "no", "yes" or nothing.
    """
    said = os.environ.get(VARIABLE, "")
    if said not in ("", "yes", "no"):
        rule = f'{VARIABLE} is "yes", "no" or nothing'
        raise ValueError(f"{rule}; the environment says {said!r}: set it to one of them")
    here = Path.cwd()
    if said == "no" or any((folder / MARKER).is_file() for folder in (here, *here.parents)):
        return f"# {name}: the solutions are withheld here; ask your teacher for this one"
    return ""
