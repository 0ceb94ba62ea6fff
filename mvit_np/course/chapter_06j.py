"""Exercise of notebook 06b: the backward pass over a graph of arrays."""

# A solution is written as a student would, without types:
# mypy: disable-error-code="attr-defined, var-annotated"

from __future__ import annotations

from functools import partial

import numpy as np

from .. import ops
from .checker import SPECIFICATION, Exercise
from .own_tape import Node, record


def tape_gradients(end, leaves, dy):
    """The gradients of the end of a graph of arrays by some of its leaves.

    end: a node   leaves: a list of nodes   dy: an array like end.value, what arrives at the end
    ->   a list of arrays, one per leaf
    A node has a .value, .parents (a list of the nodes it was computed from, empty for a leaf), and
    .pull(dy), a list with one gradient per parent. A leaf that the end does not depend on gets
    zeros. Two gradients that come out of a .pull may be one and the same array: do not write into
    them.
    Hint: your tape_backward has the same two steps, an order and a loop. Nodes may be the keys of a
    dictionary.
    """
    order = []

    def visit(node):
        for parent in node.parents:
            if parent not in order:
                visit(parent)
        order.append(node)

    visit(end)
    total = {end: dy}
    for node in reversed(order):
        if node.parents:
            for parent, gradient in zip(node.parents, node.pull(total[node])):
                total[parent] = total[parent] + gradient if parent in total else gradient
    return [total.get(leaf, np.zeros_like(leaf.value)) for leaf in leaves]


def _reference(end, leaves, dy):
    """arrived = start + what the users of a node pull back, as a system of linear equations."""
    nodes = list(_below(end, {}))
    ends = np.cumsum([0, *(node.value.size for node in nodes)])
    place = {node: slice(*pair) for node, *pair in zip(nodes, ends[:-1], ends[1:])}
    into, start = np.zeros((ends[-1], ends[-1])), np.zeros(ends[-1])
    start[place[end]] = dy.ravel()
    for node in nodes:
        for i in range(node.value.size if node.parents else 0):
            unit = np.zeros(node.value.size)
            unit[i] = 1
            for parent, gradient in zip(node.parents, node.pull(unit.reshape(node.shape))):
                into[place[parent], place[node].start + i] += gradient.ravel()
    arrived = np.linalg.solve(np.eye(len(start)) - into, start)
    return [arrived[place[leaf]].reshape(leaf.shape) if leaf in place else 0 * leaf.value
            for leaf in leaves]  # fmt: skip


def _below(node, found):
    found[node] = None
    for parent in node.parents:
        _below(parent, found)
    return found


def _op(fun, count):
    """An op of the package for nodes, of so many arrays."""
    return partial(record, fun, lambda *args: fun.definition(*args[:-1])[1](args[-1]), range(count))


def _gelu(x):
    return record(ops.gelu, lambda x, dy: ops.gelu.definition(x)[1](dy)[0], (0,), x)


_linear, _norm = _op(ops.linear, 3), _op(ops.layer_norm, 3)


def _graphs(rng):
    def drawn(*shapes):
        return [
            Node(rng.standard_normal(shape), name=f"leaf {i}") for i, shape in enumerate(shapes)
        ]

    x, w, b, unused = leaves = drawn((2, 3), (3, 3), (3,), (4,))
    hidden = x + _linear(x, w, b)
    deep = _linear(_gelu(hidden), w, b)
    end = (deep + hidden) + (hidden + x)
    yield end, leaves, rng.standard_normal((2, 3))
    x, g, b = leaves = drawn((2, 4), (4,), (4,))
    middle = x + x
    end = _norm(middle, g, b) + (middle + _gelu(x))
    yield end, leaves[::-1], rng.standard_normal((2, 4))
    yield x, [x, g], rng.standard_normal((2, 4))


# -- what goes wrong -------------------------------------------------------------------------------


def _right_order(end, before=False):
    """Each node before its parents; or depth first, each where it is met."""
    order, seen = [], set()

    def visit(node):
        seen.add(node)
        if before:
            order.append(node)
        for parent in node.parents:
            if parent not in seen:
                visit(parent)
        if not before:
            order.append(node)

    visit(end)
    return order if before else order[::-1]


def _breadth_first(end):
    order = [end]
    for node in order:
        order += [parent for parent in dict.fromkeys(node.parents) if parent not in order]
    return order


def _in_order(order, arrive=lambda total, parent, came: total[parent] + came, pairs=zip):
    """The loop over another order, perhaps with another way to add."""

    def wrong(end, leaves, dy):
        total = {end: dy}
        for node in order(end):
            for parent, came in pairs(node.parents, node.pull(total[node]) if node.parents else ()):
                total[parent] = arrive(total, parent, came) if parent in total else came
        return [total.get(leaf, np.zeros_like(leaf.value)) for leaf in leaves]

    return wrong


def _in_place(total, parent, came):
    total[parent] += came
    return total[parent]


def _dy_for_all(end, leaves, dy):
    """Every node passes on what began at the end."""
    total = {}
    for node in _right_order(end):
        for parent, came in zip(node.parents, node.pull(dy) if node.parents else ()):
            total[parent] = total[parent] + came if parent in total else came
    return [total.get(leaf, np.zeros_like(leaf.value)) for leaf in leaves]


def _unused_left_out(end, leaves, dy):
    used = [leaf for leaf in leaves if leaf in _below(end, {})]
    return tape_gradients(end, used, dy)


def _from_ones(end, leaves, dy):
    return tape_gradients(end, leaves, np.ones_like(dy))


TAPE_GRADIENTS = Exercise(
    tape_gradients,
    _reference,
    _graphs,
    (
        ("what arrives overwrites what has arrived before: add it",
         _in_order(_right_order, lambda total, parent, came: came)),
        ("a node passes on before everything has arrived: the order is breadth first",
         _in_order(_breadth_first)),
        ("a node passes on before everything has arrived: write it down after its parents, not "
         "before, and read the list backwards",
         _in_order(partial(_right_order, before=True))),
        ("a parent that stands twice in a node's list gets both gradients: yours gets the last",
         _in_order(_right_order, pairs=lambda *both: dict(zip(*both)).items())),
        ("a gradient is added in place, into an array that belongs to another node too",
         _in_order(_right_order, _in_place)),
        ("a leaf that the end was not made of is left out: it gets zeros", _unused_left_out),
        ("every node passes on what began at the end: pass on what has arrived at the node",
         _dy_for_all),
        ("the pass begins with ones: it begins with dy", _from_ones),
    ),
    single=False,
    level=SPECIFICATION,
)  # fmt: skip

EXERCISES = (TAPE_GRADIENTS,)
