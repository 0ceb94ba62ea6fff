"""The design, held: which wing may import which, no circles, who alone knows a library, and how
long things may get.
"""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import mvit_np

ROOT = Path(mvit_np.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))


def name(path):
    """Such as "ops.attend"; of a folder's __init__ the folder's, "" of the package's own."""
    return ".".join(
        part for part in path.relative_to(ROOT).with_suffix("").parts if part != "__init__"
    )


MODULES = {name(path): path for path in FILES}


@cache
def nodes(path):
    """All of a file's syntax tree."""
    return list(ast.walk(ast.parse(path.read_text())))


@cache
def imports(path):
    """(module, name or None) of each import in a file, also inside functions; modules by their
    absolute names.
    """
    package, found = ["mvit_np", *path.relative_to(ROOT).parent.parts], []
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found += [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            found += [(module, alias.name) for alias in node.names]
    return found


def ours(path):
    """The modules of the package that a file imports, without "mvit_np."; what a folder's __init__
    gives is the folder's.
    """
    for module, imported in imports(path):
        if module.split(".")[0] == "mvit_np":
            inner = module.removeprefix("mvit_np").removeprefix(".")
            deeper = f"{inner}.{imported}".removeprefix(".")
            yield deeper if deeper in MODULES and not _given_by(inner, imported) else inner


def _given_by(folder, imported):
    """Whether `from folder import imported` is a name that the folder's __init__ took from a file
    of its own.
    """
    module, *_ = nodes(MODULES[folder])
    taken = (node for node in module.body if isinstance(node, ast.ImportFrom) and node.module)
    return any(alias.name == imported for node in taken for alias in node.names)


@pytest.mark.parametrize(
    "library, owners",
    [
        ("cupy", {"backend.arrays"}),
        ("cupyx", {"backend.arrays", "train.distributed"}),
        ("autograd", {"autodiff.tape", "autodiff.boxes", "autodiff.numpy_box"}),
        ("scipy", {"backend.arrays", "course.chapter_06d"}),  # there in a student's answer
        ("threadpoolctl", {"backend.blas", "studies.bench.machine"}),
        ("torch", {"studies.bench.peers"}),
        ("torchvision", {"studies.bench.peers"}),
        ("onnxruntime", {"studies.bench.runtimes"}),
        ("openvino", {"studies.bench.runtimes"}),
        ("matplotlib", {"visualize.*"}),
        ("argparse", {"cli.*"}),
        ("tqdm", {"cli.*"}),
        ("av", {"data.video_file"}),
        ("PIL", {"data.*"}),
        ("mpi4py", {"train.distributed"}),
        ("sklearn", {"data.sets.samples"}),
        ("skvideo", set()),
        ("yaml", {"weights.formats.yaml_text"}),
        ("pickle", set()),
    ],
)
def test_only_x_knows_y(library, owners):
    for path in FILES:
        if any(module.split(".")[0] == library for module, _ in imports(path)):
            assert any(re.fullmatch(owner, name(path)) for owner in owners), (
                f"{name(path)} imports {library}"
            )


def test_only_the_command_line_prints():
    for path in FILES:
        if name(path).split(".")[0] != "cli":
            calls = [node.func for node in nodes(path) if isinstance(node, ast.Call)]
            assert not any(isinstance(call, ast.Name) and call.id == "print" for call in calls), (
                name(path)
            )


# A wing may import itself and those behind it.
WINGS = {
    "backend": "",
    "autodiff": "backend",
    "ops": "autodiff backend",
    "model": "ops autodiff backend",
    "data": "backend",
    "weights": "data model ops backend",
    "visualize": "model ops backend",
    "train": "visualize weights data model ops autodiff backend",
    "course": "model ops autodiff backend",
    "studies": "train weights data model ops autodiff backend",
    "cli": "course studies train visualize weights data model backend",
}
# these take the version from the package's face, which no other file may look at
VERSION = {"train.run.snapshot", "cli"}


def test_these_are_all_wings():
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert folders == set(WINGS)
    # the course's old name
    assert {path.stem for path in ROOT.glob("*.py")} == {"__init__", "__main__", "exercises"}


@pytest.mark.parametrize("wing", WINGS)
def test_dependencies_point_one_way(wing):
    for path in FILES:
        if name(path).split(".")[0] == wing:
            wings = {
                module.split(".")[0] for module in ours(path) if module or name(path) not in VERSION
            }
            assert wings <= {wing, *WINGS[wing].split()}, f"{name(path)} imports {wings - {wing}}"


def test_no_import_leads_in_a_circle():
    arrows = {module: {*ours(path)} - {module, ""} for module, path in MODULES.items() if module}
    while free := [module for module, others in arrows.items() if not others & arrows.keys()]:
        for module in free:
            del arrows[module]
    assert not arrows, f"on circles or above them: {sorted(arrows)}"


def test_no_definition_knows_of_tiles_devices_or_precision():
    """What one reads in ops/*.py is array maths alone, at most 40 lines of code but for three."""
    hidden = {"tiles", "device_tools", "operand", "precision", "matmul"}
    # the last refuses labels of all kinds
    longer = {"relative_position", "tokens", "cross_entropy"}
    for path in sorted((ROOT / "ops").glob("[a-z]*.py")):
        module = ast.parse(path.read_text())
        assert not hidden & {imported for _, imported in imports(path)}, name(path)
        docs = [
            node.body[0]
            for node in ast.walk(module)
            if isinstance(node, (ast.Module, ast.FunctionDef)) and ast.get_docstring(node)
        ]
        told = {line for doc in docs for line in range(doc.lineno, doc.end_lineno + 1)}
        lines = enumerate(path.read_text().splitlines(), 1)
        code = [i for i, line in lines if line.strip() and i not in told]
        assert path.stem in longer or len(code) <= 40, f"{name(path)}: {len(code)} lines of code"


def test_nothing_imports_the_command_line():
    for path in FILES:
        if name(path).split(".")[0] not in ("__main__", "cli"):
            assert not any(module.split(".")[0] == "cli" for module in ours(path))


def test_the_page_on_architecture_names_every_wing():
    page = (ROOT.parent / "docs/architecture.md").read_text()
    assert re.findall(r"^\| `(\w+)/` \|", page, re.M) == list(WINGS)


def test_the_wings_are_there_when_they_are_asked_for():
    code = """import mvit_np as mv, sys
loaded = {name for name in sys.modules if name.startswith("mvit_np.")}
wings = ("mvit_np.train", "mvit_np.visualize", "mvit_np.cli", "mvit_np.studies")
assert not any(name.startswith(wings) for name in loaded)
assert mv.train.fit and mv.data.decode and mv.visualize.save
assert mv.course.check and mv.costs.__call__
import mvit_np.exercises
from mvit_np.exercises import check
assert mvit_np.exercises is mv.course and check is mv.course.check
assert {"train", "data", "visualize", "course", "load"} <= set(dir(mv))
assert "importlib" not in dir(mv)
try:
    mv.no_such_thing
except AttributeError as problem:
    assert "no_such_thing" in str(problem)"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_the_package_needs_no_extra():
    """numpy, autograd and scipy suffice: no matplotlib, av, cupy or torch at import time."""
    names = "matplotlib PIL av cupy mpi4py safetensors sklearn torch tqdm yaml".split()
    code = f"import mvit_np, sys; print([m for m in {names} if m in sys.modules])"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )


def test_files_and_functions_stay_short():
    for path in FILES:
        assert len(path.read_text().splitlines()) <= 260, name(path)
        for node in nodes(path):
            if isinstance(node, ast.FunctionDef):
                body = node.end_lineno - node.lineno + 1
                assert body <= 60, f"{node.name} in {name(path)} has {body} lines"
