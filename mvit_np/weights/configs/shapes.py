"""What the shapes of parameters alone say of a config."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...backend.types import Params, Triple

# By rule, the stride of a kernel above 1.
RULES = {"s+1": lambda k: k - 1, "2s+1": lambda k: (k - 1) / 2, "s": lambda k: k}


def visible(params: Params, depths: Sequence[int] | None = None) -> dict[str, Any]:
    """{field: value} of each field that the shapes decide; depths: where another source tells them.

    `heads` is among them only with pooling convolutions or relative positions, `depths` only where
    the width grows or queries are pooled by convolutions. Raises ValueError for shapes that no
    config has.
    """
    blocks, cube = params["blocks"], params["patch_embed"]["w"].shape
    widths = [_widths(block) for block in blocks]
    if min(*cube, *(min(width) for width in widths)) < 1:
        raise ValueError(
            "every layer has channels, and one of these has none: they are no model's parameters"
        )
    seen = {
        "channels": cube[3],
        "num_classes": params["head"]["w"].shape[1],
        "dim": cube[4],
        "cube_kernel": cube[:3],
        "mlp_ratio": whole(widths[0][2] / widths[0][1]),
        "qkv_bias": "b" in blocks[0]["attn"]["qkv"],
        "cls_token": "cls_token" in params,
        "reversible": params["norm"]["g"].size == 2 * widths[-1][3],
    }
    starts = _starts(blocks, widths) if depths is None else stage_starts(depths)
    if len(starts) > 1:
        seen["depths"] = tuple(b - a for a, b in zip(starts, [*starts[1:], len(blocks)]))
        seen |= _widening(widths)
    return seen | _heads(blocks, widths, seen) | _positions(params)


def stage_starts(depths: Sequence[int]) -> list[int]:
    """The first block of each stage."""
    return [sum(depths[:i]) for i in range(len(depths))]


def pools(blocks: Sequence[Params], starts: Sequence[int]) -> list[dict[str, Any]]:
    """Every way to explain the pooling convolutions, the plainest first: dicts of config fields."""
    q, kv = (_kernels(blocks, which) for which in ("pool_q", "pool_k"))
    if not q and not kv:
        return [{}]
    # whether queries are pooled in blocks where that shrinks nothing
    always = all(i in q for i in range(len(blocks)) if i == 0 or i not in starts)
    strides = {} if always or len(starts) < 2 else {"stride_q": _strides(q, starts)}
    unpooled = tuple(i for i in range(len(blocks)) if i not in kv)
    uniform = len({*q.values(), *kv.values()}) == 1
    found = []
    if uniform:
        kernel = next(iter((q | kv).values()))
        plain = {"pool": "conv", "pool_kernel": kernel, "pool_q_always": always} | strides
        found.append(plain | ({"stride_kv": None} if not kv else {"unpooled_kv": unpooled}))
    ruled = [_ruled(rule, q, kv, starts) for rule in RULES]
    ruled = [fields for fields in ruled if fields]
    return found + ruled if not uniform or not unpooled or not kv else ruled + found


def one_or_each(strides: Sequence[tuple[int, ...]]) -> tuple:
    """`stride_q` of a config: the stride of all transitions, or one for each."""
    return strides[0] if len(set(strides)) == 1 else tuple(strides)


def whole(ratio: float) -> float:
    """A ratio as a config has it: an int where it is a whole number."""
    return int(ratio) if math.isfinite(ratio) and ratio == int(ratio) else ratio


def of_the_file(params: Params, told: dict[str, Any]) -> dict[str, Any]:
    """{field: value} of what a file may have otherwise than the model that it was made from.

    told   how that model pools: `pool`, `pool_kernel` and `stride_kv`

    Files of early 2021 lack the key pools of some blocks.
    """
    found = {
        "channels": params["patch_embed"]["w"].shape[3],
        "num_classes": params["head"]["w"].shape[1],
    }
    by_stride = told["stride_kv"] is not None and not isinstance(told["pool_kernel"], str)
    if by_stride and told["pool"] == "conv":
        attns = [block["attn"] for block in params["blocks"]]
        found["unpooled_kv"] = tuple(i for i, attn in enumerate(attns) if "pool_k" not in attn)
    return found


def relative_strides(
    blocks: Sequence[Params], starts: Sequence[int], grid: tuple[int, int]
) -> tuple[Triple, ...]:
    """Query strides of the transitions as far as relative tables tell, else (1, 2, 2).

    grid: (t, h) of the first stage
    """
    strides = []
    for start, end in zip(starts[1:], [*starts[2:], len(blocks)]):
        old, grid = grid, _grid_after(blocks, start, end, grid)
        time, space = (max(n // max(new, 1), 1) for n, new in zip(old, grid))
        strides.append((time, space, space))
    return tuple(strides)


def relative_grid(attn: Params) -> tuple[int | None, int]:
    """(t or None, h) of the input grid of a block that pools no queries, by its relative tables."""
    t = attn.get("rel_pos_t")
    return (None if t is None else (len(t) + 1) // 2), (len(attn["rel_pos_h"]) + 1) // 2


def _grid_after(blocks, start, end, grid):
    """Tables of a transition are as long as q or k wants; later blocks tell the new grid."""
    t, h = grid[0], grid[1] // 2
    if start + 1 < end:
        t, h = relative_grid(blocks[start + 1]["attn"])
    elif end < len(blocks):
        t = relative_grid(blocks[end]["attn"])[0]
    return (grid[0] if t is None else t), h


def _widths(block):
    """(into the block, in its attention, in its MLP, out of it)"""
    into, attn = block["norm1"]["g"].size, block["attn"]["qkv"]["w"].shape[1] // 3
    return into, attn, block["mlp"]["fc1"]["w"].shape[1], block["mlp"]["fc2"]["w"].shape[1]


def _starts(blocks, widths):
    """The first block of each stage: where the width grows, or else where queries are pooled."""
    ends = [(i, into, attn, out) for i, (into, attn, _, out) in enumerate(widths)]
    grown = {i + (out != attn) for i, into, attn, out in ends if into != attn or out != attn}
    if not grown:
        pooled = {i for i, block in enumerate(blocks) if "pool_q" in block["attn"]}
        grown = set() if 0 in pooled else pooled
    return sorted({0, *grown} - {len(blocks)})


def _widening(widths):
    attn, mlp = (any(w[a] != w[b] for w in widths) for a, b in ((0, 1), (1, 3)))
    if attn and mlp or any(w[3] not in (w[0], 2 * w[0]) for w in widths):
        rule = "a width doubles, either in attentions or in MLPs"
        raise ValueError(f"{rule}; these widths do not: they are another model's")
    if not attn and not mlp:
        return {"expand": False}
    return {"expand": True, "expand_in": "attention" if attn else "mlp"}


def _heads(blocks, widths, seen):
    for i, block in enumerate(blocks):
        for name in ("rel_pos_h", "pool_q", "pool_k"):
            part = block["attn"].get(name)
            if part is not None:
                width = (part["w"] if name != "rel_pos_h" else part).shape[-1]
                growth = max(widths[i][1] // seen["dim"], 1) if seen.get("expand") else 1
                return {"heads": max(widths[i][1] // max(width, 1) // growth, 1)}
    return {}


def _positions(params):
    tables = {"pos_embed_temporal": "separate", "pos_embed_spatial": "space", "pos_embed": "joint"}
    absolute = [positions for table, positions in tables.items() if table in params]
    first = params["blocks"][0]["attn"]
    if "rel_pos_h" in first and absolute:
        rule = "a model has absolute or relative positions"
        raise ValueError(f"{rule}; these parameters have both: take another checkpoint")
    if "rel_pos_h" in first:
        return {"positions": "relative", "relative_time": "rel_pos_t" in first}
    return {"positions": absolute[0] if absolute else "none"}


def _kernels(blocks, which):
    pools = {i: block["attn"].get(which) for i, block in enumerate(blocks)}
    return {i: pool["w"].shape[:3] for i, pool in pools.items() if pool}


def _strides(q, starts):
    """A transition without a pool for queries shrinks nothing; others as in released models."""
    return one_or_each([(1, 2, 2) if start in q else (1, 1, 1) for start in starts[1:]])


def _ruled(rule, q, kv, starts):
    """The config whose kernels follow a rule, so that they tell the strides; else None."""
    strides_q = tuple(_stride(rule, q.get(start)) for start in starts[1:])
    strides = [*strides_q, _stride(rule, kv.get(0))]
    if any(length % 1 or length < 1 for stride in strides for length in stride):
        return None
    *of_queries, of_keys = [tuple(map(int, stride)) for stride in strides]
    fields = {"pool": "conv", "pool_kernel": rule, "stride_kv": of_keys, "unpooled_kv": ()}
    return fields | ({"stride_q": one_or_each(of_queries)} if of_queries else {})


def _stride(rule, kernel):
    return tuple(RULES[rule](k) if k > 1 else 1 for k in kernel or (1, 1, 1))
