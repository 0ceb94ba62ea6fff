"""What an earlier version wrote is read, gone on with and tested as if it had been written today.

`old_version.tar.xz` holds two runs of one recipe, both made before the names of AdamW's means and
of the learning rate changed: `finished`, and `stopped` after 5 of its 8 steps. Beside them lie the
finished model as safetensors, and results of an experiment.
"""

import csv
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

import mvit_np as mv
from mvit_np.backend import tree as trees
from mvit_np.cli import main
from mvit_np.studies.ablations import run as experiments
from mvit_np.studies.ablations.table import experiment
from mvit_np.train.metrics import read_rows

ARCHIVE = Path(__file__).with_name("old_version.tar.xz")
NUMBERS = "loss", "accuracy", "learning_rate", "gradient_norm", "test_accuracy"


@pytest.fixture
def old(tmp_path):
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path)
    return tmp_path


def flat(path):
    return np.concatenate([np.ravel(leaf) for leaf in trees.leaves(mv.load(path)[0])])


def rows_of(folder):
    return [[row[name] or 0 for name in NUMBERS] for row in read_rows(folder / "metrics.csv")]


def test_models_load_with_their_classes(old):
    np.testing.assert_array_equal(
        flat(old / "model.safetensors"), flat(old / "finished" / "model.npz")
    )
    config = mv.load(old / "finished")[1]
    logits = mv.forward(
        mv.load(old / "finished")[0], np.zeros((1, *config.thw, 1), np.float32), config
    )
    assert logits.shape == (1, 8) and np.isfinite(logits).all()
    names = (old / "finished" / "classes.txt").read_text().splitlines()
    for name in ("model.safetensors", "finished/model.npz", "finished/best.npz"):
        assert list(mv.weights.open_model(old / name).about.classes) == names


@pytest.mark.parametrize(
    "more", [[], ["--recipe", "smoke", "--config", "RECIPE"]], ids=["alone", "with its recipe"]
)
def test_a_stopped_run_ends_as_one_that_was_not(more, old):
    shutil.copy(old / "stopped" / "recipe.toml", old / "mine.toml")
    more = [str(old / "mine.toml") if word == "RECIPE" else word for word in more]
    assert main(["train", "--out", str(old / "stopped"), "--resume", *more]) == 0
    ours, expected = flat(old / "stopped" / "model.npz"), flat(old / "finished" / "model.npz")
    # Since then Pillow resizes, and its pixels differ by a level at most. (With the pixels of
    # before both runs agree to five digits.)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-3)
    rows, finished = rows_of(old / "stopped"), rows_of(old / "finished")
    assert len(rows) == 8 and rows[:5] == finished[:5]
    losses = [[row[NUMBERS.index("loss")] for row in table] for table in (rows, finished)]
    np.testing.assert_allclose(*losses, rtol=2e-3)


def test_a_finished_run_is_tested_and_not_begun_again(old, capsys):
    before = rows_of(old / "finished")
    assert main(["train", "--out", str(old / "finished"), "--resume"]) == 0
    assert rows_of(old / "finished") == before  # with a column more, of the tests' loss
    capsys.readouterr()
    assert main(["evaluate", str(old / "finished")]) == 0
    with open(old / "finished" / "metrics.csv") as file:
        last = float(list(csv.DictReader(file))[-1]["test_accuracy"])
    assert f"top-1 {last:7.2%}" in capsys.readouterr().out


def test_a_run_that_was_not_finished_is_tested_too(old, capsys):
    assert main(["evaluate", str(old / "stopped")]) == 0
    assert "16 examples of 8 classes" in capsys.readouterr().out


def test_results_of_an_experiment_are_gone_on_with(old):
    found = json.loads((old / "experiment" / "results.json").read_text())
    one = experiment("skip")
    assert experiments.begun(one, found=found)["runs"] == found["runs"]
    assert experiments.left(one, found, 3) == []
