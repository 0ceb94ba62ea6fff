"""A stand-in for a GPU. It counts what a GPU would be asked for, on a machine that has none.

    x = stand_in.put(numpy_array)          # a handle; the numbers are out of Python's sight
    y = ops.softmax(x)                     # each array function is a launch
    print(stand_in.launched, stand_in.moved)

A handle hides a NumPy array and takes it out only for a "kernel". Launches are counted by name, and
so are the bytes that they read and write. Views launch nothing. As with CuPy, a NumPy array among
the arguments is refused, and so is a silent way back to NumPy. `with tools():` gives the device
what a GPU has beyond array functions: the package's own kernels, compiled by gcc from the same
text, and products of matrices where they lie.
"""

from __future__ import annotations

import ctypes
import functools
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from ..backend import tree as trees
from ..backend.arrays import register_library, special_functions
from ..backend.cuda.kernel import C
from ..backend.types import Tree

GCC = shutil.which("gcc")
ONLY_MEMORY = "empty", "empty_like"  # these take memory, and launch nothing
launched: Counter[str] = Counter()  # how often each kernel was asked for
moved: Counter[str] = Counter()  # the bytes that it read and wrote
own: set[str] = set()  # names of the package's own kernels among them

_here = SimpleNamespace(computing=True, tape=None)


def put(tree: Tree) -> Tree:
    """An array, or a tree of arrays, on the stand-in."""
    return trees.map(lambda x: Handle(np.array(x)), tree)


def clear() -> None:
    """Count from zero again."""
    launched.clear()
    moved.clear()


@contextmanager
def tools() -> Iterator[None]:
    """Let the stand-in have the package's own kernels and products within the block."""
    _register(Tools())
    try:
        yield
    finally:
        _register(None)


@contextmanager
def counting_only() -> Iterator[None]:
    """Count kernels of our own and products within the block without computing them."""
    before, _here.computing = _here.computing, False
    try:
        with np.errstate(all="ignore"):  # of numbers that nobody computed
            yield
    finally:
        _here.computing = before


def recorded(fun: Callable[[], Any]) -> tuple[Any, Callable[[], None], int]:
    """(the result of fun, a function that does all its launches again, how many they are).

    A replay works on the same arrays, and with the same Python numbers as when it was recorded.
    """
    noted: list[tuple[Callable, Any]] = []
    _here.tape = noted
    try:
        result = fun()
    finally:
        _here.tape = None

    def replay():
        for work, place in noted:
            again = work()
            if place is not None:
                place[...] = again

    return result, replay, len(noted)


# -- handles and launches --------------------------------------------------------------------------


class Handle(np.lib.mixins.NDArrayOperatorsMixin):
    """The stand-in for a device array: x + y, x.sum() and xp.exp(x) are launches."""

    def __init__(self, hidden):
        self.hidden, self.get = hidden, hidden.copy  # get() is the way out

    def __array__(self, *_, **__):
        raise TypeError("Implicit conversion to a NumPy array is not allowed; use .get()")

    def __array_ufunc__(self, ufunc, method, *args, out=(None,), **keywords):
        kernel = ufunc if method == "__call__" else getattr(ufunc, method)
        return launch(kernel, *args, out=out[0], **keywords)

    def __getattr__(self, name):
        found = getattr(self.hidden if name[0] != "_" else None, name)
        if callable(found):
            return partial(launch, found)
        return Handle(found) if isinstance(found, np.ndarray) else found

    def __getitem__(self, key):
        return launch(self.hidden.__getitem__, key)

    def __setitem__(self, key, value):
        launch(_store, key, value, out=self)

    @property
    def data(self):
        """Where the first number is, and in which allocation."""
        owner = self.hidden
        while getattr(owner, "base", None) is not None:
            owner = owner.base
        return SimpleNamespace(ptr=self.hidden.ctypes.data, mem=owner, device_id=0)


def launch(kernel: Callable, *args: Any, out: Any = None, **keywords: Any) -> Any:
    """Run a NumPy function on what the handles hide, and count it unless it makes a view."""
    args, keywords = tuple(map(_inside, args)), {n: _inside(x) for n, x in keywords.items()}
    work = partial(kernel, *args, **keywords | ({} if out is None else {"out": out.hidden}))
    result = work()
    if not isinstance(result, (np.ndarray, np.generic)):
        return result  # a dtype or a shape
    result, itself = np.asarray(result), getattr(kernel, "__self__", None)
    sources = [x for x in (*args, itself) if isinstance(x, np.ndarray)]
    is_view = out is None and any(np.may_share_memory(result, x) for x in sources)
    if not is_view and kernel.__name__ not in ONLY_MEMORY:
        _count(kernel.__name__, work, result, *sources)
    return Handle(result) if out is None else out


