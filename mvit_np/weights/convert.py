"""From one file of parameters to another, in another format or another code base's layout."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..backend import tree as trees
from ..backend.arrays import to_host
from ..backend.types import FilePath
from ..model.config import MViTConfig
from .about import to_text
from .configs.from_shapes import config_of, tau_of
from .formats import files
from .inflate import inflate as inflated
from .inflate import to_draw
from .layouts import state_dicts as layouts
from .load import FOREIGN_ABOUT, FOREIGN_CONFIG, Loaded, config_text, file_of, open_model, save

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .overrides import Overrides

OWN = {"npz": ".npz", "safetensors": ".safetensors"}
LAYOUTS = ("torchvision", "slowfast", "pytorchvideo", "timm")
KEYED = ("slowfast", "pytorchvideo")  # the state dict is under "model_state", beside the config


@dataclass(frozen=True)
class Converted:
    """What `convert` read, wrote (`tensors` of a model of `config`) and made new (their paths)."""

    source: Loaded
    to: str
    config: MViTConfig
    tensors: int
    new: tuple[str, ...] = ()


def convert(
    source: FilePath,
    target: FilePath,
    to: str | None = None,
    like: str | MViTConfig | None = None,
    split: bool | None = None,
    inflate: str | None = None,
    into: str | MViTConfig | None = None,
    rng: np.random.Generator | None = None,
    best: bool = False,
    **overrides: Unpack[Overrides],
) -> Converted:
    """Write the model of `source` (a file, or the folder of a run) to `target`.

    to          "npz", "safetensors" (ours, with the config inside), "slowfast", "pytorchvideo",
                "torchvision" or "timm" (theirs, in .pth, .pyth, .pt or .safetensors); None: as the
                suffix of `target` says
    like        with `overrides` what the source's shapes do not tell, see `load`
    best        of a run's folder the best model, not the last
    split       q, k and v as three layers; None: as the code base has them
    inflate     "centre", "mean" or "repeat": an image model becomes the video model `into` (a
                preset's name or a config), with `rng` for what the image model lacks, see
                `inflate.inflate`

    What the source says about its classes, tau and normalisation goes along, where the target can
    hold it (a video model that an image model becomes has the tau of the preset `into`).
    Raises FileNotFoundError or ValueError, before anything is written.
    """
    source, target = file_of(source, best), Path(target)
    to = _target(target, to)
    if source.exists() and target.exists() and source.samefile(target):
        raise ValueError(
            f"a file is not converted into itself, came {target} twice: give another name"
        )
    if (inflate is None) != (into is None):
        rule = "inflate says how and into says which video model"
        raise ValueError(f"{rule}; one of them came alone: give both or none")
    found = open_model(source, like, **overrides)
    if found.headless:
        raise ValueError(
            f"a classifier is converted; {source} has no head: give it one with mvit-np finetune"
        )
    params, config, about = found.params, found.config, found.about
    new: tuple[str, ...] = ()
    if inflate is not None and into is not None:
        config, new = config_of(into), to_draw(found.config, config_of(into))
        params = inflated(params, found.config, config, inflate, rng)
        about = _about_video(about, into, config)
    return Converted(found, to, config, _write(target, params, config, about, to, split), new)


def _about_video(about, into, config):
    """What holds of a video model too that an image model became."""
    named = about.classes is not None and len(about.classes) == config.num_classes
    tau = tau_of(into, config) if isinstance(into, str) else None
    return replace(about, tau=tau, classes=about.classes if named else None)


def _write(target, params, config, about, to, split):
    """The number of arrays written."""
    if to in OWN:
        save(target, params, config, about)
        return len(trees.leaves(params))
    tensors = layouts.from_params(to_host(params), config, to, split)
    metadata = {}
    if to in KEYED:
        metadata = {FOREIGN_CONFIG: config_text(config), FOREIGN_ABOUT: to_text(about)}
    key = "model_state" if to in KEYED and target.suffix in files.TORCH else None
    files.write(target, tensors, metadata, key)
    return len(tensors)


def _target(target, to):
    """The layout of the target, which its suffix has to fit."""
    by_suffix = {suffix: layout for layout, suffix in OWN.items()}
    if to is None and target.suffix not in by_suffix:
        raise ValueError(
            f"a target's suffix says its layout if it is {' or '.join(by_suffix)}; came "
            f"{target.name}: give --to (to=)"
        )
    to = to or by_suffix[target.suffix]
    if to not in (*OWN, *LAYOUTS):
        raise ValueError(f"a target is one of {', '.join((*OWN, *LAYOUTS))}; came {to!r}: pick one")
    suffixes = (OWN[to],) if to in OWN else (*files.TORCH, ".safetensors")
    if target.suffix not in suffixes:
        rule = f"{to} is written to {', '.join(suffixes)}"
        raise ValueError(f"{rule}; came {target.name}: give a name with such an ending")
    return to
