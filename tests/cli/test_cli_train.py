"""`mvit-np train` and `mvit-np evaluate` as a user meets them."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mvit_np as mv
from mvit_np.cli import main
from mvit_np.data.datasets import ArrayClips
from mvit_np.train import run as runs
from mvit_np.train.metrics import read_rows
from mvit_np.train.run.recipe import RECIPES, Recipe
from mvit_np.train.run.task import counted_in

SHORT = ["--recipe", "smoke", "--epochs", "0.5"]  # 8 steps of 8 clips


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "mvit_np", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    done = command("train", *SHORT, "--out", folder, "--test-every", "0.25")
    assert done.returncode == 0, done.stderr
    return done, folder


def test_training_shows_a_live_line_and_says_what_it_wrote(finished):
    done, folder = finished
    bar = done.stderr.replace("\r", "\n").splitlines()[-1]
    assert all(
        word in bar for word in ("100%", "clips/s", "00:00 left", "loss=", "acc=", "test=")
    ), bar
    assert (
        "64 examples to learn from, 16 to test on" in done.stdout
        and "8 steps of 8 clips" in done.stdout
    )
    assert (
        "metrics.csv" in done.stdout and "curves.png" in done.stdout and "model.npz" in done.stdout
    )
    assert re.search(
        r"^[\d.]+ clips/s, [\d.]+% of 16 test clips right$", done.stdout, re.MULTILINE
    ), done.stdout
    rows = read_rows(folder / "metrics.csv")
    assert len(rows) == 8 and [row["step"] for row in rows if row["test_accuracy"] is not None] == [
        4,
        8,
    ]
    assert (folder / "curves.png").read_bytes()[:4] == b"\x89PNG"


def test_the_folder_tells_the_recipe(finished):
    recipe = Recipe.from_toml(finished[1] / "recipe.toml")
    assert (recipe.data, recipe.epochs, recipe.train_clips) == ("moving_digits", 0.5, 64)


def test_a_finished_run_is_not_begun_again(finished, capsys):
    _, folder = finished
    before = (folder / "metrics.csv").read_bytes()
    assert main(["train", *SHORT, "--out", str(folder)]) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert main(["train", "--out", str(folder), "--resume"]) == 0
    assert (folder / "metrics.csv").read_bytes() == before


def test_how_many_clips_a_run_made_is_not_asked_of_other_data(
    finished, tmp_path, capsys, monkeypatch, street
):
    """The street comes in one size; a few of its clips do here."""
    demo, _ = street
    few = replace(demo, test_clips=demo.test_clips[::50], test_labels=demo.test_labels[::50])
    monkeypatch.setattr("mvit_np.data.sets.motion.load_motion", lambda: few)
    assert (
        main(["evaluate", str(finished[1]), "--data", "street", "--out", str(tmp_path / "tested")])
        == 0
    )
    assert re.search(r"^\d+ examples of 8 classes", capsys.readouterr().out, re.MULTILINE)


def check_tables(folder, classes, accuracy, shown):
    """predictions.csv says the same as the table of the classes, counted anew."""
    with open(folder / "predictions.csv") as file:
        rows = list(csv.DictReader(file))
    right = [row for row in rows if row["answer"] == row["truth"]]
    assert len(rows) == 16 and len(right) / 16 == accuracy
    assert [row["path"] for row in rows[:2]] == ["moving_digits 0", "moving_digits 1"]
    for line in classes:
        of_it = [row for row in rows if row["truth"] == line["class"]]
        as_it = [row for row in rows if row["answer"] == line["class"]]
        hits = sum(row in right for row in of_it)
        assert int(line["right"]) == hits and int(line["examples"]) == len(of_it)
        for share, among in (("accuracy", of_it), ("precision", as_it)):
            expected = f"{hits / len(among):.6f}" if among else ""
            assert line[share] == expected
    least = min(classes, key=lambda line: float(line["accuracy"] or 2))
    assert f"known least: {least['class']} {float(least['accuracy']):.1%} of" in shown
    for row in rows:
        shares = [float(row[name]) for name in row if name.startswith("probability")]
        assert shares[0] == max(shares) and (row in right) == (shares[0] == shares[1])
    assert (folder / "mistakes.png").exists() == (len(right) < 16)


def test_a_run_is_evaluated_from_its_folder_and_from_its_weights(finished, capsys):
    _, folder = finished
    last = read_rows(folder / "metrics.csv")[-1]["test_accuracy"]
    assert main(["evaluate", str(folder)]) == 0
    shown = capsys.readouterr()
    assert (
        "16 examples of 8 classes, 1 x 1 views" in shown.out and f"top-1 {last:7.2%}" in shown.out
    )
    assert "loss=" in shown.err and "acc=" in shown.err and "left" in shown.err
    with open(folder / "evaluation" / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == (folder / "classes.txt").read_text().splitlines()
    assert sum(int(row["right"]) for row in rows) == round(last * 16)
    assert (folder / "evaluation" / "confusion.png").exists()
    check_tables(folder / "evaluation", rows, last, shown.out)

    arguments = ["--data", "moving_digits", "--views", "2x1", "--out", str(folder / "weights")]
    assert main(["evaluate", str(folder / "model.npz"), *arguments]) == 0
    assert "top-1" in capsys.readouterr().out and (folder / "weights" / "metrics.csv").exists()


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_step_saves_and_says_how_to_go_on(number, code, tmp_path):
    out = tmp_path / "run"
    arguments = [
        "train",
        "--recipe",
        "smoke",
        "--epochs",
        "500",
        "--save_steps",
        "0",
        "--out",
        str(out),
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "mvit_np", *arguments], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while (
        len(read_rows(out / "metrics.csv")) < 3
        and process.poll() is None
        and time.monotonic() < deadline
    ):
        time.sleep(0.05)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    rows = read_rows(out / "metrics.csv")
    assert process.returncode == code and "Traceback" not in error, error
    assert f"{signal.Signals(number).name} after step {len(rows)} of 8000, which is saved" in error
    assert f"go on with: mvit-np train --out {out} --resume" in error
    saved = [path.name for path in (out / "snapshots").iterdir()]
    assert saved == [f"step_{len(rows):08d}.npz"]


def test_show_prints_a_recipe_that_can_be_read_again(capsys, tmp_path):
    assert main(["train", "--recipe", "small", "--show", "--lr=2e-3"]) == 0
    (tmp_path / "mine.toml").write_text(capsys.readouterr().out)
    assert main(["train", "--config", str(tmp_path / "mine.toml"), "--show"]) == 0
    (tmp_path / "again.toml").write_text(capsys.readouterr().out)
    recipe = Recipe.from_toml(tmp_path / "again.toml")
    assert recipe.lr == 2e-3 and recipe.data == RECIPES["small"].data


def test_help_lists_every_field(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = capsys.readouterr().out
    for name, field in Recipe.__dataclass_fields__.items():
        if name != "model_fields":
            assert f"--{name} " in text and field.metadata["about"].split()[0] in text
    assert "(a number above 0; 0.0016)" in " ".join(text.split()) and "--model.NAME VALUE" in text


def shown(arguments, capsys, folder):
    """The recipe that `mvit-np train` takes these words for, and what it says besides."""
    assert main(["train", "--recipe", "small", *arguments, "--show"]) == 0
    printed = capsys.readouterr()
    (folder / "shown.toml").write_text(printed.out)
    return Recipe.from_toml(folder / "shown.toml"), printed.err


def test_fields_are_read_in_either_spelling(capsys, tmp_path):
    words = [
        "--lr",
        "2e-3",
        "--checkpoint",
        "--seed=1",
        "--model.depths",
        "1,2",
        "--train-clips",
        "64",
        "--test_clips",
        "8",
    ]
    recipe, said = shown([*words, "--nesterov", "false", "--model.drop-path=0.2"], capsys, tmp_path)
    assert (recipe.lr, recipe.checkpoint, recipe.seed, recipe.nesterov) == (
        2e-3,
        True,
        1,
        False,
    ) and not said
    assert (recipe.train_clips, recipe.test_clips, recipe.model_fields) == (
        64,
        8,
        {"depths": (1, 2), "drop_path": 0.2},
    )
    assert main(["train", "--recipe", "small", "--train-clips", "-5"]) == 2
    assert "train_clips is a whole number >= 0, came -5" in capsys.readouterr().err


def test_the_earlier_names_of_the_learning_rate_are_read_and_said_once(capsys, tmp_path):
    recipe, said = shown(
        ["--rate", "2e-3", "--rate-batch", "16", "--end_rate=1e-6"], capsys, tmp_path
    )
    assert (recipe.lr, recipe.lr_batch, recipe.end_lr) == (2e-3, 16, 1e-6)
    assert (
        said.count("--rate is called --lr now")
        == said.count("--end_rate is called --end_lr now")
        == 1
    )
    assert main(["train", "--recipe", "small", "--rate", "1", "--lr", "1", "--show"]) == 2
    assert "both came: give lr alone" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["train"], "a run needs a recipe: give --config FILE.toml, or --recipe"),
        (["train", "--device", "cuda:99"], "device 'cuda:99'"),
        (["train", "--device", "cuda:99", "--out", "x", "--resume"], "device 'cuda:99'"),
        (
            ["train", "--recipe", "gpu", "--device", "cpu", "--out", "x"],
            "graph = true for device cpu: give graph = false",
        ),
        (["train", "--recipe", "smoke"], "give --out FOLDER"),
        (["train", "--recipe", "smal"], "did you mean 'small'"),
        (
            ["train", "--recipe", "smoke", "--weigth-decay", "0.1", "--out", "x"],
            "did you mean 'weight_decay'",
        ),
        (
            ["train", "--recipe", "smoke", "--model.drop_pth", "0.1", "--out", "x"],
            "did you mean 'model.drop_path'",
        ),
        (
            ["train", "--recipe", "smoke", "--lr", "fast", "--out", "x"],
            "lr is a number above 0, came 'fast'",
        ),
        (["train", "--recipe", "smoke", "fast"], "fields are given as --field VALUE; came 'fast'"),
        (
            ["train", "--recipe", "smoke", "--out", "x", "--data", "--lr", "1"],
            "argument --data: expected one argument",
        ),
        (["train", "x", "--resume"], "came 'x': put --out before a folder"),
        (["train", "--recipe", "paper", "--out", "x"], "a run learns from data"),
        (["train", "--config", "no.toml", "--out", "x"], "none at no.toml"),
        (["train", "--recipe", "smoke", "--out", os.devnull + "/x"], "cannot be written"),
        (["evaluate", "no.npz"], "none at no.npz"),
        (["evaluate", "."], "has no model.npz and no best.npz"),
        (["info", "mvit_micro", "--lr", "1"], "unrecognized arguments: --lr 1"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(arguments, words, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    try:
        code = main(arguments)
    except SystemExit as ended:
        code = ended.code
    error = capsys.readouterr().err
    assert (
        code == 2
        and words in error
        and len([line for line in error.splitlines() if line.startswith("mvit-np")]) == 1
    )
    assert not list(tmp_path.iterdir())


def test_a_device_alone_is_the_recipe_that_was_made_for_one(capsys, tmp_path):
    assert main(["train", "--device", "cuda:1", "--lr", "2e-3", "--show"]) == 0
    (tmp_path / "shown.toml").write_text(capsys.readouterr().out)
    assert Recipe.from_toml(tmp_path / "shown.toml") == replace(
        RECIPES["gpu"], device="cuda:1", lr=2e-3
    )


def test_a_loss_that_is_not_finite_ends_with_code_1(capsys, tmp_path):
    hot = ["--lr", "1e30", "--start_lr", "1e30", "--warmup", "0"]
    assert main(["train", *SHORT, *hot, "--out", str(tmp_path / "run")]) == 1
    error = capsys.readouterr().err
    assert "is not finite" in error and "Traceback" not in error


def test_weights_can_be_tested_on_other_data_only_with_their_classes(finished, tmp_path, capsys):
    assert main(["evaluate", str(finished[1] / "model.npz"), "--data", "digits"]) == 2
    assert (
        "a test has the model's 8 classes; digits has 10, and 0 is none of the model's"
        in capsys.readouterr().err
    )
    mv.save(tmp_path / "m.npz", *mv.load(finished[1]))  # without the names
    assert main(["evaluate", str(tmp_path / "m.npz"), "--data", "digits"]) == 2
    assert (
        "a test has the model's 8 classes; digits has 10: give the data that"
        in capsys.readouterr().err
    )


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Two classes of films, dark and light; one of them is no film."""
    pytest.importorskip("av")
    from films import write_film

    folder = tmp_path_factory.mktemp("films")
    rng = np.random.default_rng(0)
    for label, level in (("dark", 40), ("light", 200)):
        (folder / label).mkdir()
        for k in range(4):
            frames = rng.integers(level - 30, level + 30, (12, 40, 48, 3)).astype(np.uint8)
            write_film(folder / label / f"{k}.mp4", frames, rate=30)
    (folder / "dark" / "2.mp4").write_bytes(b"no film")
    return folder


