"""Exercises of notebook 08, first part: loss, rate and optimizer."""

from __future__ import annotations

import math

import numpy as np

from .. import ops
from .checker import SPECIFICATION, Exercise

BETAS, EPS = (0.9, 0.999), 1e-8


def cross_entropy_gradient(z, y):
    """The gradient of the mean cross-entropy of a batch by the logits: (softmax(z) - y) / B.

    z: (B, K)   y: (B, K), a 1 at the right class of each row and 0 elsewhere   ->   (B, K)
    Hint: ops.softmax(z) takes each row by itself. The loss is the mean over the B rows.
    """
    return (ops.softmax(z) - y) / z.shape[0]


def _batches(rng):
    for batch, classes, size in ((4, 3, 1), (4, 4, 1), (5, 7, 1000)):
        right = rng.integers(0, classes, batch)
        yield size * rng.standard_normal((batch, classes)), np.eye(classes)[right]


def _by_rows(z, y):
    rows = [ops.softmax(row) - target for row, target in zip(z, y)]
    return np.array(rows, z.dtype) / len(z)


CROSS_ENTROPY_GRADIENT = Exercise(
    cross_entropy_gradient,
    _by_rows,
    _batches,
    (
        ("the loss is a mean: divide by the number of rows", lambda z, y: _by_rows(z, y) * len(z)),
        ("the sign is wrong: what the model said, minus what it should have said",
         lambda z, y: -_by_rows(z, y)),
        ("softmax is missing", lambda z, y: (z - y) / len(z)),
        ("softmax runs over the batch: each row is a clip, axis=-1",
         lambda z, y: (ops.softmax(z.T).T - y) / len(z)),
        ("the labels are missing: take y off", lambda z, y: ops.softmax(z) / len(z)),
        ("the mean runs over the classes too: divide by the number of rows alone",
         lambda z, y: _by_rows(z, y) / z.shape[1]),
        ("the wrong classes get no gradient: what is said of them has to fall",
         lambda z, y: y * _by_rows(z, y)),
    ),
)  # fmt: skip


def rates(steps, warmup, peak):
    """The learning rate of each step of a run.

    steps, warmup: whole numbers, warmup < steps   peak: a number   ->   (steps,)
    The rate grows by the same amount in each of the first `warmup` steps; the last of these has the
    peak, and the first has more than 0. From then on it falls along half a cosine, which begins at
    the peak in step `warmup` (counted from 0), and which would come to 0 one step after the last.
    Hint: half a cosine from 1 to 0 is (1 + cos(pi x)) / 2, with x from 0 to 1.
    """
    rising = peak * np.arange(1, warmup + 1) / warmup
    x = np.arange(steps - warmup) / (steps - warmup)
    return np.concatenate([rising, peak * (1 + np.cos(np.pi * x)) / 2])


def _rate(step, steps, warmup, peak):
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2


def _runs(rng):
    yield 12, 4, 2.0
    yield 30, 3, 0.0015
    yield int(rng.integers(20, 40)), int(rng.integers(2, 9)), float(rng.random())


def _each_step(rate):
    return lambda steps, *rest: np.array([rate(i, steps, *rest) for i in range(steps)])


def _falling(fall):
    """The right warm-up, and another way down: `fall` of the step, steps, warmup."""
    return _each_step(lambda i, n, w, peak: _rate(i, n, w, peak) if i < w else peak * fall(i, n, w))


RATES = Exercise(
    rates,
    _each_step(_rate),
    _runs,
    (
        ("the first step has the rate 0: it would not move anything",
         _each_step(lambda i, n, w, peak: peak * i / w if i < w else _rate(i, n, w, peak))),
        ("there is no warm-up: the rate grows in the first steps",
         _each_step(lambda i, n, w, peak: _rate(i, n, 0, peak))),
        ("the rate stays at the peak: it falls after the warm-up", _falling(lambda i, n, w: 1.0)),
        ("the rate falls in a straight line: it falls along half a cosine",
         _falling(lambda i, n, w: 1 - (i - w) / (n - w))),
        ("the cosine begins in the first step of the run: it begins after the warm-up",
         _falling(lambda i, n, w: (1 + math.cos(math.pi * i / n)) / 2)),
        ("a whole cosine goes down and up again: take half of it",
         _falling(lambda i, n, w: (1 + math.cos(2 * math.pi * (i - w) / (n - w))) / 2)),
        ("a quarter of a cosine: half of it, which starts level and ends level",
         _falling(lambda i, n, w: math.cos(math.pi / 2 * (i - w) / (n - w)))),
        ("the cosine is at 0 in the last step: it would come to 0 one step later",
         _falling(lambda i, n, w: (1 + math.cos(math.pi * (i - w) / (n - w - 1))) / 2)),
        ("the peak is not used: the rates are shares of it, so multiply",
         lambda steps, warmup, peak: _each_step(_rate)(steps, warmup, 1.0)),
    ),
    level=SPECIFICATION,
)  # fmt: skip


