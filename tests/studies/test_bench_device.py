"""What `mvit-np bench --device` measures and how it tells: on the device double, with a clock and a
pool of our own.
"""

import json
from dataclasses import replace
from types import SimpleNamespace

import device_double
import double_cuda
import numpy as np
import pytest
from device_double import Namespace
from gcc_tools import GCC

import mvit_np as mv
from mvit_np.backend import tree as trees
from mvit_np.cli import main
from mvit_np.model.presets import PRESETS, Preset
from mvit_np.studies.bench.device import (
    clock,
    curves,
    gpu,
    kernels,
    measure,
    memory,
    mvit_calls,
    page,
    tables,
    torch_calls,
)
from mvit_np.studies.bench.device.plan import (
    BESIDE_COMPILED,
    COMPILED,
    GRAPH,
    MVIT,
    TORCH,
    Case,
    Curves,
    Kernels,
    whole,
)

double_cuda.install()
pytestmark = pytest.mark.skipif(GCC is None, reason="kernels are compiled by gcc: install it")

TOY = mv.preset("mvit_micro")  # whose kernels other tests compile too
V2 = dict(
    positions="relative", pool_q_always=True, residual_pooling="tokens", expand_in="attention"
)
TOYS = {"toy": TOY, "toy_v2": replace(TOY, **V2, depths=(1, 2))}


# -- a device --------------------------------------------------------------------------------------


class Pool:
    """As CuPy's: tells hooks what is taken from it and given back, keeps what is given back, and
    tells its sums.
    """

    hooks = []

    def __init__(self):
        self.used = self.total = 0

    def take(self, size):
        if self.used + size > self.total:
            self._tell("alloc_postprocess", mem_size=self.used + size - self.total, mem_ptr=1)
            self.total = self.used + size
        self.used += size
        self._tell("malloc_postprocess", size=size, mem_size=size, mem_ptr=1, pmem_id=1)

    def give(self, size):
        self.used -= size
        self._tell("free_postprocess", mem_size=size, mem_ptr=1, pmem_id=1)

    def free_all_blocks(self):
        self.total = self.used

    def used_bytes(self):
        return self.used

    def total_bytes(self):
        return self.total

    def _tell(self, name, **said):
        for hook in self.hooks:
            getattr(hook, name)(device_id=0, **said)


class Hook:
    def __enter__(self):
        Pool.hooks.append(self)
        return self

    def __exit__(self, *error):
        Pool.hooks.remove(self)


class Event:
    """The clock goes on by a millisecond at each."""

    now = 0

    def __init__(self, enable_timing=True):
        assert enable_timing

    def record(self):
        Event.now += 1
        self.at = Event.now

    def synchronize(self):
        assert self.at

    def elapsed_time(self, end):
        return end.at - self.at


class Device:
    def __init__(self, number=0):
        self.id = number

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


FACTS = {
    "name": b"Abacus 9",
    "totalGlobalMem": 3 << 30,
    "multiProcessorCount": 7,
    "major": 9,
    "minor": 1,
}
RUNTIME = SimpleNamespace(
    getDeviceProperties=lambda number: FACTS,
    driverGetVersion=lambda: 13020,
    runtimeGetVersion=lambda: 12090,
)


