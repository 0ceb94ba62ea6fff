"""The state of a run as plain values for JSON, its arrays separately, and back.

Where an array was there is {"$array": its path}, for one number of NumPy's "$scalar"; a tuple is
{"$tuple": its children}.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...backend.arrays import is_array, to_host
from ...backend.types import Array, Tree
from ...weights.formats import npz_file


def stripped(value: Tree, path: str, arrays: dict[str, Array]) -> Any:
    """What is at a path of the state ("" is all of it), without arrays: these go to `arrays`.

    Raises TypeError for what no snapshot holds, and ValueError where two arrays have one path.
    """
    at = f"{path}." if path else ""
    if isinstance(value, dict):
        pairs = [(_key(key, path), child) for key, child in value.items()]
        return {key: stripped(child, at + key, arrays) for key, child in pairs}
    if isinstance(value, (list, tuple)):
        children = [stripped(child, f"{path}.{i}", arrays) for i, child in enumerate(value)]
        return children if isinstance(value, list) else {"$tuple": children}
    if value is None or type(value) in (bool, int, float, str):
        return value
    if not is_array(value) or value.dtype.name not in npz_file.NUMBERS:
        came = getattr(value, "dtype", type(value).__name__)
        raise TypeError(
            "a state holds arrays of numbers, int, float, bool, str and None; "
            f"came {came} at {path}: convert it"
        )
    if path in arrays:
        raise ValueError(
            f"each array of a state has a path of its own; two are at {path}: "
            "take the dots out of the keys"
        )
    arrays[path] = to_host(value)
    return {"$scalar" if isinstance(value, np.generic) else "$array": path}


def _key(key, path):
    if not isinstance(key, str) or key.startswith("$") or not key.isprintable():
        raise TypeError(
            "keys of a state are printable strings that do not begin with $; "
            f"came {key!r} in {path!r}: rename it"
        )
    return key


def filled(value: Any, arrays: dict[str, Array]) -> Tree:
    """What was `stripped`, with its arrays. Raises KeyError where one of them is missing."""
    if isinstance(value, list):
        return [filled(child, arrays) for child in value]
    if not isinstance(value, dict):
        return value
    match list(value.items()):
        case [("$array", path)]:
            return arrays[path]
        case [("$scalar", path)]:
            return arrays[path][()]
        case [("$tuple", children)]:
            return tuple(filled(child, arrays) for child in children)
    return {key: filled(child, arrays) for key, child in value.items()}
