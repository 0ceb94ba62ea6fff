"""Text that others wrote (file, class, tensor names), made fit for a terminal or a table."""

from __future__ import annotations

import difflib

# Of text files that hold such names: those that are not UTF-8 come back as they were.
ENCODING = {"encoding": "utf-8", "errors": "surrogateescape"}
NAMED, LONGEST = 3, 80  # names in a sentence, and letters of each


def plain(text):
    """The text on one line, with whatever does not print, such as escapes, spelled out."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in str(text))


def some(names):
    """The first names and how many more there are: "a, b, c and 2 more"."""
    return ", ".join(plain(name)[:LONGEST] for name in names[:NAMED]) + (
        f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    )


def nearest(word, choices, count=1):
    """The choices that are spelled most like `word`, the nearest first; none where all are far."""
    return difflib.get_close_matches(str(word), choices, n=count, cutoff=0.5)


def did_you_mean(word, choices, otherwise="pick one of them"):
    """The end of a sentence about an unknown word: a question with the nearest choice, if any."""
    near = nearest(word, choices)
    return f"did you mean {near[0]!r}?" if near else otherwise


def are(things):
    """The verb behind them: "is" or "are"."""
    return "is" if len(things) == 1 else "are"


def many(things, one, more=None):
    """How many they are, and what: "1 file", "3 files"."""
    return f"{len(things)} {one if len(things) == 1 else more or one + 's'}"
