"""How an answer differs from the right one, in words: type, shape, numbers, dtype."""

from __future__ import annotations

from typing import Any

import numpy as np

NEAR = 1e-4  # relative to the largest number: so close that the formula must be nearly right


def difference(came: Any, expected: Any, tolerance: float) -> str | None:
    """What is wrong with `came`, array or whole numbers, as the rest of a sentence, or None.

    tolerance  of the numbers of an array, relative to the largest expected one or to 1

    Of dictionaries and lists of arrays, such as a layer's gradients, it names the first wrong one.
    """
    if isinstance(expected, dict) or (isinstance(expected, list) and _holds_trees(expected)):
        return _of_tree(came, expected, tolerance)
    if not isinstance(expected, np.ndarray):
        return _of_whole_numbers(came, expected)
    if type(came) is not np.ndarray:  # a masked array or a matrix computes in its own way
        return f"is {_called(came)}: return a NumPy array of shape {expected.shape}"
    if came.shape != expected.shape:
        flipped = came.ndim > 1 and came.swapaxes(-1, -2).shape == expected.shape
        why = ": its last two axes are swapped" if flipped else ""
        return f"has shape {came.shape} where {expected.shape} is right{why}"
    if came.dtype.kind != "f":
        return f"has dtype {came.dtype} where {expected.dtype} is right"
    return _of_values(came, expected, tolerance) or _of_dtype(came, expected)


def agrees(a: Any, b: Any, tolerance: float) -> bool:
    """Whether two answers are the same numbers in the same shape, right or wrong; nan is nan."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(agrees(a[key], b[key], tolerance) for key in a)
    if _holds_trees(a) and _holds_trees(b):
        return len(a) == len(b) and all(agrees(*pair, tolerance) for pair in zip(a, b))
    a, b = _numbers(a), _numbers(b)
    if a is None or b is None or a.shape != b.shape:
        return False
    return bool(_close(a, b, tolerance).all())


def _holds_trees(value):
    """Whether a value is a list or tuple of arrays, or of what holds arrays in its turn."""
    several = isinstance(value, (list, tuple))
    return several and any(isinstance(x, (dict, np.ndarray)) or _holds_trees(x) for x in value)


def _of_tree(came, expected, tolerance, path=""):
    """What is wrong with the first wrong array of a tree, and where in the tree that is."""
    where = f"at {path} " if path else ""
    if type(came) is not type(expected):
        wanted = "a dictionary" if isinstance(expected, dict) else f"a list of {len(expected)}"
        return f"{where}is {_called(came)}: return {wanted}"
    if isinstance(expected, dict):
        if missing := [key for key in expected if key not in came]:
            return f'{where}lacks "{missing[0]}"'
        if more := [key for key in came if key not in expected]:
            return f"{where}has {more[0]!r}, which is not asked for"
    elif len(came) != len(expected):
        return f"{where}is a list of {len(came)} where one of {len(expected)} is right"
    keys = expected if isinstance(expected, dict) else range(len(expected))
    for key in keys:
        here, part = f"{path}.{key}" if path else str(key), expected[key]
        if isinstance(part, (dict, list)):
            found = _of_tree(came[key], part, tolerance, here)
        elif found := difference(came[key], part, tolerance):
            found = f"at {here} {found}"
        if found:
            return found
    return None


def _numbers(value):
    """`value` as an array of numbers; None where it is no such array."""
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        return None
    return array if array.dtype.kind in "iuf" else None


def _close(a, b, tolerance):
    finite = b[np.isfinite(b)]
    scale = max(1.0, float(np.abs(finite).max(initial=0)))
    return np.isclose(a, b, rtol=0, atol=tolerance * scale, equal_nan=True)


def _of_whole_numbers(came, expected):
    numbers = _numbers(came)
    if numbers is None:
        return f"is {_called(came)} where {expected} is right"
    shown = tuple(numbers.tolist()) if numbers.ndim == 1 else came
    if numbers.shape != np.shape(expected) or not (numbers == np.asarray(expected)).all():
        return f"is {shown} where {expected} is right"
    if numbers.dtype.kind == "f":
        return f"is {shown}, the right number but not a whole one (int): divide with //"
    return None


def _of_values(came, expected, tolerance):
    close = _close(came, expected, tolerance)
    if close.all():
        return None
    gap = np.abs(np.where(np.isfinite(came), came, np.inf) - expected)
    worst = np.unravel_index(gap.argmax(), gap.shape)
    index = ", ".join(map(str, worst))
    wrong = int((~close).sum())
    ours, right = _apart(came[worst], expected[worst])
    pattern = _pattern(came, expected, tolerance) or _place(~close)
    return (
        f"is off in {wrong} of {close.size} entries, most at [{index}]: {ours} where "
        f"{right} is right{pattern}"
    )


def _apart(came, right):
    """Two different numbers in words, with as many digits as it takes to see that they differ."""
    for digits in range(6, 18):
        shown = f"{came:.{digits}g}", f"{right:.{digits}g}"
        if shown[0] != shown[1]:
            break
    return shown


def _pattern(came, expected, tolerance):
    """What all the differences have in common, if anything is plain to see."""
    if not np.isfinite(came).all():
        return " (does exp overflow, or is something divided by zero?)"
    if came.ndim > 1 and agrees(came.swapaxes(-1, -2), expected, tolerance):
        return " (the last two axes are swapped)"
    if agrees(came, -expected, tolerance):
        return " (the sign, everywhere)"
    scale = max(1.0, float(np.abs(expected).max()))
    largest = float(np.abs(came - expected).max()) / scale
    if largest < NEAR:
        return (
            f" (right to about {largest:.0e} everywhere: the formula is right but for a small "
            "number, such as an eps that is added or left out)"
        )
    at = np.unravel_index(np.abs(expected).argmax(), expected.shape)
    factor = float(came[at] / expected[at]) if expected[at] else 0.0
    if factor and agrees(came, factor * expected, tolerance):
        return f" ({factor:.4g} times the right number, everywhere)"
    more = float((came - expected).mean())
    if came.size > 1 and agrees(came, expected + more, tolerance):
        return f" ({more:+.4g} on top of the right number, everywhere)"
    if agrees(np.sort(came, axis=None), np.sort(expected, axis=None), tolerance):
        return " (the right numbers, in another order)"
    return ""


def _place(wrong):
    """Where along one axis all wrong entries lie, or the only index where there is none."""
    if wrong.sum() < 2:
        return ""
    for axis, length in enumerate(wrong.shape):
        others = tuple(a for a in range(wrong.ndim) if a != axis)
        faulty = np.flatnonzero(wrong.any(axis=others))
        if length > 1 and len(faulty) == 1:
            return f" (all of them at {_slice(wrong, axis, faulty[0])})"
        right = np.flatnonzero(~wrong.any(axis=others))
        if length > 2 and len(right) == 1:
            return f" (none of them at {_slice(wrong, axis, right[0])})"
    return ""


def _slice(array, axis, index):
    return "[" + ", ".join([":"] * axis + [str(index)] + [":"] * (array.ndim - axis - 1)) + "]"


def _of_dtype(came, expected):
    if came.dtype == expected.dtype:
        return None
    why = ""
    if (came.dtype, expected.dtype) == (np.float64, np.float32):
        why = (
            ": a float64 on the way widens it, such as np.sqrt(2) (2**0.5 does not) "
            "or np.zeros without dtype"
        )
    return f"has dtype {came.dtype} where {expected.dtype} went in{why}"


def _called(value):
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, (int, float, np.number)):
        return f"a single number, {value}"
    return f"of type {type(value).__name__}"
