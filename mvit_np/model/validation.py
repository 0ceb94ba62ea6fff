"""What a config may say. Each rule raises ValueError with the rule, what came and what to do."""

from __future__ import annotations

import math

from ..backend.plain_values import is_number, is_whole
from .sizes import block_sizes, embed_size

POOLS = ("conv", "max", "avg")
KERNEL_RULES = ("s", "s+1", "2s+1")
POSITIONS = ("separate", "joint", "space", "relative", "none")
SKIPS = ("normalised", "plain", "none")
SKIP_KERNELS = ("s+1", "s")
WIDENING = ("mlp", "attention")
RESIDUAL_POOLING = (None, "tokens", "all")
SWITCHES = (
    "adaptive_kv",
    "pool_q_always",
    "uneven",
    "relative_time",
    "cls_token",
    "mean_before_norm",
    "expand",
    "qkv_bias",
)
SWITCHES += ("reversible",)
AXES = ("frames", "height", "width")
MOST_BLOCKS = 1000  # far more than any model has; a file that says more would take hours to plan


def check(config):
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


def is_nested(strides):
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
    _require(counts, rule, "give one count a stage, such as (1, 2, 11, 2)")
    _check_triples(config)


def _check_triples(config):
    _require(
        isinstance(config.stride_q, tuple),
        f"stride_q is a tuple, came {config.stride_q!r}",
        "give such as (1, 2, 2)",
    )
    triples = {"cube_kernel": config.cube_kernel, "cube_stride": config.cube_stride}
    if is_nested(config.stride_q):
        triples |= {
            f"stride_q of transition {i}": stride for i, stride in enumerate(config.stride_q, 1)
        }
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
        _require(
            good,
            f"{name} is (time, height, width), whole numbers >= 1, came {value!r}",
            "give a tuple such as (1, 2, 2)",
        )
    count = len(config.depths) - 1
    _require(
        len(config.transitions) == count,
        (
            f"{len(config.depths)} stages have {count} transitions, stride_q gives "
            f"{len(config.transitions)}"
        ),
        "give one stride for all of them or one for each",
    )


def _check_choices(config):
    choices = {
        "pool": (config.pool, POOLS),
        "positions": (config.positions, POSITIONS),
        "skip": (config.skip, SKIPS),
    }
    choices |= {
        "expand_in": (config.expand_in, WIDENING),
        "skip_kernel": (config.skip_kernel, SKIP_KERNELS),
    }
    choices |= {"residual_pooling": (config.residual_pooling, RESIDUAL_POOLING)}
    if isinstance(config.pool_kernel, str):
        choices["pool_kernel"] = (config.pool_kernel, KERNEL_RULES)
    for name, (value, allowed) in choices.items():
        known = isinstance(value, (str, type(None))) and value in allowed
        _require(
            known,
            f"{name} is one of {', '.join(map(repr, allowed))}, came {value!r}",
            "pick one of them",
        )
    for name in SWITCHES:
        value = getattr(config, name)
        _require(
            isinstance(value, bool), f"{name} is a switch, came {value!r}", "give True or False"
        )


def _check_numbers(config):
    for name, rate in {"dropout": config.dropout, "drop_path": config.drop_path}.items():
        _require(
            is_number(rate) and 0 <= rate < 1,
            f"{name} is a rate in [0, 1), came {rate!r}",
            "give 0 for none",
        )
    for name, value in {"mlp_ratio": config.mlp_ratio, "eps": config.eps}.items():
        _require(
            is_number(value) and value > 0,
            f"{name} is a number above 0, came {value!r}",
            "the paper's are mlp_ratio 4 and eps 1e-6",
        )
    for name, least in {"mask_unit_stages": 1, "time_depth": 0}.items():
        value = getattr(config, name)
        good = is_whole(value, least)
        _require(
            good, f"{name} is a whole number >= {least}, came {value!r}", f"give {least} or more"
        )
    rule = f"a model has at most {MOST_BLOCKS} blocks, came {config.depth}"
    _require(config.depth <= MOST_BLOCKS, rule, "give smaller depths")
    unpooled, count = config.unpooled_kv, sum(config.depths)
    blocks = isinstance(unpooled, tuple) and all(i in range(count) for i in unpooled)
    rule = f"unpooled_kv is a tuple of blocks, 0 to {count - 1}, came {unpooled!r}"
    _require(blocks, rule, "give such as (14, 15), or () for none")


