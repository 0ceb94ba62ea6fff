"""The tools of a device (`mvit_np/backend/cuda/tools.py`) on the double: kernels compiled by gcc,
cuBLAS as it reads memory.
"""

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import device_double
import numpy as np

from mvit_np.backend.cuda.kernel import C

GCC = shutil.which("gcc")
HALVES = np.dtype("uint16")


class GccTools:
    """See the top of this file.   host: the NumPy array behind a device array"""

    def __init__(self, host):
        self._host = host

    def launch(self, kernel, jobs, args, names):
        """As a launch on a device, one job after the other."""
        arrays = {id(x): self._host(x) for x in args if not isinstance(x, (int, float, np.ndarray))}
        given = [arrays.get(id(x), x) for x in args]
        # or its parts are, where the kernel is told how far they lie apart
        for array in arrays.values():
            parts = array[0] if kernel.clip_stride and array.ndim > 1 and array.shape[0] else array
            assert parts.flags.c_contiguous, (
                f"{kernel.name}: strides {array.strides} of {array.shape}"
            )
        passed = [
            x.ctypes.data_as(ctypes.c_void_p) if id(a) in arrays else _by_value(x)
            for a, x in zip(args, given)
        ]
        compiled = _compiled(kernel, names)

        def work():
            compiled(*passed, ctypes.c_longlong(jobs))
            return arrays  # which are alive for as long as this may be called

        work()
        device_double.queued(work)

    def gemm(self, b, a, out, sizes, count, *, add, tf32):
        """cublasGemmStridedBatchedEx: column-major matrices found by pointer, leading dimension and
        distance alone.
        """
        k, i, j = sizes
        left, right = self._matrices(b, k, j, count), self._matrices(a, j, i, count)
        result = self._matrices(out, k, i, count)
        assert not out.flip and out.array.dtype != HALVES and a.array.dtype == b.array.dtype
        hosts = [self._host(side.array) for side in (b, a, out)]

        def work():
            product = np.matmul(_number(left), _number(right)).astype(result.dtype)
            result[...] = result + product if add else product
            return hosts  # which are alive for as long as this may be called

        work()
        device_double.queued(work)

    def _matrices(self, side, rows, columns, count):
        """(count, rows, columns) of op(X) as cuBLAS sees it, a view."""
        host = self._host(side.array)
        stored = (columns, rows) if side.flip else (rows, columns)
        assert side.leading >= max(1, stored[0]), (
            "cuBLAS: the leading dimension is at least the number of rows"
        )
        size = host.itemsize
        strides = (side.batch_stride * size, size, side.leading * size)
        view = np.lib.stride_tricks.as_strided(_at(host, side.start), (count, *stored), strides)
        return view.swapaxes(1, 2) if side.flip else view


def _at(host, numbers):
    """The number so many after the array's first in memory, an array of one."""
    pointer = host.__array_interface__["data"][0] + numbers * host.itemsize
    return np.frombuffer((ctypes.c_char * host.itemsize).from_address(pointer), host.dtype)


def _number(x):
    """bf16 as the float32 it is the upper half of."""
    return (x.astype(np.uint32) << 16).view(np.float32) if x.dtype == HALVES else x


def _by_value(x):
    if isinstance(x, np.ndarray):
        assert x.size == 1, (
            "CuPy passes only NumPy arrays of size one by value: view it as one number of many "
            "bytes"
        )
        assert 16 < x.nbytes <= 4000 and x.nbytes % 8 == 0, (
            "C takes smaller structs otherwise, a launch no larger ones"
        )
        kind = type(
            "Numbers",
            (ctypes.Structure,),
            {"_fields_": [("at", ctypes.c_longlong * (x.nbytes // 8))]},
        )
        return kind.from_buffer_copy(x.tobytes())
    if isinstance(x, float):
        return ctypes.c_double(x)
    assert isinstance(x, int), f"a kernel takes arrays and Python's numbers; came {type(x)}"
    return ctypes.c_longlong(x)


@functools.cache
def _compiled(kernel, names):
    """The kernel as a function, compiled once for all test runs of this text."""
    text = kernel.source(names, C)
    folder = Path(tempfile.gettempdir()) / f"mvit_np_kernels_{os.getuid()}"
    folder.mkdir(exist_ok=True, mode=0o700)
    library = folder / f"{kernel.name}_{hashlib.sha256(text.encode()).hexdigest()[:24]}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=folder) as place:
            source = Path(place, "kernel.c")
            source.write_text(text)
            built = Path(place, "kernel.so")
            flags = "-std=c11 -O1 -Wall -Werror -Wno-unused -fPIC -shared".split()
            command = [GCC, *flags, source, "-o", built, "-lm"]
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, f"gcc on {kernel.name}:\n{done.stderr}\n{text}"
            os.replace(built, library)
    function = getattr(ctypes.CDLL(str(library)), kernel.name)
    function.restype = None
    return function
