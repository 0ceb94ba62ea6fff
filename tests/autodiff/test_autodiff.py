"""The tape: right gradients over trees, memory given back, robust where autograd alone is not."""

import gc
import threading
import tracemalloc

import autograd
import autograd.numpy as anp
import numpy as np
import pytest

import mvit_np as mv
from mvit_np import ops
from mvit_np.autodiff.checkpoint import checkpoint
from mvit_np.autodiff.tape import op, value_and_grad, vjp
from mvit_np.backend import tree as trees


def quadratic(params, x):
    """Half the sum of squares of x W + b, as an op-only function."""
    y = ops.linear(x, params["layer"]["w"], params["layer"]["b"])
    return half_square(y)


@op
def half_square(x):
    return 0.5 * (x * x).sum(), lambda dy: (x * dy,)


@pytest.fixture
def params(rng):
    return {"layer": {"w": rng.standard_normal((3, 2)), "b": rng.standard_normal(2)}}


def test_value_and_gradients_over_a_tree(params, rng):
    x = rng.standard_normal((4, 3))
    value, grads = value_and_grad(quadratic)(params, x)
    y = x @ params["layer"]["w"] + params["layer"]["b"]
    assert value == pytest.approx(0.5 * (y**2).sum())
    np.testing.assert_allclose(grads["layer"]["w"], x.T @ y)
    np.testing.assert_allclose(grads["layer"]["b"], y.sum(0))


def test_several_arguments_and_aux(params, rng):
    x = rng.standard_normal((4, 3))
    (value, aux), (d_params, dx) = value_and_grad(
        lambda p, x: (quadratic(p, x), {"twice": x}), (0, 1), has_aux=True
    )(params, x)
    np.testing.assert_allclose(
        dx, (x @ params["layer"]["w"] + params["layer"]["b"]) @ params["layer"]["w"].T
    )
    assert aux["twice"] is x and set(d_params) == {"layer"}


def test_an_untouched_leaf_gets_zeros_and_a_shared_one_the_sum(rng):
    x, unused = rng.standard_normal(3), rng.standard_normal((2, 2)).astype("float32")
    _, grads = value_and_grad(lambda p: half_square(ops.add(p["x"], p["x"])))(
        {"x": x, "unused": unused}
    )
    np.testing.assert_allclose(grads["x"], 4 * x)
    assert not grads["unused"].any() and grads["unused"].dtype == np.float32


def test_autograd_numpy_may_be_mixed_in_on_the_host(rng):
    x = rng.standard_normal((2, 3))
    value, grad = value_and_grad(lambda x: anp.sum(anp.sin(ops.scale(x, 3.0))[:, 1:]))(x)
    expected = 3 * np.cos(3 * x)
    expected[:, 0] = 0
    np.testing.assert_allclose(grad, expected)
    np.testing.assert_allclose(
        autograd.grad(lambda x: anp.sum(ops.split_class(ops.gelu(x))[1] ** 2))(x[..., None])[:, 0],
        0,
    )


def test_several_results_of_which_one_is_used(rng):
    x = rng.standard_normal((2, 3, 12))
    _, grad = value_and_grad(lambda x: half_square(ops.split_channels(x, 3)[1]))(x)
    np.testing.assert_allclose(grad[..., 4:8], x[..., 4:8])
    assert not grad[..., :4].any() and not grad[..., 8:].any()


# -- mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda x: value_and_grad(lambda x: ops.scale(x, 2.0))(x), ValueError, "scalar"),
        (lambda x: value_and_grad(lambda x: np.float64(3))(x), ValueError, "depends on no"),
        (lambda x: value_and_grad(half_square)(np.arange(3)), TypeError, "int64"),
        (
            lambda x: value_and_grad(lambda p: half_square(p["a"]))({"a": x, "b": None}),
            TypeError,
            "0.b",
        ),
        (
            lambda x: value_and_grad(lambda x: half_square(ops.add(x, y=x)))(x),
            TypeError,
            "positionally",
        ),
        (
            lambda x: value_and_grad(lambda r: half_square(ops.residual(x, x, r)))(x),
            TypeError,
            "no gradient for its argument 2",
        ),
    ],
)
def test_mistakes_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call(np.ones(3))


def test_first_order_only_and_it_says_so(rng):
    x = rng.standard_normal(3)
    inner = value_and_grad(half_square)
    with pytest.raises((TypeError, ValueError), match="order|once"):
        value_and_grad(lambda x: half_square(inner(x)[1]))(x)
    with pytest.raises((TypeError, ValueError), match="order|once"):
        autograd.grad(lambda y: value_and_grad(lambda x: half_square(ops.add(x, y)))(x)[0])(x)


def test_an_independent_inner_gradient_is_fine(rng):
    x, y = rng.standard_normal((2, 3))

    def outer(x):
        inside = value_and_grad(half_square)(y)[1]
        by_autograd = autograd.grad(lambda z: anp.sum(z**2))(y)
        return half_square(ops.add(x, inside + by_autograd))

    np.testing.assert_allclose(value_and_grad(outer)(x)[1], x + 3 * y)


