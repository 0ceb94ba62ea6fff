"""Pooling attention drawn with a block's own sizes (Sec. 3.1, Fig. 3)."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch

from ..model.specs import BlockSpec
from .style import (
    GREEN,
    GREY,
    INK,
    ORANGE,
    PALE,
    SKY,
    SMALL,
    canvas,
    counted,
    fold,
    new_figure,
    times,
)  # fmt: skip

HEIGHT = 7.2  # inches, as are all the lengths below
SKIP, Q, K, V = 1.45, 4.0, 6.65, 9.3  # columns
CHAIN = (Q + K) / 2  # where attention goes on upwards
INPUT, LINEAR, POOL, SCALE = 0.52, 1.17, 2.24, 3.27  # rows, upwards
SOFTMAX, MATMUL, OUT, SUM = 3.93, 4.58, 5.46, 6.0
LOW, TALL = 0.36, 0.56  # boxes of one and of two lines
WIDE = 2.3  # a pooling box
RADIUS = 0.14  # of the plus
LINE = {"color": INK, "linewidth": 1.4, "solid_capstyle": "round", "zorder": 1}


def pooling_attention_figure(spec: BlockSpec) -> Figure:
    """Where the tokens of one block are pooled, and what that saves.

    spec    a `BlockSpec`, such as `mvit_np.plan(config).blocks[1]`

    How to read it, from the bottom up. The input X is normed and projected three times. Each
    projection is pooled on its own grid (orange, the step that MViT adds; dashed where this block
    leaves it out). Pooling the keys and values makes the attention matrix narrower; pooling the
    queries makes it shorter and shrinks the grid that leaves the block. On the left the skip
    connection is pooled with the queries' stride so that the two can be added. At every arrow: the
    grid time × height × width, then tokens (with the class token, which bypasses every pool) and
    channels.
    """
    figure = new_figure(HEIGHT, _message(spec), _weights(spec))
    axes = canvas(figure)
    _projections(axes, spec)
    _attention(axes, spec)
    _output(axes, spec)
    if spec.dim_in == spec.dim_attn or spec.skip != "none":
        _skip(axes, spec)
    return figure


# -- the words -------------------------------------------------------------------------------------


def _message(spec):
    weights, tokens = _saved(spec)
    if weights == 1:
        return "Attention without pooling: every token looks at every token"
    output = f"{fold(tokens)}× fewer" if tokens > 1.005 else "as many"
    fewer = f"{fold(weights)}× fewer attention weights"
    return f"Pooling attention: {fewer}, {output} tokens at the output"


def _saved(spec):
    """How many times fewer attention weights and tokens there are than without pooling."""
    return spec.tokens_in**2 / (spec.tokens_q * spec.tokens_seen), spec.tokens_in / spec.tokens_q


def _weights(spec):
    """The number of attention weights with and without pooling."""
    heads, n = spec.heads, spec.tokens_in
    now = f"{_matrix(spec)} = {counted(heads * spec.tokens_q * spec.tokens_seen)} weights"
    if _saved(spec)[0] != 1:
        now += f" instead of {heads} × {n} × {n} = {counted(heads * n * n)}"
    return f"Block {spec.index} (stage {spec.stage + 1}): {now}"


def _matrix(spec):
    plural = "" if spec.heads == 1 else "s"
    keys = f"{spec.tokens_seen} keys" + (" in a unit" if spec.unit else "")
    return f"{spec.heads} head{plural} × {spec.tokens_q} queries × {keys}"


def _tensor(name, thw, tokens, channels, spec):
    grid = times(thw) + (" + class" if spec.cls else "")
    return f"{name}:  {grid}\n{tokens} tokens, {channels} channels"


def _pooled_tensor(name, spec):
    """On the queries' grid."""
    return _tensor(name, spec.thw_q, spec.tokens_q, spec.dim_attn, spec)


def _pool_text(name, pool):
    if pool is None:
        return f"{name}: none"
    kernel, stride = ("×".join(map(str, triple)) for triple in (pool.kernel, pool.stride))
    return f"{name}\n{pool.kind} {kernel}, stride {stride}"


# -- the parts, from the bottom up -----------------------------------------------------------------


def _projections(axes, spec):
    """X -> norm -> three linear layers -> three pools."""
    tokens = _tensor("X", spec.thw, spec.tokens_in, spec.dim_in, spec)
    _box(axes, SKIP, INPUT, 2.5, TALL, tokens, "white")
    _arrow(axes, (SKIP + 1.25, INPUT), (2.88, INPUT))
    _box(axes, 3.24, INPUT, 0.72, LOW, "Norm", PALE)
    axes.plot((3.6, V), (INPUT, INPUT), **LINE)
    _projection(axes, spec, Q, "Q", spec.pool_q)
    _projection(axes, spec, K, "K", spec.pool_kv)
    _projection(axes, spec, V, "V", spec.pool_kv)


def _projection(axes, spec, x, name, pool):
    _arrow(axes, (x, INPUT), (x, LINEAR - LOW / 2))
    _box(axes, x, LINEAR, 1.2, LOW, f"Linear {name}", SKY)
    _arrow(axes, (x, LINEAR + LOW / 2), (x, POOL - TALL / 2))
    hat = _tensor(rf"$\hat{{{name}}}$", spec.thw, spec.tokens_in, spec.dim_attn, spec)
    _beside(axes, x, (LINEAR + LOW / 2 + POOL - TALL / 2) / 2, hat)
    _pool(axes, x, POOL, f"Pool {name}", pool)
    thw, tokens = (spec.thw_q, spec.tokens_q) if name == "Q" else (spec.thw_kv, spec.tokens_kv)
    pooled = _tensor(name, thw, tokens, spec.dim_attn, spec)
    _beside(axes, x, (POOL + TALL / 2 + SCALE - LOW / 2) / 2, pooled)


