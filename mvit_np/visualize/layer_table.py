"""The stages as a table of operators and output sizes, as in the paper's Tables 2 and 3."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from ..model.costs import costs
from ..model.plan import Plan
from .style import BODY, GREY, INK, PALE, SMALL, canvas, counted, new_figure, times

# Inches; the last two are right edges.
STAGE, OPERATORS, POOLS, OUTPUT, TOKENS, MACS = 0.3, 1.75, 4.75, 7.35, 10.2, 11.7
ROW, HEAD, TOP, BOTTOM = 0.66, 0.42, 1.0, 0.25
LINE = 0.235  # from line to line in a row


def layer_table_figure(plan: Plan) -> Figure:
    """Stage by stage: operators, pooling strides, the size of the output, and what it costs.

    plan    what `mvit_np.plan` gives

    How to read it, from top to bottom as the clip goes. In brackets are the two halves of a block,
    multi-head pooling attention (MHA where nothing is pooled) with its channels and an MLP with its
    hidden units; × is how many such blocks follow each other. Strides are time × height × width:
    those of Q, in a stage's first block alone unless another follows, make the output smaller;
    those of K and V hold in all its blocks. Units are the tokens that attend among themselves
    alone. Output sizes are channels × time × height × width, and tokens count the class token.
    Multiply-adds are those of the row.
    """
    rows = _rows(plan)
    figure = new_figure(TOP + HEAD + ROW * len(rows) + BOTTOM, _message(plan), _about(plan))
    axes = canvas(figure)
    top = figure.get_figheight() - TOP
    _head(axes, top - HEAD / 2)
    for number, row in enumerate(rows):
        y = top - HEAD - ROW * (number + 0.5)
        axes.plot((STAGE, MACS), (y + ROW / 2,) * 2, color=PALE if number else INK, linewidth=1.2)
        _draw(axes, y, *row)
    bottom = top - HEAD - ROW * len(rows)
    axes.plot((STAGE, MACS), (bottom, bottom), color=INK, linewidth=1.2)
    return figure


# -- the rows: stage, operators (one or two lines), times, pools, output, tokens, multiply-adds ----


def _rows(plan):
    account, c, cubes = costs(plan.config), plan.config, plan.embed
    clip = f"{c.channels} × {times(c.thw)}"
    rows: list[tuple[Any, ...]] = [("clip", ("colours × frames × pixels",), 0, (), clip, "", "")]
    words = (f"{times(cubes.kernel)}, {cubes.dim} channels", f"stride {times(cubes.stride)}")
    sequences = plan.blocks[0].sequences
    tokens = sequences * plan.blocks[0].tokens_in
    rows.append(("cubes", words, 0, (), _size(cubes.dim, cubes.thw), tokens, account.lines[0].macs))
    for stage in sorted({block.stage for block in plan.blocks}):
        macs = sum(line.macs for line in account.lines if line.stage == stage)
        rows.append(_stage([block for block in plan.blocks if block.stage == stage], macs, plan))
    what = "class token" if plan.head.cls and not plan.head.mean_first else "mean token"
    operators, macs = (f"norm, {what},", "linear"), account.lines[-1].macs
    rows.append(("head", operators, 0, (), f"{c.num_classes} classes", "", macs))
    return rows


def _stage(blocks, macs, plan):
    first, last = blocks[0], blocks[-1]
    over_time = plan.bridge and first.index >= sum(plan.config.depths)
    name = "over time" if over_time else f"stage {first.stage + 1}"
    operators = f"{'MHPA' if _pools(blocks) else 'MHA'}({last.dim_attn})", f"MLP({last.dim_mlp})"
    grid = (last.sequences * last.thw_q[0], *last.thw_q[1:])
    output, tokens = _size(last.dim_attn, grid), last.sequences * last.tokens_q
    return name, operators, len(blocks), _strides(blocks), output, tokens, macs


def _pools(blocks):
    return any(block.pool_q or block.pool_kv for block in blocks)


def _strides(blocks):
    """What a stage says of its pools, in one line for the queries and one for keys and values."""
    first, pooled = blocks[0], [block for block in blocks if block.pool_kv]
    words = []
    if first.pool_q:
        again = len(blocks) > 1 and blocks[1].pool_q and max(first.stride_q) > 1
        words.append(f"Q {times(first.stride_q)}{', then 1 × 1 × 1' if again else ''}")
    if pooled:
        some = f" in {len(pooled)} of them" if len(pooled) < len(blocks) else ""
        words.append(f"K, V {times(pooled[0].stride_kv)}{some}")
    if first.unit:
        units = dict.fromkeys(times(block.unit) if block.unit else "the whole" for block in blocks)
        words.append(f"units {', then '.join(units)}")
    return tuple(words[:2]) or ("none",)


def _size(channels, thw):
    return f"{channels} × {times(thw)}"


# -- the words -------------------------------------------------------------------------------------


def _message(plan):
    first, last = plan.blocks[0], plan.blocks[-1]
    start, end = first.sequences * first.tokens_in, last.sequences * last.tokens_q
    if (start, first.dim_attn) == (end, last.dim_attn):
        return f"{start} tokens of {first.dim_attn} channels in all {len(plan.blocks)} blocks"
    channels = f"{first.dim_attn} channels to {end} of {last.dim_attn}"
    return f"From {start} tokens of {channels}, in {len(plan.blocks)} blocks"


def _about(plan):
    account = costs(plan.config)
    once = any(block.pool_q for block in plan.blocks) and not plan.config.pool_q_always
    pooling = "MHA(channels): attention"
    if _pools(plan.blocks):
        pooling = "MHPA(channels): pooling attention"
    rule = "; Q strides of first blocks" if once else ""
    totals = f"{counted(account.params)} parameters, {counted(account.macs)} multiply-adds per clip"
    return f"{totals}. {pooling}; MLP(hidden units){rule}"


# -- the drawing -----------------------------------------------------------------------------------


def _head(axes, y):
    look = {"fontsize": BODY, "color": GREY, "va": "center"}
    axes.text(STAGE, y, "stage", **look)
    axes.text(OPERATORS, y, "operators", **look)
    axes.text(POOLS, y, "pooling strides", **look)
    axes.text(OUTPUT, y, "output size", **look)
    axes.text(TOKENS, y, "tokens", ha="right", **look)
    axes.text(MACS, y, "multiply-adds", ha="right", **look)


def _draw(axes, y, stage, operators, count, pools, output, tokens, macs):
    look = {"fontsize": BODY, "color": INK, "va": "center"}
    axes.text(STAGE, y, stage, weight="bold", **look)
    _lines(axes, OPERATORS + (0.14 if count else 0), y, operators, look)
    if count:
        _brackets(axes, OPERATORS, OPERATORS + 1.45, y)
        axes.text(OPERATORS + 1.6, y, f"× {count}", **look)
    _lines(axes, POOLS, y, pools, look | {"fontsize": SMALL})
    axes.text(OUTPUT, y, output, **look)
    axes.text(TOKENS, y, str(tokens), ha="right", **look)
    axes.text(MACS, y, counted(macs) if macs else "", ha="right", **look)


def _lines(axes, x, y, texts, look):
    for number, text in enumerate(texts):
        axes.text(x, y + LINE * ((len(texts) - 1) / 2 - number), text, **look)


def _brackets(axes, left, right, y):
    high, foot = ROW / 2 - 0.08, 0.07
    for x, step in ((left, foot), (right, -foot)):
        xs, ys = (x + step, x, x, x + step), (y + high, y + high, y - high, y - high)
        axes.plot(xs, ys, color=INK, linewidth=1.3)
