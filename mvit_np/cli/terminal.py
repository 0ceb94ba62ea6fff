"""The streams that are printed to, closed or with few letters, and how a problem is told."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from ..backend.plain_text import plain

READER_GONE = 141  # as of a Unix tool that SIGPIPE ends
WIDTH = 80  # characters of a line that is printed
# What the live line shows: with loss and accuracies it fits into WIDTH.
BAR = "{percentage:3.0f}%|{bar}| {rate_fmt}, {remaining} left{postfix}"
RECENT = 20  # steps that the live line of a training averages over


def prepare() -> None:
    """What a stream cannot spell is spelled out, and what goes to a closed one is lost."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def let_go() -> bool:
    """Whether a stream takes no more; what it holds is dropped, and Python ends without a word."""
    broken = False
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            broken = True
    return broken


def tell(problem: Any) -> None:
    """A sentence on stderr. No line but the first begins at the left, whatever names are in it."""
    lines = [plain(line) for line in f"mvit-np: {problem}".split("\n")]
    try:
        print("\n  ".join(lines), file=sys.stderr)
    except OSError:  # nobody reads it
        let_go()


def say(sentence: str) -> None:
    """A sentence on stderr about what one would not expect, above the progress bar if any."""
    tqdm.write(plain(sentence), file=sys.stderr)


def advance(bar: tqdm, done: int, of: int) -> None:
    """A progress bar at `done` of `of`."""
    bar.total = of
    bar.update(done - bar.n)


@contextmanager
def warnings_told() -> Iterator[None]:
    """Warnings are told like problems, without the line of code that they come from."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *where: tell(message)
        yield
