"""The built-in sets: labels against brute force and another library's warps, separate sources,
single frames at a loss.
"""

import functools
import gzip
import struct
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from mvit_np.data import normalise
from mvit_np.data.sets import camera, fashion, motion, pedestrians, samples
from mvit_np.data.sets.builtin import BUILTIN, as_pixels, builtin

needs_sklearn = pytest.mark.skipif(
    find_spec("sklearn") is None, reason="the pictures come with scikit-learn"
)
needs_av = pytest.mark.skipif(find_spec("av") is None, reason="video is read with PyAV")
needs_fashion = pytest.mark.skipif(
    not Path(fashion.FOLDER).is_dir(), reason="Fashion-MNIST is a Debian package"
)
needs_pedestrians = pytest.mark.skipif(
    not any((Path(folder) / pedestrians.FILE).is_file() for folder in pedestrians.FOLDERS),
    reason="vtest.avi is not here",
)
COMPASS = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}


built = functools.cache(builtin)


def by_ridge(train, train_labels, test, strength=100.0):
    """Labels of the test by linear regression on the classes.   (N, ...), (N,), (M, ...) -> (M,)"""
    x, y = (part.reshape(len(part), -1) / 255.0 for part in (train, test))
    x, y = x - x.mean(0), y - x.mean(0)
    onehot = np.eye(train_labels.max() + 1)[train_labels]
    weights = np.linalg.solve(
        x.T @ x + strength * np.eye(x.shape[1]), x.T @ (onehot - onehot.mean(0))
    )
    return (y @ weights).argmax(1)


def by_neighbour(train, train_labels, test):
    """Labels of the test by the nearest of the training pictures."""
    x, y = (part.reshape(len(part), -1).astype(np.float32) for part in (train, test))
    return train_labels[((x**2).sum(1) - 2 * y @ x.T).argmin(1)]


def around_the_torus(clip, reach):
    """(F, S, S) -> the (down, right) pixels a frame that, taken back, lay all frames best upon each
    other, tried one by one
    """
    x = clip.astype(float) - clip.mean((1, 2), keepdims=True)
    steps = [(dy, dx) for dy in range(-reach, reach + 1) for dx in range(-reach, reach + 1)]

    def taken_back(dy, dx):
        return sum(np.roll(frame, (-t * dy, -t * dx), (0, 1)) for t, frame in enumerate(x))

    return max(steps, key=lambda step: np.square(taken_back(*step)).sum())


def right_by_brute_force(clip, reach=5):
    """(F, S, S) -> the pixels that it goes right, by the least square difference at each step,
    tried one by one
    """
    core, total = np.s_[4:-4, reach:-reach], 0
    for here, after in zip(clip[:-1], clip[1:]):
        steps = [(dy, dx) for dy in (-1, 0, 1) for dx in sorted(range(-reach, reach + 1), key=abs)]
        total += min(
            steps, key=lambda step: np.square(np.roll(here, step, (0, 1)) - after)[core].sum()
        )[1]
    return total


def warp(picture, turn=0.0, scale=1.0, move=(0.0, 0.0)):
    """By SciPy: turned clockwise by `turn` radians, `scale` times as large, moved (down, right).

    (S, S) -> (S, S)
    """
    centre = (np.array(picture.shape) - 1) / 2
    # for (down, right)
    back = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) / scale
    return ndimage.affine_transform(
        picture, back, centre - back @ (centre + move), order=1, mode="nearest"
    )


WARPS = {
    **{name: {"move": 1.75 * np.array(COMPASS[name])} for name in COMPASS},
    "nearer": {"scale": np.exp(0.05)},
    "farther": {"scale": np.exp(-0.05)},
    "clockwise": {"turn": np.radians(4.5)},
    "anticlockwise": {"turn": np.radians(-4.5)},
}


def likeliest_warp(clip):
    """The name of the warp that best takes each frame to the next.   (F, S, S) -> str"""
    core = np.s_[3:-3, 3:-3]

    def error(name):
        pairs = zip(clip[:-1], clip[1:])
        return sum(
            np.square(warp(here, **WARPS[name])[core] - after[core]).mean() for here, after in pairs
        )

    return min(WARPS, key=error)


def idx_bytes(values):
    return (
        bytes([0, 0, 8, values.ndim])
        + struct.pack(f">{values.ndim}I", *values.shape)
        + values.tobytes()
    )


