"""The files of `mvit-np classify`: a contact sheet or a table, and no file of somebody else's."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path

from ..backend.outputs import carries, check_free, check_not_read, is_drawn_here
from ..data.media import IMAGES, VIDEOS
from ..weights.formats.files import SUFFIXES
from ..weights.load import BEST, MODEL

SHEETS = (".png", ".jpg", ".jpeg", ".pdf", ".svg")  # endings of a contact sheet
TABLE, HEADER = "classes.csv", "path,label_1,probability_1,"  # and how it begins


def sheet_of(path: Path, arguments: Namespace) -> Path:
    """Where the contact sheet of one file goes."""
    out = Path(arguments.out)
    return out if _is_picture(out) else out / f"{path.stem}_attention.png"


def table_of(arguments: Namespace) -> Path:
    """Where the table of several files goes. Raises ValueError where --out names a picture."""
    if arguments.csv:
        return Path(arguments.csv)
    if _is_picture(arguments.out):
        raise ValueError(
            f"more than one file gives a table and no sheet; came --out {arguments.out}: "
            "give a folder or --csv"
        )
    return Path(arguments.out) / TABLE


def _is_picture(out):
    return Path(out).suffix.lower() in SHEETS


def check_target(target: Path, files: Iterable[Path], arguments: Namespace) -> None:
    """Raise ValueError, before anything is computed, where the target is read too or another's."""
    weights = Path(arguments.weights)
    read = [*files, weights, weights / MODEL, weights / BEST]
    check_not_read([target], [*read, arguments.labels] if arguments.labels else read)
    for option, expected in (("csv", "a table"), ("out", "a folder, or a picture of one file")):
        _check_ending(option, getattr(arguments, option), expected)
    check_free(target, is_drawn_here if _is_picture(target) else _is_table)


def _check_ending(option, name, expected):
    """An option without its value takes the next word, which the shell may have made of *.mp4."""
    media = {*VIDEOS, *IMAGES, *SUFFIXES} - {*(SHEETS if option == "out" else ())}
    if name and Path(name).suffix.lower() in media and not Path(name).is_dir():
        raise ValueError(
            f"--{option} is {expected}, and came with {name}, which is called like a video, "
            "a picture or weights: give it a name of its own"
        )


def _is_table(path):
    return carries(path, HEADER.encode())
