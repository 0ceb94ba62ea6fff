"""What a model needs besides its parameters and its config, and takes along in its file."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from ..backend.plain_text import plain
from ..backend.plain_values import is_number, tuples
from ..model.config import MViTConfig


@dataclass(frozen=True)
class About:
    """How to feed a model and what its scores mean. None: unknown.

    classes     the names of the classes, in the order of the scores
    tau         frames of 1/30 s from one frame of a clip to the next
    normalise   a key of `data.clips.NORMALISATIONS`, or (mean, deviation) of pixels in 0..1: each a
                number, or a tuple of one per channel

    Raises ValueError for anything else.
    """

    classes: tuple[str, ...] | None = None
    tau: float | None = None
    normalise: str | tuple | None = None

    def __post_init__(self) -> None:
        classes, tau, normalise = self.classes, self.tau, self.normalise
        are_names = isinstance(classes, tuple) and all(isinstance(n, str) for n in classes)
        _require(classes is None or are_names, "classes is a tuple of names", classes)
        above = tau is None or is_number(tau) and tau > 0
        _require(above, "tau is a number above 0", tau)
        rule = "normalise is a name, or (mean, deviation) with deviations above 0"
        known = normalise is None or isinstance(normalise, str) or _is_pair(normalise)
        _require(known, rule, normalise)


def to_text(about: About) -> str:
    """What an `About` says, as JSON text; `from_text` reads it."""
    return json.dumps(dataclasses.asdict(about))


def from_text(text: str | None) -> About:
    """The `About` of a text by `to_text`; None is a file that says nothing.

    Raises ValueError for a damaged text.
    """
    if text is None:
        return About()
    try:
        return About(**{name: tuples(value) for name, value in json.loads(text).items()})
    except (TypeError, AttributeError, RecursionError, ValueError) as problem:
        came = f"what it says about its classes and clips is damaged ({plain(problem)[:200]})"
        raise ValueError(f"{came}: save it again") from None


def check_classes(about: About, config: MViTConfig) -> None:
    """Raise ValueError where a model has another number of classes than there are names."""
    if about.classes is not None and len(about.classes) != config.num_classes:
        came = f"came {len(about.classes)} names for {config.num_classes} classes"
        raise ValueError(f"each class has a name; {came}: give one for each")


def _require(holds, rule, value):
    if not holds:
        raise ValueError(f"{rule}; came {plain(repr(value))[:80]}: give that, or None for unknown")


def _is_pair(value):
    if not isinstance(value, tuple) or len(value) != 2:
        return False
    return all(map(_is_level, value)) and min(_numbers(value[1])) > 0


def _is_level(value):
    numbers = _numbers(value)
    return len(numbers) > 0 and all(map(is_number, numbers))


def _numbers(value):
    return value if isinstance(value, tuple) else (value,)
