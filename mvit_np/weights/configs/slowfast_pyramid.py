"""How a model of SlowFast's shrinks and widens from block to block, as fields of MViTConfig.

There each block has a stride and a kernel of its own, in lists of [block, numbers]; here they
follow from stages.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...backend.types import Triple
from .shapes import one_or_each
from .slowfast_fields import require

Q, KV = "MVIT.POOL_Q_STRIDE", "MVIT.POOL_KV_STRIDE"
ADAPTIVE, KERNEL = "MVIT.POOL_KV_STRIDE_ADAPTIVE", "MVIT.POOL_KVQ_KERNEL"
MOST_BLOCKS = 1000


def pyramid(said: dict[str, Any]) -> dict[str, Any]:
    """Fields of MViTConfig.   said: see `read`

    Raises ValueError for a pyramid that no MViTConfig has, naming the field.
    """
    depth = said["MVIT.DEPTH"]
    require(said, "MVIT.DEPTH", depth <= MOST_BLOCKS, "more blocks than any model has")
    strides = _strides(said, Q)
    grows = _doubling(said, "MVIT.DIM_MUL")
    together = _doubling(said, "MVIT.HEAD_MUL") == grows
    require(said, "MVIT.HEAD_MUL", together, "heads that do not double with the width")
    shrinks = [i for i, stride in strides.items() if math.prod(stride) > 1]
    starts = [0, *(grows or shrinks)]
    fits = set(shrinks) <= set(starts[1:])
    require(said, Q, fits, "queries pooled elsewhere than where a stage begins")
    depths = tuple(end - start for start, end in zip(starts, [*starts[1:], depth]))
    fields: dict[str, Any] = {"depths": depths}
    if len(starts) > 1:
        stride_q = one_or_each([strides.get(i, (1, 1, 1)) for i in starts[1:]])
        fields |= {"stride_q": stride_q, "expand": bool(grows)}
    if said["MVIT.REV.ENABLE"]:
        _check_streams(said, starts[1:])
    if said["MVIT.REV.ENABLE"] or grows and said["MVIT.DIM_MUL_IN_ATT"]:
        fields["expand_in"] = "attention"
    return fields | _keys(said, starts, strides) | _pools(said, strides, shrinks)


def triple(lengths: Sequence[float]) -> Triple:
    """(time, height, width) of lengths that may leave time out."""
    return (1,) * (3 - len(lengths)) + tuple(map(int, lengths))  # type: ignore[return-value]


def _doubling(said, name):
    """The blocks from which on a width is twice what it was."""
    rows = [row for row in said[name] or () if row and list(row[1:]) != [1]]
    for row in rows:
        fits = list(row[1:]) == [2] and 0 < row[0] < said["MVIT.DEPTH"]
        require(said, name, fits, "widths that do not double from one stage to the next")
    return sorted({int(row[0]) for row in rows})


def _strides(said, name):
    """{block: (t, h, w)} in the order of blocks."""
    found = {}
    for row in filter(None, said[name] or ()):
        block, lengths = int(row[0]), row[1:]
        whole = len(lengths) in (2, 3) and all(n == int(n) and n >= 1 for n in lengths)
        fits = whole and block < said["MVIT.DEPTH"]
        require(said, name, fits, "something else than [block, strides]")
        found[block] = triple(lengths)
    return dict(sorted(found.items()))


def _check_streams(said, starts):
    """What a reversible model does at the first block of each stage but the first."""

    def wants(name, holds, what):
        require(said, f"MVIT.REV.{name}", holds(said[f"MVIT.REV.{name}"]), what)

    wants("BUFFER_LAYERS", lambda x: sorted(x) == starts, "other stages than its widths")
    wants("RESPATH_FUSE", lambda x: x == "concat", "streams that end otherwise than joined")
    if starts:
        fused = "streams that are fused otherwise than by their mean"
        wants("PRE_Q_FUSION", lambda x: x == "avg", fused)
        wants("RES_PATH", lambda x: x == "conv", "skips that are pooled otherwise than queries")


def _keys(said, starts, strides):
    """Strides of keys and values."""
    if said[ADAPTIVE] is not None:
        fits = len(said[ADAPTIVE]) in (2, 3) and min(said[ADAPTIVE]) >= 1
        require(said, ADAPTIVE, fits, "something else than strides")
        return {"stride_kv": triple(said[ADAPTIVE]), "adaptive_kv": True}
    found = _strides(said, KV)
    if not found:
        return {"stride_kv": None}
    met = {i: _met(i, starts, strides) for i in found}  # query strides up to the block
    first = next(iter(found))
    for adaptive in (True, False):
        base, wanted = found[first], dict.fromkeys(found, found[first])
        if adaptive:
            base = tuple(s * m for s, m in zip(base, met[first]))
            wanted = {i: tuple(max(b // m, 1) for b, m in zip(base, met[i])) for i in found}
        if wanted == found:
            unpooled = tuple(i for i in range(said["MVIT.DEPTH"]) if i not in found)
            return {"stride_kv": base, "adaptive_kv": adaptive, "unpooled_kv": unpooled}
    require(said, KV, False, "key-value strides that follow neither one stride nor the queries'")


def _met(block, starts, strides):
    met = [strides.get(i, (1, 1, 1)) for i in starts[1:] if i <= block]
    return tuple(math.prod(axis) for axis in zip((1, 1, 1), *met))


def _pools(said, strides, shrinks):
    """The type of the pools, their kernel, and whether queries have one in every block."""
    kernels = _kernels(said, "MVIT.POOL_Q_KERNEL", strides)
    pooled = [i for i in strides if math.prod(strides[i]) > 1 or math.prod(kernels[i]) > 1]
    always = len(pooled) == said["MVIT.DEPTH"]
    fits = always or pooled == shrinks
    require(said, Q, fits, "queries pooled in some blocks where that shrinks nothing")
    every = [kernels[i] for i in pooled]
    keys = _strides(said, KV) if said[ADAPTIVE] is None else {}
    of_keys = _kernels(said, "MVIT.POOL_KV_KERNEL", keys).values()
    every += [kernel for kernel in of_keys if math.prod(kernel) > 1]
    fields = {"pool": said["MVIT.MODE"], "pool_kernel": _rule(said, every)}
    return fields | {"pool_q_always": always and pooled != shrinks}


def _kernels(said, rows, strides):
    """{block: (t, h, w)}: one for all, or in the words of 2021 one each, or by the stride."""
    if said[KERNEL] is not None:
        return dict.fromkeys(strides, triple(said[KERNEL]))
    by_stride = {i: tuple(s + 1 if s > 1 else 1 for s in stride) for i, stride in strides.items()}
    old = _strides(said, rows)
    return {i: old.get(i) or kernel for i, kernel in by_stride.items()}


def _rule(said, every):
    """The kernel of all, or what it follows from."""
    if said[KERNEL] is not None:
        require(said, KERNEL, len(said[KERNEL]) in (2, 3), "something else than a kernel")
        return triple(said[KERNEL])
    if said["MVIT.POOL_Q_KERNEL"] or said["MVIT.POOL_KV_KERNEL"]:
        same = len(set(every)) == 1
        require(said, "MVIT.POOL_KV_KERNEL", same, "pools with kernels of several sizes")
        return every[0]
    strides = [stride for name in (Q, KV) for stride in _strides(said, name).values()]
    lengths = [*sum(strides, ()), *(said[ADAPTIVE] or ())]
    even = all(s == 1 or s % 2 == 0 for s in lengths)
    require(said, KERNEL, even, "even kernels, of odd strides")
    return "s+1"
