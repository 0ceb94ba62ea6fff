"""Attention in tiles: of the weights only some rows exist at a time, and of them l alone is kept.

With E = exp(S) and l its row sums, P = E / l: the division is left until after the product with V.
"""

import math

import numpy as np

from ...autodiff.versions import fast
from ...backend import tiles
from ...backend.arrays import array_module
from ...backend.matmul import matmul, operand
from ..attend import attend as definition
from ..attend import heads_first

SAFE = 40  # exponents of two: within +-40 nothing, forward or backward, leaves float32's range


@fast(definition, on="numpy")
def attend(q, k, v, scale):
    """As `ops.attend`; the weights are made again in the backward pass."""
    xp = array_module(q)
    shape, out = q.shape, xp.empty((*q.shape[:3], v.shape[3]), dtype=q.dtype)
    q, k, v, z = (heads_first(x) for x in (*map(operand, (q, k, v)), out))
    work = k.shape[2] * (k.shape[3] + v.shape[3]) // tiles.PRODUCT
    pieces = tiles.blocks(q, q.shape[:3], k.shape[2], work)
    shares = xp.empty((*z.shape[:3], 1), dtype=q.dtype)  # 1 / l
    safe = _largest_exponent(q, k, scale) < SAFE

    def exponentials(at):
        s = matmul(q[at] * (scale / math.log(2)), k[at[:2]].swapaxes(-1, -2))
        if not safe:  # the same P: a row's exponentials and their sum change by one factor
            s -= s.max(axis=-1, keepdims=True)
        return xp.exp2(s, out=s)

    ones = xp.ones((k.shape[2], 1), dtype=q.dtype)

    def tile(at):
        e = exponentials(at)
        xp.divide(1, e @ ones, out=shares[at])
        matmul(operand(e), v[at[:2]], out=z[at])
        z[at] *= shares[at]

    tiles.run(tile, pieces)

    def backward(dz):
        dz, dq = heads_first(dz), heads_first(xp.empty(shape, dtype=q.dtype))

        def tile(at):
            head = at[:2]
            e = exponentials(at)
            dz_l = operand(dz[at] * shares[at])  # so that no pass over E is needed to make it P
            dv = matmul(operand(e).swapaxes(-1, -2), dz_l)
            ds = matmul(dz_l, v[head].swapaxes(-1, -2))
            ds -= xp.vecdot(e, ds)[..., None] * shares[at]
            ds *= e
            ds = operand(ds)
            dq[at] = matmul(ds, k[head]) * scale
            return matmul(ds.swapaxes(-1, -2), q[at]), dv

        dk, dv = tiles.total(tile, pieces, (k, v), lambda at: at[:2])
        dk *= scale
        return *(heads_first(dx) for dx in (dq, dk, dv)), None

    return out, backward


def _largest_exponent(q, k, scale):
    """No |scale q.k| / log 2 is larger (Cauchy and Schwarz)."""
    longest = [math.sqrt(np.einsum("bhnd,bhnd->bhn", x, x).max(initial=0)) for x in (q, k)]
    return longest[0] * longest[1] * abs(scale) / math.log(2)
