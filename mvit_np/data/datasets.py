"""What a data set is, and the simplest one: clips in memory. That of videos is in `video_table`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np

from ..backend.types import Array, Generator


class BrokenExample(ValueError):
    """An example that cannot be read, by name, and why as a sentence; training takes the next."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} cannot be read: {reason}")
        self.name, self.reason = name, reason


class Dataset(Protocol):
    """What can be trained and tested on; several threads may ask at once.

    classes              their names, in the order of a model's outputs
    labels               (N,) int64, indices into `classes`
    direction_sensitive  whether a mirrored clip would be of another class
    notes                sentences about what was left out
    """

    if TYPE_CHECKING:  # nothing writes into them: frozen fields and properties will do

        @property
        def classes(self) -> tuple[str, ...]: ...
        @property
        def labels(self) -> Array: ...
        @property
        def direction_sensitive(self) -> bool: ...
        @property
        def notes(self) -> tuple[str, ...]: ...

    def __len__(self) -> int:
        """N, the number of examples."""

    def clip(self, index: int, rng: Generator) -> Array:
        """A clip to train on, at a random time.

        -> (T, H, W, C) uint8; H and W may differ between examples

        Raises BrokenExample where the example cannot be read. What is returned may be a view: do
        not write into it.
        """

    def views(self, index: int, clips: int) -> Array:
        """Clips to test on, uniform in time.   -> (V, T, H, W, C) uint8

        V is `clips`, or 1 where all of them would be the same. Raises BrokenExample where the
        example cannot be read.
        """

    def name_of(self, index: int) -> str:
        """What to call an example in a message, such as its file."""


@dataclass(frozen=True, eq=False)
class ArrayClips:
    """Clips in memory, a `Dataset`; pictures are clips of one frame.

    Raises TypeError for clips that are not uint8 and for labels that are not whole numbers,
    ValueError where sizes do not fit or a label is of no class.
    """

    clips: Array  # (N, T, H, W, C) uint8
    labels: Array  # (N,) whole numbers, indices into `classes`
    classes: tuple[str, ...]
    direction_sensitive: bool = False
    title: str = "clip"  # of an example in messages: "clip 17"
    notes: ClassVar[tuple[str, ...]] = ()  # nothing is left out

    def __post_init__(self) -> None:
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

    def __len__(self) -> int:
        return len(self.clips)

    def clip(self, index: int, rng: Generator) -> Array:
        """The clip itself.   -> (T, H, W, C) uint8, a view"""
        return self.clips[index]

    def views(self, index: int, clips: int) -> Array:
        """The clip itself, once.   -> (1, T, H, W, C) uint8, a view"""
        return self.clips[index : index + 1]

    def name_of(self, index: int) -> str:
        """Its title and number."""
        return f"{self.title} {index}"
