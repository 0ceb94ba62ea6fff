"""The checks of test_device.py on a real device: CuPy agrees with NumPy, and a training step waits
for nothing.
"""

from dataclasses import replace

import numpy as np
import pytest
from on_device import FAMILY, MICRO, agree, task
from one_step import one_step

import mvit_np as mv
from mvit_np.backend import tree as trees
from mvit_np.backend.arrays import array_module, synchronize
from mvit_np.backend.random import default_rng
from mvit_np.studies.gradient_cases import TINY, op_cases
from mvit_np.train import fit


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", op_cases(), ids=lambda case: case.name)
def test_every_op(case, dtype):
    arrays = [x.astype(dtype) for x in case.make(np.random.default_rng(0))]
    agree(case.fun(*arrays), case.fun(*mv.to_device(arrays)), dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FAMILY)
def test_model_gradients_and_optimiser(name, dtype):
    """Against NumPy in float64: in float32 its own rounding is as large as the device's, and they
    may differ by the sum.
    """
    config = FAMILY[name]
    arrays = task(config, dtype)

    def step(*arrays):  # a large eps: AdamW divides no rounding errors by each other
        done = one_step(config, *arrays, eps=1e-3)
        return {"grads": done["grads"], "params": done["params"]}

    exact = step(*trees.map(np.float64, list(arrays[:2])), arrays[2])
    agree(
        trees.map(lambda leaf: leaf.astype(dtype), exact), step(*mv.to_device(list(arrays))), dtype
    )


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
@pytest.mark.parametrize("kind", ["plain", "checkpoint", "graph"])
def test_a_training_step_waits_for_nothing(kind, precision):
    import cupyx

    config = replace(MICRO, drop_path=0.2)
    params, clip, labels = mv.to_device(list(task(config)))
    batches = [(clip, labels, default_rng([0, i], like=clip)) for i in range(4)]

    def loss(params, batch):
        logits = mv.forward(params, batch[0], config, rng=batch[2], checkpoint=kind == "checkpoint")
        return mv.cross_entropy(logits, batch[1]), logits

    with mv.use_precision(precision):
        steps = fit(loss, params, batches, lr=lambda step: 1e-3, graph=kind == "graph")
        next(steps), next(steps)  # compiles the kernels, or records, which may wait
        with cupyx.allow_synchronize(False):
            next(steps)
            step = next(steps)
    synchronize(step.loss)
    assert array_module(step.loss).__name__ == "cupy" and np.isfinite(float(step.loss))


def test_gradcheck_on_the_device():
    params, clip, _ = mv.to_device(list(task(TINY, "float64")))
    assert mv.gradcheck(lambda p, x: mv.forward(p, x, TINY), params, clip).passed


def test_a_device_that_is_not_there():
    with pytest.raises(ValueError, match="is not there: this machine has"):
        mv.to_device(np.ones(2), "cuda:99")
