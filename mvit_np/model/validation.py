"""What a config may say. Each rule raises ValueError with the rule, what came and what to do."""

from __future__ import annotations

import math

from .sizes import block_sizes, embed_size

POOLS = ("conv", "max", "avg")
KERNEL_RULES = ("s", "s+1", "2s+1")
POSITIONS = ("separate", "joint", "space", "relative", "none")
SKIPS = ("normalised", "plain", "none")
SKIP_KERNELS = ("s+1", "s")
WIDENING = ("mlp", "attention")
RESIDUAL_POOLING = (None, "tokens", "all")
SWITCHES = ("adaptive_kv", "pool_q_always", "uneven", "relative_time", "cls_token", "mean_before_norm", "expand", "qkv_bias")
SWITCHES += ("reversible",)
AXES = ("frames", "height", "width")
MOST_BLOCKS = 1000  # far more than any model has; a file that says more would take hours to plan


def check(c):
    """Raise ValueError where the config `c` describes no model."""
    _check_lengths(c)
    _check_choices(c)
    _check_numbers(c)
    _check_kernels(c)
    _check_widths(c)
    _check_pyramid(c)
    _check_units(c)
    _check_streams(c)
    _check_factorised(c)
    _check_pools(c)


def is_nested(strides):
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
    if is_nested(c.stride_q):
        triples |= {f"stride_q of transition {i}": stride for i, stride in enumerate(c.stride_q, 1)}
    else:
        triples["stride_q"] = c.stride_q
    if c.stride_kv is not None:
        triples["stride_kv"] = c.stride_kv
    if not isinstance(c.pool_kernel, str):
        triples["pool_kernel"] = c.pool_kernel
    if c.mask_unit is not None:
        triples["mask_unit"] = c.mask_unit
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
    choices |= {"expand_in": (c.expand_in, WIDENING), "skip_kernel": (c.skip_kernel, SKIP_KERNELS)}
    choices |= {"residual_pooling": (c.residual_pooling, RESIDUAL_POOLING)}
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
    for name, least in {"mask_unit_stages": 1, "time_depth": 0}.items():
        value = getattr(c, name)
        good = isinstance(value, int) and not isinstance(value, bool) and value >= least
        _require(good, f"{name} is a whole number >= {least}, came {value!r}", f"give {least} or more")
    _require(c.depth <= MOST_BLOCKS, f"a model has at most {MOST_BLOCKS} blocks, came {c.depth}", "give smaller depths")
    blocks = isinstance(c.unpooled_kv, tuple) and all(i in range(sum(c.depths)) for i in c.unpooled_kv)
    rule = f"unpooled_kv is a tuple of blocks, 0 to {sum(c.depths) - 1}, came {c.unpooled_kv!r}"
    _require(blocks, rule, "give such as (14, 15), or () for none")


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
    return "s" not in (c.pool_kernel, c.skip_kernel) and step % 2 == 0  # an odd stride's skip has an even window, s + 1


def _check_units(c):
    """Mask units tile the grid of tokens, and each query stride tiles the unit it shrinks."""
    if c.mask_unit is None:
        return
    whole = not c.cls_token and c.stride_kv is None and c.positions != "relative" and c.skip_kernel == c.pool_kernel == "s"
    rule = "mask units go without class token, key-value pooling and relative positions, under pools of kernel 's'"
    _require(whole, rule, "set cls_token=False, stride_kv=None, pool_kernel='s', skip_kernel='s' and other positions")
    grid = embed_size(c).thw
    tiles = all(n % u == 0 for n, u in zip(grid, c.mask_unit))
    _require(tiles, f"mask_unit divides the grid of tokens {grid}, came {c.mask_unit}", "give such as (1, 8, 8)")
    unit = c.mask_unit
    for stride in c.transitions[: c.mask_unit_stages]:
        fits = all(u % s == 0 for u, s in zip(unit, stride))
        rule = f"a query stride divides the mask unit it shrinks, came {stride} for {unit}"
        _require(fits, rule, "give a larger mask_unit, or fewer mask_unit_stages")
        unit = tuple(u // s for u, s in zip(unit, stride))


def _check_streams(c):
    """Reversible blocks keep the width: it may grow in the first block of a stage alone."""
    rule = f"reversible models widen in the attention, came expand_in={c.expand_in!r}"
    _require(not c.reversible or not c.expand or c.expand_in == "attention", rule, 'set expand_in="attention"')


def _check_factorised(c):
    if not c.time_depth:
        return
    rule = f'with time_depth, positions are "joint", "space" or "none" (of a frame), came {c.positions!r}'
    _require(c.positions in ("joint", "space", "none"), rule, 'give "joint"')
    alone = not c.reversible and c.mask_unit is None and all(s[0] == 1 for s in c.transitions)
    rule = "time_depth goes without reversible and mask_unit, and its query strides leave time alone"
    _require(alone and (c.stride_kv is None or c.stride_kv[0] == 1), rule, "set them back, and strides such as (1, 2, 2)")


def _check_pools(c):
    """The window of every pool fits the grid it meets; the sizes themselves say so."""
    for _ in block_sizes(c, embed_size(c)):
        pass
