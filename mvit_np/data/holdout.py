"""A test part that is split off from the films of a table: by film, never by clip."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections import Counter
from pathlib import Path

from ..backend.plain_text import ENCODING, are, many, some
from ..backend.types import FilePath
from .frame_folders import ordered
from .media import is_media, is_picture
from .video_table import VideoTable

# What a film was cut from, by the names of its pieces: 2LKUAbVIeEk_000012_000022 of Kinetics is of
# the film 2LKUAbVIeEk, v_Archery_g08_c01 of UCF101 is of group 8, which was one film.
KINETICS = re.compile(r"(.{11})_\d{6}_\d{6}")
UCF101 = re.compile(r"(.+_g\d\d)_c\d\d")


def film_of(path: Path, root: FilePath | None = None) -> str:
    """What the film of a file is called, the same for all that was cut from it, in any format.

    root   the folder from which films are called; None: by the file's own name alone
    """
    name = path.stem if is_media(path) else path.name
    if found := KINETICS.fullmatch(name):
        return found[1]
    if found := UCF101.fullmatch(name):
        name = found[1]
    if root is None:
        return name
    folder = os.path.dirname(os.path.normpath(path)) + os.sep
    inside = folder.removeprefix(os.path.normpath(root) + os.sep)
    return f"{inside}{name}".replace(os.sep, "/")


def is_cut(path: Path) -> bool:
    """Whether a file is called as a piece that Kinetics or UCF101 cut from a film."""
    return bool(KINETICS.fullmatch(path.stem) or UCF101.fullmatch(path.stem))


def held_out(table: VideoTable, share: float, root: FilePath) -> tuple[VideoTable, VideoTable]:
    """A table's films in two parts.   -> (those to learn from, about `share` of them to test on)

    root   the folder that films are called from

    All parts of a film, all pieces that `film_of` knows to be cut from one, and all frames of a
    folder go to the same side. Of each class the share is held out, rounded, but at least one film
    and never all; a class of one film is not tested. Which films these are follows from their names
    alone, by a hash: neither from a seed, nor from the folder that the data are in.

    Raises ValueError where no class has two films.
    """
    films = _films(table, Path(root))
    classes_of: dict[str, set[int]] = {}
    for film, label in zip(films, table.labels.tolist()):
        classes_of.setdefault(film, set()).add(label)
    chosen = _chosen(classes_of, share)
    if not chosen:
        raise ValueError(
            f"a film is held out of each class that has two; {root} has {len(classes_of)} in "
            f"{len(table.classes)} classes, and none that can be spared: give --tests"
        )
    sides = [
        [i for i, film in enumerate(films) if (film in chosen) is out] for out in (False, True)
    ]
    tested = set(table.labels[sides[1]].tolist())
    untested = [table.classes[label] for label in sorted(set(table.labels.tolist()) - tested)]
    notes = [
        f"{many(untested, 'class', 'classes')} {are(untested)} not tested, as no film of "
        f"{'it' if len(untested) == 1 else 'them'} can be spared: {some(untested)}"
    ]
    return table.take(sides[0], table.notes), table.take(sides[1], tuple(notes if untested else ()))


def _films(table, root):
    """What the film of each row is called."""
    paths = [path for path, _ in table.rows]
    pictures: dict[Path, list[Path]] = {}
    for path in filter(is_picture, paths):
        pictures.setdefault(path.parent, []).append(path)
    # Below a class's folder: pictures in that itself are single ones, however they are called.
    frames = {
        folder for folder, inside in pictures.items() if folder.parent != root and ordered(inside)
    }
    return [film_of(path.parent if path.parent in frames else path, root) for path in paths]


def _chosen(classes_of, share):
    """The films that are held out, of {film: its classes}."""
    films_of: dict[int, list[str]] = {}
    for film in sorted(classes_of, key=_digest):
        for label in classes_of[film]:
            films_of.setdefault(label, []).append(film)
    chosen: set[str] = set()
    out: Counter[int] = Counter()
    for label, films in sorted(films_of.items(), key=lambda item: len(item[1])):  # rarest first
        wanted = max(round(share * len(films)), 1)
        for film in films:
            labels = classes_of[film]
            spared = all(out[other] + 1 < len(films_of[other]) for other in labels)
            if out[label] < wanted and film not in chosen and spared:
                chosen.add(film)
                out.update(labels)
    return chosen


def _digest(film):
    name = unicodedata.normalize("NFC", film)  # which a Mac may have taken apart
    return hashlib.sha256(name.encode(**ENCODING)).digest()
