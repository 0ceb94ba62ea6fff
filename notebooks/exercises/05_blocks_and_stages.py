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
# # Exercises to 05: blocks and stages
#
# These belong to [notebook 05](../05_blocks_and_stages.ipynb). Write the lines where `...` stands, run the cell, then run the
# check below it. It says what looks wrong, as far as it can tell.

# %%
import numpy as np

from mvit_np import costs, ops, plan
from mvit_np import course as exercises

# %% [markdown]
# ## 05.next_stage (fill in)
#
# From one stage to the next the queries are pooled by $s^Q$ and the width doubles (Sec. 3.2). Each head keeps its width, so the
# number of heads doubles too. Keys and values keep the same resolution in the whole model, so their stride shrinks in the same
# way as the grid:
#
# $$(t, h, w) \mapsto (t, h, w) / s^Q, \quad D \mapsto 2D, \quad \text{heads} \mapsto 2 \, \text{heads}, \quad
# s^{K} \mapsto \max\!\left(\left\lfloor s^{K} / s^Q \right\rfloor, 1\right)$$
#
# on each axis. Return the grid, the width, the heads and the key-value stride: `(thw, dim, heads, stride_kv)`.
#
# *Hint:* an example is MViT-B's first transition, with a grid of $8 \times 56 \times 56$, 96 channels, 1 head,
# $s^Q = (1, 2, 2)$ and $s^K = (1, 8, 8)$.


# %%
def next_stage(thw, dim, heads, stride_q, stride_kv):
    grid = ...  # your line: a tuple of three numbers
    width, more_heads = ..., ...  # your line
    stride = ...  # your line: a tuple of three numbers, each 1 at least
    return grid, width, more_heads, stride


