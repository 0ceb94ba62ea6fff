"""GELU, the MLP's nonlinearity (Hendrycks and Gimpel 2016), in its exact form."""

import math

from ..autodiff.tape import op
from ..backend.arrays import array_module, special_functions
from ..backend.types import Array


@op
def gelu(x: Array):
    """x Phi(x), with the normal distribution's cumulative probability Phi.

    x: any shape   ->   same

    d/dx x Phi(x) = Phi(x) + x phi(x), with the density phi(x) = exp(-x^2 / 2) / sqrt(2 pi).
    """
    xp = array_module(x)
    cumulative = 0.5 * special_functions(x).erfc(x * -(0.5**0.5))  # Phi(x)

    def backward(dy):
        density = xp.exp(-0.5 * x * x) * (2 * math.pi) ** -0.5
        return (dy * (cumulative + x * density),)

    return x * cumulative, backward
