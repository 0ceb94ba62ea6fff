"""The threads of the matrix library (BLAS): held to one while threads of our own call it.

Two sets of threads on the same cores are worse than either. And OpenBLAS's threads spin for some
milliseconds after each product, waiting for the next: one product on several threads slows the
tiles that follow it.
"""

from __future__ import annotations

import functools
import os
import threading

from threadpoolctl import OpenBLASController, ThreadpoolController

_lock = threading.Lock()
_held = {"count": 0, "before": ()}


class one_blas_thread:
    """Hold BLAS to one thread within the block; blocks may be nested and overlap in several
    threads.

    The setting is the process's. The first block to begin notes what it was, the last to end puts
    it back. Every op begins one, so it is a class, which takes half of a generator's time.
    """

    def __enter__(self):
        _hold()

    def __exit__(self, *problem):
        _release()


@functools.cache
def libraries():
    """The BLAS libraries of this process that can be told how many threads to use."""
    return ThreadpoolController().select(user_api="blas").lib_controllers


def begin_thread():
    """OpenBLAS on OpenMP counts threads for each caller: every new one calls this, to have one."""
    for library in libraries():
        if getattr(library, "threading_layer", None) == "openmp":
            library.set_num_threads(1)


def _hold():
    with _lock:
        if _held["count"] == 0:
            _held["before"] = [(library, library.num_threads) for library in libraries()]
            _set([(library, 1) for library in libraries()])
        _held["count"] += 1


def _release():
    with _lock:
        _held["count"] = max(0, _held["count"] - 1)  # it is 0 in a child forked within the block
        if _held["count"] == 0:
            _set(_held["before"])


def _set(numbers):
    """threadpoolctl keeps one thread while that lives; a lock says whose turn it is: let it go."""
    # This is new in threadpoolctl 3.8.
    let_go = getattr(OpenBLASController, "clear_controlling_thread", lambda force: None)
    let_go(force=True)
    for library, number in numbers:
        library.set_num_threads(number)
    let_go(force=True)


def _after_fork():
    """Nobody in a forked child will give BLAS back."""
    global _lock
    _lock = threading.Lock()
    if _held["count"]:
        _held["count"] = 1
        _release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
