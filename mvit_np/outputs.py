"""What a command writes: whole or not at all, never over what is read, never over what somebody else made."""

from __future__ import annotations

import json
import os
import secrets
from contextlib import contextmanager
from pathlib import Path

LEDGER = ".made_by_mvit_np"  # in a folder: which of our commands wrote which names there


@contextmanager
def telling(path):
    """Errors of writing `path` within the block, a full disk most often, in one sentence with its name."""
    try:
        yield
    except OSError as problem:
        path = Path(path)
        error = OSError(
            f"{path.name} cannot be written to {path.parent} ({problem.strerror or problem}), and what is there already stays: "
            "make room there, or choose another folder"
        )
        error.errno = problem.errno
        raise error from problem


@contextmanager
def replacing(path):
    """A binary file to write into, which becomes `path` at the end of the `with` block; after an error `path` is as it was.

    The bytes go to a new file in the same folder, which takes the name only once they are on the disk. Its permissions are
    those of any new file. Raises FileNotFoundError where the folder is missing.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} in: make it first")
    temporary = path.parent / f".{secrets.token_hex(8)}.part"
    try:
        with open(temporary, "xb") as file:  # x, not mkstemp: the umask then holds as for any other file
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def check_not_read(outputs, inputs):
    """Raise ValueError where a file to be written is one of those that are read, also by another path or link to it."""
    for output in map(Path, outputs):
        for read in map(Path, inputs):
            same = output.samefile(read) if output.exists() and read.exists() else output.resolve() == read.resolve()
            if same:
                raise ValueError(f"a file that is read is not written over, and {output} is read: give another name for it")


def check_own(folder, command, names):
    """Raise ValueError where `folder` holds one of these names and `command` did not write it there. Nothing is written."""
    folder = Path(folder)
    written = _ledger(folder).get(command, [])
    for name in names:
        if os.path.lexists(folder / name) and name not in written:
            raise ValueError(
                f"{folder} holds {name}, which `mvit-np {command}` did not write there and does not write over: "
                "give another folder with --out"
            )


def own(folder, command, names):
    """Note in `folder`, made where it is missing, that `command` writes files or folders of these names there.

    Raises as `check_own` does, and OSError where the folder cannot be written.
    """
    check_own(folder, command, names)
    claim(folder, command, names)


def claim(folder, command, names):
    """The note alone, for who knows otherwise that the names are the command's."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    found = _ledger(folder)
    written = sorted({*found.get(command, []), *names})
    if found.get(command) != written:
        with replacing(folder / LEDGER) as file:
            file.write(json.dumps(found | {command: written}, indent=1).encode() + b"\n")


def _ledger(folder):
    """{command: [names]}; empty where there is none, or none that can be read."""
    try:
        found = json.loads((folder / LEDGER).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    lists = found.items() if isinstance(found, dict) else ()
    return {command: names for command, names in lists if isinstance(names, list) and all(isinstance(n, str) for n in names)}
