"""Reverse-mode differentiation on autograd's tape (HIPS autograd, unmodified).

An op is an ordinary function that returns its value *and its backward, side by side*:

    @op
    def square(x):
        def backward(dy):
            return (2 * x * dy,)        # one gradient per positional argument, or None
        return x * x, backward

Called on plain arrays it computes the value and keeps nothing. Called inside `value_and_grad` on
traced arrays it leaves a node on the tape that holds `backward` and, through its closure, exactly
the arrays that `backward` needs. A faster version of the same function may stand beside it
(`autodiff/versions.py`).

First order only: a backward is plain array code and leaves no tape of its own.

What is used of autograd beyond its documented face, here and in `autodiff/boxes.py`, and why the
dependency has an upper bound: of `core` SparseObject, VJPNode, VSpace, add_outgrads and toposort,
of `tracer` Box with its _value, _node and _trace, getval, isbox and new_box, of `util` subvals.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import Any, ParamSpec

from autograd.core import VJPNode, add_outgrads, toposort
from autograd.tracer import getval, isbox
from autograd.util import subvals

from ..backend import tree as trees
from ..backend.arrays import array_module, is_float
from ..backend.blas import one_blas_thread
from ..backend.types import Array, Tree
from .boxes import box, node, part_node
from .hooks import watched
from .numpy_box import NumPyBox  # noqa: F401  (which registers itself for NumPy arrays)
from .versions import version_for

Arguments = ParamSpec("Arguments")


def op(fun: Callable[Arguments, Any]) -> Callable[Arguments, Any]:
    """Make `fun(*arrays, **static) -> (value, backward)` differentiable; see the top of this file.

    A `value` that is a tuple of arrays makes an op of several results: its backward takes as many
    cotangents, None for a result that was not used. A gradient may be given as a function of no
    arguments, called only where it is needed.
    """

    versions: dict[str | None, Callable[..., Any]] = {}

    @functools.wraps(fun)
    def call(*args, **static):
        _refuse_traced_keywords(fun, static)
        boxed = [(position, x) for position, x in enumerate(args) if isbox(x)]
        _refuse_higher_order(fun, boxed)
        plain = subvals(args, [(position, x._value) for position, x in boxed])
        _refuse_other_numbers(fun, plain)
        version = version_for(fun, versions, plain)
        value, backward = watched(fun, "forward", version, plain, static)
        if not boxed:
            return value
        trace, several = boxed[0][1]._trace, isinstance(value, tuple)
        positions = [position for position, _ in boxed]
        end = node([x._node for _, x in boxed], _chosen(fun, backward, positions, several))
        if several:
            nodes = (part_node(end, i, len(value)) for i in range(len(value)))
            return tuple(box(part, trace, own) for part, own in zip(value, nodes))
        return box(value, trace, end)

    call.definition, call.versions = fun, versions  # type: ignore[attr-defined]
    return call


def value_and_grad(
    fun: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., tuple[Any, Tree]]:
    """A function that returns `fun`'s scalar value and its gradients for the argument(s) `argnums`.

    Arguments are arrays or dict/list trees of them; the gradients have the same shape. With
    `has_aux`, `fun` returns `(loss, anything)` and the result is `((loss, anything), gradients)`. A
    leaf that the loss does not touch gets zeros. Raises TypeError for leaves other than float32 and
    float64, ValueError for a loss that is no scalar or depends on no leaf.
    """
    positions = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    @functools.wraps(fun)
    def call(*args, **kwargs):
        chosen = tuple(args[i] for i in positions)
        leaves, rebuild = trees.flatten(chosen)
        if not all(map(is_float, leaves)):
            _refuse_leaves(chosen)

        def on_leaves(*traced):
            result = fun(*subvals(args, zip(positions, rebuild(traced))), **kwargs)
            return result if has_aux else (result, None)

        with one_blas_thread():  # once for all ops
            (loss, aux), pull = vjp(on_leaves, leaves, has_aux=True)
            if loss.size != 1:
                came = f"came shape {loss.shape}: sum or average it first"
                raise ValueError(f"value_and_grad needs a scalar loss, {came}")
            gradients = rebuild(pull(array_module(loss).ones_like(loss)))
        gradients = gradients[0] if isinstance(argnums, int) else gradients
        return ((loss, aux) if has_aux else loss), gradients

    return call


def vjp(
    fun: Callable[..., Any], leaves: Sequence[Any], has_aux: bool = False
) -> tuple[Any, Callable[[Any], list[Array | None]]]:
    """`fun(*leaves)`, and a function from a cotangent of its value to one gradient per leaf.

    Leaves that are no float32 or float64 arrays go through untraced and get None. The pull-back
    frees the tape as it goes, so it can be called once. Raises ValueError where the value depends
    on none of the leaves.
    """
    with _new_trace() as trace:
        roots = [VJPNode.new_root() if is_float(leaf) else None for leaf in leaves]
        boxes = [box(leaf, trace, root) if root else leaf for leaf, root in zip(leaves, roots)]
        result = fun(*boxes)
        end, aux = result if has_aux else (result, None)
    if not isbox(end) or end._trace != trace or isbox(end._value):
        raise ValueError(
            "the result depends on no array that it is differentiated by "
            "(or on another, outer derivative: mvit_np is first order only): "
            "compute it from the traced arguments, passed to ops positionally"
        )
    node, value = end._node, end._value

    def pull(cotangent):
        found = zip(leaves, roots, _backward_pass(node, cotangent, roots))
        return [_zeros(leaf) if g is None and root else g for leaf, root, g in found]

    return ((value, trees.map(getval, aux)) if has_aux else value), pull


def untraced(x: Any) -> Any:
    """The array inside a traced one, for looking at; a plain array as it is."""
    return getval(x)


# -- the tape --------------------------------------------------------------------------------------

_threads = threading.local()


@contextmanager
def _new_trace():
    """A trace of this thread's own, given back even where the traced function raises.

    autograd numbers its traces 0, 1, ... in one global counter that neither threads nor exceptions
    respect. Ours lie between -1 and 0, so they never touch that counter, and an autograd.grad
    inside one of ours is the inner one.
    """
    depth = getattr(_threads, "depth", 0)
    _threads.depth = depth + 1
    try:
        yield (depth + 1) * 2.0**-20 - 1
    finally:
        _threads.depth = depth


def _backward_pass(end, cotangent, roots):
    """One gradient (or None) per root; each node forgets what it kept once it has been used."""
    wanted, totals = set(roots), {end: (cotangent, False)}
    found = {}
    for at in toposort(end):
        total = totals.pop(at)[0]
        if at in wanted:
            found[at] = total
            continue
        gradients = at.vjp(total)
        at.vjp = None
        for parent, gradient in zip(at.parents, gradients):
            totals[parent] = add_outgrads(totals.get(parent), gradient)
    return [found.get(root) for root in roots]


def _chosen(fun, backward, positions, several):
    """The tape's function: from the cotangent to the gradients of the traced arguments alone."""

    def demanded(*dy):
        every = backward(*dy)
        return [_demanded(fun, every[i], i) for i in positions]

    def gradients(dy):
        return watched(fun, "backward", demanded, dy if several else (dy,), {})

    return gradients


