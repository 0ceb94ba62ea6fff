"""Whole runs on the device double: NumPy's numbers, one copy out a step, stopped and taken up on
either machine.
"""

import copy
import re
from types import SimpleNamespace

import device_double
import double_cuda
import gcc_tools
import numpy as np
import pytest
from device_double import DeviceArray
from short_runs import Marked, finish, same

import mvit_np as mv
from mvit_np.backend import tree as trees
from mvit_np.backend.precision import precision
from mvit_np.cli import main
from mvit_np.train.distributed import Alone
from mvit_np.train.guard import NotFinite, check_step
from mvit_np.train.run import prepare, run, snapshot, steps
from mvit_np.train.run import task as tasks
from mvit_np.train.run.recipe import RECIPES, changed
from mvit_np.train.run.run_folder import read_rows

double_cuda.install()
pytestmark = pytest.mark.skipif(
    not gcc_tools.GCC, reason="kernels of the double are compiled by gcc"
)

STEPS = 8
HOST = changed(
    RECIPES["smoke"], {"epochs": STEPS / 16, "test_every": 0.5, "accumulate": 1, "save_steps": 0}
)
DEVICE = changed(HOST, {"device": "cuda"})
NO_MASKS = {"model.dropout": 0, "model.drop_path": 0}  # a device draws others than NumPy
# What a run in another order of additions may differ by: a thousand times float32's rounding.
# Measured: 2e-5 after 8 steps.
CLOSE = {"rtol": 1e-4, "atol": 1e-6}


def slow(*values):
    """A case whose parts are those of the cases beside it, or of test_run.py."""
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.fixture(autouse=True)
def _cuda_is_the_double(monkeypatch):
    """And its products are summed in float64: BLAS rounds a sum of float32 by where in memory the
    factors begin.
    """
    number = gcc_tools._number
    monkeypatch.setattr(gcc_tools, "_number", lambda x: number(x).astype(np.float64))
    there = SimpleNamespace(asarray=device_double.from_host, cuda=double_cuda.cuda)
    monkeypatch.setattr("mvit_np.backend.arrays._cupy_for", lambda device: (there, 0))


def column(rows, name):
    return [row[name] for row in rows]


def alike(rows, expected):
    for name in ("loss", "gradient_norm", "learning_rate"):
        np.testing.assert_allclose(
            column(rows, name), column(expected, name), **CLOSE, err_msg=name
        )
    for name in ("step", "accuracy", "test_accuracy"):
        assert column(rows, name) == column(expected, name)


@pytest.fixture(scope="module")
def on_the_host(tmp_path_factory):
    return finish(changed(HOST, NO_MASKS), tmp_path_factory.mktemp("host"))


@pytest.mark.parametrize(
    "also",
    [slow({}), {"accumulate": 2}, {"graph": True}, {"checkpoint": True}, {"optimizer": "sgd"}],
    ids=str,
)
def test_a_run_on_a_device_is_numpys(also, on_the_host, tmp_path):
    job = prepare(changed(DEVICE, NO_MASKS | also), tmp_path / "device")
    assert all(isinstance(leaf, DeviceArray) for leaf in trees.leaves(job.state.params))
    rows = list(run(job))
    expected = on_the_host
    if "optimizer" in also:
        expected = finish(changed(HOST, NO_MASKS | also), tmp_path / "host")
    alike(rows, expected)
    assert mv.load(tmp_path / "device" / "model.npz")[1].num_classes == 8


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("part", [{"probe": True}, {"freeze": ("patch_embed.*", "blocks.0.*")}])
def test_a_part_is_learned_on_a_device_as_on_the_host(part, graph, tmp_path):
    part = NO_MASKS | part | {"mixup": 0.0, "cutmix": 0.0}
    expected = finish(changed(HOST, part), tmp_path / "host")
    alike(finish(changed(DEVICE, part | {"graph": graph}), tmp_path / "device"), expected)


@pytest.mark.parametrize("graph", [False, True])
def test_a_step_takes_a_batch_in_and_a_few_numbers_out_and_nothing_else(graph, tmp_path):
    """The batch of the next step is on its way before the numbers of this one are read."""
    moved, recipe = [], changed(DEVICE, {"test_every": 100, "graph": graph})
    before = copy.copy(device_double.transfers)
    for _ in steps.steps(prepare(recipe, tmp_path), stop=lambda: False):
        now = copy.copy(device_double.transfers)
        moved.append((now.to_device - before.to_device, now.to_host - before.to_host))
        before = now
    assert moved[1:] == [(2, 1)] * (STEPS - 2) + [(0, 1)]


def test_a_graph_changes_no_bit_of_a_run_with_masks(tmp_path):
    plain, replayed = (
        finish(changed(DEVICE, {"graph": graph}), tmp_path / str(graph)) for graph in (False, True)
    )
    assert column(plain, "loss") == column(replayed, "loss")
    assert same(tmp_path / "False", tmp_path / "True")


