"""The exponential moving average of the parameters, which is often better than the last ones."""

from __future__ import annotations

from itertools import chain

from ..backend import tree as trees
from ..backend.arrays import device_tools
from ..backend.cuda.kernels.flat import towards
from ..backend.types import Array, Tree
from .flat_state import in_one_launch, is_given, numbers_there, refuse_given


def ema_update(average: Tree, params: Tree, decay: float | Array) -> Tree:
    """decay x average + (1 - decay) x params, as a new tree; the first average is the parameters.

    On a device the decay may also be a float64 array of that one number, which the kernel looks
    into whenever it runs.

    Raises ValueError where the trees or their shapes differ, and for a decay outside [0, 1].
    """
    if not is_given(decay) and not 0 <= decay <= 1:
        raise ValueError(
            f"the average keeps a share in [0, 1] of itself per step, came {decay}: such as 0.999"
        )
    first = _first(average)
    if first is not None and device_tools(first):
        pairs = []
        trees.map(lambda a, p: pairs.append(_same_shape(a, p)), average, params)
        if in_one_launch(chain(*pairs)):
            number = numbers_there(decay, (decay,), pairs[0][0])
            new = towards(*zip(*pairs), number)  # type: ignore[call-arg]
            return trees.flatten(average)[1](new)
    refuse_given(decay)

    def mean(a, p):
        _same_shape(a, p)
        new = p - a
        new *= 1 - decay
        new += a  # where a and p agree, so does the average, to the last bit
        return new

    return trees.map(mean, average, params)


def _first(tree):
    """The first leaf, found without a look at the others, or None where there is none."""
    if not isinstance(tree, (dict, list, tuple)):
        return tree
    children = tree.values() if isinstance(tree, dict) else tree
    return next((leaf for leaf in map(_first, children) if leaf is not None), None)


def _same_shape(a, p):
    """The two, if they have one shape."""
    if a.shape != p.shape:
        raise ValueError(
            f"the average has its parameters' shapes; came {a.shape} for {p.shape}: "
            "begin with the parameters"
        )
    return a, p


def ema_decay(step: int, decay: float) -> float:
    """The decay of update `step` (from 0): first (1 + step) / (10 + step), to forget the start."""
    return min(decay, (1 + step) / (10 + step))
