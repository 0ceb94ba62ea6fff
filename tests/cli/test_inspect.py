"""`mvit-np inspect`: what it says of films that were written for it."""

import csv
import json
import shutil
import sys

import numpy as np
import pytest

pytest.importorskip("av")
from films import counting, write_film, write_picture
from PIL import Image

from mvit_np.cli import main


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Two classes; in `walk` a torn film, a copy, a short one and a folder of frames."""
    folder = tmp_path_factory.mktemp("inspect") / "my films"
    for k in range(6):
        path = folder / ("walk", "läuft")[k % 2] / f"film {k}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        frames = np.random.default_rng(k).integers(0, 256, (1, 32 + 8 * (k == 4), 48, 3), np.uint8)
        write_film(path, np.repeat(frames, 40 - 30 * (k == 2), axis=0), rate=10)
    shutil.copy(folder / "walk/film 0.mp4", folder / "läuft/copy.mp4")
    (folder / "walk/torn.mp4").write_bytes(b"no film")
    (folder / "walk/frames").mkdir()
    for k, frame in enumerate(counting(50)):
        write_picture(folder / "walk/frames" / f"img_{k:04d}.png", frame)
    return folder


def run(capsys, *words):
    code = main(["inspect", *map(str, words)])
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return code, said


def test_numbers_as_json(films, capsys):
    code, said = run(capsys, films, "--json", "--frame_rate", 25, "--workers", 1)
    found = json.loads(said.out)
    assert code == 0 and found["examples"] == {"train": 9, "tests": 0}
    assert found["classes"] == {"läuft": {"train": 4, "tests": 0}, "walk": {"train": 5, "tests": 0}}
    # films of 40 frames at 10 a second but one of 10; a folder of 50 at 25
    assert found["seconds"] == {"min": 1.0, "median": 4.0, "max": 4.0}
    assert found["sizes"] == {"48 x 32": 7, "48 x 40": 1}
    assert found["frame_rates"] == {"10": 7, "25": 1}
    [(torn, why)] = found["unreadable"].items()
    assert torn == str(films / "walk/torn.mp4") and "is not a video FFmpeg can read" in why
    assert found["clip_seconds"] == round(16 * 4 / 30, 3)
    assert found["shorter_than_a_clip"] == [
        str(films / "walk" / n) for n in ("film 2.mp4", "frames")
    ]
    [twins] = found["same_bytes"]
    assert [(one["path"], one["class"]) for one in twins] == [
        (str(films / "läuft/copy.mp4"), "läuft"), (str(films / "walk/film 0.mp4"), "walk")
    ]  # fmt: skip


def test_sentences_a_table_and_a_sheet(films, tmp_path, capsys):
    out = tmp_path / "seen"
    for _ in range(2):  # its own files may be written again
        code, said = run(capsys, films, "--out", out, "--preset", "mvit_micro", "--tau", 3)
    assert code == 0 and "9 examples; 9 files; 2 classes" in said.out
    assert "1 film cannot be read:\n" in said.out and "no film is shorter than a clip" in said.out
    assert "1 film is there more than once, byte by byte:" in said.out
    assert "copy.mp4 (läuft) = " in said.out and "both parts" not in said.out
    rows = list(csv.DictReader((out / "inspect.csv").open(encoding="utf-8", newline="")))
    by_path = {row["path"].removeprefix(f"{films}/"): row for row in rows}
    assert len(by_path) == 9
    film = by_path["walk/film 4.mp4"]
    size = (films / "walk/film 4.mp4").stat().st_size
    expected = dict(
        seconds="4.000", frames="40", rate="10", width="48", height="40", bytes=str(size)
    )
    assert film.items() >= (expected | {"class": "walk", "part": "train", "problem": ""}).items()
    assert by_path["walk/film 0.mp4"]["same_bytes_as"] == str(films / "läuft/copy.mp4")
    assert by_path["walk/torn.mp4"]["problem"] and not by_path["walk/torn.mp4"]["seconds"]
    assert by_path["walk/frames"]["frames"] == "50"
    with Image.open(out / "inspect.png") as picture:
        assert picture.width == 1800


def test_both_parts(films, tmp_path, capsys):
    """A film encoded anew under its name; another one of that name; a piece of Kinetics."""
    tests, train = tmp_path / "tests", tmp_path / "train"
    shutil.copytree(films, train)
    (tests / "walk").mkdir(parents=True)
    frames = np.random.default_rng(0).integers(0, 256, (1, 32, 48, 3), np.uint8)
    again = {"options": {"qp": "20"}, "rate": 10}
    write_film(tests / "walk/film 0.mkv", np.repeat(frames, 40, axis=0), **again)
    write_film(tests / "walk/film 2.mp4", counting(10), rate=10)
    write_film(tests / "walk/2LKUAbVIeEk_000012_000022.mp4", counting(40), rate=10)
    write_film(train / "walk/2LKUAbVIeEk_000050_000060.mp4", counting(30), rate=10)
    code, said = run(capsys, train, "--tests", tests, "--json")
    pairs = [
        ("2LKUAbVIeEk_000050_000060.mp4", "2LKUAbVIeEk_000012_000022.mp4"),
        ("film 0.mp4", "film 0.mkv"),
    ]
    found = json.loads(said.out)["same_film_in_both_parts"]
    assert found == [[str(train / "walk" / a), str(tests / "walk" / b)] for a, b in pairs]
    code, said = run(capsys, train, "--holdout", 0.3)
    assert "to test on" in said.out and "no film is in both parts under the same name" in said.out


def test_lists_and_pictures(films, tmp_path, capsys):
    (tmp_path / "list.txt").write_text("walk/film 0.mp4 0\nläuft/film 1.mp4 1\n", encoding="utf-8")
    (tmp_path / "names.txt").write_text("on foot\nfast\n")
    some = ["--data-root", films, "--classes", tmp_path / "names.txt"]
    code, said = run(capsys, tmp_path / "list.txt", *some)
    assert code == 0 and "on foot" in said.out and "2 examples; 2 files; 2 classes" in said.out
    pictures = tmp_path / "pictures"
    for label in ("a", "b"):
        (pictures / label).mkdir(parents=True)
        Image.new("RGB", (20, 10 + len(label))).save(pictures / label / "x.png")
    code, said = run(capsys, pictures)
    assert code == 0 and "20 x 11 (2)" in said.out and "seconds" not in said.out
    assert "each picture is an example, as for an image model" in said.err


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["nowhere"], "there is no data set 'nowhere', and no folder"),
        (["street"], "street comes with the package: give a folder or a list"),
        (["{films}", "--preset", "x"], "there is no preset 'x'"),
        (["{films}", "--holdout", "2"], "holdout is a share in [0, 1), came 2.0"),
        (["{films}", "--out", "{films}/x"], "nothing is written among the data"),
        (["{films}", "--classes", "{films}"], "there is none at"),
        (["."], "holds no class's folder"),
    ],
)
def test_mistakes_are_sentences(words, sentence, films, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, said = run(capsys, *(word.format(films=films) for word in words))
    assert code == 2 and sentence in said.err and not list(tmp_path.iterdir())


def test_other_files_are_not_written_over(films, tmp_path, capsys):
    (tmp_path / "inspect.csv").write_text("mine")
    code, said = run(capsys, films, "--out", tmp_path)
    assert code == 2 and "holds inspect.csv, which" in said.err
    assert (tmp_path / "inspect.csv").read_text() == "mine"


def test_a_film_of_which_a_frame_is_empty(films, tmp_path, capsys):
    shutil.copytree(films, tmp_path / "films")
    (tmp_path / "films/walk/frames/img_0003.png").write_bytes(b"")
    _, said = run(capsys, tmp_path / "films", "--json")
    problems = json.loads(said.out)["unreadable"]
    frames = problems[str(tmp_path / "films/walk/frames")]
    assert frames == "1 of its frames hold no byte, such as img_0003.png"


def test_without_a_decoder_it_says_what_to_install(films, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "av", None)
    code, said = run(capsys, films, "--tau", 1.1)
    assert code == 2 and "PyAV, which is not installed" in said.err


def test_nothing_that_can_be_read_is_exit_code_1(tmp_path, capsys):
    for label in ("a", "b"):
        (tmp_path / "data" / label).mkdir(parents=True)
        (tmp_path / "data" / label / "x.mp4").write_bytes(label.encode())
    code, said = run(capsys, tmp_path / "data", "--out", tmp_path / "out")
    assert code == 1 and "2 films cannot be read" in said.out
    assert [path.name for path in (tmp_path / "out").glob("inspect*")] == ["inspect.csv"]
