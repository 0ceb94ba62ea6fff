"""How parameters start (Sec. D.1: truncated normal) and what shapes they have."""

import numpy as np

STD = 0.02


def normal(rng, *shape, std=STD):
    """A normal distribution cut off at two standard deviations, float32; without `rng` only the shape, in no memory."""
    if rng is None:
        return np.broadcast_to(np.float32(0), shape)
    x = rng.standard_normal(shape)
    while (far := np.abs(x) > 2).any():
        x[far] = rng.standard_normal(int(far.sum()))
    return (x * std).astype(np.float32)


def linear(rng, n_in, n_out, bias=True):
    """{w: (in, out), b: (out,)}"""
    params = {"w": normal(rng, n_in, n_out)}
    return params | {"b": np.zeros(n_out, np.float32)} if bias else params


def norm(width):
    """{g: (width,), b: (width,)}: the identity."""
    return {"g": np.ones(width, np.float32), "b": np.zeros(width, np.float32)}