@pytest.fixture
def device(monkeypatch):
    """The double as `--device cuda`, with toy presets and little patience."""
    members = {name: value for name, value in vars(double_cuda.cuda).items() if name != "__name__"}
    members |= dict(Event=Event, MemoryHook=Hook, Device=Device, runtime=RUNTIME)
    members |= dict(get_elapsed_time=lambda start, end: start.elapsed_time(end))
    monkeypatch.setattr(device_double.xp, "cuda", Namespace("cuda", **members), raising=False)
    pool = Pool()
    monkeypatch.setattr(device_double.xp, "get_default_memory_pool", lambda: pool, raising=False)
    monkeypatch.setattr(device_double.xp, "__version__", "14.9", raising=False)
    monkeypatch.setattr(
        gpu, "to_device", lambda tree, device: trees.map(device_double.from_host, tree)
    )
    for module, name, value in (
        (gpu, "SIZE", 16), (gpu, "COPIED", 256), (gpu, "REPEATS", 1), (gpu, "CALLS", 1),
        (clock, "WARM", 0), (clock, "MOST", 1), (kernels, "ROUNDS", 1), (curves, "BATCHES", 2),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    for name, config in TOYS.items():
        monkeypatch.setitem(PRESETS, name, Preset(name, "a toy", config))
    return gpu.find("cuda")


@pytest.fixture
def torch_there(device, monkeypatch):
    """PyTorch on the processor in the part of a device, and `torch.compile` without a compiler."""
    torch = pytest.importorskip(
        "torch", reason="a peer to compare with: pip install torch torchvision"
    )
    if not torch_calls.peers.available():
        pytest.skip("a peer to compare with: pip install torch torchvision")
    torch.set_num_threads(1)
    numbers = dict(
        memory_allocated=lambda: 5, memory_reserved=lambda: 6, max_memory_allocated=lambda: 57
    )
    calls = dict.fromkeys(["empty_cache", "synchronize", "reset_peak_memory_stats"], lambda: None)
    cuda = SimpleNamespace(
        Event=Event,
        set_device=lambda device: None,
        max_memory_reserved=lambda: 68,
        **numbers,
        **calls,
    )

    class Torch:
        def __getattr__(self, name):
            return cuda if name == "cuda" else getattr(torch, name)

    monkeypatch.setattr(torch_calls, "find_device", lambda device: (Torch(), torch.device("cpu")))
    monkeypatch.setattr(torch_calls, "COMPILE", {"backend": "eager"})
    return torch


# -- the plan --------------------------------------------------------------------------------------


def test_the_plan_covers_all_and_begins_with_what_is_wanted_most():
    parts = whole()
    cases = [part for part in parts if isinstance(part, Case)]
    grid = {
        (case.preset, case.mode, case.batch, case.precision) for case in cases if not case.masks
    }
    assert len(grid) == 2 * 2 * 3 * 3 and len(set(parts)) == len(parts)
    for whos in ((MVIT, GRAPH, TORCH), (GRAPH, COMPILED)):
        assert len([case for case in cases if case.whos == whos and not case.masks]) == 36
    wanted = Case("mvit_b_16x4"), Kernels(), Case("mvit_b_16x4", whos=BESIDE_COMPILED), Curves()
    places = [parts.index(part) for part in wanted]
    assert places == sorted(places) and places[0] == 0
    assert {case.batch for case in cases if case.masks} == {8}


def test_alone_nothing_is_measured_for_a_comparison():
    parts = whole(
        models=("mvit_b_16x4",), batches=(8,), modes=("step",), precisions=("bf16",), against=False
    )
    only = Case("mvit_b_16x4", "step", 8, "bf16", whos=(MVIT, GRAPH))
    assert parts == (
        only,
        Kernels("mvit_b_16x4", 8),
        Curves("mvit_b_16x4", 8),
        replace(only, masks=True),
    )
    assert whole(only="kernels") == (Kernels(),)


def test_a_case_without_masks_drops_nothing():
    case = Case("mvit_b_16x4", "step", 8, "bf16")
    assert (
        case.config.dropout == case.config.drop_path == 0
        and case.title == "mvit_b_16x4 step, batch 8, bf16"
    )
    masked = replace(case, masks=True)
    assert masked.config == mv.preset("mvit_b_16x4") and masked.title.endswith("bf16, masks")
    assert case.workload.macs == 3 * 8 * mv.costs(case.config).macs


# -- time and memory -------------------------------------------------------------------------------


def test_a_turn_is_calls_between_two_events(device, monkeypatch):
    monkeypatch.setattr(clock, "WARM", 2)
    monkeypatch.setattr(clock, "MOST", 100)
    called, side = [], mvit_calls.side(device.xp)
    assert side.seconds(lambda: called.append(1), 4) == pytest.approx(1e-3 / 4) and len(called) == 4
    assert (
        clock.turn(side, lambda: called.append(1), 3) == pytest.approx(1e-3 / 3)
        and len(called) == 9
    )
    assert (
        clock.calls_in_a_turn(side, lambda: None, 0.0055) == 6
        and clock.calls_in_a_turn(side, lambda: None, 9) == 100
    )


def test_memory_is_what_stays_and_the_most_on_the_way(device):
    pool, other = device.xp.get_default_memory_pool(), Pool()
    pool.take(1000)  # of somebody else

    def build():
        pool.take(100)
        pool.take(900)
        pool.give(900)

        def call():
            pool.take(40)
            pool.take(20)
            pool.give(60)
            pool.take(30)
            pool.give(30)

        return call

    call, found = memory.weighed(device.xp, build)
    assert found == {"peak_bytes": 160, "reserved_bytes": 160}

    def with_a_graph():
        call = build()
        other.take(5000)
        other.give(4000)
        return call

    assert memory.weighed(device.xp, with_a_graph)[1] == {
        "peak_bytes": 5160,
        "reserved_bytes": 5160,
    }
    assert not Pool.hooks


def test_what_could_not_be_had_is_not_counted(device):
    counter = memory.allocations(device.xp)
    counter.malloc_postprocess(device_id=0, size=8, mem_size=8, mem_ptr=0, pmem_id=0)
    counter.alloc_postprocess(device_id=0, mem_size=8, mem_ptr=0)
    assert (counter.now, counter.most, counter.taken) == (0, 0, 0)


def test_the_card_is_described_and_its_best_is_measured(device, tmp_path):
    told = gpu.describe(device)
    assert (told["card"], told["memory_bytes"], told["multiprocessors"], told["compute"]) == (
        "Abacus 9",
        3 << 30,
        7,
        "9.1",
    )
    assert (told["driver_cuda"], told["cuda"], told["cupy"]) == ("13.2", "12.9", "14.9")
    best = gpu.roofs(device, mvit_calls.side(device.xp))
    assert best["float32"] == best["tf32"] == best["bf16"] == pytest.approx(2 * 16**3 / 1e-3)
    assert best["bytes_per_s"] == pytest.approx(2 * 256 / 1e-3)

    said = tmp_path / "version"
    said.write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\nGCC "
        "version: 12.3.0"
    )
    assert gpu.driver_version(said) == "570.86.15" and gpu.driver_version(tmp_path / "none") is None


