"""Attention: softmax(scale Q K') V for all heads at once (Sec. 3.1)."""

import math

import numpy as np

from ..autodiff.tape import op
from ..backend import tiles
from ..backend.arrays import array_module, device_tools
from ..backend.cuda.kernels import softmax as fused
from ..backend.matmul import matmul, operand
from ..backend.precision import precision
from .softmax import softmax_array

SCORES = 1 << 27  # of a device's scores that exist at a time: half a gigabyte
SAFE = 40  # powers of two: with exponents in +-40 nothing in forward or backward leaves the range of float32


@op
def attend(q, k, v, scale):
    """softmax(scale Q K') V.   q: (B, Nq, h, d)   k: (B, Nk, h, d)   v: (B, Nk, h, e)   scale: a number   ->   (B, Nq, h, e)

    With S = scale Q K', E = exp(S), l its row sums, P = E / l, Z = P V:  dV = P' dZ,  dP = dZ V',
    dS = P (dP - rowsum(P dP)),  dQ = scale dS K,  dK = scale dS' Q.
    P is (B, h, Nq, Nk), the largest array of the model: only some of its rows exist at a time, and none is kept.
    """
    if device_tools(q):
        return _fused(q, k, v, scale)
    xp = array_module(q)
    shape, out = q.shape, xp.empty((*q.shape[:3], v.shape[3]), dtype=q.dtype)
    q, k, v, z = (heads_first(x) for x in (*map(operand, (q, k, v)), out))
    work = k.shape[2] * (k.shape[3] + v.shape[3]) // tiles.PRODUCT
    pieces = tiles.blocks(q, q.shape[:3], k.shape[2], work)
    ones = xp.ones((k.shape[2], 1), dtype=q.dtype)
    safe = _largest_exponent(q, k, scale) < SAFE

    def exponentials(at):
        s = matmul(q[at] * (scale / math.log(2)), k[at[:2]].swapaxes(-1, -2))
        if not safe:  # the same P: a row's exponentials and their sum change by one factor
            s -= s.max(axis=-1, keepdims=True)
        e = xp.exp2(s, out=s)
        return e, 1 / (e @ ones)

    def tile(at):
        e, share = exponentials(at)
        matmul(operand(e), v[at[:2]], out=z[at])
        z[at] *= share

    tiles.run(tile, pieces)

    def backward(dz):
        dz, dq = heads_first(dz), heads_first(xp.empty(shape, dtype=q.dtype))

        def tile(at):
            head = at[:2]
            e, share = exponentials(at)
            dz_l = operand(dz[at] * share)  # so that no pass over E is needed to make it P
            dv = matmul(operand(e).swapaxes(-1, -2), dz_l)
            ds = matmul(dz_l, v[head].swapaxes(-1, -2))
            ds -= ((e * ds) @ ones) * share
            ds *= e
            ds *= scale
            ds = operand(ds)
            matmul(ds, k[head], out=dq[at])
            return matmul(ds.swapaxes(-1, -2), q[at]), dv

        dk, dv = tiles.total(tile, pieces, (k, v), lambda at: at[:2])
        return *(heads_first(dx) for dx in (dq, dk, dv)), None

    return out, backward


def _fused(q, k, v, scale):
    """The same on a device: as many clips at a time as SCORES allow, P made of S in one kernel."""
    xp, number = array_module(q), q.dtype
    shapes = [x.shape for x in (q, k, v)]
    kind = "bf16" if precision() == "bf16" and number == "float32" else "T"
    q, k, v = (heads_first(operand(x)) for x in (q, k, v))
    some = max(1, SCORES // (shapes[0][1] * shapes[0][2] * shapes[1][1]))
    pieces = [slice(i, i + some) for i in range(0, shapes[0][0], some)]
    out = xp.empty((*shapes[0][:3], shapes[2][3]), dtype=number)

    def weights(at):
        s = xp.empty((*q[at].shape[:3], k.shape[2]), dtype=number)
        return fused.softmax_rows(matmul(q[at], k[at].swapaxes(-1, -2), out=s), scale, kind)

    for at in pieces:
        matmul(weights(at), v[at], out=heads_first(out[at]))

    def backward(dz):
        dz, gradients = heads_first(operand(dz)), [xp.empty(shape, dtype=number) for shape in shapes]
        dq, dk, dv = map(heads_first, gradients)

        def piece(at):  # a function, so that nothing of a piece is left when the next begins
            p = weights(at)
            matmul(p.swapaxes(-1, -2), dz[at], out=dv[at])
            dp = xp.empty(p.shape, dtype=number)
            ds = fused.softmax_rows_backward(p, matmul(dz[at], v[at].swapaxes(-1, -2), out=dp), scale)
            matmul(ds, k[at], out=dq[at])
            matmul(ds.swapaxes(-1, -2), q[at], out=dk[at])

        for at in pieces:
            piece(at)
        return *gradients, None

    return out, backward


def attention_weights(q, k, scale):
    """P = softmax(scale Q K') of plain arrays, each row summing to 1.   (B, Nq, h, d), (B, Nk, h, d) -> (B, h, Nq, Nk)"""
    return softmax_array((heads_first(q) * scale) @ heads_first(k).swapaxes(-1, -2))


def heads_first(x):
    """(B, N, h, d) <-> (B, h, N, d), a view."""
    return x.swapaxes(1, 2)


def _largest_exponent(q, k, scale):
    """No |scale q.k| / log 2 is larger (Cauchy and Schwarz). Infinite on a device: to look would wait for it."""
    if not isinstance(q, np.ndarray):
        return math.inf
    longest = [math.sqrt(np.einsum("bhnd,bhnd->bhn", x, x).max(initial=0)) for x in (q, k)]
    return longest[0] * longest[1] * abs(scale) / math.log(2)
