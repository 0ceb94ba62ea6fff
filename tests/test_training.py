"""A training in memory: the demo's, and that of a run, which are one."""

from dataclasses import replace

import numpy as np
import pytest

from mvit_np.data import MotionClips, normalise
from mvit_np.train import demo
from mvit_np.train.run import prepare, run
from mvit_np.train.run.recipe import PLAIN, RECIPES, changed
from mvit_np.train.run.task import task_of
from mvit_np.train.run.training import train, training_of


def street(train_clips, test_clips):
    """Noise of the shape of the demo's clips."""
    rng = np.random.default_rng(0)

    def part(count):
        clips = rng.standard_normal((count, 8, 32, 32, 1)).astype("float32")
        return clips, rng.integers(0, 2, count), np.zeros(count, np.int64)

    return MotionClips(*part(train_clips), *part(test_clips), ("noise 0",))


def rows_of(training):
    """What does not depend on the clock."""
    rows = [taken.row for taken in train(training)]
    return [
        {name: value for name, value in row.items() if name not in ("seconds", "clips_per_s")}
        for row in rows
    ]


def test_a_run_is_a_training_with_a_folder(tmp_path):
    recipe = changed(RECIPES["smoke"], {"epochs": 0.5, "test_every": 0.25})
    ours = rows_of(training_of(recipe, task_of(recipe)))
    theirs = list(run(prepare(recipe, tmp_path)))
    assert len(ours) == 8 and [row["step"] for row in ours if row["test_accuracy"] is not None] == [
        4,
        8,
    ]
    assert ours == [{name: row[name] for name in ours[0]} for row in theirs]


@pytest.mark.slow
def test_the_demo_trains_alike_from_a_seed_and_is_tested_five_times():
    clips = street(64 * 4, 8)
    recipe = replace(demo.recipe_of(), batch=8, lr_batch=8)  # 32 steps of 8 clips
    first, again, other = (
        rows_of(demo.training(clips, replace(recipe, seed=seed))) for seed in (0, 0, 1)
    )
    assert first == again and first != other
    assert [row["step"] for row in first if row["test_accuracy"] is not None] == [7, 14, 21, 28, 32]


def test_more_epochs_stretch_the_demos_schedule():
    one, three = demo.recipe_of(), demo.recipe_of(3, seed=5, device="cuda:1")
    assert (three.epochs, three.warmup, three.test_every) == pytest.approx(
        (3, 0.3, 3 * one.test_every)
    )
    assert (three.seed, three.device) == (5, "cuda:1") and one == RECIPES["demo"]
    names = {"data", "epochs", "warmup", "test_every", "save_minutes"}
    assert replace(one, **{name: getattr(PLAIN, name) for name in names}) == PLAIN


def test_the_demos_clips_are_the_street_as_a_model_gets_it():
    clips = street(32, 8)
    training = demo.training(clips, demo.recipe_of())
    seen = demo._seen(training, range(8))
    for ours, theirs in zip(seen, clips.test_clips):
        # from its darkest to its brightest pixel in 255 steps
        assert (
            np.abs(ours - (theirs - theirs.mean()) / theirs.std()).max()
            < 1.01 * np.ptp(theirs) / 255
        )
    pixels = training.task.tests.clips[0]
    np.testing.assert_allclose(seen[0], normalise(pixels, "clip"), rtol=1e-6)


def test_shuffled_frames_are_those_of_each_clip_and_always_the_same():
    tests = demo.training(street(32, 8), demo.recipe_of()).task.tests
    one, other = demo.frames_shuffled(tests), demo.frames_shuffled(tests)
    np.testing.assert_array_equal(one.clips, other.clips)
    assert not np.array_equal(one.clips, tests.clips) and np.array_equal(one.labels, tests.labels)
