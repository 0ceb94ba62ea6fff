"""The fields of SlowFast's config that a model depends on: their types and their defaults.

`slowfast/config/defaults.py` there; facebookresearch/mvit has the same fields for pictures, with
defaults of its own.
"""

from __future__ import annotations

import ast
from typing import Any

from ...backend.plain_text import plain

MAX_NUMBER = 1 << 31
MAX_ROWS = 4096  # of a list
LITERAL = tuple("([0123456789.-")  # how a value written as Python's begins
MAX_LITERAL = 1000  # letters of such a value

FIELDS = {  # name: (type, default)
    "TRAIN.DATASET": ("word", "kinetics"),
    "DATA.NUM_FRAMES": ("count", 8),
    "DATA.SAMPLING_RATE": ("number", 8),
    "DATA.TARGET_FPS": ("number", 30),
    "DATA.TRAIN_CROP_SIZE": ("count", 224),
    "DATA.MEAN": ("numbers", [0.45, 0.45, 0.45]),
    "DATA.STD": ("numbers", [0.225, 0.225, 0.225]),
    "DATA.REVERSE_INPUT_CHANNEL": ("switch", False),
    "AVA.BGR": ("switch", False),
    "MODEL.MODEL_NAME": ("word", "MViT"),  # SlowFast's own default is of another family
    "MODEL.DROPOUT_RATE": ("number", 0.5),
    "MODEL.HEAD_ACT": ("word", "softmax"),
    "DETECTION.ENABLE": ("switch", False),
    "CONTRASTIVE.NUM_MLP_LAYERS": ("count", 1),
    "MVIT.MODE": ("word", "conv"),
    "MVIT.POOL_FIRST": ("switch", False),
    "MVIT.CLS_EMBED_ON": ("switch", True),
    "MVIT.PATCH_KERNEL": ("counts", [3, 7, 7]),
    "MVIT.PATCH_STRIDE": ("counts", [2, 4, 4]),
    "MVIT.PATCH_PADDING": ("counts", [2, 4, 4]),
    "MVIT.PATCH_2D": ("switch", False),
    "MVIT.EMBED_DIM": ("count", 96),
    "MVIT.NUM_HEADS": ("count", 1),
    "MVIT.MLP_RATIO": ("number", 4.0),
    "MVIT.QKV_BIAS": ("switch", True),
    "MVIT.DROPPATH_RATE": ("number", 0.1),
    "MVIT.DROPOUT_RATE": ("number", 0.0),
    "MVIT.DEPTH": ("count", 16),
    "MVIT.NORM": ("word", "layernorm"),
    "MVIT.NORM_STEM": ("switch", False),
    "MVIT.DIM_MUL": ("rows", []),
    "MVIT.HEAD_MUL": ("rows", []),
    "MVIT.DIM_MUL_IN_ATT": ("switch", False),
    "MVIT.POOL_Q_STRIDE": ("rows", []),
    "MVIT.POOL_KV_STRIDE": ("rows", []),
    "MVIT.POOL_KV_STRIDE_ADAPTIVE": ("counts or none", None),
    "MVIT.POOL_KVQ_KERNEL": ("counts or none", None),
    "MVIT.POOL_Q_KERNEL": ("rows", []),  # these two until June 2021
    "MVIT.POOL_KV_KERNEL": ("rows", []),
    "MVIT.USE_ABS_POS": ("switch", True),
    "MVIT.SEP_POS_EMBED": ("switch", False),
    "MVIT.USE_FIXED_SINCOS_POS": ("switch", False),
    "MVIT.REL_POS_SPATIAL": ("switch", False),
    "MVIT.REL_POS_TEMPORAL": ("switch", False),
    "MVIT.RESIDUAL_POOLING": ("switch", False),
    "MVIT.USE_MEAN_POOLING": ("switch", False),
    "MVIT.REV.ENABLE": ("switch", False),
    "MVIT.REV.BUFFER_LAYERS": ("counts", []),
    "MVIT.REV.PRE_Q_FUSION": ("word", "avg"),
    "MVIT.REV.RES_PATH": ("word", "conv"),
    "MVIT.REV.RESPATH_FUSE": ("word", "concat"),
}
# How parameters start, decay and are stored; LAYER_SCALE_INIT_VALUE is read there and never used.
OF_NO_MATTER = (
    "ZERO_DECAY_POS_CLS", "REL_POS_ZERO_INIT", "HEAD_INIT_SCALE", "LAYER_SCALE_INIT_VALUE",
    "SEPARATE_QKV", "REV", "POOL_SKIP_KERNEL", "POOL_SKIP_STRIDE",
)  # fmt: skip
OF_PICTURES = {  # facebookresearch/mvit
    "TRAIN.DATASET": "imagenet", "DATA.NUM_FRAMES": 1,
    "DATA.MEAN": [0.485, 0.456, 0.406], "DATA.STD": [0.229, 0.224, 0.225],
    "MODEL.DROPOUT_RATE": 0.0, "MVIT.CLS_EMBED_ON": False, "MVIT.PATCH_2D": True,
    "MVIT.PATCH_KERNEL": [7, 7], "MVIT.PATCH_STRIDE": [4, 4], "MVIT.PATCH_PADDING": [3, 3],
    "MVIT.POOL_KVQ_KERNEL": [3, 3], "MVIT.USE_ABS_POS": False, "MVIT.REL_POS_SPATIAL": True,
    "MVIT.RESIDUAL_POOLING": True, "MVIT.DIM_MUL_IN_ATT": True,
}  # fmt: skip


