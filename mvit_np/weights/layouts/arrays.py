"""Arrays from torch's layout to ours and back, by the role of the parameter (`names.ROLES`).

linear.w  (out, in)                  (in, out)
cube.w    (D, C, [kt,] kh, kw)       (kt, kh, kw, C, D)
pool.w    (d, 1, [kt,] kh, kw)       (kt, kh, kw, d)
row       (1, 1, D) or (D,)          (D,)
table     (1, N, D) or (N, D)        (N, D)
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ...backend.types import Array

NDIM = {"linear.w": (2,), "cube.w": (4, 5), "pool.w": (4, 5)}
NDIM |= {"row": (1, 2, 3), "table": (2, 3), "relative": (2,)}


def to_ours(name: str, x: Array, role: str) -> Array:
    """Torch's array as ours, C-contiguous.

    Raises ValueError for axes that `role` never has, naming the parameter.
    """
    wanted = NDIM.get(role, (1,))
    fits = x.ndim in wanted and (role != "pool.w" or x.shape[1] == 1)
    length = {"row": 1, "table": 2}.get(role, x.ndim)
    if not fits or math.prod(x.shape[: x.ndim - length]) != 1:
        shapes = f"of {' or '.join(map(str, wanted))} axes"
        if role == "pool.w":
            shapes = "depthwise, (d, 1, ...)"
        rule = f"{name} is {shapes} in the models known here"
        raise ValueError(f"{rule}; came {x.shape}: they are other models' weights")
    return np.ascontiguousarray(_READ.get(role, lambda x: x)(x))


def to_theirs(x: Array, role: str, flat: bool = False, bare: bool = False) -> Array:
    """Our array as torch's, C-contiguous.

    flat   without the axis of time, of length 1
    bare   rows and tables without leading axes of length 1
    """
    if role in ("row", "table"):
        return x if bare else x.reshape(1, -1, x.shape[-1])
    x = _WRITE.get(role, lambda x: x)(x)
    return np.ascontiguousarray(x[:, :, 0] if flat and role in ("cube.w", "pool.w") else x)


def floats(tensors: dict[str, Array]) -> dict[str, Array]:
    """float32 or float64 arrays. Raises ValueError for other types, NaN, infinity, with names."""
    for name, x in tensors.items():
        if x.dtype.kind != "f":
            came = f"{name[:80]} is {x.dtype}: quantised or other data is not read"
            raise ValueError(f"parameters are floats, and {came}")
        if not np.isfinite(x).all():
            came = f"{name[:80]} holds NaN or infinity: take another checkpoint"
            raise ValueError(f"parameters are finite, and {came}")
    halves = {name: x.astype(np.float32) for name, x in tensors.items() if x.dtype == np.float16}
    return tensors | halves


def _timed(x):
    return x[:, :, None] if x.ndim == 4 else x


_READ: dict[str, Callable[[Array], Array]] = {
    "linear.w": np.transpose,
    "cube.w": lambda x: _timed(x).transpose(2, 3, 4, 1, 0),
    "pool.w": lambda x: _timed(x)[:, 0].transpose(1, 2, 3, 0),
    "row": lambda x: x.reshape(-1),
    "table": lambda x: x.reshape(x.shape[-2:]),
}
_WRITE: dict[str, Callable[[Array], Array]] = {
    "linear.w": np.transpose,
    "cube.w": lambda x: x.transpose(4, 3, 0, 1, 2),
    "pool.w": lambda x: x.transpose(3, 0, 1, 2)[:, None],
}