def _inside(x):
    """The hidden array of each handle; a NumPy array is refused, as CuPy does."""
    if isinstance(x, np.ndarray):
        raise TypeError(f"Unsupported type {type(x)}")
    if isinstance(x, (list, tuple)):
        return type(x)(map(_inside, x))
    return x.hidden if isinstance(x, Handle) else x


def _count(name, work, place, *sources):
    """Count a launch, and write it down where one is recording: `work()` does it for `place`."""
    launched[name] += 1
    moved[name] += sum(x.nbytes for x in (place, *sources) if x is not None)
    if _here.tape is not None:
        _here.tape.append((work, place))


def _store(key, value, out):
    out[key] = value
    return out


class Library:
    """NumPy's functions, or those of a module of its, each a launch."""

    def __init__(self, module: Any) -> None:
        self.module, self.__name__ = module, "stand_in"

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.module, name)
        if isinstance(found, ModuleType):
            return Library(found)
        return partial(launch, found) if callable(found) and not isinstance(found, type) else found


def _register(with_tools):
    special = special_functions(np.zeros(1))
    register_library(Handle, Library(np), Library(special), put, with_tools)


# -- tools -----------------------------------------------------------------------------------------


class Tools:
    """What a device can do beyond array functions (`backend/cuda/tools.py`)."""

    def launch(self, kernel: Any, jobs: int, args: tuple, names: tuple) -> None:
        """One of the package's own kernels, compiled by gcc; without gcc it is only counted."""

        def work():
            _compiled(kernel, names)(*map(_for_c, args), ctypes.c_longlong(jobs))

        if _here.computing and GCC:
            work()
        own.add(kernel.name)
        _count(kernel.name, work, None, *(x.hidden for x in args if isinstance(x, Handle)))

    def gemm(
        self, b: Any, a: Any, c: Any, sizes: tuple, count: int, *, add: bool, tf32: bool
    ) -> None:
        """A batch of products, on matrices found by address, leading dimension and distance."""

        def work():
            rows, columns, inner = sizes
            result = matrices(c, rows, columns, count)
            product = matrices(b, rows, inner, count) @ matrices(a, inner, columns, count)
            result[...] = result + product if add else product

        if _here.computing:
            work()
        _count("product", work, None)


def matrices(side: Any, rows: int, columns: int, count: int) -> np.ndarray:
    """(count, rows, columns) of a side of a product, as cuBLAS sees it: a view."""
    x, size = side.array.hidden, side.array.itemsize
    down, right = (side.leading, 1) if side.flip else (1, side.leading)
    found = {"version": 3, "typestr": x.dtype.str, "shape": (count, rows, columns)}
    found |= {"data": (x.ctypes.data + side.start * size, False)}
    found |= {"strides": (side.batch_stride * size, down * size, right * size)}
    return np.asarray(SimpleNamespace(__array_interface__=found))


def _for_c(x):
    """An argument of a C function."""
    if isinstance(x, Handle):
        return ctypes.c_void_p(x.hidden.ctypes.data)
    if isinstance(x, np.ndarray):
        fields = [("words", ctypes.c_longlong * (x.nbytes // 8))]
        table: Any = type("Table", (ctypes.Structure,), {"_fields_": fields})
        return table.from_buffer_copy(x)
    return (ctypes.c_double if isinstance(x, float) else ctypes.c_longlong)(x)


_folder = functools.cache(tempfile.TemporaryDirectory)


@functools.cache
def _compiled(kernel, names):
    """The kernel's text as a C function.   names: what is known when it is compiled"""
    path = Path(_folder().name, f"{kernel.name}{abs(hash(names))}.c")
    path.write_text(kernel.source(names, C))
    options = ["-std=c11", "-O1", "-fPIC", "-shared"]
    library = path.with_suffix(".so")
    subprocess.run([str(GCC), *options, path, "-o", library, "-lm"], check=True)
    function = getattr(ctypes.CDLL(str(library)), kernel.name)
    function.restype = None
    return function


_register(None)