# -- who fails -------------------------------------------------------------------------------------


class OutOfMemoryError(MemoryError):
    """As CuPy calls its own."""


@pytest.mark.parametrize(
    "problem, words",
    [
        (OutOfMemoryError("allocating 9 bytes"), "out of memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"), "out of memory"),
        (RuntimeError("cudaErrorMemoryAllocation"), "out of memory"),
        (TypeError("two\nlines"), "TypeError: two lines"),
        (AssertionError(), "AssertionError"),
    ],
)
def test_why_something_failed_is_a_few_words(problem, words):
    assert measure.words(problem) == words


def test_who_fails_is_told_and_the_others_go_on(device):
    side, ready = mvit_calls.side(device.xp), device.put(np.full(4, 3.0, np.float32))
    calls = []

    def cannot():
        raise OutOfMemoryError

    def breaks():
        def call():
            calls.append(1)
            if len(calls) > 4:  # two to weigh it, one for its size, one to see how long it takes
                raise RuntimeError("enough")
            return ready

        return call

    whos = {"good": lambda: lambda: ready, "cannot": cannot, "breaks": breaks}
    found = measure.measured({who: (side, build) for who, build in whos.items()}, rounds=2)
    assert found["cannot"] == {"failed": "out of memory"} and found["breaks"] == {
        "failed": "RuntimeError: enough"
    }
    assert (
        found["good"]["median_s"] == pytest.approx(1e-3)
        and found["good"]["turns"] == 2
        and found["good"]["size"] == 3
    )
    head, rows = tables.case_table(
        {"by": found, "batch": 1, "macs": 5e9, "precision": "tf32"}, {"tf32": 1e14}
    )
    assert rows[1] == ["cannot", "out of memory", *[""] * 6] and rows[0][4:6] == ["10.0", "10 %"]
    assert len(head) == len(rows[0]) == len(rows[1])


# -- the calls -------------------------------------------------------------------------------------


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_graph_steps_as_it_would_without(device, precision, masks):
    case = Case("toy", "step", 2, precision, masks)
    steps = [mvit_calls.call(case, device, graph) for graph in (False, True)]
    losses = np.array([[float(device_double.to_host(step())) for step in steps] for _ in range(3)])
    np.testing.assert_allclose(losses[:, 0], losses[:, 1], rtol=1e-5)
    assert len(set(losses[:, 0])) == 3


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", TOYS)
@pytest.mark.parametrize("mode", ["forward", "step"])
def test_theirs_is_ours(device, torch_there, name, mode, compiled):
    case = Case(name, mode, 2)
    mine, their = (
        mvit_calls.call(case, device),
        torch_calls.call(case, torch_there, torch_there.device("cpu"), compiled),
    )
    fetch = torch_calls.side(torch_there.cuda).fetch
    for _ in range(3):
        np.testing.assert_allclose(
            fetch(their()), device_double.to_host(mine()), rtol=1e-4, atol=1e-6
        )


