"""Many small leaves, a few large ones: an optimiser's arithmetic on flat pieces of a tree.

What is remembered between steps is flat, one number for each of the parameters' in the tree's
order. It does not depend on what decays, on the learning rates, or on where the arrays live, so
that a run may be continued with others.

A device takes its steps in one launch each, from flat arrays to a new one (`launched`). The leaves
are then views of that, and the next step finds them flat.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..backend import tiles
from ..backend import tree as trees
from ..backend.arrays import array_module, check_not_mixed, device_tools
from ..backend.cuda.kernels import flat as fused
from ..backend.types import Array, Tree

Named = Sequence[tuple[str, Array]]  # (path, leaf)
Pair = tuple[Array, Array]  # a parameter and its gradient

SMALL = 1 << 15  # numbers in a leaf that is not worth calls of its own
PASSES = 13  # over each number, of AdamW


def flat_zeros(params: Tree) -> Array:
    """A zero for each number of the parameters, in one array. Raises TypeError for mixed dtypes."""
    leaves = trees.leaves(params)
    check_not_mixed(*leaves)
    return array_module(leaves[0]).zeros(sum(leaf.size for leaf in leaves), dtype=leaves[0].dtype)


def remembered(
    state: dict[str, Any], names: Sequence[str], leaves: Named, fresh: str
) -> list[Array]:
    """The state's arrays of those names. Raises ValueError where they do not fit the leaves."""
    if missing := [name for name in ("step", *names) if name not in state]:
        raise ValueError(
            f"the state has no {' and no '.join(missing)}, only {', '.join(state)}: "
            f"begin with {fresh}(params)"
        )
    size, dtype = sum(leaf.size for _, leaf in leaves), leaves[0][1].dtype
    for flat in (state[name] for name in names):
        if flat.shape != (size,):
            raise ValueError(
                f"the state is of {flat.size} numbers, the parameters are {size}: "
                f"begin with {fresh}(params)"
            )
        if flat.dtype != dtype:
            raise ValueError(
                f"the state is {flat.dtype}, the parameters are {dtype}: begin with {fresh}(params)"
            )
    return [state[name] for name in names]


def paired(leaves: Named, grads: Tree) -> list[Pair]:
    """(parameter, gradient) of each (path, parameter). Raises ValueError where the trees differ."""
    found = dict(trees.paths(grads))
    if differing := found.keys() ^ {path for path, _ in leaves}:
        raise ValueError(
            f"gradients are a tree like the parameters'; only one of the two has {min(differing)!r}"
        )
    for path, p in leaves:
        if p.shape != found[path].shape:
            raise ValueError(
                "gradients have their parameters' shapes; "
                f"came {found[path].shape} for {p.shape} at {path!r}"
            )
    return [(p, found[path]) for path, p in leaves]


def in_one_launch(arrays: Iterable[Array]) -> bool:
    """Whether kernels may take all these arrays at once: they lie on a device, and of one dtype."""
    arrays = iter(arrays)
    first = next(arrays)
    if device_tools(first) is None or first.dtype not in ("float32", "float64"):
        return False
    return all(type(x) is type(first) and x.dtype == first.dtype for x in arrays)


def launched(
    kernel: Callable[..., None],
    pairs: Sequence[Pair],
    flats: Sequence[Array],
    settings: Sequence[tuple],
    now: Array,
) -> list[Array]:
    """New leaves, views of one array that a kernel fills; it changes the flats in place.

    kernel          takes p, g, *flats, new, now, table
    pairs, flats    as with `updated`, but on a device: see `in_one_launch`
    settings        numbers of each leaf, a tuple a leaf: what the table holds
    now             what changes from step to step, such as `numbers_there` gives
    """
    leaves, grads = zip(*pairs)
    p = fused.joined(leaves)
    new, g = array_module(p).empty_like(p), fused.joined(grads)
    sizes = tuple(leaf.size for leaf in leaves)
    numbers = tuple(tuple(map(float, of_leaf)) for of_leaf in settings)
    kernel(p, g, *flats, new, now, fused.table(p, sizes, numbers))
    return trees.views(new, leaves)


