"""The same code on a device: whole models, their gradients and optimiser steps on the strict
double, no hidden transfer.
"""

import copy
from dataclasses import replace

import device_double
import numpy as np
import pytest
from one_step import one_step

import mvit_np as mv
from mvit_np.backend import tree as trees
from mvit_np.backend.arrays import array_module, from_host, to_host
from mvit_np.backend.random import default_rng
from mvit_np.studies.gradient_cases import TINY, op_cases
from mvit_np.train import fit

device_double.install()

MICRO = mv.preset("mvit_micro")
TOLERANCE = {"float32": 2e-5, "float64": 1e-10}
# Of gradients that are zero in theory: all together have norm 1, and rounding leaves of terms that
# cancel some hundredths of an epsilon, which is 1e-7 and 2e-16.
FLOOR = {"float32": 1e-9, "float64": 5e-18}
V2 = dict(
    positions="relative", pool_q_always=True, residual_pooling="tokens", expand_in="attention"
)
FAMILY = {
    "MViT": MICRO,
    "max pooling, mean of tokens, joint positions": replace(
        MICRO, pool="max", pool_kernel="s+1", cls_token=False, positions="joint"
    ),
    "average pooling, space positions": replace(
        MICRO, pool="avg", pool_kernel="2s+1", positions="space"
    ),
    "MViTv2": replace(MICRO, **V2),
    "ViT": replace(MICRO, depths=(2,), heads=4, stride_kv=None),
    "ViViT, factorised": replace(
        MICRO, depths=(2,), time_depth=1, stride_kv=None, positions="joint"
    ),
    "Rev-MViT": replace(
        MICRO, reversible=True, expand_in="attention", skip="plain", cls_token=False
    ),
    "Hiera": replace(
        MICRO,
        mask_unit=(1, 4, 4),
        pool="max",
        pool_kernel="s",
        skip_kernel="s",
        stride_kv=None,
        expand_in="attention",
        cls_token=False,
        mean_before_norm=True,
    ),
}


def on_device(tree):
    return trees.map(device_double.from_host, tree)


@pytest.fixture
def no_transfers():
    """Fails the test where an array crossed between host and device, said or unsaid, since
    `start()`.
    """
    seen = {}

    def start():
        seen["before"] = copy.copy(device_double.transfers)

    yield start
    assert device_double.transfers == seen["before"]


def task(config, rng):
    params = mv.init(config, rng)
    clip = rng.standard_normal((2, *config.thw, config.channels)).astype("float32")
    return params, clip, np.array([0, 1])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", FAMILY)
def test_model_gradients_and_optimiser_agree_with_numpy(name, dtype, rng):
    """Each tensor relative to its largest entry, against NumPy in float64: its own float32 rounds
    as much as the device's.
    """
    config = FAMILY[name]
    params, clip, labels = task(config, rng)

    # a large eps of AdamW: smaller ones blow up gradients that are rounding alone (norm_k.b)
    host = one_step(config, trees.map(np.float64, params), clip.astype(np.float64), labels, eps=1.0)
    there = (
        on_device(trees.map(lambda x: x.astype(dtype), [params, clip])),
        device_double.from_host(labels),
    )
    before = copy.copy(device_double.transfers)
    device = one_step(config, *there[0], there[1], eps=1.0)
    assert device_double.transfers == before
    for exact, b in zip(trees.leaves(host), trees.leaves(to_host(device))):
        assert b.dtype == dtype and b.shape == exact.shape
        assert np.abs(b - exact).max() <= TOLERANCE[dtype] * np.abs(exact).max() + FLOOR[dtype]


@pytest.mark.parametrize("name", ["MViT", "Rev-MViT"])
@pytest.mark.parametrize("checkpoint", [False, True])
def test_training_with_masks_drawn_on_the_device_moves_nothing(name, checkpoint, rng, no_transfers):
    config = replace(FAMILY[name], drop_path=0.2)
    params, clip, labels = (on_device(part) for part in task(config, rng))
    masks = default_rng(0, like=clip)

    def loss(params, batch):
        logits = mv.forward(params, batch[0], config, rng=masks, checkpoint=checkpoint)
        return mv.cross_entropy(logits, batch[1]), logits

    no_transfers()
    steps = list(fit(loss, params, [(clip, labels)] * 3, lr=lambda step: 1e-3))
    assert all(
        isinstance(leaf, device_double.DeviceArray) for leaf in trees.leaves(steps[-1].params)
    )
    assert steps[-1].loss.dtype == np.float32 and steps[-1].loss.shape == ()


@pytest.mark.parametrize("case", op_cases(), ids=lambda case: case.name)
def test_every_op_gives_numpys_numbers(case):
    arrays = case.make(np.random.default_rng(0))
    host, device = case.fun(*arrays), case.fun(*on_device(arrays))
    for a, b in zip(trees.leaves(host), trees.leaves(to_host(device))):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


def test_gradcheck_works_on_device_arrays(rng):
    x, w = (device_double.from_host(rng.standard_normal(shape)) for shape in ((2, 3), (3, 4)))
    assert mv.gradcheck(lambda x, w: mv.ops.linear(x, w), x, w).passed


def test_the_arrays_decide():
    assert array_module(np.ones(2)) is np
    there = device_double.from_host(np.ones(2))
    assert (
        array_module(there) is device_double.xp
        and array_module(from_host(np.ones(3), like=there)) is device_double.xp
    )
    with pytest.raises(TypeError, match="expected a NumPy or CuPy array, came list"):
        array_module([1, 2])


def test_mixed_host_and_device_arrays_are_refused(rng):
    params, clip, _ = task(MICRO, rng)
    with pytest.raises(TypeError, match="mixture of device_double and numpy.*to_device"):
        mv.forward(params, device_double.from_host(clip), MICRO)
    with pytest.raises(TypeError, match="mixture"):
        mv.forward(params | {"head": on_device(params["head"])}, clip, MICRO)


@pytest.mark.parametrize(
    "device, words",
    [("cuda:99", "device 'cuda:99'"), ("tpu", "'cpu', 'cuda' or 'cuda:N'"), ("cuda:x", "cuda:N")],
)
def test_a_device_that_is_not_there_is_one_clear_sentence(device, words):
    with pytest.raises(ValueError, match=words) as error:
        mv.to_device({"w": np.ones(2)}, device)
    assert "\n" not in str(error.value)


def test_cpu_is_a_device():
    tree = mv.to_device({"w": [np.ones(2)]}, "cpu")
    np.testing.assert_array_equal(mv.to_host(tree)["w"][0], np.ones(2))


def test_a_model_is_resized_where_it_lies(rng):
    params = mv.init(MICRO, rng)
    host, _ = mv.resize(params, MICRO, frames=4, size=(24, 40))
    device = on_device(params)
    before = copy.copy(device_double.transfers)
    there, _ = mv.resize(device, MICRO, frames=4, size=(24, 40))
    assert device_double.transfers == before
    for a, b in zip(trees.leaves(to_host(there)), trees.leaves(host)):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_a_models_gradients_are_right_on_the_device(rng):
    params, clip = (
        trees.map(np.float64, mv.init(TINY, rng)),
        rng.standard_normal((2, *TINY.thw, TINY.channels)),
    )
    assert mv.gradcheck(
        lambda p, x: mv.forward(p, x, TINY), on_device(params), device_double.from_host(clip)
    ).passed
