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
# # 00b Arrays, backends and shapes
#
# **The question.** [00](00_the_idea.ipynb) showed a model that answers. What is a model here? You may expect an object that
# holds weights and does something when called. In this course a model is two plain things: functions, and one nested dict of
# arrays that the functions get as an argument. This notebook looks at the shapes that go through the functions, at how arrays
# lie in memory, at their precision, at the dict, and at how a function finds out which library its arrays belong to.
#
# Words that are new to you are in the [glossary](../docs/glossary.md), symbols in the [notation](../docs/notation.md).

# %%
# %matplotlib inline
import inspect

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

import mvit_np as mv
from mvit_np import ops
from mvit_np.ops.softmax import softmax_array
from mvit_np.visualize import style

rng = np.random.default_rng(0)
plt.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})

# %% [markdown]
# ## What a transformer sees
#
# > "Concretely, consider a D dimensional input tensor X of sequence length L, X ∈ ℝ^{L×D}." (Fan et al., Sec. 3.1)
#
# So the input is a list of tokens, and each token has $D$ numbers. We call the length of the list $N$ where a class token is
# counted too. Most of the work that a transformer does on such a list is one kind of step, the linear layer. It treats each
# token alone:
#
# $$y_{no} = \sum_{i=1}^{D_{in}} x_{ni} \, W_{io} + b_o, \qquad n = 1, \dots, N, \quad o = 1, \dots, D_{out}$$
#
# ### With loops
#
# There is one loop per index of the equation. The innermost loop is the sum.


# %%
def linear_loops(x, w, b):
    """x: (N, I)   w: (I, O)   b: (O,)   ->   (N, O)"""
    y = np.zeros((x.shape[0], w.shape[1]), x.dtype)
    for n in range(x.shape[0]):  # each token
        for o in range(w.shape[1]):  # each channel that comes out
            total = b[o]
            for i in range(w.shape[0]):  # each channel that goes in
                total += x[n, i] * w[i, o]
            y[n, o] = total
    return y


# %% [markdown]
# ### With arrays
#
# `ops.linear` does the same for a batch of token lists at once. Where possible, the notebooks show the package's own source
# text. (`backward` is for training; [notebook 06](06_gradients.ipynb) explains it.)

# %%
print(inspect.getsource(ops.linear))

# %% [markdown]
# All of the work is in `x @ w`. For this product both clips and tokens are only rows. So one can also put all rows into one
# matrix, multiply once, and give the result its axes back.
#
# This is the *definition* of the op. For many definitions there is also a faster version, in `ops/fast/` or `ops/cuda/`. It
# must give the same result, and it is the version that runs. The fast version of `linear` makes one matrix. Within
# `mv.plain_ops()` only the definitions run.

# %%
x = rng.standard_normal((2, 5, 6))  # (B, N, D): two lists of five tokens with six channels
w, b = rng.standard_normal((6, 4)), rng.standard_normal(4)

by_loops = np.stack([linear_loops(tokens, w, b) for tokens in x])
by_rows = (x.reshape(-1, 6) @ w + b).reshape(2, 5, 4)
by_op = ops.linear(x, w, b)
with mv.plain_ops():
    np.testing.assert_allclose(ops.linear(x, w, b), by_op, atol=1e-12)

np.testing.assert_allclose(by_rows, by_loops, atol=1e-12)
np.testing.assert_allclose(by_op, by_loops, atol=1e-12)
print(f"{x.shape} -> {by_op.shape}, {2 * 5 * 6 * 4} multiply-adds")
print(f"loops and ops.linear differ by {np.abs(by_op - by_loops).max():.0e} at most")

# %% [markdown]
# ## Shapes, and why channels come last
#
# | what | shape | axes |
# |---|---|---|
# | a batch of clips | (B, T, H, W, C) | clip, frame, row, column, colour |
# | the same as a list of tokens | (B, N, D) | clip, token, channel |
#
# Channels are always the last axis. To see why, look at memory, which is one long line of numbers. An array is such a line and
# a rule for moving on it: its **strides** say how many bytes one step along each axis moves on this line.

