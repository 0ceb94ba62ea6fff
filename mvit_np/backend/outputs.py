"""What a command writes: whole or not at all, never over what is read or what others made."""

from __future__ import annotations

import json
import os
import re
import secrets
import tempfile
from contextlib import contextmanager
from pathlib import Path

from .plain_text import ENCODING

LEDGER = ".made_by_mvit_np"  # in a folder: which of our commands wrote which names there
DRAWN = b"drawn by mvit_np"  # in every picture that we write
# Pictures of earlier versions are known by these.
UNMARKED, NAMED = b"Software\0Matplotlib", ("_attention.png", "_stages.png")
NEAR = 4096  # bytes from a file's beginning or end
HALF_WRITTEN = re.compile(r"\.[0-9a-f]{16}\.part")  # a file of `replacing` until it is whole


@contextmanager
def telling(path):
    """Errors of writing `path` in the block, mostly a full disk, in a sentence with its name."""
    try:
        yield
    except OSError as problem:
        if problem.errno is None:  # of our own, in a sentence already
            raise
        path = Path(path)
        error = OSError(
            f"{path.name} cannot be written to {path.parent} ({problem.strerror or problem}), and "
            "what is there already stays: make room there, or choose another folder"
        )
        error.errno = problem.errno
        raise error from problem


@contextmanager
def replacing(path):
    """A binary file that becomes `path` at the end of the block; after an error `path` stays.

    The bytes go to a new file in the same folder, which takes the name only once they are on the
    disk. Its permissions are those of any new file. Raises FileNotFoundError where the folder is
    missing.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"there is no folder {path.parent} to write {path.name} in: make it first"
        )
    temporary = path.parent / f".{secrets.token_hex(8)}.part"
    try:
        with open(temporary, "xb") as file:  # not mkstemp: so the umask holds as for any file
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write(path, text):
    """Write a text file as `replacing` does. Raises OSError in one sentence."""
    with telling(path), replacing(path) as file:
        file.write(text.encode(**ENCODING))


def sweep(folder):
    """Delete what `replacing` of a killed process left in a folder that nobody writes into."""
    for path in Path(folder).iterdir():
        if HALF_WRITTEN.fullmatch(path.name):
            path.unlink()


def make_folder(path):
    """Make a folder and those above it. Raises ValueError at once if it cannot be written in."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as problem:
        raise ValueError(
            f"the folder {path} cannot be written ({problem.strerror or problem}): give another"
        ) from None


def carries(path, *marks):
    """Whether a file has one of these marks (bytes) near its beginning or its end."""
    try:
        with open(path, "rb") as file:
            near = file.read(NEAR)
            file.seek(max(file.seek(0, os.SEEK_END) - NEAR, 0))
            near += file.read(NEAR)
    except OSError:
        return False
    return any(mark in near for mark in marks)


def is_drawn_here(path):
    """Whether a picture is one that we wrote."""
    return carries(path, DRAWN) or Path(path).name.endswith(NAMED) and carries(path, UNMARKED)


def check_free(path, ours):
    """Raise ValueError where there is something at `path` and it is no file with `ours(path)`."""
    if os.path.lexists(path) and not (Path(path).is_file() and ours(path)):
        came = f"{path} is there already, and this command did not write it"
        raise ValueError(f"{came}: give another name, or delete it first")


def check_not_read(outputs, inputs):
    """Raise ValueError where a file to write is one that is read, by whatever path or link."""
    for output in map(Path, outputs):
        for read in map(Path, inputs):
            there = output.exists() and read.exists()
            same_name = os.path.realpath(output) == os.path.realpath(read)
            if output.samefile(read) if there else same_name:
                came = f"a file that is read is not written over, and {output} is read"
                raise ValueError(f"{came}: give another name for it")


def check_outside(path, data):
    """Raise ValueError where a folder to write into is in one of data: it would be a class."""
    for read in map(Path, data):
        if read.is_dir() and Path(path).resolve().is_relative_to(read.resolve()):
            came = f"{path} is in {read}: give another folder with --out"
            raise ValueError(f"nothing is written among the data; {came}")


def check_own(folder, command, names, remedy="give another folder with --out"):
    """Raise ValueError where `folder` holds such names that `command` did not write there."""
    folder = Path(folder)
    written = _ledger(folder).get(command, [])
    for name in names:
        if os.path.lexists(folder / name) and name not in written:
            raise ValueError(
                f"{folder} holds {name}, which `mvit-np {command}` did not write there "
                f"and does not write over: {remedy}"
            )


def own(folder, command, names):
    """Note in `folder`, made if missing, that `command` writes files of these names there.

    Raises as `check_own` does, and OSError where the folder cannot be written.
    """
    check_own(folder, command, names)
    claim(folder, command, names)


def claim(folder, command, names):
    """The note of `own` without its check, where the names are known to be the command's."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    found = _ledger(folder)
    written = sorted({*found.get(command, []), *names})
    if found.get(command) != written:
        write(folder / LEDGER, json.dumps(found | {command: written}, indent=1) + "\n")


def _ledger(folder):
    """{command: [names]}; empty where there is none, or none that can be read."""
    try:
        found = json.loads((folder / LEDGER).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    lists = found.items() if isinstance(found, dict) else ()
    lists = [(command, names) for command, names in lists if isinstance(names, list)]
    return {command: names for command, names in lists if all(isinstance(n, str) for n in names)}
