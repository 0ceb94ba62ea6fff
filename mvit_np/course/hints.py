"""How much a refusal says: 1 where it goes wrong, 2 and what kind of mistake it looks like, 3 and
the line of the derivation, 4 and one solution.
"""

from __future__ import annotations

import inspect
from typing import Any

LAST = 4
NEXT = {
    1: "what kind of mistake it looks like",
    2: "the line of the derivation",
    3: "one solution",
}


def check_step(hints: int) -> None:
    """Raise ValueError for a number that is no step."""
    if isinstance(hints, bool) or hints not in (*NEXT, LAST):
        steps = "hints are given in steps from 1 (where) to 4 (one solution)"
        raise ValueError(f"{steps}; came {hints!r}: give one of them")


def after(hints: int, withheld: str = "") -> list[str]:
    """The line that says how to get the next step, none after the last.

    withheld  why solutions are not shown here, "" where they are: the last step is not offered then
    """
    if withheld and hints == LAST - 1:
        return []
    return [f"  a hint: hints={hints + 1} adds {NEXT[hints]}"] if hints in NEXT else []


def formula(exercise: Any, what: str) -> list[str]:
    """The lines of the statement that derive one result; all lines where none is named."""
    lines = (inspect.getdoc(exercise.solution) or "").splitlines()
    of_it = [line for line in lines if what and f"{what} =" in line]
    return ["  from the derivation:", *(f"    {line}".rstrip() for line in of_it or lines)]
