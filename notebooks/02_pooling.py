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
# [Notebook 01](01_tokens.ipynb) turned the clip into a grid of tokens, which in MViT-B has 8 x 56 x 56 = 25,088 tokens.
# Attention (the subject of [03](03_attention.ipynb)) compares every token with every other token, and this is too expensive for
# so many tokens. **The question: how does one shrink a grid of tokens, and what is lost?**
#
# The answer is as old as ConvNets: a small window slides over the grid, and each window gives one token. The new idea in MViT
# is to do this inside the attention. You will write the pool as a loop, compare its three forms (maximum, average,
# convolution), and count which tokens it looks at. In the first stage that is an eighth of them.
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
# The parameters are $\Theta = (k, s, p)$: the **kernel** $k$ says how large a window is, the **stride** $s$ says how far it
# moves, and the **padding** $p$ says how far outside the border the first window begins. Each has three numbers, for time,
# height and width. On every axis, output $o$ looks at the $k$ cells $s\,o - p$ to $s\,o - p + k - 1$, and reduces them to one:
#
# $$ y_o = \underset{0 \le i < k}{\mathrm{reduce}} \; x_{s o + i - p} . $$
#
# An axis of $L$ cells becomes an axis of
#
# $$ \tilde L = \left\lfloor \frac{L + 2p - k}{s} \right\rfloor + 1 . $$
#
# cells. The reason is this: the padded axis has $L + 2p$ cells. The first window takes $k$ of them, and each further window
# needs $s$ more. No window reads the cells that are left over at the end.


# %%
def length_out(n, k, s, p):
    """How many windows of k cells, s apart, fit on n cells with p more at each end."""
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
# Next come the sizes that occur in MViT-B. The paper tries kernels $k = s$, $s + 1$ and $2s + 1$, and 3 for any stride. Odd
# kernels are padded by $p = \lfloor k / 2 \rfloor$: then the middle of window $o$ is on cell $s\,o$, and $\tilde L = L / s$ for
# every kernel. An even kernel with this padding gives one window too many (the rows marked `!`); then the package takes the
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
# The loops visit every output cell and collect the cells in its window. The three pools differ only in what they do with these
# cells:
#
# - **max** takes the largest value. Padding is left out, so it is never the largest.
# - **avg** takes the mean over the kernel. Padding counts as zeros: the sum is divided by the size of the kernel, not by the
#   number of cells inside the grid.
# - **conv** takes a weighted sum with learned weights $w_i$, and every channel has its own filter (depthwise). The heads share
#   the filters: with $h$ heads of $d$ channels side by side, channel $c$ takes filter $c \bmod d$. Padding counts as zeros.
#   (Notebook 03 explains heads. A head is a group of channels that attends by itself. Until then, think of $h = 1$.)


# %%
def window(at, grid, kernel, stride, padding):
    """The cells that output cell `at` reads, where they are inside the grid: (place in the kernel, cell)."""
    seen = []
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            for m in range(kernel[2]):
                tap = (i, j, m)
                cell = tuple(stride[a] * at[a] + tap[a] - padding[a] for a in range(3))
                if all(0 <= cell[a] < grid[a] for a in range(3)):
                    seen.append((tap, cell))
    return seen


