"""docs/teaching.md keeps its word: its exercise is one, and is graded with the others."""

import json
import re
from pathlib import Path

from mvit_np import cli, course
from mvit_np.course import folder

PAGE = Path(__file__).parents[2] / "docs" / "teaching.md"
EXAMPLE = re.search(r"```python\n(import numpy.*?)```", PAGE.read_text(), re.DOTALL)[1]


def test_the_page_s_exercise_passes_its_own_check(run_python):
    done = run_python(EXAMPLE + "\nprint(course.check('12.running_mean', by_loops))")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("12.running_mean: correct")


def test_a_class_of_two_is_graded_with_it(tmp_path, monkeypatch, capsys):
    known = dict(course._ALL)
    (tmp_path / "mine.py").write_text(EXAMPLE)
    place = tmp_path / "copy"
    folder.start(place, solutions=False)
    answer = (
        "def running_mean(x):\n    return np.cumsum(x) / np.arange(1, len(x) + 1, dtype=x.dtype)"
    )
    cells = [{"cell_type": "code", "source": text} for text in ("import numpy as np", answer)]
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4}
    (place / "exercises" / "12_mine.ipynb").write_text(json.dumps(notebook))
    monkeypatch.setattr(course, "names", lambda *_, **__: ["12.running_mean"])
    try:
        cli.main(
            ["course", "check", str(place), "--json", "--exercises", str(tmp_path / "mine.py")]
        )
    finally:
        course._ALL.clear()
        course._ALL.update(known)
    (grade,) = [
        each for each in json.loads(capsys.readouterr().out)["grades"] if "." in each["exercise"]
    ]
    assert (grade["points"], grade["state"], grade["level"]) == (1, "correct", "specification")
