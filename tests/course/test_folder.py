"""A working copy of the course: laid out, graded in processes of their own, and told about."""

import csv
import json
import re
import time
from pathlib import Path

import pytest

from mvit_np import cli, course
from mvit_np.course import folder, grading
from mvit_np.course.pages import within

ROOT = Path(__file__).parents[2]


def notebook(path, *cells):
    """A notebook of code cells."""
    cells = [{"cell_type": "code", "source": text.splitlines(keepends=True)} for text in cells]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4}))


def graded(tmp_path, exercise, *cells, seconds=20.0):
    notebook(tmp_path / f"{exercise[:2]}_answers.ipynb", *cells)
    return grading.grade(tmp_path, [exercise], 3, seconds)[0]


def written_in(place):
    """Every printed solution, as answers in a working copy's notebooks and file."""
    head = "import numpy as np\nfrom mvit_np import ops, plan"
    imports = "from dataclasses import replace\nfrom math import prod\n"
    imports += "from mvit_np import MViTConfig, costs"
    for chapter in sorted({name[:2] for name in course.names()}):
        answers = [course.solution(name) for name in course.names(chapter)]
        if chapter in ("04", "05", "06"):
            answers = [*map(course.solution, course.pieces()), *answers]
        path = next(place.glob(f"{chapter}_*.ipynb"))
        notebook(path, "%matplotlib inline\n" + head, imports, *answers, "1 / 0")
    text = "\n\n\n".join([head, *map(course.solution, course.pieces())])
    (place / "my_mvit.py").write_text(text)


# -- laid out --------------------------------------------------------------------------------------


def test_a_working_copy_has_all_notebooks_unpaired_and_touches_no_other(tmp_path, capsys):
    target = tmp_path / "copy"
    assert cli.main(["course", "start", str(target)]) == 0
    assert "next: jupyter lab" in capsys.readouterr().out
    stored = sorted((ROOT / "notebooks").rglob("[0-9]*.ipynb"))
    assert [path.relative_to(ROOT / "notebooks") for path in stored] == sorted(
        path.relative_to(target) for path in target.rglob("*.ipynb")
    )
    for path in target.rglob("*.ipynb"):
        copy, original = (
            json.loads(p.read_text()) for p in (path, ROOT / "notebooks" / path.relative_to(target))
        )
        assert "jupytext" not in copy["metadata"]
        assert [("".join(cell["source"]), cell.get("outputs")) for cell in copy["cells"]] == [
            (within("".join(cell["source"])), cell.get("outputs")) for cell in original["cells"]
        ]
    assert not [path for path in target.rglob("*.py") if path.name != "my_mvit.py"]
    assert not course.check_model(target / "exercises" / "my_mvit.py").finished


def test_every_link_in_a_working_copy_leads_to_a_file_in_it(tmp_path):
    target = tmp_path / "copy"
    folder.start(target)
    texts = {path: path.read_text() for path in target.rglob("*.md")} | {
        path: "".join(text for cell in json.loads(path.read_text())["cells"]
                      if cell["cell_type"] == "markdown" for text in cell["source"])
        for path in target.rglob("*.ipynb")
    }  # fmt: skip
    assert {path.name for path in texts} >= {"glossary.md", "notation.md"}
    for path, text in texts.items():
        for link in re.findall(r"\]\(([^)#:]+)\)|href=\"([^\"#:]+)\"", text):
            there = (path.parent / "".join(link)).resolve()
            assert there.is_file() and target.resolve() in there.parents, f"{path.name}: {link}"


def test_links_to_the_docs_lead_into_the_copy_or_are_words():
    assert within("[words](../docs/glossary.md)") == "[words](docs/glossary.md)"
    assert within("[words](../../docs/notation.md)") == "[words](../docs/notation.md)"
    assert within("see [`docs/costs.md`](../docs/costs.md).") == "see `docs/costs.md`."


