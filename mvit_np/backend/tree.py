"""Parameters are nested dicts and lists of arrays; this is what one does with such a tree."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from .types import Array, Tree


def flatten(tree: Tree) -> tuple[list[Any], Callable[[Sequence[Any]], Tree]]:
    """The leaves of a tree of dicts, lists and tuples, in order, and what rebuilds it from them."""
    leaves: list[Any] = []
    skeleton = _strip(tree, leaves)
    return leaves, lambda values: _fill(skeleton, values)


def leaves(tree: Tree) -> list[Any]:
    """The leaves in order (a dict's in its own key order)."""
    return flatten(tree)[0]


def paths(tree: Tree, prefix: str = "") -> list[tuple[str, Any]]:
    """(path, leaf) pairs; a path reads like `blocks.3.attn.qkv.w`, of a lone leaf it is empty."""
    items = _items(tree)
    if items is None:
        return [(prefix, tree)]
    start = f"{prefix}." if prefix else ""
    return [pair for key, child in items for pair in paths(child, f"{start}{key}")]


def map(fun: Callable[..., Any], tree: Tree, *others: Tree) -> Tree:
    """`fun` of every leaf (and those at the same path in `others`), as a tree of the same shape.

    Raises ValueError where the trees differ in shape.
    """
    for other in others:
        _same_keys(tree, other)
    items = _items(tree)
    if items is None:
        return fun(tree, *others)
    children = {key: map(fun, child, *[other[key] for other in others]) for key, child in items}
    return children if isinstance(tree, dict) else type(tree)(children.values())


def views(flat: Array, leaves: Sequence[Array]) -> list[Array]:
    """A flat array cut into arrays of the leaves' shapes, in order: views of it."""
    ends = itertools.accumulate((leaf.size for leaf in leaves), initial=0)
    return [flat[a:b].reshape(leaf.shape) for leaf, (a, b) in zip(leaves, itertools.pairwise(ends))]


def _items(tree):
    if isinstance(tree, dict):
        return tree.items()
    if isinstance(tree, (list, tuple)):
        return enumerate(tree)
    return None


def _same_keys(tree, other):
    if isinstance(tree, dict) and isinstance(other, dict) and tree.keys() == other.keys():
        return  # the usual case, and there are many
    here, there = _items(tree), _items(other)
    if (here is None) != (there is None):
        came = type(tree if there is None else other).__name__
        raise ValueError(f"trees differ: one has a leaf where the other has {came}")
    if here is not None and (differing := {key for key, _ in here} ^ {key for key, _ in there}):
        raise ValueError(f"trees differ: only one of them has {sorted(differing, key=str)}")


def _strip(tree, leaves):
    if isinstance(tree, dict):
        return {key: _strip(child, leaves) for key, child in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)([_strip(child, leaves) for child in tree])
    leaves.append(tree)
    return len(leaves) - 1


def _fill(skeleton, values):
    if isinstance(skeleton, int):
        return values[skeleton]
    if isinstance(skeleton, dict):
        return {key: _fill(child, values) for key, child in skeleton.items()}
    return type(skeleton)([_fill(child, values) for child in skeleton])
