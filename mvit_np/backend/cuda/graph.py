"""CUDA graphs: a function's launches recorded once, then replayed by one call without Python.

A recording holds addresses, not arrays. So what it works on must stay where it is: its inputs are
copies of its own, and all it allocates comes from a pool of its own, which nobody else takes memory
from. An array that the function takes from elsewhere has to live as long as the graph. What is to
differ from one replay to the next has to be an input; a Python number is the same in all of them.
"""

from __future__ import annotations

import functools
import threading
from contextlib import suppress

from .. import tree as trees
from ..arrays import array_module

_one_at_a_time = threading.Lock()  # all record on one stream
WARM_UP = 2  # calls before the recording, which may not compile kernels, and to fill the pool


class Graphed:
    """`fun(carried, given) -> (carried, results)`, recorded at once and replayed at every call.

    carried   a tree of device arrays that one call hands to the next, such as parameters; copied
              here, see `carried`
    given     a tree of device arrays that come anew with every call, such as clips; those here are
              examples

    `fun` may change what it is given in place. It must not look at a number, copy from or to the
    host, or decide by anything but shapes. Raises RuntimeError where it does. All graphs of a
    process work in the same memory of cuBLAS: replay them on one stream.
    """

    def __init__(self, fun, carried, given):
        xp = array_module(trees.leaves(given)[0])
        self._pool = xp.cuda.MemoryPool()
        stream = _stream(xp, xp.cuda.Device().id)
        xp.cuda.get_current_stream().synchronize()
        xp.get_default_memory_pool().free_all_blocks()  # what lies there unused is needed here
        with _one_at_a_time, xp.cuda.using_allocator(self._pool.malloc), stream:
            self._carried, self._given = trees.map(_copy, carried), trees.map(_copy, given)
            for _ in range(WARM_UP):
                fun(self._carried, self._given)
            held = self._pool.total_bytes()
            self._graph, self._results = _recorded(lambda: self._step(fun), stream)
            if self._pool.total_bytes() < held:  # blocks of the recording were given back
                raise MemoryError(
                    "there is too little memory on the device to record this as a graph: "
                    "take fewer clips at a time"
                )
            _store(carried, self._carried)
            _store(given, self._given)
            stream.synchronize()

    def __call__(self, given):
        """The results, in arrays that the next call overwrites.

        Raises ValueError for arrays of other shapes or dtypes than the examples'.
        """
        for value, example in zip(trees.leaves(given), trees.leaves(self._given), strict=True):
            if value.shape != example.shape or value.dtype != example.dtype:
                came = f"came {value.dtype} {value.shape} for {example.dtype} {example.shape}"
                rule = "a graph takes arrays like the ones it was recorded with"
                raise ValueError(f"{rule}; {came}: record another")
        _store(given, self._given)
        self._graph.launch()
        return self._results

    @property
    def carried(self):
        """What was handed on, in arrays that the next call overwrites."""
        return self._carried

    @property
    def given(self):
        """The arrays that are read; whoever writes into them need not pass others."""
        return self._given

    def _step(self, fun):
        carried, results = fun(self._carried, self._given)
        _store(carried, self._carried)
        return results


@functools.cache
def _stream(xp, device):
    """The stream of all recordings, with a cuBLAS handle and a workspace of its own."""
    return xp.cuda.Stream(non_blocking=True)


def _recorded(step, stream):
    stream.begin_capture()
    try:
        results = step()
    except BaseException as problem:
        _give_up(stream)
        if not isinstance(problem, Exception):  # Ctrl-C
            raise
        rule = "a step recorded as a graph neither waits for the device nor copies from the host"
        remedy = "Leave out the graph, or find what does so"
        raise RuntimeError(f"{rule}; here: {problem}. {remedy}") from problem
    return stream.end_capture(), results


def _give_up(stream):
    """End the recording, which an error has made invalid."""
    with suppress(Exception):  # it says again that the recording is invalid
        stream.end_capture()


def _copy(x):
    return x.copy()


def _store(values, arrays):
    """Write the values into the arrays that are there already, but none into itself."""
    for value, array in zip(trees.leaves(values), trees.leaves(arrays), strict=True):
        if value is not array:
            array[...] = value
