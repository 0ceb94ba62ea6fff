"""The exercises as assignments of nbgrader: their cells, and the grades that nbgrader gives."""

import csv
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from mvit_np import cli, course
from mvit_np.course import assignments

ROOT = Path(__file__).parents[2]
HEAD = "import numpy as np\nfrom mvit_np import ops, plan\n\n\n"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    place = tmp_path_factory.mktemp("teacher") / "course"
    assignments.export(place, seed=5)
    return place


def cells_of(path):
    return json.loads(path.read_text())["cells"]


def marks(cell):
    return cell["metadata"]["nbgrader"]


# -- what is written -------------------------------------------------------------------------------


def test_every_exercise_has_a_cell_for_its_answer_and_one_that_tests_it(exported):
    cells = [cell for path in exported.rglob("*.ipynb") for cell in cells_of(path)]
    answers = [cell for cell in cells if marks(cell)["solution"]]
    tests = [cell for cell in cells if marks(cell)["grade"]]
    for kind, found in (("answer", answers), ("test", tests)):
        wanted = {f"{kind}_{name.replace('.', '_')}" for name in course.names()}
        assert {marks(cell)["grade_id"] for cell in found} == wanted
        assert len(found) == len(wanted)
    assert sum(marks(cell)["points"] for cell in tests) == assignments.total()
    assert all(marks(cell)["locked"] != marks(cell)["solution"] for cell in cells)
    for cell in answers:
        stub, _, rest = cell["source"].partition("### BEGIN SOLUTION\n")
        assert ("..." in stub or "def mend_" in stub) and rest.rstrip().endswith("### END SOLUTION")
        compile(cell["source"], "answer", "exec")
    for cell in tests:
        assert "seed=5" in cell["source"].partition("### BEGIN HIDDEN TESTS")[2]
        assert "seed=" not in cell["source"].partition("### BEGIN HIDDEN TESTS")[0]


def run(path):
    """A notebook of the exported course as its teacher has it, run without a kernel."""
    space = {}
    for cell in cells_of(path):
        if cell["cell_type"] == "code" and ".keep(" not in cell["source"]:
            lines = [line for line in cell["source"].splitlines() if not line.startswith("%")]
            exec(compile("\n".join(lines), str(path), "exec"), space)


NAMES = [path.stem for path in sorted((ROOT / "notebooks" / "exercises").glob("[0-9]*.ipynb"))]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_solutions_pass_their_own_tests(name, exported, monkeypatch, capsys):
    monkeypatch.chdir(exported / "source" / name)
    run(exported / "source" / name / f"{name}.ipynb")


def test_no_output_and_no_folded_solution_is_left(exported):
    for path in exported.rglob("*.ipynb"):
        cells = cells_of(path)
        assert not any(cell.get("outputs") for cell in cells)
        assert not any("<summary>Solution" in cell["source"] for cell in cells)
        assert "jupytext" not in json.loads(path.read_text())["metadata"]
        ids = [marks(cell)["grade_id"] for cell in cells]
        assert len(set(ids)) == len(ids) and not any("." in name for name in ids)


@pytest.mark.slow
def test_the_notebooks_are_valid(exported):
    nbformat = pytest.importorskip("nbformat", reason="needs nbformat: pip install '.[notebooks]'")
    for path in exported.rglob("*.ipynb"):
        nbformat.validate(nbformat.read(path, as_version=4))


def test_the_command_says_what_to_do_next(tmp_path, capsys):
    place = tmp_path / "course"
    assert cli.main(["course", "export", str(place), "--seed", "1"]) == 0
    told = capsys.readouterr().out
    assert f"of {len(course.names())} points" in told and "nbgrader generate_assignment 0" in told
    assert cli.main(["course", "export", str(place)]) == 2
    assert "begins in an empty folder" in capsys.readouterr().err


def test_a_check_of_what_is_never_begun_is_told():
    lost = {"cell_type": "code", "source": 'exercises.check("03.softmax", f)', "metadata": {}}
    with pytest.raises(ValueError, match="no cell before it begins f"):
        assignments.assignment({"cells": [lost], "metadata": {}}, 1)


# -- what nbgrader makes of it ---------------------------------------------------------------------

needs_nbgrader = pytest.mark.skipif(
    find_spec("nbgrader") is None, reason="needs nbgrader: pip install nbgrader"
)
CHAPTER = "03_attention"
WRONG = {"03.softmax_backward": "def softmax_backward(p, dp):\n    return p * dp"}


def nbgrader(place, *words):
    path = os.pathsep.join(filter(None, [str(ROOT), os.getenv("PYTHONPATH")]))
    # nbgrader calls alembic by its name; its settings elsewhere on this machine are not read
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {**os.environ, "PYTHONPATH": path, "PATH": programs}
    env["JUPYTER_CONFIG_DIR"] = str(place / "no_settings")
    done = subprocess.run([sys.executable, "-m", "nbgrader", *words], cwd=place, env=env,
                          capture_output=True, text=True, timeout=600)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def hand_in(place, student, answers):
    """A student's copy of the released notebook, with answers typed into their cells."""
    released = place / "release" / CHAPTER / f"{CHAPTER}.ipynb"
    notebook = json.loads(released.read_text())
    for cell in notebook["cells"]:
        name = marks(cell)["grade_id"].removeprefix("answer_").replace("_", ".", 1)
        if marks(cell)["solution"] and name in answers:
            cell["source"] = HEAD + answers[name]
    target = place / "submitted" / student / CHAPTER / released.name
    target.parent.mkdir(parents=True)
    target.write_text(json.dumps(notebook))


@needs_nbgrader
@pytest.mark.slow
def test_nbgrader_releases_stubs_and_grades_right_wrong_and_open_answers(exported):
    nbgrader(exported, "generate_assignment", CHAPTER, "--create")
    released = cells_of(exported / "release" / CHAPTER / f"{CHAPTER}.ipynb")
    text = "\n".join("".join(cell["source"]) for cell in released)
    assert (exported / "release" / CHAPTER / "NO_SOLUTIONS.txt").is_file()
    assert "= ...  # your line" in text and "seed=5" not in text and "BEGIN" not in text
    names = course.names(CHAPTER[:2])
    right = {name: course.solution(name) for name in names}
    assert not any(solution in text for solution in right.values())
    tampered = right | {names[0]: right[names[0]] + "\nassert False, 'a cell may stop'"}
    for student, answers in (
        ("right", right), ("wrong", right | WRONG), ("open", {}), ("stops", tampered),
    ):  # fmt: skip
        hand_in(exported, student, answers)
    nbgrader(exported, "autograde", CHAPTER, "--create")
    nbgrader(exported, "export", "--to", "grades.csv")
    rows = list(csv.DictReader((exported / "grades.csv").open()))
    scores = {row["student_id"]: float(row["score"]) for row in rows}
    assert {float(row["max_score"]) for row in rows} == {len(names)}
    assert scores == {
        "right": len(names), "wrong": len(names) - 1, "open": 0, "stops": len(names),
    }  # fmt: skip
