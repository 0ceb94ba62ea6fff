"""What makes NumPy fast on several cores: work cut into tiles that fit the cache, for threads.

NumPy computes one function of one whole array at a time. For a large model that is slow for two
reasons: all element-wise work runs on one core, and each pass over an array larger than the cache
fetches it from memory again. So an op here says what it does to *some rows*, and `run` does it to
all of them:

    y = xp.empty(...)

    def tile(at):                       # `at` is a slice of rows
        xp.matmul(x[at], w, out=y[at])
        y[at] += b                      # finds the rows in the cache, where the product left them

    tiles.run(tile, tiles.rows(x, width))

NumPy releases Python's lock inside its loops and products, so plain threads are enough. Each takes
the next tile as it finishes one. While tiles run the matrix library (BLAS) is limited to one
thread, since two sets of threads slow each other down (`backend/blas.py`).

How many threads: `use_threads(n)`, else the environment's MVIT_NP_THREADS, else the cores this
process may use. With a BLAS that threadpoolctl does not know, and so cannot limit, one thread runs
the tiles and BLAS uses its own threads.

Results do not depend on the threads, not even in the last bit: where tiles begin and end follows
from the arrays alone, each writes rows of its own, and sums over rows (`total`) add the tiles'
shares in their order. (Where BLAS uses its own threads, these decide about the last bit.) A device
array is one tile: a GPU shares out its own work.
"""

from __future__ import annotations

import contextvars
import functools
import math
import os
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from . import blas
from .arrays import array_module
from .blas import one_blas_thread
from .heap import keep_freed_memory

NUMBERS = 1 << 19  # in a tile's widest array, 2 MiB: of less, threads would wait for Python's lock
SMALL = 1 << 21  # numbers touched, some 0.4 ms: below this another thread costs more than it saves
SHARE = 4  # an axis is cut into a multiple of so many tiles: work for four threads, not too thin
BUFFER = 1 << 16  # of NumPy's, where it adds a row to all: a quarter faster than its own 8192
PRODUCT = 8  # multiply-adds of a matrix product in the time of one number touched


# -- how many threads ------------------------------------------------------------------------------

_chosen = contextvars.ContextVar("threads", default=None)
_inside = contextvars.ContextVar("inside a tile", default=False)


@contextmanager
def use_threads(count: int) -> Iterator[None]:
    """Let tiles run on `count` threads within the block (in this thread, or asyncio task, alone).

    Raises ValueError where count is no whole number above 0.
    """
    token = _chosen.set(_checked(count, "use_threads"))
    try:
        yield
    finally:
        _chosen.reset(token)


def threads():
    """The number of threads that tiles run on here and now."""
    if _inside.get() or not blas.libraries():
        return 1
    return _chosen.get() or _default_threads()


@functools.cache
def _default_threads():
    if said := os.environ.get("MVIT_NP_THREADS"):
        count = int(said) if said.isdecimal() else said
        return _checked(count, "the environment's MVIT_NP_THREADS")
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _checked(count, where):
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        came = f"{where} says {count!r}: give 1, 2, ... or nothing"
        raise ValueError(f"threads are a whole number of at least 1; {came}")
    return count


# -- tiles -----------------------------------------------------------------------------------------


def rows(x, width=1, work=None):
    """Slices that cover the rows of x (its first axis): `blocks` of one axis."""
    return [at for (at,) in blocks(x, x.shape[:1], width, work)]


def blocks(like, shape, width=1, work=None):
    """Tuples of slices that cover an index space of `shape`.

    width   numbers at each index of the widest array in use: a block holds at most NUMBERS of them
    work    what an index costs, in numbers touched once (a product touches I x O of its weights, at
            PRODUCT times the speed); by default the width

    The first axes are cut first: (clips, heads, queries) are taken some clips, or some heads of one
    clip, or some queries of one head at a time, and so that SHARE threads get equally many. How
    many threads there are changes nothing: it would change sums and products in the last bit. A
    device array (`like` says) is one block, and so is what is less work than SMALL.
    """
    if not isinstance(like, np.ndarray) or (work or width) * math.prod(shape) < SMALL:
        return [tuple(slice(0, n) for n in shape)]
    return _cut(shape, width, SHARE)


