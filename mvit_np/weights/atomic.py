"""A file that is there whole or not at all."""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager
from pathlib import Path


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