REDUCE = {  # a window becomes a number: from its cells in channel c, the size of the kernel and the filters
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
# How does an array version avoid the loop over outputs? It swaps the loops. The outer loop runs over the places in the kernel,
# the *taps*. For one tap, all windows read their cells at once: these are the cells $s\,o + i - p$ for every $o$, a strided
# slice of the padded grid. `taps` gives each tap with its slice, and each of the three pools needs only a few lines:

# %%
print(inspect.getsource(taps), inspect.getsource(ops.depthwise_conv), sep="\n\n")

# %%
print(inspect.getsource(ops.max_pool))

# %% [markdown]
# These are the definitions. (`backward` is for training; [notebook 06](06_gradients.ipynb) derives it.) Usually a faster
# version from `ops/fast/` runs, which must give the same result. The next two sections explain why it is faster.

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
# Tap by tap, each result is read and written 27 times. Another way takes all windows at once: it is a view that has *more axes
# than the array*. The strides of an array say how many bytes one step along an axis moves. A step from window to window moves
# by $s$ cells, and a step inside a window moves by one cell. Both can be axes of the same memory. The view below shows some
# numbers several times and copies none of them.

# %%
plane = np.pad(rng.standard_normal((8, 8)), 1, constant_values=-np.inf)  # padding that never wins
down, right = plane.strides
windows = np.lib.stride_tricks.as_strided(plane, (4, 4, 3, 3), (2 * down, 2 * right, down, right))

print("bytes per step, of the plane:  ", plane.strides)
print("bytes per step, of its windows:", windows.strides, " (window down, window right, cell down, cell right)")
print("same memory:", np.shares_memory(plane, windows), f"  numbers shown: {windows.size}, stored: {plane.size}")

safer = np.lib.stride_tricks.sliding_window_view(plane, (3, 3))[::2, ::2]  # all windows, then every second one
np.testing.assert_array_equal(windows, safer)
by_op = ops.max_pool(plane[None, None, 1:-1, 1:-1], (1, 3, 3), (1, 2, 2), (0, 1, 1))
np.testing.assert_array_equal(windows.max(axis=(2, 3)), by_op[0, 0])
print("the maximum over the last two axes is ops.max_pool, exactly")

# %% [markdown]
# `as_strided` does not check its arguments: with a wrong shape it reads outside the array. `sliding_window_view` checks them.
# The fast convolutions multiply such a view with the filter in one `einsum` (`mvit_np/ops/fast/windows.py`).
#
# ## One axis after the other
#
# The fast max pool never builds the window view. The maximum of a box is the maximum of its rows' maxima, so it pools along the
# width first, then along the height, then in time. At stride 1 the maximum of a box of $k^3$ cells then reads $3k$ cells
# instead of $k^3$. With a larger stride the gain is smaller, because the first pass works on rows that the second pass does not
# use: in the plane it reads $k(s+1)$ cells instead of $k^2$, which is the same number at $k = s + 1$. A convolution cannot be
# split in this way, unless its filter is an outer product of short filters. Most filters are not.

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
    print(f"cells read for one output, stride {s}, kernel {k} x {k}: {k * k} at once, {s * k + k} by axes")

# %% [markdown]
# ## Kernels that touch, overlap, and overlap too much
#
# With $k = s$ the windows lie side by side. With $k = s + 1$ neighbouring windows share one row of cells, and with $k = 2s + 1$
# they share $s + 1$ rows. The number of windows is the same in all three cases, and so is the cost of the attention afterwards.
# Two helpers draw this.


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
    bottom.set_title(f"windows per cell: {looks(n, k, s, p).mean():.2g}")
    for each, limits in [(top, (-2.7, n + 1.7)), (bottom, (-0.5, n - 0.5))]:
        each.set(xlim=limits, ylim=limits[::-1], xticks=range(0, n, 2), yticks=range(0, n, 2), aspect="equal")
axes[0, 0].set_ylabel("row (tokens)")
axes[1, 0].set(ylabel="row (tokens)", xlabel="column (tokens)")
figure.suptitle("Stride 2 on 8 x 8 tokens: always 16 windows, and from left to right they share more cells")
plt.show()

# %% [markdown]
# **How to read it.** In the upper row the grid of tokens is white and the padding is grey. The dots are the middles of all
# windows, and four windows are coloured. The lower row shows how many windows read each cell. Where the windows lie side by
# side ($k = s$), every cell is read once, and a pattern that lies across the border of two windows is cut in two. With
# $k = s + 1$ both windows see the cells at their border. With $k = 2s + 1$ a window reaches to the *middle* of its neighbours.
#
# Is more overlap better? Neighbouring windows that see the same cells give the same result. The maxima of two neighbouring
# windows are equal when the largest cell of both is in the part that they share: $k(k - s)$ cells out of $k(k + s)$. On noise
# this happens with probability $(k - s)/(k + s)$. The next cell measures it and prints the paper's accuracies.

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
# overlap harms (Sec. 4.2): the accuracy is 76.1 without overlap, 77.2 with one shared row, and 75.5 with $k = 2s + 1$. In the
# last case a third or more of the neighbours repeat each other. This is a plausible reason, but it is not proven. The table has
# a second lesson: a learned window is better than both fixed ones (78.3 against 77.2 and 75.4), and a filter of 3 x 3 x 3,
# which also reads the frames before and after, is as good as any (78.4). The released models use this filter. A layer norm
# follows, which gives all tokens the same size ([03b](03b_transformer_block.ipynb)).
#
# ## At the border
#
# A window at the border reaches outside the grid. Take a plane of tokens that are all -1 (a projection may give negative
# numbers) and pool it with stride 1, so that each cell can be compared with itself.

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
# The maximum stays -1 everywhere. If the padding were zeros, all cells at the border would become 0, a value that no token has.
# The average gets smaller at the border: a corner window has 4 of its 9 cells inside and gives 4/9 of the value, and an edge
# window gives 6/9. The convolution does the same. But its weights are learned, and the norm after it removes the size (not the
# direction) again.
#
# ## What each pool keeps of a picture
#
# Pictures make the three reductions visible. A bright disc with a dark slit, a soft blob, a thin line and one bright cell are
# pooled with $k = s + 1$ and strides 2 and 4. For the convolution we choose a filter by hand; in a model it is learned. Our
# filter is the mean of the right columns minus the mean of the left columns.


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
figure.suptitle("Max keeps bright cells, the mean weakens thin lines, a filter finds what it was made for")
plt.show()

# %% [markdown]
# **How to read it.** In the grey pictures black is 0 and white is 1. The last column can be negative: it is orange where the
# left side is brighter, and purple where the right side is brighter. The maximum keeps the line and the single cell at full
# brightness and makes them wider. It removes the slit, because it does not see dark cells. The average keeps the mean
# brightness, so both the line and the slit become weaker, to $1/k$ and $1 - 1/k$. The filter does not depend on the brightness
# itself, only on the difference of left and right; at stride 2 it finds the line from both sides, once with each sign. A
# learned pool has a filter for every channel, and a filter of equal weights is the average. So the convolution can do what the
# average does, and more.
#
# ## The class token is not pooled
#
# A token list begins with the class token, which has no place in the grid and therefore no neighbours. `pool_tokens` takes it
# off, pools the grid, and puts it back.

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
# Windows do not have to touch. In its first stage MViT-B has a pool of stride 1 x 8 x 8, and in the released model its kernel
# is 3 x 3 x 3. (This pool makes the **keys** and **values** of attention, one key and one value per window. [Notebook
# 03](03_attention.ipynb) explains them; here they are only the results of a pool.) Windows that are 3 cells wide and 8 apart do
# not touch. Which cells do they see? We count them with the loop.

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
# On an axis there are 7 windows of 3 cells, and the first one reaches outside the border by one cell. So 20 rows and 20 columns
# are seen, which are 400 of 3136 cells, or 12.8 %. In time the stride is 1, so every frame is seen. `take_seen` takes the seen
# tokens out of a list, and `on_seen` gives the pool for this shorter list, where the windows lie side by side
# ([04](04_pooling_attention.ipynb) says how much this saves). The blocks of the other stages have smaller strides:

# %%
ids = np.arange(1.0 + math.prod(pool.thw_in)).reshape(1, -1, 1)  # tokens that are their own numbers; 0 is the class token
kept = take_seen(ids, pool.thw_in, pool.kernel, pool.stride, pool.padding)[0, 1:, 0].astype(int) - 1
assert {tuple(map(int, cell)) for cell in zip(*np.unravel_index(kept, pool.thw_in), strict=True)} == seen
print("take_seen keeps the cells that the loop found\n")

print("block  grid in       stride     grid out      seen          of the plane")
different = {}
for block in mv.plan(mv.preset("mvit_b_16x4")).blocks:
    spec = block.pool_kv
    if spec not in different.values():
        different[block.index] = spec
        left = on_seen(spec).thw_in
        part = math.prod(left) / math.prod(spec.thw_in)
        out = f"{spec.stride!s:10} {spec.thw_out!s:13}"
        print(f"{block.index:5}  {spec.thw_in!s:13} {out} {left!s:13} {part:6.1%}")

# %%
figure, axes = plt.subplots(1, 3, figsize=(10, 4.4), layout="constrained", width_ratios=[1.5, 1, 1])
for axis, index in zip(axes, (0, 2, 4), strict=True):
    spec = different[index]
    n, (k, s, p) = spec.thw_in[1], (spec.kernel[1], spec.stride[1], spec.padding[1])
    for (row, column), count in np.ndenumerate(looks(n, k, s, p)):
        colour = {0: style.PALE, 1: style.SKY, 2: "#2B93CE", 4: style.BLUE}[count]
        axis.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=colour, edgecolor="white", linewidth=0.4))
    for o in itertools.product(range(length_out(n, k, s, p)), repeat=2):
        corner = (s * o[1] - p - 0.5, s * o[0] - p - 0.5)
        axis.add_patch(Rectangle(corner, k, k, facecolor="none", edgecolor=style.INK, linewidth=0.8))
    part = (looks(n, k, s, p) > 0).mean()
    axis.set_title(f"block {index}: {n} x {n}, stride {s}\nsees {100 * part:.3g} % of the plane")
    axis.set(xlim=(-2, n + 0.5), ylim=(n + 0.5, -2), aspect="equal", xlabel="column (tokens)")
    axis.set(xticks=range(0, n, n // 7), yticks=range(0, n, n // 7))
axes[0].set_ylabel("row (tokens)")
figure.suptitle("Kernel 3, stride 8: the pool of block 0 looks at 400 of a frame's 3136 tokens")
plt.show()

# %% [markdown]
# **How to read it.** Every plane is the grid of tokens of one frame, and every dark outline is one window. Each of these blocks
# has 7 x 7 windows, and the ticks are their middles. Light blue cells are seen by one window, darker cells by two or four, and
# grey cells by none. At stride 8 most of the plane is grey, and the last six rows and columns are all grey. At stride 2 (right)
# the windows overlap and see every cell. The strides shrink with the grid, so that there are always 7 x 7 windows per frame.
# Only the first block of a new stage still has the fine grid with the new stride, so it has 14 x 14 windows (blocks 1, 3, 14).
#
# All sixteen blocks have such a pool, as the paper's Sec. 3.3 says. One sentence of Sec. 3.2 sounds as if some blocks had none.
# [Notebook 05](05_blocks_and_stages.ipynb) compares both sentences with the released code and with the paper's own cost.

# %% [markdown]
# ## Questions
#
# **1.** An axis of 56 cells is pooled with $s = 8$, $k = s + 1 = 9$ and $p = 4$. The windows overlap. Is every cell seen?
#
# <details><summary>Answer</summary>
#
# No. The middle of window $o$ is on cell $8o$, and the middle of the last window is on cell 48, so it ends at cell 52. The
# division $(56 + 8 - 9) / 8$ has the remainder 7: these are 4 cells of padding and the cells 53, 54, 55. An eighth window does
# not fit. In the plane 53 x 53 of 56 x 56 cells are seen, 89.6 %. The kernels 8 and 17 see all cells; the next cell of the
# notebook counts them. An odd kernel sees a little more of the top left than of the bottom right.
#
# </details>
#
# **2.** You want to multiply each of the tokens $X$ by a matrix $W$, and to pool. Does it make a difference to pool first,
# $P(X)\,W$ instead of $P(X W)$? Think of the three pools one by one (without a bias).
#
# <details><summary>Answer</summary>
#
# For the average it makes no difference. The average is a sum over tokens with the same weights in every channel, the product
# is a sum over channels with the same weights in every token, and the two sums can change places. For the maximum it makes a
# difference, because the largest value of a sum is not the sum of the largest values. For the depthwise convolution it does
# too, because each channel has its own filter, and $W$ mixes channels. The next cell checks it. The order matters for the cost
# as well: in block 0 of MViT-B pooling first would leave only 1 + 392 tokens to multiply.
#
# </details>
#
# **3.** The pool of block 0 sees 12.8 % of the tokens. What share of the *pixels* had an influence on these tokens?
#
# <details><summary>Answer</summary>
#
# The share is more than 12.8 %, because each token was made from a cube of 3 x 7 x 7 pixels at stride 2 x 4 x 4 (notebook 01).
# On an axis 98 of 224 pixels had an influence on the seen tokens, and in the plane 19 % of the pixels; the next cell counts
# them. (The other tokens are not lost. This pool shortens only the lists of keys and values, and every token goes on to the
# next block by another path, as notebook 04 shows.)
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
print(f"pixels of an axis in the seen tokens' cubes: {len(pixels)} of 224; of the plane {len(pixels) ** 2 / 224**2:.0%}")
kernels = [PoolSpec("max", (1, k, k), (1, 8, 8), (8, 56, 56)) for k in (3, 8, 9, 17)]
seen_part = [float((looks(56, spec.kernel[1], 8, spec.padding[1]) > 0).mean()) for spec in kernels]
print("of a 56 x 56 plane at stride 8, kernels 3, 8, 9 and 17 see", [f"{part:.1%}" for part in seen_part])

# %%
# A pool is one window that slides: its stride decides how many tokens are left, and its kernel which cells each of them sees.
assert {spec.thw_out for spec in kernels} == {(8, 7, 7)}
assert [round(100 * part, 1) for part in seen_part] == [12.8, 100, 89.6, 100]
assert np.allclose(*first_or_last["avg"]) and not np.allclose(*first_or_last["max"]) and len(pixels) == 98
