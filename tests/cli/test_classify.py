"""Classification against a loop over views; the command's table, sheet, CSV, exit codes and its
sentences for mistakes.
"""

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mvit_np as mv
from mvit_np import visualize
from mvit_np.cli import main
from mvit_np.cli.classify import views as views_of
from mvit_np.train.classify import classify, default_normalisation, media_in

av = pytest.importorskip("av")

from figure_layout import all_words, check_layout  # noqa: E402
from films import write_film, write_picture  # noqa: E402

COLOUR = replace(
    mv.preset("mvit_micro"),
    channels=3,
    size=28,
    num_classes=7,
    cube_stride=(2, 7, 7),
    stride_kv=(1, 2, 2),
)
COLOUR = replace(COLOUR, depths=(1, 1))
IMAGE = replace(
    COLOUR, frames=1, cube_kernel=(1, 7, 7), cube_stride=(1, 7, 7), pool_kernel=(1, 3, 3)
)
GREY = replace(mv.preset("mvit_micro"), depths=(1, 1, 1))


def model(config, seed=0):
    """Parameters that give each input scores of its own."""
    params = mv.init(config, np.random.default_rng(seed))
    return mv.tree.map(lambda x: 4 * x if x.ndim > 1 else x, params), config


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Five seconds at 30 frames a second, 32 x 48 pixels: what a model of 28 x 28 pixels needs
    without resizing.
    """
    rng = np.random.default_rng(1)
    drift = np.cumsum(rng.integers(-9, 10, (150, 4, 6, 3)), axis=0) + 128
    frames = np.clip(drift, 0, 255).astype(np.uint8).repeat(8, 1).repeat(8, 2)
    return write_film(tmp_path_factory.mktemp("film") / "drift.mp4", frames, rate=30)


def softmax(scores):
    return np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()


def by_hand(params, config, frames, mean=0.45, deviation=0.225):
    """Class probabilities of one view; frames (T, H, W, 3) uint8"""
    x = ((frames.astype(np.float32) / 255 - np.float32(mean)) / np.float32(deviation)).astype(
        np.float32
    )
    return softmax(mv.forward(params, x[None], config)[0].astype(np.float64))


# -- the engine ------------------------------------------------------------------------------------


@pytest.mark.parametrize("clips, crops, tau", [(3, 3, 4), (5, 1, 2), (1, 1, 4)])
def test_probabilities_are_a_mean_over_views_after_softmax(film, clips, crops, tau):
    params, config = model(COLOUR)
    whole, truth = mv.data.decode(film), []
    for clip in range(clips):
        room = 5 - 8 * tau / 30
        start = room * clip / (clips - 1) if clips > 1 else room / 2
        picked = [int((start + t * tau / 30 + 1e-3) * 30) for t in range(8)]
        for left in {1: [10], 3: [0, 10, 20]}[crops]:
            truth.append(by_hand(params, config, whole[picked, 2:30, left : left + 28]))
    result = classify(params, config, film, views=(clips, crops), tau=tau)
    # colours are converted in two ways
    np.testing.assert_allclose(result.of_views, truth, atol=2e-3)
    np.testing.assert_allclose(result.probabilities, np.mean(truth, axis=0), atol=2e-3)
    assert result.views == (clips, crops) and result.duration == pytest.approx(5)
    assert result.probabilities.sum() == pytest.approx(1) and np.ptp(result.probabilities) > 0.01
    order = np.argsort(-result.probabilities)
    assert result.top(2) == [
        (f"class {k}", pytest.approx(result.probabilities[k])) for k in order[:2]
    ]
    assert len(result.top(50)) == 7


def test_a_model_of_single_frames_sees_the_middles_of_equal_parts(film):
    params, config = model(IMAGE)
    whole = mv.data.decode(film)
    imagenet = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    truth = [
        by_hand(params, config, whole[[15 + 30 * k], 2:30, 10:38], *imagenet) for k in range(5)
    ]
    np.testing.assert_allclose(classify(params, config, film).of_views, truth, atol=2e-3)


def test_a_picture_is_a_film_that_stands_still(tmp_path, rng):
    pixels = rng.integers(0, 256, (4, 6, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    path = write_picture(tmp_path / "picture.png", pixels)
    for config, normal in (
        (COLOUR, (0.45, 0.225)),
        (IMAGE, ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))),
    ):
        params, config = model(config)
        result = classify(params, config, path)
        truth = by_hand(
            params, config, np.repeat(pixels[None, 2:30, 10:38], config.frames, 0), *normal
        )
        np.testing.assert_allclose(result.probabilities, truth, atol=1e-5)
        assert result.views == (1, 1) and result.duration == 0
    assert classify(params, config, path, views=(5, 3)).of_views.shape == (3, 7)


def test_a_film_shorter_than_a_clip_goes_in_once_and_its_end_is_held(tmp_path, rng):
    frames = rng.integers(0, 256, (6, 4, 6, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    path = write_film(tmp_path / "short.mp4", frames, rate=30)
    params, config = model(COLOUR)
    result = classify(params, config, path)
    whole = mv.data.decode(path)
    truth = by_hand(params, config, whole[[0, 4, *[5] * 6], 2:30, 10:38])
    assert result.views == (1, 1)
    np.testing.assert_allclose(result.probabilities, truth, atol=2e-3)


def test_a_grey_model_sees_grey_clips_each_normalised(film):
    params, config = model(GREY)
    result = classify(params, config, film, views=(2, 1), tau=1)
    assert result.frames.shape == (8, 32, 32, 1) and result.clip.shape == (1, 8, 32, 32, 1)
    assert abs(result.clip.mean()) < 1e-4 and result.clip.std() == pytest.approx(1, abs=1e-3)
    mean, deviation = result.frames.mean() / 255, result.frames.std() / 255
    np.testing.assert_allclose(
        result.of_views[1], by_hand(params, config, result.frames, mean, deviation), atol=1e-4
    )


def test_normalisation_labels_and_progress_are_the_callers(film):
    params, config = model(COLOUR)
    seen, names = [], tuple("abcdefg")
    result = classify(
        params, config, film, views=(2, 3), labels=names, progress=lambda *step: seen.append(step)
    )
    assert (
        seen == [(k, 6) for k in range(1, 7)]
        and result.labels == names
        and result.top(1)[0][0] in names
    )
    other = classify(params, config, film, views=(2, 3), normalisation="imagenet")
    assert np.abs(other.probabilities - result.probabilities).max() > 1e-4
    assert [default_normalisation(c) for c in (COLOUR, IMAGE, GREY)] == [
        "video",
        "imagenet",
        "clip",
    ]


def test_parameters_in_double_precision(film):
    params, config = model(COLOUR)
    double = mv.tree.map(np.float64, params)
    one, other = (classify(p, config, film, views=(1, 1)).probabilities for p in (params, double))
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_classify_refuses_what_it_cannot_do(film):
    params, config = model(COLOUR)
    for views in [(0, 1), (5,), (2.0, 1), (1, -3)]:
        with pytest.raises(ValueError, match="clips x crops, whole numbers"):
            classify(params, config, film, views=views)
    with pytest.raises(ValueError, match="label for each of the 7 classes; came 2"):
        classify(params, config, film, labels=("a", "b"))
    with pytest.raises(ValueError, match="tau is above 0; came 0"):
        classify(params, config, film, tau=0)
    with pytest.raises(ValueError, match="this model has 2 channels"):
        classify(*model(replace(COLOUR, channels=2)), film)
    with pytest.raises(ValueError, match="gives NaN or infinity: check its weights"):
        classify(mv.tree.map(lambda x: x * np.nan, params), config, film)
    with pytest.raises(ValueError, match="another config"):
        classify(params, replace(COLOUR, num_classes=9), film)


def test_media_in_a_folder(tmp_path):
    for name in (
        "b.mp4",
        "a.JPG",
        "sub/c.webm",
        "notes.txt",
        "._b.mp4",
        ".hidden/d.mp4",
        "sub/e.PNG",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.mp4").mkdir()
    found = [path.relative_to(tmp_path).as_posix() for path in media_in(tmp_path)]
    assert found == [
        "a.JPG",
        "b.mp4",
        "sub/c.webm",
        "sub/e.PNG",
    ]


# -- the contact sheet -----------------------------------------------------------------------------


def sheet(config, path, **options):
    params, config = model(config)
    result = classify(params, config, path, **options)
    maps = visualize.class_attention(params, result.clip, config)
    return result, maps, visualize.contact_sheet_figure(result, maps, mv.plan(config))


@pytest.mark.parametrize(
    "changes", [{}, {"frames": 16}, {"frames": 40}, {"cls_token": False}, {"size": (28, 84)}]
)
def test_contact_sheet(film, changes):
    config = replace(COLOUR, **changes)
    result, maps, figure = sheet(
        config, film, labels=tuple(f"{k} in $ and $ " + "long " * 3 * k for k in range(7))
    )
    check_layout(figure)
    text = all_words(figure)
    for name, value in result.top(5):
        assert f"{100 * value:.1f} %" in text and name[:20].replace("$", r"\$") in text
    assert (
        "drift.mp4, 5.0 s" in text and ("class token" if config.cls_token else "mean token") in text
    )
    assert f"{maps[-1][1].max() * maps[-1][1].size:.1f}×" in text
    over = [axes.images for axes in figure.axes if len(axes.images) == 2]
    shown = range(0, config.frames, -(-config.frames // 16))
    assert len(over) == len(shown) <= 16
    for frame, (under, tiles) in zip(shown, over):
        np.testing.assert_array_equal(tiles.get_array(), maps[-1][1][frame // 2])
        np.testing.assert_allclose(under.get_array(), result.frames[frame].mean(-1))
        assert f"{result.seconds[frame]:.2f} s" in text


def test_contact_sheet_of_a_picture(tmp_path, rng):
    path = write_picture(
        tmp_path / "picture.png", rng.integers(0, 256, (60, 40, 3), dtype=np.uint8)
    )
    for config, words in ((IMAGE, "Beside the frame"), (COLOUR, "repeated over 8 frames")):
        figure = sheet(config, path)[2]
        check_layout(figure)
        text = all_words(figure)
        assert words in text and "picture.png, 1 crop" in text and " s" not in text.split("\n")[1]


# -- the command -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "model.npz"
    mv.save(path, *model(COLOUR))
    return str(path)


@pytest.fixture
def folder(tmp_path, film):
    (tmp_path / "media" / "sub").mkdir(parents=True)
    (tmp_path / "media" / "a.mp4").write_bytes(film.read_bytes())
    (tmp_path / "media" / "b.mp4").write_bytes(film.read_bytes()[:2000])
    write_picture(tmp_path / "media" / "sub" / "c.png", np.full((40, 50, 3), 90, np.uint8))
    return tmp_path / "media"


def test_one_film_prints_the_top_five_and_draws_a_sheet(capsys, film, weights, tmp_path):
    assert (
        main(
            [
                "classify",
                str(film),
                "--weights",
                weights,
                "--views",
                "2x3",
                "--out",
                str(tmp_path / "new"),
            ]
        )
        == 0
    )
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if " % " in line]
    truth = classify(*mv.load(weights), film, views=(2, 3)).top(5)
    assert [(line[:40].strip(), line[41:48]) for line in lines] == [
        (name, f"{100 * p:5.1f} %") for name, p in truth
    ]
    lengths = [line.count("█") + line.count("#") for line in lines]
    assert lengths == sorted(lengths, reverse=True) and lengths[0] == round(28 * truth[0][1])
    assert "drift.mp4: 5.0 s, 2 clips x 3 crops" in out and all(len(line) <= 80 for line in lines)
    assert (tmp_path / "new" / "drift_attention.png").read_bytes().startswith(b"\x89PNG")


def test_labels_top_and_the_sheets_name_are_options(capsys, film, weights, tmp_path):
    names = [f"{'very ' * 20}long {k}" for k in range(7)]
    (tmp_path / "names.json").write_text(json.dumps({name: k for k, name in enumerate(names)}))
    options = [
        "--labels",
        str(tmp_path / "names.json"),
        "--top",
        "2",
        "--out",
        str(tmp_path / "sheet.png"),
        "--views",
        "1",
    ]
    assert main(["classify", str(film), "--weights", weights, *options]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("very")]
    assert len(lines) == 2 and all(len(line) <= 80 and "... " in line for line in lines)
    assert (tmp_path / "sheet.png").is_file()


def test_a_folder_becomes_a_table_in_which_one_bad_file_stops_nothing(
    capsys, folder, weights, tmp_path
):
    assert (
        main(
            [
                "classify",
                str(folder),
                "--weights",
                weights,
                "--views",
                "1x1",
                "--out",
                str(tmp_path / "out"),
            ]
        )
        == 0
    )
    said = capsys.readouterr()
    assert "2 of 3 files classified" in said.out and "3/3" in said.err
    rows = list(csv.DictReader((tmp_path / "out" / "classes.csv").open(encoding="utf-8")))
    assert [row["path"] for row in rows] == [
        str(folder / name) for name in ("a.mp4", "b.mp4", "sub/c.png")
    ]
    assert [bool(row["error"]) for row in rows] == [
        False,
        True,
        False,
    ] and "check or re-encode" in rows[1]["error"]
    for row in (rows[0], rows[2]):
        truth = classify(*mv.load(weights), row["path"], views=(1, 1)).top(5)
        assert [row[f"label_{k}"] for k in range(1, 6)] == [name for name, _ in truth]
        assert [float(row[f"probability_{k}"]) for k in range(1, 6)] == pytest.approx(
            [p for _, p in truth], abs=1e-5
        )
    assert rows[1]["label_1"] == "" and list(rows[0])[-1] == "error"


def test_several_files_and_a_name_for_the_table(capsys, folder, weights, tmp_path):
    files = [str(folder / "sub" / "c.png"), str(folder / "nowhere.mp4")]
    table = tmp_path / "deep" / "table.csv"
    assert main(["classify", *files, "--weights", weights, "--csv", str(table)]) == 0
    errors = [row["error"] for row in csv.DictReader(table.open())]
    assert errors[0] == "" and "none at" in errors[1]
    assert main(["classify", *files[1:], "--weights", weights, "--csv", str(table)]) == 1
    assert "0 of 1 files classified" in capsys.readouterr().out


def test_whatever_goes_wrong_in_a_file_is_its_own_affair(
    capsys, folder, weights, tmp_path, monkeypatch
):
    import mvit_np.cli.classify as command

    def fails(params, config, path, **options):
        if path.suffix == ".png":
            raise RuntimeError
        return classify(params, config, path, **options)

    monkeypatch.setattr(command, "classify", fails)
    assert (
        main(
            [
                "classify",
                str(folder),
                "--weights",
                weights,
                "--views",
                "1x1",
                "--out",
                str(tmp_path),
            ]
        )
        == 0
    )
    assert [row["error"] for row in csv.DictReader((tmp_path / "classes.csv").open())][
        2
    ] == "RuntimeError"


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["nowhere.mp4"], "none at nowhere.mp4: check the path"),
        (["{folder}/b.mp4"], "not a video FFmpeg can read"),
        (["{empty}"], "holds none: pass files or their folder"),
        (["{folder}", "--out", "sheet.png"], "give a folder or --csv"),
        (["{film}", "--out", "{film}"], "called like a video"),
        (["{film}", "--labels", "{film}"], "labels"),
        (["{film}", "--labels", "nowhere.txt"], "none at nowhere.txt"),
        (["{film}", "--device", "abacus"], "'cpu', 'cuda' or 'cuda:N'"),
        (["{film}", "--weights", "nowhere.npz"], "none at nowhere.npz"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    capsys, film, weights, folder, tmp_path, arguments, words
):
    (tmp_path / "empty").mkdir()
    paths = {"film": film, "folder": folder, "empty": tmp_path / "empty"}
    arguments = [argument.format(**paths) for argument in arguments]
    assert main(["classify", "--weights", weights, "--out", str(tmp_path), *arguments]) == 2
    said = capsys.readouterr().err
    assert (
        words in said
        and len([line for line in said.splitlines() if line.startswith("mvit-np")]) == 1
    )


def test_views_are_clips_by_crops():
    assert [views_of(text) for text in ("5x3", "10", "2X1")] == [(5, 3), (10, 1), (2, 1)]


@pytest.mark.parametrize("views", ["5x", "x3", "0x1", "5x3x1", "many"])
def test_other_views_are_refused(capsys, views):
    with pytest.raises(SystemExit):
        main(["classify", "a.mp4", "--weights", "w", "--views", views])
    assert f"clips x crops, such as 5x3; came '{views}'" in capsys.readouterr().err


def test_without_a_decoder_no_file_is_tried(capsys, folder, weights, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    assert main(["classify", str(folder), "--weights", weights, "--out", str(tmp_path)]) == 2
    assert "-m pip install 'av>=17.1' 'scikit-video>=1.1.11'" in capsys.readouterr().err


# -- what the model tells --------------------------------------------------------------------------


def told(capsys, *arguments):
    """(labels of the first lines, what was said on stderr)"""
    assert main(["classify", *map(str, arguments)]) == 0
    out, err = capsys.readouterr()
    return [line[:40].strip() for line in out.splitlines() if " % " in line], err


@pytest.fixture
def two_models(tmp_path):
    """A folder like a run's, whose two models name their classes, and tell of other clips than one
    would guess.
    """
    about = mv.About(classes=tuple("tuvwxyz"), tau=2.5, normalise=((0.3, 0.4, 0.5), 0.2))
    (tmp_path / "run").mkdir()
    for name, seed in (("model.npz", 0), ("best.npz", 5)):
        mv.save(tmp_path / "run" / name, *model(COLOUR, seed), about)
    return tmp_path / "run"


def test_the_models_own_words_are_taken(capsys, film, two_models, tmp_path):
    told_by = {"tau": 2.5, "normalisation": ((0.3, 0.4, 0.5), 0.2), "labels": tuple("tuvwxyz")}
    for weights, best, seed in (
        (two_models, [], 0),
        (two_models / "model.npz", [], 0),
        (two_models, ["--best"], 5),
    ):
        truth = classify(*model(COLOUR, seed), film, **told_by).top(5)
        labels, err = told(capsys, film, "--weights", weights, *best, "--out", tmp_path / "out")
        assert labels == [name for name, _ in truth] and "assumed" not in err
    assert (
        main(
            ["classify", str(film), "--weights", str(two_models), "--csv", str(tmp_path / "a.csv")]
        )
        == 0
    )
    row = next(csv.DictReader((tmp_path / "a.csv").open()))
    truth = classify(*model(COLOUR), film, **told_by).top(1)[0]
    assert (row["label_1"], float(row["probability_1"])) == (
        truth[0],
        pytest.approx(truth[1], abs=1e-5),
    )


def test_the_users_words_go_before_the_models(capsys, film, two_models, tmp_path):
    (tmp_path / "names.txt").write_text("\n".join("abcdefg"))
    options = ["--labels", tmp_path / "names.txt", "--tau", "1.5", "--normalise", "clip"]
    truth = classify(
        *model(COLOUR), film, labels=tuple("abcdefg"), tau=1.5, normalisation="clip"
    ).top(5)
    assert told(capsys, film, "--weights", two_models, *options, "--out", tmp_path / "out")[0] == [
        name for name, _ in truth
    ]


def test_what_nobody_tells_is_assumed_and_said_in_a_line(capsys, film, weights, tmp_path):
    err = told(capsys, film, "--weights", weights, "--out", tmp_path, "--tau", "3")[1]
    assert (
        "it is assumed: classes by number, normalisation video (--labels, --normalise)" in err
        and err.count("\n") == 1
    )
    err = told(capsys, film, "--weights", weights, "--out", tmp_path, "--normalise", "clip")[1]
    assert "it is assumed: classes by number, tau 4 (--labels, --tau)" in err


@pytest.mark.parametrize("tau", ["0", "-1", "nan", "inf", "many"])
def test_tau_is_a_number_above_0(tau, capsys):
    with pytest.raises(SystemExit):
        main(["classify", "a.mp4", "--weights", "w", f"--tau={tau}"])
    assert f"--tau: a number above 0, came '{tau}'" in capsys.readouterr().err


def test_the_model_of_a_run_is_told_by_the_run(capsys, tmp_path, film):
    fields = ["--model.channels", "3", "--tau", "2", "--normalise", "imagenet"]
    data, out = str(_classes(tmp_path, film)), str(tmp_path / "run")
    assert main(["train", "--recipe", "smoke", "--data", data, *fields, "--out", out]) == 0
    capsys.readouterr()
    params, config = mv.load(tmp_path / "run" / "model.npz")
    truth = classify(
        params, config, film, tau=2, normalisation="imagenet", labels=("left", "right")
    ).top(2)
    for weights in (tmp_path / "run", tmp_path / "run" / "model.npz"):
        labels, err = told(capsys, film, "--weights", weights, "--out", tmp_path / "out")
        assert labels == [name for name, _ in truth] and "assumed" not in err


def _classes(tmp_path, film):
    for name in ("left", "right"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for k in range(4):
            (tmp_path / "data" / name / f"{k}.mp4").write_bytes(film.read_bytes())
    return tmp_path / "data"


# -- what is written -------------------------------------------------------------------------------


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--csv", "{media}/a.mp4", "{media}/b.mp4"], "--csv is a table, and came with"),
        (["{media}/a.mp4", "--csv", "{media}/new.mkv"], "--csv is a table, and came with"),
        (["{media}/a.mp4", "--csv", "{weights}"], "is read: give another name"),
        (["{media}/a.mp4", "--csv", "{media}/other.npz"], "--csv is a table"),
        (["{media}/a.mp4", "--csv", "{media}/link.txt"], "is read: give another name"),
        (["{media}/a.mp4", "--csv", "{media}/mine.csv"], "mine.csv is there already"),
        (["{media}", "--out", "{media}/sub"], "classes.csv is there already"),
        (
            ["{media}/a.mp4", "--labels", "{media}/names.csv", "--csv", "{media}/names.csv"],
            "is read: give another name",
        ),
        (["{media}/c.png", "--out", "{media}/c.png"], "is read: give another name"),
        (["{media}/a.mp4", "--out", "{media}/c.png"], "c.png is there already"),
        (
            ["{media}/a.mp4", "--out", "{media}/b.mp4"],
            "--out is a folder, or a picture of one file",
        ),
        (
            ["{media}/a.mp4", "--out", "{media}/new.safetensors"],
            "--out is a folder, or a picture of one file",
        ),
        (["{media}/a.mp4", "--out", "{media}/sub"], "a_attention.png is there already"),
        (
            ["{media}/a.mp4", "--out", "{media}/mine.csv"],
            "the folder {media}/mine.csv cannot be written",
        ),
    ],
)
def test_nothing_is_written_over_that_is_not_ours(
    capsys, film, weights, tmp_path, arguments, words
):
    media = tmp_path / "media"
    (media / "sub").mkdir(parents=True)
    for name in ("a.mp4", "b.mp4"):
        (media / name).write_bytes(film.read_bytes())
    write_picture(media / "c.png", np.full((40, 50, 3), 90, np.uint8))
    (media / "link.txt").symlink_to(media / "a.mp4")
    (media / "names.csv").write_text("\n".join("abcdefg"))
    for name in ("mine.csv", "sub/classes.csv", "sub/a_attention.png"):
        (media / name).write_text("path,label\na.mp4,mine\n")
    paths, before = (
        {"media": media, "weights": weights},
        (contents(tmp_path), Path(weights).read_bytes()),
    )
    assert (
        main(
            [
                "classify",
                "--weights",
                weights,
                *(argument.format(**paths) for argument in arguments),
            ]
        )
        == 2
    )
    out, err = capsys.readouterr()
    said = [line for line in err.splitlines() if line.startswith("mvit-np")]
    assert len(said) == 1 and words.format(**paths) in said[0] and out == ""
    assert (contents(tmp_path), Path(weights).read_bytes()) == before


def test_our_own_sheets_and_tables_are_replaced_and_no_sheet_is_a_picture_of_the_users(
    capsys, folder, weights
):
    options = ["--weights", weights, "--views", "1", "--out", str(folder)]
    for _ in range(2):
        assert main(["classify", str(folder / "a.mp4"), *options]) == 0
        assert (
            main(
                [
                    "classify",
                    str(folder / "sub" / "c.png"),
                    *options[:-1],
                    str(folder / "sub" / "sheet.png"),
                ]
            )
            == 0
        )
        capsys.readouterr()
        assert main(["classify", str(folder), *options]) == 0
        rows = list(csv.DictReader((folder / "classes.csv").open()))
        assert [Path(row["path"]).name for row in rows] == ["a.mp4", "b.mp4", "c.png"]
        out, err = capsys.readouterr()
        assert "2 files that mvit-np drew are left out, such as" in err and "2 of 3 files" in out
    # one that is named is meant
    assert main(["classify", str(folder / "a_attention.png"), *options]) == 0


def test_a_sheet_of_an_earlier_version_is_no_picture_either(capsys, folder):
    from matplotlib.figure import Figure

    Figure().savefig(folder / "a_attention.png")
    Figure().savefig(folder / "plot.png")
    left_out = []
    assert [path.name for path in media_in(folder, left_out)] == [
        "a.mp4",
        "b.mp4",
        "plot.png",
        "c.png",
    ]
    assert [path.name for path in left_out] == ["a_attention.png"]


def test_rows_that_are_written_stay(capsys, folder, weights, tmp_path, monkeypatch):
    import mvit_np.cli.classify as command

    def stopped(params, config, path, **options):
        if path.suffix == ".png":
            assert len((tmp_path / "classes.csv").read_text().splitlines()) == 3  # on disk already
            raise KeyboardInterrupt
        return classify(params, config, path, **options)

    monkeypatch.setattr(command, "classify", stopped)
    assert (
        main(
            ["classify", str(folder), "--weights", weights, "--views", "1", "--out", str(tmp_path)]
        )
        == 130
    )
    assert [
        Path(row["path"]).name for row in csv.DictReader((tmp_path / "classes.csv").open())
    ] == ["a.mp4", "b.mp4"]


# -- names -----------------------------------------------------------------------------------------

STRANGE = (
    "白鶴 $x$",
    "esc\x1b[2J\x1b[31m",
    "d\udce9j\udce0",
    "größe",
    "\ud83d half",
    "$ and $",
    "plain",
)


@pytest.fixture
def strange(tmp_path):
    """A model whose classes somebody else has named."""
    mv.save(
        tmp_path / "strange.npz",
        *model(COLOUR),
        mv.About(classes=STRANGE, tau=4, normalise="video"),
    )
    return str(tmp_path / "strange.npz")


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes")
def test_no_name_stops_a_folder_or_commands_a_terminal(capfd, folder, strange, tmp_path):
    names = [
        b"aa\xe9.mp4",
        b"ab\x1b[2J.mp4",
        b"ac\nmvit-np: fine.mp4",
        b"broken\xff\x1b[2J.mp4",
        "größe 白.mp4".encode(),
    ]
    for name in names:
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(
            (folder / "a.mp4").read_bytes()[: 500 if b"broken" in name else None]
        )
    assert (
        main(
            [
                "classify",
                str(folder),
                "--weights",
                strange,
                "--views",
                "1",
                "--top",
                "7",
                "--out",
                str(tmp_path / "out"),
            ]
        )
        == 0
    )
    with (tmp_path / "out" / "classes.csv").open(
        encoding="utf-8", errors="surrogateescape", newline=""
    ) as file:
        rows = list(csv.DictReader(file))
    assert {os.fsencode(Path(row["path"]).name) for row in rows} == {
        *names,
        b"a.mp4",
        b"b.mp4",
        b"c.png",
    }
    assert [bool(row["error"]) for row in rows].count(True) == 2
    cells = [cell for row in rows for name, cell in row.items() if name != "path"]
    assert (
        "白鶴 $x$" in cells
        and r"d\udce9j\udce0" in cells
        and not any("\x1b" in cell for cell in cells)
    )
    for name in names:
        code = main(
            [
                "classify",
                str(folder / os.fsdecode(name)),
                "--weights",
                strange,
                "--views",
                "1",
                "--out",
                str(tmp_path / "out"),
            ]
        )
        assert code == (2 if b"broken" in name else 0)
    out, err = capfd.readouterr()
    assert "\x1b" not in out + err.replace("\x1b[A", "") and "\nmvit-np: fine" not in out + err
    assert (
        r"aa\udce9.mp4: 5.0 s" in out
        and r"ab\x1b[2J.mp4: 5.0 s" in out
        and "größe 白.mp4: 5.0 s" in out
    )
    sheets = [path for path in (tmp_path / "out").iterdir() if path.suffix == ".png"]
    assert len(sheets) == 4 and all(path.read_bytes().startswith(b"\x89PNG") for path in sheets)


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({"PYTHONIOENCODING": "cp1252"}, id="cp1252"),
        pytest.param({"PYTHONIOENCODING": "ascii"}, id="ascii", marks=pytest.mark.slow),
        pytest.param(
            {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
            id="C",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_terminal_of_few_letters_ends_no_command(environment, folder, strange, tmp_path):
    os.rename(folder / "b.mp4", folder / "größe 白.mp4")
    (folder / "größe 白.mp4").write_bytes((folder / "a.mp4").read_bytes())
    words = ["--weights", strange, "--views", "1", "--top", "7", "--out", str(tmp_path)]
    for paths in ([folder / "größe 白.mp4"], [folder]):
        command = [sys.executable, "-m", "mvit_np", "classify", *map(str, paths), *words]
        done = subprocess.run(
            command, capture_output=True, env=os.environ | environment, timeout=60
        )
        assert done.returncode == 0 and b"mvit-np:" not in done.stderr
        if paths == [folder]:
            break
        assert rb"\u767d\u9db4 $x$" in done.stdout and b"Glyph" not in done.stderr
    rows = list(csv.DictReader((tmp_path / "classes.csv").open(encoding="utf-8")))
    assert [Path(row["path"]).name for row in rows] == ["a.mp4", "größe 白.mp4", "c.png"]
    assert "白鶴 $x$" in rows[0].values() and not any(row["error"] for row in rows)
    assert (tmp_path / "größe 白_attention.png").is_file()


def test_classify_goes_on_where_nothing_can_be_printed(film, weights, tmp_path):
    line = (
        f"{sys.executable} -m mvit_np classify '{film}' --weights '{weights}' --views 1 --out "
        f"'{tmp_path}' >&-"
    )
    assert subprocess.run(["sh", "-c", line], timeout=60).returncode == 0
    assert (tmp_path / "drift_attention.png").is_file()
