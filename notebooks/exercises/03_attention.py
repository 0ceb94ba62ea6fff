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
# # Exercises to 03: attention
#
# These belong to [notebook 03](../03_attention.ipynb). Write the lines where `...` stands, run the cell, then run the check
# below it. It says what looks wrong, as far as it can tell.

# %%
import numpy as np

from mvit_np import course as exercises

# %% [markdown]
# ## 03.softmax
#
# $$p_i = \frac{e^{x_i}}{\sum_j e^{x_j}} = \frac{e^{x_i - m}}{\sum_j e^{x_j - m}}$$
#
# over the last axis, for any number $m$. The second form is of use where $e^{x}$ would overflow: in float32 from $x = 89$ on.
# `x` is (..., N), and so is the result.
#
# *Hint:* $m$ is a number for each row. `keepdims=True` keeps the axis that a maximum or a sum runs over, so that the result
# still fits the rows.


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
# ## 03.attention
#
# $$Z = \mathrm{softmax}\!\left(\frac{Q K^\top}{\sqrt d}\right) V$$
#
# for one head (Sec. 3.1). `q` is (B, Nq, d), `k` (B, Nk, d), `v` (B, Nk, e); the result is (B, Nq, e). You may use your
# `softmax`.
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
# ## 03.attention_macs
#
# How many multiply-adds does pooling attention cost, with max pooling, all heads together? $N$ tokens of $D$ channels are
# projected to queries, keys and values. Pooling leaves $N_q$ queries and $N_k$ keys and values. The result is projected once
# more:
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
# ## 03.softmax_backward
#
# A first gradient; [notebook 06](../06_gradients.ipynb) derives more. Let $p = \mathrm{softmax}(x)$, and let $dp$ be the
# derivative of the loss by $p$. Since $\partial p_j / \partial x_i = p_j (\delta_{ij} - p_i)$,
#
# $$dx_i = \sum_j dp_j \, \frac{\partial p_j}{\partial x_i} = p_i \Big( dp_i - \sum_j p_j \, dp_j \Big)$$
#
# `p` and `dp` are (..., N), and so is the result: no (N, N) array is needed.
#
# *Hint:* the sum is a number for each row, the mean of $dp$ weighted by $p$.


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
