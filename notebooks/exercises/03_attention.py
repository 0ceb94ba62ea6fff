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
# # Exercises to 03 and 03b: attention, and the rest of a block
#
# The first four belong to [notebook 03](../03_attention.ipynb), the last two to [notebook
# 03b](../03b_transformer_block.ipynb). Write the lines where `...` stands, run the cell, then run the check below it. It
# says what looks wrong, as far as it can tell.

# %%
import numpy as np

from mvit_np import course as exercises

# %% [markdown]
# ## 03.softmax (fill in)
#
# $$p_i = \frac{e^{x_i}}{\sum_j e^{x_j}} = \frac{e^{x_i - m}}{\sum_j e^{x_j - m}}$$
#
# over the last axis, for any number $m$. The second form helps where $e^{x}$ would overflow; in float32 this happens from
# $x = 89$ on. `x` is (..., N), and so is the result.
#
# *Hint:* use one number $m$ per row. `keepdims=True` keeps the axis that a maximum or a sum runs over, so that the result still
# fits the rows.


# %%
def softmax(x):
    shifted = ...  # your line: no number in it is larger than 0
    e = np.exp(shifted)
    total = ...  # your line: of each row of e
    return e / total


# %%
exercises.check("03.softmax", softmax)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("03.softmax"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 03.attention (fill in)
#
# $$Z = \mathrm{softmax}\!\left(\frac{Q K^\top}{\sqrt d}\right) V$$
#
# for one head (Sec. 3.1). `q` is (B, Nq, d), `k` is (B, Nk, d), `v` is (B, Nk, e), and the result is (B, Nq, e). You may use
# your `softmax`.
#
# *Hint:* `@` multiplies the last two axes, and `swapaxes(-1, -2)` transposes them. `d**0.5` leaves float32 arrays float32;
# `np.sqrt(d)` of a whole number does not.


# %%
def attention(q, k, v):
    scores = ...  # your line: (B, Nq, Nk)
    weights = softmax(scores)
    return weights @ v


# %%
exercises.check("03.attention", attention)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("03.attention"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 03.attention_macs (fill in)
#
# How many multiply-adds does pooling attention cost with max pooling, for all heads together? $N$ tokens of $D$ channels are
# projected to queries, keys and values. After pooling there are $N_q$ queries and $N_k$ keys and values. The result is
# projected once more. The sum is
#
# $$3 N D^2 + \underbrace{N_q N_k D}_{Q K^\top} + \underbrace{N_q N_k D}_{P V} + N_q D^2$$
#
# Return one whole number. A multiply-add counts as one; softmax and pooling are not counted.
#
# *Hint:* the product of an (a, b) by a (b, c) matrix has $abc$ multiply-adds. Why does the number of heads not matter?


# %%
def attention_macs(tokens_in, tokens_q, tokens_kv, dim):
    projections = ...  # your line: queries, keys and values
    products = ...  # your line: Q K' and P V
    out = ...  # your line: the output projection
    return projections + products + out


# %%
exercises.check("03.attention_macs", attention_macs)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("03.attention_macs"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 03.softmax_backward (fill in)
#
# This is a first gradient; [notebook 06](../06_gradients.ipynb) derives more. (An exercise of notebook 06 has the same function
# name. It takes `x` and a scale instead of `p`, and it alone is a piece of your own model.) Let $p = \mathrm{softmax}(x)$, and
# let $dp$ be the derivative of the loss by $p$. Since $\partial p_j / \partial x_i = p_j (\delta_{ij} - p_i)$,
#
# $$dx_i = \sum_j dp_j \, \frac{\partial p_j}{\partial x_i} = p_i \Big( dp_i - \sum_j p_j \, dp_j \Big)$$
#
# `p` and `dp` are (..., N), and so is the result: no (N, N) array is needed.
#
# *Hint:* the sum is one number per row: the mean of $dp$, weighted by $p$.


# %%
def softmax_backward(p, dp):
    mean = ...  # your line: for each row
    dx = p * (dp - mean)
    return dx


# %%
exercises.check("03.softmax_backward", softmax_backward)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("03.softmax_backward"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 03.mlp (specification)
#
# From here on the exercises give no formula: you find it yourself. [Notebook 03b](../03b_transformer_block.ipynb) explains the
# parts.
#
# *Specification.* The MLP of a block gets tokens `x`, (B, N, D). A first linear layer, with the matrix `w1`, (D, H), and the
# bias `b1`, (H,), turns each token into H hidden units. GELU acts on every hidden unit alone. A second linear layer, `w2`, (H,
# E), and `b2`, (E,), turns these into the E channels of the result, (B, N, E). Norm and skip belong to the block, and not to
# the MLP.
#
# Answer before you run the check: how many multiply-adds does one token cost, for $D = E$ and $H = 4D$?
#
# *Hint:* `ops.gelu` is given. Two lines are enough.


# %%
def mlp(x, w1, b1, w2, b2):
    return ...  # your lines


# %%
exercises.check("03.mlp", mlp)

# %% [markdown]
# <details><summary>Solution</summary>
#
# One token costs $8 D^2$ multiply-adds, $D \cdot 4D$ for each of the two layers.
#
# `print(exercises.solution("03.mlp"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 03.class_probabilities (specification)
#
# *Specification.* The last block gives the tokens `x`, (B, N, D), of B clips. The first token of each clip is its class token.
# It is normed over its channels (with the gain `g` and the shift `b`, both (D,)). A linear layer with the matrix `w`, (D, K),
# and `shift`, (K,), turns it into one score per class. The result, (B, K), is the probability of each class: the softmax of the
# scores, for each clip alone. It must be right for scores of several thousand, too.
#
# *Hint:* `ops.layer_norm(x, g, b)` is given. How does softmax change if you subtract the same number from all scores of a clip?


# %%
def class_probabilities(x, g, b, w, shift):
    scores = ...  # your line: (B, K)
    e = np.exp(scores)  # change this line: the scores may be large
    return e / ...  # your line


# %%
exercises.check("03.class_probabilities", class_probabilities)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("03.class_probabilities"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 03.order_of_tokens (investigate)
#
# **Does attention know the order of its tokens?** Take one attention without any positions, and put tokens in another order.
# Measure three changes. Each is the largest change of any number in the result:
#
# 1. keys and values are both put in the new order;
# 2. only the keys are put in the new order;
# 3. only the queries are put in the new order, and the result is compared with the old result *in the new order*.
#
# `q`, `k` and `v` are (B, N, d), and `order` has N numbers: `x[:, order]` is `x` with its tokens in the new order. Return the
# three numbers as an array, (3,).
#
# Guess before you run the check: which of the three are 0?
#
# *Hint:* your `attention` is called four times.


# %%
def order_of_tokens(q, k, v, order):
    before = attention(q, k, v)
    return ...  # your lines: np.array of three numbers


# %%
exercises.check("03.order_of_tokens", order_of_tokens)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("03.order_of_tokens"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## Your own model so far
#
# Some of these answers are pieces of a whole model, which grows from chapter to chapter in a file of your own. The next cell
# writes those that are right into `my_mvit.py`, beside this notebook.

# %%
exercises.keep("my_mvit.py", softmax, attention)

# %% [markdown]
# Then your pieces are put together and compared with `mv.forward`, on a small model with random weights. Where a piece is not
# there yet, the printed solution stands in for it.

# %%
exercises.check_model("my_mvit.py")
