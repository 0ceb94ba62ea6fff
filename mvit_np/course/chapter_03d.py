"""Exercises of notebook 03, fourth part: does attention know the order of its tokens?"""

from __future__ import annotations

import numpy as np

from .. import ops
from .chapter_03a import attention
from .checker import INVESTIGATE, Exercise


def order_of_tokens(q, k, v, order):
    """How much attention changes when tokens are put in another order.

    q, k, v: (B, N, d)   order: N whole numbers, so that x[:, order] has the tokens in another order
    ->   (3,), the largest change of any number in the result
    1. when keys and values are put in that order   2. when the keys alone are
    3. when the queries alone are, and the result is compared with the old one in the new order
    Hint: your attention(q, k, v) is called four times. A change has no sign: np.abs.
    """
    before = attention(q, k, v)
    together = attention(q, k[:, order], v[:, order]) - before
    keys = attention(q, k[:, order], v) - before
    queries = attention(q[:, order], k, v) - before[:, order]
    return np.array([np.abs(change).max() for change in (together, keys, queries)])


def _attend(q, k, v):
    scores = np.einsum("bqd,bkd->bqk", q, k) / np.sqrt(q.shape[-1])
    return np.einsum("bqk,bke->bqe", ops.softmax(scores), v)


def _changes(q, k, v, order, *, size=lambda change: np.abs(change).max(), together=True):
    before = _attend(q, k, v)
    other = _attend(q, k[:, order], v[:, order] if together else v)
    moved = _attend(q[:, order], k, v) - before[:, order]
    parts = other - before, _attend(q, k[:, order], v) - before, moved
    return np.array([size(part) for part in parts])


def _lists(rng):
    for batch, tokens, d in ((2, 6, 4), (1, 7, 3), (3, 5, 5)):
        order = np.roll(np.arange(tokens), int(rng.integers(1, 3)))  # not its own inverse
        q, k, v = (2 * rng.standard_normal((batch, tokens, d)) for _ in range(3))
        yield q, k, v, tuple(map(int, order))
        yield q, k, -v, tuple(map(int, order))  # the largest change has the other sign


def _queries_left(q, k, v, order):
    found = _changes(q, k, v, order)
    found[2] = np.abs(_attend(q[:, order], k, v) - _attend(q, k, v)).max()
    return found


def _values_for_keys(q, k, v, order):
    found = _changes(q, k, v, order)
    found[1] = np.abs(_attend(q, k, v[:, order]) - _attend(q, k, v)).max()
    return found


ORDER_OF_TOKENS = Exercise(
    order_of_tokens,
    _changes,
    _lists,
    (
        ("the queries' result is compared with the old order: put the old result in the new one",
         _queries_left),
        ("the values are moved where the keys alone are to be", _values_for_keys),
        ("the mean change is returned: the largest is asked for",
         lambda *args: _changes(*args, size=lambda change: np.abs(change).mean())),
        ("the sign of the changes is kept: take np.abs first",
         lambda *args: _changes(*args, size=lambda change: change.max())),
        ("the first change moves the keys alone: keys and values are moved together",
         lambda *args: _changes(*args, together=False)),
        ("the changes are in another order: together, keys, queries",
         lambda *args: _changes(*args)[[1, 0, 2]]),
    ),
    single=False,
    level=INVESTIGATE,
    finding="the change is 0 for keys and values together and 0 for queries, up to rounding: "
    "attention sees a set, and answers query by query. To move the keys without their values "
    "changes the result by about its own size. Only positions, or cubes and pools, tell the order.",
)  # fmt: skip

EXERCISES = (ORDER_OF_TOKENS,)
