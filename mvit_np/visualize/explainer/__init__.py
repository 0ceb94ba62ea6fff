"""A page on which a trained model runs live: HTML, style, scripts and weights in a single file."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict
from typing import Any

import numpy as np

from ...backend import tree as trees
from ...backend.arrays import to_host
from ...backend.types import Params
from ...model.config import MViTConfig
from .bundle import folder, script, style
from .source_lines import op_lines

LARGEST = 2_000_000  # bytes of a page
MARK = "Written by `mvit-np explainer"  # in each page


def page(
    params: Params,
    config: MViTConfig,
    classes: tuple[str, ...],
    normalise: str | tuple = "clip",
    tau: float = 1.8,
    note: str = "",
) -> str:
    """The HTML of a page that runs the model of `params` and needs nothing but itself.

    classes    names, in the order of the scores
    normalise  "clip", or (mean, deviation) of pixels in 0..1
    tau        frames of 1/30 s from one frame of a clip to the next
    note       what is known of the model's training and test, in a sentence

    Raises ValueError for a model with parts that the page's scripts lack, and for one that is too
    large.
    """
    _check(config)
    pairs = [(path, np.asarray(to_host(leaf), "<f4")) for path, leaf in trees.paths(params)]
    about: dict[str, Any] = {
        "config": asdict(config),
        "arrays": [(path, array.shape) for path, array in pairs],
        "classes": classes,
        "normalise": normalise,
        "tau": tau,
        "note": note,
        "lines": op_lines(),
    }
    parts = {
        "MARK": f"{MARK} --model FILE --out PAGE`",
        "STYLE": style(),
        "ABOUT": json.dumps(about).replace("<", "\\u003c"),
        "WEIGHTS": base64.b64encode(b"".join(array.tobytes() for _, array in pairs)).decode(),
        "SCRIPT": script(),
    }
    text = (folder / "page.html").read_text("utf-8")
    for name, part in parts.items():
        text = text.replace(f"@{name}@", part, 1)
    if len(text.encode()) > LARGEST:
        count = sum(array.size for _, array in pairs)
        came = f"the model has {count:,} parameters"
        raise ValueError(f"a page has at most {LARGEST:,} bytes; {came}: take a smaller model")
    return text


def _check(config):
    """Raise ValueError for what the scripts of the page do not do."""
    lacking = {
        "positions": config.positions == "relative",
        "mask_unit": config.mask_unit is not None,
        "reversible": config.reversible,
        "time_depth": config.time_depth > 0,
        "frames": config.frames == 1,
        "channels": config.channels not in (1, 3),
    }
    for name, is_so in lacking.items():
        if is_so:
            rule = "the page runs video models like MViT and ViT, with absolute positions"
            came = f"came {name} = {getattr(config, name)!r}"
            raise ValueError(f"{rule}; {came}: take a run of the recipe small or demo")
