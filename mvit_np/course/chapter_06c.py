"""Exercises of notebook 06b: the backward pass over a graph, written from its description."""

from __future__ import annotations

import numpy as np

from .checker import SPECIFICATION, Exercise


def tape_backward(parents, slopes, end):
    """The derivatives of one node of a graph by all of its nodes.

    parents: for each node the numbers of the nodes it was computed from, a tuple of tuples
    slopes: (nodes, most parents), slopes[n, i] is the derivative of node n by its i-th parent
    end: the number of a node   ->   (nodes,), of the dtype of slopes
    The value of a node is one number. The numbering says nothing: a node may come before or after
    its parents. The derivative of `end` by itself is 1; by a node that has no influence on it,
    it is 0.
    Hint: first put the nodes in an order in which each comes before its parents. Then one loop is
    enough, which adds up what arrives at each parent.
    """
    order = []

    def visit(node):
        for parent in parents[node]:
            if parent not in order:
                visit(parent)
        order.append(node)

    visit(end)
    total = np.zeros(len(parents), slopes.dtype)
    total[end] = 1
    for node in reversed(order):
        for i, parent in enumerate(parents[node]):
            total[parent] += slopes[node, i] * total[node]
    return total


def _reference(parents, slopes, end):
    """arrived(n) = (n is the end) + the sum over its users, as a system of linear equations."""
    into = np.zeros((len(parents), len(parents)))
    for node, made_of in enumerate(parents):
        for i, parent in enumerate(made_of):
            into[parent, node] += slopes[node, i]
    start = np.arange(len(parents)) == end
    return np.linalg.solve(np.eye(len(parents)) - into, start).astype(slopes.dtype)


# The end is a node times itself, and 5 is made of it. Neither depth nor breadth first is right.
_FIRST = ((6, 3), (9,), (4, 4), (1, 8), (0, 3), (2, 7), (3, 1), (), (9,), (7,))
_SECOND = ((1, 2, 2), (3,), (3,), (4, 5), (), (4,), (0,))


def _graphs(rng):
    yield _FIRST, rng.uniform(0.5, 2, (10, 2)), 2
    yield _SECOND, rng.uniform(-2, 2, (7, 3)), 0
    yield ((), (0, 0), (1, 1), (2, 2), (3, 3)), rng.uniform(0.5, 1, (5, 2)), 4
    yield ((1,), (2,), ()), rng.uniform(0.5, 1, (3, 1)), 1


# -- what goes wrong -------------------------------------------------------------------------------


def _in_order(order, arrive=lambda before, came: before + came):
    """The loop over the nodes of `order(parents, end)`, perhaps with another way to add."""

    def wrong(parents, slopes, end):
        total = np.zeros(len(parents), slopes.dtype)
        total[end] = 1
        for node in order(parents, end):
            for i, parent in enumerate(parents[node]):
                total[parent] = arrive(total[parent], slopes[node, i] * total[node])
        return total

    return wrong


def _right_order(parents, end):
    return _first_met(parents, end, after=True)[::-1]


def _first_met(parents, end, after=False):
    """Depth first: each node when it is met, or after all that it was made of."""
    order, seen = [], set()

    def visit(node):
        seen.add(node)
        if not after:
            order.append(node)
        for parent in parents[node]:
            if parent not in seen:
                visit(parent)
        if after:
            order.append(node)

    visit(end)
    return order


def _breadth_first(parents, end):
    order = [end]
    for node in order:
        order += [parent for parent in dict.fromkeys(parents[node]) if parent not in order]
    return order


def _arrived_again(parents, slopes, end):
    """Each time that something arrives at a node, all that has arrived is passed on."""
    total = np.zeros(len(parents), slopes.dtype)
    total[end] = 1

    def pass_on(node):
        for i, parent in enumerate(parents[node]):
            total[parent] += slopes[node, i] * total[node]
            pass_on(parent)

    pass_on(end)
    return total


def _once_per_parent(parents, slopes, end):
    """One gradient per parent, in a dict: of two the last."""
    total = np.zeros(len(parents), slopes.dtype)
    total[end] = 1
    for node in _right_order(parents, end):
        for parent, slope in dict(zip(parents[node], slopes[node])).items():
            total[parent] += slope * total[node]
    return total


def _slopes_alone(parents, slopes, end):
    """Without what has arrived at the node itself."""
    total = np.zeros(len(parents), slopes.dtype)
    total[end] = 1
    for node in _right_order(parents, end):
        for i, parent in enumerate(parents[node]):
            total[parent] += slopes[node, i]
    return total


def _added_along_a_path(parents, slopes, end):
    total = np.zeros(len(parents), slopes.dtype)
    total[end] = 1
    for node in _right_order(parents, end):
        for i, parent in enumerate(parents[node]):
            total[parent] += slopes[node, i] + total[node]
    return total


def _without_a_start(parents, slopes, end):
    return 0 * tape_backward(parents, slopes, end)


def _of_leaves_alone(parents, slopes, end):
    leaves = np.array([not made_of for made_of in parents])
    return leaves * tape_backward(parents, slopes, end)


TAPE_BACKWARD = Exercise(
    tape_backward,
    _reference,
    _graphs,
    (
        ("what arrives overwrites what has arrived before: add it",
         _in_order(_right_order, arrive=lambda before, came: came)),
        ("a parent that stands twice in a node's list gets both gradients: yours gets the last",
         _once_per_parent),
        ("a node passes on before everything has arrived: the order is breadth first",
         _in_order(_breadth_first)),
        ("a node passes on before everything has arrived: write it down after its parents, not "
         "before, and read the list backwards",
         _in_order(_first_met)),
        ("a node passes on before everything has arrived: the numbers of nodes are no order",
         _in_order(lambda parents, end: range(len(parents)))),
        ("a node passes on before everything has arrived: the numbers of nodes, from the last to "
         "the first, are no order",
         _in_order(lambda parents, end: range(len(parents))[::-1])),
        ("the order begins with what was made of nothing: read it backwards",
         _in_order(lambda parents, end: _first_met(parents, end, after=True))),
        ("a node passes on all that it has each time that something arrives: once is right",
         _arrived_again),
        ("the chain rule multiplies: the slope times what has arrived at the node", _slopes_alone),
        ("the chain rule multiplies along a path: yours adds", _added_along_a_path),
        ("nothing starts: the derivative of the end by itself is 1", _without_a_start),
        ("a node that has passed on its derivative keeps it: yours has those of leaves alone",
         _of_leaves_alone),
    ),
    level=SPECIFICATION,
)  # fmt: skip

EXERCISES = (TAPE_BACKWARD,)
