"""A state dict as torch.save's zip, for torch.load(weights_only=True); written without torch."""

from __future__ import annotations

import struct
import zipfile
from typing import Any, BinaryIO

import numpy as np

from ...backend.types import Array
from .torch_records import READABLE, STORAGES

_WRITABLE = {*READABLE} - {"bfloat16"}
STORAGE_TYPES = {dtype: name for name, (dtype, _) in STORAGES.items() if dtype in _WRITABLE}
ALIGNMENT = 64  # bytes; where torch.load(mmap=True) expects a storage to start

EMPTY_DICT = b"ccollections\nOrderedDict\n)R"


def write(
    file: BinaryIO, tensors: dict[str, Array], metadata: dict[str, Any], key: str | None = None
) -> None:
    """Write C-contiguous arrays as a state dict: bare, or under `key` with the metadata beside.

    Raises ValueError for a dtype or a type of metadata that is not written here.
    """
    for name, array in tensors.items():
        if array.dtype.name not in STORAGE_TYPES:
            raise ValueError(
                f"{name} is {array.dtype}; a state dict here holds {', '.join(STORAGE_TYPES)}: "
                "convert it"
            )
    with zipfile.ZipFile(file, "w") as archive:
        _add(archive, file, "data.pkl", b"\x80\2" + _tree(tensors, metadata, key) + b".")
        _add(archive, file, "byteorder", b"little")
        for number, array in enumerate(tensors.values()):
            _add(archive, file, f"data/{number}", array.reshape(-1).view("uint8"))
        _add(archive, file, "version", b"3\n")


def _add(archive, file, name, data):
    entry = zipfile.ZipInfo(f"archive/{name}")  # its date is 1980: equal weights are equal files
    pad = -(file.tell() + 30 + len(entry.filename) + 4) % ALIGNMENT
    entry.extra = struct.pack("<HH", 0x4246, pad) + bytes(pad)  # the number of torch's padding
    entry.file_size = len(data)  # tells the zip whether it needs 64 bits
    with archive.open(entry, "w") as target:
        target.write(data)


def _tree(tensors, metadata, key):
    numbered = enumerate(tensors.items())
    state = _dict({name: _tensor(number, array) for number, (name, array) in numbered})
    if key is None:
        return state
    return _dict({key: state} | {name: _plain(name, value) for name, value in metadata.items()})


def _dict(items):
    return EMPTY_DICT + b"(" + b"".join(_text(name) + value for name, value in items.items()) + b"u"


def _tensor(number, array):
    storage_type = STORAGE_TYPES[array.dtype.name].encode()
    key, location, numel = _text(str(number)), _text("cpu"), _int(array.size)
    pid = _text("storage"), storage_type, key, location, numel
    storage = b"(%sctorch\n%sStorage\n%s%s%stQ" % pid
    stride = [int(np.prod(array.shape[axis + 1 :])) for axis in range(array.ndim)]
    parts = storage, _int(0), _ints(array.shape), _ints(stride), b"\x89", EMPTY_DICT
    return b"ctorch._utils\n_rebuild_tensor_v2\n(%stR" % b"".join(parts)


def _plain(name, value):
    if value is None or isinstance(value, bool):
        return {None: b"N", True: b"\x88", False: b"\x89"}[value]
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if isinstance(value, int):
        return _int(value)
    if isinstance(value, str):
        return _text(value)
    came = f"metadata {name!r} is of type {type(value).__name__}"
    raise ValueError(f"{came}; str, int, float, bool or None is wanted")


def _text(text):
    data = text.encode()
    return b"X" + struct.pack("<L", len(data)) + data


def _ints(numbers):
    return b"(" + b"".join(map(_int, numbers)) + b"t"


def _int(number):
    length = number.bit_length() // 8 + 1
    if length > 255:
        rule = "a whole number in metadata has at most 254 bytes"
        raise ValueError(f"{rule}; came one of {length}: store it as a string")
    return b"\x8a" + bytes([length]) + number.to_bytes(length, "little", signed=True)
