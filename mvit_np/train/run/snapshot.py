"""Snapshots of a run: its whole state in a file, from which it goes on as if it had never stopped.

A file is an .npz without pickles: each array under its path in the state, and one JSON text with
everything else and with the paths of the arrays. Behind it stands a line with the SHA-256 of all
bytes before it. It gets its name only when it is whole and on the disk (`backend/outputs.py`), so a
process may be killed at any moment; what a power cut or a bad disk does to it later, the checksum
tells, and the snapshot before it is taken.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
from pathlib import Path
from typing import Any

from ...backend.outputs import replacing, sweep, telling
from ...backend.plain_text import plain
from ...backend.types import Array, FilePath
from ...weights.formats import npz_file
from ...weights.formats.files import SEAL, SEAL_BYTES
from ...weights.formats.stored_zip import directory
from .snapshot_values import filled, stripped

VERSION = 1  # of what is written; a file of a later one is refused
TEXT = "$snapshot"  # the entry with the JSON text; keys of a state do not begin with $
# ".best" marked the best so far in an earlier version; today that is best.npz.
NAME = re.compile(r"step_(\d{8,})(\.best)?\.npz")
CHUNK = 1 << 20  # bytes


class _TooNew(ValueError):
    """A snapshot that a later version wrote: an older one beside it is not taken for that."""


def save(folder: FilePath, state: dict[str, Any], keep: int = 3) -> Path:
    """Write a snapshot and return its path; then all go but the `keep` newest.

    What an earlier version marked as best stays.

    folder  for the snapshots of one run alone; made where it is missing
    state   a dict with the whole number "step", nested from dicts with strings as keys, lists and
            tuples; its leaves are arrays of numbers in either library, int, float, bool, str and
            None

    On return the file is on the disk. Raises OSError in one sentence where it cannot be written (a
    full disk); there is then no part of it, and earlier ones are as they were. Raises TypeError or
    ValueError for a state that is not as above.
    """
    text, arrays = _packed(state)
    if keep < 1:
        raise ValueError(f"at least one snapshot is kept; came keep={keep}: give 1 or more")
    folder = Path(folder)
    path = folder / f"step_{state['step']:08d}.npz"
    with telling(path):
        _make(folder)
        with replacing(path) as file:
            _write(file, arrays, text)
        _sync(folder)
    _tidy(folder, state["step"], keep)
    return path


def latest(
    folder: FilePath, best: bool = False, needs: dict[str, Any] | None = None
) -> tuple[dict[str, Any] | None, list[str]]:
    """(state, said): the newest snapshot that can be read, and a sentence about each skipped.

    best    of those alone that an earlier version marked as the best so far
    needs   {name: type or types of its value} that a state must have to be one of the run's

    As it was saved, with arrays as C-contiguous NumPy arrays; (None, []) where the folder has no
    snapshot or is not there. Raises ValueError where it has some and none can be read, and where
    one is of a later version than this package reads.
    """
    said: list[str] = []
    for _, is_best, path in _snapshots(folder):
        if best and not is_best:
            continue
        try:
            return read(path, needs), said
        except _TooNew:
            raise
        except (ValueError, OSError) as problem:
            said.append(f"{problem}: the snapshot before it is taken")
    if said:
        which = "best snapshot" if best else "snapshot"
        raise ValueError(
            f"no {which} of the {len(said)} in {folder} can be read: "
            "move them away to go on without"
        )
    return None, said


def read(path: FilePath, needs: dict[str, Any] | None = None) -> dict[str, Any]:
    """The state in one file. Raises ValueError where it is damaged or of a later version.

    It raises OSError where the file cannot be opened.
    """
    from ... import __version__

    header, arrays = _contents(path)
    if header["version"] > VERSION:
        writer = f"version {header['version']} by mvit_np {plain(header['package'])}"
        raise _TooNew(
            f"{path} is a snapshot of {writer}; "
            f"mvit_np {__version__} reads up to version {VERSION}: upgrade it"
        )
    try:
        state = filled(header["state"], arrays)
    except (KeyError, TypeError, RecursionError) as problem:
        raise ValueError(
            f"{path} is not whole (its text names {plain(problem)}, which it does not hold)"
        ) from None
    _check_has(path, state, {"step": int, **(needs or {})})
    return state


def _packed(state):
    """The JSON text and {path: array} of a state."""
    from ... import __version__

    step = state.get("step") if isinstance(state, dict) else None
    if type(step) is not int or step < 0:
        raise TypeError(
            f"a state is a dict with a whole number from 0 on as its 'step'; came {step!r}: "
            "say which step it is"
        )
    arrays: dict[str, Array] = {}
    header = {"version": VERSION, "package": __version__, "state": stripped(state, "", arrays)}
    return json.dumps(header, indent=1), arrays


def _check_has(path, found, types):
    """Raise ValueError where a dict lacks one of these names, or its value is of another type."""
    for name, type_ in types.items():
        if name not in found or not isinstance(found[name], type_):
            came = f"is a {type(found[name]).__name__}" if name in found else "is missing"
            raise ValueError(f"{path} is not whole (its {name} {came})")


# -- the file --------------------------------------------------------------------------------------


class _Npz(io.FileIO):
    """A snapshot's file as if it ended before the seal."""

    def seek(self, offset, whence=os.SEEK_SET):
        return super().seek(offset - SEAL_BYTES if whence == os.SEEK_END else offset, whence)


def _write(file, arrays, text):
    npz_file.write(file, arrays, {TEXT: text})
    file.flush()
    file.write(_seal(file.name, file.tell()))


def _contents(path):
    """(header, {path: array}). Raises ValueError where a single byte is not as it was written."""
    size = os.path.getsize(path) - SEAL_BYTES
    with _Npz(path) as file:
        file.seek(max(size, 0))
        if file.read() != _seal(path, size):
            raise ValueError(f"{path} is cut short, damaged or no snapshot (its checksum differs)")
        try:
            arrays, metadata = npz_file.read(file, directory(file))
            header = json.loads(metadata.get(TEXT, "null"))
        except (ValueError, RecursionError) as problem:
            raise ValueError(f"{path} cannot be read ({plain(problem)})") from None
    found = header if isinstance(header, dict) else {}
    _check_has(path, found, {"version": int, "package": str, "state": dict})
    return header, arrays


def _seal(path, size):
    """What stands behind the first `size` bytes of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while size > 0 and (chunk := file.read(min(size, CHUNK))):
            digest.update(chunk)
            size -= len(chunk)
    return SEAL.format(digest.hexdigest()).encode()


# -- the folder ------------------------------------------------------------------------------------


def _snapshots(folder):
    """(step, whether it was the best, path) of each file with a snapshot's name, newest first."""
    found = [(NAME.fullmatch(path.name), path) for path in Path(folder).glob("step_*.npz")]
    named = [(int(match[1]), bool(match[2]), path) for match, path in found if match]
    return sorted(named, reverse=True)


def _make(folder):
    """The folder, on the disk too, and without what was left half-written in it."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        _sync(path.parent)
    sweep(folder)


def _sync(folder):
    """Wait until the names in a folder are on the disk."""
    if os.name == "nt":
        return  # folders cannot be opened there
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as problem:
        # Some network file systems have no such thing.
        if problem.errno not in (errno.EINVAL, errno.EBADF):
            raise
    finally:
        os.close(handle)


def _tidy(folder, step, keep):
    """Delete what is not kept. Files of later steps stay: unreadable, or of another course."""
    files = [path for at, marked, path in _snapshots(folder) if at <= step and not marked]
    for path in files[keep:]:
        path.unlink(missing_ok=True)
