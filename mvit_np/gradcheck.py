"""Is a gradient right? Compare it with finite differences, and say so in a table that a student can read.

For a function f of arrays, a random cotangent c and a random unit direction u, two numbers must agree:

    analytic   <gradient of <c, f>, u>                                from the backward pass
    numeric    (<c, f(x + h u)> - <c, f(x - h u)>) / 2h               from two forward passes

The numeric side is always computed in float64 with h = 1e-4: the error of the central difference is then about h^2, and
rounding about 1e-16 / h, both far below the tolerance. Max pooling has kinks, and a step across one is no derivative: where
the two numbers differ, steps of 1e-5 and 1e-6 are tried too, and count where they say more than rounding explains. A wrong
gradient fails at every step.

A directional derivative along a unit direction in n dimensions is about |gradient| / sqrt(n) in size (its root mean square
over all directions). Errors are given relative to that and not to the one value, which can be near zero by chance. What
rounding alone explains of a difference is no error.
"""

from __future__ import annotations

import math

import numpy as np

from . import tree as trees
from .autodiff import vjp
from .backend import array_module, from_host, is_array, to_host
from .report import Check, GradientError, Report

STEPS = (1e-4, 1e-5, 1e-6)
ROUNDING = 16 * np.finfo(np.float64).eps  # of a value computed in float64, relative to the sum of its terms' sizes
TOLERANCE = {"float64": 1e-7, "float32": 1e-5}


def gradcheck(fun, *args, seed=0, full=False, tolerance=None, name=None, check=True):
    """Check the gradient of `fun(*args)` by every float array in `args` (arrays, or dict/list trees of them).

    fun        returns an array of any shape, or several in a tuple or list
    full       move every single entry in turn, not one random direction an argument: for notebooks
    tolerance  of the error relative to the root-mean-square directional derivative; by dtype 1e-7 (float64), 1e-5 (float32:
               enough for one op; the roundings of a whole model add up, so check that in float64)
    check      False returns the report even where it failed

    Returns a `Report`; raises GradientError with it where a number is off, and where a gradient has another shape or dtype
    than its argument, where `fun` or its backward writes into its inputs, or where non-contiguous inputs change the result.
    Lists one direction an argument and, last, one through all of them at once.
    """
    rng = np.random.default_rng(seed)
    name = name or getattr(fun, "__name__", "function")
    paths, leaves, rebuild = _named_leaves(args)
    flat = _flat_function(fun, rebuild)
    value, gradients, cotangent = _analytic(flat, leaves, rng)
    _check_form(name, flat, paths, leaves, value, gradients, cotangent)

    scalar = _scalar_in_float64(flat, leaves, cotangent)
    tolerance = tolerance or max(TOLERANCE[str(leaf.dtype)] for leaf in leaves)
    lines = _every_entry if full else _directions
    checks = tuple(lines(scalar, paths, leaves, [_float64(g) for g in gradients], rng, tolerance))
    report = Report(name, " ".join(sorted({str(leaf.dtype) for leaf in leaves})), checks)
    if check and not report.passed:
        raise GradientError(str(report))
    return report


def adjointcheck(fun, x, seed=0, tolerance=1e-12):
    """Check a *linear* function by its adjoint: <A x, y> = <x, A' y> for random y. Returns the relative error."""
    rng = np.random.default_rng(seed)
    value, pull = vjp(fun, [x])
    y = _like(rng.standard_normal(value.shape), value)
    forward, backward = float((value * y).sum()), float((x * pull(y)[0]).sum())
    error = abs(forward - backward) / max(abs(forward), abs(backward), 1e-300)
    if not error <= tolerance:
        raise GradientError(f"<A x, y> = {forward:.12e} but <x, A' y> = {backward:.12e}: error {error:.1e}")
    return error


# -- the analytic side ------------------------------------------------------------------------------------------------


def _named_leaves(args):
    """The float arrays among the arguments, their names, and the function that puts such a list back among the others."""
    every, rebuild = trees.flatten(list(args))
    moved = [i for i, leaf in enumerate(every) if is_array(leaf) and leaf.dtype.kind == "f"]
    names = [path for path, _ in trees.paths(list(args))]

    def with_leaves(values):
        new = dict(zip(moved, values))
        return rebuild([new.get(i, leaf) for i, leaf in enumerate(every)])

    leaves = [every[i] for i in moved]
    if not leaves or any(str(leaf.dtype) not in TOLERANCE for leaf in leaves):
        came = sorted({str(getattr(leaf, "dtype", type(leaf).__name__)) for leaf in every})
        raise TypeError(f"gradcheck moves float32 and float64 arrays; came {', '.join(came) or 'nothing'}: convert them")
    return [names[i] for i in moved], leaves, with_leaves


def _flat_function(fun, rebuild):
    """`fun` as a function of a list of arrays that returns one tuple of arrays."""

    def flat(*leaves):
        result = fun(*rebuild(leaves))
        return tuple(result) if isinstance(result, (tuple, list)) else (result,)

    return flat


def _analytic(flat, leaves, rng):
    """The values, one gradient per leaf, and the random cotangents that were pulled back."""
    values = flat(*leaves)
    cotangent = [_like(rng.standard_normal(v.shape), v) for v in values]
    totals = [0 * leaf for leaf in leaves]
    for i, dy in enumerate(cotangent):
        _, pull = vjp(lambda *x, i=i: flat(*x)[i], leaves)
        totals = [total + g for total, g in zip(totals, pull(dy))] if len(values) > 1 else pull(dy)
    return values, totals, cotangent


