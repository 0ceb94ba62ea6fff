"""The device: a way to put arrays there, what it is, and what it can do at best."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ....backend.arrays import array_module, to_device
from ....backend.matmul import matmul
from ....backend.precision import PRECISIONS, operand, use_precision
from ....backend.types import Tree
from .clock import Side

# rows of the matrices that are multiplied; bytes of the array that is copied
SIZE, COPIED = 8192, 1 << 30
REPEATS, CALLS = 4, 10
DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class Gpu:
    """A device by name, and the array library of what lies there."""

    device: str
    xp: Any

    @property
    def number(self) -> int:
        return int(self.device.partition(":")[2] or 0)

    def put(self, tree: Tree) -> Tree:
        return to_device(tree, self.device)


def find(device: str) -> Gpu:
    """The `Gpu` of that name, such as "cuda:0". Raises ValueError where there is none."""
    return Gpu(device, array_module(to_device(np.zeros(1, np.float32), device)))


def describe(gpu: Gpu) -> dict[str, Any]:
    """The card and what drives it, as a dict; "driver" is None where the system does not say."""
    runtime = gpu.xp.cuda.runtime
    told = runtime.getDeviceProperties(gpu.number)
    name = told["name"]
    return {
        "card": name.decode() if isinstance(name, bytes) else name,
        "memory_bytes": int(told["totalGlobalMem"]),
        "multiprocessors": int(told["multiProcessorCount"]),
        "compute": f"{told['major']}.{told['minor']}",
        "driver": driver_version(),
        "driver_cuda": _version(runtime.driverGetVersion()),
        "cuda": _version(runtime.runtimeGetVersion()),
        "cupy": gpu.xp.__version__,
    }


def driver_version(file: Path = DRIVER) -> str | None:
    """Such as "570.86.15"; None where there is no such file."""
    try:
        found = re.search(r"\b\d{3}\.\d+(\.\d+)?\b", file.read_text())
    except OSError:
        return None
    return found.group() if found else None


def _version(number):
    """13000 -> 13.0"""
    return f"{number // 1000}.{number % 1000 // 10}"


def roofs(
    gpu: Gpu, side: Side, size: int | None = None, copied: int | None = None
) -> dict[str, float]:
    """{"float32", "tf32", "bf16": operations per second of products, "bytes_per_s": of copies}

    Products are of two square matrices. Each is the best of some; a multiply-add is two operations,
    and a copy reads and writes every byte.
    """
    size, copied = size or SIZE, copied or COPIED
    rngs = np.random.default_rng(0), np.random.default_rng(1)
    a, b = (gpu.put(rng.standard_normal((size, size), dtype=np.float32)) for rng in rngs)
    best = {name: 2 * size**3 / _product_s(gpu, side, name, a, b) for name in PRECISIONS}
    x = gpu.put(np.ones(copied // 4, np.float32))
    y = gpu.xp.empty(x.shape, dtype=x.dtype)
    return best | {"bytes_per_s": 2 * x.nbytes / _best(side, lambda: gpu.xp.copyto(y, x))}


def _product_s(gpu, side, precision, a, b):
    with use_precision(precision):
        a, b, out = operand(a), operand(b), gpu.xp.empty(a.shape, dtype="float32")
        return _best(side, lambda: matmul(a, b, out=out))


def _best(side, call):
    call()
    return min(side.seconds(call, CALLS) for _ in range(REPEATS))
