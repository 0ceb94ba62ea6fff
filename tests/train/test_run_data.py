"""The data of a run: where they are found again, what is said of files left out, and what happens
when they change.
"""

import csv
import importlib.util
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from mpi_tools import MPIEXEC
from short_runs import finish, flat

import mvit_np as mv
from mvit_np.backend.outputs import LEDGER
from mvit_np.cli import main
from mvit_np.data.sets.builtin import builtin
from mvit_np.train.run import prepare, run, snapshot
from mvit_np.train.run.recipe import RECIPES, Recipe, changed
from mvit_np.train.run.toml_text import to_toml

pytest.importorskip("av")

FILMS = changed(
    RECIPES["smoke"],
    {"tau": 1, "normalise": "video", "epochs": 3, "batch": 4, "repeats": 1, "workers": 0},
)
# 2 steps an epoch, 6 in all
FILMS = changed(FILMS, {"model.channels": 3, "test_every": 2, "train_clips": 0, "test_clips": 0})
LEVELS = {"dark": 40, "light": 200}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Two classes of four films."""
    from films import write_film

    folder, rng = tmp_path_factory.mktemp("films") / "films", np.random.default_rng(0)
    for label, level in LEVELS.items():
        (folder / label).mkdir(parents=True)
        for k in range(4):
            frames = rng.integers(level - 30, level + 30, (12, 40, 48, 3)).astype(np.uint8)
            write_film(folder / label / f"{k}.mp4", frames, rate=30)
    return folder


@pytest.fixture
def films(source, tmp_path):
    return shutil.copytree(source, tmp_path / "films")


def begun(data, folder, at=3, **also):
    """A run that was stopped after a few steps."""
    recipe, asked = changed(FILMS, {"data": str(data), **also}), iter(range(1, 100))
    finish(recipe, folder, stop=lambda: next(asked) == at)
    return folder


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -- other classes ---------------------------------------------------------------------------------


def rename_a_class(films):
    (films / "dark").rename(films / "xdark")


def add_a_class(films):
    shutil.copytree(films / "dark", films / "aaa")


def lose_a_class(films):
    shutil.rmtree(films / "light")


@pytest.mark.parametrize(
    "change, words",
    [
        (rename_a_class, "dark is gone and xdark is new: name them as before (dark, light)"),
        (add_a_class, "aaa is new"),
        (lose_a_class, "light is gone"),
    ],
)
@pytest.mark.parametrize("version", ["now", "earlier"])
def test_other_classes_are_refused_by_name_before_anything_is_written(
    change, words, version, films, tmp_path, capsys
):
    folder = begun(films, tmp_path / "run")
    if version == "earlier":
        make_it_older(folder)
    change(films)
    before = contents(folder)
    for options in ([], ["--data-changed"]):
        assert main(["train", "--out", str(folder), "--resume", *options]) == 2
        assert words in capsys.readouterr().err and contents(folder) == before


def make_it_older(folder):
    """As an earlier version left it: without the notes of the data."""
    for path in (folder / "snapshots").iterdir():
        state = snapshot.read(path)
        del state["data"], state["begun_in"]
        snapshot.save(folder / "snapshots", state)
    lines = (folder / "recipe.toml").read_text().splitlines(keepends=True)
    (folder / "recipe.toml").write_text("".join(line for line in lines if "begun" not in line))
    for name in ("examples.csv", LEDGER):
        (folder / name).unlink()


def test_a_run_of_an_earlier_version_goes_on(films, tmp_path):
    folder, whole = begun(films, tmp_path / "run"), tmp_path / "whole"
    make_it_older(folder)
    finish(changed(FILMS, {"data": str(films)}), whole)
    assert len(finish(None, folder, resume=True)) == 3
    np.testing.assert_array_equal(flat(mv.load(folder)[0]), flat(mv.load(whole)[0]))
    assert (folder / "examples.csv").read_text() == (whole / "examples.csv").read_text()


# -- other examples --------------------------------------------------------------------------------


def lose_two(films):
    (films / "dark" / "0.mp4").unlink()
    (films / "light" / "3.mp4").unlink()


def add_one(films):
    shutil.copy(films / "dark" / "1.mp4", films / "dark" / "9.mp4")


def move_one(films):
    (films / "dark" / "0.mp4").rename(films / "light" / "9.mp4")


def change_one(films):
    with open(films / "dark" / "2.mp4", "ab") as file:
        file.write(b"more")


@pytest.mark.parametrize(
    "change, words",
    [
        (lose_two, "of 8 examples to learn from, 2 are gone, such as dark/0.mp4"),
        (add_one, "of 8 examples to learn from, 1 is new, such as dark/9.mp4"),
        (
            move_one,
            (
                "of 8 examples to learn from, 1 is gone, such as dark/0.mp4, 1 is new, such as "
                "light/9.mp4"
            ),
        ),
        (change_one, "of 8 examples to learn from, 1 is of another content, such as dark/2.mp4"),
    ],
)
def test_other_examples_are_named_and_need_a_word(change, words, films, tmp_path, capsys):
    folder = begun(films, tmp_path / "run")
    change(films)
    before = contents(folder)
    assert main(["train", "--out", str(folder), "--resume"]) == 2
    said = capsys.readouterr().err
    assert words in said and "--data-changed" in said and contents(folder) == before
    said = []
    # and unplugged
    next(run(prepare(None, folder, resume=True, data_changed=True, say=said.append)), None)
    assert len(said) == 1 and words in said[0]
    assert main(["train", "--out", str(folder), "--resume"]) == 0  # it has them now
    assert "examples" not in capsys.readouterr().err
    assert (folder / "model.npz").exists()


def table(folder, rows):
    (folder / "t.csv").write_text("".join(f"{name},{label}\n" for name, label in rows))
    return folder / "t.csv"


def test_another_class_or_order_in_a_table_and_other_tests_are_named_too(films, tmp_path):
    rows = [(f"{label}/{k}.mp4", label) for label in LEVELS for k in range(4)]
    folder = begun(table(films, rows), tmp_path / "run", tests=str(films))
    with open(folder / "examples.csv", newline="") as file:
        noted = list(csv.DictReader(file))
    assert [(row["part"], row["name"], row["class"]) for row in noted] == [
        (p, *row) for p in ("train", "tests") for row in rows
    ]
    assert int(noted[0]["bytes_or_sha256"]) == (films / "dark" / "0.mp4").stat().st_size
    for other, words in {
        (rows[1], rows[0], *rows[2:]): "of 8 examples to learn from, the order has changed",
        (
            (rows[0][0], "light"),
            *rows[1:],
        ): "of 8 examples to learn from, 1 is of another class, such as dark/0.mp4",
    }.items():
        table(films, other)
        with pytest.raises(ValueError, match=words):
            prepare(None, folder, resume=True)
    table(films, rows)
    add_one(films)
    with pytest.raises(ValueError, match="of 8 examples to test on, 1 is new, such as dark/9.mp4"):
        prepare(None, folder, resume=True)


def test_where_the_table_of_examples_is_gone_they_are_counted(films, tmp_path):
    folder = begun(films, tmp_path / "run")
    (folder / "examples.csv").write_bytes(b"\0" * 200_000)
    lose_two(films)
    with pytest.raises(ValueError, match="the 6 examples to learn from are not those that it had"):
        prepare(None, folder, resume=True)
    assert prepare(None, folder, resume=True, data_changed=True).state.step == 3


def test_a_clip_in_memory_that_is_another_one_is_named(tmp_path, monkeypatch):
    asked = iter(range(1, 100))
    finish(RECIPES["smoke"], tmp_path, stop=lambda: next(asked) == 2)

    def other(*arguments, **options):
        train, tests = builtin(*arguments, **options)
        train.clips[17, 0, 0, 0, 0] ^= 1
        return train, tests

    monkeypatch.setattr("mvit_np.train.run.task.builtin", other)
    with pytest.raises(
        ValueError,
        match="of 64 examples to learn from, 1 is of another content, such as moving_digits 17",
    ):
        prepare(None, tmp_path, resume=True)


@pytest.mark.slow
@pytest.mark.skipif(
    not (MPIEXEC and importlib.util.find_spec("mpi4py")), reason="needs pip install mpi4py mpich"
)
def test_several_ranks_are_told_once_and_end(films, tmp_path):
    folder = begun(films, tmp_path / "run")
    lose_two(films)
    before = contents(folder)
    command = [
        MPIEXEC,
        "-n",
        "2",
        sys.executable,
        "-m",
        "mvit_np",
        "train",
        "--out",
        str(folder),
        "--resume",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode and done.stderr.count("2 are gone, such as dark/0.mp4") == 1, done.stderr
    assert "Traceback" not in done.stderr and contents(folder) == before
    done = subprocess.run([*command, "--data-changed"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stderr.count("2 are gone, such as dark/0.mp4") == 1, (
        done.stderr
    )


# -- where the data are ----------------------------------------------------------------------------


def test_relative_paths_start_where_the_run_was_begun(films, tmp_path, monkeypatch, capsys):
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "run"
    elsewhere.mkdir()
    monkeypatch.chdir(tmp_path)
    begun("films", folder, tests="films")
    monkeypatch.chdir(elsewhere)
    shared = Recipe.from_toml(folder / "recipe.toml")
    assert (shared.data, shared.tests) == ("films", "films")
    assert main(["train", "--out", str(folder), "--resume", "--save_steps", "1"]) == 0
    assert (
        main(["evaluate", str(folder)]) == 0
        and "8 examples of 2 classes" in capsys.readouterr().out
    )
    films.rename(tmp_path / "moved")
    for command in (["train", "--resume", "--out"], ["evaluate"]):
        assert main([*command, str(folder)]) == 2
        assert f"and no folder or table {tmp_path / 'films'}" in capsys.readouterr().err
    (tmp_path / "moved").rename(elsewhere / "films")  # with the folder that one works in
    for command in (["train", "--resume", "--out"], ["evaluate"]):
        assert main([*command, str(folder)]) == 0
        assert (
            "there is no films now: the one in the current folder is taken"
            in capsys.readouterr().err
        )
    assert main(["evaluate", str(folder), "--data", "films", "--out", "films/tested"]) == 2
    assert (
        "nothing is written among the data" in capsys.readouterr().err
        and not (elsewhere / "films" / "tested").exists()
    )


def test_a_recipe_that_asks_for_other_data_of_the_same_name_is_another_run(
    films, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    begun("films", tmp_path / "run")
    shutil.copytree(films, tmp_path / "elsewhere" / "films")
    monkeypatch.chdir(tmp_path / "elsewhere")
    recipe = changed(FILMS, {"data": "films"})
    with pytest.raises(ValueError, match="has data = .*, you ask for .*elsewhere.films"):
        prepare(recipe, tmp_path / "run", resume=True)
    assert (
        prepare(changed(recipe, {"data": "../films"}), tmp_path / "run", resume=True).recipe.data
        == "films"
    )


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are UTF-8 there")
def test_names_that_are_not_utf_8_and_such_that_clear_the_screen(films, tmp_path, capsys):
    odd = os.fsdecode(b"d\xe9j\xe0 vu")
    (films / "dark").rename(films / odd)
    (films / "light" / "0.mp4").rename(films / "light" / os.fsdecode(b"\xff\x1b[2J.mp4"))
    (films / "light" / os.fsdecode(b"bad\xfe\x1b[2J.mp4")).write_bytes(b"no film")
    films = films.rename(tmp_path / os.fsdecode(b"f\xeflms"))
    folder = tmp_path / os.fsdecode(b"r\xfcn")
    (tmp_path / "r.toml").write_text(
        to_toml(changed(FILMS, {"data": str(films), "tests": str(films)})), errors="surrogateescape"
    )
    assert main(["train", "--config", str(tmp_path / "r.toml"), "--out", str(folder)]) == 0
    assert main(["train", "--out", str(folder), "--resume"]) == 0
    assert main(["evaluate", str(folder)]) == 0
    shown = capsys.readouterr()
    assert (
        "\x1b[2J" not in shown.err + shown.out and r"bad\udcfe\x1b[2J.mp4 is left out" in shown.err
    )
    assert "8 examples of 2 classes" in shown.out and r"f\udceflms" in shown.err
    assert (folder / "classes.txt").read_bytes() == b"d\xe9j\xe0 vu\nlight\n"
    assert mv.weights.open_model(folder).about.classes == (odd, "light")
    with pytest.raises(ValueError, match="1 is new"):
        shutil.copy(films / "light" / "1.mp4", films / "light" / os.fsdecode(b"\xfd.mp4"))
        prepare(None, folder, resume=True)


# -- files that are left out -----------------------------------------------------------------------


def test_what_data_sets_say_of_files_left_out_is_said_once(films, tmp_path, capsys):
    (films / "dark" / "notes.doc").write_text("mine")
    options = ["--data", str(films), "--tests", str(films), "--out", str(tmp_path / "run")]
    (tmp_path / "r.toml").write_text(to_toml(FILMS))
    assert main(["train", "--config", str(tmp_path / "r.toml"), *options]) == 0
    assert capsys.readouterr().err.count("notes.doc") == 1
    assert main(["evaluate", str(tmp_path / "run")]) == 0
    assert capsys.readouterr().err.count("notes.doc") == 1