def is_given(number: Any) -> bool:
    """Whether an array on a device came for what changes in a step, where else a number does."""
    return getattr(number, "ndim", 0) > 0


def numbers_there(given: Any, numbers: Sequence[Any], like: Array) -> Array:
    """What changes from step to step, on the device of `like`: `given`, or else the numbers.

    Raises ValueError for an array of another shape or dtype.
    """
    if is_given(given):
        fits = given.shape == (len(numbers),) and given.dtype == "float64"
        if not (fits and given.flags.c_contiguous):
            raise ValueError(
                f"what changes in a step are {len(numbers)} float64 numbers in a row; came "
                f"{given.dtype} {given.shape}: make an array of that many and `fill` it"
            )
        return given
    now = array_module(like).empty(len(numbers), dtype="float64")
    fused.fill(now, numbers)
    return now


def refuse_given(number: Any) -> None:
    """Raise TypeError where an array of a step's numbers came, with no kernel there to read it."""
    if is_given(number):
        raise TypeError(
            "an array of a step's numbers is for a device's kernels; "
            f"came shape {number.shape}: give a number"
        )


def updated(
    update: Callable[..., None],
    pairs: Sequence[Pair],
    flats: Sequence[Array],
    settings: Sequence[tuple],
) -> list[Array]:
    """New leaves, which `update` fills piece by piece; it changes the flats in place.

    update     takes p, g, *flats, new, scratch, *settings
    pairs      what `paired` gives
    flats      arrays as `flat_zeros` makes them
    scratch    an array to compute in once g is used up, or None
    settings   numbers of each leaf, a tuple a leaf; in a piece of several leaves that differ,
               arrays of such numbers
    """
    new: list[Array] = []
    pieces: list[tuple] = []
    start = 0
    members = zip(pairs, settings)
    for small, run in itertools.groupby(members, lambda member: _is_small(member[0][0])):
        leaves, numbers = zip(*run)
        stop = start + sum(p.size for p, _ in leaves)
        cut = [flat[start:stop] for flat in flats]
        made, work = (_joined if small else _separate)(leaves, numbers, cut)
        new, pieces, start = new + made, pieces + work, stop
    tiles.run(lambda piece: update(*piece), pieces)
    return new


def _is_small(p):
    # On a device none is: joining them would copy a table of their places there.
    return p.size < SMALL and isinstance(p, np.ndarray)


def _joined(leaves, numbers, flats):
    """New arrays, views of one, and the work as one piece: calls for each would take longer."""
    p, g = (np.concatenate(arrays, axis=None) for arrays in zip(*leaves))
    new, sizes = np.empty_like(p), [p.size for p, _ in leaves]
    made = trees.views(new, [p for p, _ in leaves])
    settings = [_of_each(values, sizes, p.dtype) for values in zip(*numbers)]
    return made, [(p, g, *flats, new, g, *settings)]


def _of_each(values, sizes, dtype):
    """One number where all are the same, else an array that has each so many times."""
    return values[0] if len(set(values)) == 1 else np.repeat(np.array(values, dtype), sizes)


def _separate(leaves, numbers, flats):
    """New arrays, and the work: a piece for each tile of a leaf."""
    made, pieces = [array_module(p).empty(p.shape, dtype=p.dtype) for p, _ in leaves], []
    for (p, g), new, setting, (start, stop) in zip(leaves, made, numbers, _spans(leaves)):
        flat = [x.reshape(-1) for x in (p, g, *(whole[start:stop] for whole in flats), new)]
        cut = tiles.rows(flat[0], 2, PASSES)  # half as large as usual: five arrays are in use
        pieces += [(*(x[at] for x in flat), None, *setting) for at in cut]
    return made, pieces


def _spans(leaves):
    """Where each leaf's numbers begin and end among all."""
    return itertools.pairwise(itertools.accumulate((p.size for p, _ in leaves), initial=0))
