"""A function and its faster versions: the definition is what one reads, a version is what runs.

    @op                                      # in ops/layer_norm.py: the definition
    def layer_norm(x, g, b, eps=1e-6): ...

    @fast(layer_norm, on="numpy")            # in ops/fast/layer_norm.py: the same, faster
    def layer_norm(x, g, b, eps=1e-6): ...

A call runs the version that is registered for the place of its first array, "numpy" or "device",
and the definition where there is none. Within `plain_ops()` every call runs the definition.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal, ParamSpec

import numpy as np

from ..backend.arrays import is_array, place
from .boxes import getval

Arguments = ParamSpec("Arguments")


def fast(
    function: Any, on: Literal["numpy", "device"] | tuple[str, ...]
) -> Callable[[Callable[..., Any]], Any]:
    """Register what follows as the version of an `op` or a `composed` function at these places.

    It takes the arguments of the definition. A version of an op returns `(value, backward)` as
    the definition does; one of a composed function returns the value, and is often an op itself.
    """

    def register(version):
        function.versions.update(dict.fromkeys((on,) if isinstance(on, str) else on, version))
        return version

    return register


def composed(fun: Callable[Arguments, Any]) -> Callable[Arguments, Any]:
    """Let a function that is made of ops have faster versions (`fast`) that do the whole of it."""
    versions: dict[str | None, Callable[..., Any]] = {}

    @functools.wraps(fun)
    def call(*args, **static):
        return version_for(fun, versions, args)(*args, **static)

    call.definition, call.versions = fun, versions  # type: ignore[attr-defined]
    return call


def version_for(
    definition: Callable[..., Any], versions: dict[str | None, Callable[..., Any]], args: tuple
) -> Callable[..., Any]:
    """What runs for these arguments; a traced array counts as the array inside it."""
    for x in args if versions else ():
        x = getval(x)
        if isinstance(x, np.ndarray) or is_array(x):  # NumPy's first, which is quick to see
            return versions.get(place(x), definition)
    return definition
