"""What a field of a recipe may hold, how it is read from a command line, and what goes together."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ...backend.plain_values import is_number, is_whole, tuples

LARGEST = 1e100  # of a number: products of some stay finite
SHOWN = 80  # letters of a value in a message
RENAMED = {  # fields, as an earlier version called them
    "rate": "lr", "rate_batch": "lr_batch", "start_rate": "start_lr", "end_rate": "end_lr",
}  # fmt: skip


def under_new_names(fields: dict[str, Any]) -> dict[str, Any]:
    """{name: value} with `lr` for an earlier version's `rate`, and so on.

    Raises ValueError where a field comes under both names.
    """
    if twice := [old for old, new in RENAMED.items() if old in fields and new in fields]:
        old, new = twice[0], RENAMED[twice[0]]
        raise ValueError(f"{old} is called {new} now, and both came: give {new} alone")
    return {RENAMED.get(name, name): value for name, value in fields.items()}


@dataclass(frozen=True)
class FieldType:
    """What a field may hold."""

    rule: str  # in words, after "field is ..."
    good: Callable[[Any], bool]  # tests a value whose lists are tuples already
    example: str
    text: bool = False  # words are taken as they are
    read: Callable[[Any], Any] = lambda value: value  # from another spelling

    def parsed(self, value: Any) -> Any:
        """A value that may be a text from a command line, as plain values."""
        if not isinstance(value, str) or self.text:
            return None if self.text and value == "none" else value
        return _plain(value)

    def fitting(self, name: str, value: Any, default: Any) -> Any:
        """The value as the field holds it. Raises ValueError, with the rule, for a wrong one."""
        value = self.read(tuples(value))
        if isinstance(default, float) and is_whole(value) and abs(value) <= LARGEST:
            value = float(value)
        if not self.good(value):
            raise ValueError(
                f"{name} is {self.rule}, came {shown(value)}: give such as {self.example}"
            )
        return value


def option(default: Any, field_type: FieldType, about: str) -> Any:
    """A dataclass field of that `FieldType`; `about` says in words what it decides."""
    metadata = {"field_type": field_type, "about": about}
    if default == {}:
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


def one_of(*names: str) -> FieldType:
    """One of some words."""
    return FieldType(f"one of {', '.join(names)}", lambda v: v in names, names[0], text=True)


def _plain(text):
    """What a command line says: Python's numbers and tuples, true, false, none, or else words."""
    named = {"true": True, "false": False, "none": None}
    if text.strip().lower() in named:
        return named[text.strip().lower()]
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        # The last two are of thousands of brackets.
        return tuple(part.strip() for part in text.split(",")) if "," in text else text.strip()


def shown(value: Any) -> str:
    """A value in a message. (Python refuses to spell whole numbers of thousands of digits.)"""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        return f"a {type(value).__name__} that is too long to show"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _is_number(v):
    return is_number(v) and -LARGEST <= v <= LARGEST


def _is_pair(v, good=_is_number):
    return isinstance(v, tuple) and len(v) == 2 and all(map(good, v))


def _views(value):
    """5x3 and 5 -> (5, 3) and (5, 1)"""
    if is_whole(value):
        return (value, 1)
    if isinstance(value, str):
        parts = value.lower().split("x")
        return tuple(int(part) if part.strip().isdecimal() else part for part in parts)
    return value


def _none(value):
    return None if value == "none" else value


def _words(value):
    return (value,) if isinstance(value, str) else value or ()


def _is_words(value):
    return isinstance(value, tuple) and all(isinstance(word, str) for word in value)


def _is_word(value):
    return isinstance(value, str) and value != ""


def _is_level(value):
    return _is_number(value) or isinstance(value, tuple) and all(map(_is_number, value))


def _above_0(level):
    return min(level if isinstance(level, tuple) else (level,), default=0) > 0


def _float(value):
    return float(value) if _is_number(value) else value