def test_theirs_in_bf16_and_tf32(device, torch_there):
    logits = {}
    for precision in ("float32", "tf32", "bf16"):
        logits[precision] = torch_calls.call(
            Case("toy", "forward", 2, precision), torch_there, torch_there.device("cpu")
        )()
    assert (
        str(logits["bf16"].dtype) == "torch.bfloat16"
        and str(logits["tf32"].dtype) == "torch.float32"
    )
    settings, before = torch_there.backends.cuda.matmul, torch_there.backends.cuda.matmul.allow_tf32
    with torch_calls.tf32(torch_there, True):
        assert settings.allow_tf32 and torch_there.backends.cudnn.allow_tf32
    with torch_calls.tf32(torch_there, False):
        assert not settings.allow_tf32 and not torch_there.backends.cudnn.allow_tf32
    assert settings.allow_tf32 == before
    torch_calls.warm_up(torch_there, torch_there.device("cpu"))


# -- kernels and precisions ------------------------------------------------------------------------


def test_kernels_are_timed_both_ways(device, monkeypatch):
    rows = kernels.measured(Kernels("toy", 2), device, mvit_calls.side(device.xp))
    named = {(row["op"], row["phase"]): row for row in rows}
    for op, kernel in (
        ("depthwise_conv", "depthwise_conv"),
        ("layer_norm", "layer_norm"),
        ("attend", "softmax_rows"),
    ):
        assert (
            kernel in named[op, "forward"]["kernels"] and len(named[op, "backward"]["kernels"]) >= 1
        )
    assert (
        "adamw" in named["adamw", "update"]["kernels"]
        and "gelu" in named["(gelu with bias)", ""]["kernels"]
    )
    assert not any(op in ("reshape", "add") for op, _ in named)  # nothing of ours is launched there
    assert all(row["kernels_s"] and row["plain_s"] and not row["failed"] for row in rows)
    assert (
        sum(row["calls"] for row in rows if (row["op"], row["phase"]) == ("attend", "forward"))
        == TOY.depth
    )

    monkeypatch.setattr(kernels, "device_tools", lambda x: None)
    assert kernels.measured(Kernels("toy", 2), device, mvit_calls.side(device.xp)) == []


def test_a_way_that_fails_is_told_and_the_other_is_timed(device, monkeypatch):
    class Tools:
        def launch(self, kernel, jobs):
            self.gemm(kernel, add=True)

        def gemm(self, kernel, add):
            assert add

    def without_kernels():
        raise OutOfMemoryError

    tools = Tools()
    work = kernels.Work(
        "op", "forward", 3, [[1]], lambda: lambda: tools.launch(SimpleNamespace(name="some"), 0)
    )
    monkeypatch.setattr(kernels, "plain_ops", without_kernels)
    row = kernels._row(work, mvit_calls.side(device.xp), tools)
    assert row["kernels"] == ["product", "some"] and row["kernels_s"] == pytest.approx(1e-3)
    assert row["plain_s"] is None and row["failed"] == "out of memory"
    head, [cells] = tables.kernel_table([row])
    assert cells == ["op", "3", "3.00 ms", "-", "out of memory", "-", "product, some"] and len(
        head
    ) == len(cells)


@pytest.mark.slow
def test_losses_agree_in_all_precisions(device, torch_there):
    part, torch = Curves("toy", 4, 12), torch_there
    found = curves.measured(
        part, device, lambda *args: torch_calls.losses(torch, torch.device("cpu"), *args)
    )
    by, names = found["by"], ("float32", "tf32", "bf16")
    assert (
        set(by) == {*names, curves.AS_GRAPH, curves.NUDGED, *(f"torch {name}" for name in names)}
        and not found["failed"]
    )
    assert all(len(losses) == 12 for losses in by.values())
    assert (
        curves.gap(by[curves.AS_GRAPH], by["float32"]) < 1e-3
        and curves.gap(by["torch float32"], by["float32"]) < 1e-3
    )
    assert 0 < curves.gap(by["bf16"], by["float32"]) < 0.1
    assert by["bf16"] != by["float32"] and by[curves.NUDGED] != by["float32"]


