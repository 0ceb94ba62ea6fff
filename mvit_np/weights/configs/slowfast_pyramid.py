"""How a model of SlowFast's shrinks and widens from block to block, as fields of MViTConfig.

There each block has a stride and a kernel of its own, in lists of [block, numbers]; here they
follow from stages.
"""

from __future__ import annotations

import math

from .slowfast_fields import require

Q, KV, ADAPTIVE, KERNEL = (
    "MVIT.POOL_Q_STRIDE",
    "MVIT.POOL_KV_STRIDE",
    "MVIT.POOL_KV_STRIDE_ADAPTIVE",
    "MVIT.POOL_KVQ_KERNEL",
)
MOST_BLOCKS = 1000


def pyramid(said):
    """Fields of MViTConfig. Raises ValueError for a pyramid that no MViTConfig has, naming the
    field.

    said: see `read`
    """
    depth = said["MVIT.DEPTH"]
    require(said, "MVIT.DEPTH", depth <= MOST_BLOCKS, "more blocks than any model has")
    strides = _strides(said, Q)
    grows = _doubling(said, "MVIT.DIM_MUL")
    require(
        said,
        "MVIT.HEAD_MUL",
        _doubling(said, "MVIT.HEAD_MUL") == grows,
        "heads that do not double with the width",
    )
    shrinks = [i for i, stride in strides.items() if math.prod(stride) > 1]
    starts = [0, *(grows or shrinks)]
    require(
        said,
        Q,
        set(shrinks) <= set(starts[1:]),
        "queries pooled elsewhere than where a stage begins",
    )
    fields = {"depths": tuple(end - start for start, end in zip(starts, [*starts[1:], depth]))}
    if len(starts) > 1:
        fields |= {
            "stride_q": _alike([strides.get(i, (1, 1, 1)) for i in starts[1:]]),
            "expand": bool(grows),
        }
    if said["MVIT.REV.ENABLE"]:
        _check_streams(said, starts[1:])
    if said["MVIT.REV.ENABLE"] or grows and said["MVIT.DIM_MUL_IN_ATT"]:
        fields["expand_in"] = "attention"
    return fields | _keys(said, starts, strides) | _pools(said, strides, shrinks)


def triple(lengths):
    """(time, height, width) of lengths that may leave time out."""
    return (1,) * (3 - len(lengths)) + tuple(map(int, lengths))


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
        whole = len(lengths) in (2, 3) and all(
            length == int(length) and length >= 1 for length in lengths
        )
        require(
            said, name, whole and block < said["MVIT.DEPTH"], "something else than [block, strides]"
        )
        found[block] = triple(lengths)
    return dict(sorted(found.items()))


def _check_streams(said, starts):
    """What a reversible model does where it is not reversible: at the first block of each stage but
    the first.
    """
    require(
        said,
        "MVIT.REV.BUFFER_LAYERS",
        sorted(said["MVIT.REV.BUFFER_LAYERS"]) == starts,
        "other stages than its widths",
    )
    require(
        said,
        "MVIT.REV.RESPATH_FUSE",
        said["MVIT.REV.RESPATH_FUSE"] == "concat",
        "streams that end otherwise than joined",
    )
    if starts:
        fuse, path = said["MVIT.REV.PRE_Q_FUSION"], said["MVIT.REV.RES_PATH"]
        require(
            said,
            "MVIT.REV.PRE_Q_FUSION",
            fuse == "avg",
            "streams that are fused otherwise than by their mean",
        )
        require(
            said,
            "MVIT.REV.RES_PATH",
            path == "conv",
            "skips that are pooled otherwise than queries",
        )


def _keys(said, starts, strides):
    """Strides of keys and values."""
    if said[ADAPTIVE] is not None:
        require(
            said,
            ADAPTIVE,
            len(said[ADAPTIVE]) in (2, 3) and min(said[ADAPTIVE]) >= 1,
            "something else than strides",
        )
        return {"stride_kv": triple(said[ADAPTIVE]), "adaptive_kv": True}
    found = _strides(said, KV)
    if not found:
        return {"stride_kv": None}
    met = {i: _met(i, starts, strides) for i in found}  # query strides up to the block
    first = next(iter(found))
    for adaptive in (True, False):
        base = tuple(s * m for s, m in zip(found[first], met[first])) if adaptive else found[first]
        wanted = {
            i: tuple(max(b // m, 1) for b, m in zip(base, met[i])) if adaptive else base
            for i in found
        }
        if wanted == found:
            unpooled = tuple(i for i in range(said["MVIT.DEPTH"]) if i not in found)
            return {"stride_kv": base, "adaptive_kv": adaptive, "unpooled_kv": unpooled}
    require(said, KV, False, "key-value strides that follow neither one stride nor the queries'")


def _met(block, starts, strides):
    met = [strides.get(i, (1, 1, 1)) for i in starts[1:] if i <= block]
    return tuple(math.prod(axis) for axis in zip((1, 1, 1), *met))


def _pools(said, strides, shrinks):
    """The kind of pools, their kernel, and whether queries have one in every block."""
    kernels = _kernels(said, "MVIT.POOL_Q_KERNEL", strides)
    pooled = [
        i for i, stride in strides.items() if math.prod(stride) > 1 or math.prod(kernels[i]) > 1
    ]
    always = len(pooled) == said["MVIT.DEPTH"]
    require(
        said,
        Q,
        always or pooled == shrinks,
        "queries pooled in some blocks where that shrinks nothing",
    )
    every = [kernels[i] for i in pooled]
    keys = _strides(said, KV) if said[ADAPTIVE] is None else {}
    every += [
        kernel
        for kernel in _kernels(said, "MVIT.POOL_KV_KERNEL", keys).values()
        if math.prod(kernel) > 1
    ]
    return {
        "pool": said["MVIT.MODE"],
        "pool_kernel": _rule(said, every),
        "pool_q_always": always and pooled != shrinks,
    }


def _kernels(said, rows, strides):
    """{block: (t, h, w)}: one for all, or in the words of 2021 one each, or by the stride."""
    if said[KERNEL] is not None:
        return dict.fromkeys(strides, triple(said[KERNEL]))
    old = _strides(said, rows)
    return {
        i: old.get(i) or tuple(s + 1 if s > 1 else 1 for s in stride)
        for i, stride in strides.items()
    }


def _rule(said, every):
    """The kernel of all, or what it follows from."""
    if said[KERNEL] is not None:
        require(said, KERNEL, len(said[KERNEL]) in (2, 3), "something else than a kernel")
        return triple(said[KERNEL])
    if said["MVIT.POOL_Q_KERNEL"] or said["MVIT.POOL_KV_KERNEL"]:
        require(
            said, "MVIT.POOL_KV_KERNEL", len(set(every)) == 1, "pools with kernels of several sizes"
        )
        return every[0]
    even = [stride for name in (Q, KV) for stride in _strides(said, name).values()] + [
        said[ADAPTIVE] or ()
    ]
    require(
        said,
        KERNEL,
        all(s == 1 or s % 2 == 0 for stride in even for s in stride),
        "even kernels, of odd strides",
    )
    return "s+1"


def _alike(strides):
    return strides[0] if len(set(strides)) == 1 else tuple(strides)
