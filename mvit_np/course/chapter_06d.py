"""Exercises of notebook 06, backward passes of one's own: GELU, MLP and the loss."""

from __future__ import annotations

import numpy as np

from .. import ops
from .backwards import but, calling, pulled, with_dy
from .chapter_03c import MLP
from .chapter_06a import linear_backward
from .checker import SPECIFICATION, Exercise


def gelu_backward(u, dy):
    """The gradient by u of GELU, u Phi(u), from the gradient by its result.

    u, dy: any shape   ->   the same

    Phi is the cumulative probability of a standard normal variable. Its derivative is the density
    phi(u) = exp(-u^2 / 2) / sqrt(2 pi).
    Hint: the product rule has two terms. scipy.special.ndtr is Phi.
    """
    from scipy.special import ndtr

    density = np.exp(-0.5 * u * u) / (2 * np.pi) ** 0.5
    return dy * (ndtr(u) + u * density)


def mlp_backward(x, w1, b1, w2, b2, dy):
    """The gradients of gelu(x W1 + b1) W2 + b2 by all of its five arrays.

    x: (B, N, D)   w1: (D, H)   b1: (H,)   w2: (H, E)   b2: (E,)   dy: (B, N, E)
    ->   dx, dw1, db1, dw2, db2, each of the shape of what it belongs to
    Nothing was kept of the forward pass: compute again what a backward needs.
    Hint: walk back from the end, with your linear_backward(x, w, dy) and gelu_backward(u, dy).
    ops.gelu is given.
    """
    u = x @ w1 + b1
    dhidden, dw2, db2 = linear_backward(ops.gelu(u), w2, dy)
    dx, dw1, db1 = linear_backward(x, w1, gelu_backward(u, dhidden))
    return dx, dw1, db1, dw2, db2


def cross_entropy_backward(logits, labels):
    """The gradient of the loss by the logits: here every backward pass begins.

    logits: (B, K)   labels: (B,) whole numbers from 0 to K - 1   ->   (B, K)

    The loss is the mean over the clips of -log p[label], where p = softmax(logits).
    Hint: log p[label] = logits[label] - log of the sum of exp(logits). ops.softmax is given.
    """
    right = labels[:, None] == np.arange(logits.shape[1])  # (B, K)
    return (ops.softmax(logits) - right) / len(labels)


# -- gelu ------------------------------------------------------------------------------------------


def _numbers(rng):
    for shape in ((4, 5), (2, 3, 4), (7,)):
        yield tuple(2 * rng.standard_normal((2, *shape)))


def _phi(u):
    return np.exp(-0.5 * u * u) / (2 * np.pi) ** 0.5


def _cumulative(u):
    return gelu_backward(u, 1) - u * _phi(u)


def _slope_by_sigmoid(u, dy):
    s = 1 / (1 + np.exp(-1.702 * u))
    return dy * (s + 1.702 * u * s * (1 - s))


GELU_BACKWARD = Exercise(
    gelu_backward,
    pulled(ops.gelu, (0,)),
    _numbers,
    (
        ("the second term of the product rule is missing: Phi depends on u too",
         lambda u, dy: dy * _cumulative(u)),
        ("the first term of the product rule is missing: Phi(u) itself",
         lambda u, dy: dy * u * _phi(u)),
        ("the second term lacks its factor u: it is u phi(u)",
         lambda u, dy: dy * (_cumulative(u) + _phi(u))),
        ("the density divides by 2 pi: divide by its root",
         lambda u, dy: dy * (_cumulative(u) + u * _phi(u) / (2 * np.pi) ** 0.5)),
        ("the density is not divided by sqrt(2 pi)",
         lambda u, dy: dy * (_cumulative(u) + u * _phi(u) * (2 * np.pi) ** 0.5)),
        ("the density's exponent is -u^2 / 2; yours is -u^2",
         lambda u, dy: dy * (_cumulative(u) + u * np.exp(-u * u) / (2 * np.pi) ** 0.5)),
        ("this is the slope of a ReLU", lambda u, dy: dy * (u > 0)),
        ("this is the slope of the approximation by a sigmoid", _slope_by_sigmoid),
        ("dy is missing: the chain rule multiplies by it",
         lambda u, dy: gelu_backward(u, np.ones_like(dy))),
    ),
)  # fmt: skip

