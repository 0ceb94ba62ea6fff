"""The exercises as assignments of nbgrader: cells for answers, and cells that test them for points.

A folder of this kind is what nbgrader calls a course: `nbgrader generate_assignment` takes the
solutions and the hidden tests out of it, and `nbgrader autograde` puts the tests back.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..backend.outputs import make_folder, write
from ..backend.types import FilePath
from . import names, solution
from .checker import SEEDS
from .folder import CLONE, EXERCISES, INSIDE, SOLUTION
from .withholding import MARKER, TEXT

Cell = dict[str, Any]

SOURCE, CONFIG = "source", "nbgrader_config.py"
POINTS = 1  # of an exercise, as `mvit-np course check` counts
CHECK = re.compile(r'^(?:exercises|course)\.check\("([\w.]+)", (\w+)\)', re.MULTILINE)
RELATIVE = re.compile(r"\[([^\]]+)\]\((?!\w+:)[^)#]+\)")  # a link to a file that is not handed out
ANSWER = """{stub}


### BEGIN SOLUTION
import numpy as np

from mvit_np import ops, plan


{solution}
### END SOLUTION
"""
TEST = """result = exercises.check("{name}", {function})
print(result)
assert result, "not yet"
### BEGIN HIDDEN TESTS
import mvit_np.course

assert mvit_np.course.check("{name}", {function}, seed={seed}, hints=1)
### END HIDDEN TESTS
"""
SETTINGS = """c = get_config()
c.CourseDirectory.course_id = "mvit_np"
# A student reads the stub of a function, with `...` in the places of the lines to write, and this:
c.ClearSolutions.code_stub = {"python": "# Your lines go where `...` stands above."}
c.ExecutePreprocessor.timeout = 120  # seconds, of a cell
"""


def export(folder: FilePath, seed: int | None = None) -> list[Path]:
    """Write a course for nbgrader: an assignment for each notebook of exercises, and a config.

    seed  draws the numbers of the hidden tests; None draws another one each time

    Returns the paths of the notebooks and the config. Raises ValueError for a folder that holds
    something, or where the notebooks are not at hand.
    """
    target, notebooks = Path(folder), (INSIDE if INSIDE.is_dir() else CLONE) / EXERCISES
    if not (stored := sorted(notebooks.glob("[0-9]*.ipynb"))):
        raise ValueError(f"the exercises lie beside the package, and {notebooks} has none")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        rule = f"a course begins in an empty folder, and {target} holds something"
        raise ValueError(f"{rule}: name another")
    seed = secrets.randbelow(SEEDS) if seed is None else seed
    written = []
    for path in stored:
        place = target / SOURCE / path.stem / path.name
        make_folder(place.parent)
        text = json.dumps(assignment(json.loads(path.read_text(encoding="utf-8")), seed), indent=1)
        write(place, text + "\n")
        write(place.with_name(MARKER), TEXT)  # nbgrader hands it out with the notebook
        written.append(place)
    write(target / CONFIG, SETTINGS)
    return [*written, target / CONFIG]


def assignment(notebook: dict[str, Any], seed: int) -> dict[str, Any]:
    """A notebook of exercises with what nbgrader reads in its cells' metadata, without outputs."""
    cells = [dict(cell, source="".join(cell["source"])) for cell in notebook["cells"]]
    answers = dict(_answers(cells))
    found = [_graded(cell, number, answers, seed) for number, cell in enumerate(cells)]
    about = {key: value for key, value in notebook["metadata"].items() if key != "jupytext"}
    return {**notebook, "cells": [cell for cell in found if cell["source"]], "metadata": about}


def _answers(cells: list[Cell]) -> Iterator[tuple[int, str]]:
    """(number of the cell in which an answer is written, name of its exercise)"""
    for number, cell in enumerate(cells):
        if asked := _asked(cell):
            name, function = asked
            begun = [at for at in range(number) if _defines(cells[at], function)]
            if not begun:
                raise ValueError(f"{name} is checked, and no cell before it begins {function}")
            yield begun[-1], name


def _asked(cell: Cell) -> tuple[str, str] | None:
    """(exercise, function) of a cell that checks one; None for another cell."""
    found = CHECK.search(cell["source"]) if cell["cell_type"] == "code" else None
    return (found[1], found[2]) if found and found[1] in names() else None


def _defines(cell: Cell, function: str) -> bool:
    begins = rf"^(def {function}\(|{function} = )"
    return cell["cell_type"] == "code" and bool(re.search(begins, cell["source"], re.MULTILINE))


def _graded(cell: Cell, number: int, answers: dict[int, str], seed: int) -> Cell:
    """A cell as nbgrader keeps it: to be written, to be tested, or to be read."""
    if cell["cell_type"] == "code":
        cell |= {"outputs": [], "execution_count": None}
    if number in answers:
        text = ANSWER.format(stub=cell["source"], solution=solution(answers[number]).rstrip())
        return _marked(cell, text, f"answer_{answers[number]}", solution=True, locked=False)
    if asked := _asked(cell):
        text = TEST.format(name=asked[0], function=asked[1], seed=seed)
        return _marked(cell, text, f"test_{asked[0]}", grade=True, points=POINTS)
    text = cell["source"]
    if cell["cell_type"] == "markdown":
        text = RELATIVE.sub(r"\1", SOLUTION.sub("", text)).rstrip()
    return _marked(cell, text, f"cell_{number}")


def _marked(cell: Cell, text: str, grade_id: str, **about: Any) -> Cell:
    """A cell with nbgrader's metadata; it is one to read where nothing else is said."""
    read = {"grade": False, "solution": False, "locked": True, "task": False, "schema_version": 3}
    marks = {**read, "grade_id": grade_id.replace(".", "_"), **about}
    return {**cell, "source": text, "metadata": {**cell["metadata"], "nbgrader": marks}}


def total() -> int:
    """The points of all assignments together."""
    return POINTS * len(names())
