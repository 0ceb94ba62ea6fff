"""What `mvit-np bench` measures and how it tells: counts by hand, a clock of our own, numbers made
up.
"""

import json
import mmap
import re
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from figure_layout import all_words, check_layout

import mvit_np as mv
from mvit_np.backend import tree
from mvit_np.cli import main
from mvit_np.model.costs import skipped_macs
from mvit_np.model.presets import PRESETS, Preset
from mvit_np.studies.bench import (
    accuracy,
    machine,
    memory,
    page,
    profile,
    roofline,
    scaling,
    suite,
    timing,
    workloads,
)
from mvit_np.studies.bench.stored import stored
from mvit_np.studies.bench.workloads import Workload

MICRO = Workload("mvit_micro")
ROOF = {"flops_per_s": 1e9, "bytes_per_s": 1e8, "dtype": "float32"}
DOCS = Path(__file__).parents[2] / "docs"


# -- time ------------------------------------------------------------------------------------------


class Clock:
    """Stands still but for what the functions take."""

    def __init__(self, **seconds):
        self.now, self.called = 0.0, []
        self.functions = {
            name: lambda name=name, s=s: self.call(name, s) for name, s in seconds.items()
        }

    def call(self, name, seconds):
        self.called.append(name)
        self.now += seconds


def test_turns_alternate_and_short_calls_are_repeated():
    clock = Clock(long=0.3, short=0.02)
    seconds = timing.alternate(
        clock.functions, rounds=2, turn_s=0.1, pause_s=0, clock=lambda: clock.now
    )
    assert clock.called == ["long"] * 2 + ["short"] * 2 + 2 * (["long"] + ["short"] * 5)
    assert seconds == {"long": pytest.approx([0.3] * 2), "short": pytest.approx([0.02] * 2)}


def test_times_are_medians_with_quartiles():
    times = timing.summary([9.0, 1.0, 3.0, 2.0, 4.0])
    assert (times.low_s, times.median_s, times.high_s) == (2.0, 3.0, 4.0)
    assert timing.summary([2.0, 1.0]) == timing.Times(1.5, 1.0, 2.0, 2)
    with pytest.raises(ValueError, match="at least 1 round; came 0"):
        timing.alternate({}, 0)


# -- the machine -----------------------------------------------------------------------------------


def test_others_are_what_the_cores_did_and_we_did_not():
    account = (
        "cpu  900 0 0 0 0 0 0 0 0 0\ncpu0 10 1 2 1000 50 3 4 5 7 0\ncpu1 100 0 0 0 0 0 0 0 0 "
        "0\nintr 5"
    )
    assert machine.busy_ticks(account, [0]) == 10 + 1 + 2 + 3 + 4 + 5
    assert machine.busy_ticks(account, [0, 1]) == 125
    assert machine.others((10.0, 5.0, 100.0), (13.0, 6.0, 104.0)) == 0.5
    assert machine.others((10.0, 5.0, 100.0), (10.5, 6.0, 104.0)) == 0
    assert machine.others(None, (0.0, 0.0, 0.0)) is None


def test_a_busy_machine_gets_a_warning():
    assert machine.busy_warning(0.02) is None and machine.busy_warning(None) is None
    assert "others take 1.3 cores" in machine.busy_warning(1.3)


def test_the_machine_is_described_and_its_best_is_measured():
    told = machine.describe()
    assert told["cores"] >= 1 and told["numpy"] == np.__version__ and told["cpu"] and told["blas"]
    best = (
        machine.product_flops_per_s(1, size=256, repeats=3),
        machine.copy_bytes_per_s(2, size=1 << 22, repeats=3),
    )
    assert 1e8 < best[0] < 1e14 and 1e7 < best[1] < 1e14


# -- what a call must take -------------------------------------------------------------------------


