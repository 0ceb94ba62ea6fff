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
# # Exercises to 10: from v1 to v2
#
# These belong to [notebook 10](../10_v1_to_v2.ipynb). Write the lines where `...` stands, run the cell, then run the check
# below it. The checks compare with the package's own relative positions, attention and account of costs.

# %%
from dataclasses import replace

import numpy as np

import mvit_np as mv
from mvit_np import course as exercises
from mvit_np import ops

# %% [markdown]
# ## 10.relative_rows (fill in)
#
# On one axis there are $n_q$ query places and $n_k$ key places. A table has one row per distance, and distances are counted in
# cells of the finer grid:
#
# $$\mathrm{row}(i, j) = i \max\!\left(\frac{n_k}{n_q}, 1\right) - j \max\!\left(\frac{n_q}{n_k}, 1\right)
#   + (n_k - 1) \max\!\left(\frac{n_q}{n_k}, 1\right)$$
#
# One of `n_q` and `n_k` is a multiple of the other. The result is (n_q, n_k), and it has whole numbers.
#
# *Hint:* divide with `//`. A column minus a row is a matrix.


# %%
def relative_rows(n_q, n_k):
    step_q, step_k = max(n_k // n_q, 1), ...  # your part
    i, j = ..., ...  # your parts: the query places as a column, the key places as a row
    return ...  # your line


# %%
exercises.check("10.relative_rows", relative_rows)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("10.relative_rows"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 10.relative_scores (specification)
#
# *Specification.* One head has queries `q`, (Nq, d), on a grid `thw_q`, and keys `k`, (Nk, d), on a grid `thw_k`; there is no
# class token. The score of a query and a key is a sum. The first term is their product, divided by $\sqrt d$. Then there are
# three more products, of the query with one row of a table each: the row for the distance of query and key in time, in height
# and in width. These three are *not* divided by $\sqrt d$, as in all released code. The tables are `r_t`, `r_h` and `r_w`, with
# $2 \max(n_q, n_k) - 1$ rows of $d$ numbers each, and rows are counted as in the exercise above. The result is (Nq, Nk), before
# softmax.
#
# *Hint:* `np.indices(thw).reshape(3, -1)` gives the time, row and column of each token. For one axis `table[rows]` is
# (Nq, Nk, d).


# %%
def relative_scores(q, k, r_t, r_h, r_w, thw_q, thw_k):
    return ...  # your lines


# %%
exercises.check("10.relative_scores", relative_scores)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("10.relative_scores"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 10.residual_pooling (specification)
#
# *Specification.* Queries `q`, (B, heads, 1 + Nq, d), keys `k` and values `v`, (B, heads, 1 + Nk, d), are pooled already. The
# class token is the first token of each. Every query attends to all keys, the class token's included, and the scores are
# divided by $\sqrt d$. Add each query to its own row of attended values. Add nothing to the class token's row. The result is
# (B, heads, 1 + Nq, d).
#
# *Hint:* `ops.softmax` is given, and acts on the last axis.


# %%
def residual_pooling(q, k, v):
    return ...  # your lines


# %%
exercises.check("10.residual_pooling", residual_pooling)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("10.residual_pooling"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 10.widening_saves (investigate)
#
# **The question.** How many multiply-adds, and how many parameters, does MViTv2 save at a transition between two stages because
# it widens the channels later? Predict both numbers with pencil and paper, and then let the check compare.
#
# Two blocks take part. The last block of the old stage has `tokens` tokens (the class token included) of `dim` channels, $D$.
# The first block of the new stage projects all of them to queries, keys and values, and then pools the queries. After the
# transition there are $2D$ channels. Version 1 widens in the old block, by the second linear layer of its MLP. Version 2 widens
# in the new block, by the projections to queries, keys and values. The hidden layer of an MLP is 4 times as wide as what comes
# in. Where the channels widen, the skip connection is a linear layer too. Linear layers have a bias, and a norm has two
# parameters per channel.
#
# Return two whole numbers, the multiply-adds and the parameters of version 1 less those of version 2.
#
# *Hint:* write down the sizes of all linear layers of both blocks, for both versions, and of the two norms of each block. Most
# are the same.


# %%
def widening_saves(tokens, dim):
    multiply_adds = ...  # your lines
    parameters = ...  # your lines
    return multiply_adds, parameters


# %%
exercises.check("10.widening_saves", widening_saves)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("10.widening_saves"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# **Then go on.** `mv.costs` counts a whole model from its config. The cell below counts the model before and after all four
# changes. Which single change costs most parameters, and which costs most multiply-adds? Does the order in which you make the
# changes matter? Write down what you expect before you run anything. Predict three numbers: how much the three transitions of
# `mvit_b_16x4` save together, by your `widening_saves`; how many parameters relative positions cost; how many multiply-adds a
# query pool in every block costs.

# %%
v1, v2 = mv.preset("mvit_b_16x4"), mv.preset("mvitv2_s_16x4")
for name, config in (("before", v1), ("after ", v2), ("v1 that widens later", replace(v1, expand_in="attention"))):
    costs = mv.costs(config)
    print(f"{name}: {costs.params:,} parameters, {costs.macs:,} multiply-adds")

# %% [markdown]
# <details><summary>What we found</summary>
#
# Each of the three transitions saves $10 N D^2$ multiply-adds, which is 2.31 G, so together they save 6.94 G: $N$ falls to a
# quarter where $D$ doubles, so every transition saves about the same. They save 1,937,376 parameters. Relative positions cost
# 0.29 G multiply-adds, and *save* 171,744 parameters: the tables are smaller than the absolute positions that they replace. A
# query pool in every block costs 0.27 G and 36,192 parameters, and residual pooling costs nothing that is counted. The order
# does not matter: each change costs the same as the first one and as the last one. So three changes cost 0.56 G together, and
# the fourth saves twelve times as much.
#
# </details>
