"""Exercises of notebook 02, second part: how far a stack of pools sees."""

from __future__ import annotations

import math

import numpy as np

from .checker import INVESTIGATE, Exercise


def cells_seen(kernels, strides):
    """How many neighbouring input cells one output sees through a stack of pools on one axis.

    kernels, strides: a whole number per pool, the first pool first   ->   one whole number
    All pools are applied one after the other. Take the first and the last input cell that have an
    influence on one output. Count the cells from the one to the other, both included.
    Hint: go back from one output: window i of a pool reads its cells s i to s i + k - 1. Or try:
    change one cell of a long row, and look which results change.
    """
    first = last = 0
    for kernel, stride in zip(kernels[::-1], strides[::-1]):
        first, last = stride * first, stride * last + kernel - 1
    return last - first + 1


def _reference_seen(kernels, strides):
    """By trial: the cells of a row that the first output is made of."""
    seen = np.eye(math.prod(k + s for k, s in zip(kernels, strides)) + 1, dtype=bool)
    for kernel, stride in zip(kernels, strides):
        count = (len(seen) - kernel) // stride + 1
        seen = np.array([seen[i * stride : i * stride + kernel].any(axis=0) for i in range(count)])
    found = np.flatnonzero(seen[0])
    return int(found[-1] - found[0] + 1)


def _stacks(rng):
    yield (3, 5, 2), (2, 3, 2)
    yield (7, 3, 3), (4, 2, 2)
    yield (3, 3), (2, 1)
    for pools in (2, 3):
        kernels, strides = rng.integers(2, 5, pools), rng.integers(1, 4, pools)
        yield tuple(map(int, kernels)), tuple(map(int, strides))


def _steps(strides):
    """The product of all strides before each pool."""
    return [math.prod(strides[:i]) for i in range(len(strides))]


CELLS_SEEN = Exercise(
    cells_seen,
    _reference_seen,
    _stacks,
    (
        ("the kernels are multiplied: their windows overlap", lambda k, s: math.prod(k)),
        ("the strides are left out: the neighbours of a later pool lie a stride apart",
         lambda k, s: 1 + sum(each - 1 for each in k)),
        ("the stride of the pool itself is multiplied too: only those before it spread its cells",
         lambda k, s: 1 + sum((a - 1) * b * c for a, b, c in zip(k, s, _steps(s)))),
        ("the strides alone are multiplied: a window reads further than its stride",
         lambda k, s: math.prod(s)),
        ("the pools are in the wrong order: the first pool reads the input",
         lambda k, s: cells_seen(k[::-1], s[::-1])),
        ("this is the distance from the first to the last cell: both count, so add 1",
         lambda k, s: cells_seen(k, s) - 1),
        ("only the last pool is taken: the others come before it", lambda k, s: k[-1]),
    ),
    level=INVESTIGATE,
    finding="in MViT-B a cube sees 7 columns of pixels. After the query pools of stages 2, 3 and 4 "
    "(kernel 3, stride 2) a token sees 15, 31 and 63 columns, before any attention.",
)  # fmt: skip

EXERCISES = (CELLS_SEEN,)
