"""The types in the signatures of the public functions that no library has a name for."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

# NumPy's, or another library's under NumPy's names: CuPy's, or one that is being differentiated.
Array: TypeAlias = np.ndarray | Any
# An array, or dicts, lists and tuples of trees. No type checker can follow which lies where.
Tree: TypeAlias = Any
# The parameters of a model: a tree that is a dict.
Params: TypeAlias = dict[str, Tree]
FilePath: TypeAlias = str | os.PathLike[str]
# numpy.random.Generator, or what draws like it on a device.
Generator: TypeAlias = Any
# hook(name, array) is called with what passes by.
Hook: TypeAlias = Callable[[str, Array], Any]
# (time, height, width)
Triple: TypeAlias = tuple[int, int, int]
# ((axis, the queries' grid, the keys' grid), ...) of relative positions
Grids: TypeAlias = tuple[tuple[int, Triple, Triple], ...]
