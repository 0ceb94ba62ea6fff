"""Gradient accumulation: the gradient of a batch that is too large for memory, from its parts."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..backend import tree as trees
from ..backend.arrays import array_module, is_array
from ..backend.plain_values import is_whole


def accumulated(gradient: Callable[..., Any], parts: int) -> Callable[..., Any]:
    """`gradient(params, batch) -> (value, grads)` with the batch cut into so many parts.

    Memory is that of one part and of one gradient.

    gradient   of a loss that is a mean over the batch, as `value_and_grad(loss)` or
               `value_and_grad(loss, has_aux=True)` make it; a larger part weighs more
    batch      an array or a tree, whose arrays are cut along their first axis; all else goes to
               every part as it is

    Of what the loss returns, arrays are joined along their first axis and numbers (0-d arrays)
    averaged like the loss; of anything else the first part's is returned. Stochastic depth and
    dropout draw for each part anew.

    Raises ValueError for fewer than 1 part; called, also for arrays of several lengths or with
    fewer clips than parts.
    """
    if not is_whole(parts, 1):
        raise ValueError(
            f"a batch is cut into a whole number of parts, at least 1; came {parts!r}: "
            "give 1, 2, ..."
        )
    if parts == 1:
        return gradient

    @functools.wraps(gradient)
    def call(params, batch):
        results, shares, total = [], [], None
        for part, share in _cut(batch, parts):
            result, total = _one_more(gradient, params, part, share, total)
            results.append(result)
            shares.append(share)
        return trees.map(lambda *each: _merged(each, shares), *results), total

    return call


def _one_more(gradient, params, part, share, total):
    """A part's result, and the sum with its gradients, whose own memory is free on return."""
    result, grads = gradient(params, part)
    if total is None:  # new arrays: two leaves may share one gradient
        return result, trees.map(lambda g: g * share, grads)

    def add(sum_, g):
        sum_ += g * share
        return sum_

    return result, trees.map(add, total, grads)


def _cut(batch, parts):
    """(part of the batch, its share of the clips), as equal as can be."""
    lengths = {len(x) for x in trees.leaves(batch) if _has_clips(x)}
    if len(lengths) != 1:
        came = ", ".join(map(str, sorted(lengths))) or "none"
        raise ValueError(
            f"the arrays of a batch have one length, the number of clips; came {came}: "
            "pass as many of each"
        )
    (count,) = lengths
    if count < parts:
        raise ValueError(
            f"a batch of {count} clips cannot be cut into {parts} parts: "
            "take fewer parts or more clips"
        )
    ends = [count * i // parts for i in range(parts + 1)]
    for start, stop in zip(ends, ends[1:]):
        part = trees.map(lambda x, at=slice(start, stop): x[at] if _has_clips(x) else x, batch)
        yield part, (stop - start) / count


def _has_clips(x):
    return is_array(x) and x.ndim > 0


def _merged(each, shares):
    if _has_clips(each[0]):
        return _joined(each)
    if is_array(each[0]) or isinstance(each[0], (int, float)):
        return sum(x * share for x, share in zip(each, shares))
    return each[0]


def _joined(arrays):
    """As `concatenate`, which on a device would copy a table of where they are."""
    first, count = arrays[0], sum(len(x) for x in arrays)
    joined, start = array_module(first).empty((count, *first.shape[1:]), dtype=first.dtype), 0
    for x in arrays:
        joined[start : start + len(x)] = x
        start += len(x)
    return joined
