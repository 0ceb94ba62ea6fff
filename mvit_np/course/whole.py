"""The reader's own model, put together and compared with the package's: forward, and backward."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..autodiff.tape import untraced, value_and_grad
from ..backend import tree as trees
from ..model.config import MViTConfig
from ..model.forward import forward as forward_of_the_package
from ..model.forward import init
from ..model.presets import preset
from .checker import Exercise, Result
from .my_mvit import BACKWARDS, PIECES, answers_in, function_name
from .stops import stop
from .ways import WAYS, passes

EXACT = 1e-12  # how near the logits come, relative to the largest or to 1
EXACT_GRADIENT = 1e-10
WHOSE = {
    "autograd": "assembled, its",
    "backward": "by your backward passes, its",
    "tape": "on your tape, its",
}


def compared(
    answers: Any, check: Callable[..., Result], known: Mapping[str, Exercise], seed: int
) -> Result:
    """The pieces so far, assembled, beside `mv.forward` on the demo's model: logits and gradients.

    Where the reader has begun with the way back, the gradients of that way too, and of the tape.

    check  tells of each piece alone whether it is right
    """
    own = answers_in(answers)
    lines, wrong, right = _alone("my_mvit", "pieces", PIECES, own, check, seed)
    finished = len(right) == len(PIECES)
    faults, told = _difference(right, known, seed, WAYS[:1])
    lines += told
    if any(function_name(piece) in own for piece in BACKWARDS):
        more, also_wrong, back = _alone(
            "  the way back", "backward passes", BACKWARDS, own, check, seed
        )
        worse, told = _difference({**right, **back}, known, seed, WAYS[1:])
        lines, wrong, faults = [*lines, *more, *told], wrong or also_wrong, faults or worse
    return Result(not wrong and not faults, "\n".join(lines), finished=finished, seed=seed)


def _alone(title, what, pieces: Sequence[str], own, check, seed):
    """(lines, whether one is wrong, those that are right) of the reader's functions for pieces."""
    results = {piece: check(piece, own[name], seed=seed)
               for piece in pieces if (name := function_name(piece)) in own}  # fmt: skip
    right = {function_name(piece): own[function_name(piece)]
             for piece, result in results.items() if result}  # fmt: skip
    lines = [f"{title}: {len(right)} of {len(pieces)} {what} are yours and right"]
    wrong = [result for result in results.values() if not result and result.finished]
    lines += ["  " + str(result).replace("\n", "\n  ") for result in wrong]
    if missing := [piece for piece in pieces if function_name(piece) not in right]:
        lines += [f"  solutions stand in for the other {len(missing)}; the next is {missing[0]}"]
    return lines, bool(wrong), right


def _difference(right, known, seed, ways):
    """(whether something is wrong, lines) of a model beside the package's, at the demo's size.

    right  the reader's functions, by one of which a line of theirs is known
    """
    config, own = preset("mvit_micro"), next(iter(right.values()), None)
    params, clip = example(config, seed)
    expected, gradients = _scores_and_gradients(forward_of_the_package, params, clip, config)
    lines: list[str] = []
    for way in ways:
        whose = WHOSE[way]
        try:
            logits, pull = passes(right, known, way)(params, clip, config)
            gap = float(np.abs(logits - expected).max() / max(1, np.abs(expected).max()))
            if not gap < EXACT:
                return True, [f"  {whose} logits differ from mv.forward by {gap:.0e}"]
            steeper = _gap(pull(2 * logits), gradients)
        except Exception as problem:
            return True, [*lines, f"  {whose.rpartition(',')[0]}, {stop(own or pull, problem)}"]
        if not steeper < EXACT_GRADIENT:
            told = f"gradients differ from those of mv.forward by {steeper:.0e}"
            return True, [*lines, f"  {whose} {told}"]
        equal = f"within {EXACT:.0e} and {EXACT_GRADIENT:.0e}"
        lines += [f"  {whose} logits and gradients are those of mv.forward, {equal}"]
    return False, lines


def example(config: MViTConfig, seed: int, clips: int = 2) -> tuple[Any, np.ndarray]:
    """float64 parameters in which no two numbers are alike, and clips of standard normals."""
    rng = np.random.default_rng(seed)
    params = init(config, rng)
    rough = trees.map(lambda fresh: fresh + rng.standard_normal(fresh.shape) / 10, params)
    return rough, rng.standard_normal((clips, *config.thw, config.channels))


def _scores_and_gradients(forward, params, clip, config):
    """(the scores, the gradients of their squares' sum)"""

    def loss(params):
        logits = forward(params, clip, config)
        return (logits * logits).sum(), logits

    (_, logits), gradients = value_and_grad(loss, has_aux=True)(params)
    return untraced(logits), gradients


def _gap(came, right):
    """The largest difference of two trees of gradients, relative to the largest of all or to 1."""
    gaps = trees.leaves(trees.map(lambda a, b: float(np.abs(a - b).max()), right, came))
    return max(gaps) / max(1, max(float(np.abs(g).max()) for g in trees.leaves(right)))
