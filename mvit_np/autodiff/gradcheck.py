"""Is a gradient right? Compare it with finite differences, in a table that a student can read.

For a function f of arrays, a random cotangent c and a random unit direction u, these must agree:

    analytic   <gradient of <c, f>, u>                                from the backward pass
    numeric    (<c, f(x + h u)> - <c, f(x - h u)>) / 2h               from two forward passes

The numeric side is always computed in float64 with h = 1e-4: the error of the central difference is
then about h^2, and rounding about 1e-16 / h, both far below the tolerance. What is done where the
two disagree is in `autodiff/finite_differences.py`.

A directional derivative along a unit direction in n dimensions is about |gradient| / sqrt(n) in
size (its root mean square over all directions). Errors are given relative to that and not to the
one value, which can be near zero by chance. What rounding alone explains of a difference is no
error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import tree as trees
from ..backend.arrays import array_module, is_array, to_host
from ..backend.types import Array, Tree
from .finite_differences import as_float64, directions, every_entry, like, scalar_in_float64
from .report import GradientError, Report
from .tape import vjp

REPEATS = 3  # calls with the same inputs, after the first: a small mask may well be drawn twice
TOLERANCE = {"float64": 1e-7, "float32": 1e-5}


def gradcheck(
    fun: Callable[..., Any],
    *args: Tree,
    seed: int = 0,
    full: bool = False,
    tolerance: float | None = None,
    name: str | None = None,
    check: bool = True,
) -> Report:
    """Check the gradients of `fun(*args)` for every float array in `args` (arrays or trees).

    fun        returns an array of any shape, or several in a tuple or list
    full       move every single entry in turn, not one random direction per argument: for notebooks
    tolerance  of the error relative to the root-mean-square directional derivative; by dtype 1e-7
               (float64) or 1e-5 (float32: enough for one op; the roundings of a whole model add up,
               so check that in float64)
    check      False returns the report even where it failed

    Returns a `Report`; raises GradientError with it where a number is off or the inputs lie on a
    kink, and where `fun` or its backward is random or writes into its inputs, where a gradient has
    another shape or dtype than its argument, or where non-contiguous inputs change the result.
    Lists one direction per argument and, last, one through all of them at once.
    """
    rng = np.random.default_rng(seed)
    name = name or getattr(fun, "__name__", "function")
    paths, leaves, rebuild = _named_leaves(args)
    flat = _flat_function(fun, rebuild)
    values = _repeated(name, flat, leaves)
    gradients, cotangent = _analytic(flat, leaves, values, rng)
    _check_form(name, flat, paths, leaves, values, gradients, cotangent)

    scalar = scalar_in_float64(flat, leaves, cotangent)
    tolerance = tolerance or max(TOLERANCE[str(leaf.dtype)] for leaf in leaves)
    lines = every_entry if full else directions
    checks = tuple(lines(scalar, paths, leaves, [as_float64(g) for g in gradients], rng, tolerance))
    report = Report(str(name), " ".join(sorted({str(leaf.dtype) for leaf in leaves})), checks)
    if check and not report.passed:
        raise GradientError(str(report))
    return report


def adjointcheck(
    fun: Callable[[Array], Array], x: Array, seed: int = 0, tolerance: float = 1e-12
) -> float:
    """The relative error of a *linear* function's adjoint: <A x, y> = <x, A' y> for random y.

    Raises GradientError where that is above the tolerance or `fun` is random.
    """
    rng = np.random.default_rng(seed)
    _repeated(getattr(fun, "__name__", "function"), lambda x: (fun(x),), [x])
    value, pull = vjp(fun, [x])
    y = like(rng.standard_normal(value.shape), value)
    forward, backward = float((value * y).sum()), float((x * pull(y)[0]).sum())
    error = abs(forward - backward) / max(abs(forward), abs(backward), 1e-300)
    if not error <= tolerance:
        raise GradientError(
            f"<A x, y> = {forward:.12e} but <x, A' y> = {backward:.12e}: error {error:.1e}"
        )
    return error


# -- the analytic side -----------------------------------------------------------------------------


def _named_leaves(args):
    """The float arrays among the arguments, their names, and what puts such a list back."""
    every, rebuild = trees.flatten(list(args))
    moved = [i for i, leaf in enumerate(every) if is_array(leaf) and leaf.dtype.kind == "f"]
    names = [path for path, _ in trees.paths(list(args))]

    def with_leaves(values):
        new = dict(zip(moved, values))
        return rebuild([new.get(i, leaf) for i, leaf in enumerate(every)])

    leaves = [every[i] for i in moved]
    if not leaves or any(str(leaf.dtype) not in TOLERANCE for leaf in leaves):
        dtypes = sorted({str(getattr(leaf, "dtype", type(leaf).__name__)) for leaf in every})
        came = ", ".join(dtypes) or "nothing"
        raise TypeError(f"gradcheck changes float32 and float64 arrays; came {came}: convert them")
    return [names[i] for i in moved], leaves, with_leaves


def _flat_function(fun, rebuild):
    """`fun` as a function of a list of arrays that returns one tuple of arrays."""

    def flat(*leaves):
        result = fun(*rebuild(leaves))
        return tuple(result) if isinstance(result, (tuple, list)) else (result,)

    return flat


def _repeated(name, flat, leaves):
    """The values; raises GradientError where the same inputs give others the next time."""
    values = flat(*leaves)
    for again in (flat(*leaves) for _ in range(REPEATS)):
        if not all(map(_is_same, values, again)):
            raise GradientError(
                f"{name} is random: called again with the same inputs it gives another value, and "
                "so has no derivative to compare with; let every call draw the same, such as from "
                "np.random.default_rng(0) made within the function"
            )
    return values


def _analytic(flat, leaves, values, rng):
    """One gradient per leaf, and the random cotangents that were pulled back."""
    cotangent = [like(rng.standard_normal(v.shape), v) for v in values]
    totals = [0 * leaf for leaf in leaves]
    for i, dy in enumerate(cotangent):
        _, pull = vjp(lambda *x, i=i: flat(*x)[i], leaves)
        totals = [total + g for total, g in zip(totals, pull(dy))] if len(values) > 1 else pull(dy)
    return totals, cotangent


def _check_form(name, flat, paths, leaves, values, gradients, cotangent):
    for path, leaf, g in zip(paths, leaves, gradients):
        if (g.shape, g.dtype) != (leaf.shape, leaf.dtype):
            raise GradientError(
                f"{name}: the gradient of argument {path} is {g.dtype} {g.shape}, the argument "
                f"{leaf.dtype} {leaf.shape}"
            )
    plain = _first_gradients(name, flat, paths, leaves, cotangent[0])
    if len(values) == 1 and not all(map(_is_same, gradients, plain)):
        raise GradientError(
            f"the backward of {name} is random: called again with the same cotangent it gives "
            "another gradient; let the forward pass draw what is random, and the backward use that"
        )
    strided = [_strided_copy(leaf) for leaf in leaves]
    if not all(map(_is_same, values, flat(*strided))):
        raise GradientError(
            f"{name}: the value for non-contiguous inputs differs from the contiguous ones'"
        )
    for path, a, b in zip(paths, plain, _first_gradients(name, flat, paths, strided, cotangent[0])):
        if not _is_same(a, b):
            raise GradientError(
                f"{name}: the gradient of {path} for non-contiguous inputs differs from the "
                "contiguous ones'"
            )


def _first_gradients(name, flat, paths, leaves, dy):
    """The gradients of the first result; raises where that writes into inputs or the cotangent."""
    watched = dict(zip([*(f"argument {path}" for path in paths), "cotangent"], [*leaves, dy]))
    before = {what: to_host(x).copy() for what, x in watched.items()}
    _, pull = vjp(lambda *x: flat(*x)[0], leaves)
    gradients = pull(dy)
    for what, x in watched.items():
        if not np.array_equal(to_host(x), before[what]):
            raise GradientError(
                f"{name} writes into its {what}: an op leaves its inputs and cotangent as they are"
            )
    return gradients


def _strided_copy(x):
    """The same values spread over every second column of a larger array."""
    xp = array_module(x)
    if x.ndim == 0:
        return x
    wide = xp.zeros((*x.shape[:-1], 2 * x.shape[-1]), dtype=x.dtype)
    wide[..., ::2] = x
    return wide[..., ::2]


def _is_same(a, b):
    """Whether two arrays differ by rounding alone (NaN is left to the finite differences)."""
    a, b = to_host(a), to_host(b)
    rounding = np.finfo(np.result_type(a, np.float32)).eps
    close = 100 * rounding * max(float(np.abs(a).max(initial=0)), 1.0)
    return a.shape == b.shape and not float(np.abs(a - b).max(initial=0)) > close
