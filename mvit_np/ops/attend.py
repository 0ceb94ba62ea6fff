"""Attention: softmax(scale Q K') V for all heads at once (Sec. 3.1)."""

from ..autodiff import op
from .softmax import softmax_array, softmax_backward


@op
def attend(q, k, v, scale):
    """softmax(scale Q K') V.   q: (B, Nq, h, d)   k: (B, Nk, h, d)   v: (B, Nk, h, e)   scale: a number   ->   (B, Nq, h, e)

    With S = scale Q K', P = softmax(S), Z = P V:  dV = P' dZ,  dP = dZ V',  dS = P (dP - rowsum(P dP)),
    dQ = scale dS K,  dK = scale dS' Q.  P is (B, h, Nq, Nk), the largest array of the model: it is not kept but rebuilt.
    """
    z = attention_weights(q, k, scale) @ _heads_first(v)

    def backward(dz):
        qh, kh, vh, dz = (_heads_first(x) for x in (q, k, v, dz))
        p = attention_weights(q, k, scale)
        dv = p.swapaxes(-1, -2) @ dz
        ds = softmax_backward(p, dz @ vh.swapaxes(-1, -2))
        ds *= scale
        dq, dk = ds @ kh, ds.swapaxes(-1, -2) @ qh
        return _heads_first(dq), _heads_first(dk), _heads_first(dv), None

    return _heads_first(z), backward


def attention_weights(q, k, scale):
    """P = softmax(scale Q K') of plain arrays, each row summing to 1.   (B, Nq, h, d), (B, Nk, h, d) -> (B, h, Nq, Nk)"""
    return softmax_array((_heads_first(q) * scale) @ _heads_first(k).swapaxes(-1, -2))


def _heads_first(x):
    """(B, N, h, d) <-> (B, h, N, d), a view."""
    return x.swapaxes(1, 2)
