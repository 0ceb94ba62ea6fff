"""What options accept: each function raises ArgumentTypeError, with its rule, for other text."""

from __future__ import annotations

import argparse
import math
from typing import Any, TypeAlias

# The parsers of the commands, whose class argparse has no public name for.
Commands: TypeAlias = Any
# Errors that a user made: they are answered with their sentence alone.
MISTAKES = (ValueError, TypeError, OSError, ImportError)


def count(text: str) -> int:
    """A whole number >= 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number >= 1, came {text!r}")
    return int(text)


def positive(text: str) -> float:
    """A number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"a number above 0, came {text!r}")
    return value


def views(text: str) -> tuple[int, int]:
    """5x3 -> (5, 3); 5 -> (5, 1)"""
    clips, _, crops = (text if "x" in text.lower() else f"{text}x1").lower().partition("x")
    try:
        return count(clips), count(crops)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"clips x crops, such as 5x3; came {text!r}") from None


def file_path(text: str) -> str:
    """A file or folder; an empty text would be the current folder, which nobody has named."""
    if not text:
        raise argparse.ArgumentTypeError(
            "a file or a folder, came an empty text (a variable of the shell that is not set?)"
        )
    return text