def _demanded(fun, gradient, position):
    if gradient is None:
        rule = f"{fun.__name__} has no gradient for its argument {position}"
        raise TypeError(f"{rule}: do not differentiate by it")
    return gradient() if callable(gradient) else gradient


# -- what may be differentiated --------------------------------------------------------------------


def _zeros(leaf):
    return array_module(leaf).zeros_like(leaf)


def _refuse_leaves(chosen):
    for path, leaf in trees.paths(list(chosen)):
        if not is_float(getval(leaf)):
            dtype = getattr(leaf, "dtype", type(leaf).__name__)
            rule = "gradients are with respect to float32 and float64 arrays"
            raise TypeError(f"{rule}; came {dtype} at {path!r} (argument.path)")


def _refuse_traced_keywords(fun, static):
    for name, value in static.items():
        if isbox(value):
            came = f"{fun.__name__} got the traced array {name!r} by keyword"
            raise TypeError(f"{came}: pass arrays positionally")


def _refuse_other_numbers(fun, args):
    dtype = getattr(args[0], "dtype", None) if args else None
    if dtype is not None and dtype.char in "egFDG":  # NumPy's for float16, longdouble and complex
        rule = f"{fun.__name__} computes in float32 or float64"
        raise TypeError(f"{rule}; came {dtype}: convert it, such as x.astype('float32')")


def _refuse_higher_order(fun, boxed):
    for _, x in boxed:
        if x._trace != boxed[0][1]._trace or type(x._node) is not VJPNode or isbox(x._value):
            rule = f"{fun.__name__} is differentiable once, in reverse mode"
            raise TypeError(f"{rule}: no derivative of a derivative")
