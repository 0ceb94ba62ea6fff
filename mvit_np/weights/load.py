"""Files of parameters, our own or public ones of five code bases, as (params, config), and the way back for our own."""

from __future__ import annotations

import dataclasses
import json
import warnings
from pathlib import Path

import numpy as np

from .. import tree as trees
from ..backend import to_host
from ..config import MViTConfig
from ..model import check_params, init
from . import files, infer, layouts
from .quirks import nested

CONFIG = "config"  # the metadata that hold the config of a file of ours; no parameter path is this word
FOREIGN_CONFIG = "mvit_np_config"  # the same in a file of another layout that we wrote
OWN = ".npz", ".safetensors"


@dataclasses.dataclass(frozen=True)
class Loaded:
    """What a file holds. `layout` is "mvit_np" or a key of `layouts.TITLES`; `count` the number of its tensors."""

    params: dict
    config: MViTConfig
    notes: tuple[infer.Note, ...]
    layout: str
    count: int


def load(path, like=None, **told):
    """Parameters and config of a file: (params, config).

    A file that `save` or `convert` wrote has its config inside. A public checkpoint (SlowFast, PyTorchVideo, torchvision,
    timm) has not: shapes tell most of it, and the presets or `like` (a preset's name or a config) and `told` (fields of
    MViTConfig) the rest; what nobody told is assumed with a UserWarning. float16 becomes float32.
    `forward` then gives logits, also where the code base ends in a softmax when it evaluates (SlowFast).
    Raises FileNotFoundError, or ValueError for a file that is damaged, incomplete, another model's, or holds NaN.
    """
    params, config, notes = load_with_notes(path, like, **told)
    if assumed := [note.text for note in notes if note.assumed]:
        warnings.warn(f"{path}: {'; '.join(assumed)}", UserWarning, stacklevel=2)
    return params, config


def load_with_notes(path, like=None, **told):
    """(params, config, notes): as `load`, without a warning; notes say where the config is from."""
    found = open_model(path, like, **told)
    return found.params, found.config, found.notes


def open_model(path, like=None, **told):
    """As `load`, but all that is known: a `Loaded`."""
    tensors, metadata = files.read(path)
    try:
        found = _own(tensors, metadata, like, told) if CONFIG in metadata else _foreign(tensors, metadata, like, told)
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None
    return dataclasses.replace(found, params=_in_order(found.params, found.config), count=len(tensors))


def save(path, params, config):
    """Write parameters and config to `path` (.npz or .safetensors): a file that is there is replaced only once whole."""
    path = Path(path)
    if path.suffix not in OWN:
        raise ValueError(
            f"mv.save writes {' and '.join(OWN)} files; came {path.name}: give a name ending in {' or '.join(OWN)}, "
            "or use `mvit-np convert` for other layouts"
        )
    check_params(params, config)
    files.write(path, dict(trees.paths(to_host(params))), {CONFIG: config_text(config)})


def config_text(config):
    """A config as JSON."""
    return json.dumps(dataclasses.asdict(config))


def _own(tensors, metadata, like, told):
    config = _parsed(metadata[CONFIG], like, told)
    _check_depth(config, {path.split(".")[1] for path in tensors if path.startswith("blocks.")})
    return Loaded(nested(_numbers(tensors)), config, (), "mvit_np", 0)


def _foreign(tensors, metadata, like, told):
    try:
        layout = layouts.recognise(tensors)
    except ValueError as problem:
        raise ValueError(f"it is no model that mv.save wrote, and {problem}") from None
    params = layouts.to_params(_numbers(tensors), layout)
    if FOREIGN_CONFIG in metadata:
        config, notes = _parsed(metadata[FOREIGN_CONFIG], like, told), ()
        _check_depth(config, params["blocks"])
    else:
        config, notes = infer.config(params, like, layouts.hints(tensors, layout), **told)
    return Loaded(params, config, notes, layout, 0)


def _parsed(text, like, told):
    """The config of a file. `like` and `told` may repeat it, nothing else."""
    try:
        config = MViTConfig(**{name: _tuples(value) for name, value in json.loads(text).items()})
    except (TypeError, AttributeError, RecursionError, json.JSONDecodeError) as problem:
        raise ValueError(f"it is no model that mv.save wrote (its config is damaged: {problem}): save it again") from None
    wanted = dataclasses.replace(infer.config_of(like) if like is not None else config, **told)
    if differing := [f.name for f in dataclasses.fields(config) if getattr(config, f.name) != getattr(wanted, f.name)]:
        name = differing[0]
        raise ValueError(
            f"its config says {name} {getattr(config, name)}, you say {getattr(wanted, name)}: leave that to the file"
        )
    return config


def _tuples(value):
    """JSON has lists where configs have tuples."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _check_depth(config, blocks):
    """Before a plan of as many blocks as a damaged config asks for is made."""
    if config.depth != len(blocks):
        raise ValueError(f"its config has {config.depth} blocks, and its parameters {len(blocks)}: it is damaged")


def _numbers(tensors):
    """float32 or float64 arrays. Raises ValueError for other types, NaN and infinity, naming the parameter."""
    for name, x in tensors.items():
        if x.dtype.kind != "f":
            raise ValueError(f"parameters are floats, and {name} is {x.dtype}: quantised or other data is not read")
        if not np.isfinite(x).all():
            raise ValueError(f"parameters are finite, and {name} holds NaN or infinity: take another checkpoint")
    return {name: x.astype(np.float32) if x.dtype == np.float16 else x for name, x in tensors.items()}


def _in_order(params, config):
    """The same in the order of `init`, checked."""
    check_params(params, config)
    given, shapes = dict(trees.paths(params)), init(config, rng=None)
    return trees.flatten(shapes)[1]([given[path] for path, _ in trees.paths(shapes)])
