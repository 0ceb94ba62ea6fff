"""The process that `memory` starts: `python -m mvit_np.bench.worker TASK`, TASK and the answer being JSON."""

from __future__ import annotations

import json
import sys
import time

from .. import tiles
from . import memory, workloads


def main(task):
    """Make the calls; see `memory.measure`."""
    workload, threads = workloads.Workload(**task["workload"]), task["threads"]
    if task["who"] == "torch":
        from . import peers

        peers.versions()  # imports it
    imported, _ = memory.resident_bytes()
    with tiles.use_threads(threads):
        call = workloads.ours(workload) if task["who"] == "mvit_np" else peers.theirs(workload, threads)
        seconds = [_timed(call) for _ in range(task["calls"])]
    return {"peak_bytes": memory.resident_bytes()[1], "import_bytes": imported, "seconds": seconds}


def _timed(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(json.loads(sys.argv[1]))))
