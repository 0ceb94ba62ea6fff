"""Training steps as a CUDA graph, recorded once and then replayed.

A step is forward, backward, clipping, optimiser and running mean. What changes from step to step
lies on the device, in arrays that are written before each replay: the clips and targets, the key
that masks are drawn by, the numbers of the optimiser. So a replay does what a step without a graph
does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..backend import tree as trees
from ..backend.arrays import array_module, device_tools, is_array
from ..backend.cuda.graph import Graphed
from ..backend.cuda.kernels.flat import fill, joined
from ..backend.cuda.random import PhiloxGenerator
from ..backend.precision import precision
from ..backend.types import Array, Tree
from .ema import ema_decay as decay_at
from .ema import ema_update
from .optimizer import clip_by_norm


class GraphedSteps:
    """`take(batch, lr)`: a step of training, as in `loop.fit`.

    gradient   gradient(params, batch) -> ((value, aux), grads)
    optimizer  the `loop.Optimizer`
    state      the `loop.State` to begin with, on a device

    Raises ValueError where the parameters are on no device, or the optimiser does not say what
    changes from step to step, and at a batch whose generator of masks has drawn before.
    """

    def __init__(
        self, gradient: Callable[..., Any], optimizer: Any, state: Any, *, clip_norm: float,
        ema_decay: float = 0.0, extra_metrics: Callable[[Array, Any], Array] | None = None,
    ) -> None:  # fmt: skip
        if device_tools(trees.leaves(state.params)[0]) is None:
            raise ValueError(
                "a graph is a CUDA device's; the parameters are on the host: "
                "move them there, or do without a graph"
            )
        if optimizer.hyperparameters is None:
            raise ValueError(
                "a graph needs an Optimizer with `hyperparameters`, which change from step to "
                "step: make it as adamw_with does"
            )
        self._gradient, self._optimizer = gradient, optimizer
        self._clip_norm, self._ema_decay = clip_norm, ema_decay
        self._extra_metrics = extra_metrics
        self.state: Any = state
        self._layout: Any = None  # of the batch that was recorded
        self._graphed: Any = None  # a `Graphed`, from the first batch on

    def take(self, batch: Tree, lr: float) -> tuple[Any, ...]:
        """(state, value, aux, norm, extra metrics) after one more step.

        The next step overwrites their arrays. Where value or norm is not finite, parameters, what
        the optimiser remembers and the running mean are as before.
        """
        state, arrays = self.state, _arrays(batch)
        layout = precision(), [(x.shape, str(x.dtype)) for x in arrays]
        if layout != self._layout:  # the first batch, or one of another size
            self._record(batch, arrays)
            self._layout = layout
        given = self._graphed.given | {"batch": arrays}
        fill(given["now"], self._optimizer.hyperparameters(state.optimizer["step"], lr))
        fill(given["decay"], (decay_at(state.step, self._ema_decay),))
        results = self._graphed(given)
        for masks in _masks(batch):
            masks.spend()
        carried, taken = self._graphed.carried, state.optimizer["step"] + 1
        self.state = replace(
            state,
            step=state.step + 1,
            params=self._tree(carried["params"]),
            optimizer=state.optimizer | carried["optimizer"] | {"step": taken},
            average=self._tree(carried.get("average")),
        )
        return self.state, *results

    def skip(self) -> Any:
        """The state after a step that was not finite: the optimiser does not count it."""
        remembered = self.state.optimizer | {"step": self.state.optimizer["step"] - 1}
        self.state = replace(self.state, optimizer=remembered)
        return self.state

    def _record(self, batch, arrays):
        state = self.state
        xp = array_module(trees.leaves(state.params)[0])
        if any(array_module(x) is not xp for x in arrays):
            raise TypeError(
                "a graph takes batches that lie where the parameters do: "
                "move them there, as with mv.to_device"
            )
        carried = {"params": joined(trees.leaves(state.params))}
        carried["optimizer"] = {name: x for name, x in state.optimizer.items() if is_array(x)}
        if state.average is not None:
            carried["average"] = joined(trees.leaves(state.average))
        numbers = self._optimizer.hyperparameters(0, 1.0)
        self._graphed = None  # its memory is needed
        given = {"batch": arrays, "now": xp.ones(len(numbers), dtype="float64")}
        given["decay"] = xp.ones(1, dtype="float64")

        def step(carried, given):
            return self._step(carried, given, batch)

        self._graphed = Graphed(step, carried, given)

    def _step(self, carried, given, batch):
        """What is recorded: everything that a step computes."""
        params = self._tree(carried["params"])
        (value, aux), grads = self._gradient(params, _with_arrays(batch, given["batch"]))
        extra = [self._extra_metrics(value, aux)] if self._extra_metrics else []
        clipped, norm = clip_by_norm(grads, self._clip_norm)
        # 0, or NaN where one is not finite: the step then changes nothing
        wrong = (norm - norm) + (value - value)
        gradient = joined(trees.leaves(clipped))
        gradient += wrong
        before = {"step": 0, **carried["optimizer"]}
        params, remembered = self._optimizer.update(params, clipped, before, given["now"])
        after = {"params": joined(trees.leaves(params))}
        after["optimizer"] = {name: remembered[name] for name in carried["optimizer"]}
        if "average" in carried:
            xp = array_module(norm)
            decay = xp.where(xp.isfinite(wrong), given["decay"], 1.0)
            average = ema_update(self._tree(carried["average"]), params, decay)
            after["average"] = joined(trees.leaves(average))
        return after, [value, aux, norm, *extra]

    def _tree(self, flat):
        """A tree like the parameters', of views of a flat array."""
        if flat is None:
            return None
        leaves, rebuild = trees.flatten(self.state.params)
        return rebuild(trees.views(flat, leaves))


def _arrays(batch):
    """What of a batch may differ from step to step: its arrays, and the keys of its masks."""
    if any(masks.spent for masks in _masks(batch)):
        raise ValueError(
            "a graph draws masks from the key of each step; came a generator that has drawn "
            "before: make one for each step, such as default_rng([seed, step], like=clips)"
        )
    differing = [leaf for leaf in trees.leaves(batch) if _differs(leaf)]
    return [leaf.key if isinstance(leaf, PhiloxGenerator) else leaf for leaf in differing]


def _with_arrays(batch, arrays):
    """The batch with other arrays and keys."""
    arrays, (leaves, rebuild) = iter(arrays), trees.flatten(batch)
    return rebuild([_like(leaf, next(arrays)) if _differs(leaf) else leaf for leaf in leaves])


def _masks(batch):
    return [leaf for leaf in trees.leaves(batch) if isinstance(leaf, PhiloxGenerator)]


def _differs(leaf):
    return is_array(leaf) or isinstance(leaf, PhiloxGenerator)


def _like(leaf, array):
    return PhiloxGenerator(array) if isinstance(leaf, PhiloxGenerator) else array
