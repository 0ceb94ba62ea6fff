"""The machine: what it is, what it can do at best, and whether it is busy with something else."""

from __future__ import annotations

import datetime
import os
import platform
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

BUSY = 0.1  # cores that others take, from which on a warning is due
# columns of /proc/stat: user, nice, system, irq, softirq, and what other guests steal
COUNTED = (0, 1, 2, 5, 6, 7)


def describe() -> dict[str, Any]:
    """What ran here and when, as a dict of words and numbers."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "date": datetime.date.today().isoformat(),
        "cpu": _cpu_model(),
        "cores": len(cores()),
        "memory_bytes": _memory_bytes(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip(),
    }


def cores() -> list[int]:
    """The numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _cpu_model():
    """As the system calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _memory_bytes():
    """None where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


# -- at best ---------------------------------------------------------------------------------------


def product_flops_per_s(
    threads: int, dtype: str = "float32", size: int = 2048, repeats: int = 6
) -> float:
    """The roof: the best of some products of square matrices on so many threads.

    By BLAS; a multiply-add is two operations.
    """
    a, b = np.random.default_rng(0).standard_normal((2, size, size)).astype(dtype)
    out = np.empty_like(a)
    with blas_threads(threads):
        return 2 * size**3 / min(_seconds(lambda: np.matmul(a, b, out=out)) for _ in range(repeats))


def blas_threads(count: int) -> Any:
    """A context in which BLAS uses so many threads."""
    return threadpool_limits(count, user_api="blas")


def copy_bytes_per_s(threads: int, size: int = 1 << 28, repeats: int = 4) -> float:
    """Bytes read and written per second by copies of `size` bytes, one part per thread.

    `size` is more than caches hold.
    """
    source, target = np.ones(size, np.uint8), np.empty(size, np.uint8)
    parts = np.array_split(target, threads), np.array_split(source, threads)
    with ThreadPoolExecutor(threads) as pool:
        seconds = [_seconds(lambda: list(pool.map(np.copyto, *parts))) for _ in range(repeats)]
    return 2 * size / min(seconds)


def _seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


# -- busy? -----------------------------------------------------------------------------------------

Clocks = tuple[float, float, float]  # seconds, see `cpu_times`


def cpu_times() -> Clocks | None:
    """Seconds until now: (work on our cores, our own and that of children that ended, wall clock).

    None where the system keeps no such account (/proc/stat).
    """
    try:
        account = Path("/proc/stat").read_text()
    except OSError:
        return None
    ticks = busy_ticks(account, cores())
    return ticks / os.sysconf("SC_CLK_TCK"), sum(os.times()[:4]), time.monotonic()


def busy_ticks(account: str, numbers: Iterable[int]) -> int:
    """Ticks of work on the cores of these numbers, by the text of /proc/stat."""
    wanted, total = {f"cpu{number}" for number in numbers}, 0
    for name, *ticks in (line.split() for line in account.splitlines() if line.strip()):
        total += sum(int(ticks[i]) for i in COUNTED) if name in wanted else 0
    return total


def others(before: Clocks | None, after: Clocks | None) -> float | None:
    """How many cores others kept busy between two `cpu_times`, such as 0.25; None if unknown."""
    if before is None or after is None:
        return None
    busy, own, wall = (b - a for a, b in zip(before, after))
    return max(busy - own, 0.0) / max(wall, 1e-9)


def others_now(seconds: float = 0.5) -> float | None:
    """The same while this process sleeps for a moment."""
    before = cpu_times()
    time.sleep(seconds if before else 0)
    return others(before, cpu_times())


def busy_warning(taken: float | None) -> str | None:
    """A sentence where others take more than a tenth of a core, else None."""
    if taken is None or taken <= BUSY:
        return None
    return (
        f"the machine is busy: others take {taken:.1f} cores, so times are too long and spread; "
        "run it on an idle one"
    )
