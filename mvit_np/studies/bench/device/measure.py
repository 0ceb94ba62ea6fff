"""One call by several hands: weighed one after the other, then timed in turns."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from .. import timing
from . import clock


def measured(
    contestants: Mapping[str, tuple[clock.Side, Callable[[], clock.Call]]],
    rounds: int,
    tell: Callable[[str], Any] = lambda words: None,
) -> dict[str, dict[str, Any]]:
    """{who: what was found} of {who: (side, build)}, where `build() -> call`.

    Found are median_s, low_s, high_s, turns, peak_bytes, reserved_bytes and `size`, the root mean
    square of the call's result, by which one sees whether all compute the same. Who fails, such as
    for want of memory, has {"failed": why}; others go on.
    """
    found: dict[str, dict[str, Any]] = {}
    calls = {}
    for who, (side, build) in contestants.items():
        tell(f"{who}: memory")
        weighed, why = attempt(partial(_weighed, side, build))
        found[who] = weighed[1] if weighed else {"failed": why}
        if weighed:
            calls[who] = weighed[0]
        del weighed
        side.release()
    tell("time")
    return found | _timed(contestants, calls, found, rounds)


def attempt(function: Callable[[], Any]) -> tuple[Any, str]:
    """(its result, "") or (None, why it failed), so that what is left is measured all the same."""
    try:
        return function(), ""
    except Exception as problem:  # of CUDA's, of a compiler's: they share no base class
        why = words(problem)
    gc.collect()  # what the traceback held
    return None, why


def words(problem: Exception) -> str:
    """Why something failed."""
    error, said = type(problem).__name__, " ".join(str(problem).split())
    signs = ("outofmemory", "out of memory", "alloc_failed", "memoryallocation")
    if any(sign in f"{error} {said}".lower() for sign in signs):
        return "out of memory"
    return f"{error}: {said[:200]}" if said else error


def _weighed(side, build):
    call, sizes = side.weighed(build)
    squares = np.square(side.fetch(call()), dtype=np.float64)
    return call, sizes | {"size": float(np.sqrt(np.mean(squares)))}


def _timed(contestants, calls, found, rounds):
    """What was found, with times unless it failed.

    Nobody keeps memory for later while another has the turn.
    """
    seconds: dict[str, list[float]] = {who: [] for who in calls}
    counts: dict[str, int] = {}
    failed = {}
    for number in range(rounds + 1):  # the first tells how many calls a turn takes
        for who in list(calls):
            side = contestants[who][0]
            taken, why = attempt(lambda: _taken(side, calls[who], counts.get(who)))  # noqa: B023  (called at once)
            if why:
                failed[who] = {"failed": why}
                del calls[who]  # and with it the memory that it holds
            elif number == 0:
                counts[who] = taken
            else:
                seconds[who].append(taken)
            side.release()
    times = {who: found[who] | asdict(timing.summary(seconds[who])) for who in calls}
    return times | failed


def _taken(side, call, count):
    return clock.calls_in_a_turn(side, call) if count is None else clock.turn(side, call, count)
