"""Softmax over the last axis."""

from ..autodiff.tape import op
from ..backend.arrays import array_module
from ..backend.types import Array


def softmax_array(x: Array) -> Array:
    """exp(x) / sum exp(x) over the last axis, shifted by the maximum so that nothing overflows."""
    e = array_module(x).exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def softmax_backward(p: Array, dp: Array) -> Array:
    """From dP to dX: each row loses its P-weighted mean, dX = P (dP - sum_j P_j dP_j)."""
    return p * (dp - (p * dp).sum(axis=-1, keepdims=True))


@op
def softmax(x: Array):
    """Probabilities over the last axis.   x: (..., N)   ->   (..., N)"""
    p = softmax_array(x)

    def backward(dp):
        return (softmax_backward(p, dp),)

    return p, backward
