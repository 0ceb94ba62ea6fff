"""Training a part of a model: what is frozen is not traced, and nothing is remembered of it.

An op that gets frozen arrays alone keeps nothing for the backward pass. So all that lies before the
first parameter that is trained costs a forward pass; behind it a frozen layer still hands gradients
on to those before it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from ..backend import tree as trees
from ..backend.plain_text import did_you_mean
from ..backend.types import Array, Params
from .loop import Optimizer, State, Step, begin, fit


class Part:
    """The parameters of a model that are trained, as {path: array}, and the way back to all.

    params   all of them
    frozen   patterns of paths that stay as they are, such as `blocks.?.*`

    A path of the part is the path in the whole, so a mask of weight decay or a table of factors
    holds for both. Raises ValueError for a pattern that fits no path, and where nothing is left.
    """

    def __init__(self, params: Params, frozen: Iterable[str]) -> None:
        every, self._rebuild = trees.paths(params), trees.flatten(params)[1]
        names, patterns = [path for path, _ in every], tuple(frozen)
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in names):
                near = did_you_mean(pattern, names, "give such as blocks.0.*")
                raise ValueError(f"freeze names parameters, and none is called {pattern}: {near}")
        self.trained = {n for n in names if not any(fnmatchcase(n, p) for p in patterns)}
        if not self.trained:
            raise ValueError(
                f"something has to be trained, and freeze = {', '.join(patterns)} leaves no "
                "parameter: leave the head out of it"
            )
        self._frozen = {path: leaf for path, leaf in every if path not in self.trained}
        self._names = names

    def of(self, params: Params) -> dict[str, Array]:
        """{path: array} of what is trained."""
        return self.of_paths(dict(trees.paths(params)))

    def of_paths(self, values: dict[str, Any]) -> dict[str, Any]:
        """Of {path: anything} what is trained."""
        return {path: value for path, value in values.items() if path in self.trained}

    def whole(self, part: dict[str, Array]) -> Params:
        """All parameters, with these instead of those that were trained before."""
        every = self._frozen | part
        return self._rebuild([every[path] for path in self._names])

    def state(self, state: State, change: Callable[[Any], Any]) -> State:
        """A state whose parameters, and their running mean, are changed by `of` or `whole`."""
        average = None if state.average is None else change(state.average)
        return replace(state, params=change(state.params), average=average)


def begin_part(part: Part, params: Params, optimizer: Optimizer, ema_decay: float) -> State:
    """The `State` before the first step: all parameters, and what is remembered of the part."""
    return part.state(begin(part.of(params), optimizer, ema_decay), part.whole)


def fit_part(
    part: Part, loss: Callable[[Params, Any], Any], batches: Iterable[Any], *, state: State,
    guard: Callable[..., str], **options: Any,
) -> Generator[Step, None, None]:  # fmt: skip
    """As `fit`, but only a `Part` is trained; states and steps have all parameters."""

    def loss_of_part(trained, batch):
        return loss(part.whole(trained), batch)

    def guard_of_part(index, trained, *rest):
        return guard(index, part.whole(trained), *rest)

    inner = part.state(state, part.of)
    options |= {"state": inner, "guard": guard_of_part}
    for step in fit(loss_of_part, inner.params, batches, **options):
        yield replace(
            step, params=part.whole(step.params), state=part.state(step.state, part.whole)
        )
