"""The notebooks: stored as written, run from top to bottom, and built as they promise."""

import re
import sys
from pathlib import Path

import pytest

jupytext = pytest.importorskip(
    "jupytext", reason="needs jupytext, nbclient and ipykernel: pip install '.[notebooks]'"
)
pytest.importorskip(
    "nbclient", reason="needs jupytext, nbclient and ipykernel: pip install '.[notebooks]'"
)

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
sys.path.insert(0, str(NOTEBOOKS))
import refresh  # noqa: E402

sys.path.pop(0)
LESSONS = sorted(NOTEBOOKS.glob("[0-9]*.py"))
ALL = refresh.sources()


def named(path):
    return path.relative_to(NOTEBOOKS).with_suffix("").as_posix()


every = pytest.mark.parametrize("path", ALL, ids=named)
every_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


def cells(path, kind):
    return [cell for cell in jupytext.read(path).cells if cell.cell_type == kind]


def text(path, kind="markdown"):
    return "\n".join(cell.source for cell in cells(path, kind))


SHORT = {"00b_arrays"}
RUNS = [
    pytest.param(path, marks=[] if named(path) in SHORT else [pytest.mark.slow]) for path in ALL
]


@pytest.mark.parametrize("path", RUNS, ids=named)
def test_it_runs_from_top_to_bottom(path):
    assert all(
        cell.execution_count
        for cell in refresh.executed(path).cells
        if cell.cell_type == "code" and cell.source
    )


@every
def test_what_is_stored_is_what_is_written(path):
    """python notebooks/refresh.py makes it so."""
    written, stored = (jupytext.read(p).cells for p in (path, path.with_suffix(".ipynb")))
    assert [(cell.cell_type, cell.source) for cell in written] == [
        (cell.cell_type, cell.source) for cell in stored
    ]
    outputs = [out for cell in stored for out in cell.get("outputs", ())]
    assert outputs and not any(out.output_type == "error" for out in outputs)
    assert path.with_suffix(".ipynb").stat().st_size < 1_000_000


@every_lesson
def test_the_package_s_text_is_shown_as_it_is(path):
    """Where it changed, python notebooks/refresh.py shows the new one."""
    package = "\n".join(file.read_text() for file in (NOTEBOOKS.parent / "mvit_np").rglob("*.py"))
    for cell in jupytext.read(path.with_suffix(".ipynb")).cells:
        if "getsource" in cell.source:
            functions = re.split(r"\n{3,}", cell.outputs[0].text.strip())
            assert all(function in package for function in functions), cell.source


@every
def test_frames_of_films_are_not_stored(path):
    for cell in jupytext.read(path.with_suffix(".ipynb")).cells:
        if "film" in cell.metadata.get("tags", ()):
            assert not any(map(refresh.is_picture, cell.outputs))


@every
def test_cells_are_short(path):
    assert max(len(cell.source.splitlines()) for cell in cells(path, "code")) < 20


@every_lesson
def test_a_lesson_asks_says_shows_and_ends_with_what_was_learned(path):
    prose, code = text(path), cells(path, "code")
    assert re.match(rf"# {path.stem.partition('_')[0]}\b", prose) and "uestion" in prose
    assert "$$" in prose and prose.count("<details>") >= 2
    assert "assert" in code[-1].source
    stored = jupytext.read(path.with_suffix(".ipynb")).cells
    assert any(refresh.is_picture(out) for cell in stored for out in cell.get("outputs", ()))


def test_every_stored_notebook_has_a_source():
    stored = {p.relative_to(NOTEBOOKS).with_suffix("") for p in NOTEBOOKS.rglob("[0-9]*.ipynb")}
    assert stored == {p.relative_to(NOTEBOOKS).with_suffix("") for p in ALL}
