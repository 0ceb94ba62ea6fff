"""Attention: softmax(scale Q K') V for all heads at once (Sec. 3.1)."""

from ..autodiff.tape import op
from ..backend.types import Array
from .softmax import softmax_array, softmax_backward


@op
def attend(q: Array, k: Array, v: Array, scale: float):
    """softmax(scale Q K') V.

    q: (B, Nq, h, d)   k: (B, Nk, h, d)   v: (B, Nk, h, e)   ->   (B, Nq, h, e)

    With S = scale Q K', P = softmax(S), Z = P V:  dV = P' dZ,  dP = dZ V',
    dS = P (dP - rowsum(P dP)),  dQ = scale dS K,  dK = scale dS' Q.
    P is (B, h, Nq, Nk), the largest array of the model.
    """
    p = attention_weights(q, k, scale)
    q, k, v = (heads_first(x) for x in (q, k, v))

    def backward(dz):
        dz = heads_first(dz)
        dv = _transposed(p) @ dz
        ds = scale * softmax_backward(p, dz @ _transposed(v))
        return heads_first(ds @ k), heads_first(_transposed(ds) @ q), heads_first(dv), None

    return heads_first(p @ v), backward


def attention_weights(q: Array, k: Array, scale: float) -> Array:
    """P = softmax(scale Q K') of plain arrays.   (B, Nq, h, d), (B, Nk, h, d) -> (B, h, Nq, Nk)"""
    return softmax_array((heads_first(q) * scale) @ _transposed(heads_first(k)))


def heads_first(x: Array) -> Array:
    """(B, N, h, d) <-> (B, h, N, d), a view."""
    return x.swapaxes(1, 2)


def _transposed(x):
    return x.swapaxes(-1, -2)
