"""GELU in tiles, and of float32 numbers by a fit of Phi that is as near as float32 is."""

import math

import numpy as np

from ...autodiff.versions import fast
from ...backend import tiles
from ...backend.arrays import array_module, device_tools, special_functions
from ...backend.cuda.kernels import gelu as fused
from ...backend.elementwise import elementwise, parts
from ...backend.precision import operand, precision
from ...backend.scratch import scratch
from ..gelu import gelu as definition

# Phi(x) = 1 / (1 + 2^(-x R(x^2)))
# R by powers of x^2, fitted so that the largest error of Phi and of x Phi is least (7e-8). The last
# being positive, Phi goes on to 0 and 1 beyond the range of the fit, |x| < 5.8.
_R = (
    2.302208,
    0.104837507,
    -9.50873338e-05,
    -0.000159498424,
    1.14639813e-05,
    -3.85623332e-07,
    5.22071846e-09,
)


@fast(definition, on=("numpy", "device"))
def gelu(x):
    """As `ops.gelu`."""

    def backward(dy):
        return (gelu_backward(x, None, dy)[1],)

    return gelu_array(x), backward


def gelu_array(x, b=None, factor=False):
    """gelu(x + b) of a plain array x, overwritten where there is a b; `factor`: as an `operand`."""
    if device_tools(x):
        return fused.gelu(x, b, _out_type(x, factor))
    if b is not None:
        x += b
    y = _gelu_array(x, None if b is None else x)
    return operand(y) if factor else y


def gelu_backward(x, b, dy, factor=False):
    """gelu(x + b) and dy gelu'(x + b), as with `gelu_array`; dy may then be overwritten too."""
    if device_tools(x):
        return fused.gelu_backward(x, b, dy, _out_type(x, factor))
    if b is not None:
        x += b
    y, slope = gelu_and_slope(x)
    slope *= dy
    return (operand(y), operand(slope)) if factor else (y, slope)


def _out_type(x, factor):
    return "bf16" if factor and x.dtype == "float32" and precision() == "bf16" else "T"


def _gelu_array(x, y=None):
    """x Phi(x) of a plain array, into y if there is one, which may be x."""
    xp, exact = array_module(x), x.dtype != "float32"
    y = xp.empty(x.shape, dtype=x.dtype) if y is None else y
    flat, out = x.reshape(-1), y.reshape(-1)

    def tile(at):
        x = flat[at]
        if exact:
            xp.multiply(x, _exact_phi(x), out=out[at])
        else:
            over_phi = scratch("1 / Phi", x.shape, x)
            xp.divide(x, _one_over_phi(x, over_phi), out=out[at])

    tiles.run(tile, parts(flat, 20))
    return y


def gelu_and_slope(x):
    """x Phi(x) and its derivative Phi(x) + x phi(x): most of the work is Phi, which they share."""
    xp, exact = array_module(x), x.dtype != "float32"

    def tile(x, y, slope):
        p = _exact_phi(x) if exact else xp.divide(1, _one_over_phi(x, slope))
        xp.multiply(x, p, out=y)
        xp.square(x, out=slope)
        slope *= -0.5 / math.log(2)
        xp.exp2(slope, out=slope)
        slope *= x
        slope *= 1 / math.sqrt(2 * math.pi)
        slope += p

    return elementwise(tile, x, outputs=2, passes=30)


def _exact_phi(x):
    return 0.5 * special_functions(x).erfc(x * -math.sqrt(0.5))


def _one_over_phi(x, out):
    """1 / Phi(x) of float32 numbers: ten times as fast as the exact one, as near as float32 is."""
    xp = array_module(x)
    with np.errstate(over="ignore"):  # 2^large is infinity, and 1 / (1 + infinity) the 0 wanted
        square = xp.square(x, out=scratch("x^2", x.shape, x))
        xp.multiply(square, -_R[-1], out=out)
        for c in _R[-2:0:-1]:
            out -= c
            out *= square
        out -= _R[0]
        out *= x
        xp.exp2(out, out=out)
    out += 1
    return out
