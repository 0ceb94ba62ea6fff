"""A run from its recipe to its model: stopped or killed whenever one likes, it comes out as if it
had not been.
"""

import importlib.util
import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mpi_tools import MPIEXEC
from short_runs import SMOKE, STEPS, Marked, finish, flat, same

import mvit_np as mv
from mvit_np import ops
from mvit_np.backend import tree as trees
from mvit_np.backend.outputs import LEDGER
from mvit_np.backend.tiles import use_threads
from mvit_np.data.datasets import ArrayClips, BrokenExample
from mvit_np.train.distributed import Alone
from mvit_np.train.evaluate import Views, evaluate
from mvit_np.train.guard import NotFinite
from mvit_np.train.loop import Optimizer, fit
from mvit_np.train.metrics import FIELDS, read_rows
from mvit_np.train.run import prepare, run, snapshot, start
from mvit_np.train.run import task as tasks
from mvit_np.train.run.recipe import RECIPES, changed
from mvit_np.train.run.run_folder import WRITTEN


def test_a_run_writes_a_row_a_step_and_a_model_that_loads(undisturbed):
    folder, rows = undisturbed
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    assert all(np.isfinite(row[name]) for row in rows for name in FIELDS[:8])
    assert [row["step"] for row in rows if row["test_accuracy"] is not None] == [6, 12]
    kept = read_rows(folder / "metrics.csv")
    assert [row["step"] for row in kept] == [row["step"] for row in rows]
    np.testing.assert_allclose(
        [row["loss"] for row in kept], [row["loss"] for row in rows], rtol=1e-8
    )
    names = {path.name for path in folder.iterdir()}
    assert names == {*WRITTEN, LEDGER} - {"features.npz"}  # which a probe has
    params, config = mv.load(folder / "model.npz")
    assert config.num_classes == 8 == len((folder / "classes.txt").read_text().splitlines())
    assert np.isfinite(mv.forward(params, np.zeros((1, *config.thw, 1), np.float32), config)).all()


def test_what_is_tested_and_kept_is_the_running_mean(undisturbed):
    state, _ = snapshot.latest(undisturbed[0] / "snapshots")
    np.testing.assert_array_equal(
        flat(mv.load(undisturbed[0] / "model.npz")[0]), flat(state["average"])
    )
    assert not np.array_equal(flat(state["average"]), flat(state["params"]))


def test_the_same_seed_gives_the_same_run_and_workers_change_nothing(undisturbed, tmp_path):
    finish(changed(SMOKE, {"workers": 0}), tmp_path / "none")
    finish(changed(SMOKE, {"workers": 3, "ahead": 4}), tmp_path / "three")
    assert same(undisturbed[0], tmp_path / "none") and same(undisturbed[0], tmp_path / "three")
    finish(changed(SMOKE, {"seed": 1}), tmp_path / "other")
    assert not same(undisturbed[0], tmp_path / "other")


@pytest.mark.parametrize("switch", ["checkpoint", "keep_hidden"])
def test_blocks_that_keep_less_or_more_change_nothing(switch, undisturbed, tmp_path):
    rows = finish(changed(SMOKE, {switch: True}), tmp_path)
    np.testing.assert_allclose(
        [row["loss"] for row in rows], [row["loss"] for row in undisturbed[1]], rtol=1e-5
    )


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize("at, last", [slow(1, 1), (5, 5), slow(6, 6), (7, 6), slow(8, 7), (14, 12)])
def test_a_run_that_is_stopped_goes_on_as_if_it_had_not_been(at, last, undisturbed, tmp_path):
    """It is asked in each step and once in each test: the 7th and the 14th time is in the tests
    after steps 6 and 12.
    """
    recipe = changed(SMOKE, {"save_steps": 0})  # what is there was saved because of the stop
    asked = iter(range(1, 100))
    first = finish(recipe, tmp_path, stop=lambda: next(asked) == at)
    assert first[-1]["test_accuracy"] is None and (at < 8 or first[5]["test_accuracy"] is not None)
    assert [row["step"] for row in first] == list(range(1, last + 1))
    assert snapshot.latest(tmp_path / "snapshots")[0]["step"] == last
    rest = finish(None, tmp_path, resume=True)
    assert [row["step"] for row in first + rest] == list(range(1, STEPS + 1))
    assert same(undisturbed[0], tmp_path)
    rows, expected = (read_rows(folder / "metrics.csv") for folder in (tmp_path, undisturbed[0]))
    for name in ("step", "loss", "accuracy", "learning_rate", "gradient_norm", "test_accuracy"):
        assert [row[name] for row in rows] == [row[name] for row in expected]
    assert [row["seconds"] for row in rows] == sorted(row["seconds"] for row in rows)
    # done is done
    assert finish(None, tmp_path, resume=True) == [] and same(undisturbed[0], tmp_path)


