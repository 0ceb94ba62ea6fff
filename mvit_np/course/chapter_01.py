"""Exercises of notebook 01: from a clip to tokens."""

from __future__ import annotations

import math

import numpy as np

from .. import ops
from ..model.layers.embedding import embed
from ..model.specs import EmbedSpec
from ..ops.windows import out_grid
from .checker import INVESTIGATE, SPECIFICATION, Exercise


def grid_size(thw, kernel, stride, padding):
    """The grid of tokens that a clip becomes.

    thw, kernel, stride, padding: three whole numbers each   ->   (t, h, w)

    On each axis there are n cells, and p more at each end. A window of k cells starts at the first
    cell and moves by s. Count the windows that fit.
    Hint: the last window starts at most n + 2 p - k cells after the first, which counts too.
    """
    return ops.windows.out_grid(thw, kernel, stride, padding)


def _sizes(rng):
    yield (6, 12, 21), (3, 5, 7), (2, 1, 2), (1, 2, 3)
    yield (16, 224, 224), (3, 7, 7), (2, 4, 4), (1, 3, 3)
    yield (7, 9, 11), (1, 3, 2), (1, 3, 4), (0, 0, 0)
    yield (15, 30, 45), (3, 7, 5), (2, 4, 3), (1, 3, 2)
    yield tuple(
        tuple(map(int, rng.integers(*ends, 3))) for ends in ((9, 60), (1, 9), (1, 6), (0, 4))
    )


def _each_axis(formula):
    return lambda thw, kernel, stride, padding: tuple(map(formula, thw, kernel, stride, padding))


