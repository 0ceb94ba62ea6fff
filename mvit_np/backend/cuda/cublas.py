"""cuBLAS by ctypes: one function of it, with a handle, a stream and a workspace of our own.

CuPy's own binding refuses to be called while a graph is captured, and its `@` copies what is
transposed. cuBLAS itself may be captured, as long as its workspace is not allocated on the way.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

FLOAT32, FLOAT64, BF16 = 0, 1, 14  # cudaDataType
COMPUTE = {"float32": 68, "tf32": 77, "float64": 70}  # cublasComputeType
WORKSPACE = 32 << 20  # bytes; what NVIDIA recommends for Hopper


class CublasError(RuntimeError):
    """A call that cuBLAS refused, with its status."""


_POINTER, _INT, _LONG = ctypes.c_void_p, ctypes.c_int, ctypes.c_longlong
_MATRIX = [_POINTER, _INT, _INT, _LONG]  # where, type, leading dimension, how far to the next
_GEMM = [_POINTER, *[_INT] * 5, _POINTER, *_MATRIX, *_MATRIX, _POINTER, *_MATRIX, _INT, _INT, _INT]
_NUMBERS = {name: (ctypes.c_double if name == "float64" else ctypes.c_float) for name in COMPUTE}
_ONE = {name: ctype(1) for name, ctype in _NUMBERS.items()}
_ZERO = {name: ctype(0) for name, ctype in _NUMBERS.items()}


class Handle:
    """A handle of cuBLAS for one stream of the current device, made outside of any capture."""

    def __init__(self, cupy, stream):
        self._library = ctypes.CDLL(_path(cupy))
        self._gemm = self._library.cublasGemmStridedBatchedEx
        self._gemm.argtypes = _GEMM
        self._handle = _POINTER()
        self._workspace = cupy.cuda.Memory(WORKSPACE)  # of no pool: the handle always uses it
        _check("cublasCreate", self._library.cublasCreate_v2(ctypes.byref(self._handle)))
        _check("cublasSetStream", self._library.cublasSetStream_v2(self._handle, _POINTER(stream)))
        workspace = _POINTER(self._workspace.ptr), ctypes.c_size_t(WORKSPACE)
        # Setting the stream resets the workspace, so this comes after it.
        _check("cublasSetWorkspace", self._library.cublasSetWorkspace_v2(self._handle, *workspace))

    def gemm(self, b, a, out, sizes, count, add, compute):
        """out = a b for each matrix of the batch.

        b, a, out: (pointer, type, flip, leading, batch_stride)   sizes: (K, I, J)
        """
        one, kept = ctypes.byref(_ONE[compute]), ctypes.byref((_ONE if add else _ZERO)[compute])
        matrices = [(side[0], side[1], side[3], side[4]) for side in (b, a, out)]
        factors = b[2], a[2], *sizes, one, *matrices[0], *matrices[1]
        how = count, COMPUTE[compute], -1  # -1: cuBLAS chooses the algorithm
        status = self._gemm(self._handle, *factors, kept, *matrices[2], *how)
        _check("cublasGemmStridedBatchedEx", status)


def _check(name, status):
    if status:
        raise CublasError(f"{name} failed with status {status}")


def _path(cupy):
    """The file of the cuBLAS that CuPy has loaded, so that there is one in the process."""
    _ = cupy.cuda.Device().cublas_handle  # loads it
    mapped = (
        line.split(maxsplit=5)[5:] for line in Path("/proc/self/maps").read_text().splitlines()
    )
    return next((path[0] for path in mapped if path and "/libcublas.so" in path[0]), "libcublas.so")
