"""A model in one .npz file: every parameter under its path, and the config as JSON. Nothing is pickled."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from .. import tree as trees
from ..backend import to_host
from ..config import MViTConfig
from ..model import check_params

CONFIG = "config"  # the entry that holds the config; no parameter path is this word


def save(path, params, config):
    """Write parameters and config to `path` (.npz), all or nothing: a file that is there is replaced only once whole."""
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"mv.save writes .npz files; came {path.name}: give a name ending in .npz")
    entries = dict(trees.paths(to_host(params)))
    entries[CONFIG] = np.array(json.dumps(dataclasses.asdict(config)))
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            np.savez(file, **entries)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def load(path):
    """Parameters and config of a file that `save` wrote.

    Raises FileNotFoundError, or ValueError for a file that is none of ours, is damaged or does not fit its own config.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"mv.load reads a file, and there is none at {path}: check the path")
    try:
        with np.load(path, allow_pickle=False) as file:
            entries = {name: file[name] for name in file.files}
        config = _config(entries.pop(CONFIG))
    except (ValueError, KeyError, OSError, EOFError, TypeError, zipfile.BadZipFile) as problem:
        raise ValueError(f"{path} is no model that mv.save wrote, or it is damaged ({problem}): save it again") from None
    params = _tree(entries)
    check_params(params, config)
    return params, config


def _config(entry):
    fields = json.loads(str(entry))
    return MViTConfig(**{name: _tuples(value) for name, value in fields.items()})


def _tuples(value):
    """JSON has lists where configs have tuples."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _tree(entries):
    """Paths such as `blocks.3.attn.qkv.w` back to nested dicts, and dicts with the keys 0, 1, 2, ... to lists."""
    root = {}
    for path, leaf in entries.items():
        *parents, last = path.split(".")
        node = root
        for key in parents:
            node = node.setdefault(key, {})
        node[last] = leaf
    return _lists(root)


def _lists(node):
    if not isinstance(node, dict):
        return node
    children = {key: _lists(child) for key, child in node.items()}
    numbered = children and all(key.isdigit() for key in children)
    return [children[key] for key in sorted(children, key=int)] if numbered else children
