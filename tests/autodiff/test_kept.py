"""What is kept for the backward pass changes memory and time, and no gradient."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from op_results import assert_near, results

import mvit_np as mv
from mvit_np import ops
from mvit_np.autodiff.tape import vjp
from mvit_np.backend import tiles
from mvit_np.studies.gradient_cases import TINY, roughened

MLPS = {"many rows": (40, 3, 8, 4), "few rows": (3, 5, 12, 4)}


def arrays_of(rows, width, hidden, out):
    rng = np.random.default_rng(0)
    shapes = (2, rows, width), (width, hidden), (hidden,), (hidden, out), (out,)
    return [rng.standard_normal(shape) for shape in shapes]


@pytest.mark.parametrize("sizes", MLPS.values(), ids=MLPS)
@pytest.mark.parametrize("threads", [1, 3])
def test_a_hidden_layer_kept_gives_the_definitions_gradients(sizes, threads):
    arrays = arrays_of(*sizes)
    with mv.plain_ops():
        plainly = results(ops.mlp, arrays)
    with tiles.smallest(), mv.use_threads(threads):
        for name in ("inputs", "hidden"):
            with mv.keep(name):
                found = results(ops.mlp, arrays)
                assert_near(found, plainly)
                assert all(map(np.array_equal, found, results(ops.mlp, arrays)))


@pytest.mark.parametrize("checkpoint", [False, True])
def test_a_model_has_the_same_gradients(checkpoint):
    config, rng = replace(TINY, dropout=0.0), np.random.default_rng(0)
    params = mv.tree.map(np.float64, roughened(config))
    clip = rng.standard_normal((2, *config.thw, config.channels))

    def loss(params):
        scores = mv.forward(params, clip, config, checkpoint=checkpoint)
        return mv.cross_entropy(scores, np.array([0, 1]))

    expected = mv.tree.leaves(mv.value_and_grad(loss)(params)[1])
    with mv.keep("hidden"):
        assert_near(mv.tree.leaves(mv.value_and_grad(loss)(params)[1]), expected)


def kept_bytes(arrays):
    """What is still there between the forward and the backward pass of an MLP."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        value, pull = vjp(ops.mlp, arrays)
        return tracemalloc.get_traced_memory()[0] - before - value.nbytes
    finally:
        tracemalloc.stop()


def test_only_with_hidden_is_the_hidden_layer_there_between_the_passes():
    arrays = arrays_of(500, 4, 64, 4)
    size = 2 * 500 * 64 * 8
    assert kept_bytes(arrays) < size / 10
    with mv.keep("hidden"):
        assert size <= kept_bytes(arrays) < size * 1.1


def test_the_choice_ends_with_its_block_and_another_word_is_told_the_rule():
    from mvit_np.autodiff.kept import keeps

    with pytest.raises(KeyError), mv.keep("hidden"):
        with mv.keep("inputs"):
            assert keeps("inputs")
        assert keeps("hidden")
        raise KeyError
    assert keeps("inputs")
    with pytest.raises(ValueError, match="one of inputs, hidden; came 'all'"), mv.keep("all"):
        pass
