"""Writes the golden checkpoints: small models of SlowFast and facebookresearch/mvit, saved by their
own code.

Run `PYTHONPATH=tests/support python tests/parity/slowfast_files.py SLOWFAST MVIT` with the folders
of both checkouts (and torch, fvcore, yacs and pytorchvideo installed) after a change of `CASES`,
and only then. What else they import is not used and stands empty.
All files lie in one archive: their configs are nearly the same text, so together they are small.
"""

import importlib.machinery
import io
import sys
import tarfile
import tempfile
import types
from pathlib import Path

import numpy as np
from draws import draw

FOLDER = Path(__file__).parent / "golden"
ARCHIVE = FOLDER / "slowfast.tar.xz"

CLIP = {
    "DATA.NUM_FRAMES": 4,
    "DATA.TRAIN_CROP_SIZE": 16,
    "DATA.TEST_CROP_SIZE": 16,
    "DATA.INPUT_CHANNEL_NUM": [3],
}
ALL = CLIP | {
    "NUM_GPUS": 0,
    "MODEL.MODEL_NAME": "MViT",
    "MODEL.ARCH": "mvit",
    "MODEL.NUM_CLASSES": 3,
    "DATA.SAMPLING_RATE": 3,
}
CUBES = {
    "MVIT.PATCH_KERNEL": [3, 3, 3],
    "MVIT.PATCH_STRIDE": [2, 2, 2],
    "MVIT.PATCH_PADDING": [1, 1, 1],
}
GROWS = {
    "MVIT.DEPTH": 3,
    "MVIT.EMBED_DIM": 4,
    "MVIT.DIM_MUL": [[1, 2.0]],
    "MVIT.HEAD_MUL": [[1, 2.0]],
}
SHRINKS = {
    "MVIT.POOL_Q_STRIDE": [[1, 1, 2, 2]],
    "MVIT.POOL_KV_STRIDE_ADAPTIVE": [1, 4, 4],
    "MVIT.POOL_KVQ_KERNEL": [3, 3, 3],
}
V1 = ALL | CUBES | GROWS | SHRINKS | {"MVIT.SEP_POS_EMBED": True}
RELATIVE = {"MVIT.USE_ABS_POS": False, "MVIT.REL_POS_SPATIAL": True, "MVIT.REL_POS_TEMPORAL": True}
EVERY_Q = {
    "MVIT.POOL_Q_STRIDE": [[0, 1, 1, 1], [1, 1, 2, 2], [2, 1, 1, 1]],
    "MVIT.RESIDUAL_POOLING": True,
}
V2 = V1 | RELATIVE | EVERY_Q | {"MVIT.DIM_MUL_IN_ATT": True}
PATCHES = {
    "MVIT.PATCH_KERNEL": [2, 4, 4],
    "MVIT.PATCH_STRIDE": [2, 4, 4],
    "MVIT.PATCH_PADDING": [0, 0, 0],
}
VIT = (
    ALL
    | PATCHES
    | {"MVIT.DEPTH": 2, "MVIT.EMBED_DIM": 12, "MVIT.NUM_HEADS": 3, "MVIT.SEP_POS_EMBED": True}
)
MEAN = {"MVIT.USE_MEAN_POOLING": True}
FLAT = {"MVIT.PATCH_2D": True, "DATA.NUM_FRAMES": 1}
PICTURE_PATCHES = {
    "MVIT.PATCH_KERNEL": [4, 4],
    "MVIT.PATCH_STRIDE": [4, 4],
    "MVIT.PATCH_PADDING": [0, 0],
} | FLAT
PICTURE_CUBES = {
    "MVIT.PATCH_KERNEL": [3, 3],
    "MVIT.PATCH_STRIDE": [2, 2],
    "MVIT.PATCH_PADDING": [1, 1],
}
REV = {"MVIT.REV.ENABLE": True, "MVIT.CLS_EMBED_ON": False, "MVIT.SEPARATE_QKV": True}
IMAGENET = {
    "TRAIN.DATASET": "imagenet",
    "DATA.MEAN": [0.485, 0.456, 0.406],
    "DATA.STD": [0.229, 0.224, 0.225],
}

