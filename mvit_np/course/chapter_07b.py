"""Exercises of notebook 07, second part: a pyramid of one's own under a budget."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from ..model.config import MViTConfig
from ..model.costs import costs
from ..model.plan import plan
from .checker import INVESTIGATE, Exercise

STAGES = 3  # at least, so that it is a pyramid
SPARE = 1.15  # how much more than the reference a design may cost


def design_pyramid(frames, size, macs, tokens, channels, blocks):
    """A model for clips of frames x size x size pixels, under a budget.

    all six: whole numbers   ->   an MViTConfig
    At most `macs` multiply-adds; at least `tokens` on the grid of the first stage, `channels` in
    the last block's result, and `blocks` blocks in all. Three stages or more, and from each stage
    to the next the number of tokens falls and the number of channels grows. You choose all else.
    Hint: plan(config).blocks and costs(config).macs. The channels double from stage to stage. What
    does an early block cost, and what does a late one cost? What does stride_kv change? replace of
    dataclasses changes a config.
    """
    stages = 3
    config = MViTConfig(
        frames=frames, size=size, dim=-(-channels // 2 ** (stages - 1)), heads=1,
        depths=(1, 1, max(blocks - 2, 1)),
    )  # fmt: skip
    for stride_kv in ((1, 2, 2), (1, 4, 4), (1, 8, 8)):  # from the most keys to the fewest
        config = replace(config, stride_kv=stride_kv)
        if costs(config).macs <= macs:
            break
    return config


def _designed(frames, size, channels, blocks):
    """What serves as the measure of a task: four stages, which are cheaper."""
    depths = (1, 1, blocks - 3, 1)
    return MViTConfig(frames=frames, size=size, dim=channels // 8, depths=depths)


def _tasks(rng):
    """Budgets that three stages with the most pooling keep to."""
    sizes = [(8, 128, 256, 6), (16, 224, 384, 10)]
    sizes += [
        (int(rng.choice((4, 8, 16))), int(rng.choice((96, 160))), int(64 * rng.integers(2, 7)),
         int(rng.integers(5, 14)))
        for _ in range(2)
    ]  # fmt: skip
    for frames, size, channels, blocks in sizes:
        config = design_pyramid(frames, size, 0, 0, channels, blocks)
        tokens = prod(plan(config).blocks[0].thw)
        yield frames, size, int(SPARE * costs(config).macs), tokens, channels, blocks


def _reference_design(frames, size, macs, tokens, channels, blocks):
    return _designed(frames, size, channels, max(blocks, 4))


def _judge(value, reference, frames, size, macs, tokens, channels, blocks):
    """The rules one after the other; the first that is broken is told."""
    if not isinstance(value, MViTConfig):
        return f"the design is an MViTConfig: {type(value).__name__} came"
    if value.thw != (frames, size, size):
        return f"the clip is given, {(frames, size, size)}: the config is for {value.thw}"
    if len(value.depths) < STAGES:
        return f"a pyramid has {STAGES} stages or more: {len(value.depths)} came"
    specs = plan(value).blocks
    firsts = [next(s for s in specs if s.stage == i) for i in range(len(value.depths))]
    grids, widths = [prod(s.thw_q) for s in firsts], [s.dim_attn for s in firsts]
    if any(a <= b for a, b in zip(grids, grids[1:])):
        return f"the tokens fall from each stage to the next: {grids} came"
    if any(a >= b for a, b in zip(widths, widths[1:])):
        return f"the channels grow from each stage to the next: {widths} came"
    if grids[0] < tokens:
        return f"the first stage has {tokens:,} tokens or more: {grids[0]:,} came"
    if specs[-1].dim_out < channels:
        return f"the last block gives {channels} channels or more: {specs[-1].dim_out} came"
    if len(specs) < blocks:
        return f"there are {blocks} blocks or more: {len(specs)} came"
    if (cost := costs(value).macs) > macs:
        return f"the budget is {macs / 1e9:.3f} G multiply-adds: {cost / 1e9:.3f} G came"
    return ""


def _but(**change):
    """The solution with other fields."""
    return lambda *args: replace(design_pyramid(*args), **change)


def _one_stage(frames, size, macs, tokens, channels, blocks):
    return MViTConfig(frames=frames, size=size, dim=channels, depths=(blocks,), stride_kv=None)


def _wide_at_once(frames, size, macs, tokens, channels, blocks):
    config = design_pyramid(frames, size, macs, tokens, channels, blocks)
    return replace(config, dim=channels)


def _narrow(frames, size, macs, tokens, channels, blocks):
    return design_pyramid(frames, size, macs, tokens, channels // 2, blocks)


def _few_blocks(frames, size, macs, tokens, channels, blocks):
    return replace(design_pyramid(frames, size, macs, tokens, channels, blocks), depths=(1, 1, 1))


DESIGN_PYRAMID = Exercise(
    design_pyramid,
    _reference_design,
    _tasks,
    (
        ("it is a ViT: one stage has neither fewer tokens nor more channels later", _one_stage),
        ("the model is too expensive: where are blocks, channels or keys that can go?",
         _wide_at_once),
        ("the last block is too narrow: the first stage's channels double at each transition",
         _narrow),
        ("there are too few blocks: put more into a stage", _few_blocks),
        ("the cubes are too far apart, so that the first stage has too few tokens",
         _but(cube_stride=(2, 8, 8), cube_kernel=(3, 11, 11))),
        ("the tokens stay: the first block of a stage pools its queries", _but(stride_q=(1, 1, 1))),
        ("the channels stay: they double where expand=True", _but(expand=False)),
        ("the config is for clips of another size", lambda *args: MViTConfig(frames=2, size=32)),
        ("the number is returned: hand over the config itself",
         lambda *args: costs(design_pyramid(*args)).macs),
    ),
    level=INVESTIGATE,
    judge=_judge,
    finding="for 16 frames of 224 pixels, 25,088 tokens, 384 channels and 10 blocks, three stages "
    "of 96 to 384 channels, depths (1, 1, 8), take 46.8 G. Four of 48 to 384 channels, depths "
    "(1, 1, 7, 1), take 15.9 G: a wide stage is cheaper after one more pool.",
)  # fmt: skip

EXERCISES = (DESIGN_PYRAMID,)
