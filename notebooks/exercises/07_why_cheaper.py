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
# below it. A multiply-add counts as one. No model runs here, because the costs follow from the sizes alone.
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
# Which share of a ViT block's multiply-adds do the products between tokens take? With $N$ tokens of $D$ channels, the
# projections of attention take $4 N D^2$, the two products between tokens take $2 N^2 D$, and the MLP takes $8 N D^2$. So the
# share is
#
# $$\frac{2 N^2 D}{4 N D^2 + 2 N^2 D + 8 N D^2}$$
#
# `tokens` is (n,), with several values of $N$; `dim` is the whole number $D$. The result is (n,).
#
# Answer before you run the check: from how many tokens on is the share more than a half, for $D = 768$?
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
# The share is more than a half from $N = 6D$ on, which is 4,608 tokens for $D = 768$. ViT-B with 8 frames has 1,569 tokens.
#
# `print(exercises.solution("07.attention_share"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 07.predict_macs (specification)
#
# **Predict the cost before anything runs.** *Specification.* `config` describes a model. Return the number of all multiply-adds
# of a forward pass of one clip, as one whole number. Count the cubes. In each block count the linear layers of attention, the
# convolutions that pool (a convolution reads its whole kernel for each number that it makes), the products between tokens, the
# two layers of the MLP, and the widening skip where there is one. Then count the head. Do not count norms, softmax, additions
# and max pooling.
#
# First write down the count of one block on paper, and before you run the check say how far off you expect to be. The check
# compares with the package's own `costs`.
#
# *Hint:* `plan(config)` has every size. The embedding has `embed.thw`, `embed.kernel`, `embed.channels` and `embed.dim`. Each
# of the `blocks` has `tokens_in`, `tokens_q`, `tokens_kv` (class token included), `dim_in`, `dim_attn`, `dim_mlp`, `dim_out`,
# and `pool_q` and `pool_kv`, which are `None` or have `kind`, `kernel` and `thw_out`. The head has `head.dim` and
# `head.num_classes`. `prod` multiplies the numbers of a tuple.


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
# `config` is a model, and `frames` has several lengths, each longer than the one before. Return the exponent from each length
# to the next. There is one exponent less than there are lengths.
#
# Before you run it for `mv.preset("vit_b_8f")` and `mv.preset("mvit_b_16x4")`, answer: which of the two grows faster, and at
# which lengths?
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
# **Design a pyramid under a budget.** The clips are given: they have `frames` frames of `size` x `size` pixels. Return your own
# `MViTConfig`, for which
#
# - one clip takes at most `macs` multiply-adds;
# - the grid of the first stage has at least `tokens` tokens, so that small things are seen;
# - the result of the last block has at least `channels` channels;
# - there are at least `blocks` blocks;
# - there are three stages or more, and from each stage to the next the number of tokens falls and the number of channels grows.
#
# You choose everything else: cubes, depths, strides, heads. There is no single right answer. The check tries your function with
# several tasks, and names the first rule that a design breaks.
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
# Then go on. How far below the budget can you come? What do you lose? Notebook 08 shows how to find out whether a cheaper
# design also learns less.

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("07.design_pyramid"))` in a new cell shows one way to write it.
#
# </details>
