"""How parameters start (Sec. D.1: truncated normal) and what shapes they have."""

import math

import numpy as np

STD = 0.02
LARGEST = 1 << 60  # numbers


def normal(rng, *shape, std=STD):
    """A normal distribution cut off at two standard deviations, float32; without `rng` only the shape, in no memory."""
    if rng is None:
        return constant(rng, 0, *shape)
    x = rng.standard_normal(shape)
    while (far := np.abs(x) > 2).any():
        x[far] = rng.standard_normal(int(far.sum()))
    return (x * std).astype(np.float32)


def constant(rng, value, *shape):
    """The same number everywhere, float32; without `rng` in no memory. Raises ValueError for a shape that no array has."""
    if math.prod(shape) > LARGEST:
        raise ValueError(f"parameters fit into memory; came an array of shape {shape}: give smaller numbers in the config")
    return np.broadcast_to(np.float32(value), shape) if rng is None else np.full(shape, value, np.float32)


def linear(rng, n_in, n_out, bias=True):
    """{w: (in, out), b: (out,)}"""
    params = {"w": normal(rng, n_in, n_out)}
    return params | {"b": constant(rng, 0, n_out)} if bias else params


def norm(rng, width):
    """{g: (width,), b: (width,)}: the identity."""
    return {"g": constant(rng, 1, width), "b": constant(rng, 0, width)}