def _check_widths(config):
    _require(
        config.dim % config.heads == 0,
        f"heads divide the width evenly, came heads={config.heads} and dim={config.dim}",
        f"give a dim that is a multiple of {config.heads}",
    )
    whole = config.mlp_ratio * config.dim % 1 == 0
    _require(
        whole,
        f"mlp_ratio x dim is a whole number, came {config.mlp_ratio} x {config.dim}",
        "change mlp_ratio or dim",
    )


def _check_kernels(config):
    """No even window where padding by k // 2 would make the grid one longer than its length divided
    by the stride.
    """
    cube = all(k % 2 or k == s for k, s in zip(config.cube_kernel, config.cube_stride))
    came = f"came {config.cube_kernel} with cube_stride {config.cube_stride}"
    _require(
        cube,
        f"cube_kernel is odd or the stride itself, {came}",
        "give odd lengths, such as (3, 7, 7)",
    )
    pool = isinstance(config.pool_kernel, str) or all(k % 2 for k in config.pool_kernel)
    _require(
        pool,
        f"pool_kernel is odd, came {config.pool_kernel}",
        'give odd lengths, such as (3, 3, 3), or the rule "s"',
    )


def _check_pyramid(config):
    """Every stride divides the grid it meets, down the pyramid (unless `uneven`)."""
    grid, where = config.thw, "the clip"
    steps = [("cube_stride", config.cube_stride)]
    steps += [(f"stride_q of transition {i}", s) for i, s in enumerate(config.transitions, 1)]
    for name, stride in steps:
        for i, (axis, length, step) in enumerate(zip(AXES, grid, stride)):
            rounds_up = config.uneven and length >= step and _overlaps(config, name, i, step)
            _require(
                rounds_up or length % step == 0,
                (
                    f"{name} divides the grid it meets, but {where} has {axis} {length} and the "
                    f"stride is {step}"
                ),
                f"give {axis} as a multiple of {math.prod(s[i] for _, s in steps)}, another "
                "stride, or uneven=True to round grids up (a grid of at least one stride, under "
                "windows that overlap)",
            )
        grid, where = (
            tuple(-(-length // step) for length, step in zip(grid, stride)),
            f"the grid after {name}",
        )


def _overlaps(config, name, axis, step):
    """Whether the windows of a step are padded, so that those at the edge hold what a stride leaves
    over.
    """
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
    rule = (
        "mask units go without class token, key-value pooling and relative positions, under pools "
        "of kernel 's'"
    )
    _require(
        whole,
        rule,
        "set cls_token=False, stride_kv=None, pool_kernel='s', skip_kernel='s' and other positions",
    )
    grid = embed_size(config).thw
    tiles = all(n % u == 0 for n, u in zip(grid, config.mask_unit))
    _require(
        tiles,
        f"mask_unit divides the grid of tokens {grid}, came {config.mask_unit}",
        "give such as (1, 8, 8)",
    )
    unit = config.mask_unit
    for stride in config.transitions[: config.mask_unit_stages]:
        fits = all(u % s == 0 for u, s in zip(unit, stride))
        rule = f"a query stride divides the mask unit it shrinks, came {stride} for {unit}"
        _require(fits, rule, "give a larger mask_unit, or fewer mask_unit_stages")
        unit = tuple(u // s for u, s in zip(unit, stride))


def _check_streams(config):
    """Reversible blocks keep the width: it may grow in the first block of a stage alone."""
    rule = f"reversible models widen in the attention, came expand_in={config.expand_in!r}"
    _require(
        not config.reversible or not config.expand or config.expand_in == "attention",
        rule,
        'set expand_in="attention"',
    )


def _check_factorised(config):
    if not config.time_depth:
        return
    rule = f'with time_depth, positions are "joint", "space" or "none" (of a frame), came {config.positions!r}'
    _require(config.positions in ("joint", "space", "none"), rule, 'give "joint"')
    alone = (
        not config.reversible
        and config.mask_unit is None
        and all(s[0] == 1 for s in config.transitions)
    )
    rule = (
        "time_depth goes without reversible and mask_unit, and its query strides leave time alone"
    )
    alone = alone and (config.stride_kv is None or config.stride_kv[0] == 1)
    _require(alone, rule, "set them back, and strides such as (1, 2, 2)")


def _check_pools(config):
    """The window of every pool fits the grid it meets; the sizes themselves say so."""
    for _ in block_sizes(config, embed_size(config)):
        pass
