"""Films with a label each from a list, as people and other programs write them.

a.mp4 3                      SlowFast, PyTorchVideo, MMAction2: blank, comma, tab, semicolon
film_1 163 3                 MMAction2's folders of frames, with the number of frames
film_1 12 163 3              and of parts of them, with the first frame and the number
path,label,start,end         titles in any order among others; seconds, or 1:02.5
label,youtube_id,time_start,time_end,split        Kinetics' own
"""

from __future__ import annotations

import csv
from os.path import exists, isdir  # say no where pathlib fails, as of names that are too long
from pathlib import Path
from typing import TypeAlias

from ..backend.plain_text import are, many, plain, some
from .film_part import WHOLE
from .media import files_in, is_media
from .separators import SEPARATORS, path_and_label, rows_of, text_of

Row: TypeAlias = tuple[Path, str, float, float]  # path, label, start and end in seconds
TITLED = ["path", "label"]
# Titles of columns, in small letters with _ for what separates words.
TITLES = {
    "path": "path file filename file_name filepath file_path video video_path video_name".split(),
    "id": "youtube_id youtube_identifier video_id".split(),
    "label": "label label_name class class_name class_label category action".split(),
    "start": "start start_s start_time time_start".split(),
    "end": "end end_s end_time time_end".split(),
    "split": "split subset".split(),
}


def rows_of_list(
    path: Path, root: Path | None = None, frame_rate: float = 30
) -> tuple[list[Row], list[str]]:  # fmt: skip
    """The rows whose films are there.   -> [(path, label, start, end)], [sentence about the rest]

    root         the folder that relative paths start from; None: the list's own
    frame_rate   frames per second of folders of frames

    Raises FileNotFoundError for a missing list or root and where none of the films is there,
    ValueError for what is no list.
    """
    root = path.parent if root is None else root
    if not root.is_dir():
        raise FileNotFoundError(
            f"relative paths start from a folder, and there is none at {root}: check data_root"
        )
    try:
        rows, notes = _rows(path, text_of(path), root, frame_rate)
    except csv.Error as problem:
        raise ValueError(f"{path} is not a list of films ({problem}): correct it") from None
    there = [(film, label, start, end) for *_, label, (film, start, end) in rows if film]
    gone = [(number, name, label) for number, name, label, (film, *_) in rows if not film]
    return there, [*notes, *_notes_on_absent(gone, there, len(rows), path, root)]


def _rows(path, text, root, frame_rate):
    """-> [(number, film as the list calls it, label, (path or None, start, end))], [sentence]"""
    first = next((line for line in text.splitlines() if line.strip()), "")
    for separator in SEPARATORS:
        titles = [cell for _, cells in rows_of(first, separator) for cell in cells]
        columns = _columns(titles)
        if "label" in columns and {"path", "id"} & columns.keys():
            titled = rows_of(text, separator)[1:]
            _check_rows(titled, titles, separator, path)
            return _by_titles(titled, columns, path, root)
    if not first:
        _check_rows([], TITLED, ",", path)

    def film(name):
        return _film(root, name, frame_rate)

    rows = path_and_label(text, path, lambda name: film(name)[0] is not None)
    for number, name, label in rows:
        _check_filled(f"row {number} of {path}", name, label)
    return [(number, name, label, film(name)) for number, name, label in rows], []


def _film(root, name, frame_rate):
    """(path, start, end) of what a list calls a film; (None, ...) where it is not there."""
    path = str(root / name)
    if not name:
        return None, *WHOLE
    if not exists(path) and exists(path.replace("\\", "/")):  # as Windows writes it
        path = path.replace("\\", "/")
    if exists(path):
        return Path(path), *WHOLE
    folder, *numbers = name.rsplit(None, 2)
    if len(numbers) == 2 and all(map(str.isdecimal, numbers)) and isdir(root / folder):
        first, count = map(int, numbers)
        return root / folder, first / frame_rate, (first + count) / frame_rate
    folder, *numbers = name.rsplit(None, 1)
    if numbers and numbers[0].isdecimal() and isdir(root / folder):
        return root / folder, *WHOLE
    return None, *WHOLE


