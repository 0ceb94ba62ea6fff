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
# # Exercises to 07: why it is cheaper
#
# These belong to [notebook 07](../07_why_cheaper.ipynb). Write the lines where `...` stands, run the cell, then run the check
# below it. A multiply-add counts as one. No model runs here: costs follow from sizes alone.
#
# Each heading says what is asked for. *Fill in*: the formula stands above the cell, and a few lines are missing.
# *Specification*: words and shapes say what the function does, and the formula is yours to find. *Investigate*: an open
# question; you measure something, and the check compares it with what was measured before.

# %%
from dataclasses import replace
from math import prod

import numpy as np

from mvit_np import MViTConfig, costs, plan
from mvit_np import course as exercises

# %% [markdown]
# ## 07.attention_share (fill in)
#
# Which part of a ViT block's multiply-adds are products between tokens? With $N$ tokens of $D$ channels, the projections of
# attention have $4 N D^2$, the two products between tokens $2 N^2 D$, and the MLP $8 N D^2$:
#
# $$\frac{2 N^2 D}{4 N D^2 + 2 N^2 D + 8 N D^2}$$
#
# `tokens` is (n,), several $N$; `dim` is the whole number $D$. The result is (n,).
#
# Before you run the check: from how many tokens on is it more than a half, for $D = 768$?
#
# *Hint:* one $N$ and one $D$ cancel.


# %%
def attention_share(tokens, dim):
    share = ...  # your line
    return share


# %%
exercises.check("07.attention_share", attention_share)

# %% [markdown]
# <details><summary>Solution</summary>
#
# More than a half from $N = 6D$ on: 4,608 tokens for $D = 768$. ViT-B with 8 frames has 1,569.
#
# `print(exercises.solution("07.attention_share"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 07.predict_macs (specification)
#
# **Predict the cost before anything runs.** *Specification.* `config` describes a model. Return all multiply-adds of a
# forward pass of one clip, as one whole number. Counted are the cubes; in each block the linear layers of attention, the
# convolutions that pool (a convolution reads its whole kernel for each number that it makes), the products between tokens,
# the two layers of the MLP, and the widening skip where there is one; and the head. Norms, softmax, additions and max
# pooling are not counted.
#
# Write it for one block on paper first, and say before you run the check how far off you expect to be. The check compares with
# the package's own `costs`.
#
# *Hint:* `plan(config)` has every size. Of the embedding: `embed.thw`, `embed.kernel`, `embed.channels`, `embed.dim`. Of
# each of `blocks`: `tokens_in`, `tokens_q`, `tokens_kv` (class token included), `dim_in`, `dim_attn`, `dim_mlp`, `dim_out`,
# and `pool_q` and `pool_kv`, which are `None` or have `kind`, `kernel` and `thw_out`. Of the head: `head.dim` and
# `head.num_classes`.


# %%
def predict_macs(config):
    sizes = plan(config)
    return ...  # your lines


# %%
exercises.check("07.predict_macs", predict_macs)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("07.predict_macs"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 07.growth (investigate)
#
# A clip with twice the frames has twice the tokens. **Does it cost twice as much, four times as much, or something between?**
# If the cost is $c \, F^e$ for $F$ frames, then between two lengths
#
# $$e = \frac{\log(\mathrm{cost}_2) - \log(\mathrm{cost}_1)}{\log(F_2) - \log(F_1)}$$
#
# `config` is a model, `frames` are several lengths, each longer than the one before. Return the exponent from each length to
# the next, one less than there are lengths.
#
# Before you run it for `mv.preset("vit_b_8f")` and `mv.preset("mvit_b_16x4")`: which of the two grows faster, and where?
#
# *Hint:* `replace(config, frames=n)` is the same model for clips of n frames, and `costs(config).macs` is what it costs.


# %%
def growth(config, frames):
    macs = ...  # your line: one cost per length
    return ...  # your line


# %%
exercises.check("07.growth", growth)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("07.growth"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 07.design_pyramid (investigate)
#
# **Design a pyramid under a budget.** The clips are given, `frames` of `size` x `size` pixels. Return an `MViTConfig` of your
# own, for which
#
# - one clip takes at most `macs` multiply-adds;
# - the grid of the first stage has at least `tokens` tokens, so that small things are seen;
# - the result of the last block has at least `channels` channels;
# - there are at least `blocks` blocks;
# - there are three stages or more, and from each to the next the tokens fall and the channels grow.
#
# All else is yours: cubes, depths, strides, heads. There is no single right answer. The check tries your function with several
# tasks, and names the first rule that a design breaks.
#
# *Hint:* begin with `MViTConfig(frames=frames, size=size, dim=..., depths=(1, 1, ...))`. The channels double from stage to
# stage. `stride_kv` says how far keys and values are pooled; `costs(config).macs` says what a choice costs.


# %%
def design_pyramid(frames, size, macs, tokens, channels, blocks):
    config = ...  # your lines
    return config


# %%
exercises.check("07.design_pyramid", design_pyramid)

# %% [markdown]
# Then go on: by how much can you come below the budget? What do you give up? Notebook 08 tells how to find out whether a
# cheaper design also learns less.

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("07.design_pyramid"))` in a new cell shows one way to write it.
#
# </details>
