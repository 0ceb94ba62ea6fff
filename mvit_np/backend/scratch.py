"""Arrays that a thread uses again and again: their memory stays in its cores' caches.

A tile's work makes arrays of the same few sizes for every tile. New ones would lie elsewhere each
time, and their first touch would fetch from memory what is overwritten at once.
"""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np

from .types import Array

LARGEST = 1 << 21  # numbers; larger ones are new each time, and no thread keeps them

_own = threading.local()


def scratch(name: str, shape: tuple[int, ...], dtype: Any) -> Array:
    """An array of any content, this thread's until it asks for the same name again."""
    size, key = math.prod(shape), (name, np.dtype(dtype))
    if size > LARGEST:
        return np.empty(shape, dtype)
    kept = _own.__dict__.get(key)
    if kept is None or kept.size < size:
        kept = _own.__dict__[key] = np.empty(size, dtype)
    return kept[:size].reshape(shape)