def test_a_run_goes_on_with_another_number_of_threads_and_ends_with_the_same_bits(tmp_path):
    """With batches large enough to be cut into tiles, which the threads share."""
    recipe = changed(
        RECIPES["small"],
        {"epochs": 0.2, "train_clips": 320, "test_clips": 8, "mixup": 0, "rand_layers": 0},
    )
    asked = iter(range(1, 100))
    with use_threads(1):
        finish(recipe, tmp_path / "one")
        finish(recipe, tmp_path / "parts", stop=lambda: next(asked) == 1)
    with use_threads(2):
        finish(None, tmp_path / "parts", resume=True)
        finish(recipe, tmp_path / "two")
    assert same(tmp_path / "one", tmp_path / "two") and same(tmp_path / "one", tmp_path / "parts")


def test_a_damaged_snapshot_is_said_and_the_one_before_it_taken(undisturbed, tmp_path):
    asked = iter(range(1, 100))
    # after step 7, and the test after step 6
    finish(SMOKE, tmp_path, stop=lambda: next(asked) == 8)
    newest = max((tmp_path / "snapshots").iterdir(), key=lambda path: path.name)
    newest.write_bytes(newest.read_bytes()[:-1000])
    said = []
    rows = list(run(prepare(None, tmp_path, resume=True, say=said.append)))
    assert rows[0]["step"] == 7 and len(said) == 1 and newest.name in said[0]
    assert same(undisturbed[0], tmp_path)
    assert [row["step"] for row in read_rows(tmp_path / "metrics.csv")] == list(range(1, STEPS + 1))


def test_metrics_survive_a_row_that_was_cut_off(undisturbed, tmp_path):
    asked = iter(range(1, 100))
    finish(SMOKE, tmp_path, stop=lambda: next(asked) == 5)
    with open(tmp_path / "metrics.csv", "a") as file:
        file.write("6,0.3,1.5,2.0,0.1,1e-3,1.0,20,,\n7,0.35,1.6,2.")
    finish(None, tmp_path, resume=True)
    expected = [row["loss"] for row in read_rows(undisturbed[0] / "metrics.csv")]
    assert [row["loss"] for row in read_rows(tmp_path / "metrics.csv")] == expected


def test_a_test_that_is_stopped_twice_is_done_at_last(undisturbed, tmp_path):
    asked = iter(range(1, 100))
    finish(changed(SMOKE, {"save_steps": 0}), tmp_path, stop=lambda: next(asked) == 7)
    assert finish(None, tmp_path, resume=True, stop=lambda: True) == []
    finish(None, tmp_path, resume=True)
    assert same(undisturbed[0], tmp_path)
    rows, expected = (read_rows(folder / "metrics.csv") for folder in (tmp_path, undisturbed[0]))
    assert [row["test_accuracy"] for row in rows] == [row["test_accuracy"] for row in expected]
    best = [mv.load(folder, best=True)[0] for folder in (tmp_path, undisturbed[0])]
    np.testing.assert_array_equal(flat(best[0]), flat(best[1]))


