"""`mvit-np bench --device ... --go-on`: what the file has already is not measured again.

There is no device: one is made up, and what is measured on it are numbers that count up.
"""

import itertools
import json
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from mvit_np.cli import main
from mvit_np.studies.bench.device import suite

CARD = {
    "card": "Abacus 9", "memory_bytes": 3 << 30, "multiprocessors": 7, "compute": "9.1",
    "driver": None, "driver_cuda": "13.2", "cuda": "12.9", "cupy": "14.9",
}  # fmt: skip
ROOFS = {"float32": 51e12, "tf32": 389e12, "bf16": 777e12, "bytes_per_s": 3.93e12}


@pytest.fixture
def card(monkeypatch):
    """The facts of a card that is made up; a test may change them."""
    facts, numbers = dict(CARD), itertools.count(1)

    def measured(contestants, rounds, tell):
        times = ("median_s", "low_s", "high_s", "peak_bytes", "reserved_bytes")
        return {who: dict.fromkeys(times, next(numbers)) | {"size": 1.0} for who in contestants}

    gpu = SimpleNamespace(number=0, xp=SimpleNamespace(cuda=SimpleNamespace(Device=nullcontext)))
    bench = suite.Bench(gpu, SimpleNamespace(release=lambda: None))
    monkeypatch.setattr(suite, "bench", lambda device, against: bench)
    monkeypatch.setattr(suite.gpu, "describe", lambda gpu: dict(facts))
    monkeypatch.setattr(suite.gpu, "roofs", lambda gpu, side: ROOFS)
    monkeypatch.setattr(suite.measure, "measured", measured)
    return facts


@pytest.fixture
def bench(card, capsys):
    """bench(options) -> (exit code, precisions that were measured, stdout, stderr)"""

    def run(*options):
        chosen = ["mvit_micro", "--mode", "forward", "--batch", "1", *map(str, options)]
        code = main(["bench", "--device", "cuda", *chosen])
        out, err = capsys.readouterr()
        title = "mvit_micro forward, batch 1, "
        lines = [line for line in err.splitlines() if line.startswith(title)]
        return code, [line.removeprefix(title) for line in lines], out, err

    return run


@pytest.mark.parametrize("option, name", [("--json", "numbers.json"), ("--page", "page.md")])
def test_only_what_the_file_lacks_is_measured(option, name, bench, tmp_path):
    numbers, target = (tmp_path / name).with_suffix(".json"), (option, tmp_path / name)
    assert bench(*target, "--precision", "bf16")[:2] == (0, ["bf16"])
    first = json.loads(numbers.read_text())

    code, measured, out, _ = bench(*target, "--go-on")
    both = json.loads(numbers.read_text())
    assert (code, measured) == (0, ["float32", "tf32"]) and "batch 1, bf16" not in out
    assert [case["precision"] for case in both["cases"]] == ["bf16", "float32", "tf32"]
    assert both["cases"][:1] == first["cases"] and both["command"] == first["command"]

    code, measured, out, _ = bench(*target, "--go-on")
    assert (code, measured) == (0, []) and "batch 1" not in out
    assert json.loads(numbers.read_text()) == both

    assert bench(*target)[:2] == (0, ["float32", "tf32", "bf16"])
    assert json.loads(numbers.read_text())["cases"][-1]["by"] != first["cases"][0]["by"]


def test_without_a_file_all_is_measured(bench, tmp_path):
    numbers = tmp_path / "new" / "numbers.json"
    assert bench("--json", numbers, "--go-on")[:2] == (0, ["float32", "tf32", "bf16"])
    assert len(json.loads(numbers.read_text())["cases"]) == 3


@pytest.mark.parametrize(
    "change, options",
    [({"card": "Abacus 8"}, []), ({"cupy": "15.0"}, []), ({}, ["--rounds", 2])],
    ids=["another card", "another version", "other rounds"],
)
def test_numbers_of_two_machines_are_not_mixed(change, options, card, bench, tmp_path):
    numbers = tmp_path / "numbers.json"
    bench("--json", numbers, "--precision", "bf16")
    before = numbers.read_text()
    card |= change
    code, measured, out, err = bench("--json", numbers, "--go-on", *options)
    assert (code, measured, out) == (2, [], "") and numbers.read_text() == before
    assert "continued on the same device by the same versions in as many rounds" in err


def test_numbers_of_the_processor_are_not_continued(bench, tmp_path):
    numbers = tmp_path / "numbers.json"
    numbers.write_text('{"command": "mvit-np bench", "cases": []}')
    code, measured, _, err = bench("--json", numbers, "--go-on")
    assert (code, measured) == (2, []) and "holds no numbers of mvit-np bench" in err
