"""The files that the processes of a case read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from ...weights import save
from . import runtimes
from .subprocess_task import run_in_subprocess
from .workloads import Workload, parameters


@contextmanager
def stored(workload: Workload, whos: Iterable[str] = ()) -> Iterator[dict[str, str]]:
    """{"weights": path} and, where a runtime is among `whos`, {"onnx": path}; gone after the block.

    Parameters come from a file in a process that has not drawn them, as those of `classify` do:
    what was allocated and freed before changes what malloc does, and so times.
    """
    with TemporaryDirectory(prefix="mvit_np_bench_") as folder:
        files = {"weights": str(Path(folder) / "parameters.npz")}
        save(files["weights"], parameters(workload), workload.config)
        if set(whos) & set(runtimes.TITLES):
            files["onnx"] = str(Path(folder) / "model.onnx")
            task = {"workload": asdict(workload), "threads": 1, "files": files}
            run_in_subprocess("export", task, f"{workload.title} (as ONNX)")
        yield files
