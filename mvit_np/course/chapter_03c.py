"""Exercises of notebook 03b: the MLP of a block, and the head that gives the answer."""

from __future__ import annotations

import numpy as np

from .. import ops
from .checker import SPECIFICATION, Exercise

EPS = 1e-6


def mlp(x, w1, b1, w2, b2):
    """Two linear layers with a GELU between them.

    x: (B, N, D)   w1: (D, H)   b1: (H,)   w2: (H, E)   b2: (E,)   ->   (B, N, E)

    The first layer turns each token into H hidden units, GELU acts on each of them alone, and the
    second layer turns them into E channels. The skip and the norm of the block do not belong to it.
    Hint: ops.gelu(u) is given. A linear layer multiplies each token with its matrix, and adds its
    bias.
    """
    hidden = ops.gelu(x @ w1 + b1)
    return hidden @ w2 + b2


def _reference_mlp(x, w1, b1, w2, b2):
    return ops.mlp(x, w1, b1, w2, b2)


def _mlps(rng):
    for shape, hidden, width in (((2, 3, 4), 16, 4), ((1, 5, 6), 24, 12), ((3, 2, 5), 7, 5)):
        d = shape[-1]
        shapes = shape, (d, hidden), hidden, (hidden, width), width
        yield tuple(map(rng.standard_normal, shapes))


def _with_function(function):
    """The MLP with another function in the place of GELU."""

    def wrong(x, w1, b1, w2, b2):
        return function(x @ w1 + b1) @ w2 + b2

    return wrong


def _tanh_gelu(u):
    return 0.5 * u * (1 + np.tanh((2 / np.pi) ** 0.5 * (u + 0.044715 * u**3)))


def _cumulative(u):
    """The normal distribution's cumulative probability."""
    return ops.gelu(u) / u


MLP = Exercise(
    mlp,
    _reference_mlp,
    _mlps,
    (
        ("the nonlinear function is missing: without it two linear layers are one",
         _with_function(lambda u: u)),
        ("a ReLU stands where a GELU is wanted: ops.gelu is given",
         _with_function(lambda u: np.maximum(u, 0))),
        ("this is the approximation of GELU by tanh: the exact one is wanted, ops.gelu",
         _with_function(_tanh_gelu)),
        ("this is the approximation of GELU by a sigmoid: the exact one is wanted, ops.gelu",
         _with_function(lambda u: u / (1 + np.exp(-1.702 * u)))),
        ("GELU is u times the probability: the factor u is missing", _with_function(_cumulative)),
        ("GELU comes before the first bias: add b1 first",
         lambda x, w1, b1, w2, b2: (ops.gelu(x @ w1) + b1) @ w2 + b2),
        ("GELU acts a second time, at the end: it stands between the layers alone",
         lambda *args: ops.gelu(mlp(*args))),
        ("GELU acts at the end: it belongs between the layers",
         lambda x, w1, b1, w2, b2: ops.gelu((x @ w1 + b1) @ w2 + b2)),
        ("GELU acts on the tokens: it belongs on the hidden units",
         lambda x, w1, b1, w2, b2: (ops.gelu(x) @ w1 + b1) @ w2 + b2),
        ("the first bias, b1, is missing",
         lambda x, w1, b1, w2, b2: mlp(x, w1, 0 * b1, w2, b2)),
        ("the second bias, b2, is missing",
         lambda x, w1, b1, w2, b2: mlp(x, w1, b1, w2, 0 * b2)),
        ("both biases are missing", lambda x, w1, b1, w2, b2: ops.gelu(x @ w1) @ w2),
        ("the skip is added: it belongs to the block, not to the MLP",
         lambda x, *weights: x + mlp(x, *weights)),
        ("the tokens are normed: the norm belongs to the block, not to the MLP",
         lambda x, *weights: mlp(_normed(x), *weights)),
    ),
    level=SPECIFICATION,
)  # fmt: skip


