"""A case of the gradient check: a function, and a maker of the arrays that it is checked at."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np

from ..autodiff.gradcheck import gradcheck
from ..backend import tiles
from ..backend import tree as trees
from ..backend.arrays import from_host, plain_ops

VERSIONS = {"plain": plain_ops, "fast": nullcontext, "tiles": tiles.smallest}


@dataclass(frozen=True)
class Case:
    """A function of float arrays; `make(rng)` draws the arrays, in float64."""

    name: str
    fun: Callable
    make: Callable
    composed: bool = False  # of many ops, or large numbers: roundings of float32 add up
    # which run: "plain", the definitions; "fast"; "tiles", fast in the smallest tiles
    versions: str = "fast"

    def check(self, dtype="float64", seed=0, **options):
        """The gradient check of this case in one dtype, as a Report."""
        args = trees.map(lambda x: x.astype(dtype), self.make(np.random.default_rng(seed)))
        if self.composed and dtype == "float32":
            options.setdefault("tolerance", 1e-4)
        with VERSIONS[self.versions]():
            return gradcheck(self.fun, *args, seed=seed, name=self.name, **options)

    def values(self, dtype="float64", seed=0):
        """What the function gives for the arrays of the check."""
        args = trees.map(lambda x: x.astype(dtype), self.make(np.random.default_rng(seed)))
        with VERSIONS[self.versions]():
            return self.fun(*args)

    def by(self, versions):
        """The same case by other versions."""
        return replace(self, name=f"{self.name} ({versions})", versions=versions)


def normals(*shapes):
    """A maker of standard normal arrays."""
    return lambda rng: [rng.standard_normal(shape) for shape in shapes]


def distinct(*shape):
    """A maker of one array whose values lie far apart, so that max pooling has no ties."""
    size = int(np.prod(shape))
    return lambda rng: [rng.permutation(np.arange(float(size))).reshape(shape) / size**0.5]


def beside(x, host):
    """A constant NumPy array in the library and dtype of `x`."""
    return from_host(host.astype(x.dtype), x)
