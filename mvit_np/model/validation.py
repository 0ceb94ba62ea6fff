"""What a config may say. Each rule raises ValueError with the rule, what came and what to do."""

from __future__ import annotations

import math
from typing import Any

from ..backend.plain_values import is_number, is_whole
from .sizes import block_sizes, embed_size

CHOICES = {
    "pool": ("conv", "max", "avg"),
    "positions": ("separate", "joint", "space", "relative", "none"),
    "skip": ("normalised", "plain", "none"),
    "expand_in": ("mlp", "attention"),
    "skip_kernel": ("s+1", "s"),
    "residual_pooling": (None, "tokens", "all"),
}
KERNEL_RULES = ("s", "s+1", "2s+1")  # what pool_kernel may be where it is a word
SWITCHES = (
    "adaptive_kv", "pool_q_always", "uneven", "relative_time", "cls_token", "mean_before_norm",
    "expand", "qkv_bias", "reversible",
)  # fmt: skip
AXES = ("frames", "height", "width")
MOST_BLOCKS = 1000  # far more than any model has; a file that says more would take hours to plan


def check(config: Any) -> None:  # an MViTConfig, whose module needs this one
    """Raise ValueError where the config describes no model."""
    _check_lengths(config)
    _check_choices(config)
    _check_numbers(config)
    _check_kernels(config)
    _check_widths(config)
    _check_pyramid(config)
    _check_units(config)
    _check_streams(config)
    _check_factorised(config)
    _check_pools(config)


def is_nested(strides: tuple) -> bool:
    """Whether each transition has a stride of its own, or all of them share one triple."""
    return len(strides) == 0 or isinstance(strides[0], (tuple, list))


def _require(holds, rule, remedy):
    if not holds:
        raise ValueError(f"{rule}: {remedy}")


def _is_length(value):
    return is_whole(value, 1)


def _check_lengths(config):
    for name in ("frames", "channels", "num_classes", "dim", "heads"):
        value = getattr(config, name)
        rule = f"{name} is a whole number >= 1, came {value!r}"
        _require(_is_length(value), rule, f"give {name}=1 or more")
    size, depths = config.size, config.depths
    pair = isinstance(size, tuple) and len(size) == 2 and all(map(_is_length, size))
    rule = f"size is an int or (H, W), came {size!r}"
    _require(_is_length(size) or pair, rule, "give pixels, such as 224 or (224, 320)")
    counts = isinstance(depths, tuple) and len(depths) > 0 and all(map(_is_length, depths))
    rule = f"depths is a tuple of block counts >= 1, came {depths!r}"
    _require(counts, rule, "give one count per stage, such as (1, 2, 11, 2)")
    _check_triples(config)


def _check_triples(config):
    rule = f"stride_q is a tuple, came {config.stride_q!r}"
    _require(isinstance(config.stride_q, tuple), rule, "give such as (1, 2, 2)")
    triples = {"cube_kernel": config.cube_kernel, "cube_stride": config.cube_stride}
    if is_nested(config.stride_q):
        triples |= {f"stride_q of transition {i}": s for i, s in enumerate(config.stride_q, 1)}
    else:
        triples["stride_q"] = config.stride_q
    if config.stride_kv is not None:
        triples["stride_kv"] = config.stride_kv
    if not isinstance(config.pool_kernel, str):
        triples["pool_kernel"] = config.pool_kernel
    if config.mask_unit is not None:
        triples["mask_unit"] = config.mask_unit
    for name, value in triples.items():
        good = isinstance(value, tuple) and len(value) == 3 and all(map(_is_length, value))
        rule = f"{name} is (time, height, width), whole numbers >= 1, came {value!r}"
        _require(good, rule, "give a tuple such as (1, 2, 2)")
    count, given = len(config.depths) - 1, len(config.transitions)
    rule = f"{count + 1} stages have {count} transitions, stride_q gives {given}"
    _require(given == count, rule, "give one stride for all of them or one for each")


def _check_choices(config):
    allowed = dict(CHOICES)
    if isinstance(config.pool_kernel, str):
        allowed["pool_kernel"] = KERNEL_RULES
    for name, known in allowed.items():
        value = getattr(config, name)
        rule = f"{name} is one of {', '.join(map(repr, known))}, came {value!r}"
        is_known = isinstance(value, (str, type(None))) and value in known
        _require(is_known, rule, "pick one of them")
    for name in SWITCHES:
        value = getattr(config, name)
        rule = f"{name} is a switch, came {value!r}"
        _require(isinstance(value, bool), rule, "give True or False")


def _check_numbers(config):
    for name in ("dropout", "drop_path"):
        rate = getattr(config, name)
        rule = f"{name} is a rate in [0, 1), came {rate!r:.80}"
        _require(is_number(rate) and 0 <= rate < 1, rule, "give 0 for none")
    for name in ("mlp_ratio", "eps"):
        value = getattr(config, name)
        rule = f"{name} is a number above 0, came {value!r:.80}"
        good = is_number(value) and value > 0
        _require(good, rule, "the paper's are mlp_ratio 4 and eps 1e-6")
    for name, least in {"mask_unit_stages": 1, "time_depth": 0}.items():
        value = getattr(config, name)
        rule = f"{name} is a whole number >= {least}, came {value!r}"
        _require(is_whole(value, least), rule, f"give {least} or more")
    rule = f"a model has at most {MOST_BLOCKS} blocks, came {config.depth}"
    _require(config.depth <= MOST_BLOCKS, rule, "give smaller depths")
    unpooled, count = config.unpooled_kv, sum(config.depths)
    blocks = isinstance(unpooled, tuple) and all(i in range(count) for i in unpooled)
    rule = f"unpooled_kv is a tuple of blocks, 0 to {count - 1}, came {unpooled!r}"
    _require(blocks, rule, "give such as (14, 15), or () for none")


