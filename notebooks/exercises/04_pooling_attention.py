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
# # Exercises to 04: pooling attention
#
# These belong to [notebook 04](../04_pooling_attention.ipynb). Write the lines where `...` stands, run the cell, then run the
# check below it. It says what looks wrong, as far as it can tell.

# %%
import numpy as np

from mvit_np import course as exercises
from mvit_np import ops

# %% [markdown]
# ## 04.split_heads
#
# The $D$ channels are cut into $h$ heads of $d = D / h$ channels: head 0 gets the first $d$ of every token, head 1 the next
# $d$, and so on. Then `@` is to work on tokens and channels, so the axis of heads comes before them:
#
# $$\hat Q_{b, i, n, c} = X_{b, n, \, i d + c}$$
#
# `x` is (B, N, D), the result (B, h, N, d).
#
# *Hint:* `reshape` alone gives an array of the right shape, and the wrong numbers. Cut first, then swap two axes.


# %%
def split_heads(x, heads):
    batch, tokens, dim = x.shape
    split = ...  # your lines: (B, h, N, d), by way of (B, N, h, d)
    return split


# %%
exercises.check("04.split_heads", split_heads)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("04.split_heads"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 04.pooling_attention
#
# $$Q = \mathcal{P}_Q(\hat Q), \quad K = \mathcal{P}_K(\hat K), \quad V = \mathcal{P}_K(\hat V), \qquad
# Z = \mathrm{softmax}\!\left(\frac{Q K^\top}{\sqrt d}\right) V$$
#
# in each head (Sec. 3.1, Fig. 3). `q_hat`, `k_hat`, `v_hat` are (B, N, h, d), with $d$ the width of one head. `pool_q` and
# `pool_kv` are functions from (B, N, h, d) to fewer tokens, which know of the class token. The result is (B, Nq, h, d).
#
# *Hint:* `ops.softmax` is given. `x.swapaxes(1, 2)` brings the heads before the tokens, and back.


# %%
def pooling_attention(q_hat, k_hat, v_hat, pool_q, pool_kv):
    q, k, v = ..., ..., ...  # your line: pooled
    q, k, v = (x.swapaxes(1, 2) for x in (q, k, v))  # (B, h, tokens, d)
    scores = ...  # your line: (B, h, Nq, Nk)
    z = ops.softmax(scores) @ v
    return z.swapaxes(1, 2)


# %%
exercises.check("04.pooling_attention", pooling_attention)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("04.pooling_attention"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 04.pooled_skip
#
# Where a block pools its queries, its result has fewer tokens than its input, and the two can not be added. So the skip
# connection is pooled too, by the maximum of overlapping windows:
#
# $$x \mapsto \mathcal{P}_{\max}(x;\, k, s, p), \qquad k = s + 1,\; p = \lfloor s / 2 \rfloor \text{ where } s > 1, \qquad
# k = 1,\; p = 0 \text{ where } s = 1$$
#
# `x` is (B, 1 + T H W, D) with the class token first, `thw` is (T, H, W), `stride` three numbers. The result is (B, 1 + t h
# w, D).
#
# *Hint:* `ops.max_pool(grid, kernel, stride, padding)` pools (B, T, H, W, D). The class token goes around.


# %%
def pooled_skip(x, thw, stride):
    kernel = ...  # your line: three numbers
    padding = ...  # your line: three numbers
    first, rest = x[:, :1], x[:, 1:]
    grid = ops.max_pool(rest.reshape(x.shape[0], *thw, x.shape[-1]), kernel, stride, padding)
    return np.concatenate([first, grid.reshape(x.shape[0], -1, x.shape[-1])], axis=1)


# %%
exercises.check("04.pooled_skip", pooled_skip)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("04.pooled_skip"))` in a new cell shows one way to write it.
#
# </details>
