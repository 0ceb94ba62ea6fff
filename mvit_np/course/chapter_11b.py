"""Exercises of notebooks 11 to 11c, second part: numbers of fewer bits."""

from __future__ import annotations

import numpy as np

from ..backend.precision import rounded
from .checker import SPECIFICATION, Exercise


def rounded_product(x, w, bits):
    """A matrix product whose factors have fewer bits, as the matrix units of a GPU need them.

    x: (N, D), w: (D, E), float32   bits: of the mantissa, the leading one included   ->   (N, E)

    Every number of x and of w is rounded to `bits` bits of mantissa: 11 make TF32, 8 make bf16. It
    goes to the nearest such number. A number in the middle between two goes to the one whose last
    bit is 0. The product of the rounded factors, and its sums, are float32.
    Hint: a float32 has 24 bits of mantissa, of which the leading one is not stored.
    x.view(np.uint32) shows the numbers as whole numbers; their last 24 - bits bits must become
    zeros. What do you have to add first, so that cutting them off is the same as rounding?
    """
    drop = 24 - bits

    def short(numbers):
        raw = numbers.view(np.uint32)
        last = raw >> drop & 1  # the last bit that stays
        raw = raw + last + (2 ** (drop - 1) - 1)
        return (raw >> drop << drop).view(np.float32)

    return short(x) @ short(w)


def _reference_product(x, w, bits):
    return rounded(x, bits) @ rounded(w, bits)


def _factors(rng):
    for rows, inner, columns, bits in ((4, 6, 3, 8), (3, 5, 2, 11), (2, 8, 4, 5)):
        x, w = rng.standard_normal((rows, inner)), rng.standard_normal((inner, columns))
        yield x.astype(np.float32), w.astype(np.float32), bits
    middle = 1 + (2 * np.arange(8) + 1) * 2.0**-8  # each between two numbers of bf16
    sign = rng.choice([-1.0, 1.0], 8)
    yield (sign * middle).astype(np.float32)[:, None], np.ones((1, 2), np.float32), 8


def _by_bits(change, x, w, bits):
    return change(x, bits) @ change(w, bits)


def _cut(x, bits):
    drop = 24 - bits
    return (x.view(np.uint32) >> drop << drop).view(np.float32)


def _half_up(x, bits):
    drop = 24 - bits
    return ((x.view(np.uint32) + 2 ** (drop - 1)) >> drop << drop).view(np.float32)


def _away_to_zero(x, bits):
    drop = 24 - bits
    return ((x.view(np.uint32) + (2 ** (drop - 1) - 1)) >> drop << drop).view(np.float32)


def _decimals(x, bits):
    scale = np.float32(2 ** (bits - 1))
    return np.rint(x * scale) / scale


ROUNDED_PRODUCT = Exercise(
    rounded_product,
    _reference_product,
    _factors,
    (
        ("the last bits are cut off: that rounds to zero, not to the nearest",
         lambda x, w, bits: _by_bits(_cut, x, w, bits)),
        ("one bit too many stays: the leading one, which is not written, counts as well",
         lambda x, w, bits: _by_bits(rounded, x, w, bits + 1)),
        ("one bit too few stays: of 24 bits, 24 - bits become zeros",
         lambda x, w, bits: _by_bits(rounded, x, w, bits - 1)),
        ("only one factor is rounded: both are",
         lambda x, w, bits: rounded(x, bits) @ w),
        ("the result is rounded as well: it is float32",
         lambda x, w, bits: rounded(_reference_product(x, w, bits), bits)),
        ("the result is rounded, and not the factors",
         lambda x, w, bits: rounded(x @ w, bits)),
        ("nothing is rounded", lambda x, w, bits: x @ w),
        ("the rounding is to a fixed number of places: the mantissa's bits count from each "
         "number's own leading one",
         lambda x, w, bits: _by_bits(_decimals, x, w, bits)),
        ("the middle between two always goes up: it goes to the one whose last bit is 0",
         lambda x, w, bits: _by_bits(_half_up, x, w, bits)),
        ("the middle between two always goes down: it goes to the one whose last bit is 0",
         lambda x, w, bits: _by_bits(_away_to_zero, x, w, bits)),
    ),
    tolerance=1e-5,
    single=False,
    level=SPECIFICATION,
)  # fmt: skip


# -- loss scaling ----------------------------------------------------------------------------------


