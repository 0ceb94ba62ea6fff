"""The design, held: who may import whom, and how long things may get."""

import ast
import re
from pathlib import Path

import pytest

import mvit_np

ROOT = Path(mvit_np.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))


def name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path):
    """Absolute names of all modules a file imports, also inside functions."""
    package = ["mvit_np", *path.relative_to(ROOT).parent.parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(
    "library, owners",
    [
        ("cupy", {"backend"}),
        ("cupyx", {"backend", "train.distributed"}),
        ("autograd", {"autodiff"}),
        ("scipy", {"backend"}),
        ("threadpoolctl", {"blas", "bench.machine"}),
        ("torch", {"bench.peers"}),
        ("torchvision", {"bench.peers"}),
        ("matplotlib", {"visualize.*"}),
        ("argparse", {"cli.*"}),
        ("tqdm", {"cli.*"}),
        ("av", {"data.video_file"}),
        ("mpi4py", {"train.distributed"}),
        ("sklearn", {"data.samples"}),
        ("skvideo", set()),
        ("yaml", {"weights.yaml_text"}),
        ("pickle", set()),
    ],
)
def test_only_x_knows_y(library, owners):
    for path in FILES:
        if any(module.split(".")[0] == library for module in imports(path)):
            assert any(re.fullmatch(owner, name(path)) for owner in owners), f"{name(path)} imports {library}"


def test_only_the_command_line_prints():
    for path in FILES:
        if name(path).split(".")[0] != "cli":
            calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
            assert not any(isinstance(call, ast.Name) and call.id == "print" for call in calls), name(path)


# A part may import itself and what is listed: dependencies point one way.
ALLOWED = {
    "tree": [],
    "backend": ["extras", "tree", "device"],  # device: what CuPy's arrays get besides, loaded when it is asked for
    "outputs": ["plain_text"],
    "extras": [],
    "plain_text": [],
    "validation": ["sizes"],
    "config": ["validation"],
    "specs": [],
    "sizes": ["specs"],
    "plan": ["config", "sizes", "specs", "table"],  # table: the printed plan alone
    "table": ["costs", "units"],
    "units": [],
    "presets": ["config"],
    "costs": ["plan"],
    "blas": [],
    "tiles": ["backend", "blas"],
    "watch": ["blas"],
    "autodiff": ["tree", "backend", "blas", "watch"],
    "interpolation": [],
    "device": ["tree", "backend"],
    "kernels": ["backend", "device"],
    "precision": ["backend", "kernels"],
    "products": ["backend", "device", "precision"],
    "ops": ["autodiff", "backend", "interpolation", "kernels", "precision", "products", "tiles"],
    "layers": ["ops", "autodiff", "backend", "reversible"],
    "checkpoint": ["tree", "autodiff"],
    "reversible": ["tree", "autodiff", "checkpoint"],
    "report": [],
    "finite_differences": ["backend", "report"],
    "gradcheck": ["tree", "autodiff", "backend", "finite_differences", "report"],
    "model": ["layers", "autodiff", "checkpoint", "backend", "blas", "tree", "plain_text", "plan", "tiles"],
    "inspection": ["backend", "model", "ops", "plan"],
    "resize": ["tree", "backend", "interpolation", "model", "plan"],
    "paper": ["config", "presets"],
    "compare": ["costs", "presets", "table"],
    "cost_page": ["compare", "costs", "paper", "plan"],
    "weights": [
        "tree",
        "backend",
        "config",
        "data",  # the names of normalisations
        "extras",
        "interpolation",
        "layers",
        "model",
        "outputs",
        "plain_text",
        "plan",
        "presets",
        "resize",
    ],
    "classify": ["tree", "backend", "data", "model", "ops", "outputs", "plain_text", "weights"],
    "bench": [
        "autodiff",
        "backend",
        "cost_page",
        "costs",
        "device",
        "extras",
        "model",
        "ops",
        "plan",
        "precision",
        "presets",
        "products",
        "tiles",
        "train",
        "tree",
        "watch",
        "weights",
    ],
    "exercises": ["autodiff", "config", "costs", "layers", "ops", "plan", "presets", "specs"],
    # data: to evaluate; weights: the format of snapshots; the version is noted in them
    "train": [
        "tree",
        "backend",
        "autodiff",
        "data",
        "device",
        "extras",
        "kernels",
        "outputs",
        "plain_text",
        "precision",
        "presets",
        "tiles",
        "weights",
        "__version__",
    ],
    "data": ["blas", "extras", "plain_text"],
    "runs": [
        "backend",
        "classify",
        "config",
        "data",
        "device",
        "model",
        "ops",
        "outputs",
        "plain_text",
        "precision",
        "presets",
        "resize",
        "tiles",
        "train",
        "tree",
        "visualize",
        "weights",
    ],
    "experiments": [
        "backend",
        "bench",
        "config",
        "cost_page",
        "costs",
        "data",
        "demo",
        "outputs",
        "presets",
        "runs",
        "table",
        "tiles",
        "train",
        "units",
    ],
    "visualize": ["plan", "costs", "outputs", "paper", "plain_text", "units", "model", "ops", "backend"],
}


@pytest.mark.parametrize("part", ALLOWED)
def test_dependencies_point_one_way(part):
    for path in FILES:
        if name(path).split(".")[0] == part:
            ours = {module.split(".")[1] for module in imports(path) if re.match(r"mvit_np\.\w", module)}
            assert ours <= {part, *ALLOWED[part]}, f"{name(path)} imports {ours - {part, *ALLOWED[part]}}"


def test_nothing_imports_the_command_line():
    for path in FILES:
        if name(path).split(".")[0] not in ("__main__", "cli"):
            assert not any(module.startswith("mvit_np.cli") for module in imports(path))


def test_importing_the_package_needs_no_extra():
    """numpy, autograd and scipy suffice: no matplotlib, av, cupy or torch at import time."""
    import subprocess
    import sys

    code = "import mvit_np, sys; print([m for m in NAMES if m in sys.modules])".replace(
        "NAMES", "('matplotlib', 'av', 'cupy', 'mpi4py', 'safetensors', 'sklearn', 'torch', 'tqdm', 'yaml')"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_files_and_functions_stay_short(path):
    assert len(path.read_text().splitlines()) <= 260
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            body = node.end_lineno - node.lineno + 1
            assert body <= 60, f"{node.name} has {body} lines"
