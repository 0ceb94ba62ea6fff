"""Runs on films as people have them: held-out tests, lists, folders of frames, balanced classes."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")
from films import counting, write_film, write_picture

import mvit_np as mv
from mvit_np.cli import main
from mvit_np.train.run import prepare, run
from mvit_np.train.run.recipe import RECIPES, changed

TINY = changed(
    RECIPES["smoke"],
    {
        "train_clips": 0, "test_clips": 0, "batch": 4, "accumulate": 1, "repeats": 1, "epochs": 2,
        "model.frames": 2, "model.size": 16, "model.channels": 1, "save_steps": 0, "test_every": 9,
    },
)  # fmt: skip


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Ten bright films, five dark ones, in folders of such names."""
    folder = tmp_path_factory.mktemp("own") / "my films"
    for k in range(15):
        path = folder / ("bright", "dark")[k >= 10] / f"film {k}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_film(path, counting(10, 16, 24) // 2 + np.uint8(150 * (k < 10) + k))
    return folder


def examples(folder):
    rows = list(csv.reader((Path(folder) / "examples.csv").open(encoding="utf-8")))[1:]
    return {part: {row[1] for row in rows if row[0] == part} for part in ("train", "tests")}


def finish(recipe, folder, **options):
    return list(run(prepare(recipe, folder, **options)))


def flat(folder):
    return np.concatenate(
        [np.ravel(x) for x in mv.tree.leaves(mv.load(Path(folder) / "model.npz")[0])]
    )


def test_what_is_held_out_stays_so_and_is_what_a_run_is_tested_on(films, tmp_path, monkeypatch):
    recipe = changed(TINY, {"data": str(films), "holdout": 0.2})
    rows = finish(recipe, tmp_path / "a")
    parts = examples(tmp_path / "a")
    assert (
        len(parts["tests"]) == 3
        and len(parts["train"]) == 12
        and not parts["train"] & parts["tests"]
    )
    assert {name.split("/")[0] for name in parts["tests"]} == {"bright", "dark"}

    monkeypatch.chdir(films.parent)  # from another folder, with another seed
    finish(changed(recipe, {"data": "my films", "seed": 7, "epochs": 0.1}), tmp_path / "b")
    assert examples(tmp_path / "b") == parts
    job = prepare(recipe, tmp_path / "c")
    list(run(job, stop=lambda: True))  # stopped after a step
    finish(None, tmp_path / "c", resume=True)
    assert examples(tmp_path / "c") == parts
    np.testing.assert_array_equal(flat(tmp_path / "a"), flat(tmp_path / "c"))

    result = mv.evaluate(tmp_path / "a", views=recipe.views)
    assert result.examples == 3 and result.top1 == rows[-1]["test_accuracy"]
    assert mv.evaluate(tmp_path / "a", str(films)).examples == 15


def test_what_was_learned_is_never_tested_on(films, tmp_path):
    """A new film may push another one out of the tests; an earlier run has learned from it."""
    data, said = tmp_path / "films", []
    shutil.copytree(films, data)
    finish(changed(TINY, {"data": str(data), "holdout": 0.2, "epochs": 0.1}), tmp_path / "a")
    parts = examples(tmp_path / "a")
    gone, *rest = sorted(parts["tests"])
    (data / gone).unlink()
    with pytest.raises(ValueError, match="the data of the run in .* have changed"):
        prepare(None, tmp_path / "a", resume=True)
    assert mv.evaluate(tmp_path / "a", say=said.append).examples == 2
    assert said == [
        "1 of 3 examples held out are left out, as the run has learned from them: "
        "the data have changed since it began"
    ]
    for name in rest:
        (data / name).unlink()
    with pytest.raises(ValueError, match="has learned from all 3 that would be held out now"):
        mv.evaluate(tmp_path / "a", say=said.append)