def loss_scaling(gradient, scale):
    """One step of loss scaling: the gradient that is left of one in float16, and the next scale.

    gradient: (N,) float32, as exact arithmetic would give it   scale: a whole number, a power of 2
    ->   gradient: (N,) float32   scale: a whole number

    The loss was multiplied by `scale`, so everything in the backward pass is multiplied by it too.
    The backward pass ends with numbers in float16. The optimiser wants a float32 gradient of the
    loss itself. If a number of the float16 gradient is not finite, the step is lost: then the
    optimiser gets zeros, and the next step uses half the scale. Otherwise the scale stays the same.
    Hint: x.astype(np.float16) rounds: below about 3e-8 to 0, and above 65519 to infinity. What must
    you do first, divide by scale or go back to float32?
    """
    with np.errstate(over="ignore"):
        half = (gradient * scale).astype(np.float16)
    if not np.isfinite(half).all():
        return np.zeros_like(gradient), scale // 2
    return half.astype(np.float32) / scale, scale


def _reference_scaling(gradient, scale):
    """From what a float16 is: a multiple of 2^-24, of 11 bits, up to 65504."""
    exact = gradient.astype(np.float64) * scale
    exponent = np.maximum(np.frexp(exact)[1] - 1, -14)
    half = np.ldexp(np.rint(np.ldexp(exact, 10 - exponent)), exponent - 10)
    if np.abs(half).max() > 65504:
        return 0 * gradient, scale // 2
    return (half / scale).astype(np.float32), scale


def _gradients(rng):
    for largest, scale in ((3.0, 2**12), (40.0, 2**12), (0.5, 2**8), (1.0, 1)):
        size = 10 ** rng.uniform(-7, -0.5, 40) * rng.choice([-1, 1], 40)
        size[[3, 7]] = largest, -largest / 3
        yield size.astype(np.float32), scale


def _still_scaled(gradient, scale):
    found, following = loss_scaling(gradient, scale)
    return found * np.float32(scale), following


def _unscaled_in_half(gradient, scale):
    half = (gradient * scale).astype(np.float16)
    if not np.isfinite(half).all():
        return np.zeros_like(gradient), scale // 2
    return (half / np.float16(scale)).astype(np.float32), scale


def _scaled_too_late(gradient, scale):
    return (gradient.astype(np.float16) * scale).astype(np.float32) / scale, scale


def _no_check(gradient, scale):
    return (gradient * scale).astype(np.float16).astype(np.float32) / scale, scale


def _some_zeros(gradient, scale):
    half = (gradient * scale).astype(np.float16).astype(np.float32)
    fine = np.isfinite(half)
    return np.where(fine, half, 0) / np.float32(scale), scale if fine.all() else scale // 2


def _clipped(gradient, scale):
    kept = np.clip(gradient * scale, -65504, 65504).astype(np.float16)
    return kept.astype(np.float32) / scale, scale // (1 if np.abs(gradient * scale).max() < 65520
                                                      else 2)  # fmt: skip


def _but_scale(change):
    def wrong(gradient, scale):
        found, following = loss_scaling(gradient, scale)
        return found, change(scale, following != scale)

    return wrong


LOSS_SCALING = Exercise(
    loss_scaling,
    _reference_scaling,
    _gradients,
    (
        ("the scale is not halved after a step that is lost", _but_scale(lambda scale, _: scale)),
        ("the scale is doubled after a step that is lost: half of it is right",
         _but_scale(lambda scale, lost: 2 * scale if lost else scale)),
        ("the scale is halved after every step: only after one that is lost",
         _but_scale(lambda scale, _: scale // 2 if scale > 1 else 0)),
        ("the gradient is still that of the scaled loss: divide by scale",
         _still_scaled),
        ("the division is done in float16, where small numbers are lost again: go back to float32 "
         "first",
         _unscaled_in_half),
        ("the numbers are rounded before they are scaled: small ones are lost already",
         _scaled_too_late),
        ("nothing is rounded to float16",
         lambda gradient, scale: (gradient + 0, scale)),
        ("numbers that are not finite reach the optimiser: then it gets zeros", _no_check),
        ("only the numbers that are not finite become zeros: the whole step is lost", _some_zeros),
        ("large numbers are cut to 65504: the step is lost, and the optimiser gets zeros",
         _clipped),
    ),
    returns=("gradient", "scale"),
    tolerance=1e-9,
    single=False,
    level=SPECIFICATION,
)  # fmt: skip

EXERCISES = (ROUNDED_PRODUCT, LOSS_SCALING)
