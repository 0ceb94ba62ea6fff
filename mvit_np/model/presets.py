"""The models by name, each as what differs from a base: `MViTConfig()` is MViT-B 16x4."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from ..backend.plain_text import did_you_mean
from .config import MViTConfig


@dataclass(frozen=True)
class Preset:
    """A named model: what it is, where it is from, and what was published about it."""

    name: str
    about: str  # with its accuracy as published, in per cent: K400 is Kinetics-400, IN ImageNet-1K
    config: MViTConfig
    params: int | None = None  # exactly, counted in the released implementations
    gmacs: float | None = None  # 1e9 multiply-adds of a clip (the paper's FLOPs), counted likewise
    tau: float = 4.0  # frames of 1/30 s from frame to frame (Table 12's T x tau); 1 for pictures


B24 = (2, 3, 16, 3)  # depths
LARGE: dict[str, Any] = {"dim": 144, "heads": 2, "depths": (2, 6, 36, 4)}
WIDENS_FIRST: dict[str, Any] = {"expand_in": "attention"}

MVIT = MViTConfig()
MVIT_IMAGE = replace(
    MVIT, frames=1, cube_kernel=(1, 7, 7), cube_stride=(1, 4, 4), stride_kv=(1, 4, 4),
    pool_kernel=(1, 3, 3),
    positions="joint", num_classes=1000, dropout=0.0, drop_path=0.1,
)  # fmt: skip
V2: dict[str, Any] = {
    "positions": "relative", "pool_q_always": True, "residual_pooling": "tokens", **WIDENS_FIRST
}  # fmt: skip
MVITV2 = replace(MVIT, **V2)
MVITV2_IMAGE = replace(MVIT_IMAGE, **V2, relative_time=False, cls_token=False)
REV_MVIT = replace(
    MVIT, reversible=True, cls_token=False, qkv_bias=False, skip="plain", drop_path=0.05,
    **WIDENS_FIRST,
)  # fmt: skip

VIT = MViTConfig(
    frames=8, cube_kernel=(1, 16, 16), cube_stride=(1, 16, 16), dim=768, heads=12, depths=(12,),
    stride_kv=None,
    positions="joint",
)  # fmt: skip
VIVIT_B = replace(VIT, frames=32, cube_kernel=(2, 16, 16), cube_stride=(2, 16, 16))
VIVIT_L = replace(VIVIT_B, dim=1024, heads=16, depths=(24,))
VIVIT_B_FE, VIVIT_L_FE = replace(VIVIT_B, time_depth=4), replace(VIVIT_L, time_depth=4)

HIERA = replace(
    MVIT, depths=B24, stride_kv=None, pool="max", pool_kernel="s", skip_kernel="s", cls_token=False,
    mean_before_norm=True,
    mask_unit=(1, 8, 8), dropout=0.0, drop_path=0.0, **WIDENS_FIRST,
)  # fmt: skip
HIERA_IMAGE = replace(
    HIERA, frames=1, cube_kernel=(1, 7, 7), cube_stride=(1, 4, 4), positions="joint",
    num_classes=1000,
)  # fmt: skip

# the paper does not say which stride its keys and values have: (1, 4, 4) is a guess
MVIT_S = replace(
    MVIT, cube_kernel=(3, 8, 8), cube_stride=(2, 8, 8), dim=128, depths=(3, 7, 6),
    stride_kv=(1, 4, 4),
)  # fmt: skip
MICRO = replace(
    MVIT, frames=8, size=32, channels=1, num_classes=2, dim=16, depths=(1, 2, 1),
    stride_kv=(1, 4, 4), dropout=0.1, drop_path=0.1,
)  # fmt: skip


# Params and multiply-adds of None: counted nowhere else. "counted here": the paper rounds it.
_ALL = [
    # Multiscale Vision Transformers (Fan et al., arXiv 2104.11227)
    Preset("mvit_b_16x4", "MViT-B, 16 frames (Table 4: K400 78.4)", MVIT, 36_610_672, 70.60),
    Preset(
        "mvit_b_32x3", "MViT-B, 32 frames (Table 4: K400 80.2)", replace(MVIT, frames=32),
        36_611_440, 169.96, tau=3.0,
    ),
    Preset(
        "mvit_b_64x3", "MViT-B, 64 frames (Table 4: K400 81.2)", replace(MVIT, frames=64),
        36_612_976, 455.06, tau=3.0,
    ),
    Preset(
        "mvit_b_24_32x3", "MViT-B-24, 32 frames (K400 80.4)",
        replace(MVIT, frames=32, depths=B24, pool_kernel="s+1", drop_path=0.3),
        53_115_280, 235.78, tau=3.0,
    ),
    Preset("mvit_s_16x4", "MViT-S, 16 frames (Table 4: K400 76.0)", MVIT_S, 26_038_032, 29.95),
    Preset(
        "mvit_b_16_image", "MViT-B-16 (Table 17: IN 83.0)", MVIT_IMAGE, 36_982_600, 7.81, tau=1.0,
    ),
    Preset(
        "mvit_b_24_image", "MViT-B-24 (Table 17: IN 83.1, max)",
        replace(MVIT_IMAGE, depths=B24, drop_path=0.3),
        53_516_392, 10.94, tau=1.0,
    ),
    Preset(
        "mvit_b_24_wide_320_image", "B-24-wide, 320 px (Table 17: IN 84.8)",
        # counted here
        replace(MVIT_IMAGE, depths=B24, drop_path=0.3, dim=112, size=320), None, 32.72, tau=1.0,
    ),
    # MViTv2 (Li et al., arXiv 2112.01526)
    Preset("mvitv2_s_16x4", "MViTv2-S, 16 frames (K400 81.0)", MVITV2, 34_537_744, 64.22),
    Preset(
        "mvitv2_b_32x3", "MViTv2-B, 32 frames (K400 82.9)",
        replace(MVITV2, frames=32, depths=B24, drop_path=0.3),
        51_230_128, 224.47, tau=3.0,
    ),
    Preset(
        "mvitv2_l_40x3", "MViTv2-L, 40 frames (K400 86.1)",
        replace(MVITV2, frames=40, size=312, uneven=True, drop_path=0.75, **LARGE),
        213_390_112, 2823.40, tau=3.0,
    ),
    Preset(
        "mvitv2_t_image", "MViTv2-T (IN 82.3)", replace(MVITV2_IMAGE, depths=(1, 2, 5, 2)),
        24_173_320, 4.68, tau=1.0,
    ),
    Preset("mvitv2_s_image", "MViTv2-S (IN 83.6)", MVITV2_IMAGE, 34_870_216, 6.96, tau=1.0),
    Preset(
        "mvitv2_b_image", "MViTv2-B (IN 84.4)", replace(MVITV2_IMAGE, depths=B24, drop_path=0.3),
        51_472_744, 10.10, tau=1.0,
    ),
    Preset(  # released with its widening in the MLP, as in the first MViT
        "mvitv2_l_image", "MViTv2-L (IN 85.3)",
        replace(MVITV2_IMAGE, expand_in="mlp", drop_path=0.5, **LARGE),
        217_992_952, 43.71, tau=1.0,
    ),
    # without pooling: ViT, the paper's baseline (every 8th frame), ViViT (every 2nd; 2103.15691)
    Preset("vit_b_8f", "ViT-B, 8 frames (Table 4: K400 68.5)", VIT, 87_159_952, 179.56, tau=8.0),
    Preset("vivit_l", "ViViT-L/16x2, 320 px (K400 81.3)", replace(VIVIT_L, size=320), tau=2.0),
    Preset("vivit_l_fe", "ViViT-L/16x2, factorised encoder", VIVIT_L_FE, tau=2.0),
    Preset("vivit_b_fe", "ViViT-B/16x2, factorised (K400 78.8)", VIVIT_B_FE, tau=2.0),
    # of the same family: Rev-MViT (Mangalam et al., 2302.04869), Hiera (Ryali et al., 2306.00989)
    Preset("rev_mvit_b_16x4", "Rev-MViT-B, 16 frames (K400 78.4)", REV_MVIT, 34_963_120, 63.65),
    Preset("hiera_b_16x224", "Hiera-B, 16 frames (K400 84.0)", HIERA, 51_092_560),
    Preset("hiera_b_image", "Hiera-B (IN 84.5)", HIERA_IMAGE, 51_524_968, 9.38, tau=1.0),
    Preset("mvit_micro", "the demo's: which way does it move?", MICRO),
]  # fmt: skip

PRESETS = {preset.name: preset for preset in _ALL}


def preset(name: str) -> MViTConfig:
    """The `MViTConfig` of a named model; `list_presets` gives the names.

    Raises ValueError for an unknown name, with the nearest.
    """
    if name not in PRESETS:
        known, meant = ", ".join(PRESETS), did_you_mean(name, PRESETS)
        raise ValueError(f"there is no preset {name!r} among {known}: {meant}")
    return PRESETS[name].config


def list_presets(pattern: str = "*") -> list[str]:
    """The names of the presets in alphabetical order, all or those of a pattern: "mvitv2*".

    In a pattern `*` stands for any letters, `?` for one, `[ab]` for one of these; a list without
    names where no preset fits.
    """
    return sorted(name for name in PRESETS if fnmatchcase(name, pattern))
