"""What one chooses: one frozen dataclass. What follows (every grid, width, stride) is in `plan`.

All lengths are (time, height, width). Defaults are MViT-B 16x4 (Table 3b, Sec. 4.1).
"""

from __future__ import annotations

from dataclasses import dataclass

from .validation import check, is_nested


@dataclass(frozen=True)
class MViTConfig:
    """A Multiscale Vision Transformer, or with one stage and no pooling a ViT.

    Raises ValueError where the choice is impossible, with the rule, what came and what to do.
    """

    frames: int = 16
    size: int | tuple[int, int] = 224
    channels: int = 3
    num_classes: int = 400

    cube_kernel: tuple[int, int, int] = (3, 7, 7)
    cube_stride: tuple[int, int, int] = (2, 4, 4)

    dim: int = 96  # of the first stage; doubles at each transition (`expand`), as do the heads
    heads: int = 1
    depths: tuple[int, ...] = (1, 2, 11, 2)

    stride_q: tuple = (1, 2, 2)  # of a stage's first block; a tuple of tuples where these differ
    stride_kv: tuple[int, int, int] | None = (1, 8, 8)  # in the first stage; None: no pooling
    adaptive_kv: bool = True  # divide it by the query strides so far: K, V keep one resolution
    unpooled_kv: tuple[int, ...] = ()  # blocks, counted from 0, that do not pool keys and values
    pool: str = "conv"
    pool_kernel: tuple[int, int, int] | str = (3, 3, 3)  # or "s", "s+1", "2s+1" of the stride
    pool_q_always: bool = False  # MViTv2 pools q in every block, stride 1 included
    uneven: bool = False  # round up grids that a stride does not divide (MViTv2-L at 312)

    positions: str = "separate"
    relative_time: bool = True  # with positions="relative": also along time
    cls_token: bool = True
    mean_before_norm: bool = False  # classify the grid's normed mean token (Hiera, MaskFeat)
    residual_pooling: str | None = None  # add the pooled query: None, "tokens" (not class), "all"

    expand: bool = True
    expand_in: str = "mlp"  # of a stage's last block, or "attention" of its first (MViTv2)
    skip: str = "normalised"  # where the width grows: Table A.1
    skip_kernel: str = "s+1"  # of the skip's max pooling; Hiera's windows lie side by side, "s"

    mask_unit: tuple[int, int, int] | None = None  # Hiera: tokens that attend among themselves
    mask_unit_stages: int = 2  # in so many stages, and in the block that pools their last
    reversible: bool = False  # Rev-MViT: two streams, whose activations the backward pass rebuilds
    time_depth: int = 0  # ViViT's factorised encoder: further blocks, which see one token per frame

    mlp_ratio: float = 4
    qkv_bias: bool = True
    eps: float = 1e-6
    dropout: float = 0.5  # before the head
    drop_path: float = 0.2  # stochastic depth of the last block; grows linearly from 0 in the first

    def __post_init__(self) -> None:
        check(self)

    @property
    def depth(self) -> int:
        """The number of blocks."""
        return sum(self.depths) + self.time_depth

    @property
    def size_hw(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    @property
    def thw(self) -> tuple[int, int, int]:
        """(T, H, W) of the input in frames and pixels."""
        return (self.frames, *self.size_hw)

    @property
    def transitions(self) -> tuple[tuple[int, int, int], ...]:
        """The query stride of each stage's first block, from the second stage on."""
        count = len(self.depths) - 1
        return self.stride_q if is_nested(self.stride_q) else (self.stride_q,) * count
