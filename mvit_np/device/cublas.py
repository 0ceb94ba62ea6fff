"""cuBLAS by ctypes: one function of it, with a handle, a stream and a workspace of our own.

CuPy's own binding refuses to be called while a graph is captured, and has no strided-batched product for all types. cuBLAS itself
may be captured, as long as its workspace is not allocated on the way.
"""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

FLOAT32, FLOAT64, BF16 = 0, 1, 14  # cudaDataType
COMPUTE = {"float32": 68, "tf32": 77, "float64": 70}  # cublasComputeType
WORKSPACE = 32 << 20  # bytes; what NVIDIA recommends for Hopper


class CublasError(RuntimeError):
    """A call that cuBLAS refused, with its status."""


class Handle:
    """A handle of cuBLAS for the current device. It is made outside of any capture."""

    def __init__(self, cupy):
        self._library = ctypes.CDLL(_path(cupy))
        self._handle = ctypes.c_void_p()
        self._call("cublasCreate_v2", ctypes.byref(self._handle))
        self._workspace = cupy.empty(WORKSPACE, dtype="uint8")  # in use for as long as the handle is
        self._stream = None

    def gemm(self, stream, b, a, out, sizes, count, add, compute):
        """out = a b for each matrix of the batch.   b, a, out: (pointer, type, flip, leading, apart)   sizes: (K, I, J)"""
        if stream != self._stream:  # setting the stream resets the workspace
            self._call("cublasSetStream_v2", self._handle, ctypes.c_void_p(stream))
            self._call(
                "cublasSetWorkspace_v2",
                self._handle,
                ctypes.c_void_p(self._workspace.data.ptr),
                ctypes.c_size_t(WORKSPACE),
            )
            self._stream = stream
        number = ctypes.c_double if compute == "float64" else ctypes.c_float
        one, kept = number(1), number(bool(add))
        self._call(
            "cublasGemmStridedBatchedEx",
            self._handle,
            *(ctypes.c_int(side[2]) for side in (b, a)),
            *map(ctypes.c_int, sizes),
            ctypes.byref(one),
            *_matrix(b),
            *_matrix(a),
            ctypes.byref(kept),
            *_matrix(out),
            ctypes.c_int(count),
            ctypes.c_int(COMPUTE[compute]),
            ctypes.c_int(-1),  # the algorithm: cuBLAS chooses
        )

    def _call(self, name, *args):
        if status := getattr(self._library, name)(*args):
            raise CublasError(f"{name} failed with status {status}")


def _matrix(side):
    pointer, kind, _, leading, apart = side
    return ctypes.c_void_p(pointer), ctypes.c_int(kind), ctypes.c_int(leading), ctypes.c_longlong(apart)


def _path(cupy):
    """The file of the cuBLAS that CuPy has loaded, so that there is one in the process."""
    cupy.cuda.cublas.getVersion(cupy.cuda.Device().cublas_handle)
    found = re.search(r"/\S*libcublas\.so\S*", Path("/proc/self/maps").read_text())
    return found.group() if found else "libcublas.so"
