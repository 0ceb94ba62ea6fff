"""How exact matrix products are: what their factors are rounded to. Everything else stays as it is.

float32   24 bits of mantissa
tf32      11 bits: what a GPU's matrix units take of a float32 where they may, several times as fast
bf16      8 bits, half the memory: the range of float32

Products add up in float32, and only linear layers and attention go through them: the parameters the
optimiser keeps, norms, softmax and the loss stay float32. Only float32 arrays are rounded; float64
ones, as in gradient checks, never.

A device does this in its matrix units. On NumPy the factors are rounded and then multiplied in
float32: slower, for looking at what it does to a model without having a device.
"""

from __future__ import annotations

import contextvars
from collections.abc import Iterator
from contextlib import contextmanager

from .arrays import array_module, device_tools
from .cuda.kernels.bf16 import to_bf16

PRECISIONS = {"float32": 24, "tf32": 11, "bf16": 8}  # bits of mantissa, the leading one included

_chosen = contextvars.ContextVar("precision", default="float32")


@contextmanager
def use_precision(name: str) -> Iterator[None]:
    """Let matrix products be of that precision within the block (of this thread or task alone).

    Raises ValueError for a name that is not in PRECISIONS.
    """
    if name not in PRECISIONS:
        raise ValueError(f"a precision is one of {', '.join(PRECISIONS)}; came {name!r}")
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


def precision():
    """The name of the precision here and now."""
    return _chosen.get()


def operand(x):
    """`x` as a product takes it; a float32 array in lower precision becomes a new one.

    On a device a bf16 array is kept as the upper halves of its numbers, uint16.
    """
    name = _chosen.get()
    if name == "float32" or x.dtype != "float32":
        return x
    if device_tools(x) is None:
        return rounded(x, PRECISIONS[name])
    if name == "tf32":
        return x  # the matrix units round
    return to_bf16(x)


def rounded(x, bits):
    """float32 numbers rounded to so many bits of mantissa, ties to even.

    x: any shape   ->   the same
    """
    drop = 24 - bits
    xp = array_module(x)
    x = xp.ascontiguousarray(x)
    raw = x.view("uint32")
    raw = raw + ((1 << (drop - 1)) - 1) + (raw >> drop & 1)
    raw &= 0xFFFFFFFF << drop & 0xFFFFFFFF
    return xp.where(x == x, raw.view("float32"), x)  # NaN stays NaN