# %%
sizes = {"t": 2, "h": 2, "w": 3, "c": 3}  # a very small clip
last = np.arange(36, dtype=np.float32).reshape(2, 2, 3, 3)  # (T, H, W, C), each number is its place in memory
first = np.ascontiguousarray(np.moveaxis(last, -1, 0))  # (C, T, H, W), copied into that order

for name, array in (("channels last  (T, H, W, C)", last), ("channels first (C, T, H, W)", first)):
    steps = tuple(stride // array.itemsize for stride in array.strides)
    print(f"{name}: shape {array.shape}, strides {array.strides} bytes = {steps} numbers")


# %% [markdown]
# The next figure draws the two lines of numbers. Each square is one number of the clip.


# %%
def draw_line(axes, order):
    """All numbers of a clip in the order of memory, those of the first pixel in full colour."""
    index = dict(zip(order, np.indices([sizes[name] for name in order]).reshape(4, -1), strict=True))
    for place in range(36):
        colour = (style.VERMILLION, style.GREEN, style.BLUE)[index["c"][place]]
        pixel_0 = index["t"][place] == index["h"][place] == index["w"][place] == 0
        axes.add_patch(Rectangle((place, 0), 1, 1, facecolor=colour, alpha=1 if pixel_0 else 0.25, edgecolor="white"))
    axes.set(xlim=(-0.2, 36.2), ylim=(0, 6.2), yticks=[], xticks=range(0, 37, 3))
    axes.spines["left"].set_visible(False)


def draw_steps(axes, steps):
    """One step along each axis as an arrow, the longest lowest."""
    for level, (name, step) in enumerate(sorted(steps.items(), key=lambda item: -item[1])):
        y = 1.7 + 1.2 * level
        axes.annotate("", (step + 0.5, y), (0.5, y), arrowprops={"arrowstyle": "->", "shrinkA": 0, "shrinkB": 0})
        axes.plot([step + 0.5] * 2, [1, y], ":", color=style.GREY, linewidth=1)
        axes.text(step + 1.1, y, f"{name} + 1: {step} place{'s' if step > 1 else ''} on", va="center")


# %%
figure, (above, below) = plt.subplots(2, 1, figsize=(8.5, 5.2), sharex=True, layout="constrained")
for axes, order, array in ((above, "thwc", last), (below, "cthw", first)):
    draw_line(axes, order)
    draw_steps(axes, {name: stride // 4 for name, stride in zip(order, array.strides, strict=True)})
apart = first.strides[0] // 4
above.set_title("channels last (T, H, W, C): the numbers of a pixel are neighbours", loc="left", fontsize=11)
below.set_title(f"channels first (C, T, H, W): they lie {apart} places apart", loc="left", fontsize=11)
below.set_xlabel("place in memory (numbers of 4 bytes)")
names = ("red", style.VERMILLION), ("green", style.GREEN), ("blue", style.BLUE)
patches = [Rectangle((0, 0), 1, 1, color=colour, label=f"{name} channel") for name, colour in names]
above.legend(handles=patches, loc="upper right", frameon=False)
plt.show()

# %% [markdown]
# **How to read it.** The squares in full colour are the red, green and blue number of the first pixel; the others are pale.
# Each arrow is one step along one axis, and its length is the stride of that axis. With channels last the step between
# channels is the shortest, so a pixel, and later a token, is one piece of memory. A linear layer reads such a piece as a row
# of its matrix.
#
# ### Views and copies
#
# Because a token is one piece, joining the axes (B, T, H, W) into one list of rows, as `ops.linear` does, moves nothing: NumPy
# only writes a new rule for the same line. Such a result is called a **view**. With channels first, `moveaxis` is a view as
# well, and so is the list of tokens of each clip, although the numbers of a token are then 8192 places apart. But one list of
# the rows of *all* clips needs one stride that leads from every token to the next, also from clip to clip. Such a stride does
# not exist, because after the last token of a clip there comes another channel of the same clip. So this `reshape` has to write
# all numbers to a new place: a **copy**.

# %%
clip = rng.standard_normal((2, 8, 32, 32, 3)).astype(np.float32)  # (B, T, H, W, C)
clip_first = np.ascontiguousarray(np.moveaxis(clip, -1, 1))  # (B, C, T, H, W)
moved = np.moveaxis(clip_first, 1, -1)  # (B, T, H, W, C) again, by strides alone

print(f"{'channels':9} {'result':14} {'strides (numbers)':17}")
for order, source, result in (
    ("last", clip, clip.reshape(2, -1, 3)),
    ("last", clip, clip.reshape(-1, 3)),
    ("first", clip_first, moved.reshape(2, -1, 3)),
    ("first", clip_first, moved.reshape(-1, 3)),
):
    steps, shared = tuple(stride // 4 for stride in result.strides), np.shares_memory(source, result)
    print(f"{order:9} {str(result.shape):14} {str(steps):17} {'view' if shared else f'copy of {result.nbytes:,} bytes'}")
assert np.shares_memory(clip.reshape(-1, 3), clip) and not np.shares_memory(moved.reshape(-1, 3), clip_first)
assert np.array_equal(clip.reshape(-1, 3), moved.reshape(-1, 3))

# %% [markdown]
# ## dtype in, dtype out
#
# The model computes in the precision of its arrays: float32 arrays give float32 results. One careless number can break this
# rule. NumPy 2 looks only at the *type* of a scalar. A Python float is weak: it takes the dtype of the array. A `np.float64` is
# strong: it widens the whole array. The trap is that `np.sqrt(64)` is a `np.float64`, while `64**0.5` is a Python float.
# Attention divides by such a root in every block.

# %%
scores = rng.standard_normal((3, 3)).astype(np.float32)
print(f"NumPy {np.__version__}: float32 scores times ...")
for name, scale in (("64**-0.5", 64**-0.5), ("1 / np.sqrt(64)", 1 / np.sqrt(64)), ("np.float32(0.125)", np.float32(0.125))):
    print(f"  {name:18} {type(scale).__name__:8} -> {(scores * scale).dtype}")
assert (scores * 64**-0.5).dtype == np.float32 and (scores / np.sqrt(64)).dtype == np.float64

# %% [markdown]
# ## The arrays decide
#
# CuPy has NumPy's functions under NumPy's names, for arrays on a GPU. So a function must not name a library. It asks its
# argument: `array_module(x)` is the library to which `x` belongs, NumPy or CuPy. The ops of the package do this, and [notebook
# 11](11_gpu_kernels.ipynb) runs them on a GPU. An example is the softmax, which turns each row of scores into positive numbers
# that sum to 1:

# %%
print(inspect.getsource(softmax_array))

# %%
p = ops.softmax(scores)
by_loops = [[np.exp(s) / sum(np.exp(t) for t in row) for s in row] for row in scores.tolist()]
np.testing.assert_allclose(p, by_loops, rtol=1e-6)
print(f"as by loops; rows sum to 1: {np.allclose(p.sum(-1), 1)}, dtype {p.dtype}")

# %% [markdown]
# ## The plan: every size, decided once
#
# A config holds what the user chooses. The plan holds every grid, width and stride that follows from these choices. No function
# of the model computes a size by itself. `mvit_micro` is the smallest model of the package. It was made for 8 grey frames of 32
# x 32 pixels and two classes. Each row of the table is a stage; grids are time x height x width. You do not need to know all
# columns yet: cubes and tokens come in [01](01_tokens.ipynb), heads in [03](03_attention.ipynb), and `stride q` and `kv`, the
# steps in which queries and keys are pooled, in [04](04_pooling_attention.ipynb).

# %%
config = mv.preset("mvit_micro")
print(f"a clip has (T, H, W) = {config.thw} and {config.channels} channel; D = {config.dim}, depths {config.depths}\n")
print(mv.plan(config))

# %% [markdown]
# From stage to stage the number of tokens falls to a quarter and the number of channels doubles. This is the paper's idea, and
# [notebook 05](05_blocks_and_stages.ipynb) explains it. Here it is enough to see that the plan knows all sizes before any array
# exists.
#
# ## The parameters: a tree
#
# `mv.init` draws random parameters. They are a dict of dicts, with a list for the blocks, and the leaves are arrays.
# `mv.tree.paths` lists the leaves. A leaf is called `w` (a matrix, in x out, or a filter), `b` (a shift) or `g` (a norm's
# gain). The names before it say to which part the leaf belongs. Later notebooks explain these parts: `attn` is attention (03),
# `pool_q` a pool of queries (04), `mlp` the two linear layers at the end of a block ([03b](03b_transformer_block.ipynb)).

# %%
params = mv.init(config, rng)
leaves = dict(mv.tree.paths(params))
for path in [path for path in leaves if not path.startswith("blocks") or path.startswith("blocks.3")]:
    print(f"{path:28} {str(leaves[path].shape):18} {leaves[path].dtype}")
print(f"... in all {len(leaves)} arrays")

# %% [markdown]
# `mv.costs` counts parameters from the plan alone, by formula. Counting the numbers in the arrays must give the same, part by
# part.

# %%
counted = {}
for path, leaf in leaves.items():
    names = path.split(".")
    part = f"block {names[1]}" if names[0] == "blocks" else "head" if names[0] in ("norm", "head") else "embedding"
    counted[part] = counted.get(part, 0) + leaf.size

for line in mv.costs(config).lines:
    print(f"{line.name:10} {line.params:7,} by formula {counted[line.name]:7,} in the arrays")
    assert line.params == counted[line.name]
total = mv.costs(config).params
print(f"in all {total:,} parameters, {sum(leaf.nbytes for leaf in leaves.values()):,} bytes")
print(f"the last block holds {counted['block 3'] / total:.0%}")

# %%
colours = {"attention": style.BLUE, "pools of q, k, v": style.SKY, "MLP": style.ORANGE, "widened skip": style.GREEN}
colours["cubes, positions, norms, head"] = style.GREY


def kind(path):
    """What a parameter is for, by its path."""
    if ".attn.pool_" in path or ".attn.norm_" in path:
        return "pools of q, k, v"
    found = [name for part, name in ((".attn.", "attention"), (".mlp.", "MLP"), (".proj.", "widened skip")) if part in path]
    return found[0] if found else "cubes, positions, norms, head"


def part_sizes(prefixes):
    """How many parameters of each kind have a path that begins with one of `prefixes`."""
    chosen = {path: leaf.size for path, leaf in leaves.items() if path.startswith(prefixes)}
    return {name: sum(size for path, size in chosen.items() if kind(path) == name) for name in colours}


# %%
rows = {"embedding": ("patch", "cls", "pos"), **{f"block {i}": (f"blocks.{i}.",) for i in range(4)}, "head": ("norm", "head")}
figure, axes = plt.subplots(figsize=(8.5, 3.6), layout="constrained")
for y, prefixes in enumerate(rows.values()):
    left = 0
    for each, size in part_sizes(prefixes).items():
        axes.barh(y, size, left=left, color=colours[each], height=0.7)
        left += size
    axes.text(left + 600, y, f"{left:,}", va="center")
axes.set(yticks=range(len(rows)), yticklabels=rows, xlabel="parameters", xlim=(0, 59000))
axes.invert_yaxis()
axes.xaxis.set_major_formatter("{x:,.0f}")
axes.set_title("mvit_micro: more than half of the parameters are in the last, widest block", loc="left", fontsize=11)
handles = [Rectangle((0, 0), 1, 1, color=colour, label=name) for name, colour in colours.items()]
axes.legend(handles=handles, loc="upper right", bbox_to_anchor=(1, 0.98), frameon=False)
plt.show()

# %% [markdown]
# **How to read it.** A bar is a part of the model, from the input (top) to the scores (bottom), and its colours say what the
# parameters are for. Blocks 0, 1 and 2, and 3 are the three stages. The width doubles from one stage to the next, and a matrix
# of twice the width has four times the numbers: late, wide blocks hold the parameters.
#
# ## A forward pass
#
# Two synthetic clips: a blob that moves right and one that moves left. `hook` is called with each result on the way, so that
# we can see the shapes pass by. The weights are untrained: the scores of the classes, the logits, mean nothing yet.


# %%
def moving_blob(speed):
    """A bright blob that goes `speed` pixels to the right with each frame.   ->   (8, 32, 32, 1)"""
    t, h, w = np.indices((8, 32, 32))
    squared = (h - 16) ** 2 + (w - 16 - speed * (t - 3.5)) ** 2
    return np.exp(-squared / (2 * 3**2))[..., None].astype(np.float32)


clip = np.stack([moving_blob(2), moving_blob(-2)])  # (B, T, H, W, C)
seen = {"clip": clip.shape}
logits = mv.forward(params, clip, config, hook=lambda name, array: seen.update({name: array.shape}))
seen["logits"] = logits.shape
for name, shape in seen.items():
    if "attention" not in name:
        print(f"{name:16} {shape}")

for block in mv.plan(config).blocks:
    assert seen[f"blocks.{block.index}.output"] == (2, block.tokens_q, block.dim_out)

# %% [markdown]
# The shapes after the blocks are those that the plan predicted. There is one token more than the grid has, the class token.
# (The width changes one block before the stage of the table does, because the last MLP of a stage already widens.)
#
# Since a model is a function of its arguments, nothing is left over from one call to the next. To change a model, make another
# dict. It may share the arrays that stay the same, and the old dict does not change.

# %%
silent = {**params, "head": mv.tree.map(np.zeros_like, params["head"])}  # all but the head is shared
print("as it was  ", mv.forward(params, clip, config)[0])
print("silent head", mv.forward(silent, clip, config)[0])
print("as it was  ", mv.forward(params, clip, config)[0])
assert silent["blocks"] is params["blocks"]

# %% [markdown]
# In float64 the same function gives float64. The package refuses to mix the two types; NumPy would widen the result without a
# warning.

# %%
wide = mv.tree.map(np.float64, params)
logits_wide = mv.forward(wide, clip.astype(np.float64), config)
print(f"{logits.dtype} and {logits_wide.dtype} differ by {np.abs(logits - logits_wide).max():.0e} at most")
np.testing.assert_allclose(logits, logits_wide, atol=1e-5)

try:
    mv.forward(wide, clip, config)
except TypeError as problem:
    print("refused:", problem)

# %% [markdown]
# ## Questions
#
# **1.** A library gives you batches as (B, C, T, H, W). What does `np.moveaxis(clips, 1, -1)` cost, and when do you pay for it?
#
# <details><summary>Answer</summary>
#
# It costs nothing at first: it is a view, so only the strides change. You pay at the first step that needs rows of channels,
# such as the `reshape` in a linear layer, because this step copies. If several steps read the same view, each of them copies
# again. So copy once, as soon as you get the batch: `np.ascontiguousarray(np.moveaxis(clips, 1, -1))`.
#
# </details>
#
# **2.** Someone writes attention's scale as `1 / np.sqrt(head_dim)`. Every test of values passes. What went wrong?
#
# <details><summary>Answer</summary>
#
# `np.sqrt` of a Python int is a `np.float64`, which is strong in NumPy 2. From the first block on, all arrays are float64. They
# take twice the memory, and they are slower. But they have more correct digits, so every test of values passes. A test must ask
# for the dtype too. `head_dim**-0.5` is a Python float and leaves the array's dtype alone.
#
# </details>
#
# **3.** `silent` shares its blocks with `params`. Someone writes `silent["blocks"][0]["norm1"]["g"][:] = 0`. Which of the two
# models changes? How would you change only one?
#
# <details><summary>Answer</summary>
#
# Both: `[:] =` writes into the array itself, and there is only one such array in memory. The functions of the package never do
# this to an argument. To change one model, make new dicts and lists on the path to the leaf, and share the rest:
# `{**params, "blocks": [{**params["blocks"][0], "norm1": ...}, *params["blocks"][1:]]}`, or give `mv.tree.map` a function that
# returns new arrays.
#
# </details>

# %%
# A model is a function: the plan knows each shape, the dtype stays the same, and a second call gives the same result.
once, again = (mv.forward(params, clip, config) for _ in range(2))
assert again.shape == (2, config.num_classes) and again.dtype == clip.dtype and np.array_equal(again, once)
assert sum(leaf.size for leaf in mv.tree.leaves(params)) == mv.costs(config).params
