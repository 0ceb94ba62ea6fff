"""The files of `mvit-np bench`: pages, numbers and a figure."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

from ..backend import outputs
from ..backend.outputs import carries, check_free, check_not_read, is_drawn_here, make_folder
from ..backend.plain_text import plain
from ..backend.types import FilePath

# What a page and a file of numbers hold, by which the commands know them as ours.
PAGE, NUMBERS = b"Written by `mvit-np bench", b'"command": "mvit-np bench'


def check_targets(arguments: Namespace) -> None:
    """Raise ValueError, before minutes of measuring, where a target is read too or another's."""
    targets = list(_targets(arguments))
    names = [path for path, _ in targets]
    if twice := [path for path in names if names.count(path) > 1]:
        raise ValueError(
            f"each file has a name of its own, and two are called {twice[0]}: "
            "give one of them another name"
        )
    check_not_read(names, [arguments.source] if arguments.source else [])
    for path, ours in targets:
        check_free(path, ours)
    for path in filter(None, (arguments.json, arguments.figure, arguments.page)):
        make_folder(Path(path).parent)


def _targets(arguments):
    """(path, whether a file there is ours, as a function) of each file that is written."""
    from ..studies.bench.page import FIGURE

    if arguments.json:
        yield Path(arguments.json), _holds_numbers
    if arguments.figure:
        yield picture(arguments.figure), is_drawn_here
    if arguments.page:
        page = Path(arguments.page)
        yield page, _is_page
        if not arguments.source:
            yield page.with_suffix(".json"), _holds_numbers
        if arguments.device in (None, "cpu"):  # a page of ours vouches for the figure beside it
            yield page.parent / FIGURE, lambda path: is_drawn_here(path) or _is_page(page)


def picture(path: FilePath) -> Path:
    """The path of a figure: a name without an ending gets .png."""
    return Path(path) if Path(path).suffix else Path(f"{path}.png")


def _is_page(path):
    return carries(path, PAGE)


def _holds_numbers(path):
    return carries(path, NUMBERS)


def read(path: FilePath, subject: str | None = None) -> dict[str, Any]:
    """The numbers in a file that this command wrote.

    subject   what they are of: None for the processor, else as `studies.bench.device` calls it

    Raises FileNotFoundError where there is no file, ValueError where it holds something else.
    """
    try:
        results = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"there is no file {path}: measure with mvit-np bench --page FILE"
        ) from None
    except (ValueError, RecursionError):
        results = None
    if not isinstance(results, dict) or "cases" not in results or results.get("kind") != subject:
        raise ValueError(
            f"{path} holds no numbers of mvit-np bench: "
            "give the file that --page wrote beside its page"
        )
    return results


def write(path: FilePath, text: str) -> str:
    """Write a text into a file; returns its path, fit to be printed."""
    outputs.write(path, text)
    return plain(path)
