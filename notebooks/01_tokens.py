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
# # 01 From clip to tokens
#
# **The question.** [Notebook 00b](00b_arrays.ipynb) said that a transformer sees a list of tokens (B, N, D). A clip is not such
# a list: it is (B, T, H, W, C), frames of pixels. How does a clip become a list of tokens, and what does MViT do differently
# from ViT in this step?
#
# Words that are new to you are in the [glossary](../docs/glossary.md), symbols in the [notation](../docs/notation.md).

# %%
# %matplotlib inline
import inspect
from dataclasses import replace
from math import prod

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Rectangle

import mvit_np as mv
from mvit_np import ops
from mvit_np.model.layers.embedding import embed
from mvit_np.model.parameters import parameter_shapes
from mvit_np.visualize import style

rng = np.random.default_rng(0)
plt.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})

# %% [markdown]
# ## The paper's sentence
#
# > "At the input [...], we project the patches (or cubes if they have a temporal extent) to a smaller channel dimension
# > (e.g. 8× smaller than a typical ViT model), but long sequence (e.g. 4×4 = 16× denser than a typical ViT model [...])."
# > (Fan et al., Sec. 3.2)
#
# A **cube** is a box of the clip that is some frames long and some pixels high and wide. It is multiplied with a matrix, and
# the result is one token. Then the box moves on by a **stride** and gives the next token. This is a convolution. With kernel
# $k = (k_T, k_H, k_W)$, stride $s$ and padding $p$, the token at $(t, h, w)$ of the grid has in channel $o$
#
# $$y_{thwo} = b_o + \sum_{i=0}^{k_T-1} \sum_{j=0}^{k_H-1} \sum_{m=0}^{k_W-1} \sum_{c}
#   x_{\,s_T t + i - p_T,\; s_H h + j - p_H,\; s_W w + m - p_W,\; c} \; W_{ijmco}$$
#
# where $x$ is zero outside the clip. The number of cubes that fit on an axis of length $L$ is (Sec. 3.1)
#
# $$\tilde L = \left\lfloor \frac{L + 2p - k}{s} \right\rfloor + 1$$
#
# ## How many tokens?
#
# First we count: a window slides over the padded axis as long as it fits. Then we use the formula.


# %%
def count_windows(length, kernel, stride, padding):
    """How many places on an axis a window fits at, found by sliding it."""
    start, count = -padding, 0
    while start + kernel <= length + padding:
        start, count = start + stride, count + 1
    return count


def grid_length(length, kernel, stride, padding):
    """The same by the formula."""
    return (length + 2 * padding - kernel) // stride + 1


