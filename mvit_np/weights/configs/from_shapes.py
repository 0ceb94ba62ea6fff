"""Which config parameters belong to: by their shapes, else by a preset or by convention."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ...backend.types import Params
from ...model.config import MViTConfig
from ...model.forward import check_params
from ...model.presets import PRESETS, preset
from ..overrides import check_names
from .conventions import candidates
from .position_tables import frames_and_size
from .shapes import of_the_file, visible

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..overrides import Overrides

# Fields in which a file may differ from the model that it was made from.
OF_THE_FILE = ("frames", "size", "channels", "num_classes", "unpooled_kv", "uneven")
IN_TRAINING_ALONE = ("dropout", "drop_path")
LABELS = {
    "frames": "frames",
    "size": "size",
    "depths": "stages",
    "heads": "heads",
    "cube_stride": "cube stride",
    "stride_q": "query stride",
    "stride_kv": "key-value stride",
    "adaptive_kv": "adaptive keys",
    "pool": "pooling",
    "pool_kernel": "pool kernel",
    "mask_unit": "mask unit",
    "mask_unit_stages": "mask unit stages",
    "residual_pooling": "residual pooling",
    "mean_before_norm": "mean pooling (mean_before_norm)",
}


@dataclass(frozen=True)
class Note:
    """Where a config is from. `assumed`: neither shapes nor preset nor caller told it."""

    text: str
    assumed: bool = False

    def __str__(self) -> str:
        return self.text


def config(
    params: Params,
    like: str | MViTConfig | None = None,
    hints: dict[str, Any] | None = None,
    **overrides: Unpack[Overrides],
) -> tuple[MViTConfig, tuple[Note, ...]]:
    """(config, notes) of parameters in our layout; notes is a tuple of `Note`.

    like        a preset's name or an MViTConfig: decides what shapes cannot tell
    hints       fields that the layout of a file tells (`layouts.hints`)
    overrides   fields of MViTConfig: these count before all else

    Raises ValueError where `like` and the shapes disagree, and where no config has these shapes.
    """
    return recognised(params, like, hints, **overrides)[:2]


def recognised(
    params: Params,
    like: str | MViTConfig | None = None,
    hints: dict[str, Any] | None = None,
    **overrides: Unpack[Overrides],
) -> tuple[MViTConfig, tuple[Note, ...], str | None]:
    """As `config`, and besides the name of the preset that it is like, or None."""
    if "bridge" in params:
        rule = "a factorised encoder (ViViT) is read with its config alone"
        raise ValueError(f"{rule}: load a file that mv.save wrote")
    check_names(overrides)
    told = {**(hints or {}), **overrides}
    seen = visible(params, told.get("depths"))
    if like is not None:
        return _as_like(params, seen, told, like), (), like if isinstance(like, str) else None
    if matches := list(_matching_presets(params, seen, told)):
        return _nearest(params, matches, seen, told)
    return *_conventional(params, seen, told), None


def tau_of(name: str | None, config: MViTConfig) -> float | None:
    """The `tau` of a preset's name, where the config has as many frames; else None."""
    found = PRESETS.get(name) if name else None
    return found.tau if found and found.config.frames == config.frames else None


def config_of(like: str | MViTConfig) -> MViTConfig:
    """The MViTConfig of a preset's name; a config as it is.

    Raises TypeError for anything else, ValueError for an unknown name.
    """
    if not isinstance(like, (str, MViTConfig)):
        came = f"came {type(like).__name__}: give such as 'mvit_b_16x4'"
        raise TypeError(f"like is a preset's name or an MViTConfig; {came}")
    return preset(like) if isinstance(like, str) else like


def _as_like(params, seen, overrides, like):
    base, name = config_of(like), repr(like) if isinstance(like, str) else "the config given"
    for field, value in seen.items():
        wanted = overrides.get(field, getattr(base, field))
        if wanted != value and field not in OF_THE_FILE:
            came = f"{name} has {field} {wanted}, the file {value}"
            raise ValueError(f"like is a model of these shapes; {came}: give another")
    found = _filled(params, seen, overrides, base)
    check_params(params, found)
    return found


