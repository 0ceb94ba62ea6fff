"""The config that SlowFast and facebookresearch/mvit put into their checkpoints, as ours.

It tells what shapes cannot. What it asks for and mvit_np does not have is refused by the name it
has there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...backend.types import Params
from ...data.clips import NORMALISATIONS
from ...model.config import MViTConfig
from ...model.forward import check_params
from ..about import About
from ..formats.yaml_text import parsed
from . import slowfast_fields as fields
from .from_shapes import IN_TRAINING_ALONE, OF_THE_FILE, Note, made
from .shapes import of_the_file, whole
from .slowfast_fields import require
from .slowfast_pyramid import pyramid, triple

KEY = "cfg"  # where their files keep it, as YAML text
LAYOUTS = ("slowfast", "slowfast_rev", "pytorchvideo")  # of files that may hold one
FPS = 30  # that our `tau` counts in
OPENCV = ("ssv2", "charades")  # data sets read as BGR, turned to RGB by REVERSE_INPUT_CHANNEL
TURNED = ("ptvssv2", "ptvcharades")  # the same, but only after their colours were normalised
FROM_TV = ("kinetics", "ptvkinetics", "imagenet")  # those read as RGB
TRAINED_ON_BGR = "it was trained on BGR: its cube embedding is converted to RGB"

# PyTorchVideo's model in SlowFast (PTVMViT) does not look at these.
PTV = {
    "MVIT.USE_ABS_POS": True, "MVIT.USE_FIXED_SINCOS_POS": False, "MVIT.REL_POS_SPATIAL": False,
    "MVIT.REL_POS_TEMPORAL": False, "MVIT.RESIDUAL_POOLING": False, "MVIT.USE_MEAN_POOLING": False,
    "MVIT.DIM_MUL_IN_ATT": False, "MVIT.REV.ENABLE": False,
}  # fmt: skip

MODELS = ("MViT", "PTVMViT")
OF_MASKS = "MaskMViT"  # whose encoder is an MViT
# (field, which values mvit_np has, what the others ask for)
SUPPORTED = (
    ("MODEL.MODEL_NAME", lambda value: value in MODELS, "a model that is no MViT for classes"),
    ("DETECTION.ENABLE", lambda value: not value, "a head that classifies boxes"),
    ("CONTRASTIVE.NUM_MLP_LAYERS", lambda value: value == 1, "a head of several layers"),
    ("MVIT.POOL_FIRST", lambda value: not value, "pooling before q, k and v are projected"),
    ("MVIT.MODE", lambda value: value in ("conv", "max", "avg"), "pools of another type"),
    ("MVIT.NORM", lambda value: value == "layernorm", "norms of another type"),
    ("MVIT.NORM_STEM", lambda value: not value, "a norm behind the cube embedding"),
)


def read(
    metadata: dict[str, Any], layout: str, encoder: bool = False
) -> tuple[Said | None, str | None]:
    """(what the config in a file's metadata says, None), (None, why it is unread) or (None, None).

    encoder   the file has no head, so the model may be one that predicts what is hidden

    Raises ValueError where it asks for a model that mvit_np does not have, naming the field.
    """
    cfg = metadata.get(KEY) if layout in LAYOUTS else None
    try:
        cfg = parsed(cfg) if isinstance(cfg, str) else cfg
        if not isinstance(cfg, dict) or not isinstance(cfg.get("MVIT"), dict):
            return None, None
        said = fields.read(cfg) | (PTV if layout == "pytorchvideo" else {})
    except ValueError as problem:
        return None, str(problem)
    if encoder and said["MODEL.MODEL_NAME"] == OF_MASKS:
        said["MODEL.MODEL_NAME"] = MODELS[0]
    for name, has, what in SUPPORTED:
        require(said, name, has(said[name]), what)
    return Said.of(said, fields.unknown(cfg)), None


@dataclass(frozen=True)
class Said:
    """What a config says of a model."""

    fields: dict[str, Any]  # of MViTConfig
    about: About
    notes: tuple[Note, ...]
    sees_bgr: bool
    doubles_positions: bool  # fixed ones, which its forward pass adds twice

    @classmethod
    def of(cls, said: dict[str, Any], unknown: Sequence[str]) -> Said:
        """From the values of its fields, and names that nobody knows."""
        ours = {**_plain_fields(said), **_positions(said), **pyramid(said)}
        doubles = said["MVIT.USE_FIXED_SINCOS_POS"]
        return cls(ours, _about(said), _notes(said, unknown), _sees_bgr(said), doubles)

    def params(self, params: Params) -> Params:
        """The parameters as mvit_np has them: for RGB, with the positions that are added."""
        cube = params["patch_embed"]
        if self.sees_bgr and cube["w"].shape[3] == 3:
            turned = np.ascontiguousarray(cube["w"][:, :, :, ::-1])
            params = params | {"patch_embed": cube | {"w": turned}}
        if self.doubles_positions and "pos_embed" in params:
            params = params | {"pos_embed": 2 * params["pos_embed"]}
        return params

    def config(
        self, params: Params, overrides: dict[str, Any]
    ) -> tuple[MViTConfig, tuple[Note, ...]]:
        """(config, notes) of these parameters.   overrides: see `load`

        Raises ValueError where they are of another model.
        """
        fields = self.fields | of_the_file(params, self.fields | overrides) | overrides
        blocks = len(params["blocks"])
        try:
            found = made(MViTConfig(), fields)
            if found.depth != blocks:
                raise ValueError(f"{found.depth} blocks, and there are {blocks}")
            check_params(params, found)
        except ValueError as problem:
            came = f"its config inside and its parameters are of two models ({problem})"
            remedy = "give like=<preset or config>, which counts before it"
            raise ValueError(f"{came}: {remedy}") from None
        return found, self.notes + self.contradicted(found)

    def contradicted(self, config: MViTConfig) -> tuple[Note, ...]:
        """A note where a config says otherwise."""
        of_model = self.fields.keys() - {*OF_THE_FILE, *IN_TRAINING_ALONE}
        said = [(name, value) for name, value in self.fields.items() if name in of_model]
        differing = [f"{name} {value}" for name, value in said if getattr(config, name) != value]
        text = f"its config inside says {', '.join(differing)}; what you say is taken instead"
        return (Note(text, assumed=True),) if differing else ()


def _plain_fields(said):
    reversible, flat = said["MVIT.REV.ENABLE"], said["MVIT.PATCH_2D"]
    kernel, stride = triple(said["MVIT.PATCH_KERNEL"]), triple(said["MVIT.PATCH_STRIDE"])
    wanted = tuple(0 if k == s else k // 2 for k, s in zip(kernel, stride))
    padding = (0,) * (3 - len(said["MVIT.PATCH_PADDING"])) + tuple(said["MVIT.PATCH_PADDING"])
    require(said, "MVIT.PATCH_PADDING", padding == wanted, f"another padding than {wanted}")
    return {
        "frames": 1 if flat else said["DATA.NUM_FRAMES"],
        "size": said["DATA.TRAIN_CROP_SIZE"],
        "cube_kernel": kernel,
        "cube_stride": stride,
        "dim": said["MVIT.EMBED_DIM"],
        "heads": said["MVIT.NUM_HEADS"],
        "cls_token": said["MVIT.CLS_EMBED_ON"] and not reversible,  # these have none in any case
        "mean_before_norm": said["MVIT.USE_MEAN_POOLING"],
        "residual_pooling": "tokens" if said["MVIT.RESIDUAL_POOLING"] else None,
        "skip": "plain" if reversible else "normalised",
        "reversible": reversible,
        "mlp_ratio": whole(said["MVIT.MLP_RATIO"]),
        "qkv_bias": said["MVIT.QKV_BIAS"],
        "dropout": said["MODEL.DROPOUT_RATE"],
        "drop_path": said["MVIT.DROPPATH_RATE"],
    }


def _positions(said):
    absolute, relative = said["MVIT.USE_ABS_POS"], said["MVIT.REL_POS_SPATIAL"]
    time, separate = said["MVIT.REL_POS_TEMPORAL"], said["MVIT.SEP_POS_EMBED"]
    both = absolute and relative
    require(said, "MVIT.REL_POS_SPATIAL", not both, "absolute and relative positions together")
    require(said, "MVIT.REL_POS_TEMPORAL", relative or not time, "relative positions in time alone")
    fits = not said["MVIT.USE_FIXED_SINCOS_POS"] or absolute and not separate
    require(said, "MVIT.USE_FIXED_SINCOS_POS", fits, "fixed positions without a table of them")
    if relative:
        return {"positions": "relative", "relative_time": time}
    return {"positions": ("separate" if separate else "joint") if absolute else "none"}


def _dataset(said):
    return said["TRAIN.DATASET"].lower()


def _sees_bgr(said):
    """Whether the model was shown blue first."""
    read_so = _dataset(said) in (*OPENCV, *TURNED)
    return _dataset(said) != "imagenet" and read_so != said["DATA.REVERSE_INPUT_CHANNEL"]


def _about(said):
    # The others take frames spread over the film, or of its own rate.
    by_seconds = _dataset(said) not in (*OPENCV, *TURNED)
    rate, fps = said["DATA.SAMPLING_RATE"], said["DATA.TARGET_FPS"]
    tau = rate * FPS / fps if by_seconds and rate > 0 and fps > 0 else None
    picture = said["MVIT.PATCH_2D"] or said["DATA.NUM_FRAMES"] == 1
    return About(tau=1.0 if picture else tau, normalise=_normalisation(said))


def _normalisation(said):
    mean, deviation = (
        _levels(said[name], _dataset(said) in OPENCV) for name in ("DATA.MEAN", "DATA.STD")
    )
    named = {pair: name for name, pair in NORMALISATIONS.items()}
    try:
        return named.get((mean, deviation)) or About(normalise=(mean, deviation)).normalise
    except ValueError:  # nonsense
        return None


def _levels(numbers, turned):
    """A number where all channels have the same one, else one per channel, in RGB."""
    numbers = tuple(map(float, numbers[::-1] if turned else numbers))
    return numbers[0] if len(set(numbers)) == 1 else numbers


def _notes(said, unknown):
    notes = [Note("its config is the one inside the file, as SlowFast writes it")]
    if unknown:
        text = f"its config has {', '.join(unknown[:3])}, which mvit_np does not know: ignored"
        notes.append(Note(text, assumed=True))
    if said["MODEL.HEAD_ACT"] not in ("softmax", "none"):
        act = said["MODEL.HEAD_ACT"]
        why = f"{act} over each score, not softmax over all"
        text = f"its classes do not exclude each other ({why}): use the logits of forward"
        notes.append(Note(text, assumed=True))
    if said["DATA.REVERSE_INPUT_CHANNEL"] and _dataset(said) not in (*OPENCV, *TURNED, *FROM_TV):
        text = f"assuming that its data set is read as RGB, {TRAINED_ON_BGR}"
        notes.append(Note(text, assumed=True))
    elif _sees_bgr(said):
        notes.append(Note(TRAINED_ON_BGR))
    if (rate := said["MVIT.DROPOUT_RATE"]) > 0:
        text = f"dropout inside blocks ({rate}) is for training, and mvit_np has none"
        notes.append(Note(text))
    return tuple(notes)
