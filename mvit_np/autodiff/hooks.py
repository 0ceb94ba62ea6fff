"""A window on the ops as they run, for profiles and counts. Without a watcher nothing is noted."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

from ..backend.blas import one_blas_thread

_thread = threading.local()


@contextmanager
def watching(seen):
    """Within the block each op of this thread calls `seen` when it is done.

    seen       seen(name, phase, seconds, arguments, static, result)
    phase      "forward": arguments and keywords (`static`) of the op, result is (value, backward);
               "backward": arguments are the cotangents, result the gradients asked for
    """
    before, _thread.seen = getattr(_thread, "seen", None), seen
    try:
        yield
    finally:
        _thread.seen = before


def is_watched():
    """Whether this thread is within a block of `watching`: then no op may be passed over."""
    return getattr(_thread, "seen", None) is not None


def watched(fun, phase, call, args, static):
    """call(*args, **static), which is a phase of the op `fun`."""
    start = time.perf_counter()
    # for products outside tiles too: BLAS's threads spin after use, and take the tiles' cores
    with one_blas_thread():
        result = call(*args, **static)
    if seen := getattr(_thread, "seen", None):
        seen(fun.__name__, phase, time.perf_counter() - start, args, static, result)
    return result
