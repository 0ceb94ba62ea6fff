"""Files of parameters, our own or public ones of five code bases, as (params, config), and back."""

from __future__ import annotations

import dataclasses
import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from ..backend import tree as trees
from ..backend.arrays import to_host
from ..backend.plain_values import tuples
from ..backend.types import FilePath, Params
from ..model.config import MViTConfig
from ..model.forward import check_params
from ..model.parameters import parameter_shapes
from . import about as abouts
from .about import About
from .configs import from_shapes as infer
from .configs import slowfast_config
from .formats import files, torch_file
from .layouts import state_dicts as layouts
from .layouts.arrays import floats
from .layouts.encoders import encoder_of
from .layouts.limits import check_parts
from .layouts.renames import nested, without_prefix
from .overrides import check_names

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .overrides import Overrides

CONFIG, ABOUT = "config", "about"  # metadata of a file of ours; no parameter is called so
FOREIGN_CONFIG, FOREIGN_ABOUT = "mvit_np_config", "mvit_np_about"  # in another layout
OWN = ".npz", ".safetensors"
DAMAGED = TypeError, AttributeError, RecursionError, OverflowError, json.JSONDecodeError
MODEL, BEST = "model.npz", "best.npz"  # of a run's folder: the last, and the best in a test so far


@dataclasses.dataclass(frozen=True)
class Loaded:
    """What a file holds: `layout` "mvit_np" or a key of `layouts.TITLES`, `count` tensors.

    headless   the file has no head: that of `params`, of zeros, is new, and maybe its last norm
    """

    params: Params
    config: MViTConfig
    notes: tuple[infer.Note, ...]
    layout: str
    count: int
    about: About
    headless: bool = False

    @property
    def assumed(self) -> str:
        """What is not known and is assumed, in words; "" where there is no such thing."""
        return "; ".join(note.text for note in self.notes if note.assumed)

    @property
    def new_head(self) -> str:
        """That the head is new, in words; "" where it is the file's."""
        text = f"it has no head: the one for {self.config.num_classes} classes is new and of zeros"
        return text if self.headless else ""

    @property
    def doubts(self) -> str:
        """What a warning says: both."""
        return "; ".join(text for text in (self.new_head, self.assumed) if text)


def load(
    path: FilePath,
    like: str | MViTConfig | None = None,
    best: bool = False,
    **overrides: Unpack[Overrides],
) -> tuple[Params, MViTConfig]:
    """Parameters and config of a file, or of the folder of a run: (params, config).

    In a run's folder that is model.npz, and with `best`, or while the run has not come to its end,
    best.npz. A file that `save` or `convert` wrote has its config inside, and so have checkpoints
    of SlowFast and facebookresearch/mvit, in their own format. Of other public ones (PyTorchVideo,
    torchvision, timm) shapes tell most of it, and the presets or `like` (a preset's name or a
    config) and `overrides` (fields of MViTConfig, such as `stride_kv=(1, 4, 4)`) the rest; what is
    still unknown is assumed with a UserWarning. `overrides`, then `like`, have priority over a
    config in another format. float16 becomes float32. `forward` then gives logits, also where the
    code base ends in a softmax when it evaluates (SlowFast). Raises TypeError for an override that
    is no field, FileNotFoundError, or ValueError for a file that is damaged, incomplete, another
    model's, or holds NaN.
    """
    found = open_model(path, like, best, **overrides)
    if found.doubts:
        warnings.warn(f"{path}: {found.doubts}", UserWarning, stacklevel=2)
    return found.params, found.config


def load_with_notes(
    path: FilePath,
    like: str | MViTConfig | None = None,
    best: bool = False,
    **overrides: Unpack[Overrides],
) -> tuple[Params, MViTConfig, tuple[infer.Note, ...]]:
    """(params, config, notes): as `load`, without a warning; notes say where the config is from."""
    found = open_model(path, like, best, **overrides)
    new = (infer.Note(found.new_head, assumed=True),) if found.headless else ()
    return found.params, found.config, found.notes + new


def open_model(
    path: FilePath,
    like: str | MViTConfig | None = None,
    best: bool = False,
    **overrides: Unpack[Overrides],
) -> Loaded:
    """As `load`, but all that is known: a `Loaded`, without a warning."""
    check_names(overrides)
    path = file_of(path, best)
    tensors, metadata = files.read(path)
    try:
        read = _own if _is_own(tensors, metadata) else _foreign
        found = read(tensors, metadata, like, overrides)
        params, notes = _in_order(found.params, found.config), found.notes + _unasked(metadata)
        return dataclasses.replace(found, params=params, notes=notes)
    except ValueError as problem:
        raise ValueError(files.sentence(path, problem)) from None


def _unasked(metadata):
    """A note where a checkpoint also has its weights' running mean, which some take instead."""
    mean = metadata.get(torch_file.MEAN)
    text = f"the file also holds a running mean of its weights, under {mean}, which is not taken"
    return (infer.Note(text, assumed=True),) if mean else ()


