"""A step that is not finite: found, told where it began, and never trained on."""

import warnings
from dataclasses import replace

import device_double
import numpy as np
import pytest

import mvit_np as mv
from mvit_np.autodiff.tape import op, value_and_grad
from mvit_np.backend import tree as trees
from mvit_np.data.draws import MASKS, rng_for
from mvit_np.train import adamw, adamw_state, clip_by_norm
from mvit_np.train.guard import NotFinite, check_step

device_double.install()

CONFIG = replace(mv.preset("mvit_micro"), frames=4, size=16)
NAMES = ("a.mp4", "b.mp4", "c.mp4")


def never(*arguments):
    raise AssertionError("called though all is well")


@pytest.fixture
def model(rng):
    clip = rng.standard_normal((3, *CONFIG.thw, CONFIG.channels)).astype(np.float32)
    return mv.init(CONFIG, rng), clip, np.array([0, 1, 1])


def probe_of(params, clip, config=CONFIG, step=5):
    return lambda hook: mv.forward(params, clip, config, rng=rng_for(0, MASKS, step, 0), hook=hook)


def step_of(params, clip, labels):
    def loss(params):
        return mv.cross_entropy(
            mv.forward(params, clip, CONFIG, rng=rng_for(0, MASKS, 5, 0)), labels
        )

    with np.errstate(all="ignore"):
        return value_and_grad(loss)(params)


def checked(params, clip, labels):
    """The error of a step with poisoned parameters or clips."""
    with pytest.raises(NotFinite) as caught:
        check_step(
            *step_of(params, clip, labels),
            step=5,
            names=lambda: NAMES,
            probe=probe_of(params, clip),
        )
    return caught.value


# -- all is well -----------------------------------------------------------------------------------


def test_a_good_step_gives_its_loss_and_asks_nobody(model):
    loss, grads = step_of(*model)
    for norm in (None, clip_by_norm(grads, 1.0)[1]):
        value = check_step(loss, grads, step=5, names=never, probe=never, norm=norm)
        assert type(value) is float and value == float(loss)


def test_a_loss_in_an_array_of_one_number_and_an_empty_tree_are_fine():
    assert check_step(np.array([2.5]), {}, step=0) == 2.5


def test_a_device_is_asked_for_two_numbers_and_nothing_else(model):
    loss, grads = step_of(*model)
    loss, grads = device_double.from_host(loss), trees.map(device_double.from_host, grads)
    before = device_double.transfers.to_host
    assert check_step(loss, grads, step=5, names=never, probe=never) == float(
        device_double.to_host(loss)
    )
    assert device_double.transfers.to_host - before == 2 + 1  # the last is this test's own


# -- where it began --------------------------------------------------------------------------------


@pytest.mark.parametrize("index", range(sum(CONFIG.depths)))
@pytest.mark.parametrize("part, layer", [("attn", "attention"), ("mlp", "output")])
@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_the_first_layer_is_named(index, part, layer, poison, model):
    params, clip, labels = model
    params["blocks"][index][part][{"attn": "qkv", "mlp": "fc1"}[part]]["w"][:] = poison
    problem = checked(params, clip, labels)
    assert problem.layer == f"blocks.{index}.{layer}" and problem.parameter is None
    assert problem.step == 5 and problem.names == NAMES
    assert str(problem).startswith(
        f"step 5 is not finite (loss nan): blocks.{index}.{layer} is the first output"
    )
    assert "with a.mp4, b.mp4, c.mp4;" in str(problem) and "\n" not in str(problem)


def test_finite_weights_whose_sums_overflow_are_found(model):
    params, clip, labels = model
    for part in ("fc1", "fc2"):
        params["blocks"][2]["mlp"][part]["w"] *= np.float32(1e22)
    assert checked(params, clip, labels).layer == "blocks.2.output"


def test_the_embedding_and_the_head_are_found_too(model):
    params, clip, labels = model
    broken = trees.map(np.copy, params)
    broken["head"]["b"][:] = np.nan
    assert checked(broken, clip, labels).layer == "the result"
    broken = trees.map(np.copy, params)
    broken["patch_embed"]["w"][:] = np.nan
    assert checked(broken, clip, labels).layer == "embedding"