GRID_SIZE = Exercise(
    grid_size,
    out_grid,
    _sizes,
    (
        ("the first window is not counted: add 1",
         _each_axis(lambda n, k, s, p: (n + 2 * p - k) // s)),
        ("the padding is on both sides of an axis: it counts twice",
         _each_axis(lambda n, k, s, p: (n + p - k) // s + 1)),
        ("the padding is not counted", _each_axis(lambda n, k, s, p: (n - k) // s + 1)),
        ("the window's own length is not taken off",
         _each_axis(lambda n, k, s, p: (n + 2 * p) // s + 1)),
        ("this is n / s alone: kernel and padding are left out",
         _each_axis(lambda n, k, s, p: n // s)),
        ("it is rounded up: a window that does not fit as a whole does not count",
         _each_axis(lambda n, k, s, p: math.ceil((n + 2 * p - k) / s) + 1)),
        ("a grid has whole numbers: divide with //, which rounds down",
         _each_axis(lambda n, k, s, p: (n + 2 * p - k) / s + 1)),
        ("the axes are in the wrong order: time, height, width",
         lambda *sizes: grid_size(*sizes)[::-1]),
    ),
    shown=(out_grid,),
)  # fmt: skip


def cube_embed(clip, weight, bias, stride, padding):
    """Multiply each cube of pixels with a matrix, and add a bias: one token per cube.

    clip: (B, T, H, W, C)   weight: (kt, kh, kw, C, D)   bias: (D,)   stride, padding: three numbers
    ->   (B, t h w, D)
    Pad time, height and width with zeros on both sides. Tokens are listed by frame, then by row.
    Hint: np.pad, then a loop over the cubes, whose tokens np.stack joins.
    np.tensordot(cubes, weight, 4) sums over kt, kh, kw and C.
    """
    kernel, (pt, ph, pw) = weight.shape[:3], padding
    clip = np.pad(clip, ((0, 0), (pt, pt), (ph, ph), (pw, pw), (0, 0)))
    t, h, w = ((n - k) // s + 1 for n, k, s in zip(clip.shape[1:4], kernel, stride))
    tokens = []
    for i, j, k in np.ndindex(t, h, w):
        starts = np.multiply((i, j, k), stride)
        frames, rows, columns = (slice(at, at + n) for at, n in zip(starts, kernel))
        tokens.append(np.tensordot(clip[:, frames, rows, columns], weight, 4) + bias)
    return np.stack(tokens, axis=1)


def _reference_cubes(clip, weight, bias, stride, padding):
    grid = ops.cube_conv(clip, weight, bias, stride, padding)
    return grid.reshape(clip.shape[0], -1, weight.shape[-1])


def _clips(rng):
    def case(thw, kernel, stride, padding, channels=2, width=5):
        clip = rng.standard_normal((2, *thw, channels))
        weight = rng.standard_normal((*kernel, channels, width))
        return clip, weight, rng.standard_normal(width), stride, padding

    yield case((5, 7, 9), (3, 3, 3), (2, 2, 2), (1, 1, 1))
    yield case((4, 8, 4), (2, 4, 2), (2, 4, 2), (0, 0, 0), 3)
    yield case((3, 9, 10), (1, 5, 7), (1, 4, 4), (0, 2, 3), 1, 4)
    yield case((4, 8, 7), (2, 4, 3), (2, 3, 3), (1, 2, 0), 1, 2)


def _edges_repeated(clip, weight, bias, stride, padding):
    wide = np.pad(clip, ((0, 0), *((p, p) for p in padding), (0, 0)), mode="edge")
    return cube_embed(wide, weight, bias, stride, (0, 0, 0))


CUBE_EMBED = Exercise(
    cube_embed,
    _reference_cubes,
    _clips,
    (
        ("the bias is missing", lambda clip, w, b, s, p: cube_embed(clip, w, 0 * b, s, p)),
        ("the bias is added once per pixel: add it once per cube",
         lambda c, w, b, s, p: cube_embed(c, w, b * w[..., 0].size, s, p)),
        ("the clip is not padded", lambda clip, w, b, s, p: cube_embed(clip, w, b, s, (0, 0, 0))),
        ("the padding repeats the edge: it is zeros", _edges_repeated),
        ("the cubes move by their own size: they overlap, and move by the stride",
         lambda clip, w, b, s, p: cube_embed(clip, w, b, w.shape[:3], p)),
        ("the filter is mirrored: its first entry meets the cube's first pixel",
         lambda clip, w, b, s, p: cube_embed(clip, w[::-1, ::-1, ::-1], b, s, p)),
        ("the tokens are listed width first: list them frame by frame and row by row",
         lambda c, w, b, s, p: (
             cube_embed(c.swapaxes(1, 3), w.swapaxes(0, 2), b, s[::-1], p[::-1]))),
        ("the mean over the cube is taken: take the sum",
         lambda clip, w, b, s, p: cube_embed(clip, w / w[..., 0].size, b, s, p)),
    ),
)  # fmt: skip


def add_class_and_positions(x, cls, pos_class, pos_spatial, pos_temporal):
    """Tell each token where it is, and put the class token before them.

    x: (B, t h w, D), frame by frame   cls, pos_class: (D,)
    pos_spatial: (h w, D)   pos_temporal: (t, D)
    ->   (B, 1 + t h w, D)
    The position of a token is the sum of one for its frame and one for its cell in the frame.
    The class token has its own position.
    Hint: pos_temporal[:, None] + pos_spatial is (t, h w, D), in the order of the tokens.
    """
    positions = pos_temporal[:, None] + pos_spatial  # (t, h w, D)
    tokens = x + positions.reshape(-1, x.shape[-1])
    first = np.broadcast_to(cls + pos_class, (x.shape[0], 1, x.shape[-1]))
    return np.concatenate([first, tokens], axis=1)


def _reference_positions(x, cls, pos_class, pos_spatial, pos_temporal):
    """The model's own embedding, of a clip whose single pixels are the tokens."""
    t, hw, d = len(pos_temporal), len(pos_spatial), len(cls)
    spec = EmbedSpec((t, hw, 1), d, (1, 1, 1), (1, 1, 1), d, "separate", True, False)
    identity = {"w": np.eye(d, dtype=x.dtype).reshape(1, 1, 1, d, d), "b": np.zeros_like(cls)}
    params = {"patch_embed": identity, "cls_token": cls, "pos_embed_class": pos_class}
    params |= {"pos_embed_spatial": pos_spatial, "pos_embed_temporal": pos_temporal}
    return embed(params, x.reshape(-1, t, hw, 1, d), spec)


def _tokens(rng):
    for batch, t, hw, d in ((2, 3, 4, 5), (1, 2, 6, 3), (3, 1, 5, 2)):
        shapes = (batch, t * hw, d), (d,), (d,), (hw, d), (t, d)
        yield tuple(map(rng.standard_normal, shapes))


def _frames_innermost(x, cls, pos_class, pos_spatial, pos_temporal):
    t, hw = len(pos_temporal), len(pos_spatial)
    x = x + np.tile(pos_temporal, (hw, 1)) + np.repeat(pos_spatial, t, axis=0)
    return add_class_and_positions(x, cls, pos_class, 0 * pos_spatial, 0 * pos_temporal)


ADD_CLASS_AND_POSITIONS = Exercise(
    add_class_and_positions,
    _reference_positions,
    _tokens,
    (
        ("the class token comes first, before the others",
         lambda *args: np.roll(add_class_and_positions(*args), -1, axis=1)),
        ("the class token has a position too, pos_class",
         lambda x, c, pc, ps, pt: add_class_and_positions(x, c, 0 * pc, ps, pt)),
        ("the class token itself is missing: only its position is there",
         lambda x, c, *rest: add_class_and_positions(x, 0 * c, *rest)),
        ("the positions run through time first: all tokens of a frame come one after the other",
         _frames_innermost),
        ("the positions in time are missing",
         lambda x, c, pc, ps, pt: add_class_and_positions(x, c, pc, ps, 0 * pt)),
        ("the positions in space are missing",
         lambda x, c, pc, ps, pt: add_class_and_positions(x, c, pc, 0 * ps, pt)),
        ("the tokens' positions are missing",
         lambda x, c, pc, ps, pt: add_class_and_positions(x, c, pc, 0 * ps, 0 * pt)),
        ("the class token is left out", lambda *args: add_class_and_positions(*args)[:, 1:]),
    ),
    level=SPECIFICATION,
)  # fmt: skip


def times_read(n, kernel, stride, padding):
    """How often the cubes read a cell of one axis: the fewest and the most times of any cell.

    n, kernel, stride, padding: whole numbers   ->   fewest, most
    At each end there are `padding` more cells. They are read too, but not counted here.
    Hint: go through the windows that fit, and count for each cell how many of them it is in.
    """
    read = [0] * n
    for i in range((n + 2 * padding - kernel) // stride + 1):
        for cell in range(stride * i - padding, stride * i - padding + kernel):
            if 0 <= cell < n:
                read[cell] += 1
    return min(read), max(read)


def _reads(n, kernel, stride, padding):
    """How often each cell is read, padding included."""
    wide = n + 2 * padding
    windows = np.lib.stride_tricks.sliding_window_view(np.arange(wide), kernel)[::stride]
    return np.bincount(windows.ravel(), minlength=wide)


def _ends(reads):
    return int(reads.min()), int(reads.max())


def _inside(n, kernel, stride, padding):
    return _ends(_reads(n, kernel, stride, padding)[padding : padding + n])


def _axes(rng):
    yield 10, 7, 3, 2
    yield 12, 5, 2, 2
    yield 224, 7, 4, 3
    yield 10, 3, 4, 1
    for n, k, s in zip(*(map(int, rng.integers(*ends, 3)) for ends in ((9, 40), (2, 9), (1, 6)))):
        yield n, k, s, k // 2


TIMES_READ = Exercise(
    times_read,
    _inside,
    _axes,
    (
        ("the padding is left out, so that the windows start at the first cell",
         lambda n, k, s, p: _ends(_reads(n, k, s, 0))),
        ("the cells of the padding are counted too: only the n cells are",
         lambda n, k, s, p: _ends(_reads(n, k, s, p))),
        ("this is kernel / stride, rounded down and up: cells at the ends are read less often",
         lambda n, k, s, p: (k // s, -(-k // s))),
        ("this is kernel / stride, a mean: count for each cell", lambda n, k, s, p: (k / s, k / s)),
        ("the order is wrong: fewest, then most", lambda *sizes: _inside(*sizes)[::-1]),
        ("every window reads each of its cells once: count per cell, not per window",
         lambda n, k, s, p: (k, k)),
    ),
    returns=("fewest", "most"),
    level=INVESTIGATE,
    finding="MViT-B's cubes (3 x 7 x 7, moved by 2 x 4 x 4) read a frame once or twice, and a row "
    "or column of pixels once or twice: a pixel between once and 8 times, 4.3 times on average.",
)  # fmt: skip

EXERCISES = (GRID_SIZE, CUBE_EMBED, ADD_CLASS_AND_POSITIONS, TIMES_READ)
