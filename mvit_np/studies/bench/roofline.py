"""The least that a call of an op could take: its arithmetic at best, or its arrays moved once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

# Operations (a multiply-add is two) of a forward call, by its value and its arguments. Ops that are
# not listed count as none.
FORWARD: dict[str, Callable[..., int]] = {
    "linear": lambda y, x, w, *_: 2 * _rows(x) * w.size,
    "project": lambda ys, x, w, *_: 2 * w.shape[0] * sum(y.size for y in ys),
    "mlp": lambda y, x, w1, b1, w2, *_: 2 * _rows(x) * (w1.size + w2.size),
    "attend": lambda y, q, k, *_: 2 * k.shape[1] * (q.size + y.size),
    "cube_conv": lambda y, x, w, *_: 2 * _rows(y) * w.size,
    "depthwise_conv": lambda y, x, w, *_: 2 * y.size * math.prod(w.shape[:3]),
    "relative_query": lambda y, q, *_: 2 * q.size * (y.shape[-1] - q.shape[-1]),
}

# Of a backward call, by the cotangent and the gradients, which have the arguments' shapes; what it
# computes again is included.
BACKWARD: dict[str, Callable[..., int]] = {
    "linear": lambda dy, dx, dw, *_: 4 * _rows(dy) * dw.size,
    "project": lambda dq, dk, dv, dx, dw, *_: 4 * dw.shape[0] * (dq.size + dk.size + dv.size),
    "mlp": lambda dy, dx, dw1, db1, dw2, *_: _rows(dy) * (6 * dw1.size + 4 * dw2.size),
    "attend": lambda dy, dq, dk, *_: 2 * dk.shape[1] * (3 * dq.size + 2 * dy.size),
    # training does not ask for the clip's gradient
    "cube_conv": lambda dy, *grads: 2 * _rows(dy) * grads[-2].size,
    "depthwise_conv": lambda dy, dx, dw: 4 * dy.size * math.prod(dw.shape[:3]),
    "relative_query": lambda dy, dq, *_: 4 * dq.size * (dy.shape[-1] - dq.shape[-1]),
}

# Ops that move, add or scale: their backward passes do not read the inputs.
LINEAR = frozenset(
    "add avg_pool first_token join_channels join_class join_units mean_token relative_key reshape "
    "residual scale split_class split_units take_seen".split()
)


def forward_work(name: str, args: Sequence[Any], value: Any) -> tuple[int, int]:
    """(operations, bytes) of a forward call: arrays move once, views of arguments not at all."""
    flops = FORWARD[name](value, *args) if name in FORWARD else 0
    return flops, _moved(_arrays(args), _arrays(value))


def backward_work(
    name: str, cotangents: Sequence[Any], gradients: Sequence[Any]
) -> tuple[int, int]:
    """The same of a backward call, which but for linear ops also reads the inputs.

    An input is as large as its gradient.
    """
    flops = BACKWARD[name](*cotangents, *gradients) if name in BACKWARD else 0
    made = _arrays(gradients)
    moved = _moved(_arrays(cotangents), made)
    return flops, moved + (_bytes(made) if moved and name not in LINEAR else 0)


def _moved(read, results):
    written = [y for y in results if not any(np.may_share_memory(x, y) for x in read)]
    return _bytes(read + written) if written else 0


def floor_s(work: tuple[int, int], roof: Mapping[str, float]) -> float:
    """Seconds of (operations, bytes) at `roof`: {"flops_per_s", "bytes_per_s"}."""
    flops, moved = work
    return max(flops / roof["flops_per_s"], moved / roof["bytes_per_s"])


def _rows(x):
    return x.size // x.shape[-1]


def _arrays(several):
    several = several if isinstance(several, (tuple, list)) else [several]
    return [x for x in several if isinstance(x, np.ndarray)]


def _bytes(arrays):
    return sum(x.nbytes for x in {id(x): x for x in arrays}.values())
