"""Queries, keys and values: several projections of the same tokens, whose matrices are released side by side in one."""

from .. import tiles
from ..autodiff import op
from ..backend import array_module
from .linear import column_sums


@op
def project(x, w, b, count, rest=None):
    """x W_i + b_i for each part of W.   x: (..., I)   w: (I, count O)   b: (count O,) or None   ->   count x (..., O)

    rest   (..., I): what all parts but the first are projected from, where that is not x
    With X and dY_i flattened to rows:  dX = the sum of dY_i W_i',  dW_i = X' dY_i,  db_i = the sum of dY_i's rows.
    """
    width = w.shape[1] // count
    parts = [slice(i * width, (i + 1) * width) for i in range(count)]
    groups = [(x, parts)] if rest is None else [(x, parts[:1]), (rest, parts[1:])]
    ys = [y for source, some in groups for y in _projected(source, w, b, some)]

    def backward(*dys):
        dw, d_sources = array_module(w).zeros(w.shape, dtype=w.dtype), []
        db = None if b is None else array_module(b).zeros(b.shape, dtype=b.dtype)
        for source, some in groups:
            used = [(dy.reshape(-1, width), part) for dy, part in zip(dys, parts) if part in some and dy is not None]
            d_sources.append(_pulled_back(source, w, used, dw, db))
        return d_sources[0], dw, db, None, *d_sources[1:]

    return tuple(ys), backward


def _projected(x, w, b, parts):
    xp, width, rows = array_module(x), parts[0].stop - parts[0].start, x.reshape(-1, x.shape[-1])
    ys = [xp.empty((rows.shape[0], width), dtype=x.dtype) for _ in parts]

    def tile(at):
        for y, part in zip(ys, parts):
            xp.matmul(rows[at], w[:, part], out=y[at])
            if b is not None:
                y[at] += b[part]

    tiles.run(tile, tiles.rows(rows, max(rows.shape[1], width), len(parts) * width * rows.shape[1] // tiles.PRODUCT))
    return [y.reshape(*x.shape[:-1], width) for y in ys]


def _pulled_back(x, w, used, dw, db):
    """dX; each part's share of dW and db is written to its place."""
    xp, rows = array_module(x), x.reshape(-1, x.shape[-1])
    if not used:
        return xp.zeros(x.shape, dtype=x.dtype)
    dx, wide = xp.empty(rows.shape, dtype=x.dtype), sum(part.stop - part.start for _, part in used)

    def tile(at):
        (dy, part), *others = used
        xp.matmul(dy[at], w[:, part].T, out=dx[at])
        for dy, part in others:
            dx[at] += dy[at] @ w[:, part].T

    def column(at):
        for dy, part in used:
            dw[at, part] = rows[:, at].T @ dy

    tiles.run(tile, tiles.rows(rows, max(rows.shape[1], wide // len(used)), wide * rows.shape[1] // tiles.PRODUCT))
    tiles.run(column, tiles.rows(dw, w.shape[1], rows.shape[0] * wide // tiles.PRODUCT))
    for dy, part in used if db is not None else ():
        db[part] = column_sums(dy)
    return dx.reshape(x.shape)
