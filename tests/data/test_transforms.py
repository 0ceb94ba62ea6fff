"""Crops, sizes, mirrors and erased rectangles against Pillow, torchvision, integer arithmetic and
short loops.
"""

import math
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from mvit_np.data import normalise
from mvit_np.data.transforms import (
    centre_crop,
    crop_box,
    flip,
    random_erasing,
    random_flip,
    random_resized_crop,
    resize,
)

SIZES = [
    ((32, 40), (16, 20)),
    ((31, 17), (13, 29)),
    ((20, 20), (47, 33)),
    ((64, 48), (7, 48)),
    ((5, 9), (5, 9)),
]
SIZES += [((40, 3), (1, 2))]


@pytest.fixture
def torchvision_functional():
    pytest.importorskip("torch_models", reason="parity needs them: pip install torch torchvision")
    from torchvision.transforms.v2 import functional

    return functional


def clip_of(rng, frames=3, h=20, w=30, channels=3):
    return rng.integers(0, 256, (frames, h, w, channels), dtype=np.uint8)


def floats_of(rng, *shape):
    return rng.uniform(-2, 2, shape).astype(np.float32)


def as_torch(clip):
    import torch

    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(clip, -1, 1)))


def as_clip(tensor):
    return np.moveaxis(tensor.numpy(), 1, -1)


def assert_near(ours, theirs, most=1):
    assert ours.dtype == np.uint8 and ours.shape == theirs.shape
    assert np.abs(ours.astype(int) - theirs).max() <= most


# -- resize ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("old, new", SIZES)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_resize_is_pillows(rng, old, new, channels):
    """Of each channel by itself, whatever the other channels are."""
    clip = clip_of(rng, 2, *old, channels)
    ours = resize(clip, np.array(new).tolist())
    assert ours.dtype == np.uint8 and ours.shape == (2, *new, channels)
    for t, c in np.ndindex(2, channels):
        picture = Image.fromarray(np.ascontiguousarray(clip[t, ..., c]))
        resized = picture.resize(new[::-1], Image.Resampling.BILINEAR)
        assert np.array_equal(ours[t, ..., c], resized)


@pytest.mark.parametrize("old, new", SIZES)
def test_resize_is_torchvisions(rng, torchvision_functional, old, new):
    clip = clip_of(rng, 2, *old)
    assert_near(
        resize(clip, new),
        as_clip(torchvision_functional.resize(as_torch(clip), new, antialias=True)),
    )


@pytest.mark.parametrize("old, new", SIZES)
def test_resize_is_the_sum_over_a_triangle(rng, old, new):
    clip = clip_of(rng, 1, *old)
    exact = clip.astype(float)
    for axis, (length, count) in enumerate(zip(old, new), 1):
        reach = max(length / count, 1)
        rows = [
            [max(0, 1 - abs((i + 0.5) * length / count - j - 0.5) / reach) for j in range(length)]
            for i in range(count)
        ]
        rows = np.array([np.divide(row, sum(row)) for row in rows])
        exact = np.moveaxis(np.tensordot(rows, exact, (1, axis)), 0, axis)
    # half a level is lost twice, once an axis
    assert np.abs(resize(clip, new) - exact).max() < 1.01


def test_one_colour_stays_that_colour():
    levels = np.tile(np.arange(256, dtype=np.uint8), (31, 17, 1))[None]
    assert np.array_equal(
        resize(levels, (9, 40)), np.tile(np.arange(256, dtype=np.uint8), (1, 9, 40, 1))
    )


def test_resize_to_the_same_size_changes_nothing(rng):
    clip = clip_of(rng)
    assert resize(clip, (20, 30)) is clip and resize(clip, [np.int64(20), 30]) is clip


def test_mirrored_pictures_resize_to_mirrored_pictures(rng):
    clip = clip_of(rng)
    assert_near(resize(flip(clip), (13, 17)), flip(resize(clip, (13, 17))))


# -- crops -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_random_resized_crop_is_torchvisions_of_the_same_box(rng, torchvision_functional, seed):
    clip = clip_of(rng, 2, 33, 47)
    (top, left), (h, w) = crop_box((33, 47), np.random.default_rng(seed))
    theirs = torchvision_functional.resized_crop(
        as_torch(clip), top, left, h, w, (24, 28), antialias=True
    )
    assert_near(random_resized_crop(clip, (24, 28), np.random.default_rng(seed)), as_clip(theirs))


@pytest.mark.parametrize("seed", range(8))
def test_random_resized_crop_is_pillows_of_the_same_box(rng, seed):
    clip = clip_of(rng, 1, 33, 47)
    (top, left), (h, w) = crop_box((33, 47), np.random.default_rng(seed))
    cropped = (
        Image.fromarray(clip[0])
        .crop((left, top, left + w, top + h))
        .resize((28, 24), Image.Resampling.BILINEAR)
    )
    assert_near(
        random_resized_crop(clip, (24, 28), np.random.default_rng(seed))[0], np.asarray(cropped)
    )


