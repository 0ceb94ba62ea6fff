"""A reader's file of answers, my_mvit.py, to which each right answer is added."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from pathlib import Path

from .my_mvit import BACKWARDS, PIECES, function_name
from .trials import called

HEADER = (
    '"""My own MViT, piece by piece."""\n\nimport numpy as np\n\nfrom mvit_np import ops, plan\n'
)


def put(path: Path, function: Callable) -> None:
    """Write a function into a file, with the reader's helpers that it calls.

    An earlier version of it is replaced. Other pieces that it calls are kept on their own. Raises
    ValueError where its text is not known, or the file is no Python.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else HEADER
    space = getattr(function, "__globals__", {})
    own = {name for name, f in space.items() if getattr(f, "__globals__", None) is space}
    for name in called(function, own - set(map(function_name, (*PIECES, *BACKWARDS)))):
        text = _with(text, path, space[name])
    path.write_text(_with(text, path, function), encoding="utf-8")


def _with(text, path, function):
    """The text of a file with a function in place of the one of this name, or at its end."""
    try:
        source = textwrap.dedent(inspect.getsource(function)).rstrip() + "\n"
    except (OSError, TypeError):
        rule = f"the text of {getattr(function, '__name__', function)!r} is not known"
        raise ValueError(f"{rule}: write it with def, in a cell or a file") from None
    for node in _functions(text, path):
        if node.name == function.__name__:
            lines = text.splitlines(keepends=True)
            first = min([node, *node.decorator_list], key=lambda part: part.lineno).lineno
            lines[first - 1 : node.end_lineno] = [source]
            return "".join(lines)
    return f"{text.rstrip()}\n\n\n{source}"


def _functions(text, path):
    try:
        body = ast.parse(text).body
    except SyntaxError as problem:
        rule = f"{path} holds Python; line {problem.lineno} is none"
        raise ValueError(f"{rule}: mend it, or move the file away") from None
    return [node for node in body if isinstance(node, ast.FunctionDef)]
