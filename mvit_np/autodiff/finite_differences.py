"""The numeric side of a gradient check: a function's slope along a direction, from values alone.

    second order   (f(x + h u) - f(x - h u)) / 2h
    fourth order   (8 (f(x + h u) - f(x - h u)) - (f(x + 2h u) - f(x - 2h u))) / 12h

They are off by h^2 / 6 times the third derivative and by h^4 / 30 times the fifth.
The first is tried first. Where it disagrees with the gradient, the function may only be curved, so
the second is tried. Where that disagrees too, a step may have gone across a kink (as of max
pooling), so smaller steps are tried. Rounding makes them less certain, and one counts only where it
differs by more than rounding explains. A wrong gradient fails at every step. At a kink itself the
slopes to both sides differ, however small the step is: there is no derivative, and the check says
so.

All is computed in float64.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ..backend.arrays import from_host, to_host
from .report import Check

STEPS = (1e-4, 3e-5, 1e-5, 1e-6)
ROUNDING = 16 * np.finfo(np.float64).eps  # of a float64 value, relative to its terms' sizes


def scalar_in_float64(flat, leaves, cotangent):
    """x -> <cotangent, flat(x)> in float64 and its rounding error, x one host array per leaf."""
    weights = [as_float64(c) for c in cotangent]

    def scalar(values):
        results = flat(*[like(value, leaf, "float64") for value, leaf in zip(values, leaves)])
        terms = [c * to_host(result) for c, result in zip(weights, results)]
        size = sum(float(np.abs(t).sum()) for t in terms)
        return math.fsum(float(t.sum()) for t in terms), ROUNDING * size

    return scalar


def directions(scalar, paths, leaves, gradients, rng, tolerance):
    """A line for each argument alone, along a random unit direction, and one for all at once."""
    start = [as_float64(leaf) for leaf in leaves]
    draws = [rng.standard_normal(leaf.shape) for leaf in leaves]
    for i, path in enumerate(paths):
        only = [draw if i == j else 0 * draw for j, draw in enumerate(draws)]
        yield _line(scalar, start, gradients, only, path, "random", tolerance)
    if len(paths) > 1:
        yield _line(scalar, start, gradients, draws, "all together", "random", tolerance)


def every_entry(scalar, paths, leaves, gradients, rng, tolerance):
    """A line for every single entry of every argument."""
    start = [as_float64(leaf) for leaf in leaves]
    for i, path in enumerate(paths):
        for index in np.ndindex(start[i].shape):
            only = [np.zeros_like(x) for x in start]
            only[i][index] = 1.0
            label = "[" + ", ".join(map(str, index)) + "]"
            yield _line(scalar, start, gradients, only, path, label, tolerance)


def _line(scalar, start, gradients, draws, path, label, tolerance):
    """Move along `draws`, made a unit vector, and compare; the best of the estimates tried."""
    unit = [d / math.sqrt(_dot(draws, draws)) for d in draws]
    analytic, scale, best = _dot(gradients, unit), _scale(gradients, draws), None

    def along(step):
        return scalar([x + step * u for x, u in zip(start, unit)])

    for step, numeric, unsure in _estimates(along):
        difference = abs(analytic - numeric) - unsure
        # 0 * abs: nan stays nan
        error = max(difference, 0 * abs(difference)) / max(scale, abs(numeric), 1e-300)
        if best is None or not best.error <= error:
            best = Check(path, label, step, analytic, numeric, error, tolerance)
        if error <= tolerance / 10:
            break
    return best if best.passed else replace(best, kink=_is_kink(along, tolerance * scale))


def _estimates(along):
    """(step, slope, what rounding may make of it), one after the other until one will do."""
    known = None
    for step in STEPS:
        (ahead, rounding), (behind, _) = along(step), along(-step)
        near, unsure = (ahead - behind) / (2 * step), rounding / step
        # no kink: rounding alone explains how the two steps differ
        if known and abs(near - known[0]) <= unsure + known[1]:
            return
        yield step, near, unsure
        far = (along(2 * step)[0] - along(-2 * step)[0]) / (4 * step)
        fourth = (4 * near - far) / 3
        yield step, fourth, unsure
        known = known or (fourth, unsure)


def _is_kink(along, least):
    """Whether the slopes to both sides differ by more than `least`, also at a tenth of the step.

    (Of a smooth function the difference shrinks with the step, and at a jump it grows.)
    """
    (here, _), gaps = along(0.0), []
    for step in STEPS[-2:]:
        (ahead, rounding), (behind, _) = along(step), along(-step)
        gaps.append((abs(ahead + behind - 2 * here) / step, 4 * rounding / step))
    (wide, _), (narrow, unsure) = gaps
    return wide / 2 < narrow < 2 * wide and narrow > least + unsure


def _scale(gradients, draws):
    """The root-mean-square slope of what moves, at least a hundredth of that of all arguments.

    (The gradient of an argument that hardly matters, such as a shift of all keys, is rounding.)
    """
    moving = [g for g, d in zip(gradients, draws) if d.any()]
    return max(_rms(moving), 1e-2 * _rms(gradients))


def _rms(arrays):
    return math.sqrt(_dot(arrays, arrays) / sum(a.size for a in arrays))


def _dot(xs, ys):
    return math.fsum(float(np.vdot(x, y)) for x, y in zip(xs, ys))


def as_float64(x):
    """A float64 copy on the host."""
    return to_host(x).astype(np.float64)


def like(host, other, dtype=None):
    """A host array in the library and dtype of `other`."""
    return from_host(np.asarray(host, dtype=dtype or other.dtype), other)