def _attention(axes, spec):
    """softmax(Q K' / sqrt(d)) V"""
    for x in (Q, K):
        _arrow(axes, (x, POOL + TALL / 2), (x, SCALE - LOW / 2))
    _arrow(axes, (V, POOL + TALL / 2), (V, MATMUL - LOW / 2))
    scale = "MatMul & Scale, relative positions" if spec.relative else "MatMul & Scale"
    _box(axes, CHAIN, SCALE, K - Q + 1.2, LOW, scale, GREEN)
    _arrow(axes, (CHAIN, SCALE + LOW / 2), (CHAIN, SOFTMAX - LOW / 2))
    _beside(axes, CHAIN, (SCALE + SOFTMAX) / 2, _matrix(spec))
    _box(axes, CHAIN, SOFTMAX, 2.0, LOW, "Softmax", GREEN)
    _arrow(axes, (CHAIN, SOFTMAX + LOW / 2), (CHAIN, MATMUL - LOW / 2))
    _beside(axes, CHAIN, (SOFTMAX + MATMUL) / 2, _matrix(spec))
    left, right = CHAIN - 1.0, V + 0.6
    product = "MatMul, + Q" if spec.residual_pooling else "MatMul"
    _box(axes, (left + right) / 2, MATMUL, right - left, LOW, product, GREEN)


def _output(axes, spec):
    """Linear, then out; the plus comes with the skip."""
    _arrow(axes, (CHAIN, MATMUL + LOW / 2), (CHAIN, OUT - LOW / 2))
    _beside(axes, CHAIN, (MATMUL + OUT) / 2, _pooled_tensor("Z", spec))
    _box(axes, CHAIN, OUT, 1.2, LOW, "Linear", SKY)
    _arrow(axes, (CHAIN, OUT + LOW / 2), (CHAIN, SUM - RADIUS))
    ring = {"facecolor": "white", "edgecolor": INK, "linewidth": 1.4, "zorder": 3}
    axes.add_patch(Circle((CHAIN, SUM), RADIUS, **ring))
    plus = {"fontsize": 15, "color": INK, "ha": "center", "va": "center_baseline", "zorder": 4}
    axes.text(CHAIN, SUM - 0.005, "+", **plus)
    _arrow(axes, (CHAIN + RADIUS, SUM), (8.15, SUM))
    _box(axes, 9.7, SUM, 3.1, TALL, _pooled_tensor("to the MLP", spec), "white")


def _skip(axes, spec):
    """Around the attention: widened where the block widens here, pooled as the queries are."""
    middle = (INPUT + SUM) / 2
    if spec.dim_in != spec.dim_attn:
        _arrow(axes, (SKIP, INPUT + TALL / 2), (SKIP, LINEAR + 0.45 - TALL / 2))
        source = "of the normed X" if spec.skip == "normalised" else "of X"
        linear = f"Linear {source}\n{spec.dim_in} to {spec.dim_attn} channels"
        _box(axes, SKIP, LINEAR + 0.45, WIDE, TALL, linear, SKY)
        _arrow(axes, (SKIP, LINEAR + 0.45 + TALL / 2), (SKIP, middle - TALL / 2))
    else:
        _arrow(axes, (SKIP, INPUT + TALL / 2), (SKIP, middle - TALL / 2))
    _pool(axes, SKIP, middle, "Pool skip", spec.pool_skip)
    axes.plot((SKIP, SKIP), (middle + TALL / 2, SUM), **LINE)
    _beside(axes, SKIP, (middle + TALL / 2 + SUM) / 2, _pooled_tensor("skip", spec))
    _arrow(axes, (SKIP, SUM), (CHAIN - RADIUS, SUM))


# -- boxes and arrows ------------------------------------------------------------------------------


def _pool(axes, x, y, name, pool):
    _box(axes, x, y, WIDE, TALL, _pool_text(name, pool), ORANGE if pool else None)


def _box(axes, x, y, width, height, text, colour):
    """A box around its text; without a colour dashed: what is not there."""
    style: dict[str, Any] = {
        "boxstyle": "round,pad=0,rounding_size=0.07",
        "linewidth": 1.2,
        "edgecolor": INK if colour else GREY,
        "zorder": 2,
    }
    corner = (x - width / 2, y - height / 2)
    line = "-" if colour else "--"
    box = FancyBboxPatch(corner, width, height, facecolor="white", linestyle=line, **style)
    axes.add_patch(box)
    if colour:
        axes.add_patch(FancyBboxPatch(corner, width, height, facecolor=colour, alpha=0.55, **style))
    words = {"fontsize": SMALL, "color": INK if colour else GREY, "linespacing": 1.3}
    axes.text(x, y, text, ha="center", va="center", zorder=3, **words)


def _arrow(axes, start, stop):
    style = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.4, "mutation_scale": 13}
    axes.annotate("", stop, start, arrowprops=style | {"shrinkA": 0, "shrinkB": 0}, zorder=1)


def _beside(axes, x, y, text):
    """What flows along the upward arrow at x."""
    axes.text(x + 0.12, y, text, fontsize=SMALL, color=INK, va="center", linespacing=1.25)