def test_boxes_lie_in_the_picture_and_in_their_ranges(rng):
    boxes = [crop_box((120, 160), rng, (0.2, 0.5), (0.5, 2.0)) for _ in range(500)]
    for (top, left), (h, w) in boxes:
        assert 0 <= top <= 120 - h and 0 <= left <= 160 - w
        assert 0.195 < h * w / (120 * 160) < 0.505 and 0.48 < w / h < 2.08
    assert len(set(boxes)) > 490


def test_boxes_reach_every_place_and_aspect_is_width_to_height(rng):
    corners, parts = zip(*[crop_box((10, 12), rng, (0.2, 0.2), (1.5, 1.5)) for _ in range(600)])
    assert set(parts) == {(4, 6)}  # 24 of 120 pixels
    assert set(corners) == {(top, left) for top in range(7) for left in range(7)}


def test_boxes_fall_as_torchvisions_do(torchvision_functional):
    import torch
    from torchvision.transforms import RandomResizedCrop

    rng = np.random.default_rng(1)
    torch.manual_seed(1)
    ours = np.array([np.ravel(crop_box((60, 90), rng)) for _ in range(3000)])
    picture = torch.empty(1, 60, 90)
    theirs = np.array(
        [RandomResizedCrop.get_params(picture, (0.08, 1.0), (3 / 4, 4 / 3)) for _ in range(3000)]
    )
    # deviations are up to 24: 3.4 standard errors
    assert ours.mean(axis=0) == pytest.approx(theirs.mean(axis=0), abs=1.5)
    assert ours.std(axis=0) == pytest.approx(theirs.std(axis=0), abs=1.2)


@pytest.mark.parametrize(
    "picture, box",
    [((4, 400), ((0, 197), (4, 5))), ((400, 4), ((197, 0), (5, 4))), ((1, 1), ((0, 0), (1, 1)))],
)
def test_where_no_box_fits_the_middle_is_taken(rng, picture, box):
    assert crop_box(picture, rng) == box
    assert random_resized_crop(clip_of(rng, 2, *picture), (6, 8), rng).shape == (2, 6, 8, 3)


@pytest.mark.parametrize("size", [(20, 30), (10, 12), (4, 30), (1, 2)])
def test_centre_crop_is_torchvisions(rng, torchvision_functional, size):
    size = (size[0] - size[0] % 2 or 2, size[1])  # an even margin has one middle
    clip = clip_of(rng)
    assert np.array_equal(
        centre_crop(clip, size), as_clip(torchvision_functional.center_crop(as_torch(clip), size))
    )


@pytest.mark.parametrize("size", [(19, 30), (7, 11), (1, 1)])
def test_centre_crop_leaves_margins_that_differ_by_a_pixel(rng, size):
    clip = np.stack(np.meshgrid(np.arange(20), np.arange(30), indexing="ij"), axis=-1)[None].astype(
        np.uint8
    )
    cropped = centre_crop(clip, size)
    assert cropped.shape == (1, *size, 2)
    for side, axis in ((20, 0), (30, 1)):
        before, after = cropped[..., axis].min(), side - 1 - cropped[..., axis].max()
        assert abs(int(before) - int(after)) <= 1


# -- mirrors ---------------------------------------------------------------------------------------


def test_flip_is_pillows(rng):
    clip = clip_of(rng)
    for frame, flipped in zip(clip, flip(clip)):
        assert np.array_equal(
            flipped, Image.fromarray(frame).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        )


@pytest.mark.parametrize("p", [0, 0.3, 1])
def test_random_flip_flips_that_often(rng, p):
    clip = np.arange(6, dtype=np.uint8).reshape(1, 1, 6, 1)
    flips = [random_flip(clip, rng, p)[0, 0, 0, 0] == 5 for _ in range(1000)]
    assert np.mean(flips) == pytest.approx(p, abs=0.05)