COUNT = FieldType("a whole number >= 1", lambda v: is_whole(v, 1), "1")
NATURAL = FieldType("a whole number >= 0", lambda v: is_whole(v, 0), "0")
POSITIVE = FieldType("a number above 0", lambda v: _is_number(v) and v > 0, "1")
TAU = FieldType("a number above 0", POSITIVE.good, "4", read=_float)
NOT_NEGATIVE = FieldType("a number >= 0", lambda v: _is_number(v) and v >= 0, "0")
SHARE = FieldType("a share in [0, 1]", lambda v: _is_number(v) and 0 <= v <= 1, "0.5")
SHARE_BELOW_1 = FieldType("a share in [0, 1)", lambda v: _is_number(v) and 0 <= v < 1, "0")
SHARE_ABOVE_0 = FieldType("a share in (0, 1]", lambda v: _is_number(v) and 0 < v <= 1, "0.75")
MAGNITUDE = FieldType("a number in [0, 10]", lambda v: _is_number(v) and 0 <= v <= 10, "7")
SWITCH = FieldType("true or false", lambda v: isinstance(v, bool), "true")
TEXT = FieldType("text", _is_word, "a name", text=True)
MAYBE_TEXT = FieldType(
    "text or none", lambda v: v is None or _is_word(v), "a name", text=True, read=_none
)
FIELDS = FieldType("a table", lambda v: isinstance(v, dict), "{ drop_path = 0.1 }")
PATHS = FieldType("paths of parameters", _is_words, "head.w", read=_words)
TWO_SHARES = FieldType(
    "two shares in [0, 1)", lambda v: _is_pair(v, SHARE_BELOW_1.good), "0.9,0.999"
)
ASPECT = FieldType(
    "two numbers above 0, the lower first",
    lambda v: _is_pair(v, POSITIVE.good) and v[0] <= v[1],
    "0.75,1.333",
)
MAYBE_AREA = FieldType(
    "two shares above 0, the lower first, or none",
    lambda v: v is None or (_is_pair(v, POSITIVE.good) and v[0] <= v[1] <= 1),
    "0.08,1",
    read=_none,
)
NORMALISATION = FieldType(
    "one of video, imagenet, clip, or a mean and a deviation, each a number or one a channel",
    lambda v: v in ("video", "imagenet", "clip") or _is_pair(v, _is_level) and _above_0(v[1]),
    "video",
)
VIEWS = FieldType("clips x crops", lambda v: _is_pair(v, COUNT.good), "5x3", read=_views)


def check_together(r: Any) -> None:
    """Raise ValueError where the values of a recipe, each of them possible, do not go together."""
    if r.end_lr > r.lr or r.start_lr > r.lr:
        lower = f"start_lr {r.start_lr} or end_lr {r.end_lr}"
        raise ValueError(f"lr is the peak, came {r.lr} under {lower}: raise it")
    if r.holdout and r.tests is not None:
        raise ValueError(
            f"the tests are held out or given, came holdout {r.holdout} and tests {r.tests}: "
            "leave one of them out (holdout = 0)"
        )
    if r.accumulate > r.batch:
        raise ValueError(
            f"a part holds a clip, came {r.accumulate} parts of {r.batch} clips: accumulate less"
        )
    if r.batch % r.repeats:
        raise ValueError(
            f"repeats divide the batch, came {r.repeats} for {r.batch} clips: "
            f"give a multiple of {r.repeats}"
        )
    if (r.mixup or r.cutmix) and r.mix_p and r.batch % 2:
        raise ValueError(
            f"clips are mixed in pairs, came a batch of {r.batch}: give an even one, or mix_p = 0"
        )
    if r.probe and (r.freeze or r.cutmix and r.mix_p):
        raise ValueError(
            "a probe learns the head from features, which have no picture to cut and nothing to "
            f"freeze, came cutmix {r.cutmix} and freeze {r.freeze}: give 0 and none"
        )
    if r.graph and r.device == "cpu":
        raise ValueError(
            "a graph is replayed by a GPU, came graph = true for device cpu: "
            "give graph = false, or device = cuda"
        )
    if r.graph and r.accumulate > 1:
        raise ValueError(
            f"a graph holds a batch in one part, came {r.accumulate}: "
            "give accumulate = 1, or graph = false"
        )