def test_the_distance_of_curves_is_a_share_of_the_fall():
    truth = [5.0, *[3.0] * 8, 1.0]
    assert curves.gap(truth, truth) == 0
    assert curves.gap([x + 0.2 for x in truth], truth) == pytest.approx(0.05)


def test_a_run_that_fails_is_told(device, monkeypatch):
    monkeypatch.setattr(
        curves, "fit", lambda *args, graph, **settings: 1 / 0 if graph else iter(())
    )
    found = curves.measured(Curves("toy", 2, 2), device)
    assert found["failed"] == {curves.AS_GRAPH: "ZeroDivisionError: division by zero"} and set(
        found["by"]
    ) > {"float32"}
    head, rows = tables.curve_table(
        {"steps": 2, "by": {"float32": [3.0, 2.0]}, "failed": found["failed"]}
    )
    assert rows == [
        ["float32", "3.0000", "2.0000", ""],
        [curves.AS_GRAPH, found["failed"][curves.AS_GRAPH], "", ""],
    ]
    assert head == ["", "step 1", "step 2", "distance"]


# -- the whole -------------------------------------------------------------------------------------


def run(device, *options):
    return main(["bench", "--device", "cuda", *options])


@pytest.mark.slow
def test_a_toy_plan_from_end_to_end(device, torch_there, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "mvit_np.studies.bench.device.plan.whole", lambda **chosen: toy_plan(chosen["against"])
    )
    target, numbers = tmp_path / "new" / "device.md", tmp_path / "new" / "device.json"
    assert run(device, "--against", "torch", "--rounds", "1", "--page", str(target)) == 0
    out, err = capsys.readouterr()
    results = json.loads(numbers.read_text())
    assert [len(results[name]) for name in ("cases", "kernels", "curves")] == [4, 1, 1]
    assert not any("failed" in found for case in results["cases"] for found in case["by"].values())
    assert (
        results["cases"][0]["by"][TORCH]["peak_bytes"] == 52
        and results["cases"][0]["by"][TORCH]["reserved_bytes"] == 62
    )
    for words in (
        "Abacus 9",
        "toy step, batch 2, bf16",
        "torch compiled",
        "with kernels",
        "step 4",
        "TFLOP/s",
    ):
        assert words in out
    assert "mvit_np graph: memory" in err
    text = target.read_text()
    titles = (
        "Time",
        "Memory",
        "What a graph gains",
        "Beside compiled PyTorch",
        "Kernels against plain arrays",
    )
    for title in (*titles, "Training in each precision"):
        assert f"## {title}" in text
    assert text == page.render(results) and not list(tmp_path.rglob("*.part"))

    again = tmp_path / "again.md"
    assert (
        run(device, "--page", str(again), "--from", str(numbers)) == 0 and again.read_text() == text
    )


def toy_plan(against):
    assert against
    step = Case("toy", "step", 2, "bf16")
    compiled = replace(step, precision="float32", whos=BESIDE_COMPILED)
    masked = replace(step, masks=True, whos=(MVIT, TORCH))
    return (
        step,
        Kernels("toy", 2),
        compiled,
        Curves("toy", 2, 4),
        Case("toy_v2", "forward", 2, "tf32"),
        masked,
    )


@pytest.mark.slow
def test_a_run_goes_on_where_it_was_cut_off(device, capsys, tmp_path):
    numbers = tmp_path / "numbers.json"
    options = ["toy", "--batch", "1", "--mode", "forward", "--rounds", "1", "--json", str(numbers)]
    assert run(device, *options, "--precision", "bf16") == 0
    first = json.loads(numbers.read_text())
    assert run(device, *options, "--go-on") == 0
    both = json.loads(numbers.read_text())
    assert [case["precision"] for case in both["cases"]] == ["bf16", "float32", "tf32"] and both[
        "cases"
    ][:1] == first["cases"]
    capsys.readouterr()
    assert run(device, *options, "--go-on") == 0 and capsys.readouterr().out == ""

    numbers.write_text(json.dumps(first | {"card": first["card"] | {"card": "another"}}))
    assert run(device, *options, "--go-on") == 2
    assert "continued on the same device by the same versions" in capsys.readouterr().err


def test_the_second_of_two_devices_is_the_second_for_all():
    assert gpu.Gpu("cuda:1", None).number == 1 and gpu.Gpu("cuda", None).number == 0


