"""Attention on a device: as many clips at a time as SCORES allow, P made of S in one kernel."""

from ...autodiff.versions import fast
from ...backend.arrays import array_module
from ...backend.cuda.kernels import softmax as kernels
from ...backend.matmul import matmul, operand
from ...backend.precision import precision
from ..attend import attend as definition
from ..attend import heads_first

SCORES = 1 << 27  # of a device's scores that exist at a time: half a gigabyte


@fast(definition, on="device")
def attend(q, k, v, scale):
    """As `ops.attend`; the weights are made again in the backward pass."""
    xp, number = array_module(q), q.dtype
    shapes = [x.shape for x in (q, k, v)]
    out_type = "bf16" if precision() == "bf16" and number == "float32" else "T"
    q, k, v = (heads_first(operand(x)) for x in (q, k, v))
    some = max(1, SCORES // (shapes[0][1] * shapes[0][2] * shapes[1][1]))
    pieces = [slice(i, i + some) for i in range(0, shapes[0][0], some)]
    out = xp.empty((*shapes[0][:3], shapes[2][3]), dtype=number)

    def weights(at):
        s = xp.empty((*q[at].shape[:3], k.shape[2]), dtype=number)
        return kernels.softmax_rows(matmul(q[at], k[at].swapaxes(-1, -2), out=s), scale, out_type)

    for at in pieces:
        matmul(weights(at), v[at], out=heads_first(out[at]))

    def backward(dz):
        dz = heads_first(operand(dz))
        gradients = [xp.empty(shape, dtype=number) for shape in shapes]
        dq, dk, dv = map(heads_first, gradients)

        def piece(at):  # a function, so that nothing of a piece is left when the next begins
            p = weights(at)
            matmul(p.swapaxes(-1, -2), dz[at], out=dv[at])
            dp = xp.empty(p.shape, dtype=number)
            matmul(dz[at], v[at].swapaxes(-1, -2), out=dp)
            ds = kernels.softmax_rows_backward(p, dp, scale)
            matmul(ds, k[at], out=dq[at])
            matmul(ds.swapaxes(-1, -2), q[at], out=dk[at])

        for at in pieces:
            piece(at)
        return *gradients, None

    return out, backward
