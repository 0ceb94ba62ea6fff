"""What a pickle of torch's may call: functions of the arguments that make inert records."""

from __future__ import annotations

from dataclasses import dataclass

from .torch_names import Name, arguments_of, the

MAX_NDIM = 64  # NumPy's limit, and torch's

# Torch's storage classes: dtype and bytes an element.
STORAGES = {
    "Float": ("float32", 4), "Double": ("float64", 8), "Half": ("float16", 2),
    "BFloat16": ("bfloat16", 2), "Long": ("int64", 8), "Int": ("int32", 4), "Short": ("int16", 2),
    "Char": ("int8", 1), "Byte": ("uint8", 1), "Bool": ("bool", 1),
    "ComplexFloat": ("complex64", 8), "ComplexDouble": ("complex128", 16), "QInt8": ("qint8", 1),
    "QUInt8": ("quint8", 1), "QInt32": ("qint32", 4), "Untyped": ("untyped", 1),
}  # fmt: skip
READABLE = tuple("float32 float64 float16 bfloat16 int64 int32 int16 int8 uint8 bool".split())
OTHERS = "uint64 uint32 uint16 complex64 complex128 float8_e4m3fn float8_e5m2".split()
DTYPES = (*READABLE, *OTHERS)


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


def storage_of(storages: dict[str, Storage], pid: tuple) -> Storage:
    """The record of a persistent id; the first of each key also goes to `storages`.

    Raises ValueError for what is no storage of torch's, or reaches outside of it.
    """
    word, storage_type, key, location, numel, view = arguments_of(pid, 5, 6)
    dtype = the(Name, storage_type).name.split(".")[-1].removesuffix("Storage")
    if the(str, word) != "storage" or dtype not in STORAGES:
        came = "something outside that is no storage, or one of unknown dtype"
        raise ValueError(f"its pickle refers to {came} ({dtype})")
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
        came = f"a tensor of {len(size)} sizes and {len(stride)} strides"
        raise ValueError(f"its pickle has {came}: at most {MAX_NDIM} of each")
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
    "torch.storage.UntypedStorage": None,
    "torch.storage.TypedStorage": None,
    "torch.per_tensor_affine": None,
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