def _cut(shape, width, share):
    """Blocks of at most NUMBERS numbers, at least (and in multiples of) `share` if they fit."""
    inner = width * math.prod(shape[1:])
    if len(shape) == 1 or (inner <= NUMBERS and shape[0] >= share):
        parts = -(-shape[0] // max(1, NUMBERS // inner))
        parts = min(shape[0], -(-parts // share) * share)
        ends = [shape[0] * i // parts for i in range(parts + 1)]
        return [(slice(a, b), *(slice(0, n) for n in shape[1:])) for a, b in zip(ends, ends[1:])]
    rest = _cut(shape[1:], width, -(-share // shape[0]))
    return [(slice(i, i + 1), *block) for i in range(shape[0]) for block in rest]


@contextmanager
def smallest():
    """Cut all arrays into tiles of a few numbers within the block, in the whole process.

    For checks: a small array goes through all that large ones go through, sums over several tiles
    above all.
    """
    global SMALL, NUMBERS
    before, (SMALL, NUMBERS) = (SMALL, NUMBERS), (1, 8)
    try:
        yield
    finally:
        SMALL, NUMBERS = before


# -- running them ----------------------------------------------------------------------------------


def run(fun, pieces):
    """fun(piece) for every piece, on all threads; a piece's work must write only what is its own.

    The caller works too, and waits for the others. The first exception is raised here, after all
    have stopped. Within a tile `run` uses no further threads. NumPy's error settings and
    `use_threads` hold inside.
    """
    helpers = min(threads(), len(pieces)) - 1 if len(pieces) > 1 else 0
    if len(pieces) > 1:  # of large arrays
        keep_freed_memory()
    if not helpers:
        for piece in pieces:
            fun(piece)
        return
    todo = deque(pieces)
    with one_blas_thread():
        sent = _send(helpers, fun, todo)
        try:
            contextvars.copy_context().run(_work, fun, todo)
        finally:
            todo.clear()
            begun = [future for future in sent if not future.cancel()]
            problems = [future.exception() for future in begun]
    for problem in filter(None, problems):
        raise problem


def _send(helpers, fun, todo):
    """Call so many threads to help; while the process ends there are none: work alone."""
    sent: list[Future[None]] = []
    with suppress(RuntimeError):
        while len(sent) < helpers:
            sent.append(_pool(helpers).submit(contextvars.copy_context().run, _work, fun, todo))
    return sent


def total(fun, pieces, like, part=lambda piece: ...):
    """Sums over all pieces, shaped as each array of `like`: fun(piece) returns its shares.

    part    part(piece) is where in the sums its shares belong; by default they are as large as the
            sums

    The shares are added in the order of the pieces, whichever thread made them: the sums have the
    same bits for any number of threads.
    """
    if len(pieces) == 1:
        return list(fun(pieces[0]))
    sums = [array_module(x).zeros(x.shape, dtype=x.dtype) for x in like]
    made, turn, order = {}, threading.Lock(), deque(pieces)

    def add_up(index):
        made[index] = fun(pieces[index])
        with turn:
            while (following := len(pieces) - len(order)) in made:
                place = part(order.popleft())
                for into, share in zip(sums, made.pop(following)):
                    into[place] += share

    run(add_up, range(len(pieces)))
    return sums


def inside():
    """Whether a tile's work is what runs here and now."""
    return _inside.get()


def _work(fun, todo):
    _inside.set(True)
    np.setbufsize(BUFFER)
    while todo:
        try:
            piece = todo.popleft()
        except IndexError:  # another thread was quicker
            return
        fun(piece)


# -- the threads -----------------------------------------------------------------------------------

_lock = threading.Lock()
_pools: dict[str, Any] = {}


def _pool(size):
    """Threads that stay, as many as were ever asked for at once; they end with the process."""
    with _lock:
        if _pools.get("size", 0) < size:
            made = ThreadPoolExecutor(size, "mvit_np", initializer=blas.begin_thread)
            _pools.update(size=size, threads=made)
        return _pools["threads"]


def _after_fork():
    """A forked child has none of its parent's threads."""
    global _lock
    _lock = threading.Lock()
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
