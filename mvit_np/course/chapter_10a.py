"""Exercises of notebook 10, first part: relative positions, row by row and score by score."""

from __future__ import annotations

import math

import numpy as np

from .. import ops
from ..ops.relative_position import relative_index
from .checker import SPECIFICATION, Exercise


def relative_rows(n_q, n_k):
    """The table's row for each query place and key place of one axis.

    n_q, n_k: numbers of places, one a multiple of the other   ->   (n_q, n_k) whole numbers

    row(i, j) = i max(n_k / n_q, 1) - j max(n_q / n_k, 1) + (n_k - 1) max(n_q / n_k, 1)
    So distances are counted in the finer of the two grids, and the smallest of them has row 0.
    Hint: np.arange(n_q)[:, None] is a column. Divide with //, for rows are whole numbers.
    """
    step_q, step_k = max(n_k // n_q, 1), max(n_q // n_k, 1)
    i, j = np.arange(n_q)[:, None], np.arange(n_k)
    return i * step_q - j * step_k + (n_k - 1) * step_k


def _reference_rows(n_q, n_k):
    return relative_index(np, n_q, n_k).astype(int).tolist()


def _axes(rng):
    yield 8, 4
    yield 3, 9
    yield 5, 5
    count, times = map(int, rng.integers(2, 6, 2))
    yield (count * times, count) if rng.integers(2) else (count, count * times)


def _rows(i_step=None, j_step=None, shift=None, sign=1):
    """The rows with another step of the queries, of the keys, or another row for distance 0."""

    def wrong(n_q, n_k):
        fine_q, fine_k = max(n_k // n_q, 1), max(n_q // n_k, 1)
        step_q, step_k = i_step or fine_q, j_step or fine_k
        first = (n_k - 1) * fine_k if shift is None else shift(n_q, n_k)
        return sign * (np.arange(n_q)[:, None] * step_q - np.arange(n_k) * step_k) + first

    return wrong


RELATIVE_ROWS = Exercise(
    relative_rows,
    _reference_rows,
    _axes,
    (
        ("a step of the keys counts 1: where keys are coarser it counts n_q // n_k",
         _rows(j_step=1)),
        ("a step of the queries counts 1: where queries are coarser it counts n_k // n_q",
         _rows(i_step=1)),
        ("some rows are below 0: the smallest distance has row 0, so (n_k - 1) steps are added",
         _rows(shift=lambda n_q, n_k: 0)),
        ("the steps in the last term are those of the keys: (n_k - 1) times n_q // n_k",
         _rows(shift=lambda n_q, n_k: n_k - 1)),
        ("the last term is (n_k - 1) steps of the keys, not the finer grid's length less 1",
         _rows(shift=lambda n_q, n_k: max(n_q, n_k) - 1)),
        ("the distance is query place minus key place",
         _rows(sign=-1, shift=lambda n_q, n_k: (n_q - 1) * max(n_k // n_q, 1))),
        ("the queries are the rows of the result, the keys its columns",
         lambda n_q, n_k: relative_rows(n_q, n_k).T),
        ("distances have a sign: left and right are different",
         lambda n_q, n_k: abs(relative_rows(n_q, n_k) - (n_k - 1) * max(n_q // n_k, 1))),
    ),
)  # fmt: skip


# -- scores ----------------------------------------------------------------------------------------


def relative_scores(q, k, r_t, r_h, r_w, thw_q, thw_k):
    """The scores of one head before softmax, with decomposed relative positions.

    q: (Nq, d) on a grid thw_q   k: (Nk, d) on a grid thw_k
    r_t, r_h, r_w: (2 max(n_q, n_k) - 1, d) each, for the axis of that name   ->   (Nq, Nk)

    The score of a query and a key is a sum. The first term is their product, divided by the root of
    d. Then come three more products, of the query with one row of a table each: the row for the
    distance of query and key in time, in height and in width. These three are not divided by the
    root of d, as in all released code. Rows are counted as in the exercise 10.relative_rows.
    Hint: np.indices(thw).reshape(3, -1) gives the time, row and column of each token. For one axis
    table[rows] is (Nq, Nk, d).
    """
    scores = q @ k.T / q.shape[1] ** 0.5
    places_q, places_k = np.indices(thw_q).reshape(3, -1), np.indices(thw_k).reshape(3, -1)
    for table, n_q, n_k, i, j in zip((r_t, r_h, r_w), thw_q, thw_k, places_q, places_k):
        step_q, step_k = max(n_k // n_q, 1), max(n_q // n_k, 1)
        rows = i[:, None] * step_q + (n_k - 1 - j) * step_k
        scores = scores + np.einsum("id,ijd->ij", q, table[rows])
    return scores


def _reference_scores(q, k, r_t, r_h, r_w, thw_q, thw_k):
    scale, grids = q.shape[1] ** -0.5, tuple((axis, thw_q, thw_k) for axis in range(3))
    long_q = ops.relative_query(q[None, :, None], scale, grids, r_t, r_h, r_w)
    long_k = ops.relative_key(k[None, :, None], grids)
    return scale * (long_q[0, :, 0] @ long_k[0, :, 0].T)


def _pairs_of_grids(rng):
    for thw_q, thw_k, d in (
        ((2, 4, 4), (2, 2, 2), 3), ((2, 2, 4), (2, 4, 2), 4), ((1, 3, 3), (1, 3, 3), 5),
    ):  # fmt: skip
        tables = [rng.standard_normal((2 * max(sizes) - 1, d)) for sizes in zip(thw_q, thw_k)]
        q, k = (rng.standard_normal((math.prod(thw), d)) for thw in (thw_q, thw_k))
        yield q, k, *tables, thw_q, thw_k


def _bias(q, k, *rest):
    return relative_scores(q, 0 * k, *rest)


def _keys_times_tables(q, k, *tables_and_grids):
    *tables, thw_q, thw_k = tables_and_grids
    mirrored = [table[::-1] for table in tables]
    return q @ k.T / q.shape[1] ** 0.5 + _bias(k, q, *mirrored, thw_k, thw_q).T


def _without_queries(q, k, *rest):
    return q @ k.T / q.shape[1] ** 0.5 + _bias(np.ones_like(q), k, *rest)


RELATIVE_SCORES = Exercise(
    relative_scores,
    _reference_scores,
    _pairs_of_grids,
    (
        ("the three products with the tables are divided by the root of d too: only q k' is",
         lambda q, k, *rest: q @ k.T / q.shape[1] ** 0.5 + _bias(q, k, *rest) / q.shape[1] ** 0.5),
        ("q k' is not divided by the root of d",
         lambda q, k, *rest: q @ k.T + _bias(q, k, *rest)),
        ("the products with the tables are missing",
         lambda q, k, *rest: q @ k.T / q.shape[1] ** 0.5),
        ("the products of queries and keys are missing", _bias),
        ("the keys meet the tables: it is the query's product with a row", _keys_times_tables),
        ("a row is summed up: its product with the query is wanted", _without_queries),
        ("the distance is query place minus key place: the tables are read backwards",
         lambda q, k, t, h, w, *grids: relative_scores(q, k, t[::-1], h[::-1], w[::-1], *grids)),
        ("the distance in time is left out: there are three tables",
         lambda q, k, t, h, w, *grids: relative_scores(q, k, 0 * t, h, w, *grids)),
        ("the tables of height and width are interchanged",
         lambda q, k, t, h, w, *grids: relative_scores(q, k, t, w, h, *grids)),
    ),
    level=SPECIFICATION,
)  # fmt: skip

EXERCISES = (RELATIVE_ROWS, RELATIVE_SCORES)
