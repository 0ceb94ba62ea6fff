"""GELU, the MLP's nonlinearity (Hendrycks and Gimpel 2016), in its exact form."""

import math

from .. import tiles
from ..autodiff import op
from ..backend import array_module, special_functions

# Phi(-a) = 2^-Q(a) for a >= 0: Q by powers of a, fitted so that the largest error of Phi and of a Phi is least (1.4e-8)
_Q = (
    0.999999959, 1.15110694, 0.459193057, 0.0525464363, -0.0071427821, 0.000202479173, 0.000157278679, -3.29679936e-05,
    2.27586991e-06,
)  # fmt: skip


@op
def gelu(x):
    """x Phi(x), with Phi the normal distribution's cumulative probability.   x: any shape   ->   the same

    d/dx x Phi(x) = Phi(x) + x phi(x), with the density phi(x) = exp(-x^2 / 2) / sqrt(2 pi).
    """

    def backward(dy):
        slope = gelu_and_slope(x)[1]
        slope *= dy
        return (slope,)

    return gelu_array(x), backward


def gelu_array(x):
    """x Phi(x) of a plain array, as x / 2 - |x| (Phi(-|x|) - 1/2)."""

    def tile(x, y):
        a = abs(x)
        below = _tail(a)
        below -= 0.5
        below *= a
        array_module(x).multiply(x, 0.5, out=y)
        y -= below

    return tiles.elementwise(tile, x, passes=20)[0]


def gelu_and_slope(x):
    """x Phi(x) and its derivative Phi(x) + x phi(x), of a plain array; most of the work is Phi, and they share it."""
    xp = array_module(x)

    def tile(x, y, slope):
        xp.square(x, out=slope)
        slope *= -0.5 / math.log(2)
        xp.exp2(slope, out=slope)
        slope *= x
        slope *= 1 / math.sqrt(2 * math.pi)
        phi = _tail(abs(x))
        xp.subtract(0.5, phi, out=phi)
        xp.copysign(phi, x, out=phi)
        phi += 0.5
        slope += phi
        xp.multiply(x, phi, out=y)

    return tiles.elementwise(tile, x, outputs=2, passes=30)


def _tail(a):
    """Phi(-a) for a >= 0: exact in float64; in float32 by a polynomial, ten times as fast and as near as float32 is."""
    xp = array_module(a)
    if a.dtype != "float32":
        return 0.5 * special_functions(a).erfc(a * math.sqrt(0.5))
    p = a * -_Q[-1]
    for c in _Q[-2:0:-1]:
        p -= c
        p *= a
    p -= _Q[0]
    return xp.exp2(p, out=p)