def file_of(path: FilePath, best: bool = False) -> Path:
    """The path itself, or a run's model (see `load`). Raises FileNotFoundError without one."""
    path = Path(path)
    if not path.is_dir():
        if best:
            came = f"the best model is in the folder of a run, and {path} is no folder"
            raise ValueError(f"{came}: give the folder, or leave best out")
        return path
    names = (BEST,) if best else (MODEL, BEST)
    found = next((path / name for name in names if (path / name).is_file()), None)
    if found is None:
        remedy = "give the folder of a run that has saved one, or a file"
        raise FileNotFoundError(f"the folder {path} has no {' and no '.join(names)}: {remedy}")
    return found


def save(path: FilePath, params: Params, config: MViTConfig, about: About | None = None) -> None:
    """Write parameters and config to `path` (.npz, .safetensors), replaced only once whole.

    about   an `About`: the names of the classes, and how to sample and normalise clips
    """
    path, about = Path(path), about or About()
    if path.suffix not in OWN:
        raise ValueError(
            f"mv.save writes {' and '.join(OWN)} files; came {path.name}: give a name ending in "
            f"{' or '.join(OWN)}, or use `mvit-np convert` for other layouts"
        )
    check_params(params, config)
    abouts.check_classes(about, config)
    metadata = {CONFIG: config_text(config), ABOUT: abouts.to_text(about)}
    files.write(path, dict(trees.paths(to_host(params))), metadata)


def config_text(config: MViTConfig) -> str:
    """A config as JSON."""
    return json.dumps(dataclasses.asdict(config))


def _is_own(tensors, metadata):
    """Whether `save` wrote a file: scripts use the same word, but beside names never ours."""
    return CONFIG in metadata and not any(name.endswith(".weight") for name in tensors)


def _own(tensors, metadata, like, overrides):
    config = _parsed(metadata[CONFIG], like, overrides)
    _check_depth(config, {path.split(".")[1] for path in tensors if path.startswith("blocks.")})
    about = _about(metadata.get(ABOUT), config)
    return Loaded(nested(floats(tensors)), config, (), "mvit_np", len(tensors), about)


def _foreign(tensors, metadata, like, overrides):
    tensors, headless = encoder_of(tensors)
    try:
        layout = layouts.recognise(tensors)
    except ValueError as problem:
        raise ValueError(f"it is no model that mv.save wrote, and {problem}") from None
    said, unreadable = slowfast_config.read(metadata, layout, headless)
    check_parts(without_prefix(tensors))
    base = infer.config_of(like) if headless and like is not None else MViTConfig()
    new_classes = overrides.get("num_classes", base.num_classes) if headless else None
    params = layouts.to_params(floats(tensors), layout, new_classes)
    found = _of_layout(tensors, metadata, like, overrides, layout, params, said, unreadable)
    return dataclasses.replace(found, headless=headless)


def _of_layout(tensors, metadata, like, overrides, layout, params, said, unreadable):
    if FOREIGN_CONFIG in metadata:
        config = _parsed(metadata[FOREIGN_CONFIG], like, overrides)
        _check_depth(config, params["blocks"])
        about = _about(metadata.get(FOREIGN_ABOUT), config)
        return Loaded(params, config, (), layout, len(tensors), about)
    hints = layouts.hints(tensors, layout)
    if said is None:
        config, notes, preset = infer.recognised(params, like, hints, **overrides)
        if unreadable:
            text = f"the config inside cannot be read ({unreadable})"
            notes = (infer.Note(text, assumed=True), *notes)
        about = About(tau=infer.tau_of(preset, config))
        return Loaded(params, config, notes, layout, len(tensors), about)
    params = said.params(params)
    if like is None:
        config, notes = said.config(params, overrides)
    else:
        config, notes = infer.config(params, like, hints, **overrides)
        notes += said.contradicted(config)
    return Loaded(params, config, notes, layout, len(tensors), said.about)


def _about(text, config):
    about = abouts.from_text(text)
    abouts.check_classes(about, config)
    return about


def _parsed(text, like, overrides):
    """The config of a file. `like` and `overrides` may repeat it, nothing else."""
    try:
        config = MViTConfig(**{name: tuples(value) for name, value in json.loads(text).items()})
    except DAMAGED as problem:
        came = f"its config is damaged: {str(problem)[:200]}"
        raise ValueError(f"it is no model that mv.save wrote ({came}): save it again") from None
    wanted = dataclasses.replace(infer.config_of(like) if like is not None else config, **overrides)
    for name in (field.name for field in dataclasses.fields(config)):
        said, asked = getattr(config, name), getattr(wanted, name)
        if said != asked:
            came = f"its config says {name} {said}, you say {asked}"
            raise ValueError(f"{came}: leave that to the file")
    return config


def _check_depth(config, blocks):
    """Before a plan of as many blocks as a damaged config asks for is made."""
    if config.depth != len(blocks):
        came = f"its config has {config.depth} blocks, and its parameters {len(blocks)}"
        raise ValueError(f"{came}: it is damaged")


def _in_order(params, config):
    """The same in the order of `init`, checked."""
    check_params(params, config)
    given = dict(trees.paths(params))
    return nested({path: given[path] for path in parameter_shapes(config)})