def read(cfg: dict) -> dict[str, Any]:
    """{name: value} of all `FIELDS`, checked. Raises ValueError for a value of another type."""
    defaults = OF_PICTURES if _is_of_pictures(cfg["MVIT"]) else {}
    said = {}
    for name, (type_name, default) in FIELDS.items():
        said[name] = value = _decoded(_found(cfg, name.split("."), defaults.get(name, default)))
        words, fits = TYPES[type_name]
        if not fits(value):
            raise ValueError(f"{name} is {plain(repr(value))[:80]}, which is not {words}")
    return said


def unknown(cfg: dict) -> list[str]:
    """Names of the model's section that no version known here has."""
    known = {name.split(".")[1] for name in FIELDS if name.startswith("MVIT.")} | {*OF_NO_MATTER}
    return [plain(name)[:40] for name in cfg["MVIT"] if name not in known]


def _is_of_pictures(section):
    """facebookresearch/mvit has kernels of two lengths, and no word for it."""
    names = ("PATCH_KERNEL", "POOL_KVQ_KERNEL", "POOL_KV_STRIDE_ADAPTIVE")
    lists = [_decoded(section.get(name)) for name in names]
    lengths = [len(x) for x in lists if isinstance(x, (list, tuple))]
    return "PATCH_2D" not in section and lengths[:1] == [2]


def _found(node, keys, default):
    for key in keys:
        if not isinstance(node, dict) or key not in node:
            return default
        node = node[key]
    return node


def _decoded(value):
    """A value written as Python's, as their config files may have it."""
    if not isinstance(value, str) or len(value) > MAX_LITERAL:
        return value
    if value[:1] not in LITERAL and value != "None":
        return value
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value


def _is_number(value):
    is_one = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_one and abs(value) < MAX_NUMBER


def _is_count(value):
    return _is_number(value) and value == int(value) and value >= 0


def _is_list(value, holds):
    return isinstance(value, (list, tuple)) and len(value) <= MAX_ROWS and all(map(holds, value))


def _are_counts(value):
    return _is_list(value, _is_count)


def _is_row(value):
    return _is_list(value, _is_number) and all(map(_is_count, value[:1]))


TYPES = {
    "switch": ("True or False", lambda value: isinstance(value, bool)),
    "word": ("a word", lambda value: isinstance(value, str)),
    "number": ("a number", _is_number),
    "count": ("a whole number", _is_count),
    "numbers": ("a list of numbers", lambda value: _is_list(value, _is_number)),
    "counts": ("a list of whole numbers", _are_counts),
    "counts or none": ("a list of whole numbers", lambda x: x is None or _are_counts(x)),
    "rows": ("a list of [block, numbers]", lambda value: value is None or _is_list(value, _is_row)),
}


def require(said: dict[str, Any], name: str, holds: bool, what: str) -> None:
    """Raise ValueError for what a field asks for and mvit_np does not have."""
    if not holds:
        asked = f"{what} ({name} {plain(repr(said[name]))[:60]})"
        raise ValueError(
            f"its config asks for {asked}, which mvit_np does not have: take another checkpoint"
        )
