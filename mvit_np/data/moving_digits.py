"""A digit moves in one of eight directions over noise: which way? What moves, and where it is, says nothing about it.

digit -> enlarged -> laid on a torus (what leaves the picture at one side comes in at the other) -> shifted -> noise added.

Every image goes in under all eight directions. On the torus a place is as likely in any frame of any direction as another,
so a single frame says nothing at all, and neither does the first one.
"""

import numpy as np

from .samples import digit_images

# Where the digit goes, as the viewer sees it.
CLASSES = ("right", "down right", "down", "down left", "left", "up left", "up", "up right")
STEPS = np.array([(0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1)])  # (down, right) of each class
FRAMES, SIZE = 8, 32  # of a clip; pixels a side
ENLARGED = 2  # times
FASTEST = 3  # pixels a frame, along each axis that it moves on
DIGIT, NOISE = 160, 96  # brightness of the digit at most, and of the noise below, together within 0..255


def moving_digits(rngs, train=4096, test=1024):
    """-> train, test, each clips (N, 8, 32, 32, 1) uint8 and labels (N,) int64, an eighth of each direction. No image
    is in both."""
    parts = zip(rngs, digit_images(), (train, test))
    return tuple(_moving(rng, images, clips // len(CLASSES)) for rng, (images, _), clips in parts)


def _moving(rng, images, count):
    """`count` images under each direction."""
    labels = np.tile(np.arange(len(CLASSES)), count)
    rounds = -(-count // len(images))
    chosen = np.concatenate([rng.permutation(len(images)) for _ in range(rounds)])[:count].repeat(len(CLASSES))
    starts = rng.integers(SIZE, size=(len(labels), 1, 2))
    speeds = rng.integers(1, FASTEST + 1, size=(len(labels), 1, 1))
    places = starts + np.arange(FRAMES)[:, None] * speeds * STEPS[labels][:, None]  # (N, 8, 2)

    noise = rng.integers(NOISE, size=(len(labels), FRAMES, SIZE, SIZE), dtype=np.uint8)
    return (shifted(enlarged(images)[chosen], places) + noise)[..., None], labels


def enlarged(images):
    """(N, 8, 8) uint8 -> (N, 32, 32) uint8, dimmed to `DIGIT`, at the top left of an empty picture"""
    pictures = np.zeros((len(images), SIZE, SIZE), np.uint8)
    dimmed = (images * (DIGIT / 256)).astype(np.uint8)
    large = dimmed.repeat(ENLARGED, 1).repeat(ENLARGED, 2)
    pictures[:, : large.shape[1], : large.shape[2]] = large
    return pictures


def shifted(pictures, places):
    """Pictures (N, S, S) with the top left corner at places (N, F, 2), around the torus.   -> (N, F, S, S)"""
    size = pictures.shape[-1]
    down, right = (np.arange(size) - places[..., axis, None] for axis in (0, 1))  # (N, F, S): the row and column to look up
    which = np.arange(len(pictures))[:, None, None, None]
    return pictures[which, (down % size)[..., None], (right % size)[:, :, None]]
