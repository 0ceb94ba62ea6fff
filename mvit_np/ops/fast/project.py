"""Several projections whose matrices stand side by side in one: `linear`, then `split_channels`.

Each result is an array of its own, which the pools read faster than a part of a wide one.
"""

from functools import partial

from ...autodiff.tape import op
from ...backend import tiles
from ...backend.arrays import array_module
from ...backend.matmul import operand
from .linear import plus, pulled_back


@op
def project(x, w, b, count, rest=None):
    """x W_i + b_i for each part of W.

    x: (..., I)   w: (I, count O)   b: (count O,) or None   ->   count x (..., O)

    rest   (..., I): what all parts but the first are projected from, where that is not x

    With X and dY_i flattened to rows:
    dX = the sum of dY_i W_i',  dW_i = X' dY_i,  db_i = the sum of dY_i's rows.
    """
    width, factor = w.shape[1] // count, operand(w)
    parts = [slice(i * width, (i + 1) * width) for i in range(count)]
    sources = [(x, parts)] if rest is None else [(x, parts[:1]), (rest, parts[1:])]
    groups = [(operand(_rows(source)), source.shape, some) for source, some in sources]
    ys = []
    for rows, shape, some in groups:
        made = _projected(rows, factor, b, some, x.dtype)
        ys += [y.reshape(*shape[:-1], width) for y in made]

    def backward(*dys):
        zeros, d_sources = partial(array_module(w).zeros, dtype=w.dtype), []
        dw, db = zeros(w.shape), None if b is None else zeros(b.shape)
        for rows, shape, some in groups:
            own = [(dy, part) for dy, part in zip(dys, parts) if part in some]
            used = [(_rows(dy), part) for dy, part in own if dy is not None]
            dx = pulled_back(rows, factor, used, dw, db) if used else zeros(rows.shape)
            d_sources.append(dx.reshape(shape))
        return d_sources[0], dw, db, None, *d_sources[1:]

    return tuple(ys), backward


def _rows(x):
    return x.reshape(-1, x.shape[-1])


def _projected(rows, w, b, parts, dtype):
    width = parts[0].stop - parts[0].start
    ys = [array_module(rows).empty((rows.shape[0], width), dtype=dtype) for _ in parts]

    def tile(at):
        for y, part in zip(ys, parts):
            plus(y[at], rows[at], w[:, part], None if b is None else b[part])

    wide, share = max(rows.shape[1], width), len(parts) * width * rows.shape[1] // tiles.PRODUCT
    tiles.run(tile, tiles.rows(rows, wide, share))
    return ys
