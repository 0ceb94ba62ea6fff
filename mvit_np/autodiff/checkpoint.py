"""Less memory, more time: the backward pass computes again what is not kept (Chen et al. 2016)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..backend import tree as trees
from .tape import op, vjp


def checkpoint(fun: Callable[..., Any]) -> Callable[..., Any]:
    """`fun(*trees, rng=None, **static)` with its inside forgotten: the backward pass runs it again.

    Trades one more forward pass of `fun` for the memory of everything it would keep. Random masks
    are drawn once and replayed. (autograd's own `checkpoint` saves nothing: it records the inside
    during the forward pass.)
    """

    @functools.wraps(fun)
    def call(*args, rng=None, **static):
        leaves, rebuild = trees.flatten(args)

        @op
        def recomputed(*leaves):
            tape = None if rng is None else Recording(rng)
            value = fun(*rebuild(leaves), rng=tape, **static)

            def backward(dy):
                replay = None if tape is None else Replay(tape.drawn)
                _, pull = vjp(lambda *again: fun(*rebuild(again), rng=replay, **static), leaves)
                return pull(dy)

            return value, backward

        return recomputed(*leaves)

    return call


class Recording:
    """A random generator that remembers what it drew."""

    def __init__(self, rng):
        self.rng, self.drawn = rng, []

    def random(self, *args, **kwargs):
        self.drawn.append(self.rng.random(*args, **kwargs))
        return self.drawn[-1]


class Replay:
    """A random generator that draws what a `Recording` drew."""

    def __init__(self, drawn):
        self.drawn = iter(drawn)

    def random(self, *args, **kwargs):
        return next(self.drawn)
