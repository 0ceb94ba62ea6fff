"""The .npz format: each array under its name, strings as metadata, nothing pickled."""

from __future__ import annotations

import io
import math
import sys
import tokenize
import zipfile
from typing import BinaryIO

import numpy as np

from ...backend.types import Array
from .stored_zip import Entry, contents

NUMBERS = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64",
)  # fmt: skip
NPY_HEAD = 1024  # bytes; numbers need a hundred, and Python parses a long one by deep recursion


def read(file: BinaryIO, entries: dict[str, Entry]) -> tuple[dict[str, Array], dict[str, str]]:
    """Arrays of numbers, and 0-d string arrays as metadata, of an open .npz with this directory.

    Raises ValueError for an entry that is damaged or of another type.
    """
    tensors, metadata = {}, {}
    for entry in entries.values():
        name = entry.name.removesuffix(".npy")
        try:
            array = _npy(contents(file, entry))
        except ValueError as problem:
            raise ValueError(f"its entry {name[:80]!r}: {problem}") from None
        if array.dtype.kind == "U":
            metadata[name] = str(array)
        else:
            tensors[name] = array
    return tensors, metadata


def _npy(data):
    shape, fortran, dtype, start = _npy_header(data[:NPY_HEAD].tobytes())
    if dtype.name not in NUMBERS and not (dtype.kind == "U" and shape == ()):
        came = f"an array of {dtype} is neither numbers nor one string"
        raise ValueError(f"{came}, and objects are never unpickled")
    body, whole = data[start:], all(type(length) is int and length >= 0 for length in shape)
    if not whole or math.prod(shape) * dtype.itemsize != body.size:
        raise ValueError(f"shape {shape} of {dtype} does not fill its {body.size} bytes")
    if dtype.kind == "U" and body.view(f"{dtype.byteorder}u4").max(initial=0) > sys.maxunicode:
        raise ValueError("its text has letters that do not exist")
    array = body.view(dtype).reshape(shape, order="F" if fortran else "C")
    return np.asarray(array, dtype.newbyteorder("="), order="C")


def _npy_header(data):
    """Shape, whether in Fortran order, dtype, and where the numbers start."""
    head = io.BytesIO(data)
    if np.lib.format.read_magic(head) != (1, 0):
        raise ValueError("a .npy of version 1.0 is wanted, which numbers always have")
    try:
        return *np.lib.format.read_array_header_1_0(head, max_header_size=NPY_HEAD), head.tell()
    except (SyntaxError, tokenize.TokenError):  # NumPy lets its parser's own errors through
        raise ValueError("its header is damaged") from None


def write(file: BinaryIO, tensors: dict[str, Array], metadata: dict[str, str]) -> None:
    """Write arrays, and strings as 0-d arrays; uncompressed, so that they can be read in place.

    Raises ValueError for one name twice and for a dtype that is no number.
    """
    clash = next((name for name in metadata if name in tensors), None)
    if clash is not None:
        raise ValueError(
            f"a .npz has one entry per name; {clash!r} is both a tensor and metadata: rename one"
        )
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in (tensors | metadata).items():
            array = np.asarray(array)
            if array.dtype.name not in NUMBERS and array.dtype.kind != "U":
                raise ValueError(
                    f"{name} is {array.dtype}; a .npz here holds {', '.join(NUMBERS)}: convert it"
                )
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)