def class_probabilities(x, g, b, w, shift):
    """The probabilities of the classes, from the tokens that the last block gives.

    x: (B, N, D)   g, b: (D,)   w: (D, K)   shift: (K,)   ->   (B, K)

    The first token of each clip is the class token. It is normed: (x - mean) / sqrt(var + 1e-6)
    over its channels, times g, plus b. A linear layer, w and shift, turns it into K scores. Softmax
    turns the scores into probabilities: they are positive, and their sum is 1 for each clip.
    Hint: ops.layer_norm(x, g, b) is given. exp(1000) overflows: subtract the largest score of each
    clip first.
    """
    scores = ops.layer_norm(x[:, 0], g, b) @ w + shift
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _reference_head(x, g, b, w, shift):
    return ops.softmax(ops.linear(ops.layer_norm(ops.first_token(x), g, b, EPS), w, shift))


def _heads(rng):
    for clips, tokens, d, classes, size in (
        (3, 4, 5, 3, 1.0),
        (2, 3, 6, 4, 1.0),
        (4, 2, 3, 5, 1e5),
    ):
        shapes = (clips, tokens, d), d, d, (d, classes), classes
        x, g, b, w, shift = map(rng.standard_normal, shapes)
        yield x + 1, g, b, size * w, shift


def _normed(x):
    """The norm without gain and shift."""
    d = x.shape[-1]
    return ops.layer_norm(x, np.ones(d, x.dtype), np.zeros(d, x.dtype))


def _scores(x, g, b, w, shift):
    return ops.layer_norm(x[:, 0], g, b) @ w + shift


def _unshifted(scores, axis=-1):
    e = np.exp(scores)
    return e / e.sum(axis=axis, keepdims=True)


def _of_token(pick):
    """The head on something else than the class token."""

    def wrong(x, g, b, w, shift):
        return ops.softmax(ops.layer_norm(pick(x), g, b) @ w + shift)

    return wrong


CLASS_PROBABILITIES = Exercise(
    class_probabilities,
    _reference_head,
    _heads,
    (
        ("the mean of all tokens is taken: take the class token, x[:, 0]",
         _of_token(lambda x: x.mean(axis=1))),
        ("the mean of the places is taken: take the class token, x[:, 0]",
         _of_token(lambda x: x[:, 1:].mean(axis=1))),
        ("the last token is taken: the class token is the first, x[:, 0]",
         _of_token(lambda x: x[:, -1])),
        ("the first clip is taken: the class token is the first of each clip, x[:, 0]",
         _of_token(lambda x: x[0])),
        ("the answer is given for every token: take the class token alone, x[:, 0]",
         _of_token(lambda x: x)),
        ("the norm is missing", lambda x, g, b, w, shift: ops.softmax(x[:, 0] @ w + shift)),
        ("the norm's gain g and shift b are missing",
         lambda x, g, b, *linear: class_probabilities(x, 1 + 0 * g, 0 * b, *linear)),
        ("the norm's gain g is missing",
         lambda x, g, b, *linear: class_probabilities(x, 1 + 0 * g, b, *linear)),
        ("the norm's shift b is missing",
         lambda x, g, b, *linear: class_probabilities(x, g, 0 * b, *linear)),
        ("the linear layer's shift is missing",
         lambda x, g, b, w, shift: class_probabilities(x, g, b, w, 0 * shift)),
        ("these are the scores: softmax is missing", _scores),
        ("these are logarithms of the probabilities: leave the logarithm out",
         lambda *args: np.log(class_probabilities(*args))),
        ("softmax runs over the clips: each clip has its own sum, axis=-1",
         lambda *args: ops.softmax(_scores(*args).T).T),
        ("softmax runs over the whole array: each clip has its own sum, axis=-1",
         lambda *args: _unshifted(_scores(*args), axis=None)),
        ("exp overflows for large scores: take each clip's largest score away first",
         lambda *args: _unshifted(_scores(*args))),
        ("each score has its own sigmoid: softmax divides by the sum over the classes",
         lambda *args: 1 / (1 + np.exp(-_scores(*args)))),
        ("the scores are divided by their sum: take the exponential first",
         lambda *args: _scores(*args) / _scores(*args).sum(axis=-1, keepdims=True)),
        ("this says only which class is the likeliest: the probabilities are wanted",
         lambda *args: (_scores(*args) == _scores(*args).max(-1, keepdims=True)).astype(float)),
    ),
    level=SPECIFICATION,
)  # fmt: skip

EXERCISES = (MLP, CLASS_PROBABILITIES)
