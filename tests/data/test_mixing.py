"""Mixup and CutMix: what is in a clip is what its target says."""

import numpy as np
import pytest

import mvit_np as mv
from mvit_np.data.draws import MIX, rng_for
from mvit_np.data.mixing import mix, soft


def batch_of(rng, count=6, shape=(3, 9, 7, 3), classes=5, dtype=np.float32):
    return rng.standard_normal((count, *shape)).astype(dtype), soft(
        rng.integers(classes, size=count), classes, 0.1
    )


def pairs(seed=0, first=0):
    return lambda pair: rng_for(seed, MIX, 0, first + pair)


def shares_of_self(count, **how):
    """The share of itself that the first clip of each pair keeps, read from the targets."""
    clips, targets = (
        np.zeros((2 * count, 1, 12, 12, 1), np.float32),
        soft(np.tile([0, 1], count), 2),
    )
    return mix(clips, targets, pairs(), **how)[1][::2, 0]


# -- soft labels -----------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_soft_labels_are_the_loop(smoothing):
    labels, classes = np.array([2, 0, 3, 3]), 4
    loop = [
        [(1 - smoothing) * (k == label) + smoothing / classes for k in range(classes)]
        for label in labels
    ]
    shares = soft(labels, classes, smoothing)
    assert shares.dtype == np.float32 and shares == pytest.approx(np.array(loop))
    assert shares.sum(axis=1) == pytest.approx(1)


def test_soft_labels_have_the_loss_of_labels(rng):
    logits, labels = rng.standard_normal((6, 5)), rng.integers(5, size=6)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    ours = -(soft(labels, 5, 0.1) * log_p).sum(axis=1).mean()
    assert ours == pytest.approx(float(mv.ops.cross_entropy(logits, labels, 0.1)), rel=1e-6)


# -- mixup -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3, 9, 7, 3), (1, 8, 8, 1)])
def test_mixup_is_the_mean_that_the_targets_say(rng, shape):
    clips, targets = batch_of(rng, shape=shape)
    mixed, shares = mix(clips, targets, pairs(), cutmix=0)
    assert mixed.dtype == np.float32 and shares.dtype == np.float32
    for i, j in ((0, 1), (1, 0), (2, 3), (3, 2), (4, 5), (5, 4)):
        share = rng_for(0, MIX, 0, i // 2)
        share.random()  # whether to mix at all
        share = share.beta(0.8, 0.8)
        assert mixed[i] == pytest.approx(share * clips[i] + (1 - share) * clips[j], abs=1e-6)
        assert shares[i] == pytest.approx(share * targets[i] + (1 - share) * targets[j], abs=1e-6)


@pytest.mark.parametrize("a", [0.2, 0.8, 1.0])
def test_mixups_share_has_the_moments_of_beta(a):
    shares = shares_of_self(4000, mixup=a, cutmix=0)
    assert shares.mean() == pytest.approx(0.5, abs=0.03)
    assert shares.var() == pytest.approx(1 / (4 * (2 * a + 1)), abs=0.01)


# -- CutMix ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3, 9, 7, 3), (1, 8, 8, 1), (2, 1, 5, 3)])
@pytest.mark.parametrize("seed", range(6))
def test_cutmix_exchanges_a_rectangle_of_the_area_that_the_targets_say(shape, seed):
    clips = np.broadcast_to(
        np.arange(4, dtype=np.float32).reshape(4, 1, 1, 1, 1), (4, *shape)
    ).copy()
    mixed, shares = mix(clips, soft(np.arange(4), 4), pairs(seed), mixup=0)
    for i in range(4):
        assert set(np.unique(mixed[i])) <= {i, i ^ 1}
        theirs = mixed[i] == i ^ 1
        assert (theirs == theirs[:1, ..., :1]).all()  # the same in all frames and channels
        assert theirs.mean() == pytest.approx(shares[i, i ^ 1], abs=1e-6)
        assert shares[i, i] == pytest.approx(1 - shares[i, i ^ 1])
        rows, columns = theirs[0, ..., 0].any(axis=1).sum(), theirs[0, ..., 0].any(axis=0).sum()
        assert theirs[0, ..., 0].sum() == rows * columns


def test_cutmix_keeps_each_pixel_at_its_place(rng):
    clips, targets = batch_of(rng)
    mixed, _ = mix(clips, targets, pairs(), mixup=0)
    assert ((mixed == clips) | (mixed == clips[[1, 0, 3, 2, 5, 4]])).all()
    # what one lost the other has
    assert np.array_equal(mixed[::2] + mixed[1::2], clips[::2] + clips[1::2])


def test_cutmixs_rectangle_is_cut_off_at_the_edge_as_in_the_loop():
    clips = np.broadcast_to(
        np.tile([0, 1], 200).reshape(400, 1, 1, 1, 1), (400, 1, 12, 9, 1)
    ).astype(np.float32)
    mixed, _ = mix(clips, soft(np.tile([0, 1], 200), 2), pairs(), mixup=0)
    for pair in range(200):
        rng = rng_for(0, MIX, 0, pair)
        rng.random()  # whether to mix at all
        scale = np.sqrt(1 - rng.beta(1, 1))
        side_y, y, side_x, x = int(12 * scale), rng.integers(12), int(9 * scale), rng.integers(9)
        exact = [
            [
                y - side_y // 2 <= i < y - side_y // 2 + side_y
                and x - side_x // 2 <= j < x - side_x // 2 + side_x
                for j in range(9)
            ]
            for i in range(12)
        ]
        assert np.array_equal(mixed[2 * pair, 0, ..., 0], exact)


# -- both ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "switch, p", [(0.5, 1.0), (0.25, 1.0), (0.5, 0.4), (1.0, 1.0), (0.0, 1.0), (0.5, 0.0)]
)
def test_how_often(switch, p):
    clips = np.tile(np.array([0, 1], np.float32), 1500).reshape(3000, 1, 1, 1, 1) * np.ones(
        (1, 1, 20, 20, 1), np.float32
    )
    mixed, _ = mix(clips, soft(np.tile([0, 1], 1500), 2), pairs(), switch=switch, p=p)
    between = ((mixed > 0) & (mixed < 1)).any(axis=(1, 2, 3, 4))[::2]
    changed = (mixed != clips).any(axis=(1, 2, 3, 4))[::2]
    assert between.mean() == pytest.approx(p * (1 - switch), abs=0.04)
    assert changed.mean() == pytest.approx(p, abs=0.04)


