"""A case of the gradient check: a function, and a maker of the arrays that it is checked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..autodiff.gradcheck import gradcheck
from ..autodiff.report import Report
from ..backend import tiles
from ..backend import tree as trees
from ..backend.arrays import from_host, plain_ops
from ..backend.types import Array

Maker = Callable[[np.random.Generator], Sequence[Any]]  # draws a function's arguments
VERSIONS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "plain": plain_ops,
    "fast": nullcontext,
    "tiles": tiles.smallest,
}


@dataclass(frozen=True)
class Case:
    """A function of float arrays; `make(rng)` draws the arrays, in float64."""

    name: str
    fun: Callable[..., Any]
    make: Maker
    composed: bool = False  # of many ops, or large numbers: roundings of float32 add up
    # which run: "plain", the definitions; "fast"; "tiles", fast in the smallest tiles
    versions: str = "fast"

    def check(self, dtype: str = "float64", seed: int = 0, **options: Any) -> Report:
        """The gradient check of this case in one dtype, as a Report."""
        args = trees.map(lambda x: x.astype(dtype), self.make(np.random.default_rng(seed)))
        if self.composed and dtype == "float32":
            options.setdefault("tolerance", 1e-4)
        with VERSIONS[self.versions]():
            return gradcheck(self.fun, *args, seed=seed, name=self.name, **options)

    def values(self, dtype: str = "float64", seed: int = 0) -> Any:
        """What the function gives for the arrays of the check."""
        args = trees.map(lambda x: x.astype(dtype), self.make(np.random.default_rng(seed)))
        with VERSIONS[self.versions]():
            return self.fun(*args)

    def by(self, versions: str) -> Case:
        """The same case by other versions."""
        return replace(self, name=f"{self.name} ({versions})", versions=versions)


def normals(*shapes: tuple[int, ...]) -> Maker:
    """A maker of standard normal arrays."""
    return lambda rng: [rng.standard_normal(shape) for shape in shapes]


def distinct(*shape: int) -> Maker:
    """A maker of one array whose values differ by much, so that max pooling has no ties."""
    size = int(np.prod(shape))
    return lambda rng: [rng.permutation(np.arange(float(size))).reshape(shape) / size**0.5]


def beside(x: Array, host: np.ndarray) -> Array:
    """A constant NumPy array in the library and dtype of `x`."""
    return from_host(host.astype(x.dtype), x)
