"""Levels of exercises, exercises of one's own, and working copies without solutions."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

from mvit_np import cli, course
from mvit_np.course import withholding

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks" / "exercises").glob("[0-9]*.py"))
CHAPTERS = sorted({name[:2] for name in course.names()})
SOFTMAX = course.exercise("03.softmax")


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch):
    """What a test adds is gone after it, and no variable of the environment has a say."""
    monkeypatch.setattr(course, "_ALL", dict(course._ALL))
    monkeypatch.delenv(withholding.VARIABLE, raising=False)


# -- counts ----------------------------------------------------------------------------------------


def test_levels_are_three_and_every_exercise_has_one():
    assert course.LEVELS == ("fill in", "specification", "investigate")
    by_level = [course.names(level=level) for level in course.LEVELS]
    assert sorted(sum(by_level, [])) == sorted(course.names())
    with pytest.raises(ValueError, match="the levels are fill in"):
        course.names(level="hard")
    with pytest.raises(ValueError, match="a level is one of fill in"):
        dataclasses.replace(SOFTMAX, level="hard")


def test_the_course_has_45_exercises_or_more_and_each_chapter_all_levels():
    assert len(course.names()) >= 45
    for chapter in CHAPTERS:
        assert all(course.names(chapter, level) for level in course.LEVELS), chapter


def test_each_has_three_typical_mistakes_or_more():
    counts = {
        name: len({message for message, _ in course.exercise(name).mistakes})
        for name in course.names()
    }
    assert min(counts.values()) >= 3, counts


def test_an_investigation_says_what_was_found():
    for name in course.names(level="investigate"):
        each = course.exercise(name)
        assert each.finding.endswith(".")
        assert f"for comparison: {each.finding}" in str(course.check(name, each.solution))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_headings_show_the_level_and_no_formula_where_it_is_to_be_found(path):
    parts = re.split(r"^# ## (\d\d\.\w+)(.*)$", path.read_text(), flags=re.MULTILINE)
    names, rests, texts = parts[1::3], parts[2::3], parts[3::3]
    assert set(names) <= set(course.names(path.stem[:2]))
    for name, rest, text in zip(names, rests, texts):
        level = course.exercise(name).level
        assert rest == f" ({level})"
        if level == "specification":
            above = text.partition("\ndef ")[0]
            assert "*Specification.*" in above and "$$" not in above
            assert "return ...  # your lines" in text or "  # your line" in text


# -- one's own -------------------------------------------------------------------------------------


def double(x):
    """Twice as much.   x: (N,)   ->   (N,)   Hint: add x to itself."""
    return x + x


DOUBLE = course.Exercise(
    double,
    lambda x: 2 * x,
    lambda rng: [(rng.standard_normal(3),), (rng.standard_normal(5),)],
    (
        ("it is the square: twice is wanted", lambda x: x * x),
        ("nothing was done", lambda x: x.copy()),
        ("it is half", lambda x: x / 2),
    ),
    level="specification",
)


def test_an_exercise_of_ones_own_is_one_of_the_others():
    course.add("12.double", DOUBLE)
    assert course.names("12") == ["12.double"]
    assert course.statement("12.double").startswith("12.double (specification)\n\ndouble(x)")
    assert course.check("12.double", lambda x: 2 * x)
    assert course.check("12.double", lambda x: x * x).likely == "it is the square: twice is wanted"


@pytest.mark.parametrize(
    "name, change, told",
    [
        ("12.other", {}, "a name is two digits, a point, and the solution's name"),
        ("double", {}, "such as 12.double; came 'double'"),
        ("12.double", {"mistakes": DOUBLE.mistakes[:2]}, "3 typical mistakes at least; .* knows 2"),
        ("12.double", {"reference": lambda x: 3 * x}, "its own solution does not pass"),
        (
            "12.double",
            {"mistakes": (*DOUBLE.mistakes, ("none", lambda x: x * 2))},
            "this one passes, 'none'",
        ),
    ],
)
def test_an_exercise_that_could_not_be_checked_is_refused(name, change, told):
    with pytest.raises(ValueError, match=told):
        course.add(name, dataclasses.replace(DOUBLE, **change))
    assert not course.names("12")


def test_a_name_that_is_taken_or_something_else_is_refused():
    with pytest.raises(ValueError, match="there is an exercise 03.softmax already"):
        course.add("03.softmax", SOFTMAX)
    with pytest.raises(ValueError, match="an exercise is a course.Exercise; function came"):
        course.add("12.double", double)


def documented():
    """The example of docs/api_checks.md."""
    text = (ROOT / "docs" / "api_checks.md").read_text()
    return re.search(r"```python\n(import mvit_np as mv\n.*?)```", text, re.DOTALL)[1]


def test_a_teacher_s_file_adds_exercises_to_the_grades(tmp_path, capsys):
    own, copy = tmp_path / "own.py", tmp_path / "copy"
    own.write_text(documented())
    answer = "def count_tokens(thw):\n    return sum(thw)"
    cell = {"cell_type": "code", "source": [answer]}
    copy.mkdir()
    (copy / "12_own.ipynb").write_text(json.dumps({"cells": [cell], "metadata": {}}))
    course.add("12.double", DOUBLE)
    for name in course.names():
        if not name.startswith("12"):
            del course._ALL[name]
    del course._ALL["12.double"]
    assert cli.main(["course", "check", str(copy), "--json", "--exercises", str(own)]) == 1
    grade = json.loads(capsys.readouterr().out)["grades"][0]
    assert grade["exercise"] == "12.count_tokens" and grade["level"] == "specification"
    assert grade["likely"] == "the three lengths are added: multiply them"


def test_a_teacher_s_file_that_stops_is_told(tmp_path, capsys):
    own = tmp_path / "own.py"
    own.write_text("1 / 0")
    assert cli.main(["course", "progress", str(tmp_path), "--exercises", str(own)]) == 2
    assert "is to add exercises, and stops with ZeroDivisionError" in capsys.readouterr().err


# -- a judge ---------------------------------------------------------------------------------------


def judged(value, expected, limit):
    if not isinstance(value, int):
        return f"a whole number is asked for: {type(value).__name__} came"
    if value % 2:
        return f"the number is even: {value} came"
    return (
        "" if value < limit else f"the number is below the limit: {value} came, not below {limit}"
    )


def even_number(limit):
    """Any even number below a limit.   limit: one whole number   ->   one   Hint: 0 is even."""
    return 0


EVEN = course.Exercise(
    even_number,
    lambda limit: 0,
    lambda rng: [(int(n),) for n in rng.integers(5, 50, 3)],
    (
        ("the number is odd", lambda limit: 1),
        ("the limit itself is not below it", lambda limit: limit + limit % 2),
        ("a quotient is no whole number: divide with //", lambda limit: limit / 2),
    ),
    level="investigate",
    judge=judged,
    finding="0 serves for every limit.",
)


def test_a_judge_accepts_every_right_answer_and_names_a_broken_rule():
    course.add("12.even_number", EVEN)
    assert course.check("12.even_number", lambda limit: limit - 1 - (limit - 1) % 2)
    odd = course.check("12.even_number", lambda limit: 3)
    assert odd.likely == "the number is odd" and "  the number is even: 3 came" in str(odd)
    high = course.check("12.even_number", lambda limit: 100)
    assert high.likely == "the limit itself is not below it"
    for value in ("text", np.ones(3), [], 1j, {}):
        result = course.check("12.even_number", lambda limit, value=value: value)
        assert not result and "a whole number is asked for" in str(result)


def test_a_judge_that_stops_refuses_the_answer_in_a_sentence():
    broken = dataclasses.replace(
        EVEN, judge=lambda value, expected, limit: "" if value < 1 else "no"
    )
    course._ALL["12.even_number"] = broken
    said = str(course.check("12.even_number", lambda limit: "text"))
    assert "the result is not what the statement asks for: str came, of which TypeError" in said


# -- withheld --------------------------------------------------------------------------------------


def test_a_copy_without_solutions(tmp_path, capsys, monkeypatch):
    target = tmp_path / "copy"
    assert cli.main(["course", "start", str(target), "--no-solutions"]) == 0
    for path in target.rglob("*.ipynb"):
        assert "<summary>Solution" not in path.read_text()
    stored = [json.loads(path.with_suffix(".ipynb").read_text())["cells"] for path in NOTEBOOKS]
    copied = [
        json.loads((target / "exercises" / f"{path.stem}.ipynb").read_text())["cells"]
        for path in NOTEBOOKS
    ]
    for before, after in zip(stored, copied):
        assert [c["source"] for c in after if c["cell_type"] == "code"] == [
            c["source"] for c in before if c["cell_type"] == "code"
        ]
        assert all(cell["source"] for cell in after if cell["cell_type"] == "markdown")

    monkeypatch.chdir(target / "exercises")
    assert course.solution("03.softmax").startswith("# 03.softmax: the solutions are withheld here")
    refused = str(course.check("03.softmax", lambda x: x, hints=4))
    assert "the solutions are withheld here" in refused and "def softmax" not in refused
    assert "hints=4" not in str(course.check("03.softmax", lambda x: x, hints=3))
    (target / withholding.MARKER).unlink()
    assert course.solution("03.softmax").startswith("def softmax")


def test_the_environment_withholds_them_too(monkeypatch):
    monkeypatch.setenv(withholding.VARIABLE, "no")
    assert course.solution("03.softmax").startswith("# 03.softmax: the solutions are withheld")
    assert course.check("03.softmax", SOFTMAX.solution)
    monkeypatch.setenv(withholding.VARIABLE, "perhaps")
    with pytest.raises(ValueError, match='is "yes", "no" or nothing'):
        course.solution("03.softmax")
