"""A step that is not finite is never trained on: an error names the step, the clips, the layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ..backend import tree as trees
from ..backend.arrays import array_module, device_tools, to_host
from ..backend.types import Array, Hook, Tree

SHOWN = 8  # names in a sentence
RESULT = "the result"  # of the forward pass, which no hook sees
GONE = (
    "no output of the forward pass has NaN or infinity; "
    "which gradient has shows without a graph alone"
)


class NotFinite(RuntimeError):
    """A loss or a gradient is NaN or infinite.

    step       the step's number
    names      of the batch's examples; where it is known, only of those that are not finite
    layer      the first output of the forward pass that is not finite, or None
    parameter  without such a layer: where a gradient is not finite, its path, the one nearest to
               the loss; else None
    """

    def __init__(
        self, sentence: str, step: int, names: Sequence[str],
        layer: str | None, parameter: str | None,
    ) -> None:  # fmt: skip
        super().__init__(sentence)
        self.step, self.names, self.layer, self.parameter = step, names, layer, parameter


def check_step(
    loss: Array, grads: Tree, *, step: int, names: Callable[[], Sequence[str]] | None = None,
    probe: Callable[[Hook], Array] | None = None, norm: Array | None = None,
) -> float:  # fmt: skip
    """The loss as a float. Raises NotFinite where it or a gradient is NaN or infinite.

    loss   a 0-d array
    grads  a tree of arrays; None where they are gone, as after the replay of a graph: then `norm`
           is needed
    names  a function without arguments that gives the names of the batch's examples
    probe  a function of `hook` that runs the step's forward pass again with it, with the same
           masks, and returns its result
    norm   that of the gradients, where it is known, as from `clip_by_norm`

    To be called before the parameters change.

    `names` and `probe` are called only where something is not finite. Where all is well the price
    is one reduction of the gradients, and with `norm` none. A device is waited for once: it works
    in order, so a loss that is read when the backward pass has been queued comes after that, and
    the norm with it; read it here, and not a second time. With several processes pass means over
    all, so that they decide alike.

        try:                                       # to go on with the next batch instead
            loss = check_step(loss, grads, step=step)
        except NotFinite as problem:
            ...
    """
    norm = _sum_of_squares(grads) if norm is None else norm  # queued before anything is read
    value = to_host(loss).item()
    if math.isfinite(value) and math.isfinite(to_host(norm).item()):
        return value
    examples = tuple(names()) if names else ()
    layer, guilty = _first_layer(probe, examples) if probe else (None, examples)
    parameter, count = (None, 0) if layer or grads is None else _last_gradient(grads)
    where = GONE if grads is None and not layer else _where(value, layer, parameter, count)
    raise NotFinite(_sentence(step, value, guilty, where), step, guilty, layer, parameter)


def _sum_of_squares(grads):
    """A number that is finite only where all gradients are."""
    with np.errstate(over="ignore"):
        return sum(map(_square, trees.leaves(grads)))


def _square(g):
    """The sum of the squares; on NumPy nothing as large as g is made on the way."""
    return (g * g).sum() if device_tools(g) else array_module(g).vdot(g, g)


def _first_layer(probe, names):
    """(first output of the forward pass that is not finite, names it is of); or (None, all)."""
    found: list[tuple[str, Sequence[str]]] = []

    def hook(name, array):
        if not found and not (rows := _finite_rows(array)).all():
            found.append((name, _chosen(names, ~rows)))

    with np.errstate(all="ignore"):
        hook(RESULT, probe(hook))
    return found[0] if found else (None, names)


def _finite_rows(array):
    """Whether all is finite in each row of the first axis, on the host."""
    xp = array_module(array)
    shape = (array.shape[0], math.prod(array.shape[1:])) if array.ndim else (1, 1)
    rows = array.reshape(shape)
    return to_host(xp.all(xp.isfinite(rows), axis=1))


def _chosen(names, rows):
    """The names that go with these rows; all where rows are not the batch's examples."""
    if len(names) != len(rows):
        return names
    return tuple(name for name, row in zip(names, rows) if row)


def _last_gradient(grads):
    """The path of the last gradient that is not finite, and how many there are.

    Layers stand in the order of the forward pass, so that is where the backward pass met it first.
    """
    paths = [path for path, g in trees.paths(grads) if not _finite_rows(g).all()]
    return (paths[-1] if paths else None), len(paths)


def _where(value, layer, parameter, count):
    if layer:
        return f"{layer} is the first output of the forward pass with NaN or infinity"
    if parameter:
        return (
            f"of the parameters whose gradient has NaN or infinity ({count} in all), "
            f"{parameter} is nearest to the loss"
        )
    return "all gradients are finite" + (", but not their norm" if math.isfinite(value) else "")


def _sentence(step, value, names, where):
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    batch = f", in a batch with {', '.join(map(str, names[:SHOWN]))}{more}" if names else ""
    return (
        f"step {step} is not finite (loss {value:g}): {where}{batch}; "
        "look at these clips, lower the rate or skip such steps"
    )
