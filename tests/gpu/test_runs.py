"""Whole training runs on a real device: NumPy's losses, with and without a graph, and the curves of
the precisions.
"""

import numpy as np
import pytest

import mvit_np as mv
from mvit_np.train.run import prepare, run
from mvit_np.train.run.recipe import RECIPES, changed

NO_MASKS = {"model.dropout": 0, "model.drop_path": 0}  # a device draws others than NumPy
SMOKE = changed(RECIPES["smoke"], {"accumulate": 1, "epochs": 0.5, "save_steps": 0} | NO_MASKS)


def column(recipe, folder, name="loss"):
    """One column of a run's metrics."""
    return np.array([row[name] for row in run(prepare(recipe, folder))])


@pytest.mark.parametrize("graph", [False, True])
def test_a_run_has_numpys_losses(graph, tmp_path):
    host = column(SMOKE, tmp_path / "host")
    there = column(changed(SMOKE, {"device": "cuda", "graph": graph}), tmp_path / "there")
    np.testing.assert_allclose(there, host, rtol=1e-4)
    ours, config = mv.load(tmp_path / "there" / "model.npz")
    assert mv.forward(
        ours, np.zeros((1, *config.thw, config.channels), np.float32), config
    ).shape == (1, 8)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_loss_curves_of_200_steps_agree(precision, tmp_path):
    """The means of 20 steps lie within a tenth of the way that the loss goes, and both learn.

    In the second half: when the loss leaves its plateau in the first is a matter of rounding.
    """
    recipe = changed(
        RECIPES["small"],
        {"device": "cuda", "graph": True, "epochs": 200 / 128, "test_every": 100} | NO_MASKS,
    )
    exact, rough = (
        column(changed(recipe, {"precision": name}), tmp_path / name).reshape(-1, 20).mean(1)
        for name in ("float32", precision)
    )
    assert len(exact) == 10 and exact[-1] < 0.7 * exact[0]
    assert np.abs(rough - exact)[5:].max() < 0.1 * (exact[0] - exact[-1])
