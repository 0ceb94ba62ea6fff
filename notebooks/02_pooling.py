# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 02 Pooling as a sliding window
#
# [Notebook 01](01_tokens.ipynb) made a grid of tokens of the clip: 8 x 56 x 56 of them in MViT-B, 25,088 tokens. Attention
# (the subject of [03](03_attention.ipynb)) compares every token with every other, and with so many it costs too much. **The
# question: how does one shrink a grid of tokens, and what is lost on the way?**
#
# The answer is as old as ConvNets: slide a small window over the grid, and let each window give one token. What is new in
# MViT is only where this is done, inside the attention. You will write the pool as a loop, compare its three forms
# (maximum, average, convolution), and count which tokens it looks at. In the first stage that is an eighth of them.
#
# Words that are new to you are in the [glossary](../docs/glossary.md), symbols in the [notation](../docs/notation.md).

# %%
# %matplotlib inline
import inspect
import itertools
import math

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

# %%
import mvit_np as mv
from mvit_np import ops
from mvit_np.model.layers.pooling import pool_tokens
from mvit_np.model.paper import TABLES
from mvit_np.model.specs import PoolSpec
from mvit_np.ops.fast.take_seen import on_seen, take_seen
from mvit_np.ops.windows import taps
from mvit_np.visualize import style

rng = np.random.default_rng(0)
print("tokens of the grid of MViT-B:", math.prod(mv.plan(mv.preset("mvit_b_16x4")).embed.thw))
plt.rcParams.update({"font.size": 12, "axes.titlesize": 12, "figure.dpi": 90})

# %% [markdown]
# ## The operator
#
# > "The operator P(·; Θ) performs a pooling kernel computation on the input tensor along each of the dimensions."
# > (Fan et al., Sec. 3.1)
#
# The parameters are $\Theta = (k, s, p)$: the **kernel** $k$ says how large a window is, the **stride** $s$ how far it
# moves, the **padding** $p$ how far beyond the border the first window begins. Each has three numbers, for time, height and
# width. On every axis, output $o$ looks at the $k$ cells $s\,o - p$ to $s\,o - p + k - 1$, and reduces them to one:
#
# $$ y_o = \underset{0 \le i < k}{\mathrm{reduce}} \; x_{s o + i - p} . $$
#
# An axis of $L$ cells becomes one of
#
# $$ \tilde L = \left\lfloor \frac{L + 2p - k}{s} \right\rfloor + 1 . $$
#
# Why: the padded axis has $L + 2p$ cells. The first window takes $k$ of them. Each further one needs $s$ more. What is left
# over at the end is not looked at.


# %%
def length_out(n, k, s, p):
    """How many windows of k cells, s apart, fit on n cells with p more on both sides."""
    return (n + 2 * p - k) // s + 1


def counted_out(n, k, s, p):
    """The same by walking: start at -p, go on while the window ends inside the padded axis."""
    start, count = -p, 0
    while start + k <= n + p:
        start, count = start + s, count + 1
    return count


sizes = [(n, k, s, p) for n in range(1, 12) for k in range(1, 6) for s in range(1, 5) for p in range(k) if n + 2 * p >= k]
assert all(length_out(*each) == counted_out(*each) for each in sizes)
print(f"formula and walk agree for {len(sizes)} choices of (L, k, s, p)")

# %% [markdown]
# Now the sizes that MViT-B meets. The paper tries kernels $k = s$, $s + 1$ and $2s + 1$, and 3 for any stride. Odd kernels
# are padded by $p = \lfloor k / 2 \rfloor$: then window $o$ has its middle on cell $s\,o$, and $\tilde L = L / s$ whatever
# the kernel. An even kernel with that padding gives one window too many (the rows marked `!`); the package then takes the
# padding that keeps $L / s$.

