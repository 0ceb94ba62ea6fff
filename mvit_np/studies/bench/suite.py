"""What is measured, and the dict of plain numbers that comes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from ...backend import tiles
from . import accuracy, machine, memory, profile, scaling, timing
from .subprocess_task import run_in_subprocess
from .workloads import Workload

# So many share the turns of a case: where a process's arrays come to lie changes its times by a
# tenth.
PROCESSES = 3


@dataclass(frozen=True)
class Case:
    """A workload to time and weigh, and the ratios to torch (ours / torch's) to stay under."""

    workload: Workload
    time_aim: float | None = None
    memory_aim: float | None = None


@dataclass(frozen=True)
class Plan:
    """What to measure: cases; workloads to compare and to profile; the preset of a scaling run."""

    cases: tuple[Case, ...]
    accuracy: tuple[Workload, ...] = ()
    profiles: tuple[Workload, ...] = ()
    scaling: str | None = None


@dataclass(frozen=True)
class Settings:
    """How to measure."""

    threads: int
    rounds: int = 6
    against: bool = False  # torch too


B, B_STEP = Workload("mvit_b_16x4"), Workload("mvit_b_16x4", "step")
V2, V2_STEP = Workload("mvitv2_s_16x4"), Workload("mvitv2_s_16x4", "step")
MICRO = Workload("mvit_micro", "step", batch=8)

PAGE = Plan(  # docs/performance.md
    cases=(
        Case(B, time_aim=0.8),
        Case(replace(B, batch=4), time_aim=0.7),
        Case(B_STEP, time_aim=1.0, memory_aim=0.7),
        Case(replace(B_STEP, checkpoint=True)),
        Case(V2, time_aim=0.8),
        Case(V2_STEP, time_aim=1.0),
        Case(MICRO, time_aim=1.0),
        Case(replace(MICRO, batch=32), time_aim=1.0),
    ),
    accuracy=(B_STEP, V2_STEP),
    profiles=(B, B_STEP),
    scaling="mvit_b_16x4",
)


def run(
    plan: Plan,
    settings: Settings,
    command: str,
    progress: Callable[[str], Any] = lambda words: None,
) -> dict[str, Any]:
    """Measure it all: a dict that JSON can hold.

    command    what the user typed, for the record
    progress   called with words before each part, and with a warning where the machine is busy
    Raises ImportError or ValueError at once where torch, or a model of its, is missing.
    """
    versions = _versions(plan) if settings.against else {}
    with tiles.use_threads(settings.threads):
        progress("looking at the machine")
        idle = machine.others_now()
        if warning := machine.busy_warning(idle):
            progress(warning)
        roof = _roof(plan.cases[0].workload.dtype, settings.threads)
        start = {
            "command": command,
            "machine": machine.describe() | versions,
            **asdict(settings),
            "roof": roof,
        }
        return start | {
            "idle_others": idle,
            "cases": [_case(case, settings, progress) for case in plan.cases],
            "accuracy": [_accuracy(workload, settings, progress) for workload in plan.accuracy],
            "profiles": [_profile(workload, roof, progress) for workload in plan.profiles],
            "scaling": _scaling(plan.scaling, settings, progress),
        }


def _versions(plan):
    from . import peers

    for workload in {case.workload.preset: case.workload for case in plan.cases}.values():
        peers.check_known(workload.config)
    return peers.versions()


def _roof(dtype, threads):
    best = {
        "flops_per_s": machine.product_flops_per_s(threads, dtype),
        "bytes_per_s": machine.copy_bytes_per_s(threads),
    }
    return {"dtype": dtype, **best}


def _case(case, settings, progress):
    workload = case.workload
    progress(f"{workload.title}: time")
    tasks = [{"workload": asdict(workload), **asdict(part)} for part in _shared_out(settings)]
    runs = [run_in_subprocess("time", task, workload.title) for task in tasks]
    others = max((run["others"] for run in runs if run["others"] is not None), default=None)
    if warning := machine.busy_warning(others):
        progress(warning)
    times = {
        who: timing.summary([s for run in runs for s in run["by"][who]]) for who in runs[0]["by"]
    }
    progress(f"{workload.title}: memory")
    by = {who: asdict(times[who]) for who in times}
    for who, found in by.items():
        measured = memory.measure(workload, who, settings.threads)
        found |= {name: measured[name] for name in ("peak_bytes", "import_bytes")}
    return {
        "title": workload.title,
        **asdict(case),
        "macs": workload.macs,
        "others": others,
        "by": by,
    }


def _shared_out(settings):
    """Settings for each process, with its part of the rounds."""
    parts = min(PROCESSES, settings.rounds)
    ends = [settings.rounds * i // parts for i in range(parts + 1)]
    return [replace(settings, rounds=b - a) for a, b in zip(ends, ends[1:])]


def _accuracy(workload, settings, progress):
    progress(f"{workload.title}: accuracy")
    return {
        "title": workload.preset,
        "by": accuracy.accuracy(workload, settings.threads, settings.against),
    }


def _profile(workload, roof, progress):
    progress(f"{workload.title}: profile")
    return {"title": workload.title, **profile.profile(workload, roof)}


def _scaling(preset, settings, progress):
    if preset is None:
        return None
    points = []
    for axis, workload in scaling.sweep(preset):
        progress(f"{workload.title}: scaling")
        try:
            points.append(scaling.point(axis, workload, settings.threads))
        except ChildProcessError as problem:  # the longest may not fit: the others are worth having
            progress(str(problem))
    return {"preset": preset, "points": points} if points else None