def recipe_of(folder, films, *lines):
    """The path of a recipe that learns from films and is tested on them."""
    common = ['recipe = "smoke"', f"data = '{films}'", f"tests = '{films}'", 'normalise = "video"']
    (folder / "mine.toml").write_text(
        "\n".join([*common, "tau = 1", "epochs = 4", "batch = 4", *lines])
    )
    return str(folder / "mine.toml")


def test_a_folder_of_films_is_trained_and_tested_on_without_the_broken_one(films, tmp_path, capsys):
    recipe = recipe_of(tmp_path, films, "views = [2, 3]", "[model]", "channels = 3", "frames = 8")
    assert main(["train", "--config", recipe, "--out", str(tmp_path / "run"), "--lr=5e-3"]) == 0
    shown = capsys.readouterr()
    assert (
        "8 examples to learn from, 8 to test on" in shown.out
        and "clips of 8x32x32x3, 2 classes" in shown.out
    )
    # once in training, once in the tests
    assert shown.err.count("2.mp4 is left out") == 2, shown.err
    assert main(["evaluate", str(tmp_path / "run"), "--workers", "0"]) == 0
    shown = capsys.readouterr()
    assert "7 examples of 2 classes, 2 x 3 views" in shown.out and "2.mp4 is left out" in shown.err


