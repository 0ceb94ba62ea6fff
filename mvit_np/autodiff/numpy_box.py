"""A traced NumPy array that NumPy's own functions take too.

On its own autograd differentiates `autograd.numpy.stack` but not `numpy.stack`. With this box a
loss may be written with NumPy as it is: `np.exp`, `np.concatenate` and the like leave a node on the
tape. What cannot be followed, such as writing into an array, is refused in a sentence.

Of autograd it uses ArrayBox, SparseObject and getval beyond the documented face, as `tape.py` says
of more.
"""

from __future__ import annotations

import autograd.numpy as followed
import numpy as np
from autograd.core import SparseObject
from autograd.extend import defvjp, primitive, vspace
from autograd.numpy.numpy_boxes import ArrayBox
from autograd.tracer import getval

WRITTEN = (
    "a traced array cannot be copied into another, as y[i] = x and np.array([x]) do: collect the "
    "parts in a list, and join them with np.stack or np.concatenate"
)


class NumPyBox(ArrayBox):
    """A traced NumPy array, see the top of this file."""

    __slots__ = []

    def __getitem__(self, index):
        return _part(self, index) if _is_basic(index) else ArrayBox.__getitem__(self, index)

    def __array_function__(self, fun, types, args, kwargs):
        try:
            return _followed(fun)(*args, **kwargs)
        except NotImplementedError:  # it has a version, which has no gradient
            raise _unknown(fun.__name__) from None

    def __array_ufunc__(self, fun, method, *args, **kwargs):
        if kwargs.pop("out", None) is not None:
            raise TypeError(WRITTEN)
        if method != "__call__":
            raise _unknown(f"{fun.__name__}.{method}")
        return _followed(fun)(*args, **kwargs)

    def __array__(self, *args, **kwargs):
        raise TypeError(WRITTEN)

    def __setitem__(self, index, value):
        raise TypeError(WRITTEN)

    def transpose(self, *axes):
        order = axes[0] if len(axes) == 1 else axes
        return followed.transpose(self, order or None)


@primitive
def _part(array, index):
    """A part by numbers, slices, None and `...`, in which no cell occurs twice."""
    return array[index]


def _into_part(result, array, index):
    """Where autograd adds cell by cell (np.add.at), since indices may repeat, and is far slower."""

    def backward(dy):
        def add(total):
            total[index] += dy
            return total

        return SparseObject(vspace(array), add)

    return backward


defvjp(_part, _into_part, argnums=(0,))


def _is_basic(index):
    parts = index if isinstance(index, tuple) else (index,)
    return all(part is None or part is ... or isinstance(part, (int, slice)) for part in parts)


NumPyBox.register(np.ndarray)
for number in (np.float64, np.float32):
    NumPyBox.register(number)


def _followed(fun):
    """autograd's version of one of NumPy's functions, which leaves a node on the tape."""
    version = _MENDED.get(fun) or getattr(followed, fun.__name__, None)
    if version is None:
        raise _unknown(fun.__name__)
    return version


def _pad(array, width, mode="constant", **how):
    return followed.pad(array, width, mode, **how)


def _broadcast_to(array, shape):
    lead = len(shape) - array.ndim
    return followed.broadcast_to(followed.reshape(array, (1,) * lead + array.shape), shape)


def _empty_like(array, *args, **kwargs):
    return np.empty_like(getval(array), *args, **kwargs)


# autograd's own versions need what NumPy's do without: a mode, or as many axes as the result has.
_MENDED = {np.pad: _pad, np.broadcast_to: _broadcast_to, np.empty_like: _empty_like}


def _unknown(name):
    return TypeError(f"np.{name} has no gradient here: write it with sums, products and np.stack")