def test_a_folder_that_holds_something_is_left_alone(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert cli.main(["course", "start", str(tmp_path)]) == 2
    assert "begins in an empty folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_folder_without_exercises_is_told(tmp_path, capsys):
    for action in ("check", "progress"):
        assert cli.main(["course", action, str(tmp_path / "nowhere")]) == 2
        assert "a working copy holds exercises" in capsys.readouterr().err


# -- graded ----------------------------------------------------------------------------------------

RIGHT = course.solution("03.softmax_backward")


def test_right_wrong_and_open_answers(tmp_path):
    head = "import numpy as np"
    right = graded(tmp_path, "03.softmax_backward", head, RIGHT)
    assert (right.points, right.state, right.likely) == (1, "correct", "")
    wrong = graded(
        tmp_path, "03.softmax_backward", head, "def softmax_backward(p, dp):\n    return p * dp"
    )
    assert (wrong.points, wrong.state) == (0, "not yet")
    assert wrong.likely.startswith("the mean term is missing") and "seed=3" in wrong.message
    stub = "def softmax_backward(p, dp):\n    mean = ...\n    return p * (dp - mean)"
    assert graded(tmp_path, "03.softmax_backward", stub).state == "nothing yet"


def test_calls_in_cells_do_not_run_and_a_broken_cell_harms_no_other(tmp_path):
    cells = ("%matplotlib inline\nimport numpy as np", "print(1 / 0)", "def broken(:", "x = 1 / 0")
    assert graded(tmp_path, "03.softmax_backward", *cells, RIGHT).points == 1


def test_a_solution_that_stands_in_is_no_answer(tmp_path):
    stand_in = "from mvit_np import course\nsoftmax = course.piece('03.softmax', 'my_mvit.py')"
    found = graded(tmp_path, "03.softmax", stand_in)
    assert (found.points, found.state) == (0, "nothing yet") and "course.piece" in found.message
    notebook(tmp_path / "03b_answers.ipynb", "import numpy as np\nfrom mvit_np import ops",
             course.solution("03.softmax"))  # fmt: skip
    assert grading.grade(tmp_path, ["03.softmax"], 3)[0].points == 1


def test_an_answer_in_the_reader_s_file_counts_too(tmp_path):
    (tmp_path / "my_mvit.py").write_text("import numpy as np\nfrom mvit_np import ops\n\n\n"
                                         + course.solution("03.softmax"))  # fmt: skip
    assert grading.grade(tmp_path, ["03.softmax"], 1)[0].points == 1
    assert grading.grade(tmp_path, ["03.attention"], 1)[0].state == "nothing yet"


@pytest.mark.parametrize(
    "lines, told",
    [
        ("import os\n    os._exit(0)", "ended by itself, with code 0"),
        ("import sys\n    sys.exit(7)", "SystemExit: 7"),
        ("import os, signal\n    os.kill(os.getpid(), signal.SIGSEGV)", "ended by itself"),
        ("return bytearray(1 << 40)", "MemoryError"),
        ("return input()", "EOFError"),
        ("return softmax(x)", "RecursionError"),
        ("raise KeyboardInterrupt", "ended by itself"),
        ("print('y' * 10_000_000)", "returns None"),
    ],
)
def test_whatever_a_student_s_function_does_the_others_are_graded(tmp_path, lines, told):
    bad = f"def softmax(x):\n    {lines}"
    notebook(tmp_path / "03_answers.ipynb", "import numpy as np", bad, RIGHT)
    first, second = grading.grade(tmp_path, ["03.softmax", "03.softmax_backward"], 3)
    assert first.points == 0 and told in first.message
    assert second.points == 1


def test_an_endless_answer_is_stopped_with_what_it_started(tmp_path):
    start = time.perf_counter()
    found = graded(
        tmp_path, "03.softmax", "def softmax(x):\n    while True:\n        pass", seconds=1.0
    )
    assert found.state == "stopped" and "it was not done after 1 s" in found.message
    assert time.perf_counter() - start < 20


@pytest.mark.parametrize(
    "text", ["while True: pass", "raise SystemExit", "def softmax(x): return (", "\x00", ""]
)
def test_files_that_cannot_be_run(tmp_path, text):
    (tmp_path / "my_mvit.py").write_text(text)
    (tmp_path / "03_answers.ipynb").write_text(text)
    found = grading.grade(tmp_path, ["03.softmax"], 3, 1.0)[0]
    assert found.points == 0 and found.message


# -- the command -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_from_zero_to_all_points(tmp_path, capsys):
    target = tmp_path / "copy"
    assert cli.main(["course", "start", str(target)]) == 0
    capsys.readouterr()
    assert cli.main(["course", "check", str(target), "--json", "--seed", "5"]) == 1
    before = json.loads(capsys.readouterr().out)
    assert before["points"] == 0 and before["of"] == len(course.names()) + 1
    assert {each["state"] for each in before["grades"]} == {"nothing yet"}

    written_in(target / "exercises")
    table = tmp_path / "grades.csv"
    assert cli.main(["course", "check", str(target), "--csv", str(table)]) == 0
    assert f"{before['of']} of {before['of']} points" in capsys.readouterr().out
    rows = list(csv.DictReader(table.open()))
    assert [row["exercise"] for row in rows] == [*course.names(), "my_mvit"]
    assert {row["points"] for row in rows} == {"1"}
    assert [row["level"] for row in rows][:3] == ["fill in", "specification", "specification"]

    assert cli.main(["course", "progress", str(target)]) == 0
    shown = capsys.readouterr().out
    of = len(course.names("03"))
    assert f"03       {of} of {of}  {'#' * of}" in shown and "all is done" in shown
    assert "fill in 3/3, specification 1/1, investigate 1/1" in shown


def test_a_table_that_is_not_ours_is_left_alone(tmp_path, capsys):
    table = tmp_path / "grades.csv"
    table.write_text("mine")
    assert cli.main(["course", "check", str(tmp_path), "--csv", str(table)]) == 2
    assert "is there already" in capsys.readouterr().err and table.read_text() == "mine"