cases = [(n, k, s, k // 2) for n in range(7, 60) for k in (1, 3, 5, 7) for s in (1, 2, 3, 4)]
assert all(count_windows(*case) == grid_length(*case) for case in cases)
print(f"counting and formula agree in {len(cases)} cases")

# %%
print(f"{'':12} {'axis':8} {'L':>4} {'k':>3} {'s':>3} {'p':>3}  tokens")
for name in ("vit_b_8f", "mvit_b_16x4", "mvit_micro"):
    spec = mv.plan(mv.preset(name)).embed
    for axis, label in enumerate(("time", "height", "width")):
        numbers = spec.thw_in[axis], spec.kernel[axis], spec.stride[axis], spec.padding[axis]
        print("{:12} {:8} {:4} {:3} {:3} {:3}  {:6}".format("" if axis else name, label, *numbers, grid_length(*numbers)))
    assert spec.thw == tuple(map(grid_length, spec.thw_in, spec.kernel, spec.stride, spec.padding))

# %% [markdown]
# In ViT kernel and stride are equal: patches lie side by side, and each pixel is in exactly one. In MViT the kernel is larger
# than the stride: cubes overlap. The padding is $\lfloor k / 2 \rfloor$, so that the grid has $L / s$ tokens on each axis;
# the first cube is centred on the first pixel.
#
# Both grids have 8 steps in time: ViT-B takes 8 frames one by one. MViT-B takes 16 frames, and every second frame is the middle
# of a cube. So the whole factor of 16 comes from space: MViT has 4 x 4 tokens where ViT has one.

# %%
vit, mvit = (mv.plan(mv.preset(name)).embed for name in ("vit_b_8f", "mvit_b_16x4"))
for name, box, spec in (("ViT-B", "patch", vit), ("MViT-B", "cube", mvit)):
    t, h, w = spec.thw
    numbers = np.prod(spec.kernel) * spec.channels
    print(f"{name:6} a {box} has {numbers} numbers and becomes a token of {spec.dim} channels")
    print(f"{'':6} a grid of {t} x {h} x {w}, with the class token {t * h * w + 1:,} tokens")

denser, narrower = np.prod(mvit.thw[1:]) / np.prod(vit.thw[1:]), vit.dim / mvit.dim
print(f"MViT-B has {denser:.0f} times as many tokens for each step in time, each {narrower:.0f} times narrower")
per_frame = np.prod(mvit.thw) / 16 / (np.prod(vit.thw) / 8)
print(f"(and {per_frame:.0f} times as many for each frame that goes in: it takes twice the frames)")
clip_numbers, token_numbers = (int(np.prod(thw) * n) for thw, n in ((mvit.thw_in, mvit.channels), (mvit.thw, mvit.dim)))
print(f"MViT-B's clip has {clip_numbers:,} numbers, its tokens have {token_numbers:,}")

# %% [markdown]
# ## What a token sees
#
# The figure draws the boxes on a small frame. The boxes of ViT have 16 x 16 pixels and lie side by side. The boxes of MViT have
# 7 x 7 pixels and move on by 4.


# %%
def draw_frame(axes, n=32):
    """A frame of `n` x `n` pixels, pale, with its pixel grid."""
    h, w = np.indices((n, n))
    disk = (h - 12) ** 2 + (w - 19) ** 2 < 49
    picture = 0.93 - 0.25 * disk - 0.15 * ((h > 22) & (h < 27) & (w > 3))
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1)
    axes.set_xticks(np.arange(-0.5, n), minor=True)
    axes.set_yticks(np.arange(-0.5, n), minor=True)
    axes.grid(which="minor", color="white", linewidth=0.7)
    axes.tick_params(which="minor", length=0)
    axes.set(xticks=range(0, n, 8), yticks=range(0, n, 8), xlim=(-4, n + 0.5), ylim=(n + 0.5, -4))
    axes.set(xlabel="column (pixels)", ylabel="row (pixels)")


# %%
def draw_boxes(axes, size, stride, shown, n=32):
    """A dot in the middle of each box, and the boxes whose (row, column) in the grid is `shown`."""
    start = 0 if size == stride else -(size // 2)
    middles = start + (size - 1) / 2 + stride * np.arange(n // stride)
    axes.plot(*np.meshgrid(middles, middles), "o", color=style.INK, markersize=3.5, zorder=4)
    for (row, column), colour in shown.items():
        corner = start + stride * column - 0.5, start + stride * row - 0.5
        axes.add_patch(Rectangle(corner, size, size, facecolor=colour, alpha=0.28, zorder=3))
        axes.add_patch(Rectangle(corner, size, size, fill=False, edgecolor=colour, linewidth=2, zorder=3))


# %%
def draw_times(axes, frames, size, stride, padding):
    """The frames of each cube as a bar, one above the other; outside the clip is zero padding."""
    for k in range(grid_length(frames, size, stride, padding)):
        colour = (style.BLUE, style.ORANGE)[k % 2]
        axes.barh(k, size - 0.15, left=stride * k - padding - 0.425, color=colour, height=0.8)
    if padding:
        axes.axvspan(-1.5, -0.5, color=style.PALE, zorder=0)
    axes.set(xlim=(-1.5, 15.6), xticks=range(0, 16, 2), yticks=(0, 7), ylim=(7.6, -0.6))
    axes.set(xlabel="frame", ylabel="token in time")


# %%
figure, grid = plt.subplots(2, 2, figsize=(9, 7), height_ratios=(3, 1), layout="constrained")
(left, right), (times_left, times_right) = grid
for axes in (left, right):
    draw_frame(axes)
draw_boxes(left, 16, 16, {(0, 0): style.BLUE, (0, 1): style.ORANGE})
three = {(3, 3): style.BLUE, (3, 4): style.ORANGE, (4, 3): style.GREEN}
draw_boxes(right, 7, 4, {**three, (0, 0): style.VERMILLION})
left.set_title(f"ViT: {2 * 2} tokens of {vit.dim} channels", fontsize=11)
right.set_title(f"MViT: {8 * 8} tokens of {mvit.dim} channels", fontsize=11)
draw_times(times_left, 8, 1, 1, 0)
draw_times(times_right, 16, 3, 2, 1)
times_left.set_title("each of 8 frames by itself", fontsize=11)
times_right.set_title("three frames each, every second of 16", fontsize=11)
figure.suptitle("The same pixels: MViT's tokens are denser and narrower, and they overlap", fontsize=12, weight="bold")
plt.show()

# %% [markdown]
# **How to read it.** Above is one frame of 32 x 32 pixels. A dot is the middle of a box, so there is one token for each dot;
# only some boxes are drawn. On the left neighbours share nothing. On the right the blue and the orange box share three columns,
# and the blue and the green box share three rows. The box in the corner is the first of the grid: it reaches three pixels over
# the edge, and these pixels are zeros. The lower row shows time. A bar is one token: it covers one frame in ViT and three in
# MViT, and there neighbours share a frame. The grey frame before the first one is padding.
#
# The paper measured how much this helps (Table 12, top-1 accuracy on Kinetics-400). With stride 4 x 4, patches without overlap
# reach 74.5 %, overlapping patches reach 75.6 %, cubes of three frames reach 75.9 %, and cubes over twice the frames at stride
# 2 in time reach 77.2 %.
#
# ## The cubes with loops
#
# Here is the equation, index by index, for one clip. The kernel has its real size, 3 x 7 x 7, and the clip is tiny. (The place
# $w$ is called `v` here, because `w` is the filter.)


# %%
def cube_conv_loops(x, w, b, stride, padding):
    """x: (T, H, W, C)   w: (kt, kh, kw, C, D)   b: (D,)   ->   (t, h, w, D)"""
    grid = [grid_length(x.shape[a], w.shape[a], stride[a], padding[a]) for a in range(3)]
    y = np.zeros((*grid, len(b)))
    for t, h, v, o in np.ndindex(y.shape):  # each token, each of its channels: four loops in one
        total = b[o]
        for i, j, m, c in np.ndindex(w.shape[:4]):  # each number of its cube: four more
            at_t = stride[0] * t + i - padding[0]
            at_h = stride[1] * h + j - padding[1]
            at_w = stride[2] * v + m - padding[2]
            inside = 0 <= at_t < x.shape[0] and 0 <= at_h < x.shape[1] and 0 <= at_w < x.shape[2]
            if inside:  # outside the clip is zero
                total += x[at_t, at_h, at_w, c] * w[i, j, m, c, o]
        y[t, h, v, o] = total
    return y


# %% [markdown]
# ## The cubes with arrays
#
# The definition of `ops.cube_conv` swaps the loops: the outer loop runs over the places in the kernel, the *taps*. The pixels
# that one tap meets in all cubes are a strided slice of the padded clip. One product of this slice with the tap's matrix
# $W_{ijm}$ does the work for all tokens at once.

# %%
print(inspect.getsource(ops.cube_conv))

# %% [markdown]
# The fast version (`ops/fast/cube_conv.py`) uses another idea: it writes each cube as one row of a matrix, and then one matrix
# product gives all tokens. The windows are a view (notebook 00b), taken at every stride-th place; only the `reshape` to rows
# copies.

# %%
stride, padding = (2, 4, 4), (1, 3, 3)
x = rng.standard_normal((4, 8, 8, 2))  # (T, H, W, C)
w, b = rng.standard_normal((3, 7, 7, 2, 5)), rng.standard_normal(5)

padded = np.pad(x, ((1, 1), (3, 3), (3, 3), (0, 0)))
windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 7, 7), axis=(0, 1, 2))[::2, ::4, ::4]
rows = np.moveaxis(windows, 3, -1).reshape(-1, 3 * 7 * 7 * 2)  # (tokens, numbers of a cube)
by_rows = (rows @ w.reshape(-1, 5) + b).reshape(2, 2, 2, 5)

by_loops = cube_conv_loops(x, w, b, stride, padding)
by_op = ops.cube_conv(x[None], w, b, stride, padding)[0]
with mv.plain_ops():
    by_taps = ops.cube_conv(x[None], w, b, stride, padding)[0]
np.testing.assert_allclose(by_taps, by_loops, atol=1e-12)
np.testing.assert_allclose(by_rows, by_loops, atol=1e-12)
np.testing.assert_allclose(by_op, by_loops, atol=1e-12)
print(f"clip {x.shape} -> grid of tokens {by_op.shape}; a row of the matrix has {rows.shape[1]} numbers")
print(f"loops and ops.cube_conv differ by {np.abs(by_op - by_loops).max():.0e} at most")

# %% [markdown]
# The patches of ViT are the special case of equal kernel and stride. Nothing overlaps, so `ops.split_units` cuts the frame into
# units that lie side by side, each unit is a row, and a linear layer does the rest.

# %%
frame = rng.standard_normal((1, 1, 32, 32, 3))
w16, b16 = rng.standard_normal((1, 16, 16, 3, 4)), rng.standard_normal(4)

by_conv = ops.cube_conv(frame, w16, b16, (1, 16, 16), (0, 0, 0))
patches = ops.split_units(frame.reshape(1, 32 * 32, 3), (1, 32, 32), (1, 16, 16)).reshape(4, 16 * 16 * 3)
by_patches = ops.linear(patches, w16.reshape(-1, 4), b16).reshape(by_conv.shape)
np.testing.assert_allclose(by_patches, by_conv, atol=1e-12)
print(f"patches {patches.shape}; convolution and linear layer differ by {np.abs(by_patches - by_conv).max():.0e} at most")

# %% [markdown]
# ## What simple filters find
#
# In a trained model $W$ is learned. To see what a cube can express, we write two of its channels by hand, with MViT's kernel:
#
# - **edge in x**: the pixels right of the middle minus the pixels left of it, the same in all three frames;
# - **change in time**: the next frame minus the previous frame, the same for all pixels.
#
# A patch of one frame can have the first kind of filter, but never the second.

# %%
edge = np.sign(np.arange(7) - 3)  # -1 -1 -1 0 1 1 1, from left to right
change = np.array([-1, 0, 1])  # before, at, after
filters = np.zeros((3, 7, 7, 1, 2))
filters[..., 0, 0] = edge / (3 * 7 * 3)  # the response to a sharp edge of height 1 is 1
filters[..., 0, 1] = change[:, None, None] / (7 * 7)  # the response to a whole cube that lights up is 1

bars = np.zeros((16, 64, 64, 1))  # (T, H, W, C)
bars[:, 4:28, 12:18] = 1  # stands still, in the upper half
for t in range(16):
    bars[t, 36:60, 4 + 3 * t : 10 + 3 * t] = 1  # goes 3 pixels to the right with each frame, in the lower half

found = ops.cube_conv(bars[None], filters, np.zeros(2), stride, padding)[0]
print(f"clip {bars.shape} -> grid of tokens {found.shape}")

# %%
diverging = LinearSegmentedColormap.from_list("found", [style.BLUE, "white", style.VERMILLION])
titles = "clip", "edge in x", "change\nin time"
figure, grid = plt.subplots(3, 8, figsize=(10, 4.6), layout="constrained")
for step in range(8):
    grid[0, step].imshow(bars[2 * step, ..., 0], cmap="gray", vmin=0, vmax=1)
    grid[0, step].set_title(f"frame {2 * step}", fontsize=10)
    for channel in (0, 1):
        image = grid[1 + channel, step].imshow(found[step, ..., channel], cmap=diverging, vmin=-1, vmax=1)
    grid[2, step].set_xlabel(f"token {step}\nin time")
for axes in grid.flat:
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(True)
for axes, title in zip(grid[:, 0], titles, strict=True):
    axes.set_ylabel(title)
figure.colorbar(image, ax=grid[1:], label="value of the channel", shrink=0.8)
figure.suptitle("Both bars have edges; only the moving one changes in time", fontsize=12, weight="bold")
plt.show()

# %% [markdown]
# **How to read it.** From left to right, time passes. The upper row is every second frame of the clip with 64 x 64 pixels; this
# is the middle frame of the cubes below it. In the other rows a tile is one of 16 x 16 tokens, and its colour is the value of
# one channel. "Edge in x" is orange where the picture gets brighter to the right and blue where it gets darker. It shows both
# bars; the moving bar is blurred over the three frames of a cube. "Change in time" is orange where the moving bar arrives and
# blue where it has left. The bar that stands still leaves no trace, except in the first column (see question 1). So a token can
# hold motion before any attention is computed.
#
# ## From grid to list
#
# The grid of tokens (t, h, w) is written as a list, row after row and frame after frame: width changes fastest, and time
# changes slowest. This is the order of the tokens in memory, so the list is a `reshape` and costs nothing. The number of a
# token in the list is
#
# $$n = (t \, H + h) \, W + w$$

# %%
t_len, h_len, w_len = 8, 16, 16  # the grid of the bars
n = 0
for t in range(t_len):
    for h in range(h_len):
        for v in range(w_len):
            assert n == (t * h_len + h) * w_len + v
            assert (t, h, v) == (n // (h_len * w_len), n // w_len % h_len, n % w_len)  # and back
            n += 1

token_list = found.reshape(t_len * h_len * w_len, 2)
assert np.array_equal(token_list[(3 * 16 + 12) * 16 + 6], found[3, 12, 6]) and np.shares_memory(token_list, found)
print(f"{found.shape} -> {token_list.shape}, the same memory; token {(3 * 16 + 12) * 16 + 6} is (t, h, w) = (3, 12, 6)")

# %% [markdown]
# ## Class token and positions
#
# Two parts are still missing.
#
# - The **class token** stands for the whole clip, and its final value gives the answer. It is a learned vector that is put
#   before the list, and it does not come from a cube.
# - The **positions** say where each token was. Attention by itself treats its tokens as a set: it would not notice if they were
#   shuffled. So a learned vector is added to each token. MViT has two **separate** tables, one with a row per place and one
#   with a row per time of the grid, and adds a row of each: $x_{thw} + e^{space}_{hw} + e^{time}_t$. A **joint** table has a
#   row per token. In both cases the class token has its own row.
#
# Here are the loops over the tokens of `mvit_micro`, and then the package's `embed`, which does all steps of this notebook in
# one function:

# %%
config = mv.preset("mvit_micro")
spec = mv.plan(config).embed
params = mv.tree.map(np.float64, mv.init(config, rng))
space, time = params["pos_embed_spatial"], params["pos_embed_temporal"]
clip = rng.standard_normal((1, *config.thw, config.channels))

# %%
cubes = ops.cube_conv(clip, params["patch_embed"]["w"], params["patch_embed"]["b"], spec.stride, spec.padding)[0]
t_len, h_len, w_len = spec.thw
by_loops = [params["cls_token"] + params["pos_embed_class"]]
for t in range(t_len):
    for h in range(h_len):
        for v in range(w_len):
            by_loops.append(cubes[t, h, v] + space[h * w_len + v] + time[t])

by_layer = embed(params, clip, spec)
np.testing.assert_allclose(by_layer[0], by_loops, atol=1e-12)
difference = np.abs(by_layer[0] - by_loops).max()
print(f"clip {clip.shape} -> tokens {by_layer.shape}; loops and embed differ by {difference:.0e} at most")

# %% [markdown]
# ### What positions cost
#
# Two tables whose rows are added are much smaller than one table of all sums. We count from shapes, which `parameter_shapes`
# gives without making an array. The paper's Table 11 uses max pooling. We use it too, so that we can compare the totals.

# %%
paper = {"none": (36.2, 75.8), "space": (36.5, 76.7), "joint": (38.6, 76.5), "separate": (36.5, 77.2)}
rows, totals = {}, {}
print("positions  rows of D = 96  parameters of them  of the model (M)  the paper (M)  its top-1 (%)")
for positions, (millions, accuracy) in paper.items():
    chosen = replace(mv.preset("mvit_b_16x4"), positions=positions, pool="max", pool_kernel="s+1")
    sizes = {path: prod(shape) for path, shape in parameter_shapes(chosen).items()}
    rows[positions] = sum(size // 96 for path, size in sizes.items() if path.startswith("pos_embed"))
    totals[positions] = sum(sizes.values())
    print(
        f"{positions:9} {rows[positions]:15,} {96 * rows[positions]:19,} {totals[positions] / 1e6:17.2f}"
        f" {millions:14} {accuracy:14}"
    )
print(f"joint - separate: {totals['joint'] - totals['separate']:,} parameters")

# %% [markdown]
# Separate positions have 56 · 56 rows for space, 8 for time and 1 for the class token. Joint positions have 8 · 56 · 56 rows
# and 1. In the paper the small tables are also more accurate. One reason may be that each of their rows is learned from many
# tokens: all tokens that share a place, or a time. Without any positions the paper's model loses only 1.4 points: the pools of
# later notebooks look at neighbours, so they see order too.
#
# ## Questions
#
# **1.** In the figure of the filters, why does the bar that stands still light up in the first column of "change in time"?
#
# <details><summary>Answer</summary>
#
# The first cube is centred on frame 0, so its first frame is frame -1, which does not exist and is zero. "Next minus previous"
# is then frame 1 minus zero: everything in the picture seems to have just appeared. So a model can see the padding, and a
# trained model can use it to find the border.
#
# </details>
#
# **2.** MViT-B's tokens have exactly as many numbers as the clip from which they are made (printed above). Is this a
# coincidence?
#
# <details><summary>Answer</summary>
#
# A token stands for $s_T \, s_H \, s_W = 2 \cdot 4 \cdot 4 = 32$ pixels of three colours: 96 numbers, and $D = 96$. With ViT-B
# it is $16 \cdot 16 \cdot 3 = 768 = D$. So it is no coincidence, and neither embedding makes the data smaller. ViT puts the
# same amount of data into few wide tokens, and MViT puts it into many narrow ones.
#
# </details>
#
# **3.** A clip has 32 frames instead of 16. How many rows do joint and separate positions need?
#
# <details><summary>Answer</summary>
#
# Time has 16 steps. Joint positions need $16 \cdot 56 \cdot 56 + 1 = 50\,177$ rows, nearly twice as many. Separate positions
# need $56 \cdot 56 + 16 + 1 = 3153$ rows, only 8 more. A trained model can keep its rows for space; only the 8 rows for time
# have to be stretched to 16, and `mv.resize(params, config, frames=32)` does this.
#
# </details>
#
# **Now you.** [Exercises to 01](exercises/01_tokens.ipynb): from key lines that you fill in to open questions.
# `exercises.check` says whether an answer is right, and which mistake it looks like.

# %%
# Cubes turn a clip into 16 times more and 8 times narrower tokens than patches do, and a token may already hold motion.
assert (denser, narrower) == (16, 8) and clip_numbers == token_numbers
still, moving = found[1:, 1:7, :, 1], found[1:, 9:15, :, 1]  # from the second token in time on
assert np.abs(still).max() < 1e-12 and np.abs(moving).max() > 0.5
assert rows["separate"] == 56 * 56 + 8 + 1 and rows["joint"] == 8 * 56 * 56 + 1
assert mv.plan(mv.preset("mvit_b_32x3")).embed.thw == (16, 56, 56) and (16 * 56 * 56 + 1, 56 * 56 + 16 + 1) == (50177, 3153)
