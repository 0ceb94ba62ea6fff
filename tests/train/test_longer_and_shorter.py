"""Runs that go on after their end, and runs that end before it."""

from dataclasses import replace

import numpy as np
import pytest
from short_runs import SMOKE, finish, flat, same
from video_tables import touch

import mvit_np as mv
from mvit_np.cli import main
from mvit_np.train.metrics import read_rows
from mvit_np.train.run import prepare, run, snapshot, trained
from mvit_np.train.run.early_stop import best_test, has_seen_enough
from mvit_np.train.run.job import _taken_up
from mvit_np.train.run.task import task_of
from mvit_np.train.run.training import train, training_of

LONGER = replace(SMOKE, epochs=1.25)  # 20 steps


def rows_of(*accuracies):
    return [{"step": k, "test_accuracy": share} for k, share in enumerate(accuracies, 1)]


# -- more epochs -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """(folder of a run that was finished and then went on, what was said)"""
    folder, said = tmp_path_factory.mktemp("extended") / "run", []
    finish(SMOKE, folder)
    list(run(prepare(LONGER, folder, resume=True, say=said.append)))
    return folder, said


def test_a_finished_run_goes_on_as_a_training_from_its_state_by_the_longer_recipe(
    extended, tmp_path
):
    folder, said = extended
    finish(SMOKE, tmp_path / "short")
    saved, _ = snapshot.latest(tmp_path / "short" / "snapshots")
    state = _taken_up(saved, "cpu")
    *_, last = train(training_of(LONGER, task_of(LONGER), state=state))
    assert last.state.step == 20
    np.testing.assert_array_equal(flat(mv.load(folder / "model.npz")[0]), flat(last.state.average))
    assert [row["step"] for row in read_rows(folder / "metrics.csv")] == list(range(1, 21))
    assert said == [
        f"the run in {folder} was to end after 0.75 epochs and now goes on to 1.25: from here on "
        "its learning rate is that of a run of 1.25 epochs"
    ]
    assert "epochs = 1.25" in (folder / "recipe.toml").read_text()


@pytest.mark.parametrize("at", [pytest.param(0, marks=pytest.mark.slow), 3])
def test_one_that_is_stopped_on_the_way_ends_with_the_same_bits(extended, tmp_path, at):
    finish(SMOKE, tmp_path)
    asked = iter(range(100))
    job = prepare(LONGER, tmp_path, resume=True)
    steps = run(job, lambda: next(asked) >= at)
    list(steps)
    assert not job.finished.is_set()
    finish(None, tmp_path, resume=True)  # the folder knows the new length
    assert same(tmp_path, extended[0])


@pytest.mark.slow
def test_one_that_is_killed_before_its_first_snapshot_knows_its_length_too(extended, tmp_path):
    finish(SMOKE, tmp_path)
    with prepare(LONGER, tmp_path, resume=True).lock:
        pass  # prepared, and nothing more
    finish(LONGER, tmp_path, resume=True)
    assert same(tmp_path, extended[0])


def test_fewer_epochs_than_were_done_are_refused_and_nothing_changes(extended):
    folder, _ = extended
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with pytest.raises(ValueError, match=r"has done 1\.25 epochs, and you ask for 0\.75: give at"):
        prepare(SMOKE, folder, resume=True)
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    with pytest.raises(ValueError, match="has lr = .* you ask for"):
        prepare(replace(LONGER, lr=0.5), folder, resume=True)


def test_the_command_of_a_tired_user(tmp_path, capsys):
    out = ["--out", str(tmp_path / "run")]
    assert main(["train", "--recipe", "smoke", "--epochs", "0.25", *out]) == 0
    assert main(["train", *out, "--resume", "--epochs", "0.5"]) == 0
    assert "goes on to 0.5: from here on its learning rate" in capsys.readouterr().err
    assert read_rows(tmp_path / "run" / "metrics.csv")[-1]["step"] == 8
    assert main(["train", *out, "--resume"]) == 0  # there is nothing to do
    assert main(["train", *out, "--resume", "--epochs", "0.1"]) == 2
    assert "has done 0.5 epochs" in capsys.readouterr().err


# -- fewer -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "accuracies, patience, enough",
    [
        ((), 1, False),
        ((None, 0.5), 1, False),
        ((0.5, None, 0.5), 1, True),  # as good is not better
        ((0.5, 0.4), 2, False),
        ((0.5, 0.4, None, 0.3), 2, True),
        ((0.5, 0.4, 0.6, 0.6), 2, False),
        ((0.1, 0.1, 0.1), 0, False),
        ((1 / 3, 0.333333333), 1, True),  # the same number, once read from metrics.csv
    ],
)
def test_enough_is_counted_from_the_best_test(accuracies, patience, enough):
    assert has_seen_enough(rows_of(*accuracies), patience) is enough


def test_the_best_test_is_the_first_of_equals():
    row, since = best_test(rows_of(0.2, 0.7, None, 0.7))
    assert (row["step"], since) == (2, 1)


@pytest.fixture(scope="module")
def ended_early(tmp_path_factory):
    """A run that learns nothing, so that each test is as good as the first."""
    folder, said = tmp_path_factory.mktemp("early") / "run", []
    recipe = replace(SMOKE, epochs=5, test_every=0.25, patience=2, lr=1e-12, start_lr=0, end_lr=0)
    list(run(prepare(recipe, folder, say=said.append)))
    return folder, recipe, said


def test_a_run_ends_after_so_many_tests_without_a_better_one(ended_early):
    folder, _, said = ended_early
    rows = read_rows(folder / "metrics.csv")
    tests = [row for row in rows if row["test_accuracy"] is not None]
    best = max(tests, key=lambda row: row["test_accuracy"])
    assert tests.index(best) + 2 == len(tests) - 1 and rows[-1]["step"] == tests[-1]["step"] < 80
    assert f"of step {best['step']} since then (2 tests), so the run ends at step" in said[-1]
    assert {"model.npz", "best.npz", "curves.png"} <= {path.name for path in folder.iterdir()}
    last, _ = snapshot.latest(folder / "snapshots")
    assert last["step"] == rows[-1]["step"]
    np.testing.assert_array_equal(flat(trained(folder).params), flat(mv.load(folder)[0]))


def test_taken_up_it_ends_at_once_and_with_more_patience_it_goes_on(ended_early, tmp_path):
    _, recipe, _ = ended_early
    finish(recipe, tmp_path)
    done = len(read_rows(tmp_path / "metrics.csv"))
    assert finish(None, tmp_path, resume=True) == []
    assert len(read_rows(tmp_path / "metrics.csv")) == done
    rows = finish(replace(recipe, patience=3), tmp_path, resume=True)
    assert len(rows) == 4 and rows[-1]["test_accuracy"] is not None


@pytest.mark.parametrize("at", [2, pytest.param(9, marks=pytest.mark.slow)])
def test_one_that_is_stopped_before_ends_at_the_same_step_with_the_same_bits(
    ended_early, tmp_path, at
):
    folder, recipe, _ = ended_early
    asked = iter(range(1000))
    list(run(prepare(recipe, tmp_path), lambda: next(asked) >= at))
    finish(None, tmp_path, resume=True)
    assert same(tmp_path, folder)


def test_without_tests_it_is_refused_before_anything_is_written(tmp_path):
    touch(tmp_path, "films/left/1.mp4", "films/right/1.mp4")
    recipe = replace(SMOKE, data=str(tmp_path / "films"), patience=1)
    with pytest.raises(ValueError, match="patience 1 and no tests: give --tests"):
        prepare(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()
