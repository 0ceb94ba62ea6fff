"""The names of classes: of Kinetics-400, of ImageNet-1k, or from a file."""

from __future__ import annotations

import json
import unicodedata
from importlib.resources import files
from pathlib import Path

from ..backend.types import FilePath

OF_SIZE = {400: "kinetics400.txt", 1000: "imagenet1k.txt"}  # a class per line, as models have them
BREAKS = ("Cc", "Zl", "Zp")  # Unicode's controls, and what ends lines and paragraphs


def labels_for(num_classes: int, path: FilePath | None = None) -> tuple[str, ...]:
    """The class names of a model, in the order of its outputs.   -> tuple of num_classes strings

    path  a text file, a class per line, or JSON: a list, {name: index} or {index: name}. Without
          one, 400 classes are Kinetics', 1000 are ImageNet's, others "class 0", "class 1", ...

    Raises FileNotFoundError, or ValueError for a file that does not name each class once.
    """
    if path is not None:
        return _checked(_read(Path(path)), num_classes, path)
    if num_classes in OF_SIZE:
        names = files(__package__).joinpath(OF_SIZE[num_classes])
        return tuple(names.read_text(encoding="utf-8").splitlines())
    return tuple(f"class {index}" for index in range(num_classes))


def check_name(name: str, what: str) -> None:
    """Raise ValueError where a class's name has a line break or another control character."""
    if any(unicodedata.category(letter) in BREAKS and letter != "\t" for letter in name):
        raise ValueError(f"the name of a class is one line of text; {what} is {name!r}: correct it")


def _read(path):
    """The names in a file, in order."""
    if not path.is_file():
        raise FileNotFoundError(
            f"labels come from a file, and there is none at {path}: check the path"
        )
    try:
        if path.suffix == ".json":
            return _in_order(json.loads(path.read_text(encoding="utf-8-sig")))
        # What is not UTF-8 comes back as it went into a run's classes.txt, from a folder's name.
        return path.read_text(encoding="utf-8-sig", errors="surrogateescape").strip().splitlines()
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as problem:
        raise ValueError(
            f"labels are one class per line, a JSON list or JSON {{name: index}}; {path} is not "
            f"({problem}): correct it"
        ) from None


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
