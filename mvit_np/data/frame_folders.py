"""A film that comes as a folder of pictures, a frame each: `film/img_00001.jpg` and so on."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from ..backend.types import FilePath
from .media import is_data, is_media, is_picture

NUMBER = re.compile(r"\d+(?=\D*$)")  # the last one of a name
FLOW = "flow"  # how optical flow is called, which MMAction2's tools put beside the frames


def frames_in(folder: FilePath) -> list[Path]:
    """The pictures of a film, by their numbers.

    Raises FileNotFoundError where there is no such folder, ValueError where it holds no row of
    numbered pictures.
    """
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"frames come from a folder, and there is none at {folder}: check the path"
        ) from None
    found = ordered(Path(folder, name) for name in names)
    if not found:
        raise ValueError(
            "a folder of frames holds pictures that are called alike but for a number; "
            f"{folder} does not: rename them, as to img_00001.jpg"
        )
    return found


def ordered(paths: Iterable[Path]) -> list[Path]:
    """The files of a folder as the frames of a film, by their numbers; [] where they are none.

    They are at least two pictures, called alike but for the last number in the name (of any
    width), and no film lies among them. Other files and pictures of optical flow do not count.
    """
    media = [path for path in paths if is_data(path) and is_media(path)]
    media = [path for path in media if not path.name.startswith(FLOW)]
    numbers = [NUMBER.search(path.stem) for path in media]
    if len(media) < 2 or not all(map(is_picture, media)) or not all(numbers):
        return []
    stems = {(path.stem[: n.start()], path.stem[n.end() :]) for path, n in zip(media, numbers) if n}
    by_number = {int(n.group()): path for path, n in zip(media, numbers) if n}
    if len(stems) > 1 or len(by_number) < len(media):
        return []
    return [by_number[number] for number in sorted(by_number)]


def with_films_of_frames(media: list[Path], of_class: Path) -> list[Path]:
    """The files of a class with a folder of frames in place of its pictures.

    Pictures that lie directly in the class's own folder are no film, however they are called.
    """
    inside: dict[Path, list[Path]] = {}
    for path in media:
        inside.setdefault(path.parent, []).append(path)
    found = [
        [folder] if folder != of_class and ordered(files) else files
        for folder, files in inside.items()
    ]
    return sorted(chain(*found))


def size_of(path: FilePath) -> int:
    """The bytes of a file, or of all frames of a folder. Raises OSError, or as `frames_in`."""
    files = frames_in(path) if os.path.isdir(path) else [path]
    return sum(os.path.getsize(file) for file in files)
