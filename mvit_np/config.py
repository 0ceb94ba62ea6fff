"""What one chooses: one frozen dataclass. What follows from it (every grid, width and stride) is in `plan`.

All lengths are (time, height, width). Defaults are MViT-B 16x4 (Table 3b, Sec. 4.1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

POOLS = ("conv", "max", "avg")
KERNEL_RULES = ("s", "s+1", "2s+1")
POSITIONS = ("separate", "joint", "space", "relative", "none")
SKIPS = ("normalised", "plain", "none")
WIDENING = ("mlp", "attention")
RESIDUAL_POOLING = (None, "tokens", "all")
SWITCHES = ("adaptive_kv", "pool_q_always", "uneven", "relative_time", "cls_token", "expand", "qkv_bias")
AXES = ("frames", "height", "width")


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

    dim: int = 96  # of the first stage; doubles with `expand` at each transition, and so do the heads
    heads: int = 1
    depths: tuple[int, ...] = (1, 2, 11, 2)

    stride_q: tuple = (1, 2, 2)  # of a stage's first block; a tuple of such tuples where transitions differ
    stride_kv: tuple[int, int, int] | None = (1, 8, 8)  # in the first stage; None: keys and values are not pooled
    adaptive_kv: bool = True  # divide stride_kv by the query strides met so far, so that K and V keep one resolution
    pool: str = "conv"
    pool_kernel: tuple[int, int, int] | str = (3, 3, 3)  # or "s", "s+1", "2s+1" of the stride
    pool_q_always: bool = False  # MViTv2 pools q in every block, stride 1 included
    uneven: bool = False  # round grids up that a stride does not divide (MViTv2-L at 312), instead of refusing

    positions: str = "separate"
    relative_time: bool = True  # with positions="relative": also along time
    cls_token: bool = True
    residual_pooling: str | None = None  # add the pooled query: None, "tokens" (class row excluded), "all"

    expand: bool = True
    expand_in: str = "mlp"  # of a stage's last block (MViT), or "attention" of a stage's first (MViTv2)
    skip: str = "normalised"  # where the width grows: Table A.1

    mlp_ratio: float = 4
    qkv_bias: bool = True
    eps: float = 1e-6
    dropout: float = 0.5  # before the head
    drop_path: float = 0.2  # stochastic depth of the last block; grows linearly from 0 in the first

    def __post_init__(self):
        _check_lengths(self)
        _check_choices(self)
        _check_numbers(self)
        _check_kernels(self)
        _check_widths(self)
        _check_pyramid(self)

    @property
    def size_hw(self):
        """(H, W) in pixels."""
        return (self.size, self.size) if isinstance(self.size, int) else tuple(self.size)

    @property
    def thw(self):
        """(T, H, W) of the input in frames and pixels."""
        return (self.frames, *self.size_hw)

    @property
    def transitions(self):
        """The query stride of each stage's first block, from the second stage on."""
        count = len(self.depths) - 1
        return self.stride_q if _is_nested(self.stride_q) else (self.stride_q,) * count


def _is_nested(strides):
    return len(strides) == 0 or isinstance(strides[0], (tuple, list))


def _require(holds, rule, remedy):
    if not holds:
        raise ValueError(f"{rule}: {remedy}")


