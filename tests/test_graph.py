"""Recorded steps on the device double, which replays in the same arrays what a recording wrote down."""

from dataclasses import replace

import double_cuda
import numpy as np
import pytest
from device_double import from_host, to_host

import mvit_np as mv
from mvit_np import tree as trees
from mvit_np.device.graph import WARM_UP, Graphed

double_cuda.install()

MICRO = mv.preset("mvit_micro")
FAMILY = {
    "MViT": MICRO,
    "max pooling, mean of tokens": replace(MICRO, pool="max", pool_kernel="s+1", cls_token=False),
    "MViTv2": replace(
        MICRO, positions="relative", pool_q_always=True, residual_pooling="tokens", expand_in="attention", depths=(1, 2)
    ),
    "Rev-MViT": replace(MICRO, reversible=True, expand_in="attention", skip="plain", cls_token=False),
}


def on_device(tree):
    return trees.map(from_host, tree)


def descent(config):
    """A step of gradient descent: (parameters, batch) -> (parameters, loss)"""

    def step(params, batch):
        def loss(params):
            return mv.cross_entropy(mv.forward(params, batch["clips"], config), batch["labels"], 0.1)

        value, grads = mv.value_and_grad(loss)(params)
        return trees.map(lambda p, g: p - 0.02 * g, params, grads), value

    return step


def batches(config, rng, count):
    for i in range(count):
        clips = rng.standard_normal((2, *config.thw, config.channels)).astype("float32")
        yield {"clips": clips, "labels": np.array([i % 2, 1])}


@pytest.mark.parametrize("name", FAMILY)
def test_replays_do_what_the_steps_do(name, rng):
    config = FAMILY[name]
    step, params = descent(config), mv.init(config, rng)
    first, *more = map(on_device, batches(config, rng, 4))
    graphed = Graphed(step, on_device(params), first)

    params = on_device(params)
    for batch in (first, *more):
        params, loss = step(params, batch)
        np.testing.assert_allclose(to_host(graphed(batch)), to_host(loss), rtol=2e-5)
    for a, b in zip(trees.leaves(graphed.carried), trees.leaves(params)):
        np.testing.assert_allclose(to_host(a), to_host(b), rtol=2e-5, atol=2e-5)


def test_what_it_was_made_with_stays_as_it_was(rng):
    start, given = from_host(np.zeros(3)), from_host(np.ones(3))

    def step(total, x):
        total += x
        x *= 2
        return total, total.sum()

    graphed = Graphed(step, start, given)
    assert to_host(start).tolist() == [0, 0, 0] and to_host(given).tolist() == [1, 1, 1]
    assert to_host(graphed(given)) == 3 and to_host(graphed(given)) == 6
    assert to_host(start).tolist() == [0, 0, 0] and to_host(graphed.carried).tolist() == [2, 2, 2]


def test_results_are_overwritten_and_a_number_is_the_same_in_all_replays():
    calls = []

    def step(nothing, x):
        calls.append(None)
        return nothing, x + len(calls)

    graphed = Graphed(step, {}, from_host(np.zeros(1)))
    kept = graphed(from_host(np.zeros(1)))
    assert to_host(kept).tolist() == [WARM_UP + 1]
    graphed(from_host(np.full(1, 10.0)))
    assert to_host(kept).tolist() == [WARM_UP + 11] and len(calls) == WARM_UP + 1


@pytest.mark.parametrize(
    "peek",
    [lambda x: from_host(np.ones(2)), lambda x: x.get(), lambda x: float(x.sum()), lambda x: double_cuda.NULL.synchronize()],
)
def test_who_looks_or_copies_on_the_way_is_told(peek):
    recorded = []

    def step(nothing, x):
        if double_cuda.device_double.recording:
            recorded.append(peek(x))
        return nothing, x + 1

    with pytest.raises(RuntimeError, match="neither waits for the device nor copies from the host; here: ") as error:
        Graphed(step, {}, from_host(np.ones(2)))
    assert "\n" not in str(error.value) and not recorded
    assert not double_cuda.device_double.recording  # the recording is over
