"""Recorded steps on the device double, which replays in the same arrays what a recording wrote
down.
"""

from dataclasses import replace

import double_cuda
import numpy as np
import pytest
from device_double import from_host, to_host

import mvit_np as mv
from mvit_np.backend import tree as trees
from mvit_np.backend.cuda.graph import WARM_UP, Graphed
from mvit_np.backend.random import default_rng
from mvit_np.train import fit
from mvit_np.train.loop import adamw_with

double_cuda.install()

MICRO = mv.preset("mvit_micro")
FAMILY = {
    "MViT": MICRO,
    "max pooling, mean of tokens": replace(MICRO, pool="max", pool_kernel="s+1", cls_token=False),
    "MViTv2": replace(
        MICRO,
        positions="relative",
        pool_q_always=True,
        residual_pooling="tokens",
        expand_in="attention",
        depths=(1, 2),
    ),
    "Rev-MViT": replace(
        MICRO, reversible=True, expand_in="attention", skip="plain", cls_token=False
    ),
}


def on_device(tree):
    return trees.map(from_host, tree)


def descent(config):
    """A step of gradient descent: (parameters, batch) -> (parameters, loss)"""

    def step(params, batch):
        def loss(params):
            return mv.cross_entropy(
                mv.forward(params, batch["clips"], config), batch["labels"], 0.1
            )

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
    [
        lambda x: from_host(np.ones(2)),
        lambda x: x.get(),
        lambda x: float(x.sum()),
        lambda x: double_cuda.NULL.synchronize(),
    ],
)
def test_who_looks_or_copies_on_the_way_is_told(peek):
    recorded = []

    def step(nothing, x):
        if double_cuda.device_double.recording:
            recorded.append(peek(x))
        return nothing, x + 1

    with pytest.raises(
        RuntimeError, match="neither waits for the device nor copies from the host; here: "
    ) as error:
        Graphed(step, {}, from_host(np.ones(2)))
    assert "\n" not in str(error.value) and not recorded
    assert not double_cuda.device_double.recording  # the recording is over


# -- steps of training -----------------------------------------------------------------------------


def losses(config, graph, steps=6, ema_decay=0.9, bad=None, guard=None):
    """[(loss, norm)] and the last state of a short training on the device."""
    rng = np.random.default_rng(1)
    params, data = on_device(mv.init(config, rng)), list(batches(config, rng, steps))
    if bad is not None:
        data[bad]["clips"][0] = np.nan

    def loss(params, batch):
        return mv.cross_entropy(
            mv.forward(params, batch["clips"], config, rng=batch["masks"]), batch["labels"]
        ), None

    def given():
        for i, batch in enumerate(data):
            there = on_device(batch)
            yield there | {"masks": default_rng([7, i], like=there["clips"])}

    # a large one: gradients that are rounding alone are not blown up
    found, optimizer = [], adamw_with(eps=1e-3)
    settings = {"optimizer": optimizer, "ema_decay": ema_decay, "graph": graph, "guard": guard}
    for step in fit(loss, params, given(), lr=lambda i: 1e-2 * (i + 1), **settings):
        found.append((float(to_host(step.loss)), float(to_host(step.norm))))
    return np.array(found), step


@pytest.mark.parametrize("name, ema", [("MViT", 0.9), ("MViTv2", 0.0)])
def test_training_by_graph_is_training(name, ema):
    config = replace(FAMILY[name], drop_path=0.3, dropout=0.3)
    plain, last = losses(config, False, ema_decay=ema)
    replayed, graphed = losses(config, True, ema_decay=ema)
    np.testing.assert_allclose(replayed, plain, rtol=1e-4)
    assert graphed.state.step == last.state.step == 6 and graphed.state.optimizer["step"] == 6
    for a, b in zip(state_leaves(graphed), state_leaves(last), strict=True):
        np.testing.assert_allclose(to_host(a), to_host(b), rtol=1e-3, atol=1e-5)


def state_leaves(step):
    flat = [step.state.optimizer[name] for name in ("exp_avg", "exp_avg_sq")]
    return [
        *trees.leaves(step.state.params),
        *flat,
        *(trees.leaves(step.state.average) if step.state.average else []),
    ]


