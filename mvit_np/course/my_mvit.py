"""A reader's own model: the answers that are pieces of it, put together.

Each piece is an exercise, and later pieces call earlier ones by name. What the reader has not
written yet stands in from the printed solutions, so that the whole can be compared with
`mv.forward` after every chapter.
"""

from __future__ import annotations

import linecache
import traceback
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..autodiff.tape import untraced, value_and_grad
from ..backend import tree as trees
from ..model.config import MViTConfig
from ..model.forward import forward as forward_of_the_package
from ..model.forward import init
from ..model.presets import preset
from .checker import Exercise, Result
from .stops import stop

# In the order of the chapters, and of what calls what.
PIECES = (
    "01.cube_embed", "01.add_class_and_positions", "02.depthwise_conv", "02.pool_tokens",
    "03.softmax", "03.attention", "04.split_heads", "04.pool_heads", "04.attention_layer",
    "04.pooled_skip", "05.mlp_block", "05.widening_mlp", "05.block", "05.head", "05.forward",
)  # fmt: skip
FILE = "my_mvit.py"
EXACT = 1e-12  # how near the logits come, relative to the largest or to 1
EXACT_GRADIENT = 1e-10


def function_name(exercise: str) -> str:
    """The function of an exercise: "softmax" of "03.softmax"."""
    return exercise.partition(".")[2]


def answers_in(answers: Any) -> dict[str, Callable]:
    """{function name: function} of the pieces in a file, a module, or a dictionary by either name.

    Of a file or module it is what is written there, not what it imports. A file that is not there
    yet has none. Raises ValueError for a file that stops before its end.
    """
    if isinstance(answers, (str, Path)):
        answers = _run_file(Path(answers)) if Path(answers).exists() else {}
    if isinstance(answers, types.ModuleType):
        space = vars(answers)
        found = {name: f for name, f in space.items() if getattr(f, "__globals__", None) is space}
    else:
        found = {str(name).rpartition(".")[2]: function for name, function in answers.items()}
    return {name: found[name] for name in map(function_name, PIECES) if name in found}


def _run_file(path):
    """The module of a reader's file."""
    module = types.ModuleType(path.stem)
    module.__file__ = str(path)
    linecache.checkcache(str(path))  # it may have been written anew
    try:
        exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), vars(module))
    except (Exception, SystemExit) as problem:
        raise ValueError(f"{path} {_where(problem, path)}: mend that line") from problem
    return module


def _where(problem, path):
    """At which line a file stops, and why."""
    kind = type(problem).__name__
    if isinstance(problem, SyntaxError):
        return f"is no Python at line {problem.lineno} ({kind}: {problem.msg})"
    lines = [number for frame, number in traceback.walk_tb(problem.__traceback__)
             if frame.f_code.co_filename == str(path)]  # fmt: skip
    where = f" at line {lines[-1]}" if lines else ""
    return f"stops{where} with {kind}: {problem}"


def linked(own: Mapping[str, Callable], known: Mapping[str, Exercise]) -> Callable:
    """forward(params, clip, config) of the reader's pieces, with solutions for those that lack.

    Each function looks up names where it was written, and finds there the pieces too, so that a
    solution calls the reader's `mlp_block`. The reader's own functions are not changed.
    """
    solutions = {function_name(piece): known[piece].solution for piece in PIECES}
    chosen = solutions | dict(own)
    written = [f.__globals__ for f in chosen.values() if isinstance(f, types.FunctionType)]
    spaces = {id(space): dict(space) for space in written}
    pieces = {name: _within(spaces, function) for name, function in chosen.items()}
    for space in spaces.values():
        before = dict(space)
        space.update({name: _within(spaces, helper) for name, helper in before.items()})
        elsewhere = {name for name in pieces if name in before
                     and before[name] is not solutions[name]
                     and not _is_written_in(before, before[name])}  # fmt: skip
        space.update({name: pieces[name] for name in pieces.keys() - elsewhere})
    return pieces["forward"]