# -- a model outside its run -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def of_films(films, tmp_path_factory):
    """A run on grey films, whose pixels and distance of frames are not what one would guess."""
    folder = tmp_path_factory.mktemp("of_films")
    recipe = recipe_of(folder, films, "repeats = 1", "lr = 5e-3")
    assert main(["train", "--config", recipe, "--out", str(folder / "run")]) == 0
    return folder / "run"


def said(arguments, capsys):
    """(results, what is said besides) of `mvit-np evaluate`."""
    capsys.readouterr()
    assert main(["evaluate", *map(str, arguments)]) == 0
    shown = capsys.readouterr()
    return shown.out.splitlines()[1:4], shown.err


def test_a_model_outside_its_run_is_tested_as_within_it(of_films, films, capsys, tmp_path):
    options = ["--data", films, "--views", "1x1"]
    within, _ = said([of_films, *options], capsys)
    for name in ("model.npz", "elsewhere.npz"):
        shutil.copy(of_films / "model.npz", tmp_path / name)
        outside, error = said([tmp_path / name, *options], capsys)
        assert outside == within and "assumed" not in error
    assert said([tmp_path, *options], capsys)[0] == within  # a folder with a model, but of no run
    about = mv.weights.open_model(of_films / "best.npz").about
    assert (
        about
        == mv.weights.About(("dark", "light"), 1.0, "video")
        == mv.weights.open_model(of_films / "model.npz").about
    )
    assert said([of_films / "model.npz", *options, "--normalise", "clip"], capsys)[0] != within
    found = runs.trained(of_films / "model.npz")
    assert (
        runs.test_of(found, films).data.tau == 1 and runs.test_of(found, films, tau=2).data.tau == 2
    )


