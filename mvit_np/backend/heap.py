"""What becomes of the memory of large arrays once they are freed: it stays for the next ones.

By default glibc's malloc takes each array of 128 KiB or more from the system and gives it back, or
gives back the end of its heap, as soon as the array is freed. The system hands out memory page by
page, filled with zeros, at the first touch: 20,000 page faults in a forward pass of MViT-B, a tenth
of its time. The default rises by itself where large arrays are freed, as while parameters are
drawn, but stays as it is in a process that loads them.
"""

from __future__ import annotations

import ctypes
import functools
import os

TRIM, MMAP = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
FREE = 1 << 28  # bytes at the heap's end that stay: more than a clip's arrays take in evaluation
LARGEST = 1 << 25  # bytes of an array on the heap: as many as glibc allows
ENVIRONMENT = "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"


@functools.cache
def keep_freed_memory() -> bool:
    """Let this process keep up to FREE bytes of freed arrays; whether it does.

    It is glibc's to do. Nothing changes with another C library, or where the environment says
    itself what malloc gives back (ENVIRONMENT).
    """
    if any(name in os.environ for name in ENVIRONMENT):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no such function; no such library on Windows
        return False
    # The second alone would keep large arrays off the heap for good.
    return bool(mallopt(MMAP, LARGEST) and mallopt(TRIM, FREE))
