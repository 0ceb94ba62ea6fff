"""A working copy of the course: notebooks of a reader's own, and the answers that are in them."""

from __future__ import annotations

import ast
import json
import linecache
import os
import re
import types
from collections.abc import Callable
from pathlib import Path

from ..backend.outputs import make_folder, write
from ..backend.types import FilePath
from .keep import HEADER
from .my_mvit import FILE, answers_in, is_piece
from .pages import pages, within
from .withholding import MARKER, TEXT

INSIDE = Path(__file__).parent / "notebooks"  # in a wheel
CLONE = Path(__file__).parents[2] / "notebooks"
EXERCISES = "exercises"
SOLUTION = re.compile(r"<details>\s*<summary>Solution</summary>.*?</details>\n*", re.DOTALL)


def start(folder: FilePath, solutions: bool = True) -> list[Path]:
    """Lay out a working copy: the notebooks, a file for the reader's own model, two pages of docs.

    solutions  False leaves the folded solutions of the exercises out, and lays a file beside them
               that makes `course.solution` and hints=4 say that solutions are withheld

    Returns the paths written. Raises ValueError for a folder that holds something, or where the
    notebooks are not at hand.
    """
    target, source = Path(folder), INSIDE if INSIDE.is_dir() else CLONE
    notebooks = sorted([*source.glob("[0-9]*.ipynb"), *source.glob(f"{EXERCISES}/[0-9]*.ipynb")])
    if not notebooks:
        raise ValueError(f"the notebooks lie beside the package, and {source} has none")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        rule = f"a working copy begins in an empty folder, and {target} holds something"
        raise ValueError(f"{rule}: name another")
    make_folder(target / EXERCISES)
    written = [target / path.relative_to(source) for path in notebooks]
    for path, copy in zip(notebooks, written):
        write(copy, _unpaired(path.read_text(encoding="utf-8"), solutions))
    others = {f"{EXERCISES}/{FILE}": HEADER, **pages()}
    if not solutions:
        others[MARKER] = TEXT
    for name, text in others.items():
        make_folder((target / name).parent)
        write(target / name, text)
    return [*written, *(target / name for name in others)]


def _unpaired(text, solutions):
    """A notebook that saves itself alone, and no .py beside it; with folded solutions, or none."""
    notebook = json.loads(text)
    notebook["metadata"].pop("jupytext", None)
    if not solutions:
        notebook["cells"] = list(filter(None, map(_without_solution, notebook["cells"])))
    for cell in notebook["cells"]:
        cell["source"] = within("".join(cell["source"])).splitlines(keepends=True)
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _without_solution(cell):
    """A cell whose text has no folded solution; None where nothing else was in it."""
    text = SOLUTION.sub("", "".join(cell["source"]))
    return {**cell, "source": text.splitlines(keepends=True)} if text.strip() else None


def exercises_folder(folder: FilePath) -> Path:
    """Where a working copy keeps its exercises: in it, or it is that folder itself.

    Raises ValueError where there are none.
    """
    path = Path(folder)
    found = path / EXERCISES if (path / EXERCISES).is_dir() else path
    if not any(found.glob("[0-9]*.ipynb")) and not (found / FILE).is_file():
        rule = f"a working copy holds exercises, and {path} has none"
        raise ValueError(f"{rule}: name the folder that mvit-np course start laid out")
    return found


def answer_in(folder: Path, exercise: str) -> tuple[Callable | None, str]:
    """(the reader's function, "") of an exercise, or (None, why there is none).

    It is that of the notebook; where no notebook of the chapter has it, that of my_mvit.py. Only
    imports, assignments and definitions of a notebook run, in the folder itself.
    """
    chapter, _, name = exercise.partition(".")
    os.chdir(folder)
    problem = f"no function {name} in {folder}"
    for path in sorted(Path().glob(f"{chapter}*.ipynb")):
        function, problem = _defined(path, name)
        if function is not None:
            return function, ""
    if not is_piece(exercise):
        return None, problem
    try:
        function = answers_in(FILE).get(name)
    except ValueError as told:
        return None, str(told)
    return function, "" if function is not None else problem


def _defined(path, name):
    """(the function of this name, "") in a notebook, or (None, why)."""
    module, problem = types.ModuleType(path.stem), ""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError):
        return None, f"{path} is no notebook"
    for number, text in enumerate(texts, 1):
        problem = _run_cell(module, text, f"{path}, cell {number}") or problem
    function = vars(module).get(name)
    if (getattr(function, "__module__", None) or "").startswith(f"{__package__}."):
        return None, f"{name} in {path} is the printed solution, called by course.piece"
    return function, problem or f"no function {name} in {path}"


def _run_cell(module, text, where):
    """Run what a cell defines; what is wrong with it in words, "" for nothing."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith(("%", "!", "?"))]
    text = "\n".join(lines) + "\n"
    linecache.cache[where] = (len(text), None, text.splitlines(keepends=True), where)
    try:
        tree = ast.parse(text)
        tree.body = [node for node in tree.body if not isinstance(node, ast.Expr)]
        exec(compile(tree, where, "exec"), vars(module))
    except SyntaxError as problem:
        return f"{where} is no Python at line {problem.lineno}"
    except Exception as problem:
        return f"{where} stops with {type(problem).__name__}: {problem}"
    return ""
