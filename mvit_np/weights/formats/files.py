"""Files of named arrays: .npz, .safetensors, and torch's .pth, .pyth and .pt; no pickle is run."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np

from ...backend.outputs import replacing
from ...backend.plain_text import plain
from ...backend.types import Array, FilePath
from . import npz_file, safetensors_file, torch_file, torch_write
from .stored_zip import directory

TORCH = (".pth", ".pyth", ".pt")
SUFFIXES = (".npz", ".safetensors", *TORCH)
LONGEST = 1000  # letters of a sentence
SEAL = "\nsha256 {}\n"  # how a snapshot of a run ends
SEAL_BYTES = len(SEAL.format("0" * 64))


def read(path: FilePath) -> tuple[dict[str, Array], dict[str, Any]]:
    """(tensors, metadata) of a file of any format, which its first bytes tell and not its name.

    tensors: {name: C-contiguous array} in the order of the file, of the dtype it has there
    (bfloat16 as float32, exactly); of a torch file, the state dict alone. Names that share a
    storage in a torch file share memory. metadata: {name: str, int, float, bool or None} found
    beside the tensors; in a torch file "cfg" may be a dict. Raises FileNotFoundError, and
    ValueError for a file that is damaged, of another format or asks for code to be run.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"weights are read from a file, and there is none at {path}: check the path"
        )
    with open(path, "rb") as file:
        try:
            return _read(file)
        except ValueError as problem:
            raise ValueError(sentence(f"{path} cannot be read", problem)) from None


def sentence(what: object, problem: object) -> str:
    """What is wrong with a file, on one line, however long the names of its tensors are."""
    text = plain(f"{what}: {problem}")
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def _read(file):
    start, size = file.read(512), file.seek(0, io.SEEK_END)
    file.seek(max(size - SEAL_BYTES, 0))
    if re.fullmatch(SEAL.format("[0-9a-f]{64}").encode(), file.read()):
        raise ValueError(
            "it is a snapshot of a run, which training goes on from: "
            "give the folder of the run, or model.npz or best.npz there"
        )
    file.seek(0)
    if start[:4] in (b"PK\3\4", b"PK\5\6"):
        entries = directory(file)
        is_npz = all(name.endswith(".npy") for name in entries)
        return npz_file.read(file, entries) if is_npz else torch_file.read_zip(file, entries)
    length = int.from_bytes(start[:8], "little")  # of a .safetensors; it may begin as pickles do
    if start[8:9] == b"{" and length <= size - 8:
        return safetensors_file.read(file)
    if start[:1] == b"\x80":
        return torch_file.read_legacy(file)
    if start[257:262] == b"ustar":
        raise ValueError("it is of torch before 0.2 (a tar): load and save it with a newer torch")
    raise ValueError(
        "it is no .npz, no .safetensors and none of torch.save: check what was downloaded"
    )


def write(
    path: FilePath,
    tensors: dict[str, Array],
    metadata: dict[str, Any] | None = None,
    key: str | None = None,
) -> None:
    """Write {name: array} and metadata, all or nothing, in the format of `path`'s suffix.

    .npz and .safetensors take metadata that are strings. A torch file is the bare state dict,
    without metadata, or with `key` the dict {key: state dict, **metadata}, where metadata are str,
    int, float, bool or None. Raises ValueError for another suffix and for what the format cannot
    hold.
    """
    metadata = dict(metadata or {})
    suffix = Path(path).suffix
    if suffix not in SUFFIXES:
        raise ValueError(
            f"weights are written to {', '.join(SUFFIXES)}; came {Path(path).name}: give a name "
            "with such an ending"
        )
    _check_metadata(metadata, suffix, key)
    tensors = {name: _plain(name, array) for name, array in tensors.items()}
    with replacing(path) as file:
        if suffix == ".npz":
            npz_file.write(file, tensors, metadata)
        elif suffix == ".safetensors":
            safetensors_file.write(file, tensors, metadata)
        else:
            torch_write.write(file, tensors, metadata, key)


def _check_metadata(metadata, suffix, key):
    if suffix not in TORCH:
        wrong = next((name for name, value in metadata.items() if not isinstance(value, str)), None)
        if wrong is not None or key is not None:
            raise ValueError(
                f"a {suffix} file has no key and metadata of strings alone; "
                f"came key {key!r}, not a string {wrong!r}"
            )
    elif key is None and metadata:
        raise ValueError(
            f"a bare state dict cannot hold metadata; came {', '.join(metadata)}: give a key, "
            "as 'model_state'"
        )
    elif key in metadata:
        raise ValueError(
            f"the key {key!r} holds the state dict, and metadata has it too: rename one"
        )


def _plain(name, array):
    """Little-endian and C-contiguous, as every format has it."""
    if not isinstance(name, str):
        raise ValueError(f"tensors have names; came {name!r}")
    array = np.asarray(array)
    return np.asarray(array, array.dtype.newbyteorder("<"), order="C")
