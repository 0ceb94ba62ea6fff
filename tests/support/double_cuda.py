"""What the package uses of `cupy.cuda`, on the device double: streams, pools, and graphs that are
recorded and replayed.

While a stream captures, everything that the double does is written down, and done too (CUDA would
not: whoever relies on the numbers that a recording leaves behind sees them change at the first
replay). A replay does it all again in the same arrays.
"""

from contextlib import contextmanager
from types import SimpleNamespace

import device_double
import numpy as np
from device_double import DeviceArray, Namespace

_streams = []  # the innermost `with stream`


class Graph:
    """Recorded work."""

    def __init__(self, steps):
        self._steps, self.launches = steps, 0

    def launch(self, stream=None):
        self.launches += 1
        for work, result in self._steps:
            _put(work(), result)


def _put(again, result):
    """What was computed again, where it was put the first time; views and `out=` are there."""
    if isinstance(result, (list, tuple)):
        for pair in zip(again, result):
            _put(*pair)
    elif isinstance(result, DeviceArray) and not np.may_share_memory(again, result._host):
        result._host[...] = again


class Stream:
    """A queue that is always empty."""

    def __init__(self, null=False, non_blocking=False):
        self.ptr = 0 if null else id(self)

    def __enter__(self):
        _streams.append(self)
        return self

    def __exit__(self, *error):
        _streams.pop()

    def synchronize(self):
        if device_double.recording:
            raise RuntimeError(
                "cudaErrorStreamCaptureUnsupported: operation not permitted when stream is "
                "capturing"
            )

    def begin_capture(self, mode=None):
        if not self.ptr:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        device_double.recording.append([])

    def end_capture(self):
        return Graph(device_double.recording.pop())


NULL = Stream(null=True)


class MemoryPool:
    """Memory that nobody counts."""

    def malloc(self, size):
        raise AssertionError("the double takes its memory from NumPy")

    def total_bytes(self):
        return 0

    def free_all_blocks(self):
        pass


@contextmanager
def using_allocator(allocator=None):
    yield


cuda = Namespace(
    "device_double.cuda",
    Stream=Stream,
    MemoryPool=MemoryPool,
    using_allocator=using_allocator,
    get_current_stream=lambda: _streams[-1] if _streams else NULL,
    Device=lambda number=0: SimpleNamespace(id=number, use=lambda: None),
)


def install():
    """The double with kernels, products and graphs."""
    device_double.install()
    device_double.xp.cuda = cuda
    device_double.xp.get_default_memory_pool = MemoryPool
