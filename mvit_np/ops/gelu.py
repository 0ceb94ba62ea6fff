"""GELU, the MLP's nonlinearity (Hendrycks and Gimpel 2016), in its exact form."""

import math

from ..autodiff import op
from ..backend import array_module, special_functions


@op
def gelu(x):
    """x Phi(x), with Phi the normal distribution's cumulative probability.   x: any shape   ->   the same

    d/dx x Phi(x) = Phi(x) + x phi(x), with the density phi(x) = exp(-x^2 / 2) / sqrt(2 pi).
    """

    def backward(dy):
        xp = array_module(x)
        slope = x * x
        slope *= -0.5
        xp.exp(slope, out=slope)
        slope *= x
        slope *= 1 / math.sqrt(2 * math.pi)
        slope += _phi(x)
        slope *= dy
        return (slope,)

    return x * _phi(x), backward


def _phi(x):
    """Phi(x) = (1 + erf(x / sqrt 2)) / 2."""
    p = special_functions(x).erf(x * math.sqrt(0.5))
    p += 1
    p *= 0.5
    return p
