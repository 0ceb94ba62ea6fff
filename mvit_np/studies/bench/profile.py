"""Where the time goes: every op of a call, its calls, its time and how far it is from its floor."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from ...autodiff.hooks import watching
from ...backend import tree as trees
from . import roofline
from .workloads import Workload, mvit_call, training

REST = "between ops"
Totals = MutableMapping[tuple[str, str], list[float]]  # {(op, phase): [calls, seconds, floor]}


def profile(workload: Workload, roof: Mapping[str, float], runs: int = 3) -> dict[str, Any]:
    """{"wall_s", "rows"} of a call, means over `runs`; rows: op, phase, calls, seconds, floor_s.

    Longest first; the last row is what passes between ops, and the parts sum to the whole. An op
    inside another (in checkpointed and reversible blocks) counts in its own row alone.

    roof   {"flops_per_s", "bytes_per_s"}, see `roofline`
    """
    totals: Totals = defaultdict(lambda: [0, 0.0, 0.0])  # calls, seconds, floor
    call = _watched(workload, roof, totals)
    call()
    totals.clear()
    start = time.perf_counter()
    for _ in range(runs):
        call()
    wall = (time.perf_counter() - start) / runs
    rows: list[dict[str, Any]] = [
        {"op": op, "phase": phase}
        | {"calls": calls / runs, "seconds": seconds / runs, "floor_s": floor / runs}
        for (op, phase), (calls, seconds, floor) in totals.items()
    ]
    rows.sort(key=lambda row: -row["seconds"])
    rest = max(wall - sum(row["seconds"] for row in rows), 0.0)
    rows.append({"op": REST, "phase": "", "calls": None, "seconds": rest, "floor_s": None})
    return {"wall_s": wall, "rows": rows}


def _watched(workload, roof, totals):
    """The workload's call, which adds what its ops take to `totals`."""
    seen = watcher(roof, totals)
    if workload.mode == "forward":
        return _inside(mvit_call(workload), seen)
    gradients, update = training(workload)
    gradients = _inside(gradients, seen)

    def step():
        _, grads = gradients()
        start = time.perf_counter()
        update(grads)
        seconds = time.perf_counter() - start
        # reads p, g and two means, writes all but g
        moved = 7 * sum(g.nbytes for g in trees.leaves(grads))
        _add(totals["adamw", "update"], seconds, roofline.floor_s((0, moved), roof))

    return step


def _inside(call, seen):
    def run():
        with watching(seen):
            return call()

    return run


def watcher(
    roof: Mapping[str, float], totals: Totals, clock: Callable[[], float] = time.perf_counter
) -> Callable[..., None]:
    """A function for `hooks.watching` that adds to totals[op, phase] = [calls, seconds, floor]."""
    ended: list[tuple[float, float]] = []  # calls that none encloses so far: (halfway, seconds)

    def seen(name, phase, seconds, args, static, result):
        start, inner = clock() - seconds, 0.0
        while ended and ended[-1][0] > start:  # more than half of it lies in this one
            inner += ended.pop()[1]
        ended.append((start + seconds / 2, seconds))

        forward = phase == "forward"
        if forward:
            work = roofline.forward_work(name, args, result[0])
        else:
            work = roofline.backward_work(name, args, result)
        floor = 0.0 if inner else roofline.floor_s(work, roof)  # the ops inside have their own
        _add(totals[name, phase], seconds - inner, floor)

    return seen


def _add(total, seconds, floor):
    total[0] += 1
    total[1] += seconds
    total[2] += floor
