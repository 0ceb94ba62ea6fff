"""What multiply-adds are spent on: stage by stage, and part by part inside a block."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ..model.account import attention_macs
from ..model.config import MViTConfig
from ..model.costs import costs
from ..model.plan import plan as plan_of
from ..model.specs import BlockSpec
from ..model.text_table import percent, si_prefix
from .style import (
    BLUE,
    BODY,
    GREEN,
    GREY,
    INK,
    ORANGE,
    SMALL,
    VERMILLION,
    WIDTH,
    counted,
    fold,
    new_figure,
    panel,
    rounded,
)

HEIGHT = 6.2  # inches, as are the lengths below
LEFT, RIGHT, BOTTOM, TALL, BETWEEN = 0.9, 0.3, 0.8, 3.55, 0.35
PARTS = {
    "cubes": GREY,
    "q, k, v and output (linear)": BLUE,
    "attention (Q K' and P V)": VERMILLION,
    "MLP": GREEN,
    "pools and skips": ORANGE,
}
MOST = 5  # models


def cost_bars_figure(configs: Mapping[str, MViTConfig]) -> Figure:
    """Multiply-adds of each stage of some models, stacked by part, for one clip each.

    configs   {name: MViTConfig}, one to five of them

    How to read it. Each panel is a model and each bar one of its stages, all its blocks together;
    all panels share one scale, so that areas can be compared. Colours are the parts of a block:
    linear layers around the attention, the products of queries with keys and of their weights with
    values, the MLP, and the little that pooling and the skip connections take. The two linear parts
    grow with the tokens, the attention with queries times keys: where it towers, there are too many
    of both. The first bar is the cube embedding; the head is too small to be seen. Raises
    ValueError for no or too many models.
    """
    if not 1 <= len(configs) <= MOST:
        rule = f"cost_bars_figure draws 1 to {MOST} models"
        raise ValueError(f"{rule}; came {len(configs)}: choose some")
    models = [_model(name, config) for name, config in configs.items()]
    figure = new_figure(HEIGHT, _message(models), _about(models))
    highest = max(sum(stage.values()) for model in models for stage in model.stages.values())
    factor, prefix = si_prefix(highest)
    bars = sum(len(model.stages) for model in models)
    each = (WIDTH - LEFT - RIGHT - BETWEEN * (len(models) - 1)) / bars
    left = LEFT
    for model in models:
        width = each * len(model.stages)
        axes = panel(figure, left, BOTTOM, width, TALL)
        _bars(axes, model, factor, min(0.7, 1.1 / each))
        axes.set_ylim(0, 1.1 * highest / factor)
        unit = f"{prefix} multiply-adds per clip".strip()
        _frame(axes, model, unit if model is models[0] else None)
        left += width + BETWEEN
    _legend(figure)
    return figure


@dataclass(frozen=True)
class _Model:
    """Its name and total, and {stage: {part: multiply-adds}}."""

    name: str
    macs: int
    stages: dict


def _model(name, config):
    p, account = plan_of(config), costs(config)
    lines = {line.name: line.macs for line in account.lines}
    stages = {"cubes": {"cubes": lines["embedding"]}}
    for block in p.blocks:
        sums = stages.setdefault(str(block.stage + 1), dict.fromkeys(list(PARTS)[1:], 0))
        for part, macs in parts(block, lines[f"block {block.index}"]).items():
            sums[part] += macs
    return _Model(name, account.macs, stages)


def parts(block: BlockSpec, macs: int) -> dict[str, int]:
    """What the multiply-adds of one block consist of.

    -> {part: multiply-adds}, whose sum is `macs`
    """
    d, n = block.dim_attn, block.sequences
    linear = block.tokens_in * block.dim_in * 3 * d + block.tokens_q * d * d
    pools = [pool for pool in (block.pool_q, block.pool_kv, block.pool_kv) if pool]
    convs = [pool for pool in pools if pool.kind == "conv"]
    pooling = sum(math.prod(conv.thw_out) * math.prod(conv.kernel) * d for conv in convs)
    attention = attention_macs(block)
    mlp = block.tokens_q * block.dim_mlp * (d + block.dim_out)
    skips = macs - n * (attention + mlp)
    shares = n * linear, n * (attention - linear - pooling), n * mlp, n * pooling + skips
    return dict(zip(list(PARTS)[1:], shares))


# -- the words -------------------------------------------------------------------------------------


def _message(models):
    first, last = models[0], models[-1]
    if len(models) == 1:
        part, macs = max(_sums(first).items(), key=lambda pair: pair[1])
        share = percent(macs / first.macs)
        return f"{first.name} spends {share} of its multiply-adds on one part: {part}"
    ratio = last.macs / first.macs
    words = f"{fold(ratio)}× fewer" if ratio > 1 else f"{fold(1 / ratio)}× more"
    return f"{first.name} takes {words} multiply-adds than {last.name}"


def _about(models):
    part = "attention (Q K' and P V)"
    shares = ", ".join(f"{_sums(model)[part] / model.macs:.0%}"[:-1] for model in models)
    totals = "the totals, from left to right" if len(models) > 1 else "the total"
    return f"The two products of attention, Q K' and P V, take {shares} % of {totals}"


def _sums(model):
    return {part: sum(stage.get(part, 0) for stage in model.stages.values()) for part in PARTS}


# -- the panels ------------------------------------------------------------------------------------


def _bars(axes, model, factor, width):
    for x, stage in enumerate(model.stages.values()):
        height = 0
        for part, macs in stage.items():
            axes.bar(x, macs / factor, width, bottom=height, color=PARTS[part])
            height += macs / factor
        look = {"fontsize": SMALL, "color": INK, "ha": "center"}
        axes.annotate(rounded(height), (x, height), (0, 4), textcoords="offset points", **look)


def _frame(axes, model, unit):
    title = f"{model.name}\n{counted(model.macs)} in all"
    style = {"fontsize": BODY, "weight": "bold", "color": INK, "linespacing": 1.3}
    axes.set_title(title, loc="left", pad=10, **style)
    axes.set_xticks(range(len(model.stages)), list(model.stages))
    axes.set_xlim(-0.5, len(model.stages) - 0.5)
    axes.set_xlabel("stage", fontsize=SMALL, color=INK)
    axes.tick_params(axis="x", length=0)
    if unit:
        axes.set_ylabel(unit, fontsize=BODY, color=INK)
    else:
        axes.tick_params(axis="y", labelleft=False)


def _legend(figure):
    style = {"fontsize": SMALL, "frameon": False, "labelcolor": INK, "handlelength": 1.2}
    handles = [Patch(color=colour, label=part) for part, colour in PARTS.items()]
    corner = {"loc": "upper left", "bbox_to_anchor": (0.15 / WIDTH, 1 - 0.9 / HEIGHT)}
    figure.legend(handles=handles, ncols=len(PARTS), **corner, **style)
