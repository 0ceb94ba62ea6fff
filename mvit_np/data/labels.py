"""The names of classes: of Kinetics-400, of ImageNet-1k, or from a file."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

OF_SIZE = {400: "kinetics400.txt", 1000: "imagenet1k.txt"}  # one class a line, in the order of the models' outputs


def labels_for(num_classes, path=None):
    """The class names of a model, in the order of its outputs.   -> tuple of num_classes strings

    path  a text file with a class a line, or JSON: a list, {name: index} or {index: name}. Without one, 400 classes are
          Kinetics', 1000 are ImageNet's, and others are called "class 0", "class 1", ...

    Raises FileNotFoundError, or ValueError for a file that does not name each class once.
    """
    if path is not None:
        return _checked(_read(Path(path)), num_classes, path)
    if num_classes in OF_SIZE:
        return tuple(files(__package__).joinpath(OF_SIZE[num_classes]).read_text(encoding="utf-8").splitlines())
    return tuple(f"class {index}" for index in range(num_classes))


def _read(path):
    """The names in a file, in order."""
    if not path.is_file():
        raise FileNotFoundError(f"labels come from a file, and there is none at {path}: check the path")
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
        return _in_order(json.loads(text)) if path.suffix == ".json" else text.splitlines()
    except (ValueError, TypeError, KeyError, AttributeError) as problem:
        raise ValueError(
            f"labels are a class a line, a JSON list or JSON {{name: index}}; {path} is not ({problem}): correct it"
        ) from None


def _in_order(content):
    """JSON in one of the usual shapes -> list of names"""
    if isinstance(content, list):
        return content
    if all(key.isdigit() for key in content):  # {"0": name} or, as ImageNet's usually comes, {"0": [wordnet id, name]}
        content = {value if isinstance(value, str) else value[-1]: int(key) for key, value in content.items()}
    by_index = {index: name for name, index in content.items()}
    if len(by_index) < len(content):
        raise ValueError("two names have one index")
    return [by_index[index] for index in range(len(by_index))]


def _checked(names, num_classes, path):
    # Kinetics' own file has quotation marks inside its names.
    names = tuple(str(name).strip().strip('"') for name in names)
    if len(names) != num_classes:
        raise ValueError(f"labels name each of the model's {num_classes} classes; {path} names {len(names)}: pass its own list")
    if not all(names):
        raise ValueError(f"labels are not empty; entry {names.index('') + 1} of {path} is: fill it in")
    return names