# -- mlp -------------------------------------------------------------------------------------------

_WEIGHTS = "x", "w1", "b1", "w2", "b2"
_REFERENCE_MLP = pulled(MLP.reference, range(5))


def _slope_at(where):
    """The MLP's gradients with the slope of GELU taken somewhere else."""

    def wrong(x, w1, b1, w2, b2, dy):
        other = calling(mlp_backward, gelu_backward=lambda u, dy: gelu_backward(where(u, b1), dy))
        return other(x, w1, b1, w2, b2, dy)

    return wrong


MLP_BACKWARD = Exercise(
    mlp_backward,
    _REFERENCE_MLP,
    with_dy(MLP),
    (
        ("the slope of GELU is missing: it stands between the two layers",
         calling(mlp_backward, gelu_backward=lambda u, dy: dy)),
        ("the slope of GELU is taken at its result: it is taken at what went in, u",
         _slope_at(lambda u, b1: ops.gelu(u))),
        ("the slope of GELU is taken without the shift b1", _slope_at(lambda u, b1: u - b1)),
        ("GELU itself stands where its slope is wanted",
         calling(mlp_backward, gelu_backward=lambda u, dy: dy * ops.gelu(u))),
        ("dw2 is made of u: the second layer was given gelu(u)",
         but(mlp_backward, 3, lambda _, x, w1, b1, w2, b2, dy: (
             linear_backward(x @ w1 + b1, w2, dy)[1]))),
        ("db1 is a sum over all tokens; yours is their mean",
         but(mlp_backward, 2, lambda db1, x, *rest: db1 / x[..., 0].size)),
        ("the skip's gradient is added to dx: the skip belongs to the block",
         but(mlp_backward, 0, lambda dx, x, w1, b1, w2, b2, dy: (
             dx + dy if dy.shape == dx.shape else dx))),
    ),
    returns=tuple(f"d{name}" for name in _WEIGHTS),
    level=SPECIFICATION,
)  # fmt: skip

# -- cross-entropy ---------------------------------------------------------------------------------


def _logits(rng):
    for clips, classes, size in ((4, 4, 1.0), (3, 5, 1.0), (2, 3, 1e5), (6, 2, 1.0)):
        logits = size * rng.standard_normal((clips, classes))
        yield logits, rng.integers(0, classes, clips)


def _reference_loss(logits, labels):
    one = np.ones((), logits.dtype)
    return pulled(lambda logits: ops.cross_entropy(logits, labels), (0,))(logits, one)


def _target(logits, labels):
    return (labels[:, None] == np.arange(logits.shape[1])).astype(logits.dtype)


def _overflowing(logits, labels):
    e = np.exp(logits)
    return (e / e.sum(axis=-1, keepdims=True) - _target(logits, labels)) / len(labels)


CROSS_ENTROPY_BACKWARD = Exercise(
    cross_entropy_backward,
    _reference_loss,
    _logits,
    (
        ("the loss is a mean over the clips: divide by their number",
         lambda x, labels: cross_entropy_backward(x, labels) * len(labels)),
        ("the mean is over the clips, not over clips and classes: divide by B alone",
         lambda x, labels: cross_entropy_backward(x, labels) / x.shape[1]),
        ("the sign is wrong: p minus the target", lambda *args: -cross_entropy_backward(*args)),
        ("the softmax is missing: p minus the target, not the logits",
         lambda x, labels: (x - _target(x, labels)) / len(labels)),
        ("the target is missing: 1 at the label",
         lambda x, labels: ops.softmax(x) / len(labels)),
        ("only the label's place has a gradient: every logit is in the softmax",
         lambda x, labels: cross_entropy_backward(x, labels) * _target(x, labels)),
        ("this is -1 / p at the label, the gradient by p: go on through the softmax",
         lambda x, labels: -_target(x, labels) / ops.softmax(x) / len(labels)),
        ("exp overflows: take each row's maximum off first, as ops.softmax does", _overflowing),
    ),
)  # fmt: skip

EXERCISES = (GELU_BACKWARD, MLP_BACKWARD, CROSS_ENTROPY_BACKWARD)
