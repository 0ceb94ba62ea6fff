"""How parameters start (Sec. D.1: truncated normal).

Each function takes a random generator, or `SHAPES_ALONE`: then the array has its shape and type,
takes no memory, and holds nothing that means anything.
"""

import math

import numpy as np

from ...backend.types import Array, Generator, Params

STD = 0.02
LARGEST = 1 << 60  # numbers
SHAPES_ALONE = object()


def normal(rng: Generator, *shape: int, std: float = STD) -> Array:
    """A normal distribution cut off at two standard deviations, float32."""
    if rng is SHAPES_ALONE:
        return constant(rng, 0, *shape)
    x = rng.standard_normal(shape)
    while (far := np.abs(x) > 2).any():
        x[far] = rng.standard_normal(int(far.sum()))
    return (x * std).astype(np.float32)


def constant(rng: Generator, value: float, *shape: int) -> Array:
    """The same number everywhere, float32. Raises ValueError for a shape that no array has."""
    if math.prod(shape) > LARGEST:
        rule = f"parameters fit into memory; came an array of shape {shape}"
        raise ValueError(f"{rule}: give smaller numbers in the config")
    if rng is SHAPES_ALONE:
        return np.broadcast_to(np.float32(value), shape)
    return np.full(shape, value, np.float32)


def linear(rng: Generator, n_in: int, n_out: int, bias: bool = True) -> Params:
    """{w: (in, out), b: (out,)}"""
    params = {"w": normal(rng, n_in, n_out)}
    return params | {"b": constant(rng, 0, n_out)} if bias else params


def norm(rng: Generator, width: int) -> Params:
    """{g: (width,), b: (width,)}: the identity."""
    return {"g": constant(rng, 1, width), "b": constant(rng, 0, width)}
