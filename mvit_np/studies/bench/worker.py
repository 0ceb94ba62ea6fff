"""The process that `run_in_subprocess` starts: `python -m mvit_np.studies.bench.worker TASK`.

TASK and the answer are JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

import numpy as np

from ...backend import tiles
from ...weights import load
from . import accuracy, machine, memory, runtimes, timing, workloads


def main(task: dict[str, Any]) -> dict[str, Any]:
    """Make the calls: "time", "memory" or "export" says what of."""
    workload = workloads.Workload(**task.pop("workload"))
    whats: dict[str, Callable[..., Any]] = {"time": _times, "memory": _memory, "export": _export}
    what = whats[task.pop("what")]
    with tiles.use_threads(task["threads"]), redirect_stdout(sys.stderr):  # the answer goes there
        return what(workload, **task)


def _times(workload, threads, rounds, whos, files):
    """{"by": {who: seconds a call}, "off": {who: error}, "others": cores they took}

    See `timing.alternate`. An error is the relative one of a forward pass's logits against ours.
    """
    results: dict[str, Any] = {}
    calls = {who: _kept(results, who, _call(who, workload, threads, files)) for who in whos}
    before = machine.cpu_times()
    seconds = timing.alternate(calls, rounds)
    others = machine.others(before, machine.cpu_times())
    return {"others": others, "by": seconds, "off": _off(workload, results)}


def _kept(results, who, call):
    def run():
        results[who] = call()

    return run


def _off(workload, results):
    if workload.mode != "forward":
        return {}
    logits = {who: np.asarray(result) for who, result in results.items()}
    ours = logits.pop("mvit_np")
    return {who: accuracy.relative_error(theirs, ours) for who, theirs in logits.items()}


def _memory(workload, threads, who, calls, files):
    """See `memory.measure`."""
    if who == "torch":
        from . import peers

        peers.versions()  # imports it
    elif who in runtimes.TITLES:
        runtimes.version(who)
    imported, _ = memory.resident_bytes()
    if who == "torch":
        call = peers.torch_call(workload, threads)  # ours would count as its memory
    else:
        call = _call(who, workload, threads, files)
    seconds = [_timed(call) for _ in range(calls)]
    return {"peak_bytes": memory.resident_bytes()[1], "import_bytes": imported, "seconds": seconds}


def _export(workload, threads, files):
    from . import peers

    peers.export(workload, _loaded(files), files["onnx"])


def _loaded(files):
    return load(files["weights"])[0]


def _call(who, workload, threads, files):
    """A function of no arguments."""
    if who in runtimes.TITLES:
        clips, _ = workloads.examples(workload)
        return runtimes.runtime_call(who, files["onnx"], clips, threads)
    if who == "torch":
        from . import peers

        return peers.torch_call(workload, threads, _loaded(files))
    call = workloads.mvit_call(workload, _loaded(files))
    return workloads.plain_call(call, threads) if who == "plain" else call


def _timed(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(json.loads(sys.argv[1]))))
