"""The lines of Python that the page shows beside each step: those of the plain ops themselves."""

from __future__ import annotations

import ast
from pathlib import Path

from ... import ops

SHOWN = {  # op: file
    "layer_norm": "layer_norm",
    "linear": "linear",
    "depthwise_conv": "depthwise_conv",
    "max_pool": "max_pool",
    "avg_pool": "avg_pool",
    "attention_weights": "attend",
    "softmax_array": "softmax",
    "attend": "attend",
    "reshape": "tokens",
    "residual": "residual",
    "mlp": "mlp",
    "gelu": "gelu",
}


def op_lines() -> dict[str, str]:
    """{op: the lines of its definition that make its value}, as they stand in `ops/`."""
    where = Path(ops.__file__).parent
    return {
        op: value_lines((where / f"{file}.py").read_text("utf-8"), op) for op, file in SHOWN.items()
    }


def value_lines(source: str, name: str) -> str:
    """Of a function in `source`: its body without docstring and backward, what it returns last."""
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    (function,) = (node for node in functions if node.name == name)
    lines = []
    for node in function.body:
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if not is_text and not isinstance(node, ast.FunctionDef):
            lines.append(_text(source, node))
    return "\n".join(lines)


def _text(source, node):
    """A statement's text, its lines unindented; `return y, backward` becomes `return y`."""
    value = node.value if isinstance(node, ast.Return) else None
    if isinstance(value, ast.Tuple) and getattr(value.elts[-1], "id", "") == "backward":
        return f"return {ast.get_source_segment(source, value.elts[0])}"
    first = " " * node.col_offset
    segment = ast.get_source_segment(source, node) or ""
    return "\n".join(line.removeprefix(first) for line in segment.split("\n"))
