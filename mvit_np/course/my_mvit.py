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

from .checker import Exercise

# In the order of the chapters, and of what calls what.
PIECES = (
    "01.cube_embed", "01.add_class_and_positions", "02.depthwise_conv", "02.pool_tokens",
    "03.softmax", "03.attention", "04.split_heads", "04.pool_heads", "04.attention_layer",
    "04.pooled_skip", "05.mlp_block", "05.widening_mlp", "05.block", "05.head", "05.forward",
)  # fmt: skip
# The way back, in the order of what calls what.
BACKWARDS = (
    "06.linear_backward", "06.softmax_backward", "06.layer_norm_backward", "06.gelu_backward",
    "06.mlp_backward", "06.cross_entropy_backward", "06.attention_backward",
    "06.depthwise_conv_backward", "06.pooled_skip_backward", "06.pool_heads_backward",
    "06.attention_layer_backward", "06.mlp_block_backward", "06.widening_mlp_backward",
    "06.cube_embed_backward", "06.add_class_and_positions_backward", "06.head_backward",
    "06.block_backward", "06.backward", "06.tape_gradients",
)  # fmt: skip
FILE = "my_mvit.py"


def function_name(exercise: str) -> str:
    """The function of an exercise: "softmax" of "03.softmax"."""
    return exercise.partition(".")[2]


def is_piece(exercise: str) -> bool:
    """Whether an exercise is a piece of the model, forward or backward."""
    return exercise in (*PIECES, *BACKWARDS)


def answers_in(answers: Any) -> dict[str, Callable]:
    """{function name: function} of the pieces in a file, a module, or a dictionary by either name.

    The name of an exercise that is no piece is left out: 03.softmax_backward is not 06's.
    Of a file or module it is what is written there, not what it imports. A file that is not there
    yet has none. Raises ValueError for a file that stops before its end.
    """
    if isinstance(answers, (str, Path)):
        answers = _run_file(Path(answers)) if Path(answers).exists() else {}
    if isinstance(answers, types.ModuleType):
        space = vars(answers)
        found = {name: f for name, f in space.items() if getattr(f, "__globals__", None) is space}
    else:
        named = {
            str(name): f for name, f in answers.items() if "." not in str(name) or is_piece(name)
        }
        found = {name.rpartition(".")[2]: f for name, f in named.items()}
    names = map(function_name, (*PIECES, *BACKWARDS))
    return {name: found[name] for name in names if name in found}


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


def linked(
    own: Mapping[str, Callable],
    known: Mapping[str, Exercise],
    instead: Callable[[Mapping[str, Callable]], dict[int, Any]] | None = None,
) -> dict[str, Callable]:
    """{function name: function} of the reader's pieces, with solutions for those that lack.

    Each function looks up names where it was written, and finds there the pieces too, so that a
    solution calls the reader's `mlp_block`. The reader's own functions are not changed.

    instead  from the pieces to {id of what they would find: what they find in its place}
    """
    solutions = {function_name(piece): known[piece].solution for piece in (*PIECES, *BACKWARDS)}
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
    others = instead(pieces) if instead else {}
    for space in spaces.values():
        space.update({name: others[id(x)] for name, x in space.items() if id(x) in others})
    return pieces


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
