"""`mvit-np finetune` and `mvit-np features` as a user meets them, and their like in one call."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from films import counting, write_film

import mvit_np as mv
from mvit_np.cli import main
from mvit_np.train.metrics import read_rows

ROOT = Path(__file__).parents[2]
CLASSES = ("bright", "dark")


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Eight films of two classes, and one that is torn."""
    folder = tmp_path_factory.mktemp("films") / "data"
    for k in range(8):
        path = folder / CLASSES[k % 2] / f"{k}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_film(path, counting(12) // 4 + np.uint8(120 * (k % 2 == 0) + k))
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A checkpoint in SlowFast's layout that knows five other classes."""
    config = mv.MViTConfig(
        frames=4, size=32, num_classes=5, dim=8, depths=(1, 1), stride_kv=(1, 4, 4), dropout=0.0
    )
    folder, about = tmp_path_factory.mktemp("weights"), mv.About(tuple("abcde"), 2.0, "video")
    mv.save(folder / "a.npz", mv.init(config, np.random.default_rng(1)), config, about)
    mv.convert(folder / "a.npz", folder / "a.pyth", to="slowfast")
    return folder / "a.pyth"


def run(capsys, *words):
    code = main([str(word) for word in words])
    return code, capsys.readouterr()


def finetune(capsys, weights, films, out, *words):
    some = ("--data", films, "--tests", films, "--batch", 4, "--epochs", 2, "--out", out)
    return run(capsys, "finetune", "--weights", weights, *some, *words)


@pytest.mark.parametrize("mode", ["probe", "freeze", "full"])
def test_what_finetune_makes_is_a_run_that_other_commands_take(
    mode, weights, films, tmp_path, capsys
):
    out = tmp_path / "run"
    code, said = finetune(capsys, weights, films, out, "--mode", mode)
    assert code == 0, said.err
    assert "it is for 5 classes, and the data have 2: the head is new" in said.err
    assert "clips of 4x32x32x3, 2 classes" in said.out and "model.npz" in said.out
    right = read_rows(out / "metrics.csv")[-1]["test_accuracy"]
    code, said = run(capsys, "evaluate", out)
    assert code == 0 and f"top-1 {right:7.2%}" in said.out
    film = films / "dark" / "1.mp4"
    code, said = run(capsys, "classify", film, "--weights", out, "--out", tmp_path)
    assert code == 0 and all(name in said.out for name in CLASSES)
    for command in ("finetune", "train"):  # nothing is left to do
        code, said = run(capsys, command, "--out", out, "--resume")
        assert code == 0, said.err


