"""Time and memory against the length and the size of the clip, beside the counted multiply-adds."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ...model.costs import costs
from . import memory
from .stored import stored
from .workloads import MODES, Workload

FRAMES, SIZES = (8, 16, 32, 64), (112, 160, 224, 288, 320)  # pixels
CALLS = 4  # of which the first warms up


def sweep(
    preset: str, frames: Iterable[int] = FRAMES, sizes: Iterable[int] = SIZES
) -> list[tuple[str, Workload]]:
    """[(axis, Workload)]: the preset at each number of frames, then at each size."""
    longer = [("frames", Workload(preset, frames=count)) for count in frames]
    return longer + [("size", Workload(preset, size=size)) for size in sizes]


def point(
    axis: str, workload: Workload, threads: int, modes: Iterable[str] = MODES, calls: int = CALLS
) -> dict[str, Any]:
    """A point as a dict: axis, frames, size; macs and kept_bytes; {median_s, ...} for each mode.

    macs are a forward pass's, kept_bytes what a step keeps for its backward pass; peak_bytes and
    import_bytes, see `memory`.
    """
    config = workload.config
    account = costs(config)
    found = {"axis": axis, "frames": config.frames, "size": config.size_hw[0], "macs": account.macs}
    found["kept_bytes"] = account.activation_bytes
    with stored(workload) as files:
        for mode in modes:
            call = replace(workload, mode=mode)
            measured = memory.measure(call, "mvit_np", threads, files, calls)
            times = measured["seconds"][1:] or measured["seconds"]
            sizes = {name: measured[name] for name in ("peak_bytes", "import_bytes")}
            found[mode] = {"median_s": statistics.median(times), **sizes}
    return found
