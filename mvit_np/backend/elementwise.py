"""Functions of each number alone, on all threads: no cut changes their bits."""

from . import tiles
from .arrays import array_module


def elementwise(fun, *arrays, outputs=1, passes=1):
    """New arrays of the first's shape: fun(*parts, *outs) fills the same flat part of each."""
    first, flat = arrays[0], [x.reshape(-1) for x in arrays]
    made = [array_module(first).empty(first.shape, dtype=first.dtype) for _ in range(outputs)]
    outs = [y.reshape(-1) for y in made]
    tiles.run(lambda at: fun(*(x[at] for x in (*flat, *outs))), parts(outs[0], passes))
    return made


def parts(flat, passes=1):
    """Slices of a flat array, for a function of each number alone, whose bits no cut changes.

    They are long within a tile: after a short call a thread waits for Python's lock longer.
    """
    if not tiles.inside():
        return tiles.rows(flat, 1, passes)
    starts = range(0, flat.size, tiles.NUMBERS)
    return [slice(start, start + tiles.NUMBERS) for start in starts]
