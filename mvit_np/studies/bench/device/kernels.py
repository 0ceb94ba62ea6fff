"""Our kernels against array functions alone: every op as a model calls it, both ways."""

# An op has its `definition` as an attribute, which no type says:
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

from .... import ops
from ....autodiff.hooks import watching
from ....autodiff.versions import version_for
from ....backend import tree as trees
from ....backend.arrays import device_tools, is_array, plain_ops
from ....backend.matmul import matmul
from ....model.forward import forward
from ....ops.fast.gelu import gelu_array
from ....ops.fast.linear import column_sums
from ....train import adamw, adamw_state, clip_by_norm
from ..workloads import RATE, WEIGHT_DECAY
from . import clock, mvit_calls
from .clock import Side
from .gpu import Gpu
from .measure import attempt
from .plan import Case, Kernels

TURN_S, ROUNDS = 0.02, 3
WITH, PLAIN = "kernels_s", "plain_s"


@dataclass
class Call:
    """A call of an op, with its first arguments and how often a forward pass makes its like."""

    name: str
    args: tuple
    static: dict[str, Any]
    count: int = 1


@dataclass(frozen=True)
class Work:
    """Something to time both ways: `prepare() -> run`, both called within the way in question."""

    name: str
    phase: str
    count: int
    shapes: list[list[int]]
    prepare: Callable[[], Callable[[], Any]]


def measured(
    part: Kernels, gpu: Gpu, side: Side, tell: Callable[[str], Any] = lambda words: None
) -> list[dict[str, Any]]:
    """Rows of plain numbers of a `plan.Kernels`, each of work that launches something of ours.

    op, phase, kernels (names), calls (in a step), shapes; kernels_s and plain_s, seconds a call, or
    None where that failed, and `failed`: why
    """
    params, (clips, _), config = mvit_calls.given(Case(part.preset, "forward", part.batch), gpu)
    tools = device_tools(clips)
    calls = recorded(lambda: forward(params, clips, config))
    rows = []
    for work in (*_ops(calls), *_pieces(calls), *_updates(params)) if tools else ():
        if row := _row(work, side, tools):
            tell(f"{row['op']} {row['phase']}".strip())
            rows.append(row)
    return rows


def recorded(run: Callable[[], Any]) -> list[Call]:
    """A `Call` for each op and way it is called in `run()`: shapes, strides and settings."""
    found: dict[tuple, Call] = {}

    def seen(name, phase, seconds, args, static, result):
        key = name, *(_like(x) for x in args), repr(static)
        if key in found:
            found[key].count += 1
        else:
            found[key] = Call(name, args, static)

    with watching(seen):
        run()
    return [call for call in found.values() if hasattr(ops, call.name)]


def _like(x):
    return (x.shape, x.strides, str(x.dtype)) if is_array(x) else repr(x)


def _ops(calls):
    for call in calls:
        shapes = [list(x.shape) for x in call.args if is_array(x)]
        yield Work(call.name, "forward", call.count, shapes, partial(_forward, call))
        yield Work(call.name, "backward", call.count, shapes, partial(_backward, call))


def _forward(call):
    op = getattr(ops, call.name)
    version = version_for(op.definition, op.versions, call.args)
    if version is ops.mlp.definition:
        version = _mlp_by_definitions
    run = getattr(version, "definition", version)  # of a version that is an op: (value, backward)
    return lambda: run(*call.args, **call.static)


def _mlp_by_definitions(x, w1, b1, w2, b2):
    """What `ops.mlp` is composed of, as one op's value and backward."""
    h, first_backward = ops.linear.definition(x, w1, b1)
    a, gelu_backward = ops.gelu.definition(h)
    y, second_backward = ops.linear.definition(a, w2, b2)

    def backward(dy):
        da, *second = second_backward(dy)
        return *first_backward(*gelu_backward(da)), *second

    return y, backward


def _backward(call):
    """Without gradients given as functions, as in training. Any cotangent will do: the result."""
    value, backward = _forward(call)()
    cotangents = value if isinstance(value, tuple) else (value,)
    return lambda: backward(*cotangents)


def _pieces(calls):
    """What ops are made of, at the sizes of the MLPs."""
    for call in calls:
        if call.name != "mlp":
            continue
        x, w, b = call.args[:3]
        rows = x.reshape(-1, w.shape[0])
        times, shapes = call.count, [[rows.shape[0], w.shape[1]]]

        def gelu(x=rows, w=w, b=b):
            return partial(gelu_array, matmul(x, w), b)

        def sums(x=rows, w=w):
            return partial(column_sums, matmul(x, w))

        yield Work("(gelu with bias)", "", times, shapes, gelu)
        yield Work("(column_sums)", "", times, shapes, sums)


def _updates(params):
    """What follows the backward pass, of all parameters; they stand for their gradients."""
    at: dict[str, Any] = {}
    shapes = [[sum(p.size for p in trees.leaves(params))]]

    def update():
        moved = adamw(at["params"], params, at["state"], RATE, weight_decay=WEIGHT_DECAY)
        at["params"], at["state"] = moved

    def prepare():
        at.update(params=params, state=adamw_state(params))
        return update

    yield Work("adamw", "update", 1, shapes, prepare)
    yield Work("clip_by_norm", "update", 1, shapes, lambda: lambda: clip_by_norm(params, 1.0))


def _row(work, side, tools):
    """None where the work launches nothing of ours: both ways are one."""
    names, why = attempt(lambda: _launched(work, tools))
    if not (names or why):
        return None
    times = {}
    for way, context in ((WITH, nullcontext), (PLAIN, plain_ops)):
        times[way], failed = attempt(partial(_timed, work, side, context))
        why = why or failed
        side.release()
    row = {"op": work.name, "phase": work.phase, "kernels": sorted(set(names or ()))}
    return row | {"calls": work.count, "shapes": work.shapes, **times, "failed": why}


def _launched(work, tools):
    """Names of the kernels that the work launches, "product" among them."""
    run = work.prepare()
    with launches(tools) as names:
        run()
    return names


def _timed(work, side, context):
    """Seconds a call, the median of some turns."""
    with context():
        run = work.prepare()
        count = clock.calls_in_a_turn(side, run, TURN_S)
        return statistics.median(clock.turn(side, run, count) for _ in range(ROUNDS))


@contextmanager
def launches(tools: Any) -> Iterator[list[str]]:
    """A list of what is launched within the block: the kernels' names, "product" for products."""
    names, launch, gemm = [], tools.launch, tools.gemm

    def launched(kernel, *rest):
        names.append(kernel.name)
        return launch(kernel, *rest)

    def multiplied(*args, **how):
        names.append("product")
        return gemm(*args, **how)

    tools.launch, tools.gemm = launched, multiplied  # on this one object, instead of its class's
    try:
        yield names
    finally:
        del tools.launch, tools.gemm
