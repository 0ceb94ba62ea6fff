"""The course's stand-in for a GPU: what it counts and refuses, and that it computes rightly."""

import numpy as np
import pytest

import mvit_np as mv
from mvit_np import ops
from mvit_np.course import stand_in

MICRO = mv.preset("mvit_micro")
NEEDS_GCC = pytest.mark.skipif(stand_in.GCC is None, reason="compiles kernels with gcc")


@pytest.fixture(autouse=True)
def from_zero():
    stand_in.clear()


def numbers(*shape):
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


def loss_of(params, clips, labels):
    return mv.cross_entropy(mv.forward(params, clips, MICRO), labels)


def a_step():
    params = mv.init(MICRO, np.random.default_rng(0))
    return params, numbers(2, *MICRO.thw, 1), np.array([0, 1])


def test_launches_and_bytes_of_a_softmax():
    x = numbers(3, 5)
    y = ops.softmax(stand_in.put(x))
    np.testing.assert_array_equal(mv.to_host(y), ops.softmax(x))
    one_array, one_column = 4 * 15, 4 * 3
    assert stand_in.launched["max"] == 1 == stand_in.launched["exp"]
    assert stand_in.moved["max"] == one_array + one_column
    assert stand_in.moved["exp"] in (2 * one_array, one_array)  # in place, or into a new array


def test_views_and_new_memory_launch_nothing():
    x = stand_in.put(numbers(4, 6))
    for view in (x.T, x[1:], x.reshape(6, 4), x[:, None]):
        assert isinstance(view, stand_in.Handle)
    assert not stand_in.launched
    x[...] = 0.0
    assert stand_in.launched == {"_store": 1} and not x.get().any()


def test_what_cupy_refuses_is_refused():
    x = stand_in.put(numbers(2, 2))
    for mixture in (lambda: x + numbers(2, 2), lambda: np.asarray(x)):
        with pytest.raises(TypeError):
            mixture()
    params, clips, _ = a_step()
    with pytest.raises(TypeError, match="a mixture of numpy and stand_in"):
        mv.forward(stand_in.put(params), clips, MICRO)


@pytest.mark.parametrize("with_tools", [False, pytest.param(True, marks=NEEDS_GCC)])
def test_gradients_are_those_of_numpy(with_tools):
    here = a_step()
    expected = mv.value_and_grad(loss_of)(*here)[1]
    there = [stand_in.put(part) for part in here]
    if with_tools:
        with stand_in.tools():
            found = mv.value_and_grad(loss_of)(*there)[1]
        assert stand_in.launched["product"] and set(stand_in.launched) & stand_in.own
    else:
        found = mv.value_and_grad(loss_of)(*there)[1]
        assert "product" not in stand_in.launched
    for ours, theirs in zip(mv.tree.leaves(expected), mv.tree.leaves(found), strict=True):
        np.testing.assert_allclose(mv.to_host(theirs), ours, atol=2e-4)


def test_counting_alone_counts_the_same():
    here = [stand_in.put(part) for part in a_step()]
    counts = []
    for only in (False, True):
        stand_in.clear()
        with stand_in.tools():
            if only:
                with stand_in.counting_only():
                    mv.value_and_grad(loss_of)(*here)
            else:
                mv.value_and_grad(loss_of)(*here)
        counts.append(stand_in.launched.copy())
    assert counts[0] == counts[1] and counts[0].total() > 50


def test_a_recording_works_on_the_same_arrays_and_keeps_python_numbers():
    x, factor = stand_in.put(numbers(3)), 2.0
    before = x.get()
    y, replay, count = stand_in.recorded(lambda: x * factor + 1.0)
    assert count == 2
    np.testing.assert_allclose(y.get(), 2 * before + 1, rtol=1e-6)
    x[...] = stand_in.put(np.ones(3, np.float32))
    factor = 100.0
    replay()
    np.testing.assert_array_equal(y.get(), np.full(3, 3, np.float32))