# -- titles ----------------------------------------------------------------------------------------


def _columns(titles):
    """{kind of TITLES: index of its column}"""
    plain_titles = [title.lower().replace(" ", "_").replace("-", "_") for title in titles]
    found = {
        kind: [plain_titles.index(name) for name in names if name in plain_titles]
        for kind, names in TITLES.items()
    }
    return {kind: places[0] for kind, places in found.items() if places}


def _by_titles(rows, columns, path, root):
    """As `_rows`, of a list that begins with titles."""
    films = _by_stem(root) if "path" not in columns else {}
    found, parts = [], set()
    for number, cells in rows:
        where = f"row {number} of {path}"
        row = {kind: cells[place] for kind, place in columns.items()}
        name = row["path"] if "path" in row else row["id"]
        _check_filled(where, name, row["label"])
        start, end = (_seconds(where, kind, row.get(kind, "")) for kind in ("start", "end"))
        span = (start or 0.0, WHOLE[1] if end is None else end)
        if not 0 <= span[0] < span[1]:
            raise ValueError(
                f"a part of a film ends after it begins; {where} goes from {span[0]:g} to "
                f"{span[1]:g} s: correct it"
            )
        if "path" in row:
            film = (_film(root, name, 1)[0], *span)
        else:
            film = _by_id(films, name, *span)
        parts.add(row.get("split"))
        found.append((number, name, row["label"], film))
    several = f"{plain(path)} has rows of several parts ({some(sorted(parts - {None}))}), and all "
    note = f"{several}are taken: make a list of each" if len(parts) > 1 else ""
    return found, [note] if note else []


def _by_stem(root):
    """{name without its ending: path} of all films in a folder and further in."""
    return {path.stem: path for path in reversed(files_in(root)) if is_media(path)}


def _by_id(films, name, start, end):
    """A film of Kinetics: cut out already, ID_000012_000022, or whole, ID, where its part is."""
    if end < WHOLE[1] and (cut := films.get(f"{name}_{int(start):06d}_{int(end):06d}")):
        return cut, *WHOLE
    return films.get(name), start, end


def _seconds(where, kind, text):
    """12.5 or 1:02.5 -> seconds; None for nothing."""
    try:
        parts = [float(part) for part in text.split(":")] if text else []
        found = sum(part * 60**k for k, part in enumerate(reversed(parts))) if parts else None
        if found is None or 0 <= found < WHOLE[1]:
            return found
    except ValueError:
        pass
    raise ValueError(f"seconds are numbers >= 0; {where} has the {kind} {text!r}: correct it")


# -- what is wrong, and what is not there ----------------------------------------------------------


def _check_rows(rows, titles, separator, path):
    if not rows:
        raise ValueError(
            f"a list of films has at least one row, path,label; {path} has none: fill it in"
        )
    for number, cells in rows:
        if len(cells) != len(titles):
            raise ValueError(
                f"row {number} of {path} has {len(cells)} columns instead of {len(titles)}: "
                f"write {separator.join(titles)}"
            )


def _check_filled(where, film, label):
    if not film or not label:
        raise ValueError(f"{where} has an empty {'label' if film else 'path'}: fill it in")


def _notes_on_absent(gone, there, rows, path, root):
    """Sentences about films that are not there. Raises FileNotFoundError where none is."""
    if not gone:
        return []
    such = f"such as {plain(gone[0][1])} in row {gone[0][0]}"
    if not there:
        raise FileNotFoundError(
            f"a list names films, and none that {path} names is there, {such}: correct the paths "
            f"(relative ones start from {root}, unless --data_root names another folder; "
            "a first row of titles is path,label)"
        )
    notes = [
        f"{len(gone)} of the {rows} files of {plain(path)} {are(gone)} not there "
        f"and left out, {such}"
    ]
    if lost := sorted({label for *_, label in gone} - {label for _, label, *_ in there}):
        notes.append(
            f"{many(lost, 'label')} of {plain(path)} {are(lost)} no class, as no file is there: "
            f"{some(lost)}"
        )
    return notes