@pytest.mark.parametrize("graph", [slow(False), True])
def test_a_run_that_is_stopped_goes_on_as_if_it_had_not_been(graph, tmp_path):
    recipe, asked = changed(DEVICE, {"graph": graph}), iter(range(1, 100))
    whole = finish(recipe, tmp_path / "whole")
    first = finish(recipe, tmp_path / "parts", stop=lambda: next(asked) == 3)
    rest = finish(None, tmp_path / "parts", resume=True)
    assert len(first) == 3 and column(first + rest, "loss") == column(whole, "loss")
    assert same(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize(
    "begun, ended, graph",
    [
        ("cuda", "cpu", True),
        ("cpu", "cuda", False),
        slow("cuda", "cpu", False),
        slow("cpu", "cuda", True),
    ],
)
def test_a_snapshot_is_taken_up_on_the_other_machine(begun, ended, graph, on_the_host, tmp_path):
    asked = iter(range(1, 100))

    def at(device):
        return changed(HOST, NO_MASKS | {"device": device, "graph": graph and device != "cpu"})

    first = finish(at(begun), tmp_path, stop=lambda: next(asked) == 3)
    state, _ = snapshot.latest(tmp_path / "snapshots")
    assert state["step"] == 3 and all(
        isinstance(leaf, np.ndarray) for leaf in trees.leaves(state["params"])
    )
    alike(first + finish(at(ended), tmp_path, resume=True), on_the_host)
    alike(read_rows(tmp_path / "metrics.csv"), on_the_host)


def overflowing(params, clip, config, **options):
    """The model, which breaks down at marked clips; nothing looks at them."""
    return mv.forward(
        params, clip * (1 + 1e37 * (clip == 99).astype(clip.dtype)), config, **options
    )


@pytest.mark.filterwarnings("ignore:invalid value encountered in matmul")
@pytest.mark.parametrize("graph", [slow(False), True])
def test_a_step_that_is_not_finite_stops_the_run_or_is_skipped(graph, tmp_path, monkeypatch):
    sound = tasks.loader_of
    monkeypatch.setattr(tasks, "loader_of", lambda *arguments: Marked(sound(*arguments)))
    monkeypatch.setattr(tasks, "forward", overflowing)
    recipe = changed(DEVICE, {"save_steps": 1, "graph": graph})
    with pytest.raises(NotFinite, match="step 5 is not finite .* first output") as stopped:
        finish(recipe, tmp_path)
    assert stopped.value.step == 5 and stopped.value.layer and stopped.value.names
    before, _ = snapshot.latest(tmp_path / "snapshots")
    said = []
    job = prepare(changed(recipe, {"non_finite": "skip"}), tmp_path, resume=True, say=said.append)
    rows = list(run(job, stop=lambda: True))
    after, _ = snapshot.latest(tmp_path / "snapshots")
    assert (
        column(rows, "step") == [5]
        and len(said) == 1
        and said[0].startswith("skipped: step 5 is not finite")
    )
    for name in ("params", "average", "optimizer"):
        for a, b in zip(trees.leaves(before[name]), trees.leaves(after[name])):
            np.testing.assert_array_equal(a, b)
    assert column(finish(None, tmp_path, resume=True), "step") == [6, 7, 8]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_products_are_as_exact_as_the_recipe_says_in_steps_and_tests_alone(
    device, on_the_host, tmp_path
):
    recipe = changed(HOST, NO_MASKS | {"device": device, "precision": "bf16", "ema": 0.0})
    rows = []
    for row in run(prepare(recipe, tmp_path)):
        assert precision() == "float32"  # who drives the run has it as before
        rows.append(row)
    ours, exact = column(rows, "loss"), column(on_the_host, "loss")
    assert ours != exact
    np.testing.assert_allclose(ours, exact, rtol=2e-2)


def test_what_a_graph_cannot_tell_is_said():
    """A forward pass that is finite, where the gradients are gone."""
    with pytest.raises(
        NotFinite,
        match=(
            r"step 3 is not finite \(loss 1\): no output .*; which gradient has shows without a "
            r"graph"
        ),
    ):
        check_step(1.0, None, step=3, norm=float("inf"), probe=lambda hook: np.ones((2, 2)))


def test_a_device_alone_trains_by_the_recipe_for_one_and_says_how_it_went(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "mvit_np.cli.train.memory", lambda x: 2_340_000_000 if isinstance(x, DeviceArray) else None
    )
    smaller = [
        "--train_clips=16",
        "--test_clips=8",
        "--batch=8",
        "--epochs=1",
        "--model.dim=8",
        "--model.depths=1,1",
    ]
    assert main(["train", "--device", "cuda", *smaller]) == 0
    said = capsys.readouterr().out
    assert "2 steps of 8 clips, on cuda, products in tf32, each the replay of a graph" in said
    assert re.search(
        r"^[\d.]+ clips/s, 2.34 GB in use on the device, [\d.]+% of 8 test clips right$",
        said,
        re.MULTILINE,
    )
    assert (
        main(["train", "--device", "cuda", "--resume"]) == 0
        and (tmp_path / "mvit_gpu" / "model.npz").exists()
    )
    assert (
        main(["train", "--device", "cuda"]) == 2
        and "mvit_gpu holds a run already" in capsys.readouterr().err
    )


def test_a_graph_of_several_processes_is_refused_before_anything_is_written(tmp_path):
    class Two(Alone):
        size = 2

    with pytest.raises(
        ValueError,
        match="a graph holds the step of one process, came 2 processes: give --graph false",
    ):
        prepare(changed(DEVICE, {"graph": True}), tmp_path / "out", comm=Two())
    assert not (tmp_path / "out").exists()