def test_autograd_inside_ours_may_use_the_outer_value(rng):
    x, y = rng.standard_normal((2, 3))

    def outer(x):
        inner = autograd.grad(lambda z: anp.sum(z**2 * x))(y)
        return half_square(inner)

    np.testing.assert_allclose(value_and_grad(outer)(x)[1], (2 * y) ** 2 * x)


# -- robust ----------------------------------------------------------------------------------------


def test_an_exception_inside_a_trace_leaves_the_next_one_working(params, rng):
    x = rng.standard_normal((4, 3))
    before = value_and_grad(quadratic)(params, x)

    def broken(params, x):
        quadratic(params, x)
        raise RuntimeError("half way")

    for _ in range(3):
        with pytest.raises(RuntimeError, match="half way"):
            value_and_grad(broken)(params, x)
    after = value_and_grad(quadratic)(params, x)
    trees.map(np.testing.assert_array_equal, before[1], after[1])
    np.testing.assert_allclose(autograd.grad(lambda x: anp.sum(x**2))(x), 2 * x)


def test_threads_may_differentiate_at_once():
    config = mv.preset("mvit_micro")
    params = mv.init(config, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    clips = [rng.standard_normal((2, 8, 32, 32, 1)).astype("float32") for _ in range(4)]
    gradient = value_and_grad(
        lambda p, clip: mv.cross_entropy(mv.forward(p, clip, config), np.array([0, 1]))
    )
    alone = [gradient(params, clip)[1] for clip in clips]
    results, together = [[] for _ in clips], threading.Barrier(len(clips))

    def work(i):
        together.wait()
        results[i] += [gradient(params, clips[i])[1] for _ in range(5)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(clips))]
    [thread.start() for thread in threads], [thread.join() for thread in threads]
    for i, grads in enumerate(alone):
        assert len(results[i]) == 5
        for other in results[i]:
            trees.map(np.testing.assert_array_equal, grads, other)


# -- memory ----------------------------------------------------------------------------------------


def megabytes_alive():
    gc.collect()
    return tracemalloc.get_traced_memory()[0] / 2**20


@op
def keeps_a_megabyte(x):
    kept = np.ones(2**17)

    def backward(dy):
        keeps_a_megabyte.seen.append(megabytes_alive())
        return (dy * kept[0],)

    return x * 1, backward


def test_the_backward_pass_frees_what_it_has_used(few_objects):
    def chain(x):
        for _ in range(20):
            x = keeps_a_megabyte(x)
        return half_square(x)

    keeps_a_megabyte.seen = []
    tracemalloc.start()
    start = megabytes_alive()
    value_and_grad(chain)(np.ones(2))
    left = megabytes_alive() - start
    tracemalloc.stop()
    seen = np.array(keeps_a_megabyte.seen) - start
    assert seen[0] > 19 and seen[-1] < 2 and (np.diff(seen) < -0.5).all() and left < 1


def test_without_a_trace_nothing_is_kept(rng, few_objects):
    config = mv.preset("mvit_micro")
    params, clip = mv.init(config, rng), rng.standard_normal((4, 8, 32, 32, 1)).astype("float32")
    mv.forward(params, clip, config)
    tracemalloc.start()
    start = megabytes_alive()
    logits = mv.forward(params, clip, config)
    alive = megabytes_alive() - start
    tracemalloc.stop()
    assert logits.shape == (4, 2) and alive < 0.05


# -- checkpoint ------------------------------------------------------------------------------------


def test_checkpoint_gives_the_same_gradients_and_keeps_less(rng, few_objects):
    config = mv.preset("mvit_micro")
    params, clip = mv.init(config, rng), rng.standard_normal((8, 8, 32, 32, 1)).astype("float32")
    kept, grads = {}, {}
    for on in (False, True):
        tracemalloc.start()
        start = megabytes_alive()
        leaves, rebuild = trees.flatten(params)
        logits, pull = vjp(
            lambda *p, on=on, rebuild=rebuild: mv.forward(rebuild(p), clip, config, checkpoint=on),
            leaves,
        )
        kept[on] = megabytes_alive() - start
        tracemalloc.stop()
        grads[on] = pull(np.ones_like(logits))
    for a, b in zip(grads[False], grads[True]):
        np.testing.assert_array_equal(a, b)
    assert kept[True] < 0.25 * kept[False]


def test_checkpoint_replays_random_masks(rng):
    def noisy(x, rng=None):
        return ops.scale(x, rng.random(x.shape))

    x = np.ones(5)
    _, plain = value_and_grad(lambda x: half_square(noisy(x, rng=np.random.default_rng(7))))(x)
    _, replayed = value_and_grad(
        lambda x: half_square(checkpoint(noisy)(x, rng=np.random.default_rng(7)))
    )(x)
    np.testing.assert_array_equal(plain, replayed)


def test_a_gradient_given_as_a_function_is_called_only_where_needed():
    calls = []

    @op
    def lazy(x, y):
        return x + y, lambda dy: (dy, lambda: calls.append(1) or dy)

    value_and_grad(lambda x: half_square(lazy(x, np.ones(2))))(np.ones(2))
    assert not calls
    value_and_grad(lambda y: half_square(lazy(np.ones(2), y)))(np.ones(2))
    assert calls == [1]
