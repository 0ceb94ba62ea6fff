"""The folder of a run: what is in it already stays, whoever put it there, and what a run left there
is what it was.
"""

import json
import shutil
import signal
import sys
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from short_runs import SMOKE, STEPS, finish, flat

import mvit_np as mv
from mvit_np.backend.outputs import LEDGER
from mvit_np.cli import main
from mvit_np.train.metrics import METRICS, read_rows
from mvit_np.train.run import prepare, snapshot, trained
from mvit_np.train.run import task as tasks
from mvit_np.train.run.recipe import Recipe, changed
from mvit_np.train.run.run_folder import WRITTEN
from mvit_np.train.run.toml_text import to_toml

SHORT = ["--recipe", "smoke", "--epochs", "0.5"]  # 8 steps


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def interrupted(folder, at=3, recipe=SMOKE):
    asked = iter(range(1, 100))
    finish(recipe, folder, stop=lambda: next(asked) == at)
    return folder


# -- what is somebody else's -----------------------------------------------------------------------


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("options", [[], ["--resume"]], ids=["begun", "resumed"])
def test_what_a_run_did_not_write_is_not_written_over(name, options, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text('# notes\nrecipe = "smoke"\nepochs = 0.2\n')
    (tmp_path / ".film.mp4.part").write_text("mine")
    before = contents(tmp_path)
    assert main(["train", *SHORT, "--out", ".", *options]) == 2
    assert f"holds {name}, which `mvit-np train` did not write there" in capsys.readouterr().err
    assert contents(tmp_path) == before


def test_the_users_own_recipe_is_not_the_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.toml").write_text('# notes\nrecipe = "smoke"\nepochs = 0.2\n')
    before = contents(tmp_path)
    for options in (
        ["--config", "recipe.toml"],
        ["--resume"],
        ["--config", "recipe.toml", "--resume"],
    ):
        assert main(["train", *options, "--out", "."]) == 2
        assert "recipe.toml" in capsys.readouterr().err and contents(tmp_path) == before


def test_what_is_read_is_not_written_over(undisturbed, tmp_path, monkeypatch, capsys):
    """In a folder that is a run's already, but in which nothing was learned yet."""
    monkeypatch.chdir(tmp_path)
    prepare(SMOKE, tmp_path / "run").lock.close()
    model = shutil.copy(undisturbed[0] / "model.npz", tmp_path)
    (tmp_path / "run" / "curves.png").symlink_to(model)
    (tmp_path / "classes.csv").symlink_to(tmp_path / "run" / "classes.txt")
    before = contents(tmp_path)
    for options in (
        ["--config", "run/recipe.toml"],
        [*SHORT, "--weights", "model.npz"],
        [*SHORT, "--tests", "classes.csv"],
    ):
        assert main(["train", *options, "--out", "run"]) == 2
        assert (
            "a file that is read is not written over" in capsys.readouterr().err
            and contents(tmp_path) == before
        )


@pytest.mark.parametrize("out", ["films", "films/run", "films/dark"])
def test_a_run_does_not_write_among_its_data(out, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "films" / "dark").mkdir(parents=True)
    (tmp_path / "films" / "dark" / "0.mp4").write_bytes(b"a film")
    before = contents(tmp_path)
    assert main(["train", *SHORT, "--data", "films", "--out", out]) == 2
    assert (
        "nothing is written among the data" in capsys.readouterr().err
        and contents(tmp_path) == before
    )


def test_of_hidden_files_only_our_own_halves_go_and_only_in_a_folder_that_is_ours(tmp_path):
    ours, theirs = f".{'0f' * 8}.part", (".film.mp4.part", ".0f0f.part")
    for name in (ours, *theirs):
        (tmp_path / name).write_text("half")
    interrupted(tmp_path)
    # before, it was not: another command of ours may be at work in it
    assert (tmp_path / ours).exists()
    finish(None, tmp_path, resume=True)
    assert not (tmp_path / ours).exists() and all((tmp_path / name).exists() for name in theirs)


def test_a_folder_is_noted_and_one_of_an_earlier_version_goes_on(undisturbed, tmp_path):
    assert set(json.loads((undisturbed[0] / LEDGER).read_text())["train"]) == set(WRITTEN)
    (interrupted(tmp_path) / LEDGER).unlink()
    assert len(finish(None, tmp_path, resume=True)) == STEPS - 3
    assert set(json.loads((tmp_path / LEDGER).read_text())["train"]) == set(WRITTEN)


# -- a model that another run left -----------------------------------------------------------------


@pytest.fixture
def told_to_end(monkeypatch):
    """SIGTERM in every step."""

    @contextmanager
    def signals():
        yield lambda: signal.SIGTERM

    monkeypatch.setattr("mvit_np.cli.train._signals", signals)


def test_a_run_that_would_write_over_a_model_is_not_begun(undisturbed, tmp_path, capsys):
    folder = shutil.copytree(undisturbed[0], tmp_path / "run")
    shutil.rmtree(folder / "snapshots")
    for removed in ("metrics.csv", "model.npz"):
        for options in ([], ["--resume"]) if removed == "model.npz" else (["--resume"],):
            assert (
                main(
                    [
                        "train",
                        *SHORT,
                        "--epochs",
                        "0.75",
                        "--test_every",
                        "0.4",
                        "--out",
                        str(folder),
                        *options,
                    ]
                )
                == 2
            )
            assert (
                "of an earlier run, which this one would write over: move it away"
                in capsys.readouterr().err
            )
        (folder / removed).unlink()
        (folder / "metrics.csv").unlink(missing_ok=True)


def test_whether_a_run_is_done_is_told_by_its_steps_and_not_by_a_model_that_lies_there(
    undisturbed, tmp_path, told_to_end, capsys
):
    folder = interrupted(tmp_path / "run")
    stale = shutil.copy(undisturbed[0] / "model.npz", folder)
    assert main(["train", "--out", str(folder), "--resume"]) == 143
    shown = capsys.readouterr()
    assert "SIGTERM after step 4 of 12, which is saved" in shown.err and "wrote" not in shown.out
    state, _ = snapshot.latest(folder / "snapshots")
    for found in (trained(folder).params, state["average"]):
        assert np.array_equal(flat(found), flat(state["average"])) and not np.array_equal(
            flat(found), flat(mv.load(stale)[0])
        )
    finish(None, folder, resume=True)
    np.testing.assert_array_equal(flat(trained(folder).params), flat(mv.load(undisturbed[0])[0]))


# -- the best --------------------------------------------------------------------------------------


def test_the_best_model_is_kept_as_soon_as_it_is_known(undisturbed, tmp_path, monkeypatch):
    """Three tests, the second of which is the best."""
    accuracies, tested = iter([0.5, 0.75, 0.625]), []

    def test(job, state, stop):
        tested.append(flat(state.average).copy())
        result = mv.train.Evaluation(("a",), np.eye(1), 1, 0.0)
        monkeypatch.setattr(mv.train.Evaluation, "top1", next(accuracies))
        return result

    monkeypatch.setattr(sys.modules["mvit_np.train.run.training"], "tested", test)
    folder = tmp_path / "run"
    finish(changed(SMOKE, {"test_every": 0.25}), folder)
    assert len(tested) == 3
    np.testing.assert_array_equal(flat(trained(folder, best=True).params), tested[1])
    np.testing.assert_array_equal(flat(mv.load(folder / "best.npz")[0]), tested[1])
    np.testing.assert_array_equal(flat(trained(folder).params), tested[2])


def test_evaluate_takes_the_best_where_it_is_asked_to(tmp_path, capsys):
    assert main(["train", *SHORT, "--test_every", "0.25", "--out", str(tmp_path / "run")]) == 0
    best = max(row["test_accuracy"] or 0 for row in read_rows(tmp_path / "run" / METRICS))
    capsys.readouterr()
    assert (
        main(["evaluate", str(tmp_path / "run"), "--best"]) == 0
        and f"top-1 {best:7.2%}" in capsys.readouterr().out
    )
    (tmp_path / "run" / "best.npz").unlink()
    assert main(["evaluate", str(tmp_path / "run"), "--best"]) == 2
    assert "has no best.npz" in capsys.readouterr().err


def test_the_best_that_an_earlier_version_marked_is_found(tmp_path):
    interrupted(tmp_path, at=8)
    (tmp_path / "best.npz").unlink()
    marked = tmp_path / "snapshots" / "step_00000006.npz"
    marked.rename(marked.with_suffix(".best.npz"))
    np.testing.assert_array_equal(
        flat(trained(tmp_path, best=True).params),
        flat(snapshot.read(marked.with_suffix(".best.npz"))["average"]),
    )


def test_the_names_of_classes_are_found_where_their_list_is_gone(tmp_path):
    """In the model, else in the snapshot."""
    interrupted(tmp_path, at=8)
    names = trained(tmp_path).classes
    (tmp_path / "classes.txt").unlink()
    assert names and trained(tmp_path).classes == names == trained(tmp_path).about.classes
    (tmp_path / "best.npz").unlink()
    assert trained(tmp_path).classes == names


def test_nobody_waits_for_the_best_of_a_finished_run(undisturbed, tmp_path, capsys):
    folder = shutil.copytree(undisturbed[0], tmp_path / "run")
    (folder / "best.npz").unlink()
    assert main(["evaluate", str(folder), "--best"]) == 2
    error = capsys.readouterr().err
    assert error.endswith("leave out --best\n") and "wait for" not in error


def test_the_best_model_of_a_run_whose_snapshots_are_gone_is_not_written_over(tmp_path, capsys):
    """One that was killed between its best.npz and its first snapshot begins anew, and has no row
    after that test.
    """
    interrupted(tmp_path, at=8)
    shutil.rmtree(tmp_path / "snapshots")
    before = contents(tmp_path)
    assert main(["train", "--out", str(tmp_path), "--resume"]) == 2
    assert (
        "holds the best.npz of an earlier run" in capsys.readouterr().err
        and contents(tmp_path) == before
    )
    lines = (tmp_path / METRICS).read_text().splitlines(keepends=True)
    (tmp_path / METRICS).write_text("".join(lines[:7]))  # the test is in row 6
    assert prepare(None, tmp_path, resume=True).state.step == 0


def test_a_run_whose_recipe_is_gone_goes_on_from_its_snapshot(undisturbed, tmp_path, capsys):
    (interrupted(tmp_path / "run") / "recipe.toml").unlink()
    assert main(["train", "--out", str(tmp_path / "run"), "--resume"]) == 0
    np.testing.assert_array_equal(
        flat(trained(tmp_path / "run").params), flat(trained(undisturbed[0]).params)
    )
    capsys.readouterr()
    assert main(["train", "--out", str(tmp_path / "rum"), "--resume"]) == 2
    assert (
        "there is no run to go on with in" in capsys.readouterr().err
        and not (tmp_path / "rum").exists()
    )


# -- damage ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def after_5_steps(tmp_path_factory):
    return interrupted(tmp_path_factory.mktemp("interrupted") / "run", at=5)


@pytest.mark.parametrize(
    "damage",
    [
        "in a row",
        *(
            pytest.param(p, marks=pytest.mark.slow)
            for p in ("at the end", "over the titles", "everywhere")
        ),
    ],
)
def test_nuls_in_metrics_after_a_power_cut_are_damaged_rows(
    damage, after_5_steps, undisturbed, tmp_path
):
    folder = shutil.copytree(after_5_steps, tmp_path / "run")
    path, nuls = folder / METRICS, bytes(200_000)  # more than the csv module takes as one cell
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    damaged = {
        "in a row": b"".join([*lines[:3], nuls + lines[3][5:], *lines[4:]]),
        "at the end": whole + nuls,
        "over the titles": bytes(len(lines[0]) - 1) + whole[len(lines[0]) - 1 :],
        "everywhere": nuls + b"\n",
    }
    path.write_bytes(damaged[damage])
    finish(None, folder, resume=True)
    rows, expected = read_rows(path), read_rows(undisturbed[0] / METRICS)
    lost = {"in a row": [3], "everywhere": [1, 2, 3, 4, 5]}.get(damage, [])
    assert [(row["step"], row["loss"]) for row in rows] == [
        (r["step"], r["loss"]) for r in expected if r["step"] not in lost
    ]
    assert main(["evaluate", str(folder)]) == 0


def test_a_snapshot_that_lacks_something_of_a_run_is_said_and_the_one_before_it_taken(tmp_path):
    folder = interrupted(tmp_path, at=5)
    newest = max((folder / "snapshots").iterdir())
    whole = snapshot.read(newest)
    for name in ("params", "recipe", "best", "config", "seconds"):
        snapshot.save(
            folder / "snapshots", {key: value for key, value in whole.items() if key != name}
        )
        said = []
        job = prepare(None, folder, resume=True, say=said.append)
        job.lock.close()
        assert (
            job.state.step == 4
            and len(said) == 1
            and f"its {name} is missing" in said[0]
            and newest.name in said[0]
        )


# -- evaluate --------------------------------------------------------------------------------------


def test_evaluate_does_not_write_over_the_runs_table(undisturbed, tmp_path, capsys):
    folder = shutil.copytree(undisturbed[0], tmp_path / "run")
    before = contents(folder)
    assert main(["evaluate", str(folder), "--out", str(folder)]) == 2
    assert (
        "holds metrics.csv, which `mvit-np evaluate` did not write there" in capsys.readouterr().err
    )
    assert contents(folder) == before
    assert main(["evaluate", str(folder)]) == main(["evaluate", str(folder)]) == 0
    for name in (LEDGER, "predictions.csv", "mistakes.png"):  # as an earlier version left it
        (folder / "evaluation" / name).unlink()
    (folder / "evaluation" / "predictions.csv").write_text("mine")
    assert main(["evaluate", str(folder)]) == 2
    assert "holds predictions.csv, which `mvit-np evaluate` did not" in capsys.readouterr().err
    (folder / "evaluation" / "predictions.csv").unlink()
    assert main(["evaluate", str(folder)]) == 0


def test_evaluate_does_not_write_over_the_users_files(undisturbed, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "metrics.csv").write_text("mine")
    params, config = mv.load(undisturbed[0])
    mv.save("m.npz", params, config)
    before = contents(tmp_path)
    assert main(["evaluate", "m.npz", "--data", "moving_digits", "--out", "."]) == 2
    assert "holds metrics.csv" in capsys.readouterr().err and contents(tmp_path) == before


def test_a_recipe_of_a_run_may_be_shared(undisturbed, tmp_path):
    shared = shutil.copy(undisturbed[0] / "recipe.toml", tmp_path)
    assert (
        "begun_in" in (tmp_path / "recipe.toml").read_text() and Recipe.from_toml(shared) == SMOKE
    )
    assert "begun_in" not in to_toml(SMOKE)


def test_evaluate_does_not_write_among_the_tests_of_the_run(
    undisturbed, tmp_path, monkeypatch, capsys
):
    """Also where the recipe names them and not the command; and a file instead of the folder
    is told in a sentence.
    """
    films = tmp_path / "films"
    (films / "0").mkdir(parents=True)
    (films / "0" / "0.mp4").write_bytes(b"a film")
    (tmp_path / "file").touch()
    found = trained(undisturbed[0])
    monkeypatch.setattr(
        "mvit_np.train.run.trained",
        lambda *told: replace(found, recipe=changed(found.recipe, {"tests": str(films)})),
    )
    monkeypatch.setattr(tasks, "counted_in", lambda classes, data, name: data)
    monkeypatch.setattr(tasks, "data_sets", lambda *told: (None, None))
    for out, words in (
        (films, "nothing is written among the data"),
        (tmp_path / "file", "cannot be written (File exists)"),
    ):
        assert main(["evaluate", str(undisturbed[0]), "--out", str(out)]) == 2
        assert words in capsys.readouterr().err
    assert sorted(path.name for path in films.iterdir()) == ["0"]
