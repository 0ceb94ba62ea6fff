"""Exercises of notebook 05, first part: from stage to stage, and the second half of a block."""

from __future__ import annotations

import numpy as np

from .. import ops
from ..model.config import MViTConfig
from ..model.plan import plan
from .checker import Exercise

STAGE_PARTS = ("thw", "dim", "heads", "stride_kv")


def next_stage(thw, dim, heads, stride_q, stride_kv):
    """The sizes of the next stage: its grid, its width, its heads and its key-value stride.

    thw: (t, h, w) of this stage   dim, heads: whole numbers
    stride_q: of the transition   stride_kv: of this stage
    ->   thw, dim, heads, stride_kv of the next
    The grid is divided by stride_q, the width and the heads double.
    stride_kv is divided by stride_q too, so that keys and values keep their resolution.
    Hint: stride_kv is rounded down, and is 1 at least.
    """
    thw = tuple(n // s for n, s in zip(thw, stride_q))
    stride_kv = tuple(max(kv // q, 1) for kv, q in zip(stride_kv, stride_q))
    return thw, 2 * dim, 2 * heads, stride_kv


def _reference_stage(thw, dim, heads, stride_q, stride_kv):
    """From the plan of a model of two stages on cubes of one pixel."""
    pixels = dict(frames=thw[0], size=thw[1:], cube_kernel=(1, 1, 1), cube_stride=(1, 1, 1))
    blocks = dict(dim=dim, heads=heads, depths=(1, 1), stride_q=stride_q, stride_kv=stride_kv)
    block = plan(MViTConfig(**pixels, **blocks)).blocks[1]
    return block.thw_q, block.dim_out, block.heads, block.stride_kv


def _stages(rng):
    yield (8, 56, 56), 96, 1, (1, 2, 2), (1, 8, 8)
    yield (4, 12, 8), 64, 2, (2, 2, 1), (2, 4, 3)
    yield (8, 14, 14), 384, 4, (1, 2, 2), (1, 1, 1)
    yield (6, 27, 9), 10, 5, (1, 3, 3), (1, 7, 3)
    stride_q, cells, heads, stride_kv = (tuple(map(int, rng.integers(1, 5, 3))) for _ in range(4))
    thw = tuple(4 * s * n for s, n in zip(stride_q, cells))
    yield thw, heads[0] * heads[1], heads[0], stride_q, stride_kv


def _but(what, change):
    """The right answer but for one of its parts."""

    def wrong(*args):
        parts = list(next_stage(*args))
        parts[STAGE_PARTS.index(what)] = change(*args)
        return tuple(parts)

    return wrong


NEXT_STAGE = Exercise(
    next_stage,
    _reference_stage,
    _stages,
    (
        ("the grid is that of the old stage: divide it by stride_q",
         _but("thw", lambda thw, *_: thw)),
        ("time is halved as well: divide by stride_q, which may be 1 in time",
         _but("thw", lambda thw, *_: tuple(n // 2 for n in thw))),
        ("the grid is divided by stride_kv: that is for keys and values, the queries set the grid",
         _but("thw", lambda thw, d, h, q, kv: tuple(n // s for n, s in zip(thw, kv)))),
        ("the grid has whole numbers: divide with //",
         _but("thw", lambda thw, d, h, q, kv: tuple(n / s for n, s in zip(thw, q)))),
        ("the width is that of the old stage: it doubles", _but("dim", lambda thw, dim, *_: dim)),
        ("the width grows fourfold: the tokens fall to a quarter, the width doubles",
         _but("dim", lambda thw, dim, *_: 4 * dim)),
        ("the heads are those of the old stage: they double with the width, and each keeps its own",
         _but("heads", lambda thw, dim, heads, *_: heads)),
        ("the heads grow fourfold: they double with the width, and each keeps its own",
         _but("heads", lambda thw, dim, heads, *_: 4 * heads)),
        ("stride_kv is that of the old stage: divide it by stride_q",
         _but("stride_kv", lambda thw, d, h, q, kv: kv)),
        ("a stride is 1 at least: max(kv // q, 1)",
         _but("stride_kv", lambda thw, d, h, q, kv: tuple(a // b for a, b in zip(kv, q)))),
        ("stride_kv is multiplied: divide it by stride_q",
         _but("stride_kv", lambda thw, d, h, q, kv: tuple(a * b for a, b in zip(kv, q)))),
        ("stride_kv is rounded up: round down, 1 at least",
         _but("stride_kv", lambda thw, d, h, q, kv: tuple(-(-a // b) for a, b in zip(kv, q)))),
        ("a stride is a whole number: divide with //",
         _but("stride_kv", lambda thw, d, h, q, kv: tuple(max(a / b, 1) for a, b in zip(kv, q)))),
    ),
    returns=STAGE_PARTS,
)  # fmt: skip


def mlp_block(x, g, b, w1, b1, w2, b2):
    """The second half of a block: x + gelu(norm(x) W1 + b1) W2 + b2.

    x: (B, N, D)   g, b: (D,)   w1: (D, H)   b1: (H,)   w2: (H, D)   b2: (D,)   ->   (B, N, D)
    norm(x) = g (x - mean) / sqrt(var + 1e-6) + b
    Mean and variance are those of each token's channels.
    Hint: ops.gelu(h) is given. np.var divides by D, as wanted. The skip starts from x itself.
    """
    mean, var = x.mean(axis=-1, keepdims=True), x.var(axis=-1, keepdims=True)
    normed = g * (x - mean) / np.sqrt(var + 1e-6) + b
    return x + ops.gelu(normed @ w1 + b1) @ w2 + b2


def _reference_mlp(x, g, b, w1, b1, w2, b2):
    return x + ops.mlp(ops.layer_norm(x, g, b), w1, b1, w2, b2)


def _mlps(rng):
    for shape, hidden in (((2, 3, 4), 8), ((3, 5, 5), 7), ((1, 1, 6), 24)):
        d = shape[-1]
        shapes = shape, d, d, (d, hidden), hidden, (hidden, d), d
        yield tuple(map(rng.standard_normal, shapes))


def _normed_over(axis):
    """The MLP on x normed over some axis."""

    def wrong(x, g, b, *weights):
        deviation = np.sqrt(x.var(axis, keepdims=True) + 1e-6)
        return x + ops.mlp(g * (x - x.mean(axis, keepdims=True)) / deviation + b, *weights)

    return wrong


def _variance_for_deviation(x, g, b, *weights):
    normed = g * (x - x.mean(-1, keepdims=True)) / (x.var(-1, keepdims=True) + 1e-6) + b
    return x + ops.mlp(normed, *weights)


def _unbiased(x, g, b, *weights):
    deviation = np.sqrt(x.var(-1, keepdims=True, ddof=1) + 1e-6)
    return x + ops.mlp(g * (x - x.mean(-1, keepdims=True)) / deviation + b, *weights)


def _mlp_with(nonlinearity):

    def wrong(x, g, b, w1, b1, w2, b2):
        return x + nonlinearity(ops.layer_norm(x, g, b) @ w1 + b1) @ w2 + b2

    return wrong


MLP_BLOCK = Exercise(
    mlp_block,
    _reference_mlp,
    _mlps,
    (
        ("the skip is missing: add x", lambda x, *rest: mlp_block(x, *rest) - x),
        ("the skip starts from the normed x: where the width stays it starts from x itself",
         lambda x, g, b, *rest: ops.layer_norm(x, g, b) + ops.mlp(ops.layer_norm(x, g, b), *rest)),
        ("the norm is missing", lambda x, g, b, *weights: x + ops.mlp(x, *weights)),
        ("the norm comes after the MLP: it comes before",
         lambda x, g, b, *weights: ops.layer_norm(x + ops.mlp(x, *weights), g, b)),
        ("the norm's g and b are missing", lambda x, g, b, *weights: mlp_block(x, 1, 0, *weights)),
        ("the norm's gain g is missing", lambda x, g, b, *weights: mlp_block(x, 1, b, *weights)),
        ("the norm's shift b is missing", lambda x, g, b, *weights: mlp_block(x, g, 0, *weights)),
        ("the norm runs over the tokens: it treats each token alone, axis=-1", _normed_over(1)),
        ("the norm runs over the whole array: it treats each token alone, axis=-1",
         _normed_over(None)),
        ("the norm divides by nothing: divide by sqrt(var + 1e-6)",
         lambda x, g, b, *rest: x + ops.mlp(g * (x - x.mean(-1, keepdims=True)) + b, *rest)),
        ("the norm divides by the variance: divide by its root", _variance_for_deviation),
        ("the variance divides by D - 1 (ddof=1): divide by D", _unbiased),
        ("the nonlinearity is a ReLU: ops.gelu is given", _mlp_with(lambda h: np.maximum(h, 0))),
        ("the nonlinearity is missing: two linear layers in a row are one", _mlp_with(lambda h: h)),
        ("the bias b1 is missing",
         lambda x, g, b, w1, b1, w2, b2: mlp_block(x, g, b, w1, 0 * b1, w2, b2)),
        ("the bias b2 is missing",
         lambda x, g, b, w1, b1, w2, b2: mlp_block(x, g, b, w1, b1, w2, 0 * b2)),
    ),
)  # fmt: skip

EXERCISES = (NEXT_STAGE, MLP_BLOCK)