def _filled(params, seen, overrides, base):
    """`base` with the grid and the classes of the parameters."""
    told = vars(base) | overrides
    usual = {"frames": base.frames, "size": base.size}
    tables = frames_and_size(params, seen, told["cube_stride"], overrides, usual)
    return made(base, of_the_file(params, told) | tables | overrides)


def made(base: MViTConfig, fields: dict[str, Any]) -> MViTConfig:
    """`base` with these fields; grids that a stride does not divide are rounded up if possible.

    Raises ValueError where there is no such config.
    """
    try:
        return replace(base, **fields)
    except ValueError as problem:
        try:
            return replace(base, **{"uneven": True} | fields)
        except ValueError:
            raise problem from None


def _matching_presets(params, seen, overrides):
    for name, known in PRESETS.items():
        if known.config.dim != seen["dim"] or known.config.depth != len(params["blocks"]):
            continue  # spares building it
        try:
            candidate = _filled(params, seen, overrides, known.config)
            check_params(params, candidate)
        except ValueError:
            continue
        yield name, candidate


def _nearest(params, matches, seen, overrides):
    """The preset nearest to what the file decides; others that fit but differ are named."""

    def far(match):
        base = PRESETS[match[0]].config
        return sum(getattr(base, field) != getattr(match[1], field) for field in OF_THE_FILE)

    (name, found), *others = sorted(matches, key=far)
    hidden = _hidden(params, found, seen, overrides)
    notes = []
    if hidden:
        notes.append(Note(f"{hidden}: taken from preset {name}; give like=... to change it"))
    if rivals := [other for other, candidate in others if _computed(candidate) != _computed(found)]:
        text = f"took preset {name}, but {', '.join(rivals)} would fit as well"
        notes.append(Note(f"{text}: give like=... to choose", assumed=True))
    return found, tuple(notes), name


def _computed(found):
    return replace(found, **dict.fromkeys(IN_TRAINING_ALONE, 0))


def _conventional(params, seen, overrides):
    fitting, problem = [], None
    for fields in candidates(params, seen, overrides):
        try:
            candidate = made(MViTConfig(), fields)
            check_params(params, candidate)
        except ValueError as why:
            problem = problem or why
            continue
        fitting.append(candidate)
        if seen["positions"] != "relative":
            break  # nothing could tell the others from this one
    if not fitting:
        remedy = "give like=<preset or config>, or fields of MViTConfig"
        raise ValueError(f"no usual config has these shapes ({problem}): {remedy}")
    if len({candidate.stride_kv for candidate in fitting}) == 1 and seen["positions"] == "relative":
        overrides = overrides | {"stride_kv": fitting[0].stride_kv}  # by the lengths of the tables
    hidden = _hidden(params, fitting[0], seen, overrides)
    text = f"{hidden}: assumed, as shapes do not tell; give like=<preset or config> to change it"
    return fitting[0], (Note(text, assumed=True),) if hidden else ()


def _hidden(params, found, seen, overrides):
    """Those fields, with their values, that no shape tells and nobody told."""
    conv = any("pool_k" in block["attn"] or "pool_q" in block["attn"] for block in params["blocks"])
    by_kernel = conv and isinstance(found.pool_kernel, str)
    relative, shrinks = found.positions == "relative", len(found.depths) > 1
    keys = found.stride_kv is not None
    joint_of_size = found.positions == "joint" and "size" in overrides
    by_table = found.positions == "separate" or relative and found.relative_time or joint_of_size
    hidden = {
        "frames": not by_table,
        "size": True,  # a square, if nothing else
        "depths": "depths" not in seen,
        "heads": "heads" not in seen,
        "cube_stride": any(k % 2 and k > 1 for k in found.cube_kernel),
        "stride_q": shrinks and not by_kernel and not relative,
        "stride_kv": not conv or keys and not by_kernel,
        "adaptive_kv": shrinks and keys and not by_kernel and not relative,
        "pool": not conv and (shrinks or keys),
        "pool_kernel": not conv and (shrinks or keys),
        "mask_unit": found.mask_unit is not None,
        "mask_unit_stages": found.mask_unit is not None,
        "residual_pooling": True,
        "mean_before_norm": True,
    }
    fields = [field for field, hides in hidden.items() if hides and field not in overrides]
    return ", ".join(f"{LABELS[field]} {getattr(found, field)}" for field in fields)
