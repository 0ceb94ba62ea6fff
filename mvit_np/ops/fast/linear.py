"""Linear layers in tiles: each finds its rows in the cache when it adds the bias."""

from ...autodiff.versions import fast
from ...backend import tiles
from ...backend.arrays import array_module, device_tools
from ...backend.cuda.kernels import column_sums as fused
from ...backend.matmul import matmul, operand
from ..linear import linear as definition


@fast(definition, on=("numpy", "device"))
def linear(x, w, b=None):
    """As `ops.linear`, in one 2-D product of all rows: batched ones are slower."""
    xp, shape, dtype = array_module(x), x.shape, x.dtype
    rows, factor = operand(x.reshape(-1, shape[-1])), operand(w)
    y = xp.empty((rows.shape[0], w.shape[1]), dtype=dtype)

    def tile(at):
        plus(y[at], rows[at], factor, b)

    pieces = tiles.rows(rows, max(w.shape), w.size // tiles.PRODUCT)
    tiles.run(tile, pieces)

    def backward(dy_given):
        dy = dy_given.reshape(-1, dy_given.shape[-1])
        dw, db = (None if p is None else xp.empty(p.shape, dtype=dtype) for p in (w, b))
        return pulled_back(rows, factor, [(dy, slice(None))], dw, db).reshape(shape), dw, db

    return y.reshape(*shape[:-1], w.shape[-1]), backward


def plus(y, rows, w, b=None):
    """y = rows W + b, of plain arrays.

    y: (N, O), whose contents do not matter   rows: (N, I)   w: (I, O)
    """
    if device_tools(y) and b is not None:  # a product that adds to y saves a pass over it
        y[...] = b
        matmul(rows, w, out=y, add=True)
        return
    matmul(rows, w, out=y)
    if b is not None:
        y += b


def pulled_back(rows, w, used, dw, db=None):
    """dX of products with parts of W; each part's dW and db are written into `dw` and `db`.

    rows: (N, I)   w: (I, O), both as an `operand`   used: [(dY of a part, its columns of W)]
    """
    xp, widths = array_module(rows), [dy.shape[1] for dy, _ in used]
    dx = xp.empty(rows.shape, dtype=dw.dtype)
    factors = [(operand(dy), part) for dy, part in used]

    def tile(at):
        for i, (dy, part) in enumerate(factors):
            matmul(dy[at], w[:, part].T, out=dx[at], add=i > 0)

    def tile_with_shares(at):
        tile(at)
        sums = [column_sums(dy[at]) for dy, _ in used] if db is not None else []
        return [matmul(rows[at].T, dy[at]) for dy, _ in factors] + sums

    def columns(at):
        for dy, part in factors:
            matmul(rows[:, at].T, dy, out=dw[at, part])

    work = sum(widths) * rows.shape[1] // tiles.PRODUCT
    pieces = tiles.rows(rows, max(rows.shape[1], *widths), work)
    if len(pieces) > 1 and rows.size > dw.size:  # shares to add up are small beside what they save
        wholes = [dw[:, part] for _, part in used]
        wholes += [db[part] for _, part in used] if db is not None else []
        for whole, total in zip(wholes, tiles.total(tile_with_shares, pieces, wholes)):
            whole[...] = total
        return dx
    tiles.run(tile, pieces)
    work = rows.shape[0] * sum(widths) // tiles.PRODUCT
    tiles.run(columns, tiles.rows(dw, dw.shape[1], work))
    for dy, part in used if db is not None else ():
        db[part] = column_sums(dy)
    return dx


def column_sums(rows, like=None):
    """(N, D) -> (D,): the sum over rows, of the dtype of `like` where rows are an `operand`."""
    if device_tools(rows):
        return fused.column_sums(rows, rows if like is None else like)
    ones = array_module(rows).ones(rows.shape[0], dtype=rows.dtype)
    return ones @ rows  # the fastest way