def _check_form(name, flat, paths, leaves, values, gradients, cotangent):
    for path, leaf, g in zip(paths, leaves, gradients):
        if (g.shape, g.dtype) != (leaf.shape, leaf.dtype):
            raise GradientError(
                f"{name}: the gradient of argument {path} is {g.dtype} {g.shape}, the argument {leaf.dtype} {leaf.shape}"
            )
    plain = _first_gradients(name, flat, paths, leaves, cotangent[0])
    strided = [_strided_copy(leaf) for leaf in leaves]
    for value, again in zip(values, flat(*strided)):
        _same(f"{name}: the value for non-contiguous inputs", value, again)
    for path, a, b in zip(paths, plain, _first_gradients(name, flat, paths, strided, cotangent[0])):
        _same(f"{name}: the gradient of {path} for non-contiguous inputs", a, b)


def _first_gradients(name, flat, paths, leaves, dy):
    """The gradients of the first result; raises where getting them writes into an input or the cotangent."""
    watched = dict(zip([*(f"argument {path}" for path in paths), "cotangent"], [*leaves, dy]))
    before = {what: to_host(x).copy() for what, x in watched.items()}
    _, pull = vjp(lambda *x: flat(*x)[0], leaves)
    gradients = pull(dy)
    for what, x in watched.items():
        if not np.array_equal(to_host(x), before[what]):
            raise GradientError(f"{name} writes into its {what}: an op leaves its inputs and cotangent as they are")
    return gradients


def _strided_copy(x):
    """The same values spread over every second column of a larger array."""
    xp = array_module(x)
    if x.ndim == 0:
        return x
    wide = xp.zeros((*x.shape[:-1], 2 * x.shape[-1]), dtype=x.dtype)
    wide[..., ::2] = x
    return wide[..., ::2]


def _same(what, a, b):
    a, b = to_host(a), to_host(b)
    scale = max(float(np.abs(a).max(initial=0)), 1.0)
    if a.shape != b.shape or float(np.abs(a - b).max(initial=0)) > 100 * np.finfo(a.dtype).eps * scale:
        raise GradientError(f"{what} differs from the contiguous ones'")


# -- the numeric side -------------------------------------------------------------------------------------------------


def _scalar_in_float64(flat, leaves, cotangent):
    """x -> <cotangent, flat(x)> in float64 and its rounding error, x being one host array per leaf."""
    weights = [_float64(c) for c in cotangent]

    def scalar(values):
        results = flat(*[_like(value, leaf, "float64") for value, leaf in zip(values, leaves)])
        terms = [c * to_host(result) for c, result in zip(weights, results)]
        return math.fsum(float(t.sum()) for t in terms), ROUNDING * sum(float(np.abs(t).sum()) for t in terms)

    return scalar


def _directions(scalar, paths, leaves, gradients, rng, tolerance):
    """A line for each argument alone, along a random unit direction, and one for all of them at once."""
    start = [_float64(leaf) for leaf in leaves]
    draws = [rng.standard_normal(leaf.shape) for leaf in leaves]
    for i, path in enumerate(paths):
        only = [draw if i == j else 0 * draw for j, draw in enumerate(draws)]
        yield _line(scalar, start, gradients, only, path, "random", tolerance)
    if len(paths) > 1:
        yield _line(scalar, start, gradients, draws, "all together", "random", tolerance)


def _every_entry(scalar, paths, leaves, gradients, rng, tolerance):
    """A line for every single entry of every argument."""
    start = [_float64(leaf) for leaf in leaves]
    for i, path in enumerate(paths):
        for index in np.ndindex(start[i].shape):
            only = [np.zeros_like(x) for x in start]
            only[i][index] = 1.0
            label = "[" + ", ".join(map(str, index)) + "]"
            yield _line(scalar, start, gradients, only, path, label, tolerance)


def _line(scalar, start, gradients, draws, path, label, tolerance):
    """Move along the direction `draws` (made a unit vector) and compare; the best of the steps that had to be tried."""
    unit = [d / math.sqrt(_dot(draws, draws)) for d in draws]
    analytic, scale, best, first = _dot(gradients, unit), _scale(gradients, draws), None, None
    for step in STEPS:
        (ahead, rounding), (behind, _) = scalar(_moved(start, unit, step)), scalar(_moved(start, unit, -step))
        numeric, unsure = (ahead - behind) / (2 * step), rounding / step
        if first and abs(numeric - first[0]) <= unsure + first[1]:  # no kink: rounding alone tells the two steps apart
            break
        first = first or (numeric, unsure)
        difference = abs(analytic - numeric) - unsure
        error = max(difference, 0 * abs(difference)) / max(scale, abs(numeric), 1e-300)  # 0 * abs: nan stays nan
        if best is None or not best.error <= error:
            best = Check(path, label, step, analytic, numeric, error, tolerance)
        if error <= tolerance / 10:
            break
    return best


def _scale(gradients, draws):
    """The root-mean-square directional derivative of what moves; at least a hundredth of that of all arguments together.

    (An argument that hardly matters, such as a shift of all keys, has a gradient of rounding errors only.)
    """
    moving = [g for g, d in zip(gradients, draws) if d.any()]
    rms, floor = (math.sqrt(_dot(some, some) / sum(g.size for g in some)) for some in (moving, gradients))
    return max(rms, 1e-2 * floor)


def _dot(xs, ys):
    return math.fsum(float(np.vdot(x, y)) for x, y in zip(xs, ys))


def _moved(start, unit, step):
    return [x + step * u for x, u in zip(start, unit)]


def _float64(x):
    return to_host(x).astype(np.float64)


def _like(host, like, dtype=None):
    """A host array in the library and dtype of `like`."""
    return from_host(np.asarray(host, dtype=dtype or like.dtype), like)