def test_what_a_file_does_not_say_is_assumed_and_said(of_films, films, capsys, tmp_path):
    params, config = mv.load(of_films)
    mv.save(tmp_path / "m.npz", params, config)
    options = [tmp_path / "m.npz", "--data", films, "--views", "1x1"]
    guessed, error = said(options, capsys)
    assert (
        error.count(
            "the file does not say how pixels were normalised: 'clip' is assumed; give --normalise"
        )
        == 1
    )
    assert (
        error.count(
            "the file does not tell the time from one frame of a clip to the next: tau 4 is "
            "assumed; give --tau"
        )
        == 1
    )
    told, error = said([*options, "--normalise", "video", "--tau", "1"], capsys)
    assert "assumed" not in error and told == said([of_films, *options[1:]], capsys)[0] != guessed
    mv.save(tmp_path / "m.npz", params, config, mv.weights.About(normalise=(0.45, 0.225), tau=1))
    told_in_numbers, error = said(options, capsys)
    assert "assumed" not in error and told_in_numbers == told


def test_labels_of_a_test_go_by_the_names_of_classes(of_films, films, capsys, tmp_path):
    options = ["--views", "1x1", "--out", tmp_path / "out", "--data"]

    def rows(data):
        said([of_films / "model.npz", *options, data], capsys)
        with open(tmp_path / "out" / "metrics.csv") as file:
            return {row["class"]: row for row in csv.DictReader(file)}

    whole = rows(films)
    shutil.copytree(films / "light", tmp_path / "some" / "light")
    some = rows(tmp_path / "some")
    assert some["light"] == whole["light"] and some["dark"]["examples"] == "0"
    (tmp_path / "some" / "light").rename(tmp_path / "some" / "bright")
    assert main(["evaluate", str(of_films / "model.npz"), "--data", str(tmp_path / "some")]) == 2
    assert "'bright', which is none of the 2 classes (dark, light)" in capsys.readouterr().err


