"""A tape for the reader's own model: their forward pieces leave nodes, their backward ones pull.

What is left to write is the loop over the nodes, exercise 06.tape_gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial, update_wrapper
from types import SimpleNamespace
from typing import Any

from .. import ops
from ..backend import tree as trees

# The pieces that become nodes, and which of their arguments have gradients. `block` and `forward`
# call them, and become part of the graph by themselves.
RECORDED = {
    "cube_embed": (1, 2),
    "add_class_and_positions": range(5),
    "attention_layer": (0, 1),
    "pooled_skip": (0,),
    "mlp_block": range(7),
    "widening_mlp": range(9),
    "head": (0, 1),
}


class Node:
    """A value on the tape, the nodes that it was made of, and the way back to them.

    pull  from the gradient by the value to a list, one gradient per parent
    """

    __array_ufunc__ = None  # so that array + node asks the node

    def __init__(
        self,
        value: Any,
        parents: Sequence[Node] = (),
        pull: Callable[[Any], list] | None = None,
        name: str = "leaf",
    ) -> None:
        self.value, self.parents, self.pull, self.name = value, list(parents), pull, name
        self.shape = value.shape

    def __add__(self, other: Any) -> Node:
        return record(*_ADD, self, other)

    def __radd__(self, other: Any) -> Node:
        return record(*_ADD, other, self)

    def __getattr__(self, name: str) -> Any:
        known = "a node of the tape has a .value, a .shape, and sums"
        raise AttributeError(f"{known}, and no .{name}: write this inside of one of your pieces")

    def __repr__(self) -> str:
        return f"<{self.name} {self.shape}>"


def record(forward: Callable, backward: Callable, by: Sequence[int], *args: Any) -> Any:
    """forward(*args), as a node where an argument is a node or a tree that holds some.

    by  the places of the arguments whose gradients `backward` returns, in their order
    """
    plain = [trees.map(_value, arg) for arg in args]
    value = forward(*plain)
    parents = [leaf for place in by for leaf in trees.leaves(args[place]) if _is_node(leaf)]
    if not parents:
        return value

    def pull(dy):
        found = backward(*plain, dy)
        found = found if len(by) > 1 else (found,)
        pairs = [
            pair for place, gradient in zip(by, found) for pair in _pairs(args[place], gradient)
        ]
        return [gradient for leaf, gradient in pairs if _is_node(leaf)]

    return Node(value, parents, pull, forward.__name__.strip("_"))


def instead(pieces: Mapping[str, Callable]) -> dict[int, Any]:
    """{id of what a piece calls: what it calls on the tape}."""

    def norm_backward(x, g, b, *eps_and_dy):
        *eps, dy = eps_and_dy
        return pieces["layer_norm_backward"](x, g, dy, *(eps or [1e-6]))

    norm = _recorded(ops.layer_norm, norm_backward, range(3))
    gelu = _recorded(ops.gelu, pieces["gelu_backward"], (0,))
    recorded: dict[int, Any] = {
        id(ops): SimpleNamespace(**{**vars(ops), "layer_norm": norm, "gelu": gelu}),
        id(ops.layer_norm): norm,
        id(ops.gelu): gelu,
    }
    for name, by in RECORDED.items():
        call = _recorded(pieces[name], pieces[f"{name}_backward"], by)
        recorded[id(pieces[name])] = _of_its_own(call) if name == "head" else call
    return recorded


def _recorded(forward, backward, by):
    return update_wrapper(partial(record, forward, backward, by), forward)


def _of_its_own(call):
    """The head, given only those parameters that are its own."""

    def head(params, x):
        return call({name: params[name] for name in ("norm", "head")}, x)

    return head


def _sum(x, y):
    return x + y


def _sum_backward(x, y, dy):
    """dy for both, summed where an axis was repeated."""
    return ops.add.definition(x, y)[1](dy)  # type: ignore[attr-defined]


_ADD = _sum, _sum_backward, (0, 1)


def _is_node(x):
    return isinstance(x, Node)


def _value(x):
    return x.value if _is_node(x) else x


def _pairs(tree, gradients):
    """(leaf, its gradient) pairs of two trees of the same keys."""
    pairs: list[tuple[Any, Any]] = []
    trees.map(lambda *pair: pairs.append(pair), tree, gradients)
    return pairs
