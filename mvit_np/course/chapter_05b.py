"""Exercises of notebook 05, second part: a block that widens, and what a block costs."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from operator import attrgetter

from .. import ops
from ..model.costs import costs
from ..model.plan import plan
from ..model.presets import preset
from .checker import Exercise


def widening_mlp(x, g, b, w1, b1, w2, b2, w_skip, b_skip):
    """The last MLP of a stage and its skip, which both widen the channels from D to E.

    x: (B, N, D)   g, b: (D,)   w1: (D, H)   b1: (H,)   w2: (H, E)   b2: (E,)
    w_skip: (D, E)   b_skip: (E,)   ->   (B, N, E)
    In MViT both start from the same normed x: MLP(norm(x)) + norm(x) W_skip + b_skip.
    Hint: ops.layer_norm(x, g, b) and ops.gelu(h) are given.
    """
    normed = ops.layer_norm(x, g, b)
    skip = normed @ w_skip + b_skip
    return skip + ops.gelu(normed @ w1 + b1) @ w2 + b2


def _reference_widening(x, g, b, w1, b1, w2, b2, w_skip, b_skip):
    normed = ops.layer_norm(x, g, b)
    return ops.linear(normed, w_skip, b_skip) + ops.mlp(normed, w1, b1, w2, b2)


def _mlp_and_skip(into_mlp, into_skip, w1, b1, w2, b2, w_skip, b_skip):
    return ops.mlp(into_mlp, w1, b1, w2, b2) + ops.linear(into_skip, w_skip, b_skip)


def _widenings(rng):
    for (n, tokens, d), hidden, e in (((2, 3, 4), 5, 8), ((1, 7, 3), 12, 6)):
        shapes = ((n, tokens, d), d, d, (d, hidden), hidden, (hidden, e), e, (d, e), e)
        yield tuple(rng.standard_normal(shape) for shape in shapes)


WIDENING_MLP = Exercise(
    widening_mlp,
    _reference_widening,
    _widenings,
    (
        ("the skip starts from x: "
         "in MViT it starts from the normed x (Table A.1: 77.2 against 74.6 %)",
         lambda x, g, b, *rest: _mlp_and_skip(ops.layer_norm(x, g, b), x, *rest)),
        ("the skip is missing",
         lambda x, g, b, w1, b1, w2, b2, w, c: (
             widening_mlp(x, g, b, w1, b1, w2, b2, 0 * w, 0 * c))),
        ("the skip's bias is missing",
         lambda x, g, b, w1, b1, w2, b2, w, c: (
             widening_mlp(x, g, b, w1, b1, w2, b2, w, 0 * c))),
        ("the MLP starts from x: it starts from the normed x",
         lambda x, g, b, *rest: _mlp_and_skip(x, ops.layer_norm(x, g, b), *rest)),
        ("the norm is missing", lambda x, g, b, *rest: _mlp_and_skip(x, x, *rest)),
        ("the MLP is missing: only the skip is there",
         lambda x, g, b, *rest: ops.linear(ops.layer_norm(x, g, b), *rest[4:])),
    ),
)  # fmt: skip


def block_macs(tokens_in, tokens_q, tokens_kv, dim, dim_out):
    """Multiply-adds of a whole block with max pooling.   five whole numbers   ->   one

    Attention costs what exercise 03.attention_macs says. The MLP works on the tokens_q that are
    left: its hidden layer has 4 dim channels, and its result has dim_out. Where dim_out is not dim,
    the skip has a linear layer.
    Hint: each linear layer costs tokens times channels in times channels out.
    """
    attention = 3 * tokens_in * dim * dim + 2 * tokens_q * tokens_kv * dim + tokens_q * dim * dim
    mlp = tokens_q * dim * 4 * dim + tokens_q * 4 * dim * dim_out
    skip = tokens_q * dim * dim_out if dim_out != dim else 0
    return attention + mlp + skip


@cache
def _counted_blocks():
    """{the five sizes: multiply-adds} of many blocks, as the package counts them.

    Those of MViT-B; then those of a model whose stages have one block each, so that the same block
    pools its queries and widens.
    """
    mvit = replace(preset("mvit_b_16x4"), pool="max")
    one_each = [replace(mvit, depths=(1, 1, 1, 1), dim=dim) for dim in range(32, 96, 8)]
    sizes = attrgetter("tokens_in", "tokens_q", "tokens_kv", "dim_attn", "dim_out")
    return {
        sizes(block): line.macs
        for config in (mvit, *one_each)
        for block, line in zip(plan(config).blocks, costs(config).lines[1:])
    }


def _blocks(rng):
    known = list(_counted_blocks())
    different = list(dict.fromkeys(known[:16]))  # MViT-B's
    pooled_and_widened = [each for each in known if each[0] > each[1] and each[3] != each[4]]
    yield from (different[i] for i in (2, 1, 5))
    for among in (pooled_and_widened, known):
        yield from (among[i] for i in rng.integers(0, len(among), 2))


def _plus(extra):
    """The right count and `extra`, or less where that is negative."""
    return lambda n, q, k, d, e: block_macs(n, q, k, d, e) + extra(n, q, k, d, e)


BLOCK_MACS = Exercise(
    block_macs,
    lambda *sizes: _counted_blocks()[sizes],
    _blocks,
    (
        ("the skip's linear layer is not counted, which is there where dim_out is not dim",
         _plus(lambda n, q, k, d, e: -q * d * e * (d != e))),
        ("the skip's linear layer is counted in every block: "
         "it is there only where dim_out is not dim",
         _plus(lambda n, q, k, d, e: q * d * e * (d == e))),
        ("the skip widens the pooled tokens: tokens_q, not tokens_in",
         _plus(lambda n, q, k, d, e: (n - q) * d * e * (d != e))),
        ("the MLP's second layer is not counted", _plus(lambda n, q, k, d, e: -4 * q * d * e)),
        ("the MLP's second layer ends with dim_out channels, not dim",
         _plus(lambda n, q, k, d, e: 4 * q * d * (d - e))),
        ("the MLP sees the pooled tokens: tokens_q, not tokens_in",
         _plus(lambda n, q, k, d, e: 4 * (n - q) * d * (d + e))),
        ("the MLP's hidden layer is 4 dim wide", _plus(lambda n, q, k, d, e: -3 * q * d * (d + e))),
        ("attention is not counted",
         _plus(lambda n, q, k, d, e: -(3 * n * d * d + 2 * q * k * d + q * d * d))),
        ("attention has two products between tokens: Q K' and P V",
         _plus(lambda n, q, k, d, e: -q * k * d)),
        ("attention's output projection is not counted", _plus(lambda n, q, k, d, e: -q * d * d)),
        ("a multiply-add counts as one, not two", lambda *sizes: 2 * block_macs(*sizes)),
    ),
)  # fmt: skip

EXERCISES = (WIDENING_MLP, BLOCK_MACS)
