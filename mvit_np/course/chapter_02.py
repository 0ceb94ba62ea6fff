"""Exercises of notebook 02: pooling."""

from __future__ import annotations

from functools import partial

import numpy as np

from .. import ops
from ..model.layers.pooling import pool_tokens as pool_tokens_of_the_model
from ..model.specs import PoolSpec
from ..ops.windows import out_grid
from .checker import SPECIFICATION, Exercise


def pool_length(n, kernel, stride):
    """How many tokens a pool with an odd kernel gives for n tokens on one axis.

    n, kernel, stride: whole numbers   ->   one whole number

    At each end kernel // 2 cells are added, as in MViT.
    Hint: count the windows, the first included. With kernel 3 and stride 2, 56 tokens become 28.
    What becomes of 7 tokens?
    """
    return (n + 2 * (kernel // 2) - kernel) // stride + 1


def _reference_length(n, kernel, stride):
    return out_grid((n,), (kernel,), (stride,), (kernel // 2,))[0]


def _lengths(rng):
    yield from ((20, 7, 3), (8, 5, 1), (7, 3, 2), (56, 3, 2), (56, 3, 8), (14, 9, 8), (9, 1, 4))
    for _ in range(3):
        yield int(rng.integers(9, 90)), 1 + 2 * int(rng.integers(0, 5)), int(rng.integers(1, 9))


POOL_LENGTH = Exercise(
    pool_length,
    _reference_length,
    _lengths,
    (
        ("n // stride is right only where the stride divides n: 7 tokens become 4",
         lambda n, k, s: n // s),
        ("the padding is not counted", lambda n, k, s: (n - k) // s + 1),
        ("the padding is on both sides: it counts twice",
         lambda n, k, s: (n + k // 2 - k) // s + 1),
        ("the first window is not counted: add 1",
         lambda n, k, s: (n + 2 * (k // 2) - k) // s),
        ("a length is a whole number: divide with //, which rounds down",
         lambda n, k, s: (n + 2 * (k // 2) - k) / s + 1),
        ("the padding is half of the kernel, rounded down; yours is that of the stride",
         lambda n, k, s: (n + 2 * (s // 2) - k) // s + 1),
    ),
)  # fmt: skip


def max_pool(x, kernel, stride, padding):
    """The largest number in each window, for each channel alone.

    x: (B, T, H, W, D)   kernel, stride, padding: three numbers   ->   (B, t, h, w, D)
    Padding is on both sides of time, height and width, and is never the largest.
    Hint: pad with -inf (np.pad has constant_values), then loop over the windows, and join their
    maxima with np.stack.
    """
    pads = [(0, 0), *((p, p) for p in padding), (0, 0)]
    x = np.pad(x, pads, constant_values=-np.inf)
    t, h, w = ((n - k) // s + 1 for n, k, s in zip(x.shape[1:4], kernel, stride))
    y = []
    for i, j, k in np.ndindex(t, h, w):
        starts = np.multiply((i, j, k), stride)
        frames, rows, columns = (slice(at, at + n) for at, n in zip(starts, kernel))
        y.append(x[:, frames, rows, columns].max(axis=(1, 2, 3)))
    return np.stack(y, axis=1).reshape(x.shape[0], t, h, w, -1)


def _grids(rng):
    yield rng.standard_normal((2, 4, 5, 7, 3)) - 1, (3, 3, 3), (1, 2, 2), (1, 1, 1)
    yield rng.standard_normal((1, 3, 6, 4, 2)), (1, 2, 2), (1, 2, 2), (0, 0, 0)
    yield rng.standard_normal((1, 5, 3, 8, 1)) - 3, (3, 1, 5), (2, 1, 4), (1, 0, 2)
    yield rng.standard_normal((1, 3, 7, 7, 2)) - 1000, (3, 4, 3), (1, 3, 3), (1, 1, 0)


def _padded_by(number):
    """Max pooling with the grid padded by some number."""

    def wrong(x, kernel, stride, padding):
        pads = [(0, 0), *((p, p) for p in padding), (0, 0)]
        wide = np.pad(x, pads, constant_values=number)
        return max_pool(wide, kernel, stride, (0, 0, 0))

    return wrong


MAX_POOL = Exercise(
    max_pool,
    ops.max_pool,
    _grids,
    (
        ("the padding is zeros, which win over negative numbers: pad with -inf",
         _padded_by(0)),
        ("the padding is a small number, which wins over smaller ones still: pad with -inf",
         _padded_by(-3)),
        ("the grid is not padded", lambda x, k, s, p: max_pool(x, k, s, (0, 0, 0))),
        ("the mean of each window is taken, not its largest number", ops.avg_pool),
        ("the smallest number of each window is taken", lambda x, k, s, p: -max_pool(-x, k, s, p)),
        ("the largest size is taken: the sign counts too",
         lambda x, k, s, p: max_pool(abs(x), k, s, p)),
        ("the window moves by 1: it moves by the stride",
         lambda x, k, s, p: max_pool(x, k, (1, 1, 1), p)),
        ("the window moves by its own size: it moves by the stride",
         lambda x, k, s, p: max_pool(x, k, k, p)),
        ("the maximum runs over the channels too: each channel is pooled alone",
         lambda x, k, s, p: max_pool(x, k, s, p).max(-1, keepdims=True)),
        ("one cell of each window is taken, not the largest",
         lambda x, k, s, p: x[:, :: s[0], :: s[1], :: s[2]]),
    ),
)  # fmt: skip


def depthwise_conv(x, weight, stride, padding):
    """Slide one small filter per channel, the same for all heads.

    x: (B, T, H, W, heads, d)   weight: (kt, kh, kw, d)   stride, padding: three numbers
    ->   (B, t, h, w, heads, d)
    y[o] is the sum over the filter's entries i of weight[i] x[s o + i - p].
    Outside the grid x is zero.
    Hint: loop over the windows; weight[:, :, :, None] has an axis for the heads.
    """
    kernel = weight.shape[:3]
    x = np.pad(x, [(0, 0), *((p, p) for p in padding), (0, 0), (0, 0)])
    t, h, w = ((n - k) // s + 1 for n, k, s in zip(x.shape[1:4], kernel, stride))
    y = []
    for i, j, k in np.ndindex(t, h, w):
        starts = np.multiply((i, j, k), stride)
        frames, rows, columns = (slice(at, at + n) for at, n in zip(starts, kernel))
        y.append((weight[:, :, :, None] * x[:, frames, rows, columns]).sum(axis=(1, 2, 3)))
    return np.stack(y, axis=1).reshape(x.shape[0], t, h, w, *x.shape[4:])


def _heads(rng):
    def case(shape, kernel, stride, padding):
        x, weight = rng.standard_normal(shape), rng.standard_normal((*kernel, shape[-1]))
        return x, weight, stride, padding

    yield case((2, 3, 5, 6, 2, 4), (3, 3, 3), (1, 2, 2), (1, 1, 1))
    yield case((1, 4, 4, 6, 3, 2), (1, 3, 2), (1, 3, 2), (0, 1, 0))
    yield case((1, 5, 7, 3, 1, 1), (3, 5, 1), (2, 1, 1), (1, 2, 0))


def _edges_repeated(x, w, s, p):
    wide = np.pad(x, [(0, 0), *((n, n) for n in p), (0, 0), (0, 0)], mode="edge")
    return depthwise_conv(wide, w, s, (0, 0, 0))


DEPTHWISE_CONV = Exercise(
    depthwise_conv,
    ops.depthwise_conv,
    _heads,
    (
        ("the filter is mirrored: its first entry meets the window's first cell",
         lambda x, w, s, p: depthwise_conv(x, w[::-1, ::-1, ::-1], s, p)),
        ("the sum over the window is divided by its cells: a convolution sums",
         lambda x, w, s, p: depthwise_conv(x, w / w[..., 0].size, s, p)),
        ("the grid is not padded", lambda x, w, s, p: depthwise_conv(x, w, s, (0, 0, 0))),
        ("the padding repeats the edge: it is zeros", _edges_repeated),
        ("the window moves by 1: it moves by the stride",
         lambda x, w, s, p: depthwise_conv(x, w, (1, 1, 1), p)),
        ("the channels are summed: depthwise means that each has its own filter and result",
         lambda x, w, s, p: depthwise_conv(x, w, s, p).sum(-1, keepdims=True)),
        ("the filter's axes are in the wrong order: (time, height, width)",
         lambda x, w, s, p: depthwise_conv(x, w.transpose(2, 1, 0, 3), s, p)),
        ("one filter, the first channel's, is used for all: each channel has its own",
         lambda x, w, s, p: depthwise_conv(x, 0 * w + w[..., :1], s, p)),
    ),
)  # fmt: skip


def pool_tokens(x, thw, pool):
    """Pool the grid part of a token list. The class token is not in the grid, so it is not pooled.

    x: (B, 1 + T H W, D), the class token first   thw: (T, H, W)   ->   (B, 1 + t h w, D)
    pool: a function, (B, T, H, W, D) -> (B, t, h, w, D)
    Hint: take the first token off, reshape the rest, pool, reshape back, join with np.concatenate.
    """
    first, rest = x[:, :1], x[:, 1:]
    grid = pool(rest.reshape(x.shape[0], *thw, x.shape[-1]))
    return np.concatenate([first, grid.reshape(x.shape[0], -1, x.shape[-1])], axis=1)


def _reference_tokens(x, thw, pool):
    """The model's own pooling, by the sizes that the ready-made pool of `_lists` carries."""
    kind = "max" if pool.func is ops.max_pool else "avg"
    spec = PoolSpec(kind, pool.keywords["kernel"], pool.keywords["stride"], thw)
    return pool_tokens_of_the_model(x, spec, True)


def _lists(rng):
    largest = partial(ops.max_pool, kernel=(3, 3, 3), stride=(1, 2, 2), padding=(1, 1, 1))
    mean = partial(ops.avg_pool, kernel=(1, 2, 2), stride=(1, 2, 2), padding=(0, 0, 0))
    yield rng.standard_normal((2, 1 + 3 * 5 * 3, 4)), (3, 5, 3), largest
    yield rng.standard_normal((1, 1 + 2 * 4 * 6, 3)), (2, 4, 6), mean
    yield rng.standard_normal((3, 1 + 4 * 3 * 7, 1)), (4, 3, 7), largest


def _joined(first, grid):
    return np.concatenate([first, grid.reshape(len(grid), -1, grid.shape[-1])], axis=1)


def _as_grid(tokens, thw):
    return tokens.reshape(len(tokens), *thw, tokens.shape[-1])


POOL_TOKENS = Exercise(
    pool_tokens,
    _reference_tokens,
    _lists,
    (
        ("the class token is pooled with the grid: it is the first token, and is not pooled",
         lambda x, thw, pool: _joined(x[:, :1], pool(_as_grid(x[:, :-1], thw)))),
        ("the class token is taken from the end of the list: it is the first",
         lambda x, thw, pool: _joined(x[:, -1:], pool(_as_grid(x[:, :-1], thw)))),
        ("the class token is put last: it stays the first",
         lambda x, thw, pool: np.roll(pool_tokens(x, thw, pool), -1, axis=1)),
        ("the class token is left out", lambda x, thw, pool: pool_tokens(x, thw, pool)[:, 1:]),
        ("the class token is a mean of the pooled ones: it stays as it is",
         lambda x, thw, pool: _mean_first(pool_tokens(x, thw, pool))),
        ("the grid is (time, height, width), in this order",
         lambda x, thw, pool: _joined(x[:, :1], pool(_as_grid(x[:, 1:], thw[::-1])))),
        ("nothing is pooled: call pool on the grid", lambda x, thw, pool: x),
        ("the result is still a grid without the class token: list its tokens again",
         lambda x, thw, pool: pool(_as_grid(x[:, 1:], thw))),
    ),
    level=SPECIFICATION,
)  # fmt: skip


def _mean_first(tokens):
    return _joined(tokens[:, 1:].mean(axis=1, keepdims=True), tokens[:, 1:])


EXERCISES = (POOL_LENGTH, MAX_POOL, DEPTHWISE_CONV, POOL_TOKENS)
