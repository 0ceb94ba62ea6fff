"""State dicts in torch's .pth, .pyth and .pt files, read without torch: today's zip, and the row of
pickles of before 1.6.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from functools import cache, partial

import numpy as np

from .safetensors_file import widened
from .stored_zip import contents
from .torch_names import Name, Stranger, arguments_of, refuse, the
from .torch_pickle import MAX_BYTES, load

# where checkpoints keep the state dict
KEYS = ("model_state", "state_dict", "model", "model_state_dict", "module")
# and their running mean beside it
MEANS = ("state_dict_ema", "model_ema", "ema_state_dict", "model_state_ema", "ema")
MEAN = "$mean"  # the metadata that name the one of these that a file has
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
MAX_NDIM = 64  # NumPy's limit, and torch's
# bytes of arrays a byte of file: tensors may share storages and bfloat16 doubles, but not without
# end
MAX_GROWTH = 4

# torch's storage classes: dtype and bytes an element
STORAGES = {
    "Float": ("float32", 4), "Double": ("float64", 8), "Half": ("float16", 2), "BFloat16": ("bfloat16", 2),
    "Long": ("int64", 8), "Int": ("int32", 4), "Short": ("int16", 2), "Char": ("int8", 1), "Byte": ("uint8", 1),
    "Bool": ("bool", 1), "ComplexFloat": ("complex64", 8), "ComplexDouble": ("complex128", 16), "QInt8": ("qint8", 1),
    "QUInt8": ("quint8", 1), "QInt32": ("qint32", 4), "Untyped": ("untyped", 1),
}  # fmt: skip
READABLE = (
    "float32",
    "float64",
    "float16",
    "bfloat16",
    "int64",
    "int32",
    "int16",
    "int8",
    "uint8",
    "bool",
)
DTYPES = (
    *READABLE,
    "uint64",
    "uint32",
    "uint16",
    "complex64",
    "complex128",
    "float8_e4m3fn",
    "float8_e5m2",
)


@dataclass(frozen=True, slots=True)
class Storage:
    """Elements `start` to `start + count` of the `numel` that the file keeps under `key`."""

    key: str
    dtype: str
    itemsize: int
    numel: int
    start: int
    count: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """A strided view of a storage; offset and stride in elements."""

    storage: Storage
    offset: int
    size: tuple
    stride: tuple


def read_zip(file, entries):
    """(arrays, metadata) of an open zip of torch.save with this directory; raises ValueError, see
    `files.read`.
    """
    roots = [
        name.split("/")[0]
        for name in entries
        if name.endswith("/data.pkl") and name.count("/") == 1
    ]
    if len(roots) != 1 or f"{roots[0]}/constants.pkl" in entries:
        raise ValueError(
            "its zip is TorchScript or not torch's: save the state_dict with torch.save"
        )
    part = {name.removeprefix(f"{roots[0]}/"): entry for name, entry in entries.items()}
    if "byteorder" in part and contents(file, part["byteorder"]).tobytes() != b"little":
        raise ValueError("its numbers are big-endian: save it again on a little-endian machine")
    if part["data.pkl"].size > MAX_BYTES:
        raise ValueError(
            f"its pickle has {part['data.pkl'].size} bytes; {MAX_BYTES} describe any model: save "
            "the state_dict alone"
        )
    tree = load(io.BytesIO(contents(file, part["data.pkl"])), CALLS, partial(_storage, {}))

    def raw(key):
        if f"data/{key}" not in part:
            raise ValueError(f"its storage {key[:80]!r} is not in the file")
        return contents(file, part[f"data/{key}"])

    return _collect(tree, raw, file.seek(0, io.SEEK_END))


def read_legacy(file):
    """(arrays, metadata) of an open file of torch before 1.6, or of torch.save(...,
    _use_new_zipfile_serialization=False).

    In a row: the pickles of a magic number, a version, the machine, the tree and the keys of the
    storages, and then for each key the number of elements (int64) and the elements.
    """
    head, storages = io.BytesIO(file.read(MAX_BYTES)), {}
    magic = load(head)
    if type(magic) is not int or magic != LEGACY_MAGIC:
        raise ValueError(
            "it is a pickle, but not one that torch.save writes: save the state_dict with "
            "torch.save"
        )
    version, machine = load(head), the(dict, load(head))
    if version != 1001 or machine.get("little_endian") is not True:
        raise ValueError(
            "its numbers are big-endian, or its version is not 1001: save it again with torch of "
            "today"
        )
    tree = load(head, CALLS, partial(_storage, storages))
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
            raise ValueError(
                f"its storage {key[:80]!r} has {numel} elements; the pickle says "
                f"{storages[key].numel}"
            )
        offsets[key] = (at + 8, numel * storages[key].itemsize)
        at = sum(offsets[key])
        if at > end:
            raise ValueError(f"it is cut short in storage {key[:80]!r}: fetch the file again")
    return offsets


# ---- what a pickle of torch's may call: functions of the arguments that make records


def _storage(storages, pid):
    """The record of a persistent id; the first of each key also goes to `storages`."""
    word, storage_type, key, location, numel, view = arguments_of(pid, 5, 6)
    dtype = the(Name, storage_type).name.split(".")[-1].removesuffix("Storage")
    if the(str, word) != "storage" or dtype not in STORAGES:
        raise ValueError(
            "its pickle refers to something outside that is no storage, or one of unknown dtype "
            f"({dtype})"
        )
    _, start, count = (None, 0, numel) if view is None else arguments_of(the(tuple, view), 3, 3)
    _check_counts((numel, start, count))
    if start + count > numel:
        raise ValueError("its pickle has a view of a storage that reaches outside of it")
    record = Storage(the(str, key), *STORAGES[dtype], numel, start, count)
    storages.setdefault(record.key, record)
    return record


def _tensor(arguments):
    storage, offset, size, stride, *_ = arguments_of(arguments, 4, 7)
    if not len(the(tuple, size)) == len(the(tuple, stride)) <= MAX_NDIM:
        raise ValueError(
            f"its pickle has a tensor of {len(size)} sizes and {len(stride)} strides: at most "
            f"{MAX_NDIM} of each"
        )
    _check_counts((offset, *size, *stride))
    return Tensor(the(Storage, storage), offset, size, stride)


def _parameter(arguments):
    tensor = arguments_of(arguments, 3, 4)[0]
    return tensor if isinstance(tensor, Name) else the(Tensor, tensor)


def _check_counts(numbers):
    if not all(type(n) is int and 0 <= n < 2**62 for n in numbers):
        raise ValueError(
            "its pickle has a size, stride or offset that is negative, huge or no whole number"
        )


def _named(name):
    return lambda arguments: Name(name)


CALLS = {
    **{f"torch.{dtype}Storage": None for dtype in STORAGES},
    **{f"torch.{dtype}": None for dtype in DTYPES},
    **dict.fromkeys(
        ("torch.storage.UntypedStorage", "torch.storage.TypedStorage", "torch.per_tensor_affine")
    ),
    "torch.Size": lambda arguments: the(tuple, arguments_of(arguments, 1, 1)[0]),
    "torch.device": _named("a device"),
    "torch.serialization._get_layout": _named("a layout"),
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._utils._rebuild_tensor_v3": _named("a tensor of a dtype that MViT has no use for"),
    "torch._utils._rebuild_qtensor": _named("a quantized tensor"),
    "torch._utils._rebuild_sparse_tensor": _named("a sparse tensor"),
}


# ---- from records to arrays


def _collect(tree, raw, file_bytes):
    """Arrays and metadata of a tree; `raw(key)` are the bytes of a storage, read where a tensor is
    first wanted from it.
    """
    state, metadata = _state_dict(tree)
    raw, handed_out, tensors = cache(raw), 0, {}
    for name, tensor in state.items():
        _check_entry(name, tensor)
        handed_out += math.prod(tensor.size) * (
            4 if tensor.storage.dtype == "bfloat16" else tensor.storage.itemsize
        )
        if handed_out > MAX_GROWTH * file_bytes:
            raise ValueError(
                f"its tensors share storages so that they need more than {MAX_GROWTH} times the "
                "file"
            )
        try:
            tensors[name] = _array(tensor, raw)
        except ValueError as problem:
            raise ValueError(f"its tensor {name[:80]!r}: {problem}") from None
    return tensors, metadata


def _state_dict(tree):
    """The dict of tensors, which checkpoints keep under one or two keys, and the plain values on
    the way to it.
    """
    state, metadata = the(dict, tree), {}
    for _ in range(2):
        key = next((key for key in KEYS if isinstance(state.get(key), dict)), None)
        if key is None:
            break
        mean = next((name for name in MEANS if isinstance(state.get(name), dict)), None)
        state, metadata = (
            state[key],
            _plain_values(state) | ({MEAN: mean} if mean else {}) | metadata,
        )
    return state, metadata


def _plain_values(state):
    """What is no tensor and no list of anything, and a config that is a dict."""
    named = {name: value for name, value in state.items() if isinstance(name, str)}
    plain = (str, int, float, type(None))
    return {
        name: value
        for name, value in named.items()
        if isinstance(value, (*plain, dict) if name == "cfg" else plain)
    }


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
        raise ValueError(
            f"its tensor {name[:80]!r} is {tensor.storage.dtype}; one of {', '.join(READABLE)} is "
            "wanted"
        )
    numel, count = math.prod(tensor.size), tensor.storage.count
    last = tensor.offset + sum((n - 1) * stride for n, stride in zip(tensor.size, tensor.stride))
    if numel and (last >= count or numel > count):
        raise ValueError(
            f"its tensor {name[:80]!r} reaches element {last} in a storage of {count}, or repeats "
            "elements, as no weight does"
        )


def _array(tensor, raw):
    """A C-contiguous array of a tensor: a view of the storage where the tensor is a contiguous part
    of it.
    """
    storage, widen = tensor.storage, tensor.storage.dtype == "bfloat16"
    dtype = np.dtype("uint16" if widen else storage.dtype)
    if 0 in tensor.size:
        return np.empty(tensor.size, "float32" if widen else dtype)
    data = raw(storage.key)
    if data.size < storage.numel * storage.itemsize:
        raise ValueError(
            f"its storage has {data.size} bytes, too few for {storage.numel} x {storage.dtype}"
        )
    # an axis of one element may have any stride, even one that overflows
    strides = [
        stride * storage.itemsize if n > 1 else 0 for n, stride in zip(tensor.size, tensor.stride)
    ]
    offset = (storage.start + tensor.offset) * storage.itemsize
    array = np.ndarray(tensor.size, dtype.newbyteorder("<"), data, offset, strides)
    flat = np.ascontiguousarray(array.reshape(-1))  # a copy unless it was contiguous
    flat = widened(flat) if widen else flat.astype(dtype, copy=False)
    return flat.reshape(tensor.size)
