"""The models by name. Each preset states only what differs from `MViTConfig`'s defaults, with its source."""

from __future__ import annotations

from dataclasses import dataclass

from .config import MViTConfig


@dataclass(frozen=True)
class Preset:
    """A named model: what it is, where it is from, and what was published about it."""

    name: str
    about: str
    config: MViTConfig
    params: int | None = None  # exactly, counted in the released implementations
    gmacs: float | None = None  # 1e9 multiply-adds of one clip (the paper's FLOPs), counted likewise


_ALL = [
    Preset("mvit_b_16x4", "MViT-B, 16 frames (Table 3b; K400 78.4)", MViTConfig(), 36_610_672, 70.60),
    Preset(
        "mvit_s_16x4",
        "MViT-S, 16 frames (Table 3c; K400 76.0)",
        MViTConfig(cube_kernel=(3, 8, 8), cube_stride=(2, 8, 8), dim=128, depths=(3, 7, 6), stride_kv=(1, 4, 4)),
        26_038_032,
        29.95,
    ),
    Preset(
        "vit_b_8f",
        "ViT-B on 8 frames, the paper's baseline (Table 3a; K400 68.5)",
        MViTConfig(
            frames=8,
            cube_kernel=(1, 16, 16),
            cube_stride=(1, 16, 16),
            dim=768,
            heads=12,
            depths=(12,),
            stride_kv=None,
            positions="joint",
        ),  # fmt: skip
        87_159_952,
        179.56,
    ),
    Preset(
        "mvit_micro",
        "the demo's: learns left from right on two cores in a minute",
        MViTConfig(
            frames=8,
            size=32,
            channels=1,
            num_classes=2,
            dim=16,
            depths=(1, 2, 1),
            stride_kv=(1, 4, 4),
            dropout=0.1,
            drop_path=0.1,
        ),  # fmt: skip
    ),
]

PRESETS = {preset.name: preset for preset in _ALL}


def preset(name):
    """The `MViTConfig` of a named model; `mvit_np.presets.PRESETS` lists them. Raises ValueError for an unknown name."""
    if name not in PRESETS:
        raise ValueError(f"there is no preset {name!r}: the presets are {', '.join(PRESETS)}")
    return PRESETS[name].config
