"""mvit_np against what torchvision computed once: the same to rounding, without torch."""

import numpy as np
import pytest
from draws import logits_and_gradients, relative_error
from goldens import FOLDER, GOLDEN, drawn, projections

import mvit_np as mv
from mvit_np.backend import tree


def golden(name):
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


@pytest.mark.parametrize("name", GOLDEN)
def test_logits_and_gradients_are_torchvisions(name):
    config, kept = GOLDEN[name], golden(name)
    seed = int(kept["seed"])
    params, clip, cotangent = drawn(config, seed)
    logits, gradients = logits_and_gradients(params, clip, config, cotangent)

    assert relative_error(logits, kept["logits"]) <= 1e-9
    assert relative_error(gradients["clip"][0], kept["clip_gradient"]) <= 1e-9

    along, largest = projections(gradients, seed), np.abs(kept["projections"]).max()
    assert along.keys() == set(kept["paths"])
    for path, expected in zip(kept["paths"], kept["projections"]):
        error = relative_error(np.array(along[path]), expected, floor=1e-5 * largest)
        assert error <= 1e-9, f"the gradient of {path} differs by {error:.1e}"


@pytest.mark.parametrize("name", GOLDEN)
def test_float32_gives_the_same_logits(name):
    config, kept = GOLDEN[name], golden(name)
    params, clip, _ = drawn(config, int(kept["seed"]))
    logits = mv.forward(tree.map(np.float32, params), np.float32(clip), config)
    assert logits.dtype == np.float32
    assert relative_error(logits, kept["logits"]) <= 1e-5
