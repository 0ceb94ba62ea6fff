"""The config that SlowFast and facebookresearch/mvit put into their checkpoints, as ours.

It tells what shapes cannot. What it asks for and mvit_np does not have is refused by the name it
has there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...data.clips import NORMALISATIONS
from ...model.config import MViTConfig
from ...model.forward import check_params
from ..about import About
from ..formats.yaml_text import parsed
from . import slowfast_fields as fields
from .from_shapes import IN_TRAINING_ALONE, OF_THE_FILE, Note, made
from .slowfast_fields import require
from .slowfast_pyramid import pyramid, triple

KEY = "cfg"  # where their files keep it, as YAML text
LAYOUTS = ("slowfast", "slowfast_rev", "pytorchvideo")  # of files that may hold one
FPS = 30  # that our `tau` counts in
# data sets read as BGR, which REVERSE_INPUT_CHANNEL then turns to RGB
OPENCV = ("ssv2", "charades")
TURNED = ("ptvssv2", "ptvcharades")  # the same, but only after their colours were normalised
FROM_TV = ("kinetics", "ptvkinetics", "imagenet")  # those read as RGB

# PyTorchVideo's model in SlowFast (PTVMViT) does not look at these.
PTV = {
    "MVIT.USE_ABS_POS": True, "MVIT.USE_FIXED_SINCOS_POS": False, "MVIT.REL_POS_SPATIAL": False,
    "MVIT.REL_POS_TEMPORAL": False, "MVIT.RESIDUAL_POOLING": False, "MVIT.USE_MEAN_POOLING": False,
    "MVIT.DIM_MUL_IN_ATT": False, "MVIT.REV.ENABLE": False,
}  # fmt: skip

# (field, which values mvit_np has, what the others ask for)
SUPPORTED = (
    (
        "MODEL.MODEL_NAME",
        lambda value: value in ("MViT", "PTVMViT"),
        "a model that is no MViT for classes",
    ),
    ("DETECTION.ENABLE", lambda value: not value, "a head that classifies boxes"),
    ("CONTRASTIVE.NUM_MLP_LAYERS", lambda value: value == 1, "a head of several layers"),
    ("MVIT.POOL_FIRST", lambda value: not value, "pooling before q, k and v are projected"),
    ("MVIT.MODE", lambda value: value in ("conv", "max", "avg"), "pools of another kind"),
    ("MVIT.NORM", lambda value: value == "layernorm", "norms of another kind"),
    ("MVIT.NORM_STEM", lambda value: not value, "a norm behind the cube embedding"),
)


def read(metadata, layout):
    """(what the config among the metadata of a file says, None) or (None, why it cannot be read);
    (None, None): there is none.

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
    for name, has, what in SUPPORTED:
        require(said, name, has(said[name]), what)
    return Said.of(said, fields.unknown(cfg)), None


@dataclass(frozen=True)
class Said:
    """What a config says of a model."""

    fields: dict  # of MViTConfig
    about: About
    notes: tuple[Note, ...]
    sees_bgr: bool
    doubles_positions: bool  # fixed ones, which its forward pass adds twice

    @classmethod
    def of(cls, said, unknown):
        """From the values of its fields, and names that nobody knows."""
        ours = {**_plain_fields(said), **_positions(said), **pyramid(said)}
        return cls(
            ours,
            _about(said),
            _notes(said, unknown),
            _sees_bgr(said),
            said["MVIT.USE_FIXED_SINCOS_POS"],
        )

    def params(self, params):
        """The parameters as mvit_np has them: for pictures in RGB, with the positions that are
        added.
        """
        cube = params["patch_embed"]
        if self.sees_bgr and cube["w"].shape[3] == 3:
            params = params | {
                "patch_embed": cube | {"w": np.ascontiguousarray(cube["w"][:, :, :, ::-1])}
            }
        if self.doubles_positions and "pos_embed" in params:
            params = params | {"pos_embed": 2 * params["pos_embed"]}
        return params

    def config(self, params, overrides):
        """(config, notes) of these parameters.   overrides: see `load`

        Raises ValueError where they are of another model.
        """
        fields = self.fields | _of_shapes(params, self.fields | overrides) | overrides
        blocks = len(params["blocks"])
        try:
            found = made(MViTConfig(), fields)
            if found.depth != blocks:
                raise ValueError(f"{found.depth} blocks, and there are {blocks}")
            check_params(params, found)
        except ValueError as problem:
            raise ValueError(
                f"its config inside and its parameters are of two models ({problem}): give "
                "like=<preset or config>, which counts before it"
            ) from None
        return found, self.notes + self.contradicted(found)

    def contradicted(self, config):
        """A note where a config says otherwise."""
        said = {
            name: value
            for name, value in self.fields.items()
            if name not in (*OF_THE_FILE, *IN_TRAINING_ALONE)
        }
        differing = [
            f"{name} {value}" for name, value in said.items() if getattr(config, name) != value
        ]
        text = f"its config inside says {', '.join(differing)}; what you say is taken instead"
        return (Note(text, assumed=True),) if differing else ()


