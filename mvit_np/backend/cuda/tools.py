"""What a CUDA device does beyond CuPy's arrays: kernels, products of many matrices."""

from __future__ import annotations

import functools

from .cublas import BF16, FLOAT32, FLOAT64, Handle

THREADS = 256  # in a block
MOST_BLOCKS = 1 << 16  # in a launch: threads take several jobs where there are more
KINDS = {"float32": FLOAT32, "float64": FLOAT64, "uint16": BF16}


class Tools:
    """The tools of CuPy's arrays.   cupy: the module"""

    def __init__(self, cupy):
        self._cupy = cupy

    def launch(self, kernel, jobs, args, names):
        """Queue a `kernel.Kernel` on the current stream."""
        if not jobs:
            return
        blocks = min(-(-jobs * kernel.lanes // THREADS), MOST_BLOCKS)
        self._function(kernel, names)((blocks,), (THREADS,), (*args, jobs))

    @functools.cache  # noqa: B019  (there is one Tools a process)
    def _function(self, kernel, names):
        return self._cupy.RawKernel(kernel.source(names), kernel.name, options=("--std=c++17",))

    def gemm(self, b, a, out, sizes, count, *, add, tf32):
        """Queue a call as `gemm.strided_batches` gives it."""
        compute = "float64" if a.array.dtype == "float64" else "float32"
        if tf32 and a.array.dtype == "float32":
            compute = "tf32"
        stream = self._cupy.cuda.get_current_stream().ptr
        sides = [(_pointer(side), KINDS[str(side.array.dtype)], *side[2:]) for side in (b, a, out)]
        self._handle(self._cupy.cuda.Device().id, stream).gemm(*sides, sizes, count, add, compute)

    @functools.cache  # noqa: B019  (the same)
    def _handle(self, device, stream):
        return Handle(self._cupy, stream)


def _pointer(side):
    return side.array.data.ptr + side.start * side.array.itemsize
