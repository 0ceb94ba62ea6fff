"""The paper's cost tables (Fan et al., arXiv 2104.11227), and others': a config, what was printed.

Nothing here is ours but the configs and the remarks; `cost_page` counts and compares.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .config import MViTConfig
from .presets import B24, PRESETS, VIT, VIVIT_B, VIVIT_L


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    label: str
    config: MViTConfig | None  # None: a model that this package cannot build
    gmacs: float | None = None  # 1e9 multiply-adds of one clip, as printed ("GFLOPs")
    params: float | None = None  # 1e6, as printed
    top1: float | None = None  # accuracy in per cent
    memory: float | None = None  # 1e9 bytes of a GPU that trains on 4 clips
    views: tuple[int, int] | None = None  # crops, clips: what one video takes
    data: str = ""  # what it was trained on before
    why: str = ""  # where the count is more than 1 % off


@dataclass(frozen=True)
class Table:
    """Rows under one heading."""

    name: str
    about: str
    rows: tuple[Row, ...]
    remark: str = ""


CONFIG = {name: preset.config for name, preset in PRESETS.items()}
CONV, CONV_32, CONV_64 = (CONFIG[f"mvit_b_{clip}"] for clip in ("16x4", "32x3", "64x3"))
IMAGE, VIVIT_L_320 = CONFIG["mvit_b_16_image"], CONFIG["vivit_l"]
# "by default all MViT ablations are with max-pooling" (Sec. 4.2)
MAX: dict[str, Any] = {"pool": "max", "pool_kernel": "s+1"}
B, S, B_IMAGE = replace(CONV, **MAX), replace(CONFIG["mvit_s_16x4"], **MAX), replace(IMAGE, **MAX)
VIT_2_SCALES = replace(VIT, depths=(6, 6), expand=False, **MAX)
VIT_KV_POOLED = replace(VIT, stride_kv=(1, 2, 2), unpooled_kv=(0,), **MAX)
CONV_24, WIDE = CONFIG["mvit_b_24_32x3"], CONFIG["mvit_b_24_wide_320_image"]
K600: dict[str, Any] = {"num_classes": 600}
LATE: dict[str, Any] = {"unpooled_kv": (14, 15)}

MVIT_S = (
    "the paper does not say which key-value stride MViT-S has; "
    "(1, 4, 4), adaptive, is a guess that gives the right number of parameters"
)


def _stages(label, depths, *printed):
    """A row of Table 13."""
    unpooled = tuple(range(sum(depths) - depths[-1], sum(depths)))
    gmacs, params, memory, top1 = printed
    config = replace(B, depths=depths, stride_kv=(2, 4, 4), unpooled_kv=unpooled)
    return Row(f"{label} {list(depths)}", config, gmacs, params, top1, memory)


def _cubes(label, frames, kernel, stride, gmacs, top1, why=""):
    """A row of Table 12."""
    config = replace(B, frames=frames, cube_kernel=kernel, cube_stride=stride)
    sizes = f"{label}, cube {kernel[0]}x{kernel[1]}x{kernel[2]}, stride {stride[0]}x4x4"
    return Row(sizes, config, gmacs, 36.5, top1, why=why)


def _strides(label, stride, adaptive, gmacs, memory, top1, why=""):
    """A row of Table 14."""
    config = replace(B, stride_kv=stride, adaptive_kv=adaptive, **({} if stride is None else LATE))
    return Row(label, config, gmacs, None, top1, memory, why=why)


TABLES = (
    Table(
        "Table 3", "The three instances, max pooling (Kinetics-400, 5 centre clips)",
        (
            Row("ViT-B", VIT, 179.6, 87.2, 68.5, 16.8),
            Row("MViT-B", B, 70.5, 36.5, 77.2, 6.8),
            Row("MViT-S", S, 32.9, 26.1, 74.3, 4.3, why=MVIT_S),
        ),
        "Everywhere the paper gives 70.5 G for MViT-B. This is the cost of *convolutional* pooling "
        "when keys and values of the last stage are not pooled: 70.52 G and 36,599,536 "
        "parameters. Max pooling itself is 0.2 G cheaper.",
    ),
    Table(
        "Table 4", "Kinetics-400, convolutional pooling, beside the models of its time",
        (
            Row("ViT-B-VTN", None, 4218, 114.0, 78.6, views=(1, 1), data="IN-21K"),
            Row("ViT-B-TimeSformer", None, 2380, 121.4, 80.7, views=(3, 1), data="IN-21K"),
            Row(
                "ViViT-L/16x2, 320 px", VIVIT_L_320, 3992, 310.8, 81.3,
                views=(3, 4), data="IN-21K",
            ),
            Row("ViT-B", VIT, 180, 87.2, 79.3, views=(1, 5), data="IN-21K"),
            Row("ViT-B", VIT, 180, 87.2, 68.5, views=(1, 5)),
            Row("MViT-S", CONFIG["mvit_s_16x4"], 32.9, 26.1, 76.0, views=(1, 5), why=MVIT_S),
            Row("MViT-B 16x4", CONV, 70.5, 36.6, 78.4, views=(1, 5)),
            Row("MViT-B 32x3", CONV_32, 170, 36.6, 80.2, views=(1, 5)),
            Row("MViT-B 64x3", CONV_64, 455, 36.6, 81.2, views=(3, 3)),
        ),
    ),
    Table(
        "Table 5", "Kinetics-600 (600 classes)",
        (
            Row(
                "ViViT-L/16x2, 320 px", replace(VIVIT_L_320, **K600), 3992, 310.8, 83.0,
                views=(3, 4), data="IN-21K",
            ),
            Row("MViT-B 16x4", replace(CONV, **K600), 70.5, 36.8, 82.1, views=(1, 5)),
            Row("MViT-B 32x3", replace(CONV_32, **K600), 170, 36.8, 83.4, views=(1, 5)),
            Row("MViT-B-24 32x3", replace(CONV_24, **K600), 236, 52.9, 83.8, views=(1, 5)),
        ),
        "MViT-B-24 has 52.9 M with the 174 classes of Something-Something, for which Table 6 "
        "prints 53.2 M; with 600 classes it has 53.3 M. The paper seems to have swapped the two.",
    ),
    Table(
        "Table 10", "One more scale, or pooled keys and values, in ViT-B (8 frames)",
        (
            Row("ViT-B", VIT, 179.6, None, 68.5, 16.8),
            Row("2 scales, Q pooled", VIT_2_SCALES, 111.1, None, 71.0, 9.8),
            Row("K, V pooled", VIT_KV_POOLED, 148.4, None, 69.1, 8.9),
        ),
        "The paper does not give the stride of the last row; (1, 2, 2) in all blocks except the "
        "first gives its number to the last digit.",
    ),
    Table(
        "Table 11", "Positions",
        (
            Row("none", replace(B, positions="none"), 70.5, 36.2, 75.8),
            Row("space only", replace(B, positions="space"), 70.5, 36.5, 76.7),
            Row("joint space-time", replace(B, positions="joint"), 70.5, 38.6, 76.5),
            Row("separate in space and time", B, 70.5, 36.5, 77.2),
        ),
    ),
    Table(
        "Table 12", "Input: frames x temporal stride, size and stride of the cubes",
        (
            _cubes("8x8", 8, (1, 4, 4), (1, 4, 4), 69.4, 74.5),
            _cubes("8x8", 8, (1, 7, 7), (1, 4, 4), 69.6, 75.6),
            _cubes("8x8", 8, (3, 7, 7), (1, 4, 4), 70.5, 75.9),
            _cubes("16x4", 16, (3, 7, 7), (2, 4, 4), 70.5, 77.2),
            _cubes("32x2", 32, (3, 7, 7), (4, 4, 4), 70.5, 77.2),
            _cubes(
                "32x2", 32, (7, 7, 7), (4, 4, 4), 70.5, 77.3,
                "cubes of 7 frames instead of 3 cost 25,088 x 4 x 49 x 3 x 96 = 1.4 G more; "
                "the paper repeats the row above",
            ),
        ),
    ),
    Table(
        "Table 13", "Blocks of each stage, key-value stride (2, 4, 4), adaptive",
        (
            _stages("V1", (2, 6, 6, 2), 90.2, 29.5, 11.0, 76.3),
            _stages("V2", (2, 4, 6, 4), 86.9, 42.8, 10.3, 75.9),
            _stages("V3", (2, 4, 8, 2), 88.3, 32.2, 10.5, 76.6),
            _stages("V4", (2, 2, 8, 4), 85.0, 45.5, 9.7, 76.7),
            _stages("V5", (1, 2, 11, 2), 83.6, 36.5, 9.1, 77.1),
            _stages("V6", (2, 2, 10, 2), 86.4, 34.9, 11.3, 76.9),
        ),
        "Here and in Table 14 we do not pool keys and values of the last stage. The paper does not "
        "say so. But this makes every row agree within 0.1 %, except 1x8x8, whose count does not "
        "depend on it; otherwise the counts would be 0.7 to 1.9 % too low.",
    ),
    Table(
        "Table 14", "Stride of keys and values",
        (
            _strides(
                "none", None, True, 130.8, 16.3, 77.6,
                "130.8 G is not MViT-B without key-value pooling: the attention of block 0 alone "
                "would take 2 x 25,089 x 25,089 x 96 = 121 G, that of block 1 another 60 G. We "
                "have not found out which setting was meant",
            ),
            _strides("1x4x4", (1, 4, 4), False, 71.4, 8.2, 75.9),
            _strides("2x4x4", (2, 4, 4), False, 64.3, 6.6, 74.8),
            _strides("2x4x4, adaptive", (2, 4, 4), True, 83.6, 9.1, 77.1),
            _strides("1x8x8, adaptive", (1, 8, 8), True, 70.5, 6.8, 77.2),
            _strides("2x8x8, adaptive", (2, 8, 8), True, 63.7, 6.3, 75.8),
        ),
    ),
    Table(
        "Table 15", "Pooling function and its kernel k, of stride s",
        (
            Row("max, k = s", replace(B, pool_kernel="s"), None, 36.5, 76.1),
            Row("max, k = 2s + 1", replace(B, pool_kernel="2s+1"), None, 36.5, 75.5),
            Row("max, k = s + 1", B, None, 36.5, 77.2),
            Row("average, k = s + 1", replace(B, pool="avg"), None, 36.5, 75.4),
            Row("convolution, k = s + 1", replace(CONV, pool_kernel="s+1"), None, 36.6, 78.3),
            Row("convolution, k = 3 x 3 x 3", CONV, None, 36.6, 78.4),
        ),
    ),
    Table(
        "Table 17", "ImageNet-1K",
        (
            Row("MViT-B-16, max", B_IMAGE, 7.8, 37.0, 82.5),
            Row("MViT-B-24, max", replace(B_IMAGE, depths=B24), 10.9, 53.5, 83.1),
            Row("MViT-B-24-wide-320, max", replace(WIDE, **MAX), 32.7, 72.9, 84.3),
            Row("MViT-B-16", IMAGE, 7.8, 37.0, 83.0),
            Row("MViT-B-24-wide-320", WIDE, 32.7, 72.9, 84.8),
        ),
    ),
    Table(
        "Table A.3", "Stride of keys and values, ImageNet-1K, MViT-B-16, adaptive",
        (
            Row("8x8", replace(B_IMAGE, stride_kv=(1, 8, 8)), 7.2, None, 81.6),
            Row("4x4", B_IMAGE, 7.8, None, 82.5),
            Row("2x2", replace(B_IMAGE, stride_kv=(1, 2, 2)), 9.0, None, 81.8),
            Row("none", replace(B_IMAGE, stride_kv=None), 10.4, None, 82.3),
        ),
    ),
)  # fmt: skip

BEYOND = (
    Table(
        "MViTv2", "Li et al., arXiv 2112.01526: ImageNet-1K, Kinetics-400",
        (
            Row("MViTv2-T", CONFIG["mvitv2_t_image"], 4.7, 24.17, 82.3),
            Row("MViTv2-S", CONFIG["mvitv2_s_image"], 7.0, 34.87, 83.6),
            Row("MViTv2-B", CONFIG["mvitv2_b_image"], 10.2, 51.47, 84.4),
            Row(
                "MViTv2-L", CONFIG["mvitv2_l_image"], 42.1, 218, 85.3,
                why="the released model, with its 218 M, widens in the MLP; 42.1 G is nearer to a "
                "model that widens in the attention, which has 41.8 G and 213.6 M",
            ),
            Row("MViTv2-S 16x4", CONFIG["mvitv2_s_16x4"], 64, 34.5, 81.0),
            Row("MViTv2-B 32x3", CONFIG["mvitv2_b_32x3"], 225, 51.2, 82.9),
            Row(
                "MViTv2-L 40x3, 312 px", CONFIG["mvitv2_l_40x3"], 2828, 217.6, 86.1,
                why="the released config, with its 2828 G, widens in the attention; 217.6 M are "
                "the parameters of a model that widens in the MLP, which has 217.7 M and 2900 G",
            ),
        ),
    ),
    Table(
        "ViViT", "Arnab et al., arXiv 2103.15691: Kinetics-400, 32 frames, cubes of 2 x 16 x 16",
        (
            Row("B, joint", VIVIT_B, 455.2, 88.9, 80.0),
            Row("B, factorised encoder", CONFIG["vivit_b_fe"], 284.4, 115.1, 78.8),
            Row("L, joint", VIVIT_L, 1446, None, 80.3),
            Row("L, joint, 288 px", replace(VIVIT_L, size=288), 2919, None, 80.7),
            Row("L, joint, 320 px", VIVIT_L_320, 3992, None, 81.0),
            Row("L, factorised encoder", CONFIG["vivit_l_fe"], 995.3),
        ),
    ),
    Table(
        "Rev-MViT and Hiera",
        "Mangalam et al., arXiv 2302.04869; Ryali et al., arXiv 2306.00989 "
        "(counts of the timm model)",
        (
            Row("Rev-MViT-B 16x4", CONFIG["rev_mvit_b_16x4"], 64, 34.9, 78.4),
            Row("Hiera-B, ImageNet-1K", CONFIG["hiera_b_image"], 9.38, 51.5, 84.5),
            Row("Hiera-B 16x224", CONFIG["hiera_b_16x224"], None, 51.1, 84.0),
        ),
    ),
)  # fmt: skip