# -- tables and the page, of numbers made up -------------------------------------------------------


def timed(median, peak, size=1.0):
    sizes = {"peak_bytes": peak * 1e9, "reserved_bytes": (peak + 0.11) * 1e9}
    return {
        "median_s": median,
        "low_s": 0.97 * median,
        "high_s": 1.03 * median,
        "turns": 6,
        "size": size,
        **sizes,
    }


def made_up(torch=True):
    """Results whose numbers are all different."""
    eager = {
        MVIT: timed(0.0311, 4.31, 1.001),
        GRAPH: timed(0.0173, 5.29),
        TORCH: timed(0.0402, 7.93),
    }
    case = {
        "preset": "mvit",
        "mode": "step",
        "batch": 1,
        "precision": "bf16",
        "masks": False,
        "macs": 211e9,
    }
    cases = [case | {"title": "a step", "by": eager}]
    cases.append(
        case
        | {"title": "a large step", "batch": 32, "by": eager | {MVIT: {"failed": "out of memory"}}}
    )
    forward = {
        MVIT: timed(0.0077, 0.37, 1.0),
        GRAPH: timed(0.0061, 0.41, 1.002),
        TORCH: timed(0.0089, 0.53, 1.004),
    }
    cases.append(case | {"title": "a pass", "mode": "forward", "by": forward})
    cases.append(
        case
        | {"title": "compiled", "by": {GRAPH: timed(0.0171, 5.27), COMPILED: timed(0.0213, 6.07)}}
    )
    if not torch:
        cases = [
            case | {"by": {who: case["by"][who] for who in (MVIT, GRAPH)}} for case in cases[:3]
        ]
    card = {
        "card": "Abacus 9",
        "memory_bytes": 3 << 30,
        "multiprocessors": 7,
        "compute": "9.1",
        "driver": "570.86",
    }
    host = {"cpu": "Wood", "cores": 2, "python": "3.14", "numpy": "2.9", "date": "2031-04-05"}
    rows = [
        {
            "op": "gelu",
            "phase": "backward",
            "kernels": ["a", "b"],
            "calls": 3,
            "kernels_s": 0.002,
            "plain_s": 0.005,
        },
        {
            "op": "gelu",
            "phase": "backward",
            "kernels": ["b"],
            "calls": 1,
            "kernels_s": 0.0009,
            "plain_s": 0.0007,
        },
    ]
    losses = {"float32": [6.0, 5.0, 4.0, 3.0], "bf16": [6.06, 5.06, 4.06, 3.06]}
    results = {
        "kind": "device", "command": "mvit-np bench --device cuda", "rounds": 19, "host": host,
        "card": card | {"driver_cuda": "13.2", "cuda": "12.9", "cupy": "14.9"},
        "peers": {"torch": "9.8", "torchvision": "0.99", "torch_cuda": "12.8"},
        "roofs": {"float32": 51e12, "tf32": 389e12, "bf16": 777e12, "bytes_per_s": 3.93e12},
        "cases": cases,
        "kernels": [{
            "preset": "mvit", "batch": 8,
            "rows": [row | {"failed": "", "shapes": []} for row in rows],
        }],
        "curves": [{
            "preset": "mvit", "batch": 8, "steps": 4, "by": losses,
            "failed": {"tf32": "out of memory"},
        }],
    }  # fmt: skip
    return results if torch else {name: value for name, value in results.items() if name != "peers"}


def line(text, start):
    """The cells of the first table row that begins so."""
    found = next(row for row in text.splitlines() if row.startswith(f"| {start} |"))
    return [cell.strip() for cell in found.strip("|").split("|")][1:]