def test_only_the_examples_that_are_not_finite_are_named(model):
    params, clip, labels = model
    params["patch_embed"]["w"] *= 100
    clip[1] = 3e38
    problem = checked(params, clip, labels)
    assert (problem.layer, problem.names) == (
        "embedding",
        ("b.mp4",),
    ) and "in a batch with b.mp4;" in str(problem)


def test_a_long_batch_is_shortened_in_the_sentence_alone():
    with pytest.raises(NotFinite, match="with 0, 1, 2, 3, 4, 5, 6, 7 and 504 more;") as caught:
        check_step(np.float32("nan"), {}, step=1, names=lambda: range(512))
    assert len(caught.value.names) == 512


@op
def breaking(x):
    """The identity, whose gradient is not finite."""
    return x * 1, lambda dy: (dy * np.inf,)


def test_of_gradients_the_one_nearest_to_the_loss_is_named(rng):
    params = {
        "blocks": [{"w": rng.standard_normal((4, 4))} for _ in range(4)],
        "head": {"b": rng.standard_normal(4)},
    }
    x = rng.standard_normal((2, 4))

    def forward(params, hook=None):
        y = x
        for index, p in enumerate(params["blocks"]):
            y = mv.ops.linear(y, breaking(p["w"]) if index in (0, 2) else p["w"])
            if hook:
                hook(f"blocks.{index}", y)
        return mv.ops.linear(y, np.eye(4), params["head"]["b"])

    loss, grads = value_and_grad(
        lambda params: mv.cross_entropy(forward(params), np.array([0, 1]))
    )(params)
    with pytest.raises(
        NotFinite, match=r"of the parameters .* \(2 in all\), blocks.2.w is nearest to the loss"
    ) as caught:
        check_step(loss, grads, step=3, probe=lambda hook: forward(params, hook))
    assert (caught.value.layer, caught.value.parameter, caught.value.names) == (
        None,
        "blocks.2.w",
        (),
    )


def test_without_a_probe_the_gradient_is_named():
    grads = {"a": np.ones(3), "b": np.array([1, np.nan]), "c": np.ones(())}
    with pytest.raises(
        NotFinite,
        match=r"step 2 is not finite \(loss 0.5\): of .* \(1 in all\), b is nearest to the loss",
    ):
        check_step(np.float64(0.5), grads, step=2)


def test_a_loss_that_alone_is_not_finite_and_a_norm_that_overflows_are_told_apart():
    fine = {"w": np.ones((2, 3), np.float32)}
    with pytest.raises(NotFinite, match=r"\(loss inf\): all gradients are finite;"):
        check_step(np.float32("inf"), fine, step=0, probe=lambda hook: np.ones((2, 2)))
    with pytest.raises(
        NotFinite, match=r"\(loss 1\): all gradients are finite, but not their norm;"
    ):
        check_step(np.float32(1), trees.map(lambda w: w * np.float32(1e20), fine), step=0)


def test_on_a_device_too(model):
    params, clip, labels = model
    params["blocks"][1]["mlp"]["fc1"]["w"][:] = np.nan
    there = trees.map(device_double.from_host, params)
    loss, grads = (
        trees.map(device_double.from_host, part) for part in step_of(params, clip, labels)
    )
    with pytest.raises(NotFinite) as caught:
        probe = lambda hook: mv.forward(there, device_double.from_host(clip), CONFIG, hook=hook)  # noqa: E731
        check_step(loss, grads, step=5, names=lambda: NAMES, probe=probe)
    assert caught.value.layer == "blocks.1.output" and caught.value.names == NAMES


# -- never trained on ------------------------------------------------------------------------------


def test_a_loop_that_skips_ends_as_if_the_bad_batch_had_not_been_there(model):
    params, clip, labels = model
    params["patch_embed"]["w"] *= 100

    def train(batches):
        now, state, skipped = params, adamw_state(params), []
        for index, batch in enumerate(batches):
            loss, grads = step_of(now, batch, labels)
            try:
                check_step(loss, grads, step=index)
            except NotFinite as problem:
                skipped.append(problem.step)
                continue
            now, state = adamw(now, grads, state, 1e-3)
        return trees.leaves(now), skipped

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the search itself warns of nothing
        with_it, skipped = train([clip, np.sign(clip) * np.float32(3e38), clip])
    without, none = train([clip, clip])
    assert skipped == [1] and none == []
    assert all(np.array_equal(a, b) for a, b in zip(with_it, without))
