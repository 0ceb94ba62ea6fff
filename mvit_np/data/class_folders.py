"""Films and pictures with a label each, from a folder of classes; what is left out."""

from __future__ import annotations

from pathlib import Path

from ..backend.plain_text import are, many, plain, some
from .frame_folders import with_films_of_frames
from .media import files_in, is_data, is_media

# How the halves of a data set are called: folders of these names are no classes where the classes'
# folders are inside them.
PARTS = {"train", "training", "val", "valid", "validation", "dev", "eval"}
PARTS |= {"test", "tests", "testing"}


def rows_of_folder(
    folder: Path, stills: bool = False
) -> tuple[list[tuple[Path, str]], list[str]]:  # fmt: skip
    """The films and pictures in folder/class name/ and further in.

    -> [(path, name of its class)], [sentence about the rest]

    stills   a picture is an example; else a folder of numbered ones inside a class's is a film

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
        remedy = f"put films into {folder}/class_name/, or list them in a text file"
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
    if not stills:
        films = {path: with_films_of_frames(films[path], path) for path in full}
    rows = [(film, path.name) for path in full for film in films[path]]
    return rows, _left_out(folder, folders, full, others)


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
            f"{many(empty, 'folder')} of {where} {are(empty)} no class, as no film or picture is "
            f"there: {some(empty)}"
        )
    if loose:
        notes.append(
            f"{many(loose, 'film or picture', 'films or pictures')} of {where} {are(loose)} in no "
            f"class's folder and left out, such as {plain(loose[0].name)}"
        )
    if others:
        notes.append(
            f"{many(others, 'file')} in {many(parents, 'folder')} of {where} {are(others)} "
            "neither film nor picture by the ending and left out, "
            f"such as {plain(others[0].relative_to(folder))}"
        )
    return notes
