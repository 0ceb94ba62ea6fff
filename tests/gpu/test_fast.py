"""What makes a device fast, on a real one: kernels against plain arrays, products, precisions,
graphs.
"""

from dataclasses import replace

import numpy as np
import pytest
from on_device import FAMILY, MICRO, agree, task

import mvit_np as mv
from mvit_np.backend import tree as trees
from mvit_np.backend.arrays import plain_ops
from mvit_np.backend.matmul import matmul, operand
from mvit_np.backend.random import default_rng
from mvit_np.studies.gradient_cases import op_cases
from mvit_np.train import fit
from mvit_np.train.loop import adamw_with

BITS = {"float32": 24, "tf32": 11, "bf16": 8}  # of a product's factors


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", op_cases(), ids=lambda case: case.name)
def test_kernels_give_what_plain_ops_give(case, dtype):
    arrays = [x.astype(dtype) for x in case.make(np.random.default_rng(0))]
    there, grads = (
        mv.to_device(arrays),
        mv.value_and_grad(summed(case.fun), tuple(range(len(arrays)))),
    )
    with plain_ops():
        plain = mv.to_host(grads(*there))
    agree(plain, grads(*there), dtype)


def summed(fun):
    """A scalar of what `fun` gives that no symmetry makes zero."""

    def total(*arrays):
        outs = trees.leaves(fun(*arrays))
        parts = [mv.ops.reshape(out, (1, -1)) for out in outs]
        weights = [
            mv.to_device(np.cos(np.arange(float(part.size))).reshape(-1, 1).astype(str(part.dtype)))
            for part in parts
        ]
        sums = [mv.ops.reshape(mv.ops.linear(part, w), ()) for part, w in zip(parts, weights)]
        return sums[0] if len(sums) == 1 else mv.ops.add(sums[0], sums[1])

    return total


@pytest.mark.parametrize("precision", BITS)
@pytest.mark.parametrize("form", ["plain", "left", "right", "both", "heads", "shared"])
def test_products(form, precision):
    rng = np.random.default_rng(0)
    a, b = (
        rng.standard_normal((3, 40, 24)).astype("float32"),
        rng.standard_normal((3, 24, 56)).astype("float32"),
    )
    if form in ("left", "both"):
        a = a.swapaxes(1, 2).copy().swapaxes(1, 2)
    if form in ("right", "both"):
        b = b.swapaxes(1, 2).copy().swapaxes(1, 2)
    if form == "heads":
        a, b = (
            x.reshape(1, *x.shape).repeat(2, 0).transpose(0, 2, 1, 3).copy().swapaxes(1, 2)
            for x in (a, b)
        )
    b = b[:1] if form == "shared" else b
    with mv.use_precision(precision):
        c = mv.to_host(matmul(*(operand(mv.to_device(x)) for x in (a, b))))
    assert np.abs(c - a.astype(float) @ b).max() <= 2.0 ** (2 - BITS[precision]) * np.abs(c).max()


@pytest.mark.parametrize("precision", BITS)
@pytest.mark.parametrize("name", ["MViT", "MViTv2"])
def test_precisions_are_those_of_numpy(name, precision):
    config = FAMILY[name]
    params, clip, _ = task(config)
    with mv.use_precision(precision):
        host, device = (
            mv.forward(params, clip, config),
            mv.forward(*mv.to_device([params, clip]), config),
        )
    assert (
        np.abs(mv.to_host(device) - host).max() <= 2.0 ** (3 - BITS[precision]) * np.abs(host).max()
    )


def training(graph, precision, steps=6):
    """[(loss, norm)] of a short training, and its last step."""
    config = replace(MICRO, drop_path=0.2, dropout=0.2)
    params, clip, labels = mv.to_device(list(task(config)))

    def loss(params, batch):
        return mv.cross_entropy(mv.forward(params, batch[0], config, rng=batch[2]), batch[1]), None

    # a large one: gradients that are rounding alone are not blown up
    found, optimizer = [], adamw_with(eps=1e-3)
    given = ((clip, labels, default_rng([3, i], like=clip)) for i in range(steps))
    with mv.use_precision(precision):
        for step in fit(
            loss, params, given, lr=lambda i: 1e-2, optimizer=optimizer, ema_decay=0.9, graph=graph
        ):
            found.append([float(step.loss), float(step.norm)])
    return np.array(found), step


@pytest.mark.parametrize("precision", BITS)
def test_a_graph_trains_as_without(precision):
    (plain, last), (replayed, graphed) = (training(graph, precision) for graph in (False, True))
    np.testing.assert_allclose(
        replayed, plain, rtol=1e-4 if precision == "float32" else 2.0 ** (4 - BITS[precision])
    )
    assert graphed.state.step == last.state.step and len(set(replayed[:, 0])) == len(replayed)


def test_masks_differ_from_step_to_step_by_graph():
    config = replace(MICRO, drop_path=0.0, dropout=0.5)
    params, clip, labels = mv.to_device(list(task(config)))

    def loss(params, batch):
        return mv.cross_entropy(mv.forward(params, batch[0], config, rng=batch[2]), batch[1]), None

    given = ((clip, labels, default_rng([3, i], like=clip)) for i in range(4))
    losses = [float(step.loss) for step in fit(loss, params, given, lr=lambda i: 0.0, graph=True)]
    assert len(set(losses)) == 4