def test_a_set_in_memory_is_counted_in_the_models_classes(rng):
    clips = ArrayClips(
        rng.integers(0, 255, (4, 1, 2, 2, 1)).astype(np.uint8), np.array([0, 1, 1, 0]), ("b", "a")
    )
    counted = counted_in(("a", "b", "c"), clips, "mine")
    assert counted.labels.tolist() == [1, 0, 0, 1] and counted.classes == ("a", "b", "c")
    with pytest.raises(
        ValueError, match=r"2 classes; mine has 2, and b is none of the model's \(a, c\)"
    ):
        counted_in(("a", "c"), clips, "mine")


def test_an_error_of_a_decoder_leaves_one_film_out(of_films, films, tmp_path, monkeypatch, capsys):
    """Whatever it is: damaged bytes make decoders raise what nobody foresees."""
    from mvit_np.data import video_table

    sound = video_table.frames_at

    def decode(path, *arguments, **options):
        if Path(path).match("light/1.mp4"):
            raise IndexError("list index out of range")
        return sound(path, *arguments, **options)

    monkeypatch.setattr(video_table, "frames_at", decode)
    assert "1.mp4 is left out" in said([of_films], capsys)[1]
    assert (
        main(["train", "--config", str(of_films / "recipe.toml"), "--out", str(tmp_path / "run")])
        == 0
    )
    assert "1.mp4 is left out" in capsys.readouterr().err
