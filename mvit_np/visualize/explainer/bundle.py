"""The page's scripts, small ECMAScript modules, become one: each after those that it imports."""

from __future__ import annotations

import re
from graphlib import TopologicalSorter
from pathlib import Path

folder = Path(__file__).parent
IMPORT = re.compile(r'^import [^;]*? from "([^"]+)";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|class) (\w+))", re.MULTILINE)


def style() -> str:
    """All style sheets in one text, in the order of their names."""
    return "\n".join(path.read_text("utf-8") for path in sorted((folder / "css").glob("*.css")))


def script() -> str:
    """All scripts in one text.

    Each module is a function that gives what it exports, under names that no other module exports;
    so what it keeps to itself may have the names of others.
    """
    sources = {path.resolve(): path.read_text("utf-8") for path in (folder / "js").rglob("*.js")}
    needs = {
        path: sorted((path.parent / name).resolve() for name in IMPORT.findall(text))
        for path, text in sorted(sources.items())
    }
    ordered = TopologicalSorter(needs).static_order()
    return "\n".join(_as_function(path.name, sources[path]) for path in ordered)


def _as_function(name, text):
    names = ", ".join(EXPORT.findall(text))
    body = EXPORT.sub("", IMPORT.sub("", text))
    return f"// {name}\nconst {{ {names} }} = (() => {{\n{body}return {{ {names} }};\n}})();\n"
