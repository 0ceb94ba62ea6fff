"""Device memory of a call of ours: what its arrays took, and what CuPy's pools took for them."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any


def weighed(
    xp: Any, build: Callable[[], Callable[[], Any]]
) -> tuple[Callable[[], Any], dict[str, int]]:
    """(call, {"peak_bytes", "reserved_bytes"}) of `build() -> call`; a first call is not weighed.

    A graph keeps a pool of its own, which counts as a whole: nobody else can use it.
    """
    pool, counter = xp.get_default_memory_pool(), allocations(xp)
    gc.collect()
    pool.free_all_blocks()
    used, held = pool.used_bytes(), pool.total_bytes()
    with counter:
        call = build()
        call()
    elsewhere = max(
        counter.taken - (pool.total_bytes() - held), 0
    )  # of pools beside the common one
    gc.collect()
    pool.free_all_blocks()
    stays, counter = pool.used_bytes() - used, allocations(xp)
    with counter:
        call()
    peak = stays + counter.most + elsewhere
    # Where parts of old blocks are taken again, less is reserved than is in use.
    reserved = pool.total_bytes() - held + elsewhere
    return call, {"peak_bytes": peak, "reserved_bytes": max(reserved, peak)}


def allocations(xp: Any) -> Any:
    """A hook of CuPy's: between `with` and its end, bytes that arrays take.

    now, most   in use, more than at the start: now, and at most until now
    taken       from the device, by all pools
    """

    class Allocations(xp.cuda.MemoryHook):  # type: ignore[name-defined]
        name = "mvit_np.studies.bench"
        now = most = taken = 0

        def malloc_postprocess(self, *, mem_size, pmem_id, **_):
            self.now += mem_size if pmem_id else 0  # 0: there was none
            self.most = max(self.most, self.now)

        def free_postprocess(self, *, mem_size, **_):
            self.now -= mem_size

        def alloc_postprocess(self, *, mem_size, mem_ptr, **_):
            self.taken += mem_size if mem_ptr else 0

    return Allocations()
