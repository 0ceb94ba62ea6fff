"""Which tokens speak for a class: attention, weighted by how much it moves the class's score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..autodiff.hooks import watching
from ..autodiff.tape import vjp
from ..backend.arrays import from_host, to_host
from ..backend.types import Array, Params
from ..ops.attend import attention_weights, heads_first
from .config import MViTConfig
from .forward import forward
from .inspection import attended, check_one_list, past_attention, read_by_head
from .plan import plan as plan_of


def relevance(
    params: Params, clip: Array, config: MViTConfig, classes: Sequence[int] | None = None
) -> Array:
    """How much each embedded token speaks for a class.

    clip: (B, T, H, W, C)   ->   (B, t, h, w) float64 on the host, at least 0; each map sums to 1,
    or is 0 everywhere where no token speaks for the class

    classes   (B,) the class of each clip that is asked about; None: the most probable one

    Gradient-weighted rollout (Chefer, Gur and Wolf 2021, arXiv 2103.15679). In each block the
    attention A is weighted with the slope of the class's score s: mean over heads of
    max(0, A ds/dA). What is read by the head is then followed to the bottom as in
    `attention_rollout`: a token hands its relevance on to what it attended to, in addition to
    what the skip hands on. With pooling (ours) a key's relevance is spread evenly over the tokens
    of its window. The map is what attention has brought there: what the skips alone bring is
    taken off.

    It takes a forward and a backward pass, and holds the attention of all blocks at once. Raises
    ValueError for classes that the model does not have, and for models with two streams or with
    frames encoded alone.
    """
    plan = plan_of(config)
    check_one_list(plan, "relevance")
    batch = len(clip)
    weighted = _weighted_attention(params, clip, config, classes)
    shares = alone = read_by_head(plan, batch)
    for cam, block in zip(weighted[::-1], plan.blocks[::-1]):
        given = attended(shares, cam[:, None], block)
        skipped, alone = past_attention(shares, block), past_attention(alone, block)
        if skipped is None:
            shares, alone = given, np.zeros_like(given)
        else:
            shares = given + skipped
    found = np.maximum(shares - alone, 0)[:, plan.embed.cls :]
    total = found.sum(axis=1, keepdims=True)
    return (found / np.where(total > 0, total, 1)).reshape(batch, *plan.embed.thw)


def _weighted_attention(params, clip, config, classes):
    """max(0, A ds/dA) of every block as a mean over heads.   ->   [(B, Nq, Nk) float64, ...]"""
    seen: list[tuple] = []
    slopes: list[tuple] = []

    def watch(name, phase, seconds, arguments, static, result):
        if name == "attend":
            (seen if phase == "forward" else slopes).append(arguments)

    with watching(watch):
        logits, pull = vjp(lambda clip: forward(params, clip, config), [clip])
        pull(_one_hot(logits, classes))
    return [_weighted(*given, *slope) for given, slope in zip(seen, slopes[::-1])]


def _one_hot(logits, classes):
    """1 at each clip's class.   logits: (B, K)   ->   (B, K)"""
    chosen = to_host(logits).argmax(axis=1) if classes is None else np.asarray(classes)
    count, among = logits.shape
    whole = chosen.shape == (count,) and chosen.dtype.kind in "iu"
    if not whole or not (0 <= chosen.min() and chosen.max() < among):
        raise ValueError(
            f"relevance asks about one of the {among} classes for each of the {count} clips; came "
            f"{classes!r}: give whole numbers from 0 to {among - 1}"
        )
    return from_host((np.arange(among) == chosen[:, None]).astype(logits.dtype), logits)


def _weighted(q, k, v, scale, dz):
    """With Z = A V:  dA = dZ V'."""
    weights = to_host(attention_weights(q, k, scale)).astype(np.float64)
    slope = to_host(heads_first(dz) @ heads_first(v).swapaxes(-1, -2))
    return np.maximum(weights * slope, 0).mean(axis=1)
