"""Wall time, side by side: whatever happens to the machine happens to all that is compared."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TURN_S = 0.1  # a turn lasts at least so long: short calls are repeated
PAUSE_S = 0.05  # before a turn: idle threads of the one before go on spinning for some 30 ms


@dataclass(frozen=True)
class Times:
    """Seconds a call: the median over so many turns, and the quartiles."""

    median_s: float
    low_s: float
    high_s: float
    turns: int


def alternate(
    functions: Mapping[str, Callable[[], Any]],
    rounds: int,
    turn_s: float = TURN_S,
    pause_s: float = PAUSE_S,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """{name: seconds a call in each turn} of {name: function of no arguments}.

    Each is called once to warm up and once to see how long it takes; then all have a turn in every
    round, in order. Garbage is collected before each turn, so that nobody pays for another's.
    Raises ValueError for fewer than 1 round.
    """
    if rounds < 1:
        raise ValueError(f"times are taken in at least 1 round; came {rounds}: give 1 or more")
    calls = {name: _calls(function, turn_s, clock) for name, function in functions.items()}
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            gc.collect()
            time.sleep(pause_s)
            seconds[name].append(_turn(function, calls[name], clock))
    return seconds


def summary(seconds: Sequence[float]) -> Times:
    """`Times` of the turns' seconds a call; of two turns or one the quartiles are the ends."""
    ordered = sorted(seconds)
    low, median, high = ordered[0], statistics.median(ordered), ordered[-1]
    if len(ordered) > 2:
        low, median, high = statistics.quantiles(ordered, n=4, method="inclusive")
    return Times(median, low, high, len(ordered))


def _calls(function, turn_s, clock):
    function()
    return max(1, math.ceil(turn_s / max(_turn(function, 1, clock), 1e-6)))


def _turn(function, calls, clock):
    """Seconds a call."""
    start = clock()
    for _ in range(calls):
        function()
    return (clock() - start) / calls
