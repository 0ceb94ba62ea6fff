"""A remedy that is printed works as it stands: it names packages that an index has, and the Python
that runs.
"""

import ast
import importlib.metadata
import re
import shlex
import sys
from pathlib import Path

import pytest

import mvit_np
from mvit_np.backend.install import install

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

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


# -- the course, in an environment that the README's own command made ------------------------------

NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.py"))
# Where a device, other processes or PyTorch are asked for by name; the notebooks do without.
ELSEWHERE = {"cupy", "cupyx", "mpi4py", "torch", "torchvision"}
FOR_TYPES = {"typing_extensions"}  # read by mypy alone
NAMED = {"sklearn": "scikit-learn", "PIL": "pillow", "yaml": "pyyaml"}  # where names differ
BROUGHT_BY = {"jupyter": {"IPython", "nbclient", "nbformat", "traitlets"}}  # what comes with it


def imported(path):
    """The names of modules that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = list(path.relative_to(ROOT).parent.parts) if node.level else []
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            yield from (module, *(f"{module}.{alias.name}" for alias in node.names))


def file_of(module):
    """The file of a module of the package, None for what is no module of it."""
    path = ROOT / module.replace(".", "/")
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py")
                 if file.is_file()), None)  # fmt: skip


def reached(files):
    """The third-party modules that files need, or the modules of the package that they reach."""
    todo, seen, others = list(files), set(), set()
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        for module in imported(path):
            if module.split(".")[0] == "mvit_np":
                todo += [file for file in [file_of(module)] if file]
            else:
                others.add(module.split(".")[0])
    return others - {*sys.stdlib_module_names, "tomllib"} - ELSEWHERE - FOR_TYPES


def required(extras):
    """The distributions that `pip install '.[extras]'` brings, by their own names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found, todo = set(), [project["dependencies"]]
    todo += [project["optional-dependencies"][extra] for extra in extras]
    while todo:
        for line in todo.pop():
            inner = re.match(r"mvit-np\[([\w,]+)\]", line)
            names = inner[1].split(",") if inner else ()
            todo += [project["optional-dependencies"][name] for name in names]
            found.add(re.match(r"[\w-]+", line)[0].lower())
    return found


def test_the_course_command_of_the_readme_brings_all_that_a_notebook_reaches():
    line = next(line for line in (ROOT / "README.md").read_text().splitlines()
                if line.endswith("jupyter lab notebooks"))  # fmt: skip
    extras = re.search(r"install .*'\.\[([\w,]+)\]'", line)[1].split(",")
    brought = required(extras)
    brought |= {module for name in brought for module in BROUGHT_BY.get(name, ())}
    needed = reached(NOTEBOOKS) - {"refresh", "pictures"}
    lacking = {module for module in needed if NAMED.get(module, module) not in brought}
    assert {"sklearn", "av", "matplotlib", "jupytext"} <= needed
    assert not lacking, f"README's {extras} leave out {lacking}"