@pytest.fixture
def clothes(tmp_path):
    """A folder like the package's, with pictures that tell their label and their index.

    -> path
    """
    for name, count in (("train", 60), ("t10k", 30)):
        labels = np.arange(count, dtype=np.uint8) * 3 % 10
        images = np.zeros((count, 28, 28), np.uint8)
        images[:, 0, 0], images[:, 2, 1] = labels, np.arange(count)
        (tmp_path / f"{name}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(labels)))
        (tmp_path / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images)))
    return tmp_path


@pytest.fixture
def walk(tmp_path):
    """A film of 80 frames, 768 x 576, in which a bright block goes right by 8 pixels a frame.

    -> path
    """
    av = pytest.importorskip("av")
    path = tmp_path / "walk.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10, width=768, height=576, pix_fmt="yuv420p")
        for k in range(80):
            picture = np.full((576, 768, 3), 60, np.uint8)
            picture[200:280, 8 * k : 48 + 8 * k] = 200
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


# -- every set -------------------------------------------------------------------------------------

SMALL = [
    pytest.param("moving_digits", {"train": 64, "test": 32}, (8, 32, 32, 1), marks=needs_sklearn),
    pytest.param(
        "moving_digits_64", {"train": 64, "test": 32}, (8, 64, 64, 1), marks=needs_sklearn
    ),
    pytest.param("camera", {"train": 64, "test": 32}, (8, 32, 32, 3), marks=needs_sklearn),
    pytest.param("digits", {}, (1, 8, 8, 1), marks=needs_sklearn),
    pytest.param("fashion", {"train": 600, "test": 100}, (1, 28, 28, 1), marks=needs_fashion),
    pytest.param(
        "pedestrians",
        {"train": 64, "test": 32},
        (8, 32, 32, 1),
        marks=[needs_pedestrians, needs_av, pytest.mark.slow],
    ),
]


@pytest.mark.parametrize(("name", "sizes", "shape"), SMALL)
def test_a_set_is_the_same_each_time_and_has_as_many_clips_of_each_class(name, sizes, shape):
    once, again = builtin(name, **sizes), builtin(name, **sizes)

    for part, other, size in zip(once, again, sizes.values() or (None, None)):
        assert part.clips.dtype == np.uint8 and part.clips.shape[1:] == shape
        assert size in (None, len(part)) and len(set(np.bincount(part.labels))) == 1
        assert part.classes == BUILTIN[name].classes and part.labels.max() + 1 == len(part.classes)
        assert part.direction_sensitive == (name != "fashion")
        np.testing.assert_array_equal(part.clips, other.clips)
        np.testing.assert_array_equal(part.labels, other.labels)


@needs_sklearn
@pytest.mark.parametrize("name", ["moving_digits", "moving_digits_64", "camera"])
def test_another_seed_gives_other_clips(name):
    one, other = (builtin(name, seed=seed, train=16, test=16) for seed in (0, 1))

    for part, counterpart in zip(one, other):
        assert (part.clips != counterpart.clips).mean() > 0.5


@needs_sklearn
@pytest.mark.slow
@pytest.mark.parametrize("name", ["moving_digits", "moving_digits_64", "camera"])
@pytest.mark.parametrize("frame", [0, 7])
def test_a_single_frame_does_not_tell_the_class(name, frame):
    train, test = built(name, train=2048, test=512)
    half, channels = train.clips.shape[2] // 2, train.clips.shape[-1]
    small = [
        part.clips[:, frame].reshape(-1, half, 2, half, 2, channels).mean((2, 4))
        for part in (train, test)
    ]

    for guess in (by_ridge, by_neighbour):
        hit = (guess(small[0], train.labels, small[1]) == test.labels).mean()
        assert hit < 1 / 8 + 4 * np.sqrt(1 / 8 * 7 / 8 / len(test)), (
            f"{guess.__name__} is right for {hit:.1%}"
        )


# -- each set --------------------------------------------------------------------------------------


@needs_sklearn
@pytest.mark.parametrize("name, fastest", [("moving_digits", 3), ("moving_digits_64", 6)])
def test_digits_go_where_their_label_says_at_every_speed(name, fastest):
    speeds = set()
    for part in builtin(name, train=64, test=32):
        for clip, label in zip(part.clips[..., 0], part.labels):
            step = around_the_torus(clip, reach=fastest)
            speeds.add(int(np.abs(step).max()))
            down, right = np.sum([COMPASS[word] for word in part.classes[label].split()], axis=0)
            assert tuple(np.sign(step)) == (down, right)
    assert speeds == set(range(1, fastest + 1))