def _is_written_in(space, function):
    """Whether a function was written where these names are, and not imported from elsewhere."""
    known = isinstance(function, types.FunctionType)
    return known and function.__globals__.get("__name__") == space.get("__name__")


def _within(spaces, function):
    """A function of the same lines that looks up names in its space; others as they are."""
    if not isinstance(function, types.FunctionType) or id(function.__globals__) not in spaces:
        return function
    space, words = spaces[id(function.__globals__)], function.__kwdefaults__
    parts = function.__name__, function.__defaults__, function.__closure__
    same = types.FunctionType(function.__code__, space, *parts)
    same.__kwdefaults__ = words
    return same


def compared(
    answers: Any, check: Callable[..., Result], known: Mapping[str, Exercise], seed: int
) -> Result:
    """The pieces so far, assembled, beside `mv.forward` on the demo's model: logits and gradients.

    check  tells of each piece alone whether it is right
    """
    own = answers_in(answers)
    results = {piece: check(piece, own[name], seed=seed)
               for piece in PIECES if (name := function_name(piece)) in own}  # fmt: skip
    right = {function_name(piece): own[function_name(piece)]
             for piece, result in results.items() if result}  # fmt: skip
    lines = [f"my_mvit: {len(right)} of {len(PIECES)} pieces are yours and right"]
    wrong = [result for result in results.values() if not result and result.finished]
    lines += ["  " + str(result).replace("\n", "\n  ") for result in wrong]
    if missing := [piece for piece in PIECES if function_name(piece) not in right]:
        lines += [f"  solutions stand in for the other {len(missing)}; the next is {missing[0]}"]
    fault, told = _difference(linked(right, known), next(iter(right.values()), None), seed)
    passed = not fault and not wrong
    return Result(passed, "\n".join([*lines, f"  {told}"]), finished=not missing, seed=seed)


def _difference(forward, own, seed):
    """(whether something is wrong, in words) of a model beside the package's, at the demo's size.

    own  one of the reader's functions, by which a line of theirs is known
    """
    config = preset("mvit_micro")
    params, clip = example(config, seed)
    expected, right = _loss_and_gradients(forward_of_the_package, params, clip, config)
    try:
        logits = forward(params, clip, config)
        gap = float(np.abs(logits - expected).max() / max(1, np.abs(expected).max()))
        if not gap < EXACT:
            return True, f"assembled, its logits differ from mv.forward by {gap:.0e}"
        _, came = _loss_and_gradients(forward, params, clip, config)
    except Exception as problem:
        return True, f"assembled, {stop(own or forward, problem)}"
    steeper = max(float(np.abs(a - b).max()) for a, b in zip(came, right))
    if not steeper < EXACT_GRADIENT * max(1, max(float(np.abs(g).max()) for g in right)):
        return True, f"assembled, its gradients differ from those of mv.forward by {steeper:.0e}"
    equal = f"within {EXACT:.0e} and {EXACT_GRADIENT:.0e}"
    return False, f"assembled, its logits and gradients are those of mv.forward, {equal}"


def example(config: MViTConfig, seed: int, clips: int = 2) -> tuple[Any, np.ndarray]:
    """float64 parameters in which no two numbers are alike, and clips of standard normals."""
    rng = np.random.default_rng(seed)
    params = init(config, rng)
    rough = trees.map(lambda fresh: fresh + rng.standard_normal(fresh.shape) / 10, params)
    return rough, rng.standard_normal((clips, *config.thw, config.channels))


def _loss_and_gradients(forward, params, clip, config):
    """(the logits, the leaves of the gradient of their squares' sum)"""

    def loss(params):
        logits = forward(params, clip, config)
        return (logits * logits).sum(), logits

    (_, logits), gradients = value_and_grad(loss, has_aux=True)(params)
    return untraced(logits), trees.leaves(gradients)