CASES = {  # of SlowFast
    "mvit_conv": V1,
    "mvit_rule": V1 | {"MVIT.POOL_KVQ_KERNEL": None, "MVIT.POOL_KV_STRIDE_ADAPTIVE": [1, 2, 2]},
    "mvit_max": V1 | {"MVIT.MODE": "max"},
    "mvit_avg": V1 | {"MVIT.MODE": "avg", "MVIT.POOL_KVQ_KERNEL": None},
    "mvit_fixed_keys": V1
    | {"MVIT.POOL_KV_STRIDE_ADAPTIVE": None, "MVIT.POOL_KV_STRIDE": [[0, 1, 2, 2], [2, 1, 2, 2]]},
    "mvit_joint": V1
    | {
        "MVIT.SEP_POS_EMBED": False,
        "DATA.NUM_FRAMES": 16,
        "DATA.TRAIN_CROP_SIZE": 8,
        "DATA.TEST_CROP_SIZE": 8,
    },
    "mvit_sincos": V1
    | {"MVIT.SEP_POS_EMBED": False, "MVIT.USE_FIXED_SINCOS_POS": True, "MVIT.EMBED_DIM": 16},
    "mvit_placeless": V1
    | {"MVIT.USE_ABS_POS": False, "MVIT.CLS_EMBED_ON": False, "MVIT.RESIDUAL_POOLING": True},
    "mvit_narrow": V1
    | {"MVIT.DIM_MUL": [], "MVIT.HEAD_MUL": [], "MVIT.MLP_RATIO": 2.5, "MVIT.QKV_BIAS": False},
    "mvit_apart": V1
    | {"MVIT.SEPARATE_QKV": True, "MVIT.NUM_HEADS": 2, "DATA.REVERSE_INPUT_CHANNEL": True},
    "mvitv2": V2,
    "mvitv2_bare": V2 | {"MVIT.RESIDUAL_POOLING": False, "MVIT.CLS_EMBED_ON": False},
    "mvitv2_maskfeat": V2 | MEAN | {"MVIT.DIM_MUL_IN_ATT": False},
    "mvitv2_flat_time": V2
    | {"MVIT.REL_POS_TEMPORAL": False, "TRAIN.DATASET": "ssv2", "DATA.REVERSE_INPUT_CHANNEL": True},
    "mvitv2_uneven": V2
    | {"DATA.TRAIN_CROP_SIZE": 18, "DATA.TEST_CROP_SIZE": 18, "TRAIN.DATASET": "charades"},
    "mvitv2_picture": V2
    | FLAT
    | PICTURE_CUBES
    | IMAGENET
    | {"MVIT.REL_POS_TEMPORAL": False, "MVIT.POOL_KVQ_KERNEL": [1, 3, 3]},
    "vit_mae": VIT | MEAN,
    "vit_picture": VIT | MEAN | PICTURE_PATCHES | IMAGENET | {"MVIT.SEP_POS_EMBED": False},
    "rev_mvit": V1
    | REV
    | {"MVIT.REV.BUFFER_LAYERS": [1], "MVIT.QKV_BIAS": False, "MVIT.SEPARATE_QKV": False},
    "rev_mvit_mean": V1 | REV | MEAN | {"MVIT.REV.BUFFER_LAYERS": [1], "MVIT.MODE": "max"},
    "rev_vit": VIT
    | REV
    | PICTURE_PATCHES
    | IMAGENET
    | {"MVIT.SEP_POS_EMBED": False, "MVIT.REV.PRE_Q_FUSION": "concat"},
}
PICTURES = ALL | GROWS | PICTURE_CUBES | {"MVIT.POOL_KV_STRIDE_ADAPTIVE": [4, 4]}
EVERY_FLAT_Q = {"MVIT.POOL_Q_STRIDE": [[0, 1, 1], [1, 2, 2], [2, 1, 1]]}
CASES_OF_PICTURES = {  # of facebookresearch/mvit
    "fb": PICTURES | EVERY_FLAT_Q,
    "fb_plain": PICTURES
    | {
        "MVIT.POOL_Q_STRIDE": [[1, 2, 2]],
        "MVIT.RESIDUAL_POOLING": False,
        "MVIT.CLS_EMBED_ON": True,
    },
    "fb_joint": PICTURES
    | EVERY_FLAT_Q
    | {
        "MVIT.USE_ABS_POS": True,
        "MVIT.REL_POS_SPATIAL": False,
        "MVIT.MODE": "max",
        "MVIT.DIM_MUL_IN_ATT": False,
    },
}