def _plain_fields(said):
    reversible, flat = said["MVIT.REV.ENABLE"], said["MVIT.PATCH_2D"]
    kernel, stride = triple(said["MVIT.PATCH_KERNEL"]), triple(said["MVIT.PATCH_STRIDE"])
    wanted = tuple(0 if k == s else k // 2 for k, s in zip(kernel, stride))
    padding = (0,) * (3 - len(said["MVIT.PATCH_PADDING"])) + tuple(said["MVIT.PATCH_PADDING"])
    require(said, "MVIT.PATCH_PADDING", padding == wanted, f"another padding than {wanted}")
    ratio = said["MVIT.MLP_RATIO"]
    return {
        "frames": 1 if flat else said["DATA.NUM_FRAMES"],
        "size": said["DATA.TRAIN_CROP_SIZE"],
        "cube_kernel": kernel,
        "cube_stride": stride,
        "dim": said["MVIT.EMBED_DIM"],
        "heads": said["MVIT.NUM_HEADS"],
        # a reversible model has none, whatever is said
        "cls_token": said["MVIT.CLS_EMBED_ON"] and not reversible,
        "mean_before_norm": said["MVIT.USE_MEAN_POOLING"],
        "residual_pooling": "tokens" if said["MVIT.RESIDUAL_POOLING"] else None,
        "skip": "plain" if reversible else "normalised",
        "reversible": reversible,
        "mlp_ratio": int(ratio) if ratio == int(ratio) else ratio,
        "qkv_bias": said["MVIT.QKV_BIAS"],
        "dropout": said["MODEL.DROPOUT_RATE"],
        "drop_path": said["MVIT.DROPPATH_RATE"],
    }


def _positions(said):
    absolute, relative, fixed = (
        said[f"MVIT.{name}"] for name in ("USE_ABS_POS", "REL_POS_SPATIAL", "USE_FIXED_SINCOS_POS")
    )
    time, apart = said["MVIT.REL_POS_TEMPORAL"], said["MVIT.SEP_POS_EMBED"]
    require(
        said,
        "MVIT.REL_POS_SPATIAL",
        not (absolute and relative),
        "absolute and relative positions together",
    )
    require(said, "MVIT.REL_POS_TEMPORAL", relative or not time, "relative positions in time alone")
    require(
        said,
        "MVIT.USE_FIXED_SINCOS_POS",
        not fixed or absolute and not apart,
        "fixed positions without a table of them",
    )
    if relative:
        return {"positions": "relative", "relative_time": time}
    return {"positions": ("separate" if apart else "joint") if absolute else "none"}


def _of_shapes(params, ours):
    """What a file may have changed since, and blocks without the pools that the config gives them
    (the first files of 2021).
    """
    found = {
        "channels": params["patch_embed"]["w"].shape[3],
        "num_classes": params["head"]["w"].shape[1],
    }
    if (
        ours["pool"] == "conv"
        and ours["stride_kv"] is not None
        and not isinstance(ours["pool_kernel"], str)
    ):
        found["unpooled_kv"] = tuple(
            i for i, block in enumerate(params["blocks"]) if "pool_k" not in block["attn"]
        )
    return found


def _dataset(said):
    return said["TRAIN.DATASET"].lower()


def _sees_bgr(said):
    """Whether the model was shown blue first."""
    read_so = _dataset(said) in (*OPENCV, *TURNED)
    return _dataset(said) != "imagenet" and read_so != said["DATA.REVERSE_INPUT_CHANNEL"]


def _about(said):
    # those take frames spread over the film, or of its own rate
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
    """A number where all channels have the same one, else one a channel, in RGB."""
    numbers = tuple(map(float, numbers[::-1] if turned else numbers))
    return numbers[0] if len(set(numbers)) == 1 else numbers


def _notes(said, unknown):
    notes = [Note("its config is the one inside the file, as SlowFast writes it")]
    if unknown:
        notes.append(
            Note(
                f"its config has {', '.join(unknown[:3])}, which mvit_np does not know: ignored",
                assumed=True,
            )
        )
    if said["MODEL.HEAD_ACT"] not in ("softmax", "none"):
        act = said["MODEL.HEAD_ACT"]
        text = (
            f"its classes do not exclude each other ({act} over each score, not softmax over all): "
            "use the logits of forward"
        )
        notes.append(Note(text, assumed=True))
    if said["DATA.REVERSE_INPUT_CHANNEL"] and _dataset(said) not in (*OPENCV, *TURNED, *FROM_TV):
        notes.append(
            Note(
                (
                    "if its data set is read as RGB, it was trained on BGR: its cube embedding is "
                    "turned to RGB"
                ),
                assumed=True,
            )
        )
    elif _sees_bgr(said):
        notes.append(Note("it was trained on BGR: its cube embedding is turned to RGB"))
    if said["MVIT.DROPOUT_RATE"] > 0:
        notes.append(
            Note(
                f"dropout inside blocks ({said['MVIT.DROPOUT_RATE']}) is for training, and mvit_np "
                "has none"
            )
        )
    return tuple(notes)
