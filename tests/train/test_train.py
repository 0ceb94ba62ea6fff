"""Optimiser, schedule and loop against formulas written out."""

import math

import numpy as np
import pytest

import mvit_np as mv
from mvit_np import ops
from mvit_np.backend import tree as trees
from mvit_np.train import adamw, adamw_state, clip_by_norm, decays, fit, warmup_cosine


def by_hand(p, gradients, rate, decay, b1=0.9, b2=0.999, eps=1e-8):
    """AdamW for one number, as the paper's algorithm has it."""
    m = v = 0.0
    for t, g in enumerate(gradients, 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        p = p - rate * (m / (1 - b1**t) / (math.sqrt(v / (1 - b2**t)) + eps) + decay * p)
    return p


def test_adamw_is_the_papers_algorithm(rng):
    params = {"w": rng.standard_normal((2, 3)), "b": rng.standard_normal(3)}
    gradients = [trees.map(lambda p: rng.standard_normal(p.shape), params) for _ in range(4)]
    new, state = params, adamw_state(params)
    for grads in gradients:
        new, state = adamw(new, grads, state, 0.1, weight_decay=0.3)
    for name, decay in (("w", 0.3), ("b", 0.0)):
        for index in np.ndindex(params[name].shape):
            expected = by_hand(params[name][index], [g[name][index] for g in gradients], 0.1, decay)
            assert new[name][index] == pytest.approx(expected, rel=1e-12)


def test_adamw_keeps_its_hands_off_and_its_dtype(rng):
    params = {"w": rng.standard_normal((2, 3)).astype("float32")}
    grads = {"w": rng.standard_normal((2, 3)).astype("float32")}
    copies = params["w"].copy(), grads["w"].copy()
    new, state = adamw(params, grads, adamw_state(params), 0.1)
    np.testing.assert_array_equal(params["w"], copies[0])
    np.testing.assert_array_equal(grads["w"], copies[1])
    assert {leaf.dtype for leaf in trees.leaves([new, state["exp_avg"], state["exp_avg_sq"]])} == {
        np.dtype("float32")
    }


def test_adamw_refuses_the_state_of_other_parameters(rng):
    params = {"w": rng.standard_normal((2, 3)), "b": rng.standard_normal(3)}
    with pytest.raises(ValueError, match="state is of 6 numbers, the parameters are 9"):
        adamw(params, params, adamw_state({"w": params["w"]}), 0.1)
    with pytest.raises(TypeError, match="one dtype"):
        adamw_state(params | {"b": params["b"].astype("float32")})


def test_weights_decay_and_vectors_and_positions_do_not():
    params = mv.init(mv.preset("mvit_micro"), np.random.default_rng(0))
    decayed = {path for path, leaf in trees.paths(params) if decays(path, leaf)}
    assert {"patch_embed.w", "blocks.0.attn.qkv.w", "blocks.0.attn.pool_k.w", "head.w"} <= decayed
    left_alone = {
        "cls_token",
        "pos_embed_spatial",
        "pos_embed_temporal",
        "norm.g",
        "head.b",
        "blocks.0.attn.norm_k.g",
    }
    assert not left_alone & decayed


def test_clipping_by_norm(rng):
    grads = {
        "a": rng.standard_normal(5).astype("float32"),
        "b": [rng.standard_normal((2, 2)).astype("float32")],
    }
    flat = np.concatenate([leaf.ravel() for leaf in trees.leaves(grads)])
    clipped, norm = clip_by_norm(grads, 0.5)
    assert float(norm) == pytest.approx(np.linalg.norm(flat), rel=1e-6)
    new = np.concatenate([leaf.ravel() for leaf in trees.leaves(clipped)])
    np.testing.assert_allclose(new, flat * 0.5 / np.linalg.norm(flat), rtol=1e-5)
    same, _ = clip_by_norm(grads, 1e3)
    np.testing.assert_array_equal(same["a"], grads["a"])


def test_warmup_and_cosine():
    rates = [warmup_cosine(step, 100, 1.0, warmup=10, end=0.01) for step in range(101)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10)
    assert rates[10] == 1.0 and rates[100] == pytest.approx(0.01)
    assert rates[55] == pytest.approx(0.505)
    assert all(a > b for a, b in zip(rates[10:], rates[11:]))
    assert warmup_cosine(0, 1, 1.0) == 1.0 and warmup_cosine(500, 100, 1.0) == 0.0


def test_fit_minimises_whatever_it_is_given(rng):
    """No model: a linear fit that has an exact answer."""
    x, truth = rng.standard_normal((64, 3)), rng.standard_normal((3, 2))

    def loss(params, batch):
        wrong = ops.add(ops.linear(batch, params["w"]), -(batch @ truth))
        return ops.scale(square(wrong), 1 / wrong.size), None

    @mv.op
    def square(x):
        return (x * x).sum(), lambda dy: (2 * x * dy,)

    steps = list(
        fit(loss, {"w": np.zeros((3, 2))}, [x] * 400, lr=lambda step: 0.03, weight_decay=0.0)
    )
    assert [step.index for step in steps] == list(range(400))
    np.testing.assert_allclose(steps[-1].params["w"], truth, atol=1e-3)
    assert float(steps[-1].loss) < 1e-5 < float(steps[0].loss)


def test_a_model_overfits_a_handful_of_clips(rng):
    config = mv.preset("mvit_micro")
    clips, labels = rng.standard_normal((4, 8, 32, 32, 1)).astype("float32"), np.array([0, 1, 1, 0])

    def loss(params, batch):
        return mv.cross_entropy(mv.forward(params, batch, config), labels), None

    steps = list(fit(loss, mv.init(config, rng), [clips] * 40, lr=lambda step: 3e-3))
    assert float(steps[-1].loss) < 0.05
    assert (mv.predict(steps[-1].params, clips, config, batch=3).argmax(1) == labels).all()


def test_a_batch_taken_in_parts_gives_the_same_steps(rng):
    """In float64, with label smoothing, soft targets and parts that are unequal (3, 3, 4 clips)."""
    config = mv.preset("mvit_micro")
    batch = rng.standard_normal((10, 8, 32, 32, 1)), rng.dirichlet(np.ones(2), 10)
    start = trees.map(np.float64, mv.init(config, rng))

    def loss(params, batch):
        logits = mv.forward(params, batch[0], config)
        return mv.cross_entropy(logits, batch[1], 0.1), logits

    whole, parts = (
        list(fit(loss, start, [batch] * 2, lr=lambda step: 1e-3, accumulate=n))[-1] for n in (1, 3)
    )
    assert float(parts.loss) == pytest.approx(float(whole.loss), rel=1e-9) and parts.aux.shape == (
        10,
        2,
    )
    norm, difference = (
        np.sqrt(
            sum(
                np.sum(change(a, b) ** 2)
                for a, b in zip(*map(trees.leaves, (whole.params, parts.params)))
            )
        )
        for change in (lambda a, b: a, lambda a, b: a - b)
    )
    # AdamW's first steps have the size of the rate, also where a gradient is rounding alone
    assert difference < 1e-7 * norm
