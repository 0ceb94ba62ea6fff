"""Exercises of notebook 09, second part: positions, and a head that looks back in time."""

from __future__ import annotations

import math

import numpy as np

from ..model.forward import init
from ..model.position_similarity import position_similarity as similarity_of_the_model
from .chapter_09a import attention, plain_model
from .checker import INVESTIGATE, SPECIFICATION, Exercise


def position_similarity(table, thw):
    """How alike the learned positions of all places are, and those of all times.

    table: (1 + t h w, D), the class token's row first   thw: (t, h, w)
    ->   space: (h w, h w)   time: (t, t)

    The table holds a vector for each place at each time, in the tokens' order. For `space`, first
    average the vectors of each place over time; for `time`, those of each time over space. Then
    alike means the cosine of two vectors, which is 1 for a vector and itself.
    Hint: reshape the table to (t, h w, D), without the class token's row.
    """

    def cosines(rows):
        unit = rows / np.sqrt((rows * rows).sum(axis=-1, keepdims=True))
        return unit @ unit.T

    grid = table[1:].reshape(thw[0], thw[1] * thw[2], -1)
    return cosines(grid.mean(axis=0)), cosines(grid.mean(axis=1))


def _reference_similarity(table, thw):
    config = plain_model(thw, table.shape[1] // 4, positions="joint")
    params = init(config, np.random.default_rng(0)) | {"pos_embed": table}
    return tuple(np.asarray(x, table.dtype) for x in similarity_of_the_model(params, config))


def _tables(rng):
    for thw, dim in (((3, 2, 4), 8), ((2, 3, 3), 4), ((4, 1, 2), 12)):
        yield rng.standard_normal((1 + math.prod(thw), dim)) + 0.3, thw


def _similar(cosines, order=lambda grid: grid):
    """With another measure, or on another grid."""

    def wrong(table, thw):
        grid = order(table[1:].reshape(thw[0], thw[1] * thw[2], -1))
        return cosines(grid.mean(axis=0)), cosines(grid.mean(axis=1))

    return wrong


def _cosines(rows):
    unit = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return unit @ unit.T


def _means_of_cosines(table, thw):
    grid = table[1:].reshape(thw[0], thw[1] * thw[2], -1)
    unit = grid / np.linalg.norm(grid, axis=-1, keepdims=True)
    return (np.einsum("tid,tjd->ij", unit, unit) / len(grid),
            np.einsum("tid,uid->tu", unit, unit) / grid.shape[1])  # fmt: skip


def _places_first(table, thw):
    grid = table[1:].reshape(thw[1] * thw[2], thw[0], -1)
    return _cosines(grid.mean(axis=1)), _cosines(grid.mean(axis=0))


POSITION_SIMILARITY = Exercise(
    position_similarity,
    _reference_similarity,
    _tables,
    (
        ("the products are not divided by the lengths of the vectors",
         _similar(lambda rows: rows @ rows.T)),
        ("a vector is divided by its squared length: a cosine divides by the length",
         _similar(lambda rows: (rows / (rows**2).sum(-1, keepdims=True))
                  @ (rows / (rows**2).sum(-1, keepdims=True)).T)),
        ("the length is that of a channel over all vectors: it is each vector's own, axis=-1",
         _similar(lambda rows: (rows / np.linalg.norm(rows, axis=0))
                  @ (rows / np.linalg.norm(rows, axis=0)).T)),
        ("channels are centred first: a cosine is taken of the vectors as they are",
         _similar(lambda rows: _cosines(rows - rows.mean(axis=0)))),
        ("cosines are averaged: average the vectors first, then take the cosine",
         _means_of_cosines),
        ("space and time are interchanged in the table: a time's places lie side by side, "
         "so reshape to (t, h w, D)",
         _places_first),
        ("the class token's row is taken for a place: it is the first, so begin after it",
         lambda table, thw: position_similarity(np.roll(table, 1, axis=0), thw)),
        ("the results are in the other order: space, then time",
         lambda table, thw: position_similarity(table, thw)[::-1]),
    ),
    returns=("space", "time"),
    level=SPECIFICATION,
)  # fmt: skip


def looks_back(weights, thw, motion):
    """How much of its attention each head gives to where the content came from.

    weights: (B, heads, 1 + N, 1 + N), the class token first   thw: (t, h, w) with N = t h w
    motion: (down, right) tokens from one time to the next   ->   (heads,)

    The content at row i and column j at one time was at row i - down and column j - right one time
    earlier. This earlier place is the source of a query. Leave out queries whose source lies
    outside the clip. Leave the class token out as query and as key, and scale the rest of each row
    to sum to 1. The result is the mean weight on the source, over queries and clips, times N. It is
    1 for a head that prefers no place.
    Hint: np.indices(thw) gives the time, row and column of every place, and np.ravel_multi_index
    makes a token's number of the three.
    """
    place = np.indices(thw).reshape(3, -1)  # (3, N)
    source = place - np.array([1, *motion])[:, None]
    inside = ((source >= 0) & (source < np.array(thw)[:, None])).all(axis=0)
    query, key = np.flatnonzero(inside), np.ravel_multi_index(source[:, inside], thw)
    shares = weights[:, :, 1:, 1:]
    shares = shares / shares.sum(axis=-1, keepdims=True)
    return shares[:, :, query, key].mean(axis=(0, 2)) * len(inside)


def _reference_back(weights, thw, motion):
    """By loops over clips, heads, and the places of a query."""
    found = np.zeros(weights.shape[1])
    clips, (t, h, w), (down, right) = len(weights), thw, motion
    queries = [(a, i, j) for a in range(1, t) for i in range(h) for j in range(w)
               if 0 <= i - down < h and 0 <= j - right < w]  # fmt: skip
    for head in range(len(found)):
        for clip in range(clips):
            for a, i, j in queries:
                row = weights[clip, head, 1 + (a * h + i) * w + j, 1:]
                source = row[((a - 1) * h + i - down) * w + j - right]
                found[head] += source / row.sum() * t * h * w / len(queries) / clips
    return found.astype(weights.dtype)


def _scenes(rng):
    for clips, heads, thw, motion in (
        (2, 3, (3, 2, 4), (0, 1)), (1, 2, (2, 3, 3), (-1, 2)), (1, 2, (4, 3, 2), (1, 0)),
        (1, 1, (2, 2, 2), (0, 0)),
    ):  # fmt: skip
        count = 1 + math.prod(thw)
        yield attention(rng, clips, heads, count, count), thw, motion


def _moved(step, scale=True, wrap=False, times=None):
    """What is given to another place, or measured in another way.

    step  (time, down, right) from a query to the place that is looked at, made of the motion
    """

    def wrong(weights, thw, motion):
        place = np.indices(thw).reshape(3, -1)
        source = place + np.array(step(*motion))[:, None]
        edge = np.array(thw)[:, None]
        source = source % edge if wrap else source
        inside = ((source >= 0) & (source < edge)).all(axis=0)
        query, key = np.flatnonzero(inside), np.ravel_multi_index(source[:, inside], thw)
        shares = weights[:, :, 1:, 1:]
        shares = shares / shares.sum(axis=-1, keepdims=True) if scale else shares
        mean = shares[:, :, query, key].mean(axis=(0, 2))
        return mean * (len(inside) if times is None else times)

    return wrong


def _back(down, right):
    return -1, -down, -right


def _over_all_queries(weights, thw, motion):
    t, (h, w), (down, right) = thw[0], thw[1:], motion
    with_source = (t - 1) * (h - abs(down)) * (w - abs(right))
    return looks_back(weights, thw, motion) * (with_source / math.prod(thw))


LOOKS_BACK = Exercise(
    looks_back,
    _reference_back,
    _scenes,
    (
        ("this looks forward: the query is the later place, and its row holds the weight on the "
         "source, one time earlier at row i - down and column j - right",
         _moved(lambda down, right: (1, down, right))),
        ("the source is one time earlier, but against the motion: i - down and j - right",
         _moved(lambda down, right: (-1, down, right))),
        ("the place does not move: the content came from row i - down, column j - right",
         _moved(lambda down, right: (-1, 0, 0))),
        ("the time does not change: the source is one time earlier",
         _moved(lambda down, right: (0, -down, -right))),
        ("motion is (down, right): rows by the first, columns by the second",
         _moved(lambda down, right: (-1, -right, -down))),
        ("the rows do not sum to 1 any more without the class token: divide each by its sum",
         _moved(_back, scale=False)),
        ("a source outside the clip has come in at the other side: leave such queries out",
         _moved(_back, wrap=True)),
        ("queries without a source count as 0: leave them out of the mean", _over_all_queries),
        ("the mean weight is not compared with 1 / N, that of a head that prefers nothing",
         _moved(_back, times=1)),
    ),
    level=INVESTIGATE,
    finding="A head that compares contents alone looks forward as much as back. A preference for "
    "the distance in time has to join it.",
)  # fmt: skip

EXERCISES = (POSITION_SIMILARITY, LOOKS_BACK)
