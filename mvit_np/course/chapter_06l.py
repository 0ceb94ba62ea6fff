"""Exercises of notebook 06: two more backwards with one planted bug each, for gradcheck."""

from __future__ import annotations

import numpy as np

from .backwards import but
from .checker import INVESTIGATE, Exercise


def mend_average_pool(x, kernel, stride, dy):
    """Mend the gradient of average pooling along one axis, without padding.

    x: (N, D)   kernel, stride: whole numbers   dy: (n, D), n = (N - kernel) // stride + 1
    ->   (N, D)
    y_i is the mean of the tokens s i, ..., s i + k - 1. With some windows mv.gradcheck finds no
    fault.
    Hint: when is the number of tokens in a window equal to something else?
    """
    dx = np.zeros_like(x)
    for i, d in enumerate(dy):
        dx[i * stride : i * stride + kernel] += d / kernel
    return dx


def mend_bilinear(q, w, k, dy):
    """Mend the gradients of scores with a matrix between queries and keys, y = Q W K'.

    q: (N, D)   w: (D, D)   k: (M, D)   dy: (N, M)   ->   dq, dw, dk
    One term is wrong, and every shape is right. mv.gradcheck says which gradient is.
    Hint: y[n, m] is the sum over i and j of q[n, i] w[i, j] k[m, j]. What is its derivative
    by w[i, j]?
    """
    return dy @ (k @ w.T), q.T @ dy @ k, dy.T @ q @ w


# -- as they are given, with the bug ---------------------------------------------------------------


def given_average_pool(x, kernel, stride, dy):
    dx = np.zeros_like(x)
    for i, d in enumerate(dy):
        dx[i * stride : i * stride + kernel] += d / stride
    return dx


def given_bilinear(q, w, k, dy):
    return dy @ (k @ w.T), k.T @ dy.T @ q, dy.T @ q @ w


# -- pool ------------------------------------------------------------------------------------------


def _pools(rng):
    for n, d, kernel, stride in ((9, 3, 3, 2), (8, 2, 2, 3), (7, 4, 4, 1)):
        windows = (n - kernel) // stride + 1
        yield rng.standard_normal((n, d)), kernel, stride, rng.standard_normal((windows, d))


def _reference_pool(x, kernel, stride, dy):
    starts = stride * np.arange(len(dy))[:, None]
    inside = (np.arange(len(x)) >= starts) & (np.arange(len(x)) < starts + kernel)
    return inside.T.astype(dy.dtype) @ dy / kernel


def _shares(share, arrive=np.add, start=lambda i, stride: i * stride, divided=False):
    def wrong(x, kernel, stride, dy):
        dx = np.zeros_like(x)
        for i, d in enumerate(dy):
            window = slice(start(i, stride), start(i, stride) + kernel)
            dx[window] = arrive(dx[window], share(d, kernel, stride))
        return dx / len(dy) if divided else dx

    return wrong


AVERAGE_POOL = Exercise(
    mend_average_pool,
    _reference_pool,
    _pools,
    (
        ("each token of a window gets its share of dy, 1 / kernel", _shares(lambda d, k, s: d)),
        ("windows overlap: their shares are added, as before",
         _shares(lambda d, k, s: d / k, arrive=lambda before, came: came)),
        ("the window begins at i times the stride, as before",
         _shares(lambda d, k, s: d / k, start=lambda i, stride: i)),
        ("dy is divided by both kernel and stride: by the kernel alone",
         _shares(lambda d, k, s: d / (k * s))),
        ("dy is divided by the number of windows: by that of the tokens in one",
         _shares(lambda d, k, s: d, divided=True)),
    ),
    given=given_average_pool,
    level=INVESTIGATE,
    finding="the share of a token was dy / stride, which is right where stride equals kernel.",
)  # fmt: skip


# -- scores ----------------------------------------------------------------------------------------


def _matrices(rng):
    for n, m, d in ((3, 3, 3), (4, 2, 3), (1, 5, 2)):
        yield tuple(map(rng.standard_normal, ((n, d), (d, d), (m, d), (n, m))))


def _reference_scores(q, w, k, dy):
    return (
        np.einsum("nm,ij,mj->ni", dy, w, k),
        np.einsum("nm,ni,mj->ij", dy, q, k),
        np.einsum("nm,ni,ij->mj", dy, q, w),
    )


BILINEAR = Exercise(
    mend_bilinear,
    _reference_scores,
    _matrices,
    (
        ("dW lacks dy", but(mend_bilinear, 1, lambda _, q, w, k, dy: q.T @ q @ w)),
        ("dW = Q' dy K; yours has W in it",
         but(mend_bilinear, 1, lambda dw, q, w, k, dy: dw @ w)),
        ("dQ was right: dy K W'", but(mend_bilinear, 0, lambda _, q, w, k, dy: dy @ k @ w)),
        ("dK was right: dy' Q W", but(mend_bilinear, 2, lambda _, q, w, k, dy: dy.T @ q @ w.T)),
        ("dW is a sum over queries and keys; yours is their mean",
         but(mend_bilinear, 1, lambda dw, q, w, k, dy: dw / dy.size)),
    ),
    returns=("dq", "dw", "dk"),
    given=given_bilinear,
    level=INVESTIGATE,
    finding="dW was transposed, and a square matrix has the same shape either way.",
)  # fmt: skip

EXERCISES = (AVERAGE_POOL, BILINEAR)
