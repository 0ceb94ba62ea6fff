"""Films and pictures with a label each, from folders of classes or a CSV file; what is left out."""

from __future__ import annotations

import csv
from os.path import isfile  # says no where pathlib fails, as of names that are too long
from pathlib import Path

from ..backend.plain_text import are, plain, some
from .media import files_in, is_data, is_media

HEADER = ["path", "label"]
# How the halves of a data set are called: folders of these names are no classes where the classes'
# folders are inside them.
PARTS = {"train", "training", "val", "valid", "validation", "dev", "eval"}
PARTS |= {"test", "tests", "testing"}


def rows_of_folder(folder: Path) -> tuple[list[tuple[Path, str]], list[str]]:
    """The films and pictures in folder/class name/ and further in.

    -> [(path, name of its class)], [sentence about the rest]

    Classes in order of their names (of numbers: by their size), files in order of theirs. Raises
    FileNotFoundError or ValueError where there are no such folders or none of them holds a film.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"films come from a folder, and there is none at {folder}: check the path"
        )
    beside = [path for path in sorted(folder.iterdir()) if is_data(path)]
    folders = [path for path in beside if path.is_dir()]
    if not folders:
        remedy = f"put films into {folder}/class_name/, or list them in a CSV file"
        raise ValueError(f"{folder} holds no class's folder: {remedy}")
    files = {path: files_in(path) for path in folders}
    films = {path: [file for file in found if is_media(file)] for path, found in files.items()}
    full = [path for path in folders if films[path]]
    if not full:
        came = "folders, but no film or picture in them by its ending"
        raise ValueError(f"{folder} holds {came}: put some into them")
    _check_parts(folder, full, films)
    if all(path.name.isdecimal() for path in full):
        full.sort(key=lambda path: int(path.name))
    others = [path for path in beside if not path.is_dir()]
    others += [file for path in folders for file in files[path]]
    rows = [(film, path.name) for path in full for film in films[path]]
    return rows, _left_out(folder, folders, full, others)


def rows_of_csv(path: Path) -> tuple[list[tuple[Path, str]], list[str]]:
    """The rows whose files are there.   -> [(path, label)], [sentence about the rest]

    Raises FileNotFoundError for a missing table and where none of its files is there, ValueError
    for what is no table.
    """
    lines, titles = _lines(path)
    rows = [(number, *_row(f"row {number} of {path}", line, titles)) for number, line in lines]
    absent = [not isfile(path.parent / film) for _, film, _ in rows]
    there = [
        (path.parent / film, label) for (_, film, label), gone in zip(rows, absent) if not gone
    ]
    gone = [row for row, gone in zip(rows, absent) if gone]
    if not gone:
        return there, []
    such = f"such as {plain(gone[0][1])} in row {gone[0][0]}"
    if not there:
        raise FileNotFoundError(
            f"a table names files, and none that {path} names is there, {such}: correct the paths "
            f"(relative ones start from {path.parent}; a first row of titles is path,label)"
        )
    lost = sorted({label for *_, label in gone} - {label for _, label in there})
    notes = [
        f"{len(gone)} of the {len(rows)} files of {plain(path)} {are(gone)} not there "
        f"and left out, {such}"
    ]
    if lost:
        notes.append(
            f"{_many(lost, 'label')} of {plain(path)} {are(lost)} no class, as no file is there: "
            f"{some(lost)}"
        )
    return there, notes


# -- folders ---------------------------------------------------------------------------------------


def _check_parts(folder, full, films):
    """Raise ValueError where folders are the parts of a data set, with the classes' inside."""
    nested = any(film.parent != path for path in full for film in films[path])
    if not nested or not all(path.name.lower() in PARTS for path in full):
        return
    learn = next((path for path in full if path.name.lower().startswith("train")), full[0])
    tests = [path for path in full if path != learn]
    held = " and ".join(path.name for path in full)
    also = f" --tests {tests[0]}" if tests else ""
    raise ValueError(
        f"a data set's folders are its classes; {folder} holds {held}, "
        f"with the classes inside: give --data {learn}{also}"
    )


def _left_out(folder, folders, full, others):
    """Sentences about folders without films, films that are in none, and other files."""
    empty = [path.name for path in folders if path not in full]
    loose = [path for path in others if path.parent == folder and is_media(path)]
    others = [path for path in others if not is_media(path)]
    parents, notes, where = {path.parent for path in others}, [], plain(folder)
    if empty:
        notes.append(
            f"{_many(empty, 'folder')} of {where} {are(empty)} no class, as no film or picture is "
            f"there: {some(empty)}"
        )
    if loose:
        notes.append(
            f"{_many(loose, 'film or picture', 'films or pictures')} of {where} {are(loose)} in no "
            f"class's folder and left out, such as {plain(loose[0].name)}"
        )
    if others:
        notes.append(
            f"{_many(others, 'file')} in {_many(parents, 'folder')} of {where} {are(others)} "
            "neither film nor picture by the ending and left out, "
            f"such as {plain(others[0].relative_to(folder))}"
        )
    return notes


# -- tables ----------------------------------------------------------------------------------------


def _lines(path):
    """-> [(number, columns)] of the rows below the titles, titles"""
    if not path.is_file():
        raise FileNotFoundError(
            f"a table comes from a CSV file, and there is none at {path}: check the path"
        )
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(_without_nuls(file))
            lines = [(i, line) for i, line in enumerate(rows, 1) if any(map(str.strip, line))]
    except (UnicodeDecodeError, csv.Error) as problem:
        raise ValueError(
            f"{path} is not text in UTF-8 with commas ({problem}): save it as such"
        ) from None
    titles = [title.strip().lower() for title in lines[0][1]] if lines else []
    if set(HEADER) <= set(titles):
        lines = lines[1:]
    else:
        titles = HEADER
    if not lines:
        raise ValueError(
            f"a table of films has at least one row, path,label; {path} has none: fill it in"
        )
    return lines, titles


def _without_nuls(lines):
    """The same lines. Raises csv.Error at a NUL, as Python 3.10 does and later ones do not."""
    for line in lines:
        if "\0" in line:
            raise csv.Error("line contains NUL")
        yield line


def _row(where, line, titles):
    """One line of a CSV file -> path, label"""
    if len(line) != len(titles):
        raise ValueError(
            f"{where} has {len(line)} columns instead of {len(titles)}: write {','.join(titles)}"
        )
    film, label = (line[titles.index(title)].strip() for title in HEADER)
    if not film or not label:
        raise ValueError(f"{where} has an empty {'label' if film else 'path'}: fill it in")
    return film, label


# -- words -----------------------------------------------------------------------------------------


def _many(things, one, more=None):
    return f"{len(things)} {one if len(things) == 1 else more or one + 's'}"
