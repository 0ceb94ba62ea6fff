"""Time by the device's own clock: events in its queue before and after calls."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ....backend.types import Array

Call = Callable[[], Any]
TURN_S = 0.2  # a turn lasts about so long: short calls are repeated
MOST = 100  # calls in a turn
# calls before each turn that do not count: memory that others gave back in between is fetched again
WARM = 2


@dataclass(frozen=True)
class Side:
    """How one library's calls are timed and weighed.

    seconds   (call, count) -> seconds a call, of so many in a row
    weighed   (build) -> (call, {"peak_bytes", "reserved_bytes"}): builds a call and makes it twice;
              the memory is that of the second time, with all that stays from building it
    release   gives memory back that is kept for later
    fetch     a call's result as a NumPy array
    """

    seconds: Callable[[Call, int], float]
    weighed: Callable[[Callable[[], Call]], tuple[Call, dict[str, int]]]
    release: Callable[[], Any]
    fetch: Callable[[Any], Array]


def between(
    event: Callable[[], Any], elapsed_ms: Callable[[Any, Any], float], call: Call, count: int
) -> float:
    """Seconds a call, `count` in a row, by events: `event()` and `elapsed_ms(start, end)`."""
    start, end = event(), event()
    start.record()
    for _ in range(count):
        call()
    end.record()
    end.synchronize()
    return elapsed_ms(start, end) / 1e3 / count


def turn(side: Side, call: Call, count: int) -> float:
    """Seconds a call in a turn of its own."""
    for _ in range(WARM):
        call()
    return side.seconds(call, count)


def calls_in_a_turn(side: Side, call: Call, turn_s: float | None = None) -> int:
    """How many calls a turn of so many seconds takes."""
    wanted = TURN_S if turn_s is None else turn_s
    return min(MOST, max(1, math.ceil(wanted / max(turn(side, call, 1), 1e-6))))
