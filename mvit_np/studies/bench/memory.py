"""Peak memory: each workload in a process of its own, so that nothing else is counted."""

from __future__ import annotations

import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .subprocess_task import run_in_subprocess
from .workloads import Workload

STEPS = 2  # the second finds AdamW's running means in memory


def measure(
    workload: Workload, who: str, threads: int, files: dict[str, str], calls: int = STEPS
) -> dict[str, Any]:
    """What a fresh process that makes so many calls tells, as a dict:

    peak_bytes     the most that was ever resident
    import_bytes   resident once the libraries were imported
    seconds        of each call

    who     "mvit_np", or one of `suite.PEERS`
    files   of `stored.stored`
    Raises ChildProcessError where the process fails, such as for want of memory.
    """
    task = {"workload": asdict(workload), "who": who, "threads": threads, "calls": calls}
    task["files"] = files
    return run_in_subprocess("memory", task, f"{workload.title} ({who})")


def resident_bytes() -> tuple[int, int]:
    """(now, at most until now) of this process."""
    try:
        status = Path("/proc/self/status").read_text()
        lines = (re.search(rf"{name}:\s+(\d+) kB", status) for name in ("VmRSS", "VmHWM"))
        now, peak = (line[1] for line in lines)  # type: ignore[index]
        return int(now) << 10, int(peak) << 10
    except (OSError, TypeError):  # no such file, no such line: then the most is all that is known
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak *= 1 if sys.platform == "darwin" else 1 << 10
        return peak, peak
