"""Three ways to the gradients of the reader's own model: autograd, their backward passes, a tape.

Each way goes forward and returns the scores and a function `pull`, from the gradient by the scores
to that by the parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..autodiff.tape import value_and_grad, vjp
from ..backend import tree as trees
from ..backend.blas import one_blas_thread
from ..ops import cross_entropy
from .checker import Exercise
from .my_mvit import linked
from .own_tape import Node, instead

WAYS = "autograd", "backward", "tape"


def passes(own: Mapping[str, Callable], known: Mapping[str, Exercise], way: str) -> Callable:
    """(params, clip, config) -> (scores, pull) of the reader's pieces, in one of WAYS.

    Solutions stand in for pieces that lack. Raises ValueError for another way.
    """
    if way not in WAYS:
        raise ValueError(f"gradients come by {', '.join(WAYS)}; came {way!r}: name one of them")
    pieces = linked(own, known, instead if way == "tape" else None)
    forward, backward = pieces["forward"], pieces["backward"]

    def by_autograd(params, clip, config):
        leaves, rebuild = trees.flatten(params)
        logits, pull = vjp(lambda *leaves: forward(rebuild(leaves), clip, config), leaves)
        return logits, lambda dlogits: rebuild(pull(dlogits))

    def by_backward(params, clip, config):
        return forward(params, clip, config), lambda dy: backward(params, clip, config, dy)

    def by_tape(params, clip, config):
        leaves, rebuild = trees.flatten(trees.map(Node, params))
        end = forward(rebuild(leaves), clip, config)
        return end.value, lambda dy: rebuild(pieces["tape_gradients"](end, leaves, dy))

    return dict(zip(WAYS, (by_autograd, by_backward, by_tape)))[way]


def gradients(own: Mapping[str, Callable], known: Mapping[str, Exercise], way: str) -> Callable:
    """(params, clip, labels, config) -> (loss, gradients) in one of WAYS.

    The loss is the cross-entropy. Where the way is not autograd, its gradient is the reader's too.
    """
    forward = passes(own, known, way)
    loss_backward = linked(own, known)["cross_entropy_backward"]

    def call(params, clip, labels, config):
        with one_blas_thread():
            logits, pull = forward(params, clip, config)
            loss, dlogits = value_and_grad(cross_entropy)(logits, labels)
            return loss, pull(dlogits if way == "autograd" else loss_backward(logits, labels))

    return call
