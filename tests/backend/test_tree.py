"""Trees of dicts, lists and tuples: visited in one order, rebuilt in the same shape, refused where
they differ.
"""

import pytest

from mvit_np.backend import tree

NESTED = {"blocks": [{"w": 1, "b": 2}, {"w": 3, "b": 4}], "pair": (5, [6]), "head": {"w": 7}}
PATHS = ["blocks.0.w", "blocks.0.b", "blocks.1.w", "blocks.1.b", "pair.0", "pair.1.0", "head.w"]


def test_paths_name_every_leaf_in_order():
    assert tree.paths(NESTED) == list(zip(PATHS, [1, 2, 3, 4, 5, 6, 7]))


def test_leaves_come_in_the_order_of_paths():
    assert tree.leaves(NESTED) == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("empty", [{}, [], (), {"a": [], "b": {}}])
def test_an_empty_tree_has_no_leaves(empty):
    assert tree.leaves(empty) == [] == tree.flatten(empty)[0]
    assert tree.map(abs, empty) == empty


def test_a_leaf_is_a_tree():
    assert tree.paths(5) == [("", 5)]
    assert tree.map(lambda x: x + 1, 5) == 6


def test_map_keeps_the_shape_and_the_kinds():
    doubled = tree.map(lambda x: 2 * x, NESTED)
    assert doubled == {
        "blocks": [{"w": 2, "b": 4}, {"w": 6, "b": 8}],
        "pair": (10, [12]),
        "head": {"w": 14},
    }
    assert NESTED["pair"] == (5, [6])


def test_map_pairs_leaves_by_key_in_the_order_of_the_first_tree():
    seen = []
    tree.map(lambda *pair: seen.append(pair), {"a": 1, "b": [2, 3]}, {"b": [20, 30], "a": 10})
    assert seen == [(1, 10), (2, 20), (3, 30)]


def test_map_of_three_trees():
    assert tree.map(lambda x, y, z: x + y * z, [1, {"a": 2}], [3, {"a": 4}], [5, {"a": 6}]) == [
        16,
        {"a": 26},
    ]


def test_flatten_rebuilds_the_tree_from_other_leaves():
    leaves, rebuild = tree.flatten(NESTED)
    assert leaves == tree.leaves(NESTED) and rebuild(leaves) == NESTED
    assert rebuild([str(leaf) for leaf in leaves]) == tree.map(str, NESTED)


@pytest.mark.parametrize(
    ("one", "other", "named"),
    [
        ({"w": 1, "b": 2}, {"w": 1}, ["'b'"]),
        ({"w": 1}, {"w": 1, "g": 2, "b": 3}, ["'b'", "'g'"]),
        ({"blocks": [{"w": 1}]}, {"blocks": [{"v": 1}]}, ["'v'", "'w'"]),
        ([1, 2], [1], ["1"]),
        ({"w": [1]}, {"w": 1}, ["leaf", "list"]),
        ({"w": 1}, [1], ["0", "'w'"]),
    ],
)
def test_trees_of_different_shape_are_refused_by_the_keys_that_differ(one, other, named):
    with pytest.raises(ValueError, match="trees differ") as error:
        tree.map(lambda x, y: x, one, other)
    assert all(name in str(error.value) for name in named)
