"""The .safetensors format, by its own library."""

from __future__ import annotations

import json
from typing import BinaryIO

import numpy as np

from ...backend.install import pip_install
from ...backend.types import Array

DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BOOL": "bool", "I64": "int64",
    "I32": "int32", "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32",
    "U16": "uint16", "U8": "uint8",
}  # fmt: skip


def read(file: BinaryIO) -> tuple[dict[str, Array], dict[str, str]]:
    """Arrays of an open .safetensors in its order (bfloat16 as float32), and its strings.

    Raises ValueError for a damaged file or a dtype that NumPy lacks, ImportError without the
    library.
    """
    library, data = _library(), file.read()
    try:
        found = dict(library.deserialize(data))  # in no order
    except library.SafetensorError as problem:
        raise ValueError(f"it is damaged ({problem})") from None
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    metadata = dict(header.pop("__metadata__", None) or {})
    return {name: _array(name, **found[name]) for name in header}, metadata


def write(file: BinaryIO, tensors: dict[str, Array], metadata: dict[str, str]) -> None:
    """Write C-contiguous arrays, and strings; the library displaces the values of other arrays.

    Raises ValueError for a dtype that the format lacks, ImportError without the library.
    """
    _library()
    from safetensors.numpy import save

    for name, array in tensors.items():
        if array.dtype.name not in DTYPES.values():
            raise ValueError(
                f"{name} is {array.dtype}; a .safetensors holds {', '.join(DTYPES.values())}: "
                "convert it"
            )
    file.write(save(tensors, metadata=metadata or None))


def widened(bits: Array) -> Array:
    """float32 of bfloat16 given as uint16, its upper half: nothing is rounded."""
    wide = bits.astype("uint32", order="C")
    np.left_shift(wide, 16, out=wide)
    return wide.view("float32")


def _array(name, dtype, shape, data):
    if dtype == "BF16":
        return widened(np.frombuffer(data, "<u2").reshape(shape))
    if dtype not in DTYPES:
        raise ValueError(
            f"tensor {name[:80]!r} is {dtype}, which NumPy lacks: convert it to float32"
        )
    native = np.dtype(DTYPES[dtype])
    array = np.frombuffer(data, native.newbyteorder("<")).reshape(shape)
    return np.require(array.astype(native, copy=False), requirements="W")


def _library():
    try:
        import safetensors
    except ImportError:
        raise ImportError(
            f"a .safetensors file needs the package safetensors: {pip_install('safetensors')}"
        ) from None
    return safetensors
