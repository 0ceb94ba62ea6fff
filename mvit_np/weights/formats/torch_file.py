"""State dicts in torch's files, read without torch: today's zip, the pickles of before 1.6."""

from __future__ import annotations

import io
import math
from functools import cache, partial
from typing import Any, BinaryIO

import numpy as np

from ...backend.types import Array
from .safetensors_file import widened
from .stored_zip import Entry, contents
from .torch_names import Name, Stranger, refuse, the
from .torch_pickle import MAX_BYTES, load
from .torch_records import CALLS, READABLE, Storage, Tensor, storage_of

# Where checkpoints keep the state dict, and their running mean beside it.
KEYS = ("model_state", "state_dict", "model", "model_state_dict", "module")
MEANS = ("state_dict_ema", "model_ema", "ema_state_dict", "model_state_ema", "ema")
MEAN = "$mean"  # the metadata that name the one of these that a file has
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
MAX_GROWTH = 4  # bytes of arrays a byte of file: storages are shared and bfloat16 doubles


def read_zip(file: BinaryIO, entries: dict[str, Entry]) -> tuple[dict[str, Array], dict[str, Any]]:
    """(arrays, metadata) of torch.save's open zip with this directory; raises as `files.read`."""
    pickles = [name for name in entries if name.endswith("/data.pkl") and name.count("/") == 1]
    roots = [name.split("/")[0] for name in pickles]
    if len(roots) != 1 or f"{roots[0]}/constants.pkl" in entries:
        raise ValueError(
            "its zip is TorchScript or not torch's: save the state_dict with torch.save"
        )
    part = {name.removeprefix(f"{roots[0]}/"): entry for name, entry in entries.items()}
    if "byteorder" in part and contents(file, part["byteorder"]).tobytes() != b"little":
        raise ValueError("its numbers are big-endian: save it again on a little-endian machine")
    if part["data.pkl"].size > MAX_BYTES:
        came = f"its pickle has {part['data.pkl'].size} bytes; {MAX_BYTES} describe any model"
        raise ValueError(f"{came}: save the state_dict alone")
    tree = load(io.BytesIO(contents(file, part["data.pkl"]).data), CALLS, partial(storage_of, {}))

    def raw(key):
        if f"data/{key}" not in part:
            raise ValueError(f"its storage {key[:80]!r} is not in the file")
        return contents(file, part[f"data/{key}"])

    return _collect(tree, raw, file.seek(0, io.SEEK_END))


def read_legacy(file: BinaryIO) -> tuple[dict[str, Array], dict[str, Any]]:
    """(arrays, metadata) of a file of torch before 1.6, or saved without zip serialization.

    In a row: the pickles of a magic number, a version, the machine, the tree and the keys of the
    storages, and then for each key the number of elements (int64) and the elements.
    """
    head = io.BytesIO(file.read(MAX_BYTES))
    storages: dict[str, Storage] = {}
    magic = load(head)
    if type(magic) is not int or magic != LEGACY_MAGIC:
        remedy = "save the state_dict with torch.save"
        raise ValueError(f"it is a pickle, but not one that torch.save writes: {remedy}")
    version, machine = load(head), the(dict, load(head))
    if version != 1001 or machine.get("little_endian") is not True:
        came = "its numbers are big-endian, or its version is not 1001"
        raise ValueError(f"{came}: save it again with torch of today")
    tree = load(head, CALLS, partial(storage_of, storages))
    offsets = _legacy_offsets(file, head, the(list, load(head)), storages)

    def raw(key):
        if key not in offsets:
            raise ValueError(f"its storage {key[:80]!r} is not in the file")
        file.seek(offsets[key][0])
        return np.fromfile(file, np.uint8, offsets[key][1])

    return _collect(tree, raw, file.seek(0, io.SEEK_END))


def _legacy_offsets(file, head, keys, storages):
    """{key: (first byte, number of bytes)} of the storages that follow the pickles."""
    offsets, at, end = {}, head.tell(), file.seek(0, io.SEEK_END)
    for key in keys:
        if not isinstance(key, str) or key not in storages or key in offsets:
            raise ValueError("its list of storages names one twice, or one that no tensor has")
        file.seek(at)
        numel = int.from_bytes(file.read(8), "little", signed=True)
        if numel != storages[key].numel:
            told = f"the pickle says {storages[key].numel}"
            raise ValueError(f"its storage {key[:80]!r} has {numel} elements; {told}")
        offsets[key] = (at + 8, numel * storages[key].itemsize)
        at = sum(offsets[key])
        if at > end:
            raise ValueError(f"it is cut short in storage {key[:80]!r}: fetch the file again")
    return offsets


