"""Arrays that a thread uses again and again: their memory stays in its cores' caches.

A tile's work makes arrays of the same few sizes for every tile. New ones would lie elsewhere each
time, and their first touch would fetch from memory what is overwritten at once.
"""

from __future__ import annotations

import math
import threading

import numpy as np

from .arrays import array_module
from .types import Array

LARGEST = 1 << 21  # numbers; larger ones are new each time, and no thread keeps them

_own = threading.local()


def scratch(name: str, shape: tuple[int, ...], like: Array) -> Array:
    """An array of any content, this thread's until it asks for the same name again.

    like   an array of the same dtype and library; on a device the result is new each time
    """
    size, key = math.prod(shape), (name, like.dtype)
    if size > LARGEST or not isinstance(like, np.ndarray):
        return array_module(like).empty(shape, dtype=like.dtype)
    kept = _own.__dict__.get(key)
    if kept is None or kept.size < size:
        kept = _own.__dict__[key] = np.empty(size, like.dtype)
    return kept[:size].reshape(shape)