def normal(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_the_floor_of_a_linear_layer_by_hand():
    x, w, b = normal(2, 3, 4), normal(4, 5), normal(5)
    y = mv.ops.linear(x, w, b)
    work = roofline.forward_work("linear", (x, w, b), y)
    assert work == (2 * 6 * 4 * 5, 4 * (24 + 20 + 5 + 30))
    # two products; x and w are read, all gradients are written
    back = roofline.backward_work("linear", (y,), [x, w, b])
    assert back == (2 * work[0], 4 * (30 + 2 * (24 + 20 + 5)))
    assert roofline.floor_s((300, 10), {"flops_per_s": 100, "bytes_per_s": 5}) == 3
    assert roofline.floor_s((300, 20), {"flops_per_s": 100, "bytes_per_s": 5}) == 4


@pytest.mark.parametrize("name", ["mvit_micro", "mvitv2"])
def test_operations_are_those_that_costs_counts(name):
    """Twice the multiply-adds of a whole model, op by op (`costs` counts from the plan alone)."""
    config = V2 if name == "mvitv2" else mv.preset(name)
    flops = []

    def seen(name, phase, seconds, args, static, result):
        flops.append(roofline.forward_work(name, args, result[0])[0])

    with profile.watching(seen):
        mv.forward(
            mv.init(config, np.random.default_rng(0)),
            normal(1, *config.thw, config.channels),
            config,
        )
    # Relative positions make queries and keys longer: one column for each place of the keys' axes.
    longer = sum(
        b.heads * b.tokens_q * b.tokens_kv * sum(b.thw_kv)
        for b in mv.plan(config).blocks
        if b.relative
    )
    assert sum(flops) == pytest.approx(
        2 * (mv.costs(config).macs - skipped_macs(config) + longer), rel=0.002
    )


def test_an_unknown_op_has_bytes_alone_and_a_view_has_none():
    x = normal(4, 4)
    assert roofline.forward_work("new_op", (x, 3, None), (x + 1, x * 2)) == (0, 3 * 64)
    assert roofline.forward_work("new_op", (x,), x[:, 1:]) == (0, 0)
    assert roofline.backward_work("new_op", (x,), [x + 1, x * 2]) == (0, (1 + 2 * 2) * 64)
    assert roofline.backward_work("add", (x,), [x.sum(axis=0)]) == (0, 64 + 16)
    assert roofline.backward_work("residual", (x,), [x, x]) == (0, 0)


# -- the profile -----------------------------------------------------------------------------------


def test_a_profile_counts_ops_as_by_hand_and_its_shares_make_a_whole():
    """mvit_micro: 4 blocks, two of which widen."""
    forward, step = (
        profile.profile(replace(MICRO, mode=mode), ROOF, runs=2) for mode in ("forward", "step")
    )
    for told, both in ((forward, [""]), (step, ["", "backward"])):
        calls = {(row["op"], row["phase"]): row["calls"] for row in told["rows"]}
        for phase in ("forward", "backward")[: len(both)]:
            found = {
                op: calls[op, phase] for op in ("cube_conv", "attend", "mlp", "project", "linear")
            }
            assert found == {
                "cube_conv": 1,
                "attend": 4,
                "mlp": 4,
                "project": 4,
                "linear": 4 + 2 + 1,
            }
        assert sum(row["seconds"] for row in told["rows"]) == pytest.approx(told["wall_s"])
        assert (
            all(row["seconds"] >= 0 for row in told["rows"])
            and told["rows"][-1]["op"] == profile.REST
        )
    assert calls["adamw", "update"] == 1


def test_an_op_inside_another_counts_once():
    now, totals = (
        [0.0],
        {
            key: [0, 0.0, 0.0]
            for key in (("inner", "forward"), ("outer", "forward"), ("next", "forward"))
        },
    )
    seen, x = profile.watcher(ROOF, totals, clock=lambda: now[0]), normal(5, 5)
    for name, end, seconds in (
        ("inner", 1.5, 1.0),
        ("inner", 3.0, 1.0),
        ("outer", 3.25, 3.0),
        ("next", 4.0, 0.5),
    ):
        now[0] = end
        seen(name, "forward", seconds, (x,), {}, (x + 1, None))
    assert totals["inner", "forward"][:2] == [2, 2.0] and totals["next", "forward"][:2] == [1, 0.5]
    assert totals["outer", "forward"] == [1, 1.0, 0.0]
    assert totals["next", "forward"][2] == pytest.approx(200 / ROOF["bytes_per_s"])


def test_a_checkpointed_step_can_be_profiled():
    told = profile.profile(replace(MICRO, mode="step", checkpoint=True), ROOF, runs=1)
    calls = {(row["op"], row["phase"]): row["calls"] for row in told["rows"]}
    # each block runs twice
    assert calls["attend", "forward"] == 8 and calls["attend", "backward"] == 4


# -- memory and scaling ----------------------------------------------------------------------------


def test_memory_grows_with_what_is_allocated():
    before, _ = memory.resident_bytes()
    # new to the process, where malloc may have memory left over
    held = np.frombuffer(mmap.mmap(-1, 100_000_000), np.uint8)
    held[:] = 1
    now, peak = memory.resident_bytes()
    assert 0.99e8 < now - before < 1.1e8 and peak >= now and held.any()


def test_a_step_holds_the_inputs_of_all_blocks():
    with stored(MICRO) as files:
        one, many = (
            memory.measure(replace(MICRO, mode="step", batch=batch), "mvit_np", 1, files)
            for batch in (1, 65)
        )
    inputs = sum(4 * block.tokens_in * block.dim_in for block in mv.plan(MICRO.config).blocks)
    assert many["peak_bytes"] - one["peak_bytes"] > 64 * inputs
    assert one["peak_bytes"] >= one["import_bytes"] > 1e7 and len(one["seconds"]) == 2


def test_a_process_that_fails_is_one_sentence():
    words = "measures mvit_z forward .mvit_np. failed: .*no preset 'mvit_z'"
    with stored(MICRO) as files, pytest.raises(ChildProcessError, match=words):
        memory.measure(Workload("mvit_z"), "mvit_np", 1, files)


def test_scaling_covers_lengths_and_sizes():
    sweep = scaling.sweep("mvit_b_16x4")
    assert [w.config.frames for axis, w in sweep if axis == "frames"] == [8, 16, 32, 64]
    assert [w.config.size for axis, w in sweep if axis == "size"] == [112, 160, 224, 288, 320]
    assert all(mv.plan(w.config) for _, w in sweep)
    point = scaling.point("frames", replace(MICRO, frames=16), 1, modes=("forward",), calls=2)
    assert (
        point["macs"]
        == mv.costs(replace(MICRO.config, frames=16)).macs
        > mv.costs(MICRO.config).macs
    )
    assert point["forward"]["median_s"] > 0 and "step" not in point


# -- workloads -------------------------------------------------------------------------------------


def test_a_workload_says_what_it_is():
    step = Workload("mvit_b_16x4", "step", 4, checkpoint=True)
    assert step.title == "mvit_b_16x4 step, batch 4, checkpointed"
    assert step.macs == 3 * 4 * mv.costs(mv.preset("mvit_b_16x4")).macs
    assert (
        Workload("mvit_b_16x4", frames=32, dtype="float64").title
        == "mvit_b_16x4 forward, 32 frames, float64"
    )


def test_a_step_that_keeps_hidden_layers_says_so_and_does():
    step = replace(MICRO, mode="step", keep_hidden=True)
    assert step.title.endswith("step, hidden layers kept")
    kept = []
    for workload in (replace(step, keep_hidden=False), step):
        tracemalloc.start()
        gradients, _ = workloads.training(workload)
        loss, _ = gradients()
        kept.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    hidden = [4 * block.tokens_q * block.dim_mlp for block in mv.plan(MICRO.config).blocks]
    assert kept[1] - kept[0] > 0.8 * sum(hidden)


def test_steps_train():
    """On one batch, over and over, the loss falls."""
    step = workloads.mvit_call(replace(MICRO, mode="step", batch=4))
    losses = [float(step()) for _ in range(40)]
    assert np.mean(losses[-10:]) < np.mean(losses[:10])


def test_accuracy_is_rounding():
    errors = accuracy.accuracy(replace(MICRO, batch=2), 1)["mvit_np"]
    assert 1e-9 < errors["logits"] < 1e-5 and 1e-9 < errors["gradients"] < 1e-4
    truth = [np.array([3.0, 4.0]), np.array([0.0])]
    assert accuracy.relative_error([np.array([3.0, 4.0]), np.array([0.5])], truth) == 0.1


# -- torch -----------------------------------------------------------------------------------------

V2 = mv.MViTConfig(
    frames=4, size=32, num_classes=5, dim=8, depths=(1, 2, 1), stride_kv=(1, 4, 4),
    pool_q_always=True, positions="relative", residual_pooling="tokens", expand_in="attention",
    dropout=0.0, drop_path=0.0,
)  # fmt: skip
STILL = {"still": replace(mv.preset("mvit_micro"), dropout=0.0, drop_path=0.0), "still_v2": V2}


@pytest.fixture
def peers(monkeypatch):
    torch = pytest.importorskip(
        "torch", reason="a peer to compare with: pip install torch torchvision"
    )
    from mvit_np.studies.bench import peers

    if not peers.available():
        pytest.skip("a peer to compare with: pip install torch torchvision")
    torch.set_num_threads(1)
    for name, config in STILL.items():
        monkeypatch.setitem(PRESETS, name, Preset(name, "without dropout", config))
    return peers


@pytest.mark.parametrize("name", STILL)
def test_torchs_model_is_ours(peers, name):
    workload = Workload(name, batch=2)
    params = workloads.parameters(workload)
    ours, theirs = workloads.mvit_call(workload)(), peers.torch_call(workload, 1, params)().numpy()
    assert accuracy.relative_error(theirs, ours) < 1e-5

    errors = accuracy.accuracy(replace(workload, dtype="float64"), 1, against=True)["torch"]
    assert errors["logits"] < 1e-12 and errors["gradients"] < 1e-12


@pytest.mark.parametrize("checkpoint", [False, True])
def test_torchs_steps_are_ours(peers, checkpoint, monkeypatch):
    """Loss, gradients, AdamW and which parameters decay: after ten long steps they still agree."""
    monkeypatch.setattr(workloads, "RATE", 1e-3)
    monkeypatch.setattr(peers, "RATE", 1e-3)
    workload = Workload("still", "step", 2, "float64", checkpoint)
    ours, theirs = (
        workloads.mvit_call(workload),
        peers.torch_call(workload, 1, workloads.parameters(workload)),
    )
    losses = np.array([(float(ours()), theirs()) for _ in range(10)])
    assert abs(losses[0] - losses[-1]).min() > 0.1
    np.testing.assert_allclose(losses[:, 0], losses[:, 1], rtol=1e-5)


def test_the_parameters_that_torch_got_are_a_copy(peers):
    workload = Workload("still", "step", 2)
    params = workloads.parameters(workload)
    before = tree.map(np.copy, params)
    peers.torch_call(workload, 1, params)()
    assert accuracy.relative_error(params, before) == 0


def test_what_torch_cannot_be_is_one_sentence(peers):
    with pytest.raises(
        ValueError, match="torch has no model to compare this one with .*leave out --against"
    ):
        peers.torch_call(Workload("hiera_b_16x224"), 1)


def test_without_torch_one_sentence_says_what_to_install(monkeypatch, capsys):
    from mvit_np.studies.bench import peers

    peers._libraries.cache_clear()
    monkeypatch.setitem(sys.modules, "torch", None)
    assert not peers.available()
    assert main(["bench", "mvit_micro", "--against", "torch"]) == 2
    assert "pip install torch torchvision" in capsys.readouterr().err


# -- the page and its figure -----------------------------------------------------------------------


def made_up(torch=True):
    """Results whose numbers are all different, and what the page makes of them."""
    ours = {
        "median_s": 1.5123,
        "low_s": 1.4711,
        "high_s": 1.6033,
        "peak_bytes": 2.37e9,
        "import_bytes": 61e6,
    }
    theirs = {
        "median_s": 2.0017,
        "low_s": 1.9119,
        "high_s": 2.2227,
        "peak_bytes": 3.91e9,
        "import_bytes": 347e6,
    }
    errors = {
        "mvit_np": {"logits": 1.7e-7, "gradients": 2.9e-7},
        "torch": {"logits": 5.3e-7, "gradients": 7.1e-7},
    }
    whos = ("mvit_np", "torch") if torch else ("mvit_np",)
    case = {
        "title": "a model, step",
        "workload": {"batch": 4},
        "macs": 67e9,
        "others": 0.07,
        "time_aim": 0.83,
    }
    rows = [
        {"op": "linear", "phase": "backward", "calls": 11, "seconds": 0.9, "floor_s": 0.3},
        {"op": "add", "phase": "forward", "calls": 2, "seconds": 0.004, "floor_s": 0.001},
        {"op": "scale", "phase": "forward", "calls": 5, "seconds": 0.003, "floor_s": 0.001},
        {"op": profile.REST, "phase": "", "calls": None, "seconds": 0.593, "floor_s": None},
    ]
    words = {
        "cpu": "Abacus",
        "system": "Wood 4",
        "python": "3.14",
        "numpy": "2.9",
        "blas": "beads 8",
        "date": "2031-04-05",
    }
    versions = {"torch": "9.8", "torchvision": "0.99"} if torch else {}
    measured = {"mvit_np": ours, "torch": theirs}
    points = [
        made_up_point("frames", 8, 224, 1), made_up_point("frames", 16, 224, 2),
        made_up_point("size", 16, 112, 0.4), made_up_point("size", 16, 320, 3),
    ]  # fmt: skip
    return {
        "command": "mvit-np bench --page x.md",
        "machine": words | {"cores": 6, "memory_bytes": 13 * 2**30} | versions,
        "threads": 3, "rounds": 19, "against": torch, "idle_others": 0.01,
        "roof": {"dtype": "float32", "flops_per_s": 431e9, "bytes_per_s": 21.7e9},
        "cases": [case | {"memory_aim": 0.66, "by": {who: measured[who] for who in whos}}],
        "accuracy": [{"title": "a model", "by": {who: errors[who] for who in whos}}],
        "profiles": [{"title": "a model, profiled", "wall_s": 1.5, "rows": rows}],
        "scaling": {"preset": "a preset", "points": points},
    }  # fmt: skip


def made_up_point(axis, frames, size, k):
    sizes = {"import_bytes": 5e7}
    return {
        "axis": axis, "frames": frames, "size": size, "macs": k * 37e9, "kept_bytes": k * 0.43e9,
        "forward": {"median_s": k * 0.457, "peak_bytes": 0.29e9 + k * 0.1e9, **sizes},
        "step": {"median_s": k * 1.417, "peak_bytes": 0.7e9 + k * 0.53e9, **sizes},
    }  # fmt: skip


def found(text, number):
    """How often a number stands by itself."""
    return len(re.findall(rf"(?<![\d.,]){re.escape(number)}(?![\d]|\.\d)", text))


def test_the_page_holds_every_number_once():
    text = page.render(made_up())
    # 4 / s, 2 x 67 / s
    speed = [
        "1.512 s",
        "1.471-1.603",
        "2.002 s",
        "1.912-2.223",
        "0.76",
        "0.83",
        "2.64",
        "88.6",
        "21 %",
    ]
    sizes = ["2.37 GB", "61 MB", "3.91 GB", "347 MB", "0.61", "0.66"]
    errors = ["1.7e-07", "2.9e-07", "5.3e-07", "7.1e-07"]
    profiled = [
        "900",
        "593",
        "1500",
        "60.0 %",
        "39.5 %",
        "3.00",
        "2 more",
        "7.00",
        "3.50",
        "302",
        "4.97",
    ]
    # the first point: 2 x 37 / 0.457, 6 x 37 / 1.417
    scaled = ["37.0", "0.457", "162", "0.39", "1.42", "157", "1.23", "0.43"]
    machine_ = [
        "Abacus",
        "13.0 GiB",
        "3 threads",
        "6 cores",
        "19 turns",
        "431 GFLOP/s",
        "21.7 GB/s",
        "2031-04-05",
        "0.07",
    ]
    for number in (*speed, *sizes, *errors, *profiled, *machine_):
        assert found(text, number) == 1, number
    first = next(line for line in text.splitlines() if line.startswith("| 8 | 224 |"))
    assert [cell for cell in scaled if found(first, cell) != 1] == []
    assert page.FIGURE in text and "mvit-np bench --page x.md" in text


def test_the_page_does_without_torch():
    text = page.render(made_up(torch=False))
    assert "torch" not in text.lower() and "ratio |" not in text and found(text, "1.512 s") == 1


def test_the_page_in_docs_is_what_was_measured():
    assert (
        page.render(json.loads((DOCS / "performance.json").read_text()))
        == (DOCS / "performance.md").read_text()
    )


def test_the_figure_of_a_scaling_run():
    from mvit_np import visualize

    results = made_up()
    figure = visualize.scaling_figure(results["scaling"], results["roof"]["flops_per_s"])
    check_layout(figure)
    text = all_words(figure)
    for words in (
        "8 to 16 frames: 2 × the multiply-adds, 2 × the time",
        "a preset",
        "431 GFLOP/s",
        "16\n74",
        "320\n111",
    ):
        assert words in text
    only = [
        {key: value for key, value in point.items() if key != "step"}
        for point in results["scaling"]["points"]
    ]
    check_layout(visualize.scaling_figure({"preset": "a preset", "points": only}, 1e11))


# -- the command -----------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(machine, "product_flops_per_s", lambda threads, dtype: 1e11)
    monkeypatch.setattr(machine, "copy_bytes_per_s", lambda threads: 1e10)
    monkeypatch.setattr(machine, "others_now", lambda: 1.5)
    monkeypatch.setattr(
        timing.alternate, "__defaults__", (0.01, 0.0, *timing.alternate.__defaults__[2:])
    )


def test_bench_prints_its_tables(quick, capsys, tmp_path):
    target = tmp_path / "numbers.json"
    options = [
        "--mode",
        "forward",
        "--rounds",
        "3",
        "--threads",
        "1",
        "--profile",
        "--accuracy",
        "--json",
        str(target),
    ]
    assert main(["bench", "mvit_micro", *options]) == 0
    out, err = capsys.readouterr()
    for words in (
        "mvit_micro forward",
        "clips/s",
        "GFLOP/s",
        "of roof",
        "peak memory",
        "times its floor",
        "against float64",
    ):
        assert words in out
    assert "others take 1.5 cores" in err
    results = json.loads(target.read_text())
    times = results["cases"][0]["by"]["mvit_np"]
    assert (
        0 < times["low_s"] <= times["median_s"] <= times["high_s"]
        and times["turns"] == 3
        and times["peak_bytes"] > 1e7
    )
    assert (
        f"{2 * results['cases'][0]['macs'] / times['median_s'] / 1e11:.0%}".replace("%", " %")
        in out
    )


def test_the_page_is_one_command(quick, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(
        suite, "PAGE", suite.Plan((suite.Case(MICRO),), accuracy=(MICRO,), profiles=(MICRO,))
    )
    monkeypatch.setattr("mvit_np.studies.bench.peers.available", lambda: False)
    text, again = tmp_path / "new" / "performance.md", tmp_path / "again.md"
    assert main(["bench", "--page", str(text), "--rounds", "1", "--threads", "1"]) == 0
    assert main(["bench", "--page", str(again), "--from", str(text.with_suffix(".json"))]) == 0
    assert text.read_text() == again.read_text() and "mvit_micro forward" in text.read_text()


@pytest.mark.slow
def test_files_are_written_over_our_own_alone(quick, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(suite, "PAGE", suite.Plan((suite.Case(MICRO),)))
    monkeypatch.setattr("mvit_np.studies.bench.peers.available", lambda: False)
    page_, numbers, figure = (
        tmp_path / "a.md",
        tmp_path / "a.json",
        tmp_path / "figures" / "scaling.png",
    )
    command = ["bench", "--page", str(page_), "--rounds", "1", "--threads", "1"]
    for _ in range(2):
        assert main(command) == 0
    again = ["bench", "--page", str(page_), "--from", str(numbers)]
    assert main(again) == 0 and "mvit-np bench --page" in page_.read_text()

    kept = numbers.read_bytes()
    assert main(["bench", "--page", str(numbers), "--from", str(numbers)]) == 2
    assert "is read: give another name" in capsys.readouterr().err and numbers.read_bytes() == kept
    assert main(["bench", "--page", str(tmp_path / "b.json")]) == 2
    assert "two are called" in capsys.readouterr().err
    for path in (page_, numbers, figure):
        path.parent.mkdir(exist_ok=True)
        page_.unlink(missing_ok=True)
        path.write_text("mine")
        assert main(command) == 2 and path.read_text() == "mine"
        assert f"{path} is there already" in capsys.readouterr().err
        path.unlink()


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["mvit_z"], "no preset 'mvit_z'"),
        (["mvit_micro", "--figure", "x.png"], "give --scaling too"),
        (["--page", "x.md", "--profile"], "came with profile: give it alone"),
        (["mvit_micro", "--from", "x.json"], "give --page FILE too"),
        (["--page", "x.md", "--from", "no_such.json"], "there is no file no_such.json"),
        (["--page", "x.md", "--from", __file__], "holds no numbers"),
        (["mvit_micro", "--json", "/dev/null/x.json"], "cannot be written"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    quick, arguments, words, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *arguments]) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mvit-np")]
    assert len(told) == 1 and words in told[0]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--rounds", "--threads", "--batch"])
def test_counts_are_at_least_1(option, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["bench", "mvit_micro", option, "0"])
    assert "a whole number >= 1, came '0'" in capsys.readouterr().err


def test_importing_the_package_does_not_import_the_benchmark():
    code = (
        "import mvit_np, mvit_np.cli, sys; print([m for m in sys.modules if "
        "m.startswith('mvit_np.studies.bench')])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )
