"""How to get what an optional part needs, as a command for the Python that runs."""

from __future__ import annotations

import importlib.metadata
import shlex
import sys
from pathlib import Path

CLONE = Path(__file__).parents[2]  # if the package is not installed, pyproject.toml lies there


def install(extra):
    """The command that installs what pyproject.toml lists under an extra, such as "video"."""
    try:
        listed = importlib.metadata.requires("mvit-np") or []
    except importlib.metadata.PackageNotFoundError:  # run without being installed
        listed = []
    marker = f'extra == "{extra}"'
    of_extra = (line for line in listed if line.replace("'", '"').endswith(marker))
    wanted = [line.partition(";")[0].strip() for line in of_extra]
    return pip_install(*(wanted or [f"{CLONE}[{extra}]"]))


def pip_install(*packages):
    """The command that installs packages by name."""
    return shlex.join([sys.executable, "-m", "pip", "install", *packages])