# %%
print("  L   k  s  p   L_out   from")
for n, s in [(8, 2), (56, 8), (56, 2), (28, 4)]:
    rules = {3: "k = 3"} | {s: "k = s", s + 1: "k = s + 1", 2 * s + 1: "k = 2s + 1"}
    for k, rule in sorted(rules.items()):
        spec = PoolSpec("max", (1, 1, k), (1, 1, s), (1, 1, n))
        for p in sorted({spec.padding[2], k // 2}):
            mark = " " if length_out(n, k, s, p) * s == n else "!"
            print(f"{n:3} {k:3} {s:2} {p:2} {length_out(n, k, s, p):5} {mark}   {rule}, p = {p}")
        assert spec.thw_out[2] == n // s
print(" 8 frames, k = 3, s = 1, p = 1:", length_out(8, 3, 1, 1), "frames")

# %% [markdown]
# ## The pool as a loop
#
# One nest of loops visits every output cell and collects what its window sees. What is then done with it is the only
# difference between the three pools:
#
# - **max**: the largest value. Padding never wins: it is left out.
# - **avg**: the mean over the kernel. Padding counts as zeros: the sum is divided by the size of the kernel, not by the number
#   of cells inside the grid.
# - **conv**: a weighted sum with learned weights $w_i$, a filter for every channel (depthwise). The heads share the filters:
#   with $h$ heads of $d$ channels side by side, channel $c$ takes filter $c \bmod d$. Padding counts as zeros. (A head is a
#   group of channels that attends by itself: 03. Take $h = 1$ until then.)


# %%
def window(at, grid, kernel, stride, padding):
    """What output cell `at` looks at: (place in the kernel, cell) for each of its cells inside the grid."""
    seen = []
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            for m in range(kernel[2]):
                tap = (i, j, m)
                cell = tuple(stride[a] * at[a] + tap[a] - padding[a] for a in range(3))
                if all(0 <= cell[a] < grid[a] for a in range(3)):
                    seen.append((tap, cell))
    return seen


REDUCE = {  # each window to a number: what is seen of channel c, the size of the kernel, the filters
    "max": lambda x, seen, c, size, w: max(x[(*cell, c)] for tap, cell in seen),
    "avg": lambda x, seen, c, size, w: sum(x[(*cell, c)] for tap, cell in seen) / size,
    "conv": lambda x, seen, c, size, w: sum(w[(*tap, c % w.shape[3])] * x[(*cell, c)] for tap, cell in seen),
}


# %%
def pool_by_hand(kind, x, kernel, stride, padding, w=None):
    """P(x; k, s, p).   x: (T, H, W, C)   w: (kt, kh, kw, d)   ->   (t, h, w, C)"""
    grid, channels = x.shape[:3], x.shape[3]
    out = [length_out(grid[a], kernel[a], stride[a], padding[a]) for a in range(3)]
    y = np.zeros((*out, channels))
    for t in range(out[0]):
        for row in range(out[1]):
            for column in range(out[2]):
                seen = window((t, row, column), grid, kernel, stride, padding)
                for c in range(channels):
                    y[t, row, column, c] = REDUCE[kind](x, seen, c, math.prod(kernel), w)
    return y


# %% [markdown]
# The package has each pool as an op on a batch `(B, T, H, W, heads, d)`: `ops.max_pool`, `ops.avg_pool`,
# `ops.depthwise_conv`. A grid of 4 x 7 x 6 tokens with 2 heads of 3 channels is enough to compare.

# %%
kernel, stride, padding = (3, 3, 3), (1, 2, 2), (1, 1, 1)
grid, heads, d = (4, 7, 6), 2, 3
x = rng.standard_normal((2, *grid, heads, d))
filters = rng.standard_normal((*kernel, d))

pooled = {
    "max": ops.max_pool(x, kernel, stride, padding),
    "avg": ops.avg_pool(x, kernel, stride, padding),
    "conv": ops.depthwise_conv(x, filters, stride, padding),
}
for kind, y in pooled.items():
    loops = [pool_by_hand(kind, clip.reshape(*grid, -1), kernel, stride, padding, filters) for clip in x]
    worst = abs(y - np.reshape(loops, y.shape)).max()
    print(f"{kind:4}  {x.shape} -> {y.shape}   loop and package differ by at most {worst:.1e}")
    assert worst < 1e-12

# %% [markdown]
# ## Tap by tap
#
# How does an array version avoid the loop over outputs? It turns the loops around. The outer one is
# over the places in the kernel, the *taps*. All windows look through one tap at once: at the cells
# $s\,o + i - p$ for every $o$, which are a strided slice of the padded grid. `taps` gives each tap
# with its slice, and each of the three pools is a few lines:

# %%
print(inspect.getsource(taps), inspect.getsource(ops.depthwise_conv), sep="\n\n")

# %%
print(inspect.getsource(ops.max_pool))

# %% [markdown]
# These are the definitions. (`backward` is for training; [notebook 06](06_gradients.ipynb) derives
# it.) What runs is mostly a faster version of each, in `ops/fast/`, which must give the same. The
# next two sections are about what makes them fast.

# %%
with mv.plain_ops():  # the definitions alone
    for kind, y in pooled.items():
        pool = {"max": ops.max_pool, "avg": ops.avg_pool, "conv": ops.depthwise_conv}[kind]
        plain = pool(x, filters if kind == "conv" else kernel, stride, padding)
        worst = abs(plain - y).max()
        print(f"{kind:4}  definition and what ran above differ by at most {worst:.1e}")
        assert worst < 1e-12

# %% [markdown]
# ## All windows at once, without a copy
#
# Tap by tap, each result is read and written 27 times. Another way takes all windows at once: a
# view that has *more axes than the array*. An array's strides say how many bytes to go for one step
# along an axis. To move a window by $s$ cells is a step of $s$ cells; to move inside a window is a
# step of one. Both can be axes of the same memory. The view below shows some numbers several times
# and copies none of them.

# %%
plane = np.pad(rng.standard_normal((8, 8)), 1, constant_values=-np.inf)  # padding that never wins
down, right = plane.strides
windows = np.lib.stride_tricks.as_strided(plane, (4, 4, 3, 3), (2 * down, 2 * right, down, right))

print("bytes a step, of the plane:  ", plane.strides)
print("bytes a step, of its windows:", windows.strides, " (window down, window right, cell down, cell right)")
print("same memory:", np.shares_memory(plane, windows), f"  numbers shown: {windows.size}, stored: {plane.size}")

safer = np.lib.stride_tricks.sliding_window_view(plane, (3, 3))[::2, ::2]  # all windows, then every second one
np.testing.assert_array_equal(windows, safer)
by_op = ops.max_pool(plane[None, None, 1:-1, 1:-1], (1, 3, 3), (1, 2, 2), (0, 1, 1))
np.testing.assert_array_equal(windows.max(axis=(2, 3)), by_op[0, 0])
print("the maximum over the last two axes is ops.max_pool, exactly")

# %% [markdown]
# `as_strided` believes what it is told: a wrong shape reads beyond the array. `sliding_window_view`
# checks. The fast convolutions multiply such a view with the filter in one `einsum`
# (`mvit_np/ops/fast/windows.py`).
#
# ## One axis after the other
#
# The fast max pool never builds the window view. The maximum of a box is the maximum of its rows'
# maxima, so it pools along the width first, then along the height, then in time. At stride 1 the
# maximum of a box of $k^3$ cells takes $3k$ looks at cells instead of $k^3$. With a larger stride
# the gain is smaller, because the first pass works on rows that the second leaves out: in the
# plane it takes $k(s+1)$ looks instead of $k^2$, which is the same number at $k = s + 1$. A
# convolution cannot be split in this way, unless its filter happens to be an outer product of
# short ones. Most filters are not.

# %%
x = rng.standard_normal((1, 1, 12, 12, 1, 1))
box = ops.max_pool(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
rows = ops.max_pool(x, (1, 1, 3), (1, 1, 2), (0, 0, 1))
np.testing.assert_array_equal(ops.max_pool(rows, (1, 3, 1), (1, 2, 1), (0, 1, 0)), box)

square = rng.standard_normal((3, 3))
u, size, v = np.linalg.svd(square)
column, row = (size[0] * u[:, 0]).reshape(1, 3, 1, 1), v[0].reshape(1, 1, 3, 1)  # the nearest outer product
whole = ops.depthwise_conv(x, square.reshape(1, 3, 3, 1), (1, 2, 2), (0, 1, 1))
parts = ops.depthwise_conv(ops.depthwise_conv(x, row, (1, 1, 2), (0, 0, 1)), column, (1, 2, 1), (0, 1, 0))
off = np.linalg.norm(whole - parts) / np.linalg.norm(whole)
assert off > 0.1
print("maximum: rows, then columns = the box, exactly")
print(f"convolution: the row and column filters nearest to a random 3 x 3 filter miss its result by {off:.0%}")
for s, k in [(1, 3), (1, 9), (2, 3), (8, 9), (8, 17)]:
    print(f"looks for one output, stride {s}, kernel {k} x {k}: {k * k} at once, {s * k + k} by axes")

# %% [markdown]
# ## Kernels that touch, overlap, and overlap too much
#
# With $k = s$ the windows lie side by side. With $k = s + 1$ neighbours share one row of cells; with $k = 2s + 1$ they
# share $s + 1$. The number of windows, and so the cost of the attention afterwards, is the same. Two helpers draw this.


# %%
def draw_windows(axes, n, k, s, p, shown):
    """An n x n grid with its padding in grey, some windows in colour, and a dot in the middle of every window."""
    for row, column in itertools.product(range(-p, n + p), repeat=2):
        inside = 0 <= min(row, column) and max(row, column) < n
        look = {"fc": "white", "ec": style.GREY} if inside else {"fc": style.PALE, "ec": "white"}
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, linewidth=0.7, **look))
    for (row, column), colour in shown.items():
        corner = (s * column - p - 0.5, s * row - p - 0.5)
        axes.add_patch(Rectangle(corner, k, k, facecolor=colour, alpha=0.3))
        axes.add_patch(Rectangle(corner, k, k, facecolor="none", edgecolor=colour, linewidth=2.5))
    middles = s * np.arange(length_out(n, k, s, p)) - p + (k - 1) / 2
    axes.plot(*map(np.ravel, np.meshgrid(middles, middles)), ".", color=style.INK, markersize=4)


# %%
def looks(n, k, s, p):
    """How many windows look at each cell of an n x n plane."""
    line = np.zeros(n, int)
    for o in range(length_out(n, k, s, p)):
        line[max(0, s * o - p) : s * o - p + k] += 1
    return np.outer(line, line)


def draw_looks(axes, counts):
    """The counts as shades, with the numbers in the cells."""
    axes.imshow(counts, cmap="Blues", vmin=0, vmax=12)
    for (row, column), count in np.ndenumerate(counts):
        axes.text(column, row, count, ha="center", va="center", color="white" if count > 7 else style.INK, fontsize=10)


# %%
figure, axes = plt.subplots(2, 3, figsize=(9, 7), layout="constrained")
figure.get_layout_engine().set(h_pad=0.12)
shown = {(0, 0): style.BLUE, (0, 1): style.ORANGE, (2, 2): style.GREEN, (2, 3): style.VERMILLION}
n, s, kernels = 8, 2, {2: "k = s = 2", 3: "k = s + 1 = 3", 5: "k = 2s + 1 = 5"}
for (top, bottom), (k, rule) in zip(axes.T, kernels.items(), strict=True):
    p = PoolSpec("max", (1, k, k), (1, s, s), (1, n, n)).padding[1]
    draw_windows(top, n, k, s, p, shown)
    draw_looks(bottom, looks(n, k, s, p))
    top.set_title(f"{rule}, padding {p}")
    bottom.set_title(f"windows a cell: {looks(n, k, s, p).mean():.2g}")
    for each, limits in [(top, (-2.7, n + 1.7)), (bottom, (-0.5, n - 0.5))]:
        each.set(xlim=limits, ylim=limits[::-1], xticks=range(0, n, 2), yticks=range(0, n, 2), aspect="equal")
axes[0, 0].set_ylabel("row (tokens)")
axes[1, 0].set(ylabel="row (tokens)", xlabel="column (tokens)")
figure.suptitle("Stride 2 on 8 x 8 tokens: 16 windows each time, and they share more and more")
plt.show()

# %% [markdown]
# **How to read it.** Upper row: the grid of tokens is plain, padding grey; the dots are the middles of all windows, four
# windows are coloured. Lower row: how many windows look at each cell. Side by side ($k = s$) every cell counts once, and a
# pattern that lies across a seam is cut in two. With $k = s + 1$ every seam is seen from both sides. With $k = 2s + 1$ a
# window reaches into the *middle* of its neighbours.
#
# Is more overlap better? Neighbours that see the same cells say the same thing. Two neighbouring max windows are equal when
# the largest cell of both lies in what they share: $k(k - s)$ cells out of $k(k + s)$. On noise that happens with
# probability $(k - s)/(k + s)$. The next cell measures it beside the paper's accuracies.

# %%
noise = rng.standard_normal((1, 1, 800, 800))
for s in (2, 8):
    for k in (s, s + 1, 2 * s + 1):
        y = ops.max_pool(noise, (1, k, k), (1, s, s), (0, k // 2, k // 2))[0, 0, 1:-1, 1:-1]
        equal = np.mean(y[:, 1:] == y[:, :-1])
        print(f"s = {s}, k = {k:2}: {equal:5.1%} of neighbouring maxima are equal, expected {(k - s) / (k + s):5.1%}")
        assert abs(equal - (k - s) / (k + s)) < 0.02

table = next(table for table in TABLES if table.name == "Table 15")
print(f"\n{table.name} of the paper (MViT-B 16x4, Kinetics-400): {table.about}")
for row in table.rows:
    print(f"  {row.label:27} {row.top1:.1f} % top-1")

# %% [markdown]
# The accuracies are the authors' (nothing here reproduces them). The paper concludes that some overlap helps and too much
# hurts (Sec. 4.2): 76.1 without, 77.2 with one shared row, 75.5 with $k = 2s + 1$. There a third and more of the neighbours
# repeat each other: a plausible reason, not a proven one. The second lesson of the table: a learned window is better than
# either fixed one (78.3 to 77.2 and 75.4), and a 3 x 3 x 3 filter, which also looks at the frames before and after, is as
# good as any (78.4). The released models use that one, followed by a layer norm, which gives all tokens the same size
# ([03b](03b_transformer_block.ipynb)).
#
# ## At the border
#
# A window at the border hangs over it. Take a plane of tokens that are all -1, as a projection may well give, and pool it
# with stride 1, so that each cell can be compared with itself.

# %%
ones = -np.ones((1, 1, 4, 4, 1, 1))
at = (1, 3, 3), (1, 1, 1), (0, 1, 1)
border = {
    "max: padding never wins": ops.max_pool(ones, *at),
    "avg: padding counts as zeros": ops.avg_pool(ones, *at),
    "conv with nine weights 1: zeros too": ops.depthwise_conv(ones, np.ones((1, 3, 3, 1)), *at[1:]),
}
for name, y in border.items():
    print(f"{name}\n{np.array2string(y[0, 0, :, :, 0, 0], precision=2, floatmode='fixed')}")
assert (border["max: padding never wins"] == -1).all()
np.testing.assert_allclose(border["avg: padding counts as zeros"][0, 0, 0, :2, 0, 0], [-4 / 9, -6 / 9])

# %% [markdown]
# The maximum stays -1 everywhere: had padding been zeros, the whole rim would have become 0, a value that no token has. The
# average fades: a corner window has 4 of its 9 cells inside and gives 4/9 of the value, an edge window 6/9. The convolution
# does the same; but its weights are learned, and the norm after it takes the size (not the direction) out again.
#
# ## What each pool keeps of a picture
#
# Pictures make the three reductions visible. A bright disc with a dark slit, a soft blob, a thin line and one bright cell
# are pooled with $k = s + 1$ and strides 2 and 4. For the convolution we choose a filter by hand, which in a model would be
# learned: the mean of the right columns minus the mean of the left ones.


# %%
def picture(n=48):
    """Brightness 0 to 1 of an n x n plane."""
    row, column = np.mgrid[:n, :n]
    x = 0.8 * np.exp(-((row - 36) ** 2 + (column - 13) ** 2) / 30)  # a soft blob
    x[np.hypot(row - 15, column - 15) < 10] = 1  # a disc
    x[:, 15] = np.where(row[:, 15] < 27, 0, x[:, 15])  # a slit in it, one cell wide
    x[4:44, 37] = 1  # a line, one cell wide
    x[38, 29] = 1  # a single cell
    return x


def edge_filter(k):
    """(k, k): the mean of the right columns minus the mean of the left ones."""
    return np.tile(np.sign(np.arange(k) - k // 2) / (k * (k // 2)), (k, 1))


# %%
x = picture()[None, None, :, :, None, None]
pooled = {}
for s in (2, 4):
    kernel, stride, padding = (1, s + 1, s + 1), (1, s, s), (0, (s + 1) // 2, (s + 1) // 2)
    pooled["max", s] = ops.max_pool(x, kernel, stride, padding)[0, 0, :, :, 0, 0]
    pooled["avg", s] = ops.avg_pool(x, kernel, stride, padding)[0, 0, :, :, 0, 0]
    weights = edge_filter(s + 1).reshape(*kernel, 1)
    pooled["conv", s] = ops.depthwise_conv(x, weights, stride, padding)[0, 0, :, :, 0, 0]

print("            thin bright line   dark slit in the disc   (in the picture 1 and 0)")
for (kind, s), y in pooled.items():
    line, disc = abs(y[20 // s, 30 // s :]).max(), y[16 // s, 12 // s : 22 // s]
    slit = abs(disc).max() if kind == "conv" else disc.min()  # conv: its strongest answer, of either sign
    print(f"{kind:4} stride {s} {line:10.2f} {slit:18.2f}")

# %%
layout = [["picture", "max 2", "avg 2", "conv 2"], ["filter", "max 4", "avg 4", "conv 4"]]
figure, axes = plt.subplot_mosaic(layout, figsize=(10, 5.6), layout="constrained")
axes["picture"].imshow(picture(), cmap="gray", vmin=0, vmax=1)
axes["filter"].imshow(edge_filter(5), cmap="PuOr", vmin=-0.2, vmax=0.2)
for (row, column), weight in np.ndenumerate(edge_filter(5)):
    axes["filter"].text(column, row, f"{10 * weight:+.0f}" if weight else "0", ha="center", va="center")
for (kind, s), y in pooled.items():
    colours = {"cmap": "PuOr", "vmin": -1, "vmax": 1} if kind == "conv" else {"cmap": "gray", "vmin": 0, "vmax": 1}
    drawn = axes[f"{kind} {s}"].imshow(y, **colours)
    ticks = range(0, len(y), len(y) // 3)
    axes[f"{kind} {s}"].set(title=f"{kind}, stride {s}", xticks=ticks, yticks=ticks, xlabel=f"{len(y)} x {len(y)} cells")
figure.colorbar(drawn, ax=[axes["conv 2"], axes["conv 4"]], label="conv: right minus left", aspect=30)
axes["picture"].set(title="picture", xlabel="48 x 48 cells", xticks=range(0, 48, 16), yticks=range(0, 48, 16))
axes["filter"].set(title="filter at stride 4, x 10", xlabel="5 x 5 cells", xticks=range(5), yticks=range(5))
figure.suptitle("Max keeps what is bright, the mean fades what is thin, a filter answers what it was made for")
plt.show()

# %% [markdown]
# **How to read it.** Grey pictures: black is 0, white is 1. The last column can be negative: orange where the left side is
# brighter, purple where the right side is. The maximum keeps the line and the single cell at full brightness and makes them
# fatter, and it erases the slit: it is blind to what is dark. The average keeps the means, and so both line and slit fade,
# to $1/k$ and $1 - 1/k$. The filter drops the level and answers where left and right differ; at stride 2 it sees the line
# from both sides, once with each sign. A learned pool has a filter for every channel, and a filter of equal weights
# would be the average: the convolution can do what the average does, and more.
#
# ## The class token goes around
#
# A token list begins with the class token, which has no place in the grid and therefore no neighbours. `pool_tokens` splits
# it off, pools the grid, and puts it back.

# %%
tokens = rng.standard_normal((2, 1 + math.prod(grid), heads, d))
for kind in ("max", "avg", "conv"):
    spec = PoolSpec(kind, (3, 3, 3), (1, 2, 2), grid)
    y = pool_tokens(tokens, spec, cls=True, weight=filters)
    inputs = tokens[:, 1:].reshape(2, *grid, heads * d)
    loops = [pool_by_hand(kind, clip, spec.kernel, spec.stride, spec.padding, filters) for clip in inputs]
    np.testing.assert_array_equal(y[:, 0], tokens[:, 0])
    np.testing.assert_allclose(y[:, 1:], np.reshape(loops, y[:, 1:].shape), atol=1e-12)
    print(f"{kind:4}  1 + {math.prod(grid)} tokens -> 1 + {y.shape[1] - 1}; class token unchanged, others as by the loop")

# %% [markdown]
# ## A stride wider than the kernel
#
# Nothing says that windows have to touch. In its first stage MViT-B has a pool of stride 1 x 8 x 8, and in the released model
# its kernel is 3 x 3 x 3. (It makes the **keys** and **values** of attention, one of each for every window. What these are is
# the subject of [03](03_attention.ipynb); here they are only what comes out of a pool.) Windows that are 3 cells wide and 8
# apart do not touch. Which cells do they see at all? Count them with the loop.

# %%
pool = mv.plan(mv.preset("mvit_b_16x4")).blocks[0].pool_kv
print(f"block 0: kernel {pool.kernel}, stride {pool.stride}, padding {pool.padding}: {pool.thw_in} -> {pool.thw_out}")

seen = set()
for out in itertools.product(*map(range, pool.thw_out)):
    seen |= {cell for tap, cell in window(out, pool.thw_in, pool.kernel, pool.stride, pool.padding)}
places = {cell[1:] for cell in seen}
rows = sorted({row for row, column in places})
print(f"rows looked at: {len(rows)} of 56: {rows}")
print(f"cells looked at: {len(places)} of {56 * 56} of a frame, {len(places) / 56**2:.1%}; in all 8 frames {len(seen)}")
assert len(rows) == 3 * 7 - 1 and len(places) == 20 * 20 and len(seen) == 8 * 400

# %% [markdown]
# On an axis there are 7 windows of 3 cells; the first hangs over the border by one. That makes 20
# rows and 20 columns, 400 of 3136 cells: 12.8 %. In time the stride is 1, so every frame is seen.
# `take_seen` picks these tokens out of a list, and `on_seen` gives the pool on what is left, where
# the windows lie side by side ([04](04_pooling_attention.ipynb) says what that saves). Blocks of the
# other stages have smaller strides:

# %%
ids = np.arange(1.0 + math.prod(pool.thw_in)).reshape(1, -1, 1)  # tokens that are their own numbers; 0 is the class token
kept = take_seen(ids, pool.thw_in, pool.kernel, pool.stride, pool.padding)[0, 1:, 0].astype(int) - 1
assert {tuple(map(int, cell)) for cell in zip(*np.unravel_index(kept, pool.thw_in), strict=True)} == seen
print("take_seen keeps the cells that the loop found\n")

print("block  grid in       stride     grid out      seen          of the plane")
different = {}
for block in mv.plan(mv.preset("mvit_b_16x4")).blocks:
    p = block.pool_kv
    if p not in different.values():
        different[block.index] = p
        left = on_seen(p).thw_in
        part = math.prod(left) / math.prod(p.thw_in)
        out = f"{p.stride!s:10} {p.thw_out!s:13}"
        print(f"{block.index:5}  {p.thw_in!s:13} {out} {left!s:13} {part:6.1%}")

# %%
figure, axes = plt.subplots(1, 3, figsize=(10, 4.4), layout="constrained", width_ratios=[1.5, 1, 1])
for axis, index in zip(axes, (0, 2, 4), strict=True):
    p = different[index]
    n, (k, s, pad) = p.thw_in[1], (p.kernel[1], p.stride[1], p.padding[1])
    for (row, column), count in np.ndenumerate(looks(n, k, s, pad)):
        colour = {0: style.PALE, 1: style.SKY, 2: "#2B93CE", 4: style.BLUE}[count]
        axis.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=colour, edgecolor="white", linewidth=0.4))
    for o in itertools.product(range(length_out(n, k, s, pad)), repeat=2):
        corner = (s * o[1] - pad - 0.5, s * o[0] - pad - 0.5)
        axis.add_patch(Rectangle(corner, k, k, facecolor="none", edgecolor=style.INK, linewidth=0.8))
    part = (looks(n, k, s, pad) > 0).mean()
    axis.set_title(f"block {index}: {n} x {n}, stride {s}\nsees {100 * part:.3g} % of the plane")
    axis.set(xlim=(-2, n + 0.5), ylim=(n + 0.5, -2), aspect="equal", xlabel="column (tokens)")
    axis.set(xticks=range(0, n, n // 7), yticks=range(0, n, n // 7))
axes[0].set_ylabel("row (tokens)")
figure.suptitle("Kernel 3, stride 8: the pool of block 0 looks at 400 of a frame's 3136 tokens")
plt.show()

# %% [markdown]
# **How to read it.** Every plane is the grid of tokens of one frame, and every dark outline one window: 7 x 7 windows in
# each of these blocks; the ticks are the windows' middles. Light blue cells are looked at by one window, darker ones by two
# or four, grey ones by none. At stride 8 most of the plane is grey, the last six rows and columns altogether. At stride 2
# (right) the windows overlap and nothing is left out. The strides shrink with the grid, so that 7 x 7 windows per frame remain;
# only the first block of a new stage still has the fine grid with the new stride, and so 14 x 14 (blocks 1, 3, 14).
#
# All sixteen blocks have such a pool, as the paper's Sec. 3.3 says. One sentence of Sec. 3.2 sounds as if some had none;
# [05](05_blocks_and_stages.ipynb) holds both against what released code does and against the paper's own cost.

# %% [markdown]
# ## Questions
#
# **1.** An axis of 56 cells is pooled with $s = 8$, $k = s + 1 = 9$ and $p = 4$. The windows overlap. Is every cell looked
# at?
#
# <details><summary>Answer</summary>
#
# No. Window $o$ has its middle on cell $8o$, the last one on cell 48: it ends at cell 52, and $(56 + 8 - 9) / 8$ leaves a
# rest of 7 cells: 4 of padding and the cells 53, 54, 55. An eighth window does not fit. In the plane 53 x 53 of 56 x 56
# cells are seen, 89.6 %. The kernels 8 and 17 see all of them; the next cell counts. An odd kernel looks at a little more
# of the top left than of the bottom right.
#
# </details>
#
# **2.** The tokens $X$ are to be pooled, and each is to be multiplied by a matrix $W$. Would it make a difference to pool
# first, $P(X)\,W$ instead of $P(X W)$? Think of the three pools one by one (without a bias).
#
# <details><summary>Answer</summary>
#
# For the average, none: it is a sum over tokens with the same weights in every channel, the product a sum over channels
# with the same weights in every token, and the two sums can change places. For the maximum, yes: the largest value of a sum
# is not the sum of the largest values. For the depthwise convolution, yes: each channel has a filter of its own, and $W$
# mixes channels. The next cell checks it. The order matters for the cost as well: in block 0 of MViT-B pooling first would
# leave only 1 + 392 tokens to multiply.
#
# </details>
#
# **3.** The pool of block 0 sees 12.8 % of the tokens. Of which share of the *pixels* do these tokens know something?
#
# <details><summary>Answer</summary>
#
# Of more than 12.8 %, for tokens are not points: each was made of a cube of 3 x 7 x 7 pixels at stride 2 x 4 x 4 (notebook 01).
# On an axis the seen tokens look at 98 of 224 pixels, in the plane at 19 %; the next cell counts them. (The other tokens
# are not lost. This pool shortens only the lists of keys and values, and every token goes on to the next block by another
# way: 04.)
#
# </details>
#
# **Now you.** [Exercises to 02](exercises/02_pooling.ipynb): from key lines that you fill in to open questions.
# `exercises.check` says whether an answer is right, and which mistake it looks like.

# %%
x, w = rng.standard_normal((1, 4, 6, 6, 5)), rng.standard_normal((5, 5))
at = (3, 3, 3), (1, 2, 2), (1, 1, 1)
filters = rng.standard_normal((3, 3, 3, 5))
first_or_last = {
    "avg": (ops.avg_pool(x, *at) @ w, ops.avg_pool(x @ w, *at)),
    "max": (ops.max_pool(x, *at) @ w, ops.max_pool(x @ w, *at)),
    "conv": (ops.depthwise_conv(x, filters, *at[1:]) @ w, ops.depthwise_conv(x @ w, filters, *at[1:])),
}
print({kind: bool(np.allclose(a, b)) for kind, (a, b) in first_or_last.items()})
pixels = {4 * row + i - 3 for row in rows for i in range(7)} & set(range(224))
print(f"pixels of an axis that the seen tokens look at: {len(pixels)} of 224; of the plane {len(pixels) ** 2 / 224**2:.0%}")
kernels = [PoolSpec("max", (1, k, k), (1, 8, 8), (8, 56, 56)) for k in (3, 8, 9, 17)]
seen_part = [float((looks(56, spec.kernel[1], 8, spec.padding[1]) > 0).mean()) for spec in kernels]
print("of a 56 x 56 plane at stride 8, kernels 3, 8, 9 and 17 see", [f"{part:.1%}" for part in seen_part])

# %%
# A pool is one window that slides: its stride sets how many tokens are left, its kernel only which cells each of them sees.
assert {spec.thw_out for spec in kernels} == {(8, 7, 7)}
assert [round(100 * part, 1) for part in seen_part] == [12.8, 100, 89.6, 100]
assert np.allclose(*first_or_last["avg"]) and not np.allclose(*first_or_last["max"]) and len(pixels) == 98
