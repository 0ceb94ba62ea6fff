"""The names of classes: of Kinetics-400, of ImageNet-1k, or from a file."""

from __future__ import annotations

import json
import re
import unicodedata
from importlib.resources import files
from pathlib import Path

from ..backend.types import FilePath

OF_SIZE = {400: "kinetics400.txt", 1000: "imagenet1k.txt"}  # a class per line, as models have them
NUMBERED = re.compile(
    r"\s*(\d+)[\s,;:]+(\S.*)"
)  # a line of UCF101's classInd.txt: 1 ApplyEyeMakeup
BREAKS = ("Cc", "Zl", "Zp")  # Unicode's controls, and what ends lines and paragraphs


def labels_for(num_classes: int, path: FilePath | None = None) -> tuple[str, ...]:
    """The class names of a model, in the order of its outputs.   -> tuple of num_classes strings

    path  a text file, a class per line, or JSON: a list, {name: index} or {index: name}. Without
          one, 400 classes are Kinetics', 1000 are ImageNet's, others "class 0", "class 1", ...

    Raises FileNotFoundError, or ValueError for a file that does not name each class once.
    """
    if path is not None:
        return _checked(_read(Path(path))[0], num_classes, path)
    if num_classes in OF_SIZE:
        names = files(__package__).joinpath(OF_SIZE[num_classes])
        return tuple(names.read_text(encoding="utf-8").splitlines())
    return tuple(f"class {index}" for index in range(num_classes))


def class_names(path: FilePath) -> tuple[tuple[str, ...], int]:
    """The names in a file of them, and the number that a label has for the first one.

    The number is 0, unless each line begins with one and they count from 1: as in UCF101's file,
    1 ApplyEyeMakeup. Raises FileNotFoundError, or ValueError for a file that is none, and for a
    name that is there twice.
    """
    names, first = _read(Path(path))
    names = _checked(names, len(names), path)
    if not names:
        raise ValueError(f"a file of classes names some; {path} is empty: fill it in")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"a class has one line; {path} has {twice!r} twice: correct it")
    return names, first


def check_name(name: str, what: str) -> None:
    """Raise ValueError where a class's name has a line break or another control character."""
    if any(unicodedata.category(letter) in BREAKS and letter != "\t" for letter in name):
        raise ValueError(f"the name of a class is one line of text; {what} is {name!r}: correct it")


def _read(path):
    """(the names in a file, in order; the number of the first)"""
    if not path.is_file():
        raise FileNotFoundError(
            f"labels come from a file, and there is none at {path}: check the path"
        )
    try:
        if path.suffix == ".json":
            return _in_order(json.loads(path.read_text(encoding="utf-8-sig"))), 0
        # What is not UTF-8 comes back as it went into a run's classes.txt, from a folder's name.
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape").strip()
        return _without_numbers(text.splitlines())
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as problem:
        raise ValueError(
            f"labels are one class per line, a JSON list or JSON {{name: index}}; {path} is not "
            f"({problem}): correct it"
        ) from None


def _without_numbers(lines):
    """(names, number of the first) of lines that are numbered from 0 or 1; or else as they are."""
    numbered = [found for found in map(NUMBERED.fullmatch, lines) if found]
    numbers = [int(found[1]) for found in numbered]
    if lines and len(numbered) == len(lines) and numbers[0] in (0, 1):
        if numbers == list(range(numbers[0], numbers[0] + len(lines))):
            return [found[2] for found in numbered], numbers[0]
    return lines, 0


def _in_order(content):
    """JSON in one of the usual shapes -> list of names"""
    if isinstance(content, list):
        return [str(value) if isinstance(value, int) else _name(value) for value in content]
    if not isinstance(content, dict):
        raise ValueError("it is neither a list nor names with their indices")
    # {"0": name} or, as ImageNet's usually comes, {"0": [wordnet id, name]}: it has two "crane"s.
    if all(key.isdecimal() for key in content):
        by_index = {int(key): _name(value) for key, value in content.items()}
    else:
        by_index = {index: name for name, index in content.items()}
    if len(by_index) < len(content):
        raise ValueError("two names have one index")
    if absent := [index for index in range(len(by_index)) if index not in by_index]:
        raise ValueError(f"indices count from 0 without gaps, and {absent[0]} is missing")
    return [by_index[index] for index in range(len(by_index))]


def _name(value):
    """A name, or the last of several of one class."""
    name = value[-1] if isinstance(value, list) and value else value
    if not isinstance(name, str):
        raise ValueError(f"{name!r} is no name")
    return name


def _checked(names, num_classes, path):
    # Kinetics' own file has quotation marks inside its names.
    names = tuple(name.strip().strip('"') for name in names)
    if len(names) != num_classes:
        came = f"{path} names {len(names)}: pass its own list"
        raise ValueError(f"labels name each of the model's {num_classes} classes; {came}")
    for entry, name in enumerate(names, 1):
        check_name(name, f"entry {entry} of {path}")
        if not name:
            raise ValueError(f"labels are not empty; entry {entry} of {path} is: fill it in")
    return names
