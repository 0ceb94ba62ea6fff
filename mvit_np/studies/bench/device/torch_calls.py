"""torchvision's MViT on the same device: eager, and as `torch.compile` makes it by default."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

from ....backend.types import Array, Params
from ....model.config import MViTConfig
from .. import peers
from ..workloads import examples, parameters
from . import clock, curves
from .plan import CLIP_NORM, Case

COMPILE: dict[str, Any] = {}  # settings of torch.compile; none is its default mode


def find_device(device: str) -> tuple[Any, Any]:
    """(torch, its device) of that name.

    Raises ValueError where PyTorch sees no such device, ImportError without PyTorch.
    """
    torch = peers.torch_module()
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    number = int(device.partition(":")[2] or 0)
    if number >= count:
        raise ValueError(
            f"a comparison on {device!r} needs a PyTorch that sees it; PyTorch {torch.__version__} "
            f"sees {count or 'no'} CUDA device{'s' * (count > 1)}: install one for CUDA, or leave "
            "out --against torch"
        )
    return torch, torch.device("cuda", number)


def versions(torch: Any) -> dict[str, str]:
    """What is compared with."""
    return peers.versions() | {"torch_cuda": torch.version.cuda}


def side(cuda: Any) -> clock.Side:
    """How calls of PyTorch are timed and weighed.   cuda: the module `torch.cuda`"""
    event = partial(cuda.Event, enable_timing=True)
    return clock.Side(
        seconds=partial(clock.between, event, lambda start, end: start.elapsed_time(end)),
        weighed=partial(_weighed, cuda),
        release=cuda.empty_cache,
        fetch=lambda result: result.detach().float().cpu().numpy(),
    )


def _weighed(cuda, build):
    """See `clock.Side`; like our own, without what cuBLAS works in where that was there before."""
    cuda.empty_cache()
    used, held = cuda.memory_allocated(), cuda.memory_reserved()
    call = build()
    call()
    cuda.synchronize()
    cuda.empty_cache()
    cuda.reset_peak_memory_stats()
    call()
    cuda.synchronize()
    return call, {
        "peak_bytes": cuda.max_memory_allocated() - used,
        "reserved_bytes": cuda.max_memory_reserved() - held,
    }


def warm_up(torch: Any, device: Any) -> None:
    """Products in all types, so that the memory which cuBLAS works in is there."""
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.ones((64, 64), dtype=dtype, device=device)
        torch.nn.functional.linear(x @ x, x, x[0])


def call(case: Case, torch: Any, device: Any, compiled: bool = False) -> clock.Call:
    """The case's call, as a function of no arguments, with our parameters and clips.

    See `mvit_calls.call`; its result stays on the device. bf16 is `torch.autocast`; the optimiser
    is AdamW, fused.
    """
    model = peers.build(case.config, parameters(case.workload)).to(device)
    clips, labels = (torch.from_numpy(x).to(device) for x in examples(case.workload))
    clips, cast = clips.movedim(-1, 1).contiguous(), autocast(torch, device, case.precision)
    model.train(case.mode == "step")
    run = _compiled(torch, model) if compiled else model
    if case.mode == "forward":
        return _precise(torch, case.precision, partial(_forward, torch, run, clips, cast))
    optimizer = peers.optimizer(torch, model, fused=True)
    return _precise(
        torch, case.precision, partial(_step, torch, run, optimizer, clips, labels, cast)
    )


def _compiled(torch, model):
    """Forget what was compiled before: after some variants PyTorch would not compile any more."""
    torch.compiler.reset()
    return torch.compile(model, **COMPILE)


def _forward(torch, run, clips, cast):
    with torch.inference_mode(), cast():
        return run(clips)


def _step(torch, run, optimizer, clips, labels, cast):
    optimizer.zero_grad()
    with cast():
        loss = torch.nn.functional.cross_entropy(run(clips), labels)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(
        [p for group in optimizer.param_groups for p in group["params"]], CLIP_NORM
    )
    optimizer.step()
    return loss.detach()


def autocast(torch: Any, device: Any, precision: str) -> Callable[[], AbstractContextManager[Any]]:
    """A function that makes the context to compute in."""
    if precision != "bf16":
        return nullcontext
    return partial(torch.autocast, device.type, torch.bfloat16)


def _precise(torch, precision, run):
    def precise():
        with tf32(torch, precision == "tf32"):
            return run()

    return precise


@contextmanager
def tf32(torch: Any, allowed: bool) -> Iterator[None]:
    """Whether products and convolutions of float32 may be of TF32 within the block."""
    settings = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [setting.allow_tf32 for setting in settings]
    try:
        for setting in settings:
            setting.allow_tf32 = allowed
        yield
    finally:
        for setting, was in zip(settings, before):
            setting.allow_tf32 = was


def losses(
    torch: Any,
    device: Any,
    params: Params,
    config: MViTConfig,
    batches: Sequence[tuple[Array, Array]],
    precision: str,
    rates: Iterable[float],
) -> list[float]:
    """Of a training run as `curves` makes it with ours."""
    model = peers.build(config, params).to(device).train()
    optimizer = peers.optimizer(torch, model, curves.WEIGHT_DECAY, fused=True)
    cast, found = autocast(torch, device, precision), []
    there = [tuple(torch.from_numpy(x).to(device) for x in batch) for batch in batches]
    with tf32(torch, precision == "tf32"):
        for i, rate in enumerate(rates):
            for group in optimizer.param_groups:
                group["lr"] = rate
            clips, labels = there[i % len(there)]
            clips = clips.movedim(-1, 1).contiguous()
            found.append(_step(torch, model, optimizer, clips, labels, cast))
    return [float(loss) for loss in found]