@needs_sklearn
def test_no_image_of_a_digit_is_in_train_and_test():
    train, test = ({image.tobytes() for image in images} for images, _ in samples.digit_images())

    assert len(train) == 1240 and len(test) == 500 and not train & test


@needs_sklearn
def test_the_digits_are_what_their_labels_say():
    train, test = builtin("digits")

    assert (by_neighbour(train.clips, train.labels, test.clips) == test.labels).mean() > 0.93


@needs_sklearn
def test_the_camera_moves_as_its_label_says():
    train, test = builtin("camera", train=64, test=64)

    for part in (train, test):
        found = [likeliest_warp(clip) for clip in part.clips.mean(-1)]
        assert (
            np.mean([name == part.classes[label] for name, label in zip(found, part.labels)]) > 0.95
        )


def test_the_camera_sees_one_side_of_each_photo_in_training_and_the_other_in_the_test(monkeypatch):
    photo = np.full((427, 640, 3), 10, np.uint8)
    photo[:, 352:] = 200
    monkeypatch.setattr(camera, "photos", lambda: [photo, photo + 5])
    train, test = builtin("camera", train=512, test=512)

    assert set(np.unique(train.clips)) == {10, 15} and set(np.unique(test.clips)) == {200, 205}


def test_an_even_sky_and_a_straight_edge_have_no_texture(rng):
    sky = np.full((16, 16, 3), 200, np.uint8)
    slope = np.broadcast_to(
        np.arange(16)[:, None, None] * 9 + np.arange(16)[:, None] * 5, (16, 16, 3)
    ).astype(np.uint8)
    leaves = rng.integers(0, 255, (16, 16, 3)).astype(np.uint8)
    found = camera.texture(np.stack([sky, slope, leaves]))

    assert found[0] == 0 and found[1] < 1e-3 and found[2] > 10 * camera.CLEAR / 2


def test_pixels_between_pixels_are_as_scipys(rng):
    photo = rng.uniform(0, 255, (20, 30, 2)).astype(np.float32)
    down, right = rng.uniform(0, 19, (4, 5)), rng.uniform(0, 29, (4, 5))
    wanted = [ndimage.map_coordinates(photo[..., c], (down, right), order=1) for c in (0, 1)]

    assert np.abs(camera.sampled(photo, down, right) - np.stack(wanted, -1)).max() < 0.51


def test_the_street_is_the_demos(monkeypatch, street):
    demo, _ = street
    monkeypatch.setattr(motion, "load_motion", lambda: demo)
    train, test = builtin("street")

    for part, clips, labels in (
        (train, demo.train_clips, demo.train_labels),
        (test, demo.test_clips, demo.test_labels),
    ):
        assert part.direction_sensitive and np.ptp(np.bincount(part.labels)) == 0
        np.testing.assert_array_equal(part.labels, labels)
        again = np.stack([normalise(clip, "clip") for clip in part.clips[::50]])
        assert np.abs(again - clips[::50]).max() < 0.03


def test_fashion_reads_the_first_of_each_class(clothes):
    train, test = builtin("fashion", train=40, test=20, folder=clothes)

    for part, each in ((train, 4), (test, 2)):
        assert np.bincount(part.labels).tolist() == [each] * 10
        np.testing.assert_array_equal(part.clips[:, 0, 0, 0, 0], part.labels)
        assert part.clips[:, 0, 2, 1, 0].tolist() == list(range(10 * each))


@needs_fashion
def test_fashion_is_learnt_from_its_pictures():
    train, test = builtin("fashion", train=2000, test=500)

    assert (by_neighbour(train.clips, train.labels, test.clips) == test.labels).mean() > 0.7


def test_pedestrians_go_where_their_label_says(walk):
    for part in builtin("pedestrians", train=64, test=16, path=walk):
        bright = part.clips[..., 0] > 130
        # (N, F): the middle of the block
        columns = (bright * np.arange(32)).sum((2, 3)) / bright.sum((2, 3))
        np.testing.assert_array_equal(
            [part.classes[label] == "right" for label in part.labels],
            columns[:, -1] > columns[:, 0],
        )
        np.testing.assert_array_equal(part.clips[::2], part.clips[1::2, ::-1])


@pytest.mark.slow
@needs_pedestrians
@needs_av
def test_pedestrians_of_the_film_go_where_their_label_says():
    train, test = builtin("pedestrians")

    for part in (train, test):
        clips = part.clips[::16, ..., 0].astype(float)
        people = np.abs(clips - np.median(clips, axis=1, keepdims=True))
        assert (
            np.mean([right_by_brute_force(clip) > 0 for clip in people] == (part.labels[::16] == 1))
            > 0.95
        )