def test_the_page_holds_what_was_measured():
    text = page.render(made_up())
    time_, memory_ = text.split("## Memory")
    # 2 x 211e9 / 17.3 ms = 24.4 TFLOP/s; / 40.2 ms = 10.5
    assert line(time_, "a step") == [
        "31.1 ms", "30.2-32.0", "17.3 ms", "40.2 ms", "39.0-41.4", "**0.77**", "**0.43**", "1",
        "57.8", "24.4", "3 %", "10.5", "1 %",
    ]  # fmt: skip
    assert (
        line(time_, "a large step")[:3] == ["out of memory", "", "17.3 ms"]
        and line(time_, "a large step")[5] == "-"
    )
    assert line(memory_, "a step") == [
        "4.31 GB", "4.42 GB", "5.29 GB", "5.40 GB", "7.93 GB", "8.04 GB",
        "**0.54**", "**0.67**", "1",
    ]  # fmt: skip
    assert line(memory_, "a large step")[:2] == ["-", "-"]
    assert line(text, "mvit step, bf16") == ["1.80", "-"] and line(text, "mvit forward, bf16") == [
        "1.26",
        "",
    ]
    assert line(text, "compiled")[4:6] == ["**0.80**", "1"]
    assert line(text, "gelu backward") == ["4", "6.90 ms", "15.7 ms", "**0.44**", "1.29", "a, b"]
    assert line(text, "bf16") == ["6.0600", "5.0600", "4.0600", "3.0600", "2.00 %"]
    assert line(text, "tf32") == ["out of memory", "", "", "", ""]
    words = " ".join(text.split())
    for said in (
        "Abacus 9, 3 GiB, 7 multi", "driver 570.86 for CUDA 13.2",
        "51.0 in float32, 389 in tf32, 777 in bf16 (TF", "3.93 TB/s",
        "PyTorch 9.8 with CUDA 12.8", "4.0e-03 in bf16", "19 turns", "2031-04-05",
    ):  # fmt: skip
        assert said in words
    for rows in (row for row in text.split("\n\n") if row.startswith("|")):
        assert len({row.count("|") for row in rows.splitlines()}) == 1


def test_the_page_does_without_torch():
    text = page.render(made_up(torch=False))
    assert (
        "torch" not in text.lower()
        and "ratio |" not in text.split("## Kernels")[0]
        and "wanted" not in text
    )
    assert line(text, "a step") == ["31.1 ms", "30.2-32.0", "17.3 ms", "57.8", "24.4", "3 %"]


def test_a_page_of_kernels_alone():
    text = page.render(made_up() | {"cases": [], "curves": []})
    assert "## Kernels" in text and "## Time" not in text and "agree" not in text


# -- mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--device", "cuda", "--threads", "2"], "--threads is for the processor: leave it out"),
        (["--device", "cuda", "--profile"], "--profile is for the processor"),
        (["--device", "cuda", "--go-on"], "give --json FILE or --page FILE too"),
        (["--device", "cuda", "--from", "x.json"], "give --page FILE too"),
        (["--device", "cuda", "--page", "x.md", "--from", "performance.json"], "holds no numbers"),
        (["--device", "cuda", "--json", "/dev/null/x.json"], "cannot be written"),
        (["--device", "tpu"], "a device is 'cpu', 'cuda' or 'cuda:N'"),
        (["--device", "cuda:99"], "device 'cuda:99'"),
        (
            ["mvit_micro", "--precision", "bf16"],
            "--precision is for a device: give --device cuda too",
        ),
        (["mvit_micro", "--device", "cpu", "--go-on"], "--go-on is for a device"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "performance.json").write_text('{"cases": []}')
    assert main(["bench", *arguments]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1 and words in told[0]
    assert [path.name for path in tmp_path.iterdir()] == ["performance.json"]


def test_a_model_that_does_not_exist_is_one_sentence(device, torch_there, capsys):
    assert run(device, "mvit_z") == 2 and "no preset 'mvit_z'" in capsys.readouterr().err
    assert run(device, "hiera_b_16x224", "--against", "torch") == 2
    assert "torch has no model to compare this one with" in capsys.readouterr().err


def test_a_torch_that_sees_no_device_is_one_sentence(device, capsys, monkeypatch):
    torch = pytest.importorskip(
        "torch", reason="a peer to compare with: pip install torch torchvision"
    )
    if not torch_calls.peers.available():
        pytest.skip("a peer to compare with: pip install torch torchvision")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert run(device, "toy", "--against", "torch") == 2
    said = capsys.readouterr().err.splitlines()
    assert (
        len(said) == 1
        and "sees no CUDA device: install one for CUDA, or leave out --against torch" in said[0]
    )

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert torch_calls.find_device("cuda:1")[1] == torch.device("cuda", 1)
    with pytest.raises(
        ValueError, match="'cuda:2' needs a PyTorch that sees it; PyTorch .* sees 2 CUDA devices"
    ):
        torch_calls.find_device("cuda:2")
    assert "torch_cuda" in torch_calls.versions(torch)
