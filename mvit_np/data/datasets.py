"""What a data set is, and the simplest one: clips in memory. That of videos is in `video_table`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


class BrokenExample(ValueError):
    """An example that cannot be read, by name, and why as a sentence; training takes the next."""

    def __init__(self, name, reason):
        super().__init__(f"{name} cannot be read: {reason}")
        self.name, self.reason = name, reason


class Dataset(Protocol):
    """What can be trained and tested on; several threads may ask at once."""

    classes: tuple[str, ...]  # their names, in the order of a model's outputs
    labels: np.ndarray  # (N,) int64, indices into `classes`
    direction_sensitive: bool  # whether a mirrored clip would be of another class
    notes: tuple[str, ...]  # sentences about what was left out

    def __len__(self):
        """N, the number of examples."""

    def clip(self, index, rng):
        """A clip to train on, at a random time.

        -> (T, H, W, C) uint8; H and W may differ between examples

        Raises BrokenExample where the example cannot be read. What is returned may be a view: do
        not write into it.
        """

    def views(self, index, clips):
        """Clips to test on, uniform in time.   -> (V, T, H, W, C) uint8

        V is `clips`, or 1 where all of them would be the same. Raises BrokenExample where the
        example cannot be read.
        """

    def name_of(self, index):
        """What to call an example in a message, such as its file."""


@dataclass(frozen=True, eq=False)
class ArrayClips:
    """Clips in memory, a `Dataset`; pictures are clips of one frame.

    Raises TypeError for clips that are not uint8 and for labels that are not whole numbers,
    ValueError where sizes do not fit or a label is of no class.
    """

    clips: np.ndarray  # (N, T, H, W, C) uint8
    labels: np.ndarray  # (N,) whole numbers, indices into `classes`
    classes: tuple[str, ...]
    direction_sensitive: bool = False
    title: str = "clip"  # of an example in messages: "clip 17"
    notes = ()  # nothing is left out

    def __post_init__(self):
        clips, labels = np.asarray(self.clips), np.asarray(self.labels)
        if clips.dtype != np.uint8:
            raise TypeError(
                f"clips in memory are uint8, 0 to 255; came {clips.dtype}: scale and convert them"
            )
        if clips.ndim != 5 or not len(clips):
            came = f"came {clips.shape}: give a picture the axis T = 1"
            raise ValueError(f"clips are (N, T, H, W, C) with N above 0; {came}")
        if labels.dtype.kind not in "iu":
            remedy = "give each clip the index of its class"
            raise TypeError(f"labels are whole numbers; came {labels.dtype}: {remedy}")
        if labels.shape != (len(clips),):
            rule = f"there is a label for each of the {len(clips)} clips"
            raise ValueError(f"{rule}; came {labels.shape}: pass (N,) of them")
        if labels.min() < 0 or labels.max() >= len(self.classes):
            came = f"came {labels.min()} to {labels.max()}: name them all"
            raise ValueError(f"labels are indices of the {len(self.classes)} classes; {came}")
        object.__setattr__(self, "clips", clips)
        object.__setattr__(self, "labels", labels.astype(np.int64))
        object.__setattr__(self, "classes", tuple(self.classes))

    def __len__(self):
        return len(self.clips)

    def clip(self, index, rng):
        """The clip itself.   -> (T, H, W, C) uint8, a view"""
        return self.clips[index]

    def views(self, index, clips):
        """The clip itself, once.   -> (1, T, H, W, C) uint8, a view"""
        return self.clips[index : index + 1]

    def name_of(self, index):
        """Its title and number."""
        return f"{self.title} {index}"