def clip_of(name, frames, size):
    """(1, T, H, W, 3), in RGB."""
    return draw(1, f"clip of {name}", (1, frames, size, size, 3))


# -- writing: only this needs their code -----------------------------------------------------------

UNUSED = (
    "detectron2", "fairscale", "simplejson", "psutil", "cv2", "av", "sklearn", "matplotlib",
    "tensorboard", "pandas", "pytorchvideo.losses",
)  # fmt: skip


class Empty(types.ModuleType):
    __path__ = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class Unused:
    """Finds empty modules."""

    def find_spec(self, name, path=None, target=None):
        if name.startswith(UNUSED):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        return Empty(spec.name)

    def exec_module(self, module):
        pass


def make_importable(folders):
    import torch_models  # noqa: F401  first: it makes torchvision importable where that lacks its compiled part

    sys.path[:0] = folders
    sys.meta_path.append(Unused())
    import pytorchvideo.layers.distributed as distributed

    for name in (
        "cat_all_gather", "get_local_process_group", "get_local_rank", "get_local_size",
        "get_world_size", "init_distributed_training",
    ):  # fmt: skip
        if not hasattr(distributed, name):
            setattr(distributed, name, lambda *arguments, **options: 1)


def configured(defaults, fields):
    cfg = defaults.clone()
    for name, value in fields.items():
        *parents, last = name.split(".")
        node = cfg
        for parent in parents:
            node = node[parent]
        if last in node:  # those of SlowFast alone are not facebookresearch/mvit's
            node[last] = value
    return cfg


def roughened(model, name):
    """float32 weights of which none is trivial."""
    import torch

    state = model.state_dict()
    for key, x in state.items():
        numbers = draw(1, f"{name} {key}", tuple(x.shape)) * (0.2 if x.ndim > 1 else 0.5)
        x.copy_(torch.from_numpy(np.round(numbers * 16) / 16))  # coarse ones, which compress
    model.load_state_dict(state)
    return model.eval()


def written(name, fields, defaults, models, checkpoint, pack=None):
    """(bytes of the checkpoint, logits)"""
    import torch

    cfg = configured(defaults, fields)
    model = roughened(models.build.build_model(cfg) if pack else models.build_model(cfg), name)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint.make_checkpoint_dir(folder)
        checkpoint.save_checkpoint(folder, model, torch.optim.SGD(model.parameters(), 0.1), 0, cfg)
        data = next(Path(folder).rglob("*.pyth")).read_bytes()
    frames = fields["DATA.NUM_FRAMES"] if pack else 1
    clip = torch.from_numpy(clip_of(name, frames, fields["DATA.TRAIN_CROP_SIZE"])[0]).permute(
        3, 0, 1, 2
    )
    if pack and cfg.TRAIN.DATASET in ("ssv2", "charades"):
        clip = clip.flip(0)  # as OpenCV reads
    x = pack(cfg, clip)[0][None] if pack else clip[None]
    x = x[:, :, 0] if x.shape[2] == 1 and model.patch_embed.proj.weight.ndim == 4 else x
    model.double()
    model.head.act = torch.nn.Identity()
    with torch.no_grad():
        return data, model([x] if pack else x).numpy()[0]


def main(folders):
    make_importable(folders)
    import mvit.models
    import mvit.utils.checkpoint
    import slowfast.models
    import slowfast.utils.checkpoint
    from mvit.config.defaults import get_cfg as of_pictures
    from slowfast.config.defaults import get_cfg
    from slowfast.datasets.utils import pack_pathway_output

    files, logits = {}, {}
    for name, fields in CASES.items():
        theirs = get_cfg(), slowfast.models, slowfast.utils.checkpoint, pack_pathway_output
        files[name], logits[name] = written(name, fields, *theirs)
    for name, fields in CASES_OF_PICTURES.items():
        files[name], logits[name] = written(
            name, fields, of_pictures(), mvit.models, mvit.utils.checkpoint
        )
    table = io.BytesIO()
    np.savez(table, **logits)
    with tarfile.open(ARCHIVE, "w:xz", preset=9) as archive:
        for name, data in {
            **{f"{name}.pyth": data for name, data in files.items()},
            "logits.npz": table.getvalue(),
        }.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    print(
        f"{ARCHIVE.name}: {ARCHIVE.stat().st_size:,} bytes, {len(files)} files of "
        f"{sum(map(len, files.values())):,}"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
