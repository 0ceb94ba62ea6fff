"""Whom `mvit-np bench --against` names: runtimes, by a double of one, and our definitions alone."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import mvit_np as mv
from mvit_np.backend.arrays import plain
from mvit_np.cli import main
from mvit_np.cli.bench import peers_of
from mvit_np.studies.bench import (
    machine,
    memory,
    page,
    peers,
    runtimes,
    stored,
    suite,
    tables,
    timing,
    worker,
    workloads,
)
from mvit_np.studies.bench.workloads import Workload

MICRO, STEP = Workload("mvit_micro"), Workload("mvit_micro", "step")
REAL = ("torch", "torchvision", "onnx", "onnxscript", "onnxruntime", "openvino")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def quick(monkeypatch):
    """Nothing of the machine is measured, and each process is a call in this one."""

    def here(what, task, title):
        task = json.loads(json.dumps({"what": what, **task}))
        return json.loads(json.dumps(worker.main(task)))

    for module in (stored, suite, memory):
        monkeypatch.setattr(module, "run_in_subprocess", here)
    monkeypatch.setattr(machine, "product_flops_per_s", lambda threads, dtype: 1e11)
    monkeypatch.setattr(machine, "copy_bytes_per_s", lambda threads: 1e10)
    monkeypatch.setattr(machine, "others_now", lambda: 0.0)
    monkeypatch.setattr(timing.alternate, "__defaults__", (0.0, 0.0, lambda: next(TICKS)))


TICKS = iter(range(10**9))


@pytest.fixture
def double(monkeypatch, quick):
    """An ONNX Runtime that computes by our own code, of a "model" that holds our parameters.

    Its logits are off by what `double.shift` says.
    """
    told = SimpleNamespace(shift=0.0, threads=set(), clips=[])

    class Session:
        def __init__(self, path, options, providers):
            self.params, self.config = mv.load(f"{path}.npz")
            told.threads.add((options.intra_op_num_threads, options.inter_op_num_threads))
            assert providers == ["CPUExecutionProvider"]

        def get_inputs(self):
            return [SimpleNamespace(name="clips")]

        def run(self, outputs, inputs):
            told.clips.append(inputs["clips"])
            clips = inputs["clips"].transpose(0, 2, 3, 4, 1)
            return [mv.forward(self.params, clips, self.config) + told.shift]

    def export(workload, params, path):
        mv.save(f"{path}.npz", params, workload.config)

    for name in (*runtimes.EXPORT, "onnxruntime"):
        module = ModuleType(name)
        module.__spec__ = importlib.util.spec_from_loader(name, None)
        module.__version__ = "7.7"
        monkeypatch.setitem(sys.modules, name, module)
    module.SessionOptions, module.InferenceSession = SimpleNamespace, Session
    monkeypatch.setattr(peers, "export", export)
    monkeypatch.setattr(peers, "versions", lambda: {"torch": "9.8", "torchvision": "0.99"})
    return told


def bench(*options):
    return main(["bench", "mvit_micro", "--rounds", "2", "--threads", "1", *options])


def test_a_runtime_takes_turns_with_ours(double, capsys, tmp_path):
    target = tmp_path / "numbers.json"
    assert bench("--against", "onnxruntime", "--batch", "2", "--json", str(target)) == 0
    out, err = capsys.readouterr()
    assert (
        "ratio to onnxruntime" in out
        and "ONNX Runtime 7.7" in " ".join(out.split())
        and "differ" not in err
    )
    assert double.threads == {(1, 1)}
    clips, _ = workloads.examples(Workload("mvit_micro", batch=2))
    assert all(np.array_equal(given, clips.transpose(0, 4, 1, 2, 3)) for given in double.clips)

    forward, step = json.loads(target.read_text())["cases"]
    assert [*forward["by"]] == ["mvit_np", "onnxruntime"] and [*step["by"]] == ["mvit_np"]
    assert forward["by"]["onnxruntime"]["logits_off"] == 0


def test_logits_that_are_not_ours_are_told(double, capsys, tmp_path):
    double.shift = 1.0
    target = tmp_path / "numbers.json"
    options = ["--against", "onnxruntime", "--mode", "forward", "--json", str(target)]
    assert bench(*options) == 0
    sentence = "mvit_micro forward: logits differ from ours in ONNX Runtime by"
    assert sentence in capsys.readouterr().err
    results = json.loads(target.read_text()) | {"accuracy": [], "profiles": [], "scaling": None}
    assert sentence in " ".join(page.render(results).split())
    off = {"torch": {"logits_off": float("nan")}, "mvit_np": {}}
    assert "PyTorch by nan" in tables.disagreement({"title": "a model"}, off)


@pytest.mark.slow
def test_the_definitions_alone_take_turns_with_the_fast_versions(quick, capsys, monkeypatch):
    seen = []
    forward = workloads.forward
    monkeypatch.setattr(
        workloads, "forward", lambda *a, **k: seen.append(plain()) or forward(*a, **k)
    )
    assert bench("--against", "plain") == 0
    out = capsys.readouterr().out
    assert out.count("ratio to plain definitions") == 2
    assert seen.count(True) == seen.count(False) > 0


def test_times_are_of_loaded_parameters(quick, monkeypatch):
    """The processes that measure draw none; the file holds what was drawn before."""
    with stored.stored(STEP) as files:
        monkeypatch.setattr(workloads, "parameters", None)
        found = worker._times(STEP, 1, 1, ["mvit_np", "plain"], files)
        assert all(seconds > 0 for [seconds] in found["by"].values())
        assert memory.measure(STEP, "mvit_np", 1, files)["peak_bytes"] > 0
    assert not Path(files["weights"]).exists()


# -- mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*runtimes.TITLES])
def test_a_missing_runtime_is_one_sentence(double, name, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    assert bench("--against", name, "--mode", "forward") == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert f"a comparison with {name} needs {name}: " in told
    assert told.endswith(f"-m pip install {name}")


def test_what_exports_a_model_is_needed_too(double, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert bench("--against", "onnxruntime") == 2
    assert "pip install onnxscript" in capsys.readouterr().err


def test_names_are_separated_by_commas():
    assert peers_of("torch") == ("torch",)
    assert peers_of("openvino,torch,openvino") == ("openvino", "torch")


@pytest.mark.parametrize("names", ["jax", "torch,", "torch, plain", ""])
def test_an_unknown_peer_is_one_sentence(names, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["bench", "mvit_micro", "--against", names])
    assert "some of torch, onnxruntime, openvino, plain, with commas" in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--mode", "step"], ["--dtype", "float64"]])
def test_runtimes_run_forward_passes_in_float32(double, option, capsys):
    assert bench("--against", "onnxruntime", *option) == 2
    assert "run forward passes in float32 alone; came mvit_micro" in capsys.readouterr().err


def test_on_a_device_torch_is_the_peer(capsys):
    assert main(["bench", "--device", "cuda", "--against", "torch,openvino"]) == 2
    assert "on a device the peer is torch alone; came openvino" in capsys.readouterr().err


# -- the page and the README -----------------------------------------------------------------------


def made_up():
    """Results of a case with all peers."""
    sizes = {"low_s": 1.0, "high_s": 9.0, "import_bytes": 5e7}
    seconds = {"mvit_np": 2.0, "plain": 8.0, "torch": 4.0, "onnxruntime": 2.5, "openvino": 1.6}
    by = {
        who: {"median_s": s, "peak_bytes": s * 1e9, **sizes, "logits_off": 3e-7}
        for who, s in seconds.items()
    }
    case = {"title": "a model forward", "workload": {"batch": 1}, "macs": 1e9, "others": None}
    words = dict.fromkeys(["cpu", "system", "python", "numpy", "blas", "date"], "x")
    versions = {"torch": "9.8", "torchvision": "0.9", "onnxruntime": "7.1", "openvino": "7.2"}
    return {
        "command": "mvit-np bench --page x.md",
        "machine": words | {"cores": 2, "memory_bytes": None} | versions,
        "threads": 2, "rounds": 6, "idle_others": None,
        "roof": {"dtype": "float32", "flops_per_s": 1e11, "bytes_per_s": 1e10},
        "cases": [case | {"time_aim": 0.8, "memory_aim": None, "by": by}],
        "accuracy": [], "profiles": [], "scaling": None,
    }  # fmt: skip


def cells(text, begin):
    """Of the lines of all tables that begin so."""
    lines = [line for line in text.splitlines() if line.startswith(f"| {begin} |")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_page_has_a_line_for_each_peer_and_the_definitions():
    text = page.render(made_up())
    time, onnxruntime, openvino, memory_ = cells(text, "a model forward")
    assert time[1:7] == ["2.000 s", "1.000-9.000", "4.000 s", "1.000-9.000", "**0.50**", "0.8"]
    assert onnxruntime[1:5] == ["ONNX Runtime", "2.500 s", "1.000-9.000", "**0.80**"]
    assert openvino[4:] == ["**1.25**", "1.60 GB", "50 MB", "**1.25**", "3.0e-07"]
    assert memory_[1:] == ["2.00 GB", "50 MB", "4.00 GB", "50 MB", "**0.50**"]
    plain_time, plain_memory = cells(text, "a model forward, plain definitions")
    assert plain_time[1:7] == ["8.000 s", "1.000-9.000", "", "", "**2.00**", ""]
    assert plain_memory[1:] == ["8.00 GB", "50 MB", "", "", "**2.00**"]
    assert (
        "ONNX Runtime 7.1, OpenVINO 7.2" in " ".join(text.split()) and "logits differ" not in text
    )


def readme_table(results):
    """Ours to theirs, as README.md has it: a line a case, of what the page measured."""
    whos = [who for who in tables.TITLES if any(who in case["by"] for case in results["cases"])]
    head = ["", *(f"time to {tables.TITLES[who]}" for who in whos), "memory to PyTorch"]
    rows = [
        [case["title"], *(tables.ratio(case, "median_s", who) for who in whos)]
        + [tables.ratio(case, "peak_bytes")]
        for case in results["cases"]
    ]
    return [head, *rows]


def test_the_readme_has_the_ratios_of_the_page():
    results = json.loads((ROOT / "docs/performance.json").read_text())
    text = (ROOT / "README.md").read_text().partition("\n## How fast\n")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|") and "---" not in line]
    wanted = ["| " + " | ".join(row).strip() + " |" for row in readme_table(results)]
    assert lines == wanted, "README.md, 'How fast', has these lines now:\n" + "\n".join(wanted)


# -- the runtimes themselves -----------------------------------------------------------------------


@pytest.mark.parametrize("name", [*runtimes.TITLES])
def test_a_runtimes_logits_are_ours(name, tmp_path):
    if any(importlib.util.find_spec(library) is None for library in REAL):
        pytest.skip(f"a peer to compare with: pip install {' '.join(REAL)}")
    workload, path = Workload("mvit_micro", batch=2), str(tmp_path / "model.onnx")
    params = workloads.parameters(workload)
    peers.export(workload, params, path)
    clips, _ = workloads.examples(workload)
    theirs = runtimes.runtime_call(name, path, clips, 1)()
    ours = workloads.mvit_call(workload, params)()
    np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-6)
    assert runtimes.version(name)[0].isdigit()
