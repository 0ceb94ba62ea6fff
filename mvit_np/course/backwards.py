"""What the exercises on backward passes have in common: right gradients, cases, and wrong answers.

A backward takes what its forward takes and, last, the cotangent `dy` of the result. It returns the
gradients by the arrays it took, in their order; that by a dictionary is a dictionary.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from typing import Any

from ..autodiff.tape import vjp
from ..backend import tree as trees
from .checker import Exercise


def pulled(forward: Callable, by: Sequence[int]) -> Callable:
    """The right backward of `forward`: its gradients by the arguments at these places."""

    def reference(*args):
        *given, dy = args
        leaves, rebuild = trees.flatten([given[place] for place in by])

        def on_leaves(*traced):
            chosen = dict(zip(by, rebuild(traced)))
            return forward(*(chosen.get(place, x) for place, x in enumerate(given)))

        gradients = rebuild(vjp(on_leaves, leaves)[1](dy))
        return tuple(gradients) if len(by) > 1 else gradients[0]

    return reference


def with_dy(forward: Exercise) -> Callable:
    """The cases of a forward exercise, each with a cotangent of its result."""

    def cases(rng):
        for args in forward.cases(rng):
            yield *args, rng.standard_normal(forward.reference(*args).shape)

    return cases


def calling(function: Callable, **others: Callable) -> Callable:
    """The same lines, which call other functions under these names."""
    space = {**function.__globals__, **others}
    return types.FunctionType(function.__code__, space, function.__name__)


def but(right: Callable, place: int, change: Callable[..., Any]) -> Callable:
    """The right gradients but for the one at this place: `change` of it and of the arguments."""

    def wrong(*args):
        parts = list(right(*args))
        parts[place] = change(parts[place], *args)
        return tuple(parts)

    return wrong