def adamw_step(p, g, m, v, t, rate, decay):
    """One step of AdamW.

    p, g: a parameter and its gradient   m, v: running means of g and g^2, all of one shape
    t: the step, counted from 1   rate, decay: numbers   ->   the new p, m, v
    m keeps 0.9 of itself and takes 0.1 of g; v keeps 0.999 of itself and takes 0.001 of g^2. Both
    began at 0, so for the step each is divided by the sum of its weights after t steps. p moves by
    -m / (sqrt(v) + 1e-8), and it shrinks by `decay` times itself. Both are multiplied by `rate`.
    Hint: after t steps the weights of m add up to 1 - 0.9^t.
    """
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * g * g
    direction = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return p - rate * (direction + decay * p), m, v


def _adam(p, g, m, v, t, rate, decay, *, corrected=(True, True), root=True, coupled=False):
    """Entry by entry, with switches for what can go wrong."""
    found = np.empty((3, p.size))
    for i, (pi, gi, mi, vi) in enumerate(zip(*(x.ravel().tolist() for x in (p, g, m, v)))):
        gi = gi + decay * pi if coupled else gi
        mi = BETAS[0] * mi + (1 - BETAS[0]) * gi
        vi = BETAS[1] * vi + (1 - BETAS[1]) * gi**2
        whole = [1 - beta**t if each else 1.0 for beta, each in zip(BETAS, corrected)]
        size = math.sqrt(vi / whole[1]) if root else vi / whole[1]
        shrink = 0 if coupled else decay * pi
        found[:, i] = pi - rate * (mi / whole[0] / (size + EPS) + shrink), mi, vi
    return tuple(x.reshape(p.shape).astype(p.dtype) for x in found)


def _steps(rng):
    for shape, t in (((2, 3), 3), ((4,), 1), ((3, 2), int(rng.integers(5, 90)))):
        p, g, m = (rng.standard_normal(shape) for _ in range(3))
        yield p, g, m / 5, rng.random(shape) / 50, t, 0.05, 0.3


def _with(**switches):
    return lambda *args: _adam(*args, **switches)


def _moved(change):
    """The right means, and another new p."""

    def wrong(p, g, m, v, t, rate, decay):
        right = _adam(p, g, m, v, t, rate, decay)
        return change(right[0], p, rate, decay), *right[1:]

    return wrong


ADAMW_STEP = Exercise(
    adamw_step,
    _adam,
    _steps,
    (
        ("neither mean is corrected: both began at 0", _with(corrected=(False, False))),
        ("m is not corrected: it began at 0", _with(corrected=(False, True))),
        ("v is not corrected: it began at 0", _with(corrected=(True, False))),
        ("m is divided by v itself: divide by its root", _with(root=False)),
        ("the decay is added to the gradient: in AdamW it acts on p alone", _with(coupled=True)),
        ("p does not shrink: the decay is missing",
         _moved(lambda new, p, rate, decay: new + rate * decay * p)),
        ("the decay is not multiplied by the rate",
         _moved(lambda new, p, rate, decay: new + rate * decay * p - decay * p)),
        ("p moves along the gradient: it moves against it",
         _moved(lambda new, p, rate, decay: 2 * (p - rate * decay * p) - new)),
        ("v is a mean of g: take the mean of g squared",
         lambda p, g, m, v, t, rate, decay: (*_adam(p, g, m, v, t, rate, decay)[:2],
                                             0.999 * v + 0.001 * g)),
        ("m takes all of g: it takes a tenth",
         lambda p, g, m, v, t, rate, decay: (_adam(p, g, m, v, t, rate, decay)[0], 0.9 * m + g,
                                             _adam(p, g, m, v, t, rate, decay)[2])),
    ),
    returns=("p", "m", "v"),
    level=SPECIFICATION,
)  # fmt: skip

EXERCISES = (CROSS_ENTROPY_GRADIENT, RATES, ADAMW_STEP)
