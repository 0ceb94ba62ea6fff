"""The street that is drawn: it moves as it says, and is the same again."""

import numpy as np
import pytest

from mvit_np.data import drawn_street
from mvit_np.data.sets.motion import shifts


@pytest.mark.parametrize("pan", [-3, -1, 1, 2])
def test_the_picture_goes_as_many_pixels_as_it_says(pan):
    clip = drawn_street(np.random.default_rng(0), (48, 64), frames=5, pan=pan)
    assert clip.shape == (5, 48, 64, 3) and clip.dtype == np.uint8
    for before, after in zip(clip, clip[1:]):
        kept = (after[:, pan:], before[:, :-pan]) if pan > 0 else (after[:, :pan], before[:, -pan:])
        np.testing.assert_array_equal(*kept)
    moves, _ = shifts(clip.mean(axis=-1)[:, :, :48])
    assert (moves == (0, pan)).all()


def test_somebody_walks_and_leaves_the_picture():
    streets = [
        drawn_street(np.random.default_rng(1), (40, 60), 4, 0, walk) for walk in (None, (20, 7))
    ]
    differs = (streets[0] != streets[1]).any(axis=(-1, 1))  # (frames, columns)
    starts = differs.argmax(axis=1)
    assert (np.diff(starts) == 7).all() and differs.sum(axis=1).max() < 10
    gone = drawn_street(np.random.default_rng(1), (40, 60), 4, 0, (-100, 7))
    np.testing.assert_array_equal(gone, streets[0])


def test_it_is_the_same_from_the_same_generator():
    same = [drawn_street(np.random.default_rng(7)) for _ in range(2)]
    np.testing.assert_array_equal(*same)
    assert (drawn_street(np.random.default_rng(8)) != same[0]).any()
