"""The process that `run_in_subprocess` starts: `python -m mvit_np.studies.bench.worker TASK`.

TASK and the answer are JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from ...backend import tiles
from . import machine, memory, timing, workloads


def main(task: dict[str, Any]) -> dict[str, Any]:
    """Make the calls: "time" or "memory" says what of."""
    workload = workloads.Workload(**task.pop("workload"))
    with tiles.use_threads(task["threads"]):
        measures: dict[str, Callable[..., Any]] = {"time": _times, "memory": _memory}
        return measures[task.pop("what")](workload, **task)


def _times(workload, threads, rounds, against):
    """{"by": {who: seconds a call}, "others": cores they took}; see `timing.alternate`."""
    calls = {"mvit_np": workloads.mvit_call(workload)}
    if against:
        from . import peers

        calls["torch"] = peers.torch_call(workload, threads, workloads.parameters(workload))
    before = machine.cpu_times()
    seconds = timing.alternate(calls, rounds)
    return {"others": machine.others(before, machine.cpu_times()), "by": seconds}


def _memory(workload, threads, who, calls):
    """See `memory.measure`."""
    if who == "torch":
        from . import peers

        peers.versions()  # imports it
    imported, _ = memory.resident_bytes()
    if who == "mvit_np":
        call = workloads.mvit_call(workload)
    else:
        call = peers.torch_call(workload, threads)
    seconds = [_timed(call) for _ in range(calls)]
    return {"peak_bytes": memory.resident_bytes()[1], "import_bytes": imported, "seconds": seconds}


def _timed(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(json.loads(sys.argv[1]))))
