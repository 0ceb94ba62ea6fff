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
# # 05 Blocks and stages: tokens and channels scale, cost stays level
#
# **The question.** Notebook 04 built one pooling attention, which can shorten a list of tokens. A network stacks sixteen
# blocks around such attentions. Which resolution and how many channels should each of them have? A ViT answers "the same
# everywhere", a ConvNet "fewer places and more channels as you go deeper". Here you follow a clip through the stages of
# MViT-B and see what the second answer does to the cost of a block.
#
# Words that are new to you are in the [glossary](../docs/glossary.md), symbols in the [notation](../docs/notation.md).

# %%
# %matplotlib inline
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

import mvit_np as mv
from mvit_np import ops
from mvit_np.model.layers.attention import attention
from mvit_np.model.layers.block import block
from mvit_np.model.layers.mlp import mlp
from mvit_np.model.layers.pooling import pool_tokens
from mvit_np.visualize import layer_table_figure, pooling_attention_figure, stage_figure
from mvit_np.visualize.style import BLUE, GREEN, ORANGE, SKY, VERMILLION

rng = np.random.default_rng(0)
plt.rcParams.update({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False})

# %% [markdown]
# ## What the paper says
#
# A *scale stage* is a run of blocks with one resolution and one width. Where the next stage begins, there are four times
# fewer tokens, each twice as wide. "This roughly preserves the computational complexity across stages, and is similar to
# ConvNet design principles" (Fan et al., Sec. 3.2).
#
# A block has two halves, each normed before and added to a skip, as in [03b](03b_transformer_block.ipynb), which also opens
# the MLP. Two things are new: the pool on the first skip, and what happens where the width grows:
#
# $$X_1 = P(X) + \mathrm{MHPA}(\mathrm{LN}(X)), \qquad
# \mathrm{Block}(X) = \begin{cases} X_1 + \mathrm{MLP}(\mathrm{LN}(X_1)) & \text{inside a stage} \\
# \mathrm{LN}(X_1)\, W + \mathrm{MLP}(\mathrm{LN}(X_1)) & \text{where the width grows} \end{cases}$$
#
# $P$ is max pooling with the stride of the queries. It does nothing, except in the first block of a stage.

# %% [markdown]
# ## A block in seven lines
#
# Both halves may change the shape: the attention of a stage's *first* block drops tokens, and the MLP of a stage's *last* block
# widens the channels. A skip must end with the shape of its branch, so it is pooled in the first case and goes through a linear
# layer in the second.


# %%
def block_in_seven_lines(p, x, s):
    y = ops.layer_norm(x, p["norm1"]["g"], p["norm1"]["b"], s.eps)
    skip = pool_tokens(x, s.pool_skip, s.cls) if s.pool_skip else x
    x = skip + attention(p["attn"], y, s)
    y = ops.layer_norm(x, p["norm2"]["g"], p["norm2"]["b"], s.eps)
    grows = s.dim_out != s.dim_attn
    skip = ops.linear(y, p["proj"]["w"], p["proj"]["b"]) if grows else x
    return skip + mlp(p["mlp"], y)


# %% [markdown]
# The package's `block` does the same; it also knows stochastic depth and other places to widen. A model of four stages, small
# enough to run in a moment, is our test object. All of its seven blocks agree.

# %%
tiny = mv.MViTConfig(frames=4, size=64, channels=1, num_classes=5, dim=8, depths=(1, 2, 3, 1))
params = mv.tree.map(np.float64, mv.init(tiny, rng))
clip = rng.standard_normal((1, *tiny.thw, 1))

worst = 0.0
for s, p in zip(mv.plan(tiny).blocks, params["blocks"], strict=True):
    x = rng.standard_normal((1, s.tokens_in, s.dim_in))
    by_hand, from_package = block_in_seven_lines(p, x, s), block(p, x, s)
    worst = max(worst, np.abs(by_hand - from_package).max())
assert worst < 1e-12
print(f"{len(mv.plan(tiny).blocks)} blocks, largest difference {worst:.0e}")

