"""The parts of a plan, measured one after the other, as one dict of plain numbers that grows."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from .. import machine
from . import curves, gpu, kernels, measure, mvit_calls, torch_calls
from .clock import Side
from .gpu import Gpu
from .plan import COMPILED, GRAPH, LISTS, MVIT, TORCH, Case, Curves, Kernels

KIND = "device"
Part = Case | Kernels | Curves


@dataclass(frozen=True)
class Bench:
    """Who measures: the device, our side there, and (torch, its device, its side) or None."""

    gpu: Gpu
    mvit: Side
    torch: tuple[Any, Any, Side] | None = None


@dataclass(frozen=True)
class Settings:
    """How to measure."""

    rounds: int = 6
    command: str = ""
    tell: Callable[[str], Any] = lambda words: None  # called with words before each thing


def bench(device: str, against: bool = False) -> Bench:
    """The `Bench` on a device.

    Raises ValueError or ImportError where there is no such device, or none for PyTorch.
    """
    found = gpu.find(device)
    if not against:
        return Bench(found, mvit_calls.side(found.xp))
    torch, torch_device = torch_calls.find_device(device)
    return Bench(
        found, mvit_calls.side(found.xp), (torch, torch_device, torch_calls.side(torch.cuda))
    )


def run(
    parts: Iterable[Part], with_: Bench, settings: Settings, before: dict[str, Any] | None = None
) -> Iterator[tuple[dict[str, Any], str, dict[str, Any]]]:
    """Measure the parts; after each yields (all results, name of their list, the newest of it).

    before   results to go on from: what they hold already is not measured again
    Raises ValueError where those are of another card or of other versions, or PyTorch has no model
    to compare with.
    """
    parts = tuple(parts)
    check(parts, with_)
    with with_.gpu.xp.cuda.Device(with_.gpu.number):
        results = _begin(with_, settings, before)
        for part in parts:
            name = LISTS[type(part)]
            if not any(_same(part, found) for found in results[name]):
                settings.tell(part.title)
                start = time.perf_counter()
                found = {"title": part.title, **plain(part), **_measure(part, with_, settings)}
                results[name].append(found | {"wall_s": time.perf_counter() - start})
                _tidy(with_)
                yield results, name, results[name][-1]


def check(parts: Iterable[Part], with_: Bench) -> None:
    """Raise ValueError where a preset does not exist, or torch has no such model."""
    for case in {part.preset: Case(part.preset) for part in parts}.values():
        config = case.config
        if with_.torch:
            torch_calls.peers.check_known(config)


def plain(part: Part) -> dict[str, Any]:
    """A part's fields as JSON holds them."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(part).items()
    }


def _same(part, found):
    return all(found.get(name) == value for name, value in plain(part).items())


def _begin(with_, settings, before):
    machine_ = {"host": machine.describe(), "card": gpu.describe(with_.gpu)}
    if with_.torch:
        torch, torch_device, _ = with_.torch
        machine_["peers"] = torch_calls.versions(torch)
        torch.cuda.set_device(torch_device)
        torch_calls.warm_up(torch, torch_device)
    if before:
        _check_like(before, machine_ | {"rounds": settings.rounds})
        return before
    settings.tell("what the device can do at best")
    facts = {"kind": KIND, "command": settings.command, "rounds": settings.rounds, **machine_}
    roofs = gpu.roofs(with_.gpu, with_.mvit)
    _tidy(with_)
    return facts | {"roofs": roofs, "cases": [], "kernels": [], "curves": []}


def _check_like(before, machine_):
    """Numbers of two machines do not belong into one table."""
    for part in ("card", "peers", "rounds"):
        if before.get(part) != machine_.get(part):
            rule = "results are continued on the same device by the same versions in as many rounds"
            raise ValueError(
                f"{rule}; those are of {before.get(part)}, here is {machine_.get(part)}: begin a "
                "new file"
            )


def _measure(part, with_, settings):
    if isinstance(part, Case):
        by = measure.measured(contestants(part, with_), settings.rounds, settings.tell)
        return {"macs": part.workload.macs, "by": by}
    if isinstance(part, Kernels):
        return {"rows": kernels.measured(part, with_.gpu, with_.mvit, settings.tell)}
    torch_losses = with_.torch and partial(torch_calls.losses, *with_.torch[:2])
    return curves.measured(part, with_.gpu, torch_losses, settings.tell)


def _tidy(with_):
    """Let go of all that nobody uses any more."""
    gc.collect()
    for side in (with_.mvit, *(with_.torch or ())[2:]):
        side.release()


def contestants(case: Case, with_: Bench) -> dict[str, tuple[Side, Callable[[], Any]]]:
    """{who: (side, build)} of those who are here."""
    found = {
        MVIT: (with_.mvit, partial(mvit_calls.call, case, with_.gpu)),
        GRAPH: (with_.mvit, partial(mvit_calls.call, case, with_.gpu, graph=True)),
    }
    if with_.torch:
        torch, torch_device, side = with_.torch
        found[TORCH] = side, partial(torch_calls.call, case, torch, torch_device)
        found[COMPILED] = side, partial(torch_calls.call, case, torch, torch_device, compiled=True)
    return {who: found[who] for who in case.whos if who in found}
