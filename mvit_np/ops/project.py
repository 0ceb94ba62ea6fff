"""Queries, keys and values: several projections of the same tokens, whose matrices are released side by side in one."""

from .. import tiles
from ..autodiff import op
from ..backend import array_module
from .linear import column_sums


@op
def project(x, w, b, count):
    """x W_i + b_i for each part of W.   x: (..., I)   w: (I, count O)   b: (count O,) or None   ->   count x (..., O)

    With X and dY_i flattened to rows:  dX = the sum of dY_i W_i',  dW_i = X' dY_i,  db_i = the sum of dY_i's rows.
    """
    xp, width = array_module(x), w.shape[1] // count
    rows, parts = x.reshape(-1, x.shape[-1]), [slice(i * width, (i + 1) * width) for i in range(count)]
    ys = [xp.empty((rows.shape[0], width), dtype=x.dtype) for _ in parts]
    pieces = tiles.rows(rows, max(rows.shape[1], width), w.size // tiles.PRODUCT)

    def tile(at):
        for y, part in zip(ys, parts):
            xp.matmul(rows[at], w[:, part], out=y[at])
            if b is not None:
                y[at] += b[part]

    tiles.run(tile, pieces)

    def backward(*dys):
        used = [(dy.reshape(-1, width), part) for dy, part in zip(dys, parts) if dy is not None]
        dx, dw = xp.empty(rows.shape, dtype=x.dtype), xp.zeros(w.shape, dtype=x.dtype)
        db = None if b is None else xp.zeros(b.shape, dtype=x.dtype)

        def tile(at):
            (dy, part), *others = used
            xp.matmul(dy[at], w[:, part].T, out=dx[at])
            for dy, part in others:
                dx[at] += dy[at] @ w[:, part].T

        def column(at):
            for dy, part in used:
                dw[at, part] = rows[:, at].T @ dy

        tiles.run(tile, pieces)
        tiles.run(column, tiles.rows(dw, w.shape[1], rows.shape[0] * w.shape[1] // tiles.PRODUCT))
        for dy, part in used if b is not None else ():
            db[part] = column_sums(dy)
        return dx.reshape(x.shape), dw, db, None

    return tuple(y.reshape(*x.shape[:-1], width) for y in ys), backward