# %% [markdown]
# ## Loop version: walk through the stages
#
# All sizes of MViT-B 16x4 follow from a few numbers and four rules. Read the loop aloud:
#
# 1. The cubes (kernel 3x7x7, stride 2x4x4) make the first grid.
# 2. The first block of a stage, but not of the first stage, has query stride 1x2x2: the grid shrinks. Heads double.
# 3. The last block of a stage, but not of the last stage, gives twice as many channels.
# 4. The stride of keys and values starts at 1x8x8 and is divided by each query stride on the way, so that K and V keep one
#    resolution while the grid of the queries shrinks.
#
# On each axis a window of kernel $k$ and stride $s$, padded by half its size, leaves $\lfloor (L + 2p - k) / s \rfloor + 1$.


# %%
def after(length, kernel, stride):
    return (length + 2 * (kernel // 2) - kernel) // stride + 1


def walk(clip, depths, dim, heads, kv, cube=(3, 7, 7), cube_stride=(2, 4, 4)):
    grid, rows = [after(clip[a], cube[a], cube_stride[a]) for a in range(3)], []
    for stage in range(len(depths)):
        for place in range(depths[stage]):
            q, dim_out = (1, 1, 1), dim
            if place == 0 and stage > 0:
                q, heads = (1, 2, 2), 2 * heads
                kv = tuple(max(kv[a] // q[a], 1) for a in range(3))
            if place == depths[stage] - 1 and stage < len(depths) - 1:
                dim_out = 2 * dim
            keys = [after(grid[a], 3, kv[a]) for a in range(3)]
            grid = [after(grid[a], 3, q[a]) for a in range(3)]
            rows.append((stage, tuple(grid), dim, dim_out, heads, q, kv, 1 + keys[0] * keys[1] * keys[2]))
            dim = dim_out
    return rows


# %% [markdown]
# ## Array version: `mv.plan`
#
# The package decides all sizes once, in `mv.plan`, and every layer reads them there. Block by block the two have to be equal.

# %%
config, vit = mv.preset("mvit_b_16x4"), mv.preset("vit_b_8f")
rows = walk((16, 224, 224), (1, 2, 11, 2), 96, 1, (1, 8, 8))
blocks = mv.plan(config).blocks
assert len(rows) == len(blocks) == 16

print("block stage grid            tokens   channels heads  stride q  stride kv   keys")
for row, s in zip(rows, blocks, strict=True):
    assert row == (s.stage, s.thw_q, s.dim_attn, s.dim_out, s.heads, s.stride_q, s.stride_kv, s.tokens_kv)
    stage, grid, dim, dim_out, heads, q, kv, keys = row
    print(f"{s.index:5} {stage + 1:5} {grid!s:13} {s.tokens_q:8,} {dim:4} > {dim_out:3} {heads:5}  {q} {kv} {keys:6,}")
print("the loop and mv.plan agree in all 16 blocks")

# %% [markdown]
# The table shows two facts. The grid falls at the *start* of a stage and the width grows at the *end*, so the first block of a
# stage still takes in four times the tokens. And K and V have 8x7x7 places, with the class token 393 keys, in all blocks but
# the first one of stages 2, 3 and 4: there the stride is already divided, but the grid has not shrunk yet (1,569 keys).
#
# ### All blocks, or all other blocks?
#
# The table pools keys and values in all sixteen blocks. Does the paper? It says it twice, and not in the same way:
#
# > "We decouple the usage of K, V and Q pooling, with Q pooling being used in the first layer of each stage and K, V pooling
# > being employed in all other layers." (Sec. 3.2)
#
# > "We employ K, V pooling in all MHPA blocks [...]" (Sec. 3.3)
#
# Taken literally, the first sentence does not pool keys and values where queries are pooled. All released code follows the
# second one: SlowFast, which is the authors' own, PyTorchVideo and torchvision pool them in every block (`tests/parity`
# compares this package with all three). Which one did the authors count? The multiply-adds can tell:

# %%
with_q = tuple(s.index for s in blocks if s.pool_q)
readings = {"in all blocks": (), f"in all but {with_q}, which pool Q": with_q, "in no first block of a stage": (0, *with_q)}
for name, unpooled in readings.items():
    read = mv.costs(replace(config, unpooled_kv=unpooled))
    weights = max(line.attention_bytes for line in read.lines) / 1e6
    print(f"K, V pooled {name:36} {read.macs / 1e9:6.1f} G multiply-adds, weights of one block up to {weights:7,.0f} MB")
    assert (abs(read.macs / 70.5e9 - 1) < 0.01) == (unpooled == ())  # the paper prints 70.5 G

# %% [markdown]
# The paper prints 70.5 G (Table 3 and 4), and only the first line is near it. So "in all other layers" has to be read loosely:
# pooling keys and values is not tied to the first layer of a stage, as pooling queries is.
#
# ### The layers as the paper draws them
#
# The same plan as the paper's table of layers (its Tables 2 and 3). Read it from the top, as the clip goes. In brackets are the
# two halves of a block, pooling attention with its channels and the MLP with its hidden units, and × says how many such blocks
# follow each other. (`print(mv.plan(config))` prints much the same as text.)

# %%
layer_table_figure(mv.plan(config))

# %% [markdown]
# The next figure shows the inside of one of these blocks, the first of stage 2, as in the paper's Fig. 3. Read it from the
# bottom up. Queries, keys and values are pooled apart, each by its own stride, and the skip on the left follows the queries.

# %%
pooling_attention_figure(blocks[1])

# %% [markdown]
# ## The pyramid beside a ViT
#
# **How to read it.** In the upper part each stage is a box, drawn to scale: its front is as high and as deep as the token grid,
# and its length is the number of channels. ViT-B is one box from the first block to the last. The lower part shows tokens and
# channels (logarithmic, so equal steps are equal factors) and the multiply-adds of a stage's mean block. Dashed lines are
# ViT-B.

# %%
stage_figure(mv.plan(config), mv.plan(vit), ("MViT-B", "ViT-B"))

# %% [markdown]
# ## Do real arrays have these shapes?
#
# `mv.forward(..., hook=...)` calls us with every block's attention weights and output. The tiny model has the plan of a small
# MViT-B, and the loop predicts it as well.

# %%
seen = {}
mv.forward(params, clip, tiny, hook=lambda name, array: seen.update({name: array.shape}))
rows = walk(tiny.thw, tiny.depths, tiny.dim, tiny.heads, tiny.stride_kv)

print(f"embedding {seen['embedding']}")
for s, (_, grid, _, dim_out, heads, _, _, keys) in zip(mv.plan(tiny).blocks, rows, strict=True):
    weights, output = seen[f"blocks.{s.index}.attention"], seen[f"blocks.{s.index}.output"]
    tokens = 1 + grid[0] * grid[1] * grid[2]
    assert weights == (1, heads, tokens, keys) == (1, s.heads, s.tokens_q, s.tokens_kv)
    assert output == (1, tokens, dim_out) == (1, s.tokens_q, s.dim_out)
    print(f"block {s.index}, stage {s.stage + 1}: attention (B, h, Nq, Nk) {weights!s:17} output (B, N, D) {output}")

# %% [markdown]
# ## Where the width grows
#
# Inside a stage the skip is the identity: what a block gets, it passes on and adds to. Where the width doubles, an identity
# is impossible. MViT then takes a linear layer on the *normalised* input of the MLP. Table A.1 of the paper compares (top-1
# on Kinetics-400, MViT-B 16x4 with max pooling; the authors' numbers, not ours): on the normalised input 77.2 %, on the plain
# input 74.6 %, no skip at all 74.7 %. So a linear skip helps only after the norm.
#
# What is the difference? The skip carries the sum of the outputs of all earlier blocks, and nothing limits its scale. The MLP's
# branch is normed. We let this sum grow and compare what the two kinds of skip pass on:

# %%
dim, last = blocks[0].dim_out, blocks[0]
w = rng.standard_normal((last.dim_attn, dim)) / np.sqrt(last.dim_attn)
one, zero = np.ones(last.dim_attn), np.zeros(last.dim_attn)
x = rng.standard_normal((1, 50, last.dim_attn))

print("stream times    skip from normed    skip from plain   (root mean square)")
sizes = {}
for factor in (1, 10, 100):
    stream = factor * x
    normed, plain = ops.linear(ops.layer_norm(stream, one, zero), w), ops.linear(stream, w)
    sizes[factor] = [np.sqrt(np.mean(y**2)) for y in (normed, plain)]
    print(f"{factor:12} {sizes[factor][0]:19.2f} {sizes[factor][1]:18.2f}")
np.testing.assert_allclose(sizes[100][0], sizes[1][0], rtol=1e-3)
np.testing.assert_allclose(sizes[100][1], 100 * sizes[1][1])

# %% [markdown]
# With the normalised skip each stage starts with the same scale, whatever came before. The paper does not say why this is worth
# 2.6 points; this is all that we can measure without training. Only three of the sixteen MLP skips have a linear layer instead
# of the identity:

# %%
wide = [s.index for s in blocks if s.dim_out != s.dim_attn]
pooled = [s.index for s in blocks if s.pool_skip]
print(f"a linear skip in blocks {wide}, a pooled skip in blocks {pooled}, elsewhere the identity")
print(f"Table A.1: the norm before the linear skip is worth {77.2 - 74.6:.1f} points")
assert wide == [0, 2, 13] and pooled == [1, 3, 14]

# %% [markdown]
# ## What a block costs, from stage to stage
#
# With $N$ tokens of $D$ channels and $N_K$ keys, a block inside a stage takes about
#
# $$\underbrace{4 N D^2}_{\text{q, k, v, output}} + \underbrace{8 N D^2}_{\text{MLP}} +
# \underbrace{2 N N_K D}_{\text{attention}}$$
#
# multiply-adds. From one stage to the next $N$ falls fourfold and $D$ doubles: $N D^2$ does not change. $N_K$ is the same in
# all stages, so the attention halves. Count it for the last block of each stage, without its widening:

# %%
ends = [[s for s in blocks if s.stage == stage][-1] for stage in range(4)]
print("stage      N    D   12 N D^2   2 N Nk D   weights N Nk h, MB   parameters")
terms = []
for s in ends:
    n, d, keys = s.tokens_q, s.dim_attn, s.tokens_kv
    line = mv.costs(config).lines[1 + s.index]
    terms.append((12 * n * d * d, 2 * n * keys * d, line.attention_bytes, line.params))
    products, scores, weights, learned = terms[-1]
    print(f"{s.stage + 1:5} {n:6,} {d:4} {products / 1e9:8.2f} G {scores / 1e9:8.2f} G {weights / 1e6:20.1f} {learned:12,}")
ratios = np.array(terms[:-1]) / np.array(terms[1:])
assert np.allclose(ratios[:, 0], 1, atol=0.01) and np.allclose(ratios[:, 1:3], 2, atol=0.01)

# %% [markdown]
# The products with $D \times D$ matrices stay level to 1 %, the attention and its weights halve, and the parameters grow: most
# of them are in the last stages, where few tokens use them. The next cell shows everything that `mv.costs` counts, including
# the transitions:


# %%
def parts(s, line):
    """Multiply-adds of a block: products with D x D matrices, attention, MLP, and the rest (pooling, widening skip)."""
    products = s.tokens_in * s.dim_in * 3 * s.dim_attn + s.tokens_q * s.dim_attn**2
    scores = 2 * s.tokens_q * s.tokens_seen * s.dim_attn
    hidden = s.tokens_q * s.dim_mlp * (s.dim_attn + s.dim_out)
    return np.array([products, scores, hidden, line.macs - products - scores - hidden])


def mean_blocks(config):
    """(stages, 4): the parts of each stage's mean block."""
    specs, lines = mv.plan(config).blocks, mv.costs(config).lines[1:-1]
    each = [(s.stage, parts(s, line)) for s, line in zip(specs, lines, strict=True)]
    return np.array([np.mean([p for stage, p in each if stage == i], axis=0) for i in range(len(config.depths))])


ours, theirs = mean_blocks(config), mean_blocks(vit)
print("G of a mean block, stage by stage:", (ours.sum(axis=1) / 1e9).round(2), " ViT-B:", (theirs.sum(axis=1) / 1e9).round(2))

# %% [markdown]
# **How to read it.** On the left there is one bar per stage, for its mean block, in 1e9 multiply-adds; the last bar is a block
# of ViT-B. On the right, on a logarithmic scale, there are the attention weights in MB and the parameters in millions, both for
# the last block of a stage.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), width_ratios=(1.25, 1), layout="constrained")
bottom, heights = np.zeros(5), np.vstack([ours, theirs]) / 1e9
names = {"q, k, v, output": BLUE, "attention": VERMILLION, "MLP": SKY, "pooling, widening skip": ORANGE}
for part, (name, colour) in enumerate(names.items()):
    left.bar(range(5), heights[:, part], 0.6, bottom, color=colour, label=name)
    bottom += heights[:, part]
for x, height in enumerate(bottom):
    left.text(x, height + 0.15, f"{height:.1f}", ha="center")
left.set(xticks=range(5), ylabel="1e9 multiply-adds of a mean block", xlabel="stage of MViT-B 16x4", ylim=(0, 17))
left.set_xticklabels(["1", "2", "3", "4", "ViT-B"])
left.set_title("A block costs about the same in every stage")
left.legend(frameon=False, loc="upper left")
for column, mark, colour, name in ((2, "o-", VERMILLION, "attention weights, MB"), (3, "s-", GREEN, "parameters, millions")):
    right.semilogy(range(1, 5), [term[column] / 1e6 for term in terms], mark, color=colour, linewidth=2.5, label=name)
right.set(xticks=range(1, 5), xlabel="stage of MViT-B 16x4", title="Attention weights fall, parameters grow")
right.set_yticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
right.legend(frameon=False, loc="lower right")
plt.show()

# %% [markdown]
# ## Beside a ConvNet
#
# [00](00_the_idea.ipynb) drew the pyramid of MViT-B beside that of ResNet-50. Both have the same resolutions, 56 to 7 places
# along a side, and the same eightfold growth of channels. They spend their depth differently. ResNet-50 has 3, 4, 6 and 3
# blocks in its stages. MViT-B has 1, 2, 11 and 2: a single block where tokens are many, and eleven of its sixteen at 14 places
# a side, where attention is cheap.
#
# ## Questions to the reader
#
# **1.** Suppose the channels grew fourfold instead of twofold at a transition. What would a block of stage 4 cost?
#
# <details><summary>Answer</summary>
#
# $N D^2$ would grow by $4^2 / 4 = 4$ at each of the three transitions, 64-fold in all: the products of a block in stage 4 would
# take 64 times those of stage 1. If on the other hand the channels did not grow, they would take a 64th, and the last stage
# would hardly compute anything. Doubling is what keeps $N D^2$ level when tokens fall fourfold.
# </details>
#
# **2.** Why do the heads double together with the channels?
#
# <details><summary>Answer</summary>
#
# Then a head keeps $D / h = 96$ channels. The attention costs $2 N N_K D$ for any number of heads, so more heads cost no
# multiply-adds. They are not free in memory: there are $h$ maps of $N \times N_K$ weights. The tokens fall faster than the
# heads grow, so the weights fall all the same, as the table shows.
# </details>
#
# **3.** Block 1 is the most expensive of all. Find two reasons in the first table.
#
# <details><summary>Answer</summary>
#
# It begins stage 2. It gets 25,089 tokens, already widened to 192 channels, and projects q, k and v for all of them before it
# pools. And its 6,273 queries meet 1,569 keys instead of 393. The next cell prints it.
# </details>
#
# **Now you.** [Exercises to 05](exercises/05_blocks_and_stages.ipynb): from key lines that you fill in to open
# questions. `exercises.check` says whether an answer is right, and which mistake it looks like.

# %%
macs = [line.macs for line in mv.costs(config).lines[1:-1]]
products, scores, _, _ = parts(blocks[1], mv.costs(config).lines[2])
products, scores = products / 1e9, scores / 1e9
print(
    f"most expensive block: {np.argmax(macs)}, {max(macs) / 1e9:.2f} G: q, k, v, output {products:.2f} G, attention {scores:.2f} G"
)
per_stage = ours.sum(axis=1)
print(f"mean blocks of the stages: the most expensive is {per_stage.max() / per_stage.min():.2f} times the cheapest")
assert np.argmax(macs) == 1 and {s.head_dim for s in blocks} == {96}

# %% [markdown]
# ## What was learned

# %%
# From stage to stage tokens fall 4x and channels double, so N D^2 stays level while the attention weights halve.
sizes = [(s.tokens_q - 1, s.dim_attn) for s in ends]
assert sizes == [(25088 // 4**stage, 96 * 2**stage) for stage in range(4)]
assert per_stage.max() / per_stage.min() < 3 and per_stage.max() < theirs.sum(axis=1).min()