def _is_length(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _check_lengths(c):
    counts = {"frames": c.frames, "channels": c.channels, "num_classes": c.num_classes, "dim": c.dim, "heads": c.heads}
    for name, value in counts.items():
        _require(_is_length(value), f"{name} is a whole number >= 1, came {value!r}", f"give {name}=1 or more")
    pair = isinstance(c.size, tuple) and len(c.size) == 2 and all(map(_is_length, c.size))
    _require(_is_length(c.size) or pair, f"size is an int or (H, W), came {c.size!r}", "give pixels, such as 224 or (224, 320)")
    depths = isinstance(c.depths, tuple) and len(c.depths) > 0 and all(map(_is_length, c.depths))
    _require(
        depths, f"depths is a tuple of block counts >= 1, came {c.depths!r}", "give one count a stage, such as (1, 2, 11, 2)"
    )
    _check_triples(c)


def _check_triples(c):
    _require(isinstance(c.stride_q, tuple), f"stride_q is a tuple, came {c.stride_q!r}", "give such as (1, 2, 2)")
    triples = {"cube_kernel": c.cube_kernel, "cube_stride": c.cube_stride}
    if _is_nested(c.stride_q):
        triples |= {f"stride_q of transition {i}": stride for i, stride in enumerate(c.stride_q, 1)}
    else:
        triples["stride_q"] = c.stride_q
    if c.stride_kv is not None:
        triples["stride_kv"] = c.stride_kv
    if not isinstance(c.pool_kernel, str):
        triples["pool_kernel"] = c.pool_kernel
    for name, value in triples.items():
        good = isinstance(value, tuple) and len(value) == 3 and all(map(_is_length, value))
        _require(good, f"{name} is (time, height, width), whole numbers >= 1, came {value!r}", "give a tuple such as (1, 2, 2)")
    count = len(c.depths) - 1
    _require(
        len(c.transitions) == count,
        f"{len(c.depths)} stages have {count} transitions, stride_q gives {len(c.transitions)}",
        "give one stride for all of them or one for each",
    )


def _check_choices(c):
    choices = {"pool": (c.pool, POOLS), "positions": (c.positions, POSITIONS), "skip": (c.skip, SKIPS)}
    choices |= {"expand_in": (c.expand_in, WIDENING), "residual_pooling": (c.residual_pooling, RESIDUAL_POOLING)}
    if isinstance(c.pool_kernel, str):
        choices["pool_kernel"] = (c.pool_kernel, KERNEL_RULES)
    for name, (value, allowed) in choices.items():
        known = isinstance(value, (str, type(None))) and value in allowed
        _require(known, f"{name} is one of {', '.join(map(repr, allowed))}, came {value!r}", "pick one of them")
    for name in SWITCHES:
        value = getattr(c, name)
        _require(isinstance(value, bool), f"{name} is a switch, came {value!r}", "give True or False")


def _check_numbers(c):
    for name, rate in {"dropout": c.dropout, "drop_path": c.drop_path}.items():
        _require(_is_number(rate) and 0 <= rate < 1, f"{name} is a rate in [0, 1), came {rate!r}", "give 0 for none")
    for name, value in {"mlp_ratio": c.mlp_ratio, "eps": c.eps}.items():
        _require(
            _is_number(value) and value > 0,
            f"{name} is a number above 0, came {value!r}",
            "the paper's are mlp_ratio 4 and eps 1e-6",
        )


def _check_widths(c):
    _require(
        c.dim % c.heads == 0,
        f"heads divide the width evenly, came heads={c.heads} and dim={c.dim}",
        f"give a dim that is a multiple of {c.heads}",
    )
    whole = c.mlp_ratio * c.dim % 1 == 0
    _require(whole, f"mlp_ratio x dim is a whole number, came {c.mlp_ratio} x {c.dim}", "change mlp_ratio or dim")


def _check_kernels(c):
    """No even window where padding by k // 2 would make the grid one longer than its length divided by the stride."""
    cube = all(k % 2 or k == s for k, s in zip(c.cube_kernel, c.cube_stride))
    came = f"came {c.cube_kernel} with cube_stride {c.cube_stride}"
    _require(cube, f"cube_kernel is odd or the stride itself, {came}", "give odd lengths, such as (3, 7, 7)")
    pool = isinstance(c.pool_kernel, str) or all(k % 2 for k in c.pool_kernel)
    _require(pool, f"pool_kernel is odd, came {c.pool_kernel}", 'give odd lengths, such as (3, 3, 3), or the rule "s"')


def _check_pyramid(c):
    """Every stride divides the grid it meets, down the pyramid (unless `uneven`)."""
    grid, where = c.thw, "the clip"
    steps = [("cube_stride", c.cube_stride), *((f"stride_q of transition {i}", s) for i, s in enumerate(c.transitions, 1))]
    for name, stride in steps:
        for i, (axis, length, step) in enumerate(zip(AXES, grid, stride)):
            rounds_up = c.uneven and length >= step and _overlaps(c, name, i, step)
            _require(
                rounds_up or length % step == 0,
                f"{name} divides the grid it meets, but {where} has {axis} {length} and the stride is {step}",
                f"give {axis} as a multiple of {math.prod(s[i] for _, s in steps)}, another stride, or uneven=True to round "
                "grids up (a grid of at least one stride, under windows that overlap)",
            )
        grid, where = tuple(-(-length // step) for length, step in zip(grid, stride)), f"the grid after {name}"


def _overlaps(c, name, axis, step):
    """Whether the windows of a step are padded, so that those at the edge hold what a stride leaves over."""
    if name == "cube_stride":
        return c.cube_kernel[axis] != step
    return c.pool_kernel != "s" and step % 2 == 0  # an odd stride's skip has an even window, s + 1
