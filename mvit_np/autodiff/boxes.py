"""What autograd keeps of an array that is traced: a box, a node of the tape, sums of gradients."""

from __future__ import annotations

from autograd.core import SparseObject, VJPNode, VSpace
from autograd.tracer import Box, getval, new_box

from ..backend.arrays import is_array

__all__ = ["box", "getval", "node", "part_node"]


def node(parents, vjp):
    """A node of the tape: vjp(cotangent) gives one gradient for each parent."""
    made = VJPNode.new_root()
    made.parents, made.vjp = parents, vjp
    return made


class DeviceBox(Box):
    """A traced device array: it shows its shape and type, and all arithmetic goes through ops.

    (autograd.numpy would send a device array through NumPy: that fails or, worse, goes unnoticed.)
    """

    __slots__ = []
    __array_ufunc__ = None
    shape = property(lambda self: self._value.shape)
    ndim = property(lambda self: self._value.ndim)
    size = property(lambda self: self._value.size)
    dtype = property(lambda self: self._value.dtype)


class _DeviceSpace(VSpace):
    """What autograd asks of a device array: to be added."""


def box(value, trace, node):
    """A traced array; autograd learns of a device's array type when it meets the first."""
    array_type = type(value)
    if array_type not in Box.type_mappings and is_array(value):
        DeviceBox.register(array_type)
        _DeviceSpace.register(array_type)
    return new_box(value, trace, node)


class _Parts(VSpace):
    """The cotangent of an op of several results: a list with one entry for each."""

    def __init__(self, count):
        self.count = count

    def zeros(self):
        return [None] * self.count


def part_node(of, index, count):
    """The node of one result of an op that has several; `of` is the op's own."""

    def put(dy):
        def into(parts):
            parts[index] = dy
            return parts

        return (SparseObject(_Parts(count), into),)

    return node([of], put)