@pytest.mark.parametrize(
    "words, sentence",
    [
        ((), "a run needs a folder for what it learns: give --out FOLDER"),
        (("--out", "o"), "a model is trained further from its weights: give --weights FILE"),
        (("--out", "o", "--weights", "none.npz"), "there is none at none.npz: check the path"),
        (("--out", "o", "--weights", "{}", "--lrr", "1"), "a recipe has no field 'lrr'"),
        (("--out", "o", "--weights", "{}"), "a run learns from data: give"),
        (("--out", "o", "--weights", "{}", "--mode", "full", "--cutmix", "-1"), "cutmix is"),
    ],
)
def test_a_mistake_is_a_sentence_and_writes_nothing(
    words, sentence, weights, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    code, said = run(capsys, "finetune", *(word.format(weights) for word in words))
    assert code == 2 and sentence in said.err, said.err
    assert "Traceback" not in said.err and not list(tmp_path.iterdir())


# -- features --------------------------------------------------------------------------------------


def test_features_are_what_the_head_reads(weights, films, tmp_path, capsys):
    (films / "torn.mp4").write_bytes(b"no film")
    out = tmp_path / "f" / "features.npz"
    for _ in range(2):  # its own file may be written again
        code, said = run(capsys, "features", films, "--weights", weights, "--out", out)
    (films / "torn.mp4").unlink()
    assert code == 0 and "torn.mp4 is left out" in said.err and "8 of 9 files" in said.out
    with np.load(out, allow_pickle=False) as file:
        names, pooled = file["names"].tolist(), file["pooled"]
    assert names == sorted(map(str, films.rglob("*.mp4"))) and pooled.shape == (8, 16)
    params, config = mv.load(weights)
    for name, vector in zip(names, pooled):
        result = mv.classify(weights, name, views=(1, 1))
        found = mv.features(params, result.clip, config)
        np.testing.assert_allclose(vector, found.pooled[0], atol=1e-5)
        scores = vector @ params["head"]["w"] + params["head"]["b"]
        shares = np.exp(scores) / np.exp(scores).sum()
        np.testing.assert_allclose(shares, result.probabilities, atol=1e-5)


def test_features_hold_the_maps_of_stages_too(weights, films, tmp_path, capsys):
    out, (params, config) = tmp_path / "maps.npz", mv.load(weights)
    options = ["--weights", weights, "--out", out, "--maps"]
    code, said = run(capsys, "features", films, *options, "2,1")
    assert code == 0 and "8 of 8 files" in said.out
    with np.load(out, allow_pickle=False) as file:
        assert set(file.files) == {"names", "pooled", "map_1", "map_2"}
        for k, name in enumerate(file["names"].tolist()):
            clip = mv.classify(weights, name, views=(1, 1)).clip
            right = mv.features(params, clip, config)
            for stage, expected in enumerate(right.maps, 1):
                np.testing.assert_allclose(file[f"map_{stage}"][k], expected[0], atol=1e-6)
            np.testing.assert_allclose(file["pooled"][k], right.pooled[0], atol=1e-6)
    code, said = run(capsys, "features", films, *options, "3")
    assert code == 2 and "stages are 1 to 2; came 3: correct --maps" in said.err


def test_features_write_over_nothing_else(weights, films, tmp_path, capsys):
    (tmp_path / "a.npz").write_bytes(b"mine")
    for out, words in (
        (tmp_path / "a.npz", "is there already, and this command did not write it"),
        (tmp_path / "a.csv", "features are written to .npz; came a.csv"),
    ):
        code, said = run(capsys, "features", films, "--weights", weights, "--out", out)
        assert code == 2 and words in said.err
    assert (tmp_path / "a.npz").read_bytes() == b"mine"
    (tmp_path / "x.mp4").write_bytes(b"no film")
    out = tmp_path / "b.npz"
    code, _ = run(capsys, "features", tmp_path / "x.mp4", "--weights", weights, "--out", out)
    assert code == 1 and not out.exists()


# -- in one call -----------------------------------------------------------------------------------


def test_the_calls_do_what_the_commands_do(weights, films, tmp_path, capsys):
    fields = {"data": str(films), "tests": str(films), "batch": 4, "epochs": 2}
    code, said = finetune(capsys, weights, films, tmp_path / "command")
    rows = []
    options = {"say": lambda sentence: None, "progress": rows.append}
    found = mv.fit("probe", tmp_path / "call", weights=weights, **fields, **options)
    ours, theirs = mv.load(tmp_path / "call")[0], mv.load(tmp_path / "command")[0]
    mv.tree.map(np.testing.assert_array_equal, ours, theirs)
    mv.tree.map(np.testing.assert_array_equal, ours, found.params)
    assert found.classes == CLASSES and len(rows) == 4
    result = mv.evaluate(tmp_path / "call", workers=0)
    assert result.top1 == rows[-1]["test_accuracy"] and result.examples == 8
    code, said = run(capsys, "evaluate", tmp_path / "command")
    assert f"top-1 {result.top1:7.2%}" in said.out
    top = mv.classify(tmp_path / "call", films / "dark" / "1.mp4").top(2)
    assert {name for name, _ in top} == set(CLASSES)
    assert mv.fit("probe", tmp_path / "call", weights=weights, resume=True, **fields) is not None
    with pytest.raises(ValueError, match="there is no recipe 'prob': did you mean 'probe'"):
        mv.fit("prob", tmp_path / "other")
    assert {"fit", "classify", "evaluate", "features"} <= set(dir(mv))


@pytest.mark.slow
def test_the_worked_example_runs(tmp_path):
    """At a size at which nothing is learned."""
    script = [sys.executable, str(ROOT / "docs" / "transfer_example.py"), "--out", str(tmp_path)]
    size = ["--films", "16", "--tests", "8", "--epochs", "0.5", "--source-epochs", "0.05"]
    done = subprocess.run([*script, *size], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    learned = [row.split("|")[1].strip() for row in rows[2:]]
    assert learned == ["probe", "freeze", "full", "from random parameters"]