# -- erasing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 40, 50, 3), (1, 41, 33, 1)])
def test_the_same_rectangle_in_all_frames_and_nothing_else(rng, shape):
    clip = floats_of(rng, *shape)
    before, erased = clip.copy(), random_erasing(clip, rng, p=1)
    changed = (erased != clip).any(axis=-1)
    assert np.array_equal(clip, before) and erased.dtype == np.float32
    assert (changed == changed[0]).all()
    rows, columns = np.flatnonzero(changed[0].any(axis=1)), np.flatnonzero(changed[0].any(axis=0))
    inside = erased[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    # a full rectangle
    assert changed[0].sum() == len(rows) * len(columns) == inside[0, ..., 0].size
    # each pixel and channel has noise of its own
    assert len(np.unique(inside[0])) == inside[0].size
    for frame, after in pairwise(inside):  # and each frame, as in SlowFast
        assert (frame != after).mean() > 0.999


def test_the_noise_is_normal_and_the_rectangle_in_range(rng):
    clip, noise, shares, shapes = np.full((1, 100, 100, 1), 9, np.float64), [], [], []
    for _ in range(300):
        erased = random_erasing(clip, rng, p=1)[0, ..., 0]
        assert erased.dtype == np.float64
        rows, columns = (np.flatnonzero((erased != 9).any(axis=axis)) for axis in (1, 0))
        noise.append(erased[erased != 9])
        shares.append(len(noise[-1]) / 1e4)
        shapes.append(len(columns) / len(rows))
    noise = np.concatenate(noise)
    assert abs(noise.mean()) < 0.01 and noise.std() == pytest.approx(1, abs=0.01)
    assert (
        0.018 < min(shares)
        and max(shares) < 0.35
        and np.mean(shares) == pytest.approx(0.53 / 3, abs=0.02)
    )
    assert (
        0.27 < min(shapes)
        and max(shapes) < 3.7
        and np.mean(np.log(shapes)) == pytest.approx(0, abs=0.15)
    )


@pytest.mark.parametrize("p", [0, 0.25, 1])
def test_erasing_happens_that_often(rng, p):
    clip = np.zeros((1, 20, 20, 1), np.float32)
    assert np.mean([random_erasing(clip, rng, p).any() for _ in range(1000)]) == pytest.approx(
        p, abs=0.05
    )


def test_too_small_to_erase(rng):
    clip = floats_of(rng, 2, 1, 5, 3)
    assert np.array_equal(random_erasing(clip, rng, p=1), clip)


# -- all of them -----------------------------------------------------------------------------------


def all_of_them(clip, rng):
    clip = random_flip(random_resized_crop(clip, (16, 18), rng), rng)
    return random_erasing(normalise(clip), rng, p=1)


@pytest.mark.parametrize("shape", [(5, 33, 21, 3), (1, 24, 24, 3), (3, 16, 50, 1)])
def test_equal_frames_stay_equal_but_for_noise_and_equal_generators_give_equal_clips(rng, shape):
    clip = np.repeat(clip_of(rng, 1, *shape[1:]), shape[0], axis=0)
    first, again, other = (all_of_them(clip, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert first.shape == (shape[0], 16, 18, shape[3]) and first.dtype == np.float32
    noisy = (first != first[0]).any(axis=(0, 3))
    # a rectangle
    assert noisy.sum() == noisy.any(axis=0).sum() * noisy.any(axis=1).sum() < noisy.size / 2
    assert noisy.any() == (shape[0] > 1)
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_a_view_is_as_good_as_an_array(rng):
    view = flip(clip_of(rng, 4, 30, 40))[::2, ::3, 5:]
    assert np.array_equal(resize(view, (7, 9)), resize(view.copy(), (7, 9)))


@pytest.mark.parametrize(
    "call, error, message",
    [
        (
            lambda clip, rng: resize(clip.astype(np.float32), (4, 4)),
            TypeError,
            "array of uint8; came float32",
        ),
        (lambda clip, rng: resize(clip.tolist(), (4, 4)), TypeError, "array of uint8; came list"),
        (
            lambda clip, rng: resize(clip[0], (4, 4)),
            ValueError,
            r"came \(20, 30, 3\): give a picture as picture\[None\]",
        ),
        (lambda clip, rng: resize(clip[:0], (4, 4)), ValueError, "none of them 0"),
        (lambda clip, rng: resize(clip, 4), ValueError, "size_hw is .* came 4"),
        (lambda clip, rng: resize(clip, (4, 0)), ValueError, r"at least 1; came \(4, 0\)"),
        (lambda clip, rng: resize(clip, (4.5, 4)), ValueError, r"came \(4.5, 4\)"),
        (lambda clip, rng: centre_crop(clip, (21, 30)), ValueError, "a crop fits into its picture"),
        (
            lambda clip, rng: random_resized_crop(clip, (4, 4), rng, area=(0, 1)),
            ValueError,
            "area is .* at most 1",
        ),
        (
            lambda clip, rng: random_resized_crop(clip, (4, 4), rng, area=(0.5, 1.2)),
            ValueError,
            r"came \(0.5, 1.2\)",
        ),
        (
            lambda clip, rng: random_resized_crop(clip, (4, 4), rng, aspect=(2, 1)),
            ValueError,
            "aspect is .*above 0; came",
        ),
        (lambda clip, rng: random_flip(clip, rng, 1.5), ValueError, "p is a probability"),
        (lambda clip, rng: random_flip(clip, rng, math.nan), ValueError, "p is a probability"),
        (
            lambda clip, rng: random_erasing(clip, rng),
            TypeError,
            "came uint8 .*: call it after normalise",
        ),
        (
            lambda clip, rng: random_erasing(normalise(clip), rng, p=-1),
            ValueError,
            "p is a probability",
        ),
        (
            lambda clip, rng: random_erasing(normalise(clip), rng, p=1, area=(0.1, 2)),
            ValueError,
            "area is",
        ),
    ],
)
def test_bad_input_is_named(rng, call, error, message):
    with pytest.raises(error, match=message):
        call(clip_of(rng), rng)