# %%
exercises.check("05.next_stage", next_stage)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("05.next_stage"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 05.mlp_block (fill in)
#
# The second half of a block is
#
# $$x + \mathrm{gelu}\big(\mathrm{norm}(x)\, W_1 + b_1\big) W_2 + b_2, \qquad
# \mathrm{norm}(x) = g \, \frac{x - \mathrm{mean}(x)}{\sqrt{\mathrm{var}(x) + 10^{-6}}} + b$$
#
# with the mean and the variance of each token's channels. `x` is (B, N, D), `g` and `b` are (D,), `w1` is (D, H), `b1` is (H,),
# `w2` is (H, D), and `b2` is (D,). The result is (B, N, D).
#
# *Hint:* `ops.gelu` is given. `x.var(axis=-1, keepdims=True)` divides by $D$, and this is right here.

# %%
x = np.random.default_rng(0).standard_normal((1, 3, 4))
normed = ops.layer_norm(x, np.ones(4), np.zeros(4))
print("a normed token has mean", normed.mean(axis=-1).round(6), "and deviation", normed.std(axis=-1).round(6))


# %%
def mlp_block(x, g, b, w1, b1, w2, b2):
    normed = ...  # your lines
    hidden = ops.gelu(normed @ w1 + b1)
    skip = ...  # your line: what is it that the MLP's result is added to?
    return skip + hidden @ w2 + b2


# %%
exercises.check("05.mlp_block", mlp_block)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("05.mlp_block"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 05.widening_mlp (fill in)
#
# In the last block of a stage the MLP gives twice as many channels as it gets. The skip connection must widen too, by a
# linear layer. In MViT it starts from the *normed* input (Appendix A.1):
#
# $$\mathrm{MLP}(\mathrm{norm}(x)) + \mathrm{norm}(x)\, W_s + b_s$$
#
# `x` is (B, N, D), `w2` is (H, E), `w_skip` is (D, E), and `b2` and `b_skip` are (E,). The result is (B, N, E).
#
# *Hint:* `ops.layer_norm(x, g, b)` and `ops.gelu(h)` are given.


# %%
def widening_mlp(x, g, b, w1, b1, w2, b2, w_skip, b_skip):
    normed = ops.layer_norm(x, g, b)
    skip = ...  # your line: (B, N, E)
    return skip + ops.gelu(normed @ w1 + b1) @ w2 + b2


# %%
exercises.check("05.widening_mlp", widening_mlp)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("05.widening_mlp"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 05.block_macs (fill in)
#
# How many multiply-adds does a whole block with max pooling cost? Attention costs what 03.attention_macs says. Then comes the
# MLP on the $N_q$ tokens that are left; its hidden layer has $4D$ channels and its result has $D'$. Where $D' \ne D$ the skip
# has a linear layer too:
#
# $$3 N D^2 + 2 N_q N_k D + N_q D^2 \;+\; 4 N_q D^2 + 4 N_q D D' \;+\; [D' \ne D] \, N_q D D'$$
#
# *Hint:* one of these terms is the reason why widening in the *last* MLP of a stage is not free. Which?


# %%
def block_macs(tokens_in, tokens_q, tokens_kv, dim, dim_out):
    attention = ...  # your line
    mlp = ...  # your line: two layers
    skip = ...  # your line: 0 where dim_out is dim
    return attention + mlp + skip


# %%
exercises.check("05.block_macs", block_macs)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("05.block_macs"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# With this function you can count the whole of MViT-B: `mv.plan(mv.preset("mvit_b_16x4")).blocks` has the sizes of every block
# (`tokens_in`, `tokens_q`, `tokens_kv`, `dim_attn`, `dim_out`). Compare with `mv.costs`, the package's own count, which
# includes the few multiply-adds of the learned pooling.

# %% [markdown]
# ## 05.block (fill in)
#
# The next three answers put the model together. They call your earlier answers, which come from your file. Where a piece is not
# in the file yet, `exercises.piece` gives a function that does the same.

# %%
attention_layer, pooled_skip = (exercises.piece(name, "my_mvit.py") for name in ("04.attention_layer", "04.pooled_skip"))
cube_embed, add_class_and_positions = (
    exercises.piece(name, "my_mvit.py") for name in ("01.cube_embed", "01.add_class_and_positions")
)

# %% [markdown]
# A block has two halves. Each half norms its input, does its work on the normed input, and adds the result to a skip. In the
# first half the skip is pooled to the same grid as the queries:
#
# $$x \leftarrow \mathcal{P}_{\max}(x) + \mathrm{MHPA}(\mathrm{norm}_1(x))$$
#
# The second half is your `mlp_block`, or your `widening_mlp` where the block's parameters have a `"proj"`.
#
# `params` is a dictionary: `"norm1"` and `"norm2"` hold `"g"` and `"b"`; `"attn"` is what `attention_layer` takes; `"mlp"` has
# two layers, `"fc1"` and `"fc2"`, each with `"w"` and `"b"`; `"proj"`, the widening skip, has `"w"` and `"b"` too. `x` is (B,
# 1 + T H W, D), and the result is (B, 1 + t h w, E).


# %%
def block(params, x, thw, heads, stride_q, stride_kv):
    normed = ...  # your line
    x = ...  # your line: the first half
    norm, fc1, fc2 = params["norm2"], params["mlp"]["fc1"], params["mlp"]["fc2"]
    half = x, norm["g"], norm["b"], fc1["w"], fc1["b"], fc2["w"], fc2["b"]
    return ...  # your lines: the second half


# %%
exercises.check("05.block", block)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("05.block"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 05.head (specification)
#
# How does a model give its answer? The class token has attended to all other tokens in every block, so it is enough.
#
# *Specification.* The class token alone is normed, and one linear layer turns it into a score (a logit) for each of $K$
# classes. `params` has `"norm"` with `"g"` and `"b"`, and `"head"` with `"w"`, (D, K), and `"b"`, (K,). `x` is (B, 1 + n, D),
# and the result is (B, K).


# %%
def head(params, x):
    return ...  # your lines


# %%
exercises.check("05.head", head)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("05.head"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 05.forward (specification)
#
# *Specification.* Write the whole model: cubes, class token and positions, blocks, head. `plan(config)` has every size:
# `embed.stride` and `embed.padding`, and for each of its `blocks` the `thw`, `heads`, `stride_q` and `stride_kv`. `params` is
# what `mv.init(config, rng)` makes: `"patch_embed"` with `"w"` and `"b"`, `"cls_token"`, `"pos_embed_class"`,
# `"pos_embed_spatial"`, `"pos_embed_temporal"`, a list `"blocks"`, and what `head` takes. `clip` is (B, T, H, W, C), and the
# result is (B, K).


# %%
def forward(params, clip, config):
    sizes = plan(config)
    return ...  # your lines


# %%
exercises.check("05.forward", forward)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("05.forward"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 05.stage_shares (investigate)
#
# **Which stage takes most of the multiply-adds?** In a pyramid the early stages have many tokens and few channels, and the late
# stages have few tokens and many channels. For each stage, find its share of the multiply-adds of all blocks.
#
# `config` is an `MViTConfig`. The result has one number per stage, and their sum is 1.
#
# Before you run the check, guess the four shares of MViT-B, `mv.preset("mvit_b_16x4")`, whose stages have 1, 2, 11 and 2
# blocks. What would they be if a block cost the same everywhere?
#
# *Hint:* `costs(config).lines` has one line per part of the model. A line has `macs` and `stage`, which counts from 0 and is
# `None` for the embedding and the head.


# %%
def stage_shares(config):
    macs = ...  # your lines: one number per stage
    return macs / macs.sum()


# %%
exercises.check("05.stage_shares", stage_shares)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("05.stage_shares"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## Your own model so far
#
# Some of these answers are pieces of a whole model, which grows from chapter to chapter in a file of your own. The next cell
# writes those that are right into `my_mvit.py`, beside this notebook.

# %%
exercises.keep("my_mvit.py", mlp_block, widening_mlp, block, head, forward)

# %% [markdown]
# Then your pieces are put together and compared with `mv.forward`, on a small model with random weights. Where a piece is not
# there yet, the printed solution stands in for it.

# %%
exercises.check_model("my_mvit.py")

# %% [markdown]
# When all pieces are yours, train your model. Open a terminal in this folder and run `mvit-np course train my_mvit.py`. It
# trains your model on clips of the films of notebook 08, and then tests it on clips of other shots. The gradients are those of
# your functions.
