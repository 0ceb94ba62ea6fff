"""The pyramid (Sec. 3.2): from stage to stage fewer tokens and more channels, at a level cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import NullLocator

from ..model.costs import costs
from ..model.plan import Plan
from ..model.text_table import si_prefix
from .pyramid import pyramids
from .style import (
    BLUE,
    GREY,
    INK,
    PALE,
    SMALL,
    VERMILLION,
    canvas,
    counted,
    fold,
    new_figure,
    panel,
    rounded,
)

HEIGHT = 7.1  # inches
# between the most and the least expensive block: up to this factor, costs are called level
LEVEL = 4
REACH = 0.4  # stages that a baseline's line goes on to either side: past the bars


def stage_figure(plan: Plan, baseline: Plan, names: Sequence[str] | None = None) -> Figure:
    """A model's pyramid beside a baseline's: each stage's tokens, channels and multiply-adds.

    plan, baseline   what `mvit_np.plan` gives, such as for an MViT and a ViT
    names            of the two in the figure; otherwise those of their families, such as MViT and
                     ViT

    How to read it. Above, each stage is a box drawn to scale: its front is as high and as deep as
    the token grid, and as long as there are channels. A ViT is one box: nothing changes with depth.
    Below, from left to right through the network: the tokens fall and the channels grow (both on a
    logarithmic scale, so that equal steps are equal factors), and the multiply-adds of one block, a
    mean over the stage's blocks, stay level. Attention and MLPs over so many tokens are affordable
    because channels are few there. Dashed is the baseline. "Cubes" is the cube embedding, which is
    no block.
    """
    names = names or [_family(p.config) for p in (plan, baseline)]
    models = [_model(*each) for each in zip(names, (BLUE, VERMILLION), (plan, baseline))]
    figure = new_figure(HEIGHT, _message(models[0]), _comparison(*models))
    pyramids(canvas(figure), models)
    _panel_tokens(figure, models)
    _panel_channels(figure, models)
    _panel_macs(figure, models)
    return figure


@dataclass(frozen=True)
class _Stage:
    """What the figure says of one stage; `macs` is the mean over its blocks."""

    blocks: int
    thw: tuple
    tokens: int
    channels: int
    macs: float


@dataclass(frozen=True)
class _Model:
    """One of the two models, how it is called and in which colour it is drawn."""

    name: str
    colour: str
    stages: tuple[_Stage, ...]
    params: int
    macs: int
    cubes_macs: int

    @property
    def totals(self) -> str:
        return f"{counted(self.macs)} multiply-adds, {counted(self.params)} parameters"


def _family(config):
    if len(config.depths) == 1:
        return "ViViT" if config.time_depth else "ViT"
    if config.mask_unit:
        return "Hiera"
    if config.reversible:
        return "Rev-MViT"
    return "MViTv2" if config.positions == "relative" else "MViT"


def _model(name, colour, p):
    account = costs(p.config)
    numbers = sorted({block.stage for block in p.blocks})
    stages = tuple(_stage(p, account, number) for number in numbers)
    return _Model(name, colour, stages, account.params, account.macs, account.lines[0].macs)


def _stage(p, account, stage):
    last = [block for block in p.blocks if block.stage == stage][-1]
    macs = [line.macs for line in account.lines if line.stage == stage]
    # of the whole clip, where its frames are encoded alone
    grid = (last.sequences * last.thw_q[0], *last.thw_q[1:])
    tokens, mean = last.sequences * last.tokens_q, sum(macs) / len(macs)
    return _Stage(len(macs), grid, tokens, last.dim_attn, mean)


# -- the words -------------------------------------------------------------------------------------


def _message(model):
    first, last = model.stages[0], model.stages[-1]
    if len(model.stages) == 1:
        return f"{model.name}: tokens, channels and cost are the same in every block"
    macs = [stage.macs for stage in model.stages]
    falls, grows = first.tokens / last.tokens, last.channels / first.channels
    channels = f"channels grow {fold(grows)}×" if grows > 1 else "channels stay"
    range_of_cost = max(macs) / min(macs)
    stays = "stays within" if range_of_cost < LEVEL else "varies by"
    cost = f"the cost per block {stays} a factor of {fold(range_of_cost)}"
    return f"Tokens fall {fold(falls)}×, {channels}, {cost}"


def _comparison(model, baseline):
    macs, params = _fewer(baseline.macs / model.macs), _fewer(baseline.params / model.params)
    return f"{model.name} against {baseline.name}: {macs} multiply-adds and {params} parameters"


def _fewer(ratio):
    if abs(ratio - 1) < 0.005:
        return "as many"
    return f"{fold(ratio)}× fewer" if ratio > 1 else f"{fold(1 / ratio)}× more"


# -- the panels ------------------------------------------------------------------------------------


def _panel_tokens(figure, models):
    axes = _panel(figure, 0, "tokens (log scale)", len(models[0].stages))
    _lines(axes, models, [[stage.tokens for stage in model.stages] for model in models], "left")


def _panel_channels(figure, models):
    axes = _panel(figure, 1, "channels (log scale)", len(models[0].stages))
    _lines(axes, models, [[stage.channels for stage in model.stages] for model in models], "right")


def _panel_macs(figure, models):
    """The mean block of each stage as a bar; the cube embedding pale, as it is no block."""
    model, baseline = models
    macs = [[stage.macs for stage in m.stages] for m in models]
    factor, prefix = si_prefix(max(map(max, macs)))
    axes = _panel(figure, 2, f"{prefix} multiply-adds per block".strip(), len(model.stages))
    heights = [value / factor for value in (model.cubes_macs, *macs[0])]
    axes.bar(range(len(heights)), heights, 0.62, color=[PALE, *[model.colour] * len(macs[0])])
    for x, height in enumerate(heights):
        _number(axes, x, height, rounded(height), GREY if x == 0 else INK, "center")
    values = [value / factor for value in macs[1]]
    _baseline(axes, baseline, values, len(model.stages), rounded(values[-1]))
    axes.set_ylim(0, 1.25 * max(*heights, *values))
    axes.set_yticks([])


def _panel(figure, column, title, count):
    axes = panel(figure, 0.4 + 3.85 * column, 0.72, 3.55, 1.65, title)
    axes.spines["left"].set_visible(False)
    axes.set_xticks(range(count + 1), ["cubes", *map(str, range(1, count + 1))])
    axes.set_xlim(-0.5, count + REACH + 0.32 * (count + 1))  # the rest is for the baseline's name
    axes.set_xlabel("stage", fontsize=SMALL, color=INK)
    axes.tick_params(length=0)
    return axes


def _lines(axes, models, series, ha):
    """Tokens or channels, each number at its mark; the cube embedding's are the first stage's."""
    (model, baseline), (values, others) = models, series
    values = [values[0], *values]
    low, high = min(*values, *others), max(*values, *others)
    margin = max(high / low, 2) ** 0.22
    axes.set_yscale("log")
    axes.set_ylim(low / margin, high * margin**1.6)
    axes.yaxis.set_major_locator(NullLocator())
    axes.yaxis.set_minor_locator(NullLocator())
    look = {"color": model.colour, "linewidth": 2.5, "markersize": 7, "zorder": 3}
    axes.plot(range(len(values)), values, "-o", **look)
    for x, value in enumerate(values[1:], 1):
        _number(axes, x, value, str(value), INK, ha if len(model.stages) > 1 else "center")
    _baseline(axes, baseline, others, len(values) - 1, str(others[-1]))


def _baseline(axes, model, values, count, last):
    """The other model's stages, spread over the same width; a ViT has one and thus a level line."""
    x = [-REACH, *np.linspace(0, count, len(values) + 1), count + REACH]
    axes.plot(x, [values[0], values[0], *values, values[-1]], "--", color=model.colour, linewidth=2)
    style = {"fontsize": SMALL, "weight": "bold", "color": model.colour, "va": "center"}
    style["textcoords"] = "offset points"
    axes.annotate(f"{model.name} {last}", (x[-1], values[-1]), (6, 0), **style)


def _number(axes, x, y, text, colour, ha):
    """A number just above its mark: to the right of a falling line, to the left of a rising one."""
    shift = {"left": (-4, 7), "right": (4, 7), "center": (0, 7)}[ha]
    style = {
        "fontsize": SMALL,
        "color": colour,
        "ha": ha,
        "path_effects": [withStroke(linewidth=3, foreground="white")],
    }
    axes.annotate(text, (x, y), shift, textcoords="offset points", **style)
