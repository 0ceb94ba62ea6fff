"""Exercises of notebook 06, backward passes of one's own: the pools on token lists."""

# A solution is written as a student would, without types:
# mypy: disable-error-code="arg-type"

from __future__ import annotations

import numpy as np

from .. import ops
from .backwards import but, calling, pulled, with_dy
from .chapter_02 import depthwise_conv
from .chapter_04 import POOLED_SKIP
from .chapter_04b import POOL_HEADS
from .chapter_06a import layer_norm_backward
from .chapter_06e import depthwise_conv_backward
from .checker import SPECIFICATION, Exercise


def pooled_skip_backward(x, thw, stride, dy):
    """The gradient of the pooled skip of exercise 04.pooled_skip, by its tokens.

    x: (B, 1 + T H W, D)   thw: (T, H, W)   stride: three numbers   dy: (B, 1 + t h w, D)
    ->   (B, 1 + T H W, D)
    In each window and channel the largest cell gets the window's dy; among equals, the first.
    On an axis with stride s > 1 the window is s + 1 long and the padding s // 2, else 1 and 0.
    Hint: pad with -inf, and loop over the places in a window: all cells at one place are one slice
    of the padded grid. Keep the dy that no cell has taken so far. ops.max_pool is given.
    """
    kernel = tuple(s + 1 if s > 1 else 1 for s in stride)
    padding = tuple(s // 2 for s in stride)
    grid = x[:, 1:].reshape(x.shape[0], *thw, x.shape[-1])
    largest = ops.max_pool(grid, kernel, stride, padding)
    left = dy[:, 1:].reshape(largest.shape)  # what no cell has claimed
    pads = [(0, 0), *((p, p) for p in padding), (0, 0)]
    wide = np.pad(grid, pads, constant_values=-np.inf)
    dwide = np.zeros_like(wide)
    for i in np.ndindex(kernel):
        met = (slice(a, a + s * n, s) for a, s, n in zip(i, stride, largest.shape[1:4]))
        cells = (slice(None), *met)
        won = left * (wide[cells] == largest)
        dwide[cells] += won
        left = left - won
    inside = (slice(p, p + n) for p, n in zip(padding, thw))
    dgrid = dwide[(slice(None), *inside)]
    return np.concatenate([dy[:, :1], dgrid.reshape(x[:, 1:].shape)], axis=1)


def pool_heads_backward(x, thw, heads, weight, g, b, stride, dy):
    """The gradients of exercise 04.pool_heads: cut into heads, pool by a convolution, norm.

    x: (B, 1 + T H W, D), the class token first   thw: (T, H, W)   weight: (kt, kh, kw, d)
    g, b: (d,)   stride: three numbers   dy: (B, h, 1 + t h w, d)
    ->   dx, dweight, dg, db, each of the shape of what it belongs to
    The class token is not pooled, but it is normed. eps of the norm is 1e-6.
    Hint: compute the input of the norm again. Then walk back from the end, with your
    layer_norm_backward and depthwise_conv_backward; depthwise_conv is your forward one.
    """
    batch, padding = x.shape[0], tuple(k // 2 for k in weight.shape[:3])
    cut = x.reshape(batch, -1, heads, weight.shape[-1])
    first, grid = cut[:, :1], cut[:, 1:].reshape(batch, *thw, heads, -1)
    pooled = depthwise_conv(grid, weight, stride, padding)
    tokens = np.concatenate([first, pooled.reshape(batch, -1, *cut.shape[2:])], axis=1)
    dtokens, dg, db = layer_norm_backward(tokens, g, dy.swapaxes(1, 2), 1e-6)
    dpooled = dtokens[:, 1:].reshape(pooled.shape)
    dgrid, dweight = depthwise_conv_backward(grid, weight, stride, padding, dpooled)
    dcut = np.concatenate([dtokens[:, :1], dgrid.reshape(cut[:, 1:].shape)], axis=1)
    return dcut.reshape(x.shape), dweight, dg, db


# -- the skip --------------------------------------------------------------------------------------


def _skips(rng):
    yield from with_dy(POOLED_SKIP)(rng)
    x = rng.integers(0, 2, (1, 1 + 2 * 5 * 5, 3)).astype(float)  # with equals
    yield x, (2, 5, 5), (1, 2, 2), rng.standard_normal((1, 1 + 2 * 3 * 3, 3))


def _skip(won=lambda left, cells, largest: left * (cells == largest), arrive=np.add, last=False):
    """The gradient of the skip, with something else in one of the steps."""

    def wrong(x, thw, stride, dy):
        kernel, padding = tuple(s + (s > 1) for s in stride), tuple(s // 2 for s in stride)
        grid = x[:, 1:].reshape(x.shape[0], *thw, x.shape[-1])
        largest = ops.max_pool(grid, kernel, stride, padding)
        left = dy[:, 1:].reshape(largest.shape)
        pads = [(0, 0), *((p, p) for p in padding), (0, 0)]
        wide = np.pad(grid, pads, constant_values=-np.inf)
        dwide = np.zeros_like(wide)
        for i in list(np.ndindex(kernel))[:: -1 if last else 1]:
            ends = zip(i, stride, largest.shape[1:4])
            cells = (slice(None), *(slice(a, a + s * n, s) for a, s, n in ends))
            taken = won(left, wide[cells], largest)
            dwide[cells], left = arrive(dwide[cells], taken), left - taken
        dgrid = dwide[(slice(None), *(slice(p, p + n) for p, n in zip(padding, thw)))]
        return np.concatenate([dy[:, :1], dgrid.reshape(x[:, 1:].shape)], axis=1)

    return wrong


def _to_each_equal(x, thw, stride, dy):
    """Every largest cell of a window gets dy: nothing counts as claimed."""
    d_window = dy[:, 1:]

    def won(left, cells, largest):
        return d_window.reshape(largest.shape) * (cells == largest)

    return _skip(won)(x, thw, stride, dy)


def _shared(x, thw, stride, dy):
    cells = int(np.prod([s + (s > 1) for s in stride]))
    d_window = dy[:, 1:] / cells
    return _skip(lambda left, _, largest: d_window.reshape(largest.shape))(x, thw, stride, dy)


def _class_lost(x, thw, stride, dy):
    dx = pooled_skip_backward(x, thw, stride, dy)
    return np.concatenate([0 * dx[:, :1], dx[:, 1:]], axis=1)


POOLED_SKIP_BACKWARD = Exercise(
    pooled_skip_backward,
    pulled(POOLED_SKIP.reference, (0,)),
    _skips,
    (
        ("windows overlap, and a cell that wins twice gets both: add (+=), do not assign",
         _skip(arrive=lambda before, won: np.where(won != 0, won, before))),
        ("among equals each gets dy: only the first does", _to_each_equal),
        ("among equals the last gets dy: it is the first", _skip(last=True)),
        ("dy is shared among the window's cells, as for the mean: the winner gets it all",
         _shared),
        ("the class token's gradient is missing: it went around the pool", _class_lost),
        ("the gradient has no class token: it is the first of the list",
         lambda *args: pooled_skip_backward(*args)[:, 1:]),
        ("the class token's gradient is put last: it stays the first",
         lambda *args: np.roll(pooled_skip_backward(*args), -1, axis=1)),
    ),
    level=SPECIFICATION,
)  # fmt: skip

# -- the pool of each head -------------------------------------------------------------------------


def _class_not_normed(dx, x, thw, heads, weight, g, b, stride, dy):
    first = dy[:, :, :1].swapaxes(1, 2).reshape(x[:, :1].shape)
    return np.concatenate([first, dx[:, 1:]], axis=1)


def _norm_left_out(rows, g, dy, eps):
    _, dg, db = layer_norm_backward(rows, g, dy, eps)
    return dy, dg, db


def _norm_of_pixels(x, thw, heads, weight, g, b, stride, dy):
    """dg and db of the grid alone, without the class token."""
    dx, dweight, dg, db = pool_heads_backward(x, thw, heads, weight, g, b, stride, dy)
    first = x[:, :1].reshape(x.shape[0], 1, heads, -1)
    _, more_dg, more_db = layer_norm_backward(first, g, dy[:, :, :1].swapaxes(1, 2), 1e-6)
    return dx, dweight, dg - more_dg, db - more_db


def _heads_not_moved(x, thw, heads, weight, g, b, stride, dy):
    flat = dy.reshape(dy.shape[0], dy.shape[2], dy.shape[1], dy.shape[3])
    return pool_heads_backward(x, thw, heads, weight, g, b, stride, flat.swapaxes(1, 2))


POOL_HEADS_BACKWARD = Exercise(
    pool_heads_backward,
    pulled(POOL_HEADS.reference, (0, 3, 4, 5)),
    with_dy(POOL_HEADS),
    (
        ("the class token's gradient has not gone back through the norm: it was normed too",
         but(pool_heads_backward, 0, _class_not_normed)),
        ("the norm is left out on the way back",
         calling(pool_heads_backward, layer_norm_backward=_norm_left_out)),
        ("the class token is missing in dg and db: it was normed too", _norm_of_pixels),
        ("the norm's backward is given what the norm made: it takes what went into the norm",
         lambda x, thw, heads, weight, g, b, stride, dy: calling(
             pool_heads_backward,
             layer_norm_backward=lambda rows, g, dy, eps: layer_norm_backward(
                 ops.layer_norm(rows, g, b), g, dy, eps))(
                     x, thw, heads, weight, g, b, stride, dy)),
        ("reshape mixes heads and tokens: swap the two axes back", _heads_not_moved),
        ("the class token's gradient is missing: it went around the pool",
         but(pool_heads_backward, 0, lambda dx, *args: np.concatenate(
             [0 * dx[:, :1], dx[:, 1:]], axis=1))),
        ("db has g in it: b is added after g",
         but(pool_heads_backward, 3, lambda db, x, thw, heads, weight, g, *rest: g * db)),
    ),
    returns=("dx", "dweight", "dg", "db"),
    level=SPECIFICATION,
)  # fmt: skip

EXERCISES = (POOLED_SKIP_BACKWARD, POOL_HEADS_BACKWARD)