def test_a_batch_in_parts_is_mixed_as_the_whole(rng):
    clips, targets = batch_of(rng, 8)
    whole = mix(clips, targets, pairs())
    parts = [mix(clips[a : a + 4], targets[a : a + 4], pairs(first=a // 2)) for a in (0, 4)]
    for one, two in zip(whole, zip(*parts)):
        assert np.array_equal(one, np.concatenate(two))


def test_equal_frames_stay_equal(rng):
    clips, targets = batch_of(rng, shape=(1, 9, 7, 3))
    mixed, _ = mix(clips.repeat(4, axis=1), targets, pairs())
    assert (mixed == mixed[:, :1]).all()


def test_inputs_stay_and_the_same_generator_gives_the_same(rng):
    clips, targets = batch_of(rng, dtype=np.float64)
    before = clips.copy(), targets.copy()
    first, again = (mix(clips, targets, pairs(3)) for _ in range(2))
    assert first[0].dtype == np.float64 and first[1].sum(axis=1) == pytest.approx(1)
    assert all(np.array_equal(a, b) for a, b in zip(first, again))
    assert np.array_equal(clips, before[0]) and np.array_equal(targets, before[1])


@pytest.mark.parametrize("how", [{"p": 0.0}, {"mixup": 0, "cutmix": 0}])
def test_switched_off(rng, how):
    clips, targets = batch_of(rng)
    mixed, shares = mix(clips, targets, pairs(), **how)
    assert np.array_equal(mixed, clips) and np.array_equal(shares, targets)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda c, t: mix(c[:3], t[:3], pairs()), ValueError, "a batch is even; came 3 clips"),
        (lambda c, t: mix(c, t[:4], pairs()), ValueError, r"came .* and \(4, 5\)"),
        (lambda c, t: mix(c[0], t, pairs()), ValueError, "mix takes clips"),
        (lambda c, t: mix((c * 20).astype(np.uint8), t, pairs()), TypeError, "clips came as uint8"),
        (lambda c, t: mix(c, t.argmax(1), pairs()), TypeError, "targets came as int64"),
        (lambda c, t: mix(c.tolist(), t, pairs()), TypeError, "clips came as list"),
        (lambda c, t: mix(c, t, pairs(), mixup=-1), ValueError, "mixup is the a"),
        (lambda c, t: mix(c, t, pairs(), cutmix=np.inf), ValueError, "cutmix is the a"),
        (lambda c, t: mix(c, t, pairs(), switch=2), ValueError, "switch is a probability"),
        (lambda c, t: mix(c, t, pairs(), p=2), ValueError, "p is a probability"),
        (lambda c, t: soft(np.array([0, 5]), 5), ValueError, r"lie in \[0, 5\).*came 0 to 5"),
        (lambda c, t: soft(np.array([-1, 2]), 5), ValueError, "came -1 to 2"),
        (lambda c, t: soft(np.array([0.5]), 5), ValueError, "one integer per clip; came float64"),
        (lambda c, t: soft(np.array([[1]]), 5), ValueError, r"came int64 \(1, 1\)"),
        (lambda c, t: soft(np.array([1]), 5, 1.0), ValueError, "label smoothing"),
    ],
)
def test_bad_input_is_named(rng, call, error, message):
    with pytest.raises(error, match=message):
        call(*batch_of(rng))
