"""One code, two array libraries: the arrays decide.

`array_module(x)` returns the library that `x` belongs to (NumPy or CuPy), and everything above this
file calls that library's functions under their NumPy names. This is the only file that imports
CuPy, and only once a device is asked for.
"""

from __future__ import annotations

import contextvars
import functools
import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import scipy.special

from . import tree as trees
from .cuda.tools import Tools
from .install import install
from .types import Array, Tree


class Library(NamedTuple):
    """An array library under NumPy's and scipy.special's names, and the way in from NumPy.

    tools   what a device can do beyond that (`cuda.tools.Tools`): kernels of our own, products;
            None on NumPy
    """

    namespace: Any
    special: Any
    from_host: Callable
    tools: Any = None


_plain: contextvars.ContextVar[bool | None] = contextvars.ContextVar("plain ops", default=None)
_LIBRARIES = dict.fromkeys([np.ndarray, np.generic], Library(np, scipy.special, np.asarray))


def register_library(
    array_type: type, namespace: Any, special: Any, from_host: Callable, tools: Any = None
) -> None:
    """Let arrays of `array_type` be computed with these: the fields of a `Library`."""
    _LIBRARIES[array_type] = Library(namespace, special, from_host, tools)


def array_module(x: Array) -> Any:
    """The array library `x` belongs to: `numpy`, `cupy`, or one given to `register_library`.

    A value that is being differentiated counts as the array inside it. Raises TypeError for what is
    no array.
    """
    return _library(x).namespace


def special_functions(x: Array) -> Any:
    """The `scipy.special` of the library `x` belongs to (`cupyx.scipy.special` on a device)."""
    return _library(x).special


def device_tools(x: Array) -> Any:
    """What the device that `x` lives on can do beyond array functions (`backend.cuda.tools.Tools`).

    None on NumPy, and within `plain_ops()`.
    """
    return None if type(x) is np.ndarray or plain() else _library(x).tools


def place(x: Array) -> str | None:
    """Where a fast version of an op may serve the array `x`: "numpy", "device" or None."""
    if plain():
        return None
    if type(x) is np.ndarray:
        return "numpy"
    return "device" if _library(x).tools else None


@contextmanager
def plain_ops() -> Iterator[None]:
    """Run the definitions of `ops/` alone within the block, on NumPy and on CuPy.

    No tiles, no kernels of our own, no lower precision: what one reads is what runs. The same for
    a whole process: the environment's MVIT_NP_OPS=plain.
    """
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


def plain() -> bool:
    """Whether the definitions alone run here and now. Raises ValueError for another MVIT_NP_OPS."""
    chosen = _plain.get()
    return _plain_by_default() if chosen is None else chosen


@functools.cache
def _plain_by_default():
    said = os.environ.get("MVIT_NP_OPS", "")
    if said not in ("", "fast", "plain"):
        raise ValueError(
            f"MVIT_NP_OPS is 'plain', 'fast' or nothing; the environment says {said!r}"
        )
    return said == "plain"


def is_array(x: Any) -> bool:
    """Whether `x` is an array of a known library (or a traced one)."""
    return _entry(type(unboxed(x))) is not None


def is_float(x: Any) -> bool:
    """Whether `x` is an array of float32 or float64: all is computed in these."""
    return is_array(x) and x.dtype.char in "fd"


def check_not_mixed(*arrays: Array) -> None:
    """Raise TypeError where host and device arrays or dtypes are mixed: we convert nothing."""
    arrays = tuple(map(unboxed, arrays))
    names = sorted({library.__name__ for library in set(map(array_module, arrays))})
    if len(names) > 1:
        raise TypeError(
            f"all arrays are on the host or one device; came a mixture of {' and '.join(names)}: "
            "move them together with mv.to_device(..., 'cuda:0') or mv.to_host(...)"
        )
    dtypes = sorted(map(str, {x.dtype for x in arrays}))
    if len(dtypes) > 1:
        raise TypeError(
            f"clip and parameters have one dtype; came a mixture of {' and '.join(dtypes)}: "
            "convert one, such as clip.astype('float32') or mv.tree.map(numpy.float64, params)"
        )


def to_device(tree: Tree, device: str = "cuda:0") -> Tree:
    """An array, or a tree of arrays, on `device`: "cpu", "cuda" or "cuda:N"; copied if need be.

    From then on this thread makes its arrays on that device, which CuPy calls the current one.

    Raises ValueError where the name is unknown or there is no CuPy or no such device.
    """
    if device == "cpu":
        return to_host(tree)
    cupy, number = _cupy_for(device)
    cupy.cuda.Device(number).use()
    return trees.map(cupy.asarray, tree)


def from_host(host: np.ndarray, like: Array) -> Array:
    """A NumPy array in the library that the array `like` belongs to."""
    return _library(like).from_host(host)


def to_host(tree: Tree) -> Tree:
    """An array, or a dict/list tree of arrays, as NumPy arrays; one that is so is not copied."""
    return trees.map(lambda x: x.get() if hasattr(x, "get") else np.asarray(x), tree)


def synchronize(x: Array) -> None:
    """Wait until the device that holds `x` has done its work (nothing to wait for on NumPy)."""
    xp = array_module(x)
    if xp.__name__ == "cupy":
        xp.cuda.get_current_stream().synchronize()


def memory(x: Array) -> int | None:
    """Bytes in use on the device that holds `x`, by whomever; None on NumPy.

    What CuPy has taken it keeps, so at the end of a run this is the most that was needed, graphs
    and the driver's own included.
    """
    xp = array_module(x)
    if xp.__name__ != "cupy":
        return None
    free, total = x.device.mem_info  # type: ignore[union-attr]
    return total - free


def unboxed(x: Any) -> Any:
    """The array inside a traced one; anything else as it is."""
    while hasattr(x, "_value") and hasattr(x, "_node"):
        x = x._value
    return x


def _library(x):
    entry = _LIBRARIES.get(type(x)) or _entry(type(unboxed(x)))
    if entry is None:
        came = f"came {type(x).__name__}: convert it with numpy.asarray first"
        raise TypeError(f"expected a NumPy or CuPy array, {came}")
    return entry


def _entry(array_type):
    for base in array_type.__mro__:
        if base in _LIBRARIES:
            return _LIBRARIES[base]
    if array_type.__module__.split(".")[0] == "cupy":
        cupy = importlib.import_module("cupy")
        special = importlib.import_module("cupyx.scipy.special")
        register_library(array_type, cupy, special, cupy.asarray, Tools(cupy))
        return _LIBRARIES[array_type]
    return None


def _cupy_for(device):
    device_type, _, number = device.partition(":")
    if device_type != "cuda" or (number and not number.isdigit()):
        raise ValueError(f"a device is 'cpu', 'cuda' or 'cuda:N'; came {device!r}")
    try:
        cupy = importlib.import_module("cupy")
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as problem:
        said = " ".join(str(problem).split())
        raise ValueError(
            f"device {device!r} needs CuPy and an NVIDIA GPU, and CuPy says: {said}. Install it "
            f"with `{install('gpu')}` (for CUDA 13: {install('gpu13')}), or use device 'cpu'"
        ) from None
    if int(number or 0) >= count:
        raise ValueError(
            f"device {device!r} is not there: this machine has {count} (cuda:0 to cuda:{count - 1})"
        )
    return cupy, int(number or 0)
