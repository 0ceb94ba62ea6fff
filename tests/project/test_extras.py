"""A remedy that is printed works as it stands: it names packages that an index has, and the Python
that runs.
"""

import importlib.metadata
import re
import shlex
import sys
from pathlib import Path

import pytest

import mvit_np
from mvit_np.backend.install import install

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "extra, packages",
    [
        ("video", ["av", "scikit-video"]),
        ("data", ["scikit-learn"]),
        ("gpu", ["cupy-cuda12x"]),
        ("mpi", ["mpi4py", "mpich"]),
    ],
)
def test_the_command_names_what_pyproject_lists(extra, packages):
    python, *rest = shlex.split(install(extra))
    assert python == sys.executable and rest[:3] == ["-m", "pip", "install"]
    assert [re.match(r"[\w-]+", word)[0] for word in rest[3:]] == packages
    text = (ROOT / "pyproject.toml").read_text()
    assert all(f'"{word}' in text for word in rest[3:])  # with its lowest version


def test_in_a_clone_that_is_not_installed(monkeypatch):
    def unknown(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", unknown)
    command = shlex.split(install("video"))
    assert command[1:] == ["-m", "pip", "install", f"{Path(mvit_np.__file__).parents[1]}[video]"]


def test_nobody_is_sent_to_an_index_that_has_no_such_package():
    kinds = ("*.md", "docs/**/*.md", "docs/*.py", "mvit_np/**/*.py", "notebooks/**/*.py")
    texts = {path: path.read_text() for kind in kinds for path in ROOT.glob(kind)}
    assert not [
        path for path, text in texts.items() if re.search(r"install [-\w ]*'?mvit[-_]np", text)
    ]
    printed = re.findall(r"install [-\w ]*'\.\[([\w,]+)\]'", "\n".join(texts.values()))
    extras = set(importlib.metadata.metadata("mvit-np").get_all("Provides-Extra"))
    assert {"video", "dev", "gpu", "mpi"} <= set(",".join(printed).split(",")) <= extras


def test_the_version_is_the_same_wherever_it_is_written():
    assert importlib.metadata.version("mvit-np") == mvit_np.__version__
    assert f"\nversion: {mvit_np.__version__}\n" in (ROOT / "docs/CITATION.cff").read_text()
    assert f"# Changelog\n\n## {mvit_np.__version__}" in (ROOT / "docs/CHANGELOG.md").read_text()


def test_notebooks_and_tests_install_what_they_import():
    command = install("notebooks")
    assert all(f"{package}>=" in command for package in ("av", "scikit-video", "scikit-learn"))