@pytest.mark.skipif(
    not importlib.util.find_spec("fcntl"), reason="needs a system with file locks as Unix has them"
)
def test_two_processes_do_not_train_in_one_folder(tmp_path):
    job = prepare(SMOKE, tmp_path)
    with pytest.raises(ValueError, match="another process trains in .*: wait for its end"):
        prepare(SMOKE, tmp_path)
    steps = run(job)
    next(steps)
    with pytest.raises(ValueError, match="another process trains in"):
        prepare(None, tmp_path, resume=True)
    steps.close()
    assert prepare(None, tmp_path, resume=True).state.step <= 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_is_full_of_metrics_is_a_sentence_and_loses_nothing(
    undisturbed, tmp_path, monkeypatch
):
    steps = run(prepare(changed(SMOKE, {"save_steps": 2}), tmp_path))
    assert [next(steps)["step"] for _ in range(3)] == [1, 2, 3]
    steps.gi_yieldfrom.gi_frame.f_locals["metrics"]._file = open("/dev/full", "a")
    with pytest.raises(
        OSError,
        match="metrics.csv cannot be written to .* .No space left on device., and what is there",
    ):
        next(steps)
    finish(None, tmp_path, resume=True)
    assert same(undisturbed[0], tmp_path)


def test_a_run_is_not_overwritten_and_goes_on_as_it_began(undisturbed, tmp_path):
    folder = undisturbed[0]
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with pytest.raises(ValueError, match="holds a run already: go on with it by --resume"):
        prepare(SMOKE, folder)
    with pytest.raises(ValueError, match="has lr = 0.001, you ask for 0.0001"):
        prepare(changed(SMOKE, {"lr": 1e-4}), folder, resume=True)
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with pytest.raises(ValueError, match="no run to go on with"):
        prepare(None, tmp_path, resume=True)
    # for queues: the same command begins and goes on
    assert prepare(SMOKE, tmp_path, resume=True).state.step == 0
    # nothing was learned there yet
    assert prepare(changed(SMOKE, {"lr": 1e-4}), tmp_path).state.step == 0


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"data": "moving_digit"}, "did you mean 'moving_digits'"),
        ({"data": None}, "a run learns from data"),
        ({"model.drop_pth": 0.1}, "no field 'model.drop_pth': did you mean 'model.drop_path'"),
        ({"model": "mvit_z"}, "no preset 'mvit_z'"),
        ({"model.num_classes": 5}, "the data have num_classes 8, the recipe says 5"),
        ({"batch": 1024, "train_clips": 64}, "take a smaller batch"),
        ({"device": "abacus"}, "'cpu', 'cuda' or 'cuda:N'"),
    ],
)
def test_an_impossible_run_is_one_sentence_and_leaves_nothing(changes, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        prepare(changed(SMOKE, changes), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_may_begin_with_the_weights_of_another(undisturbed):
    source = undisturbed[0] / "model.npz"
    theirs, config = mv.load(source)
    ours = start.parameters(changed(SMOKE, {"weights": str(source)}), config)
    np.testing.assert_array_equal(flat(ours), flat(theirs))
    larger = replace(config, num_classes=3, size=64)
    ours = start.parameters(changed(SMOKE, {"weights": str(source)}), larger)
    assert ours["head"]["w"].shape == (16, 3) and ours["pos_embed_spatial"].shape == (256, 8)
    np.testing.assert_array_equal(flat(ours["blocks"][1]), flat(theirs["blocks"][1]))
    assert mv.forward(ours, np.zeros((1, *larger.thw, 1), np.float32), larger).shape == (1, 3)
    with pytest.raises(ValueError, match="is another model than mvit_micro"):
        start.parameters(changed(SMOKE, {"weights": str(source)}), replace(config, dim=16))


def test_the_rate_of_the_papers_recipe():
    """1.6e-3 for 512 clips after 30 of 200 epochs, then half a cosine to a hundredth; in proportion
    for other batches.
    """
    rate = tasks.lr_of(RECIPES["paper"], steps=2000, steps_per_epoch=10)
    half = tasks.lr_of(changed(RECIPES["paper"], {"batch": 256}), steps=2000, steps_per_epoch=10)
    assert rate(300) == pytest.approx(1.6e-3) and rate(2000) == pytest.approx(1.6e-5)
    assert rate(0) < 2.5e-5 and rate(1150) == pytest.approx((1.6e-3 + 1.6e-5) / 2)
    assert [half(step) for step in (0, 300, 1000)] == pytest.approx(
        [rate(step) / 2 for step in (0, 300, 1000)]
    )


# -- killed ----------------------------------------------------------------------------------------


def killed_and_resumed(folder, kills, rng):
    """Start the run again and again, kill it without warning each time but the last; (times killed,
    steps found saved).
    """
    command = [
        sys.executable,
        "-m",
        "mvit_np",
        "train",
        "--out",
        str(folder),
        "--resume",
        *arguments(KILLED),
    ]
    found = []
    for _ in range(kills):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        wait_for_rows(process, folder, more=rng.randrange(3))
        time.sleep(rng.random() * 0.1)
        assert process.poll() is None, process.stderr.read().decode()
        process.kill()
        process.communicate()
        state, _ = snapshot.latest(folder / "snapshots")
        found.append(state["step"] if state else 0)
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return found


def wait_for_rows(process, folder, more):
    """Until the run has written a few rows; with 0 it may be anywhere in its beginning."""
    metrics = folder / "metrics.csv"
    start, deadline = rows_in(metrics), time.monotonic() + 60
    if more == 0:
        time.sleep(1)
    while (
        more
        and process.poll() is None
        and time.monotonic() < deadline
        and abs(rows_in(metrics) - start) < more
    ):
        time.sleep(0.005)


def rows_in(path):
    return path.read_text().count("\n") if path.exists() else 0


KILLED = {"epochs": 3, "test_every": 1, "save_steps": 2}  # 48 steps


def arguments(changes):
    return [
        "--recipe",
        "smoke",
        *(word for name, value in changes.items() for word in (f"--{name}", str(value))),
    ]


@pytest.fixture(scope="module")
def never_killed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("never_killed")
    finish(changed(RECIPES["smoke"], KILLED), folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kills", [2, 20])
def test_a_run_killed_at_random_moments_ends_bit_identically(kills, never_killed, tmp_path):
    """With a running mean, mixed clips, stochastic depth, accumulation and rate decay by layer, all
    switched on.
    """
    recipe = RECIPES["smoke"]
    assert (
        recipe.ema
        and recipe.mixup
        and recipe.cutmix
        and recipe.accumulate > 1
        and recipe.layer_decay < 1
    )
    assert mv.preset(recipe.model).drop_path and mv.preset(recipe.model).dropout
    found = killed_and_resumed(tmp_path, kills, random.Random(kills))
    assert found == sorted(found)
    assert same(never_killed, tmp_path)
    rows, expected = (read_rows(folder / "metrics.csv") for folder in (tmp_path, never_killed))
    assert [row["loss"] for row in rows] == [row["loss"] for row in expected]
    assert [row["test_accuracy"] for row in rows] == [row["test_accuracy"] for row in expected]


# -- not finite ------------------------------------------------------------------------------------


def poisoned(params, clip, config, **options):
    """The model, whose first block breaks down at marked clips."""
    if (clip == 99).all():
        first = params["blocks"][0]
        norm = first["norm1"] | {"b": ops.scale(first["norm1"]["g"], np.float32(np.inf))}
        params = params | {"blocks": [first | {"norm1": norm}, *params["blocks"][1:]]}
    return mv.forward(params, clip, config, **options)


def test_a_step_that_is_not_finite_stops_the_run_or_is_skipped(tmp_path, monkeypatch):
    sound = tasks.loader_of
    monkeypatch.setattr(tasks, "loader_of", lambda *arguments: Marked(sound(*arguments)))
    monkeypatch.setattr(tasks, "forward", poisoned)
    recipe = changed(SMOKE, {"save_steps": 1})
    for again in (False, True):  # begun, and taken up again: it does not go away by itself
        with (
            np.errstate(all="ignore"),
            pytest.raises(NotFinite, match="step 5 is not finite .* first output") as stopped,
        ):
            finish(recipe, tmp_path, resume=again)
        assert (
            stopped.value.step == 5
            and stopped.value.layer == "blocks.0.attention"
            and stopped.value.names
        )
    before, _ = snapshot.latest(tmp_path / "snapshots")
    said = []
    with np.errstate(all="ignore"):
        job = prepare(
            changed(recipe, {"non_finite": "skip"}), tmp_path, resume=True, say=said.append
        )
        rows = list(run(job, stop=lambda: True))
    after, _ = snapshot.latest(tmp_path / "snapshots")
    assert (
        [row["step"] for row in rows] == [5]
        and len(said) == 1
        and said[0].startswith("skipped: step 5 is not finite")
    )
    assert (before["step"], after["step"]) == (4, 5)
    for name in ("params", "average", "optimizer"):
        np.testing.assert_array_equal(flat(before[name]), flat(after[name]))
    assert [row["step"] for row in finish(None, tmp_path, resume=True)] == list(range(6, STEPS + 1))


# -- the loop, without a model ---------------------------------------------------------------------


@mv.op
def squared(x):
    return (x * x).sum(), lambda dy: (2 * x * dy,)


def line(rng):
    """loss, parameters and batches of a linear fit."""
    x, truth = rng.standard_normal((6, 8, 3)), rng.standard_normal((3, 2))

    def loss(params, batch):
        wrong = ops.add(ops.linear(batch, params["w"]), -(batch @ truth))
        return ops.scale(squared(wrong), 1 / wrong.size), None

    return loss, {"w": rng.standard_normal((3, 2))}, x


def rate(step):
    return 0.1 / (step + 1)


def test_fit_goes_on_from_a_state(rng):
    loss, params, batches = line(rng)
    whole = list(fit(loss, params, batches, lr=rate, ema_decay=0.9))
    half = list(fit(loss, params, batches[:3], lr=rate, ema_decay=0.9))[-1].state
    means = {name: half.optimizer[name].copy() for name in ("exp_avg", "exp_avg_sq")}
    half = replace(half, optimizer=half.optimizer | means)
    rest = list(fit(loss, None, batches[3:], lr=rate, ema_decay=0.9, state=half))
    assert [step.index for step in rest] == [3, 4, 5] and [step.lr for step in rest] == [
        rate(3),
        rate(4),
        rate(5),
    ]
    np.testing.assert_array_equal(rest[-1].params["w"], whole[-1].params["w"])
    np.testing.assert_array_equal(rest[-1].state.average["w"], whole[-1].state.average["w"])


def test_fit_takes_a_batch_in_parts(rng):
    loss, params, batches = line(rng)
    whole, parts = (list(fit(loss, params, batches, lr=rate, accumulate=n))[-1] for n in (1, 4))
    np.testing.assert_allclose(parts.params["w"], whole.params["w"], rtol=1e-12)
    assert float(parts.loss) == pytest.approx(float(whole.loss), rel=1e-12)


def test_fit_keeps_a_running_mean(rng):
    loss, params, batches = line(rng)
    expected = params["w"]
    for t, step in enumerate(fit(loss, params, batches, lr=rate, ema_decay=0.3)):
        decay = min(0.3, (1 + t) / (10 + t))
        expected = decay * expected + (1 - decay) * step.params["w"]
        np.testing.assert_allclose(step.state.average["w"], expected, rtol=1e-12)


def test_fit_takes_any_optimizer(rng):
    loss, params, batches = line(rng)
    plain = Optimizer(
        lambda params: 0,
        lambda p, g, count, rate: (trees.map(lambda p, g: p - rate * g, p, g), count + 1),
    )
    last = list(fit(loss, params, batches, lr=rate, optimizer=plain, clip_norm=1e9))[-1]
    expected = params["w"]
    for index, batch in enumerate(batches):
        expected = (
            expected
            - rate(index)
            * mv.value_and_grad(lambda p, b: loss(p, b)[0])({"w": expected}, batch)[1]["w"]
        )
    # clipping adds 1e-6 to the norm
    np.testing.assert_allclose(last.params["w"], expected, rtol=1e-6)
    assert last.state.optimizer == len(batches)


def test_fit_learns_nothing_from_a_step_that_is_refused(rng):
    loss, params, batches = line(rng)
    steps = list(
        fit(
            loss,
            params,
            batches,
            lr=rate,
            guard=lambda index, *rest: "no" if index in (1, 2) else "",
        )
    )
    assert [step.skipped for step in steps] == ["", "no", "no", "", "", ""] and steps[
        -1
    ].state.step == 6
    assert steps[2].params is steps[0].params and steps[3].params is not steps[0].params
    expected = list(
        fit(loss, params, batches[[0, 3, 4, 5]], lr=lambda step: rate((0, 3, 4, 5)[step]))
    )[-1]
    np.testing.assert_array_equal(steps[-1].params["w"], expected.params["w"])


def test_fit_shares_gradients_with_other_ranks(rng):
    """Two ranks with half a batch each, played one after the other, take the step of the whole
    batch.
    """
    loss, params, batches = line(rng)
    halves = [
        mv.value_and_grad(loss, has_aux=True)(params, half)
        for half in (batches[0, :4], batches[0, 4:])
    ]

    class Other:
        rank, size = 0, 2

        def mean(self, tree):
            (value, _), grads = halves[1]
            return trees.map(
                lambda ours, theirs: (ours + theirs) / 2, tree, [value, grads, np.array([0.0, 1.0])]
            )

    shared = {"extra_metrics": lambda value, aux: np.array([1.0, 0.0]), "comm": Other()}
    ours = next(fit(loss, params, [batches[0, :4]], lr=rate, **shared))
    assert ours.extra_metrics.tolist() == [0.5, 0.5]
    whole = next(fit(loss, params, batches[:1], lr=rate))
    np.testing.assert_allclose(ours.params["w"], whole.params["w"], rtol=1e-12)
    assert float(ours.loss) == pytest.approx(float(whole.loss))


def test_a_step_of_a_run_takes_one_sum_over_the_ranks(tmp_path):
    class Counting(Alone):
        means = 0

        def mean(self, tree):
            self.means += 1
            return tree

    comm = Counting()
    list(run(prepare(changed(SMOKE, {"test_every": 100}), tmp_path, comm=comm)))
    assert comm.means == STEPS + 1  # and one for the test after the last step


# -- tests from several views ----------------------------------------------------------------------


class Films(ArrayClips):
    """As of films: several clips an example, of another size than the model's; one is broken."""

    def views(self, index, clips):
        if index == 2:
            raise BrokenExample(self.name_of(index), "cut off")
        return np.stack([self.clips[index] // (1 + k) for k in range(clips)])


def films(rng, size):
    clips = rng.integers(0, 256, (7, 2, *size, 3)).astype(np.uint8)
    return Films(clips, rng.integers(0, 6, 7), tuple("abcdef"))


def test_evaluation_averages_the_probabilities_of_all_views(rng):
    data, weights = films(rng, (18, 27)), rng.standard_normal((2 * 16 * 16 * 3, 6))
    seen, broken = [], []

    def scores(clips):
        seen.append(len(clips))
        return clips.reshape(len(clips), -1) @ weights * 0.05

    views = Views((16, 16), clips=2, crops=3)
    result = evaluate(
        scores,
        data,
        views,
        batch=4,
        workers=2,
        on_broken=lambda name, reason: broken.append((name, reason)),
    )
    right = loss = top = 0
    answers = result.answers
    assert answers.index.tolist() == [0, 1, 3, 4, 5, 6]
    for row, index in enumerate(answers.index):
        p = 0
        for k in range(2):
            frames = data.clips[index] // (1 + k)  # 18 x 27 covers 18 x 18 already: 256/224 of 16
            for left in (0, 6, 11):
                x = (frames[:, 1:17, left : left + 16] / 255 - 0.45) / 0.225
                e = np.exp(x.reshape(-1) @ weights * 0.05)
                p = p + e / e.sum() / 6
        right += p.argmax() == data.labels[index]
        top += (p > p[data.labels[index]]).sum() < 5
        loss -= np.log(p[data.labels[index]])
        assert answers.wrong[row] == (p.argmax() != data.labels[index])
        assert answers.top[row].tolist() == sorted(range(6), key=lambda k: -p[k])[:5]
        np.testing.assert_allclose(answers.probability[row], p[answers.top[row]], rtol=1e-4)
        assert answers.of_truth[row] == pytest.approx(p[data.labels[index]], rel=1e-4)
    assert broken == [("clip 2", "cut off")] and result.examples == 6 and sum(seen) == 36
    assert result.top1 == pytest.approx(right / 6) and result.top5 == pytest.approx(top / 6)
    assert result.loss == pytest.approx(loss / 6, rel=1e-4)
    assert result.confusion.sum(axis=1).tolist() == [
        np.sum(np.delete(data.labels, 2) == k) for k in range(6)
    ]


def test_evaluation_is_the_same_with_any_threads_batches_and_ranks(rng):
    data, weights = films(rng, (16, 16)), rng.standard_normal((2 * 16 * 16 * 3, 6))

    def scores(clips):
        return clips.reshape(len(clips), -1) @ weights

    whole = evaluate(scores, data, Views((16, 16), clips=2))
    other = evaluate(scores, data, Views((16, 16), clips=2), batch=3, workers=3)
    np.testing.assert_array_equal(whole.confusion, other.confusion)

    class Rank:
        size = 2

        def __init__(self, rank, others=None):
            self.rank, self.others, self.ours = rank, others, None

        def mean(self, tree):
            self.ours = tree
            return [(a + b) / 2 for a, b in zip(tree, self.others or tree)]

    first = Rank(0)
    evaluate(scores, data, Views((16, 16), clips=2), comm=first)
    shared = evaluate(scores, data, Views((16, 16), clips=2), comm=Rank(1, first.ours))
    np.testing.assert_array_equal(shared.confusion, whole.confusion)
    assert (shared.among_top, shared.loss) == (whole.among_top, pytest.approx(whole.loss))
    for name in ("index", "truth", "top", "probability", "of_truth"):
        ours, theirs = (getattr(one.answers, name) for one in (shared, whole))
        np.testing.assert_allclose(ours, theirs, rtol=1e-15)


def test_evaluation_says_what_it_cannot_do(rng):
    data = films(rng, (16, 16))
    with pytest.raises(ValueError, match="scores of a model are finite"):
        evaluate(lambda clips: np.full((len(clips), 6), np.nan), data, Views((16, 16)))
    only = Films(data.clips[:3], data.labels[:3], data.classes)
    object.__setattr__(only, "views", lambda index, clips: Films.views(only, 2, clips))
    with pytest.raises(ValueError, match="of 3 none can"):
        evaluate(lambda clips: clips, only, Views((16, 16)))


# -- several processes -----------------------------------------------------------------------------


@pytest.mark.slow  # test_run_data.py takes up a run with two ranks, too
@pytest.mark.skipif(
    not (MPIEXEC and importlib.util.find_spec("mpi4py")), reason="needs pip install mpi4py mpich"
)
def test_two_ranks_go_on_where_one_stopped_and_only_one_writes(tmp_path):
    """Without masks, which each rank draws for its own clips, a step is that of one process up to
    rounding.
    """
    quiet = {**KILLED, "epochs": 1, "model.dropout": 0, "model.drop_path": 0}
    recipe, asked = changed(RECIPES["smoke"], quiet), iter(range(1, 100))
    finish(recipe, tmp_path / "one")
    # begun by one rank, ended by two
    finish(recipe, tmp_path / "two", stop=lambda: next(asked) == 4)
    command = [sys.executable, "-m", "mvit_np", "train", "--out", str(tmp_path / "two"), "--resume"]
    done = subprocess.run(
        [MPIEXEC, "-n", "2", *command], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    rows, expected = (read_rows(tmp_path / name / "metrics.csv") for name in ("two", "one"))
    assert [row["step"] for row in rows] == [row["step"] for row in expected]
    for name in ("loss", "gradient_norm", "accuracy", "test_accuracy"):
        ours, theirs = ([row[name] or 0 for row in part] for part in (rows, expected))
        np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=1e-6, err_msg=name)
    assert done.stdout.count("16 steps of 8 clips, from step 4, 2 processes") == 1
