"""The cells of a text file, whatever separates them: tabs, commas, semicolons or blanks."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from .media import is_media

SEPARATORS = "\t,; "  # the first that fits is taken, if the files do not say otherwise
SAMPLE = 50  # rows whose files are looked for
Rows: TypeAlias = list[tuple[int, list[str]]]  # (number of the row, its cells)


def text_of(path: Path) -> str:
    """The text of a list. Raises FileNotFoundError, or ValueError where it is no text in UTF-8."""
    if not path.is_file():
        raise FileNotFoundError(
            f"a list of films is a text file, and there is none at {path}: check the path"
        )
    if is_media(path):
        raise ValueError(
            f"films are in folders of classes or named in a list; {path} is a film or picture "
            "itself: give the folder above its class's, or a list"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as problem:
        raise ValueError(f"{path} is not text in UTF-8 ({problem}): save it as such") from None
    if "\0" in text:
        raise ValueError(f"{path} is not text in UTF-8 (it contains NUL): save it as such")
    return text


def rows_of(text: str, separator: str) -> Rows:
    """The rows in which there is something. Cells may be in double quotes. Raises csv.Error."""
    return [(n, [cell.strip() for cell in line]) for n, line in _cells(text, separator)]


def _cells(text, separator):
    lines = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=separator == " ")
    return [(n, line) for n, line in enumerate(lines, 1) if any(map(str.strip, line))]


def path_and_label(
    text: str, path: Path, is_there: Callable[[str], bool]
) -> list[tuple[int, str, str]]:
    """(number, path, label) of each row of a list without titles: the label is the last column.

    Of the separators that every row has, the one that leads to most files is taken, where quotes
    are of the list, or else where they are of the names. A row that is a path alone is of the class
    that its folder is called after. Raises ValueError for a row that is none.
    """
    found = [list(_pairs(text, separator)) for separator in SEPARATORS]
    found += [list(_pairs_without_quotes(text, separator)) for separator in SEPARATORS]
    whole = [rows for rows in found if all(len(row) == 3 for row in rows)]
    alone = [(n, line.strip(), Path(line).parent.name) for n, line in _lines(text)]
    if not whole and all(label for *_, label in alone) and _count(alone, is_there):
        return alone
    if not whole:
        _refuse(max(found, key=lambda rows: sum(len(row) == 3 for row in rows)), path)
    best = max(whole, key=lambda rows: _count(rows, is_there))
    return alone if _count(alone, is_there) > _count(best, is_there) else best


def _lines(text: str) -> Iterator[tuple[int, str]]:
    yield from ((n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip())


def _pairs(text, separator):
    """(number, path, label) of each row, or (number, cell) of one that has no such separator."""
    if separator == " ":
        for number, line in _lines(text):
            *film, label = _words(line)
            yield (number, " ".join(film).strip(), label) if film else (number, label)
        return
    for number, (*film, label) in _cells(text, separator):
        cells = (separator.join(film).strip(), label.strip())
        yield (number, *cells) if film else (number, cells[1])


def _pairs_without_quotes(text, separator):
    for number, line in _lines(text):
        film, found, label = line.strip().rpartition(separator)
        yield (number, film.strip(), label.strip()) if found else (number, line)


def _words(line):
    """The last word of a line and what is before it; cells in quotes are whole."""
    if '"' not in line:
        return line.rsplit(None, 1)
    return next(csv.reader([line.strip()], delimiter=" ", skipinitialspace=True))


def _count(rows, is_there):
    return sum(is_there(film) for _, film, _ in rows[:SAMPLE])


def _refuse(rows, path):
    number = next(row[0] for row in rows if len(row) < 3)
    raise ValueError(
        f"row {number} of {path} has 1 column instead of 2: write path,label (or path label)"
    )
