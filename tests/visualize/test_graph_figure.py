"""The drawing of a graph: what is made of something lies above it, and nothing is in the way."""

import numpy as np
import pytest
from figure_layout import check_layout, words

from mvit_np.visualize import graph_figure


def random_graph(count, seed):
    """Each node made of up to two of those before it, then numbered anew in a random order."""
    rng = np.random.default_rng(seed)
    names = rng.permutation(count)
    parents = [()] * count
    for at in range(1, count):
        own = rng.choice(at, size=min(at, rng.integers(0, 3)), replace=False)
        parents[names[at]] = tuple(int(names[other]) for other in own)
    return parents


def places(figure):
    """{the label of a node: (x, y) of its middle in inches}"""
    return {text.get_text(): text.get_position() for text in words(figure)}


@pytest.mark.parametrize("seed", range(5))
def test_a_node_lies_above_all_that_it_was_made_of(seed):
    parents = random_graph(12, seed)
    figure = graph_figure([f"n{at}" for at in range(12)], parents, "A graph")
    check_layout(figure)
    found = places(figure)
    for at, made_of in enumerate(parents):
        assert all(found[f"n{at}"][1] > found[f"n{other}"][1] for other in made_of)


def test_a_source_lies_just_below_its_first_user():
    parents = [(), (0,), (1,), (), (2, 3)]
    found = places(graph_figure(list("abcde"), parents, "A chain and a weight"))
    assert found["d"][1] == found["c"][1] < found["e"][1]


def test_words_beside_a_node_are_drawn_and_a_chain_is_straight():
    figure = graph_figure(["a", "b", "c"], [(), (0,), (1,)], "A chain", beside=["", "8 × 96", ""])
    found = places(figure)
    assert "8 × 96" in found
    assert found["a"][0] == pytest.approx(found["b"][0]) == pytest.approx(found["c"][0])


def test_a_circle_is_refused():
    with pytest.raises(ValueError, match="was made of itself"):
        graph_figure(["a", "b"], [(1,), (0,)], "A circle")
