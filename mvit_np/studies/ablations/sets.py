"""The clips of the experiments: built-in sets, framed pictures, and one of streets and digits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...data.datasets import ArrayClips
from ...data.sets.builtin import BUILTIN, builtin

BOTH = "street and digits"
SIZE = 32  # pixels per side of the models' clips
WAYS = ("left", "right")
CLASSES = tuple(f"{what} to the {way}" for what in ("street", "digit") for way in WAYS)
# Which of the street's clips train and test: about as many are left as there are digits.
EVERY = 2, 8
DIGITS = {"train": 10240, "test": 1024}  # under eight directions, of which two are kept


def classes_of(name: str) -> tuple[str, ...]:
    """The names of a set's classes, without making it."""
    return CLASSES if name == BOTH else BUILTIN[name].classes


def sets_of(name: str, **sizes: int) -> tuple[ArrayClips, ArrayClips]:
    """-> (train, test), each an `ArrayClips`; sizes are the built-in set's."""
    if name == BOTH:
        return street_and_digits()
    train, test = map(_framed, builtin(name, **sizes))
    return train, test


def street_and_digits() -> tuple[ArrayClips, ArrayClips]:
    """(train, test) of four classes: films of streets and digits over noise, going left or right.

    Which of the two it is can be seen in any frame, as can much of what Kinetics asks for; where it
    goes cannot.
    """
    pairs = zip(builtin("street"), builtin("moving_digits", **DIGITS), EVERY)
    train, test = (_joined(_thinned(street, n), digits) for street, digits, n in pairs)
    return train, test


def _framed(data):
    """Black around pictures smaller than the models'.

    Without it they would be enlarged, and cut in a test but not in training.
    """
    missing = [SIZE - length for length in data.clips.shape[2:4]]
    high, wide = ((pixels // 2, (pixels + 1) // 2) for pixels in missing)
    return replace(data, clips=np.pad(data.clips, [(0, 0), (0, 0), high, wide, (0, 0)]))


def _thinned(street, every):
    """Some of the street's clips, each in all the four ways that follow one another in the set."""
    kept = np.arange(len(street)).reshape(4, -1)[:, ::every].ravel()
    return street.clips[kept], street.labels[kept]


def _joined(street, digits):
    ways = [digits.classes.index(way) for way in WAYS]
    kept = np.flatnonzero(np.isin(digits.labels, ways))
    clips = np.concatenate([street[0], digits.clips[kept]])
    labels = np.concatenate([street[1], len(WAYS) + (digits.labels[kept] == ways[1])])
    return ArrayClips(clips, labels, CLASSES, direction_sensitive=True, title=BOTH)