def _collect(tree, raw, file_bytes):
    """Arrays and metadata of a tree; `raw(key)` reads a storage when a tensor first wants it."""
    state, metadata = _state_dict(tree)
    raw, handed_out, tensors = cache(raw), 0, {}
    for name, tensor in state.items():
        _check_entry(name, tensor)
        itemsize = 4 if tensor.storage.dtype == "bfloat16" else tensor.storage.itemsize
        handed_out += math.prod(tensor.size) * itemsize
        if handed_out > MAX_GROWTH * file_bytes:
            came = "its tensors share storages so that they need more than"
            raise ValueError(f"{came} {MAX_GROWTH} times the file")
        try:
            tensors[name] = _array(tensor, raw)
        except ValueError as problem:
            raise ValueError(f"its tensor {name[:80]!r}: {problem}") from None
    return tensors, metadata


def _state_dict(tree):
    """The dict of tensors, under up to two keys in checkpoints, and the plain values on the way."""
    state = the(dict, tree)
    metadata: dict[str, Any] = {}
    for _ in range(2):
        key = next((key for key in KEYS if isinstance(state.get(key), dict)), None)
        if key is None:
            break
        mean = next((name for name in MEANS if isinstance(state.get(name), dict)), None)
        metadata = _plain_values(state) | ({MEAN: mean} if mean else {}) | metadata
        state = state[key]
    return state, metadata


def _plain_values(state):
    """What is no tensor and no list of anything, and a config that is a dict."""
    plain = (str, int, float, type(None))

    def is_kept(name, value):
        return isinstance(value, (*plain, dict) if name == "cfg" else plain)

    named = {name: value for name, value in state.items() if isinstance(name, str)}
    return {name: value for name, value in named.items() if is_kept(name, value)}


def _check_entry(name, tensor):
    if isinstance(tensor, Stranger):
        refuse(tensor)
    if not isinstance(name, str) or not isinstance(tensor, Tensor):
        what = tensor.name if isinstance(tensor, Name) else f"of type {type(tensor).__name__}"
        raise ValueError(
            f"its state dict has under {str(name)[:80]!r} something {what}; a name and a dense "
            f"tensor are wanted (checkpoints keep them under {', '.join(KEYS)})"
        )
    if tensor.storage.dtype not in READABLE:
        came = f"its tensor {name[:80]!r} is {tensor.storage.dtype}"
        raise ValueError(f"{came}; one of {', '.join(READABLE)} is wanted")
    numel, count = math.prod(tensor.size), tensor.storage.count
    last = tensor.offset + sum((n - 1) * stride for n, stride in zip(tensor.size, tensor.stride))
    if numel and (last >= count or numel > count):
        raise ValueError(
            f"its tensor {name[:80]!r} reaches element {last} in a storage of {count}, or repeats "
            "elements, as no weight does"
        )


def _array(tensor, raw):
    """A C-contiguous array of a tensor: a view of its storage where it is contiguous there."""
    storage, widen = tensor.storage, tensor.storage.dtype == "bfloat16"
    dtype = np.dtype("uint16" if widen else storage.dtype)
    if 0 in tensor.size:
        return np.empty(tensor.size, "float32" if widen else dtype)
    data = raw(storage.key)
    if data.size < storage.numel * storage.itemsize:
        raise ValueError(
            f"its storage has {data.size} bytes, too few for {storage.numel} x {storage.dtype}"
        )
    # An axis of one element may have any stride, even one that overflows.
    steps = zip(tensor.size, tensor.stride)
    strides = [stride * storage.itemsize if n > 1 else 0 for n, stride in steps]
    offset = (storage.start + tensor.offset) * storage.itemsize
    array = np.ndarray(tensor.size, dtype.newbyteorder("<"), data, offset, strides)
    flat = np.ascontiguousarray(array.reshape(-1))  # a copy unless it was contiguous
    flat = widened(flat) if widen else flat.astype(dtype, copy=False)
    return flat.reshape(tensor.size)