def test_a_step_that_is_not_finite_changes_nothing_by_graph():
    def guard(index, params, batch, loss, grads, norm):
        return "" if np.isfinite(to_host(norm)) else "not finite"

    plain, last = losses(MICRO, False, bad=2, guard=guard)
    replayed, graphed = losses(MICRO, True, bad=2, guard=guard)
    np.testing.assert_allclose(replayed, plain, rtol=1e-4)
    assert np.isnan(replayed[2]).all() and np.isfinite(np.delete(replayed, 2, 0)).all()
    assert graphed.state.optimizer["step"] == last.state.optimizer["step"] == 5
    for a, b in zip(state_leaves(graphed), state_leaves(last), strict=True):
        np.testing.assert_allclose(to_host(a), to_host(b), rtol=1e-3, atol=1e-5)


def test_a_loss_that_is_not_finite_changes_nothing_though_its_gradient_is():
    params = {"w": from_host(np.ones(3, "float32"))}

    def loss(params, batch):
        return mv.ops.reshape(
            mv.ops.linear(mv.ops.reshape(params["w"], (1, 3)), batch["w"], batch["b"]), ()
        ), None

    batch = {
        "w": from_host(np.ones((3, 1), "float32")),
        "b": from_host(np.full(1, np.inf, "float32")),
    }
    (step,) = fit(
        loss,
        params,
        [batch],
        lr=lambda i: 0.1,
        ema_decay=0.5,
        graph=True,
        guard=lambda *given: "infinite",
    )
    assert np.isinf(to_host(step.loss)) and np.isfinite(to_host(step.norm))
    assert (
        to_host(step.state.params["w"]).tolist()
        == [1, 1, 1]
        == to_host(step.state.average["w"]).tolist()
    )
    assert (
        not to_host(step.state.optimizer["exp_avg"]).any()
        and step.state.optimizer["step"] == 0
        and step.state.step == 1
    )


def test_a_generator_that_has_drawn_is_refused_and_another_precision_is_recorded_anew():
    config = replace(MICRO, dropout=0.5)
    params = on_device(mv.init(config, np.random.default_rng(0)))
    batch = on_device(next(batches(config, np.random.default_rng(1), 1)))

    def loss(params, batch):
        return mv.cross_entropy(
            mv.forward(params, batch["clips"], config, rng=batch["masks"]), batch["labels"]
        ), None

    def value(steps):
        return float(to_host(next(steps).loss))

    masks = default_rng(3, like=batch["clips"])
    steps = fit(loss, params, [batch | {"masks": masks}] * 2, lr=lambda i: 0.0, graph=True)
    value(steps)
    with pytest.raises(
        ValueError, match="came a generator that has drawn before: make one for each step"
    ):
        next(steps)

    fresh = (batch | {"masks": default_rng(3, like=batch["clips"])} for _ in range(3))
    steps = fit(loss, params, fresh, lr=lambda i: 0.0, graph=True)
    exact = value(steps)
    with mv.use_precision("bf16"):
        rough = value(steps)
    assert rough != exact and value(steps) == pytest.approx(exact, rel=1e-5)


def test_several_processes_and_batches_elsewhere_are_refused():
    params, batch = {"w": from_host(np.ones(2, "float32"))}, {"x": np.ones(2, "float32")}
    two = type("Two", (), {"size": 2, "rank": 0})()
    for given, kind, words in (
        ({"comm": two}, ValueError, "one process, came 2"),
        ({}, TypeError, "lie where the parameters do"),
    ):
        with pytest.raises(kind, match=words):
            next(
                fit(
                    lambda p, b: (p["w"], None),
                    params,
                    [batch],
                    lr=lambda i: 0.1,
                    graph=True,
                    **given,
                )
            )


def test_a_graph_takes_arrays_like_its_examples():
    graphed = Graphed(lambda nothing, x: (nothing, x + 1), {}, from_host(np.ones((2, 3))))
    with pytest.raises(
        ValueError, match=r"came float64 \(1, 3\) for float64 \(2, 3\): record another"
    ):
        graphed(from_host(np.ones((1, 3))))


def test_a_graph_is_for_a_device():
    with pytest.raises(ValueError, match="CUDA device's; the parameters are on the host"):
        next(
            fit(
                lambda p, b: (p["w"].sum(), None),
                {"w": np.ones(2)},
                [None],
                lr=lambda i: 0.1,
                graph=True,
            )
        )