def test_a_folder_and_lists_of_it_train_the_same_model(films, tmp_path):
    """A list with a root and numbers, the names from a file; a table with titles; parts of films
    that are all of them; frames in folders are read as often as the film's own.
    """
    names = sorted(path.relative_to(films).as_posix() for path in films.rglob("*.mp4"))
    (tmp_path / "names.txt").write_text("1 bright\n2 dark\n")
    rows = [(name, 1 + name.startswith("dark")) for name in names]
    (tmp_path / "slowfast.csv").write_text("".join(f"{name} {label}\n" for name, label in rows))
    with open(tmp_path / "titled.tsv", "w", newline="") as file:
        lines = csv.writer(file, delimiter="\t")
        lines.writerow(["label", "start", "end", "path"])
        lines.writerows([name.split("/")[0], 0, 99, films / name] for name in names)
    finish(changed(TINY, {"data": str(films), "balance": True, "epochs": 1}), tmp_path / "a")
    whole = flat(tmp_path / "a")
    for fields in (
        {"data": "slowfast.csv", "data_root": str(films), "classes": str(tmp_path / "names.txt")},
        {"data": "titled.tsv"},
    ):
        out = tmp_path / fields["data"][:4]
        fields["data"] = str(tmp_path / fields["data"])
        finish(changed(TINY, fields | {"balance": True, "epochs": 1}), out)
        np.testing.assert_array_equal(flat(out), whole)
        assert (out / "classes.txt").read_text() == "bright\ndark\n"


def test_a_part_that_was_cut_elsewhere_is_another_example(films, tmp_path):
    names = ["bright/film 0", "bright/film 1", "dark/film 10", "dark/film 11"]
    spans = ["0,0.5", "0.5,1"]
    rows = [f"{name}.mp4,{name.split('/')[0]},{span}" for name in names for span in spans]
    table = tmp_path / "parts.csv"
    table.write_text("\n".join(["path,label,start,end", *rows]))
    fields = {"data": str(table), "data_root": str(films), "holdout": 0.5, "epochs": 0.1}
    finish(changed(TINY, fields), tmp_path / "a")
    parts = examples(tmp_path / "a")
    assert {len(names) for names in parts.values()} == {4}  # all parts of two films on each side
    whole = {part: {name.split(" from ")[0] for name in names} for part, names in parts.items()}
    assert not whole["train"] & whole["tests"]
    finish(None, tmp_path / "a", resume=True)
    table.write_text(table.read_text().replace("0.5,1", "0.4,1"))
    with pytest.raises(ValueError, match="2 are gone, such as .* from 0.5 to 1 s, 2 are new, such"):
        prepare(None, tmp_path / "a", resume=True)


def test_commands_take_lists_and_folders_of_frames(tmp_path, monkeypatch, capsys):
    for k in range(8):
        folder = tmp_path / "raw frames" / f"film {k}"
        folder.mkdir(parents=True)
        for j, frame in enumerate(counting(6, 16, 24)):
            write_picture(folder / f"img_{j + 1:05d}.jpg", frame // 2 + np.uint8(120 * (k % 2)))
    (tmp_path / "train.txt").write_text("".join(f"film {k} 6 {k % 2}\n" for k in range(8)))
    monkeypatch.chdir(tmp_path)
    some = (
        "--model.frames 2 --model.size 16 --model.channels 1 --batch 2 --epochs 1 --train_clips 0"
    )
    words = ["--data", "train.txt", "--data-root", "raw frames", "--holdout", "0.25", "--balance"]
    words += [*some.split(), "--test_clips", "0", "--frame_rate", "10"]
    assert main(["train", "--recipe", "smoke", "--out", "run", *words]) == 0
    said = capsys.readouterr()
    assert "6 examples to learn from, 2 to test on" in said.out
    assert main(["train", "--out", "run", "--resume"]) == 0
    assert main(["finetune", "--weights", "run", "--out", "run2", "--holdout", "0.5", *words[:4],
                 "--batch", "2", "--epochs", "1", "--balance"]) == 0  # fmt: skip
    assert "4 examples to learn from, 4 to test on" in capsys.readouterr().out
    assert main(["evaluate", "run2"]) == 0 and "4 examples" in capsys.readouterr().out
    assert main(["evaluate", "run2", "--data", "train.txt", "--data_root", "raw frames"]) == 0
    assert "8 examples" in capsys.readouterr().out


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"data": "street", "holdout": 0.2}, "street has tests of its own: leave out holdout"),
        (
            {"data": "x", "tests": "y", "holdout": 0.2},
            "tests are held out or given, came holdout 0.2",
        ),
        ({"data": "x", "holdout": 1.0}, r"holdout is a share in \[0, 1\), came 1.0"),
        ({"frame_rate": 0}, "frame_rate is a number above 0, came 0"),
        ({"balance": "draw"}, "balance is true or false, came 'draw'"),
    ],
)
def test_fields_that_cannot_be(fields, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        prepare(
            changed(RECIPES["smoke"], {"train_clips": 0, "test_clips": 0} | fields),
            tmp_path / "out",
        )
    assert not (tmp_path / "out").exists()