@needs_av
def test_pedestrians_are_only_where_somebody_walks_sideways(rng):
    frames = np.full((20, 64, 96), 90, np.uint8)
    for t in range(20):
        frames[t, 4 : 4 + 20, 2 * t : 2 * t + 8] = 200  # goes right above
        frames[t, 2 * t + 8 : 2 * t + 16, 70:90] = 10  # goes down at the right

    windows, labels = pedestrians.walking(frames)

    assert len(windows) and set(labels) == {1}
    assert windows[:, 1].max() <= 16 and windows[:, 2].max() <= 32
    assert not len(pedestrians.walking(frames[:7])[0]) and not len(
        pedestrians.walking(frames[:, :20])[0]
    )


# -- what is absent or wrong -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "sizes", "said"),
    [
        ("moving_digit", {}, "did you mean 'moving_digits'"),
        ("kinetics", {}, "pick one of them"),
        ("street", {"train": 8}, "street takes no sizes; came 'train'"),
        ("camera", {"frames": 16}, "camera takes train, test; came 'frames'"),
        ("camera", {"train": 100}, "train of camera is a multiple of its 8 classes; came 100"),
        ("fashion", {"test": 0}, "test of fashion is a multiple of its 10 classes; came 0"),
        (
            "pedestrians",
            {"test": 2.0},
            "test of pedestrians is a multiple of its 2 classes; came 2.0",
        ),
        (
            "moving_digits",
            {"train": "8"},
            "train of moving_digits is a multiple of its 8 classes; came '8'",
        ),
    ],
)
def test_a_wrong_name_or_size_is_a_sentence(name, sizes, said):
    with pytest.raises(ValueError, match=said):
        builtin(name, **sizes)


def test_an_absent_package_or_file_is_named_with_the_command(monkeypatch, tmp_path):
    with pytest.raises(FileNotFoundError, match="apt-get install dataset-fashion-mnist"):
        builtin("fashion", folder=tmp_path)
    with pytest.raises(FileNotFoundError, match="apt-get install"):
        builtin("pedestrians", path=tmp_path / "none.avi")
    monkeypatch.setitem(sys.modules, "sklearn", None)
    for name in ("digits", "moving_digits", "camera"):
        with pytest.raises(
            ImportError,
            match="scikit-learn, which is not installed: .* -m pip install 'scikit-learn>=",
        ):
            builtin(name)


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[:30],
        lambda b: b"PK" + b,
        lambda b: b[:40] + b"??" + b[42:],
        lambda b: gzip.compress(b"none"),
    ],
)
def test_a_damaged_file_of_fashion_is_named(clothes, damage):
    path = clothes / "train-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match="train-images-idx3-ubyte.gz is not a"):
        builtin("fashion", train=10, test=10, folder=clothes)


def test_pictures_without_labels_are_a_sentence(clothes):
    (clothes / "t10k-labels-idx1-ubyte.gz").write_bytes(
        gzip.compress(idx_bytes(np.zeros(29, np.uint8)))
    )
    with pytest.raises(ValueError, match=r"t10k of .* has \(30, 28, 28\), \(29,\)"):
        builtin("fashion", train=10, test=10, folder=clothes)


def test_more_clips_than_there_are_is_a_sentence(clothes, walk):
    with pytest.raises(ValueError, match="has 6 pictures here; came 7 of each"):
        builtin("fashion", train=70, test=10, folder=clothes)
    with pytest.raises(ValueError, match="clips; came 2000: ask for fewer"):
        builtin("pedestrians", train=2000, path=walk)


def test_importing_the_sets_imports_no_scikit_learn():
    import subprocess

    code = "import mvit_np.data.sets.builtin, sys; print('sklearn' in sys.modules)"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "False"
    )


def test_the_street_keeps_all_but_mean_and_contrast(rng):
    clips = rng.standard_normal((3, 2, 4, 4, 1)).astype(np.float32)
    pixels = as_pixels(clips)

    assert (
        pixels.min((1, 2, 3, 4)).tolist() == [0] * 3
        and pixels.max((1, 2, 3, 4)).tolist() == [255] * 3
    )
    for clip, shown in zip(clips, pixels):
        assert np.corrcoef(clip.ravel(), shown.ravel())[0, 1] > 0.999
