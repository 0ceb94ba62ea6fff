"""What is measured, and the dict of plain numbers that comes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from ...backend import tiles
from . import accuracy, machine, memory, profile, runtimes, scaling, tables, timing
from .stored import stored
from .subprocess_task import run_in_subprocess
from .workloads import Workload

# So many share the turns of a case: where a process's arrays come to lie changes its times by a
# tenth.
PROCESSES = 3
PEERS = ("torch", *runtimes.TITLES, "plain")  # the last are our own definitions


@dataclass(frozen=True)
class Case:
    """A workload to time and weigh, and the ratios to torch (ours / torch's) to stay under."""

    workload: Workload
    time_aim: float | None = None
    memory_aim: float | None = None
    plain: bool = False  # also the definitions alone


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
    against: tuple[str, ...] = ()  # of PEERS


B, B_STEP = Workload("mvit_b_16x4"), Workload("mvit_b_16x4", "step")
V2, V2_STEP = Workload("mvitv2_s_16x4"), Workload("mvitv2_s_16x4", "step")
MICRO = Workload("mvit_micro", "step", batch=8)

PAGE = Plan(  # docs/performance.md
    cases=(
        Case(B, time_aim=0.77, plain=True),
        Case(replace(B, batch=4), time_aim=0.57),
        Case(B_STEP, time_aim=0.8, memory_aim=0.55, plain=True),
        Case(replace(B_STEP, checkpoint=True)),
        Case(replace(B_STEP, keep_hidden=True)),
        Case(V2, time_aim=0.6),
        Case(V2_STEP, time_aim=0.65),
        Case(replace(V2_STEP, keep_hidden=True)),
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
    Raises ImportError or ValueError at once where a peer, or a model of its, is missing.
    """
    versions = _versions(plan, settings.against)
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


def _versions(plan, against):
    """Of the libraries that take part."""
    names, calls = [name for name in against if name != "plain"], [c.workload for c in plan.cases]
    if not names:
        return {}
    from . import peers

    for workload in {workload.preset: workload for workload in calls}.values():
        peers.check_known(workload.config)
    served = [name for name in names if name in runtimes.TITLES]
    runtimes.check_served(served, calls)
    return peers.versions() | {name: runtimes.version(name) for name in served}


def _whos(case, against):
    """Who takes part in a case: "mvit_np" and some of PEERS."""
    absent = set(PEERS) - set(against) - ({"plain"} if case.plain else set())
    if not runtimes.serves(case.workload):
        absent |= set(runtimes.TITLES)
    return ["mvit_np", *(name for name in PEERS if name not in absent)]


def _roof(dtype, threads):
    best = {
        "flops_per_s": machine.product_flops_per_s(threads, dtype),
        "bytes_per_s": machine.copy_bytes_per_s(threads),
    }
    return {"dtype": dtype, **best}


def _case(case, settings, progress):
    workload, whos = case.workload, _whos(case, settings.against)
    with stored(workload, whos) as files:
        progress(f"{workload.title}: time")
        by, others = _times(workload, whos, files, settings)
        progress(f"{workload.title}: memory")
        for who, found in by.items():
            measured = memory.measure(workload, who, settings.threads, files)
            found |= {name: measured[name] for name in ("peak_bytes", "import_bytes")}
    start = {"title": workload.title, **asdict(case), "macs": workload.macs, "others": others}
    for warning in filter(None, (machine.busy_warning(others), tables.disagreement(start, by))):
        progress(warning)
    return start | {"by": by}


def _times(workload, whos, files, settings):
    """({who: its `Times` as a dict, and "logits_off" where known}, cores that others took)"""
    task = {"workload": asdict(workload), "threads": settings.threads, "whos": whos, "files": files}
    runs = [
        run_in_subprocess("time", task | {"rounds": rounds}, workload.title)
        for rounds in _shared_out(settings.rounds)
    ]
    others = max((run["others"] for run in runs if run["others"] is not None), default=None)
    by = {who: asdict(timing.summary([s for run in runs for s in run["by"][who]])) for who in whos}
    for who in runs[0]["off"]:
        by[who]["logits_off"] = max(run["off"][who] for run in runs)
    return by, others


def _shared_out(rounds):
    """The rounds of each process."""
    parts = min(PROCESSES, rounds)
    ends = [rounds * i // parts for i in range(parts + 1)]
    return [b - a for a, b in zip(ends, ends[1:])]


def _accuracy(workload, settings, progress):
    progress(f"{workload.title}: accuracy")
    return {
        "title": workload.preset,
        "by": accuracy.accuracy(workload, settings.threads, "torch" in settings.against),
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