def _check_widths(config):
    dim, heads, ratio = config.dim, config.heads, config.mlp_ratio
    rule = f"heads divide the width evenly, came heads={heads} and dim={dim}"
    _require(dim % heads == 0, rule, f"give a dim that is a multiple of {heads}")
    rule = f"mlp_ratio x dim is a whole number, came {ratio} x {dim}"
    _require(ratio * dim % 1 == 0, rule, "change mlp_ratio or dim")


def _check_kernels(config):
    """Windows are odd: padding by k // 2 of an even one would make the grid one too long."""
    cube = all(k % 2 or k == s for k, s in zip(config.cube_kernel, config.cube_stride))
    came = f"came {config.cube_kernel} with cube_stride {config.cube_stride}"
    rule = f"cube_kernel is odd or the stride itself, {came}"
    _require(cube, rule, "give odd lengths, such as (3, 7, 7)")
    pool = isinstance(config.pool_kernel, str) or all(k % 2 for k in config.pool_kernel)
    rule = f"pool_kernel is odd, came {config.pool_kernel}"
    _require(pool, rule, 'give odd lengths, such as (3, 3, 3), or the rule "s"')


def _check_pyramid(config):
    """Every stride divides the grid it meets, down the pyramid (unless `uneven`)."""
    grid, where = config.thw, "the clip"
    steps = [("cube_stride", config.cube_stride)]
    steps += [(f"stride_q of transition {i}", s) for i, s in enumerate(config.transitions, 1)]
    for name, stride in steps:
        for i, (axis, length, step) in enumerate(zip(AXES, grid, stride)):
            rounds_up = config.uneven and length >= step and _overlaps(config, name, i, step)
            came = f"{where} has {axis} {length} and the stride is {step}"
            _require(
                rounds_up or length % step == 0,
                f"{name} divides the grid it meets, but {came}",
                f"give {axis} as a multiple of {math.prod(s[i] for _, s in steps)}, "
                "another stride, or uneven=True to round grids up "
                "(a grid of at least one stride, under windows that overlap)",
            )
        grid = tuple(-(-length // step) for length, step in zip(grid, stride))
        where = f"the grid after {name}"


def _overlaps(config, name, axis, step):
    """Whether a step's windows are padded, so that those at the edge hold what a stride leaves."""
    if name == "cube_stride":
        return config.cube_kernel[axis] != step
    # an odd stride's skip has an even window, s + 1
    return "s" not in (config.pool_kernel, config.skip_kernel) and step % 2 == 0


def _check_units(config):
    """Mask units tile the grid of tokens, and each query stride tiles the unit it shrinks."""
    if config.mask_unit is None:
        return
    plain = not config.cls_token and config.stride_kv is None and config.positions != "relative"
    whole = plain and config.skip_kernel == config.pool_kernel == "s"
    _require(
        whole,
        "mask units go without class token, key-value pooling and relative positions, "
        "under pools of kernel 's'",
        "set cls_token=False, stride_kv=None, pool_kernel='s', skip_kernel='s' and other positions",
    )
    grid, unit = embed_size(config).thw, config.mask_unit
    rule = f"mask_unit divides the grid of tokens {grid}, came {unit}"
    _require(all(n % u == 0 for n, u in zip(grid, unit)), rule, "give such as (1, 8, 8)")
    for stride in config.transitions[: config.mask_unit_stages]:
        fits = all(u % s == 0 for u, s in zip(unit, stride))
        rule = f"a query stride divides the mask unit it shrinks, came {stride} for {unit}"
        _require(fits, rule, "give a larger mask_unit, or fewer mask_unit_stages")
        unit = tuple(u // s for u, s in zip(unit, stride))


def _check_streams(config):
    """Reversible blocks keep the width: it may grow in the first block of a stage alone."""
    rule = f"reversible models widen in the attention, came expand_in={config.expand_in!r}"
    keeps = not config.reversible or not config.expand or config.expand_in == "attention"
    _require(keeps, rule, 'set expand_in="attention"')


def _check_factorised(config):
    if not config.time_depth:
        return
    rule = 'with time_depth, positions are "joint", "space" or "none" (of a frame)'
    is_known = config.positions in ("joint", "space", "none")
    _require(is_known, f"{rule}, came {config.positions!r}", 'give "joint"')
    strides = [*config.transitions, config.stride_kv or (1, 1, 1)]
    alone = not config.reversible and config.mask_unit is None and all(s[0] == 1 for s in strides)
    rule = "time_depth goes without reversible and mask_unit, and its strides leave time alone"
    _require(alone, rule, "set them back, and strides such as (1, 2, 2)")


def _check_pools(config):
    """The window of every pool fits the grid it meets; the sizes themselves say so."""
    for _ in block_sizes(config, embed_size(config)):
        pass
