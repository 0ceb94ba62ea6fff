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
# ## 04.split_heads (fill in)
#
# The $D$ channels are cut into $h$ heads of $d = D / h$ channels: head 0 gets the first $d$ of every token, head 1 the next
# $d$, and so on. Later `@` must multiply tokens and channels, so the axis of heads comes before these two:
#
# $$\hat Q_{b, i, n, c} = X_{b, n, \, i d + c}$$
#
# `x` is (B, N, D), and the result is (B, h, N, d).
#
# *Hint:* `reshape` alone gives an array of the right shape with the numbers in wrong places. Cut first, then swap two axes.


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
# ## 04.pooling_attention (fill in)
#
# $$Q = \mathcal{P}_Q(\hat Q), \quad K = \mathcal{P}_K(\hat K), \quad V = \mathcal{P}_K(\hat V), \qquad
# Z = \mathrm{softmax}\!\left(\frac{Q K^\top}{\sqrt d}\right) V$$
#
# in each head (Sec. 3.1, Fig. 3). `q_hat`, `k_hat`, `v_hat` are (B, N, h, d), with $d$ the width of one head. `pool_q` and
# `pool_kv` are functions that take (B, N, h, d) and return fewer tokens. They leave the class token as it is. The result is (B,
# Nq, h, d).
#
# *Hint:* `ops.softmax` is given. `x.swapaxes(1, 2)` moves the axis of heads before the axis of tokens, and back.


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
# ## 04.pooled_skip (fill in)
#
# Where a block pools its queries, its result has fewer tokens than its input, and the two cannot be added. So the skip
# connection is pooled too, by the maximum of overlapping windows:
#
# $$x \mapsto \mathcal{P}_{\max}(x;\, k, s, p), \qquad k = s + 1,\; p = \lfloor s / 2 \rfloor \text{ where } s > 1, \qquad
# k = 1,\; p = 0 \text{ where } s = 1$$
#
# `x` is (B, 1 + T H W, D) with the class token first, `thw` is (T, H, W), and `stride` has three numbers. The result is (B, 1 +
# t h w, D).
#
# *Hint:* `ops.max_pool(grid, kernel, stride, padding)` pools (B, T, H, W, D). The class token is not pooled.


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

# %% [markdown]
# ## 04.pool_heads (fill in)
#
# Two more answers put these parts together to a layer, with weights as a model keeps them. They call earlier answers of yours,
# which come from your file. Where an answer is not in the file yet, `exercises.piece` gives a function that does the same.

# %%
pool_tokens, depthwise_conv, attention = (
    exercises.piece(name, "my_mvit.py") for name in ("02.pool_tokens", "02.depthwise_conv", "03.attention")
)

# %% [markdown]
# In a model with learned pooling, each of $\hat Q$, $\hat K$ and $\hat V$ is pooled by a convolution whose filter all heads
# share. A norm of each head's $d$ channels follows:
#
# $$Q = \mathrm{norm}(\mathcal{P}(\hat Q;\, W, s))$$
#
# `x` is (B, 1 + T H W, D) with the class token first, `weight` (kt, kh, kw, d), `g` and `b` are (d,). The result has an axis
# of heads: (B, h, 1 + t h w, d). The padding is half of the kernel, rounded down.
#
# *Hint:* your `pool_tokens` takes a function from grid to grid. The class token is not pooled, but it is normed by
# `ops.layer_norm(x, g, b)` like all other tokens.


# %%
def pool_heads(x, thw, heads, weight, g, b, stride):
    padding = ...  # your line: three numbers

    def pool(grid):  # (B, T, H, W, D) -> (B, t, h, w, D)
        cut = grid.reshape(*grid.shape[:4], heads, -1)
        pooled = ...  # your line
        return pooled.reshape(*pooled.shape[:4], -1)

    normed = ...  # your lines: pooled, cut into heads, normed
    return normed


# %%
exercises.check("04.pool_heads", pool_heads)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("04.pool_heads"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 04.attention_layer (specification)
#
# Now the whole layer, from tokens to tokens.
#
# *Specification.* One linear layer, `"qkv"`, turns `x`, (B, 1 + T H W, D), into queries, keys and values at once: they are the
# three thirds of its result. If one of them has a pool in `params`, it is pooled; if not, it is only cut into heads. Each head
# attends alone. The results of the heads are put side by side again, and a last linear layer, `"proj"`, mixes them.
#
# `params` is a dictionary: `params["qkv"]` and `params["proj"]` hold `"w"` and `"b"`. Where queries are pooled there are
# `params["pool_q"]` with `"w"`, and `params["norm_q"]` with `"g"` and `"b"`; likewise for keys (`"pool_k"`) and values
# (`"pool_v"`). The result is (B, 1 + t h w, D).
#
# *Hint:* `np.split(y, 3, axis=-1)` cuts into thirds. Head `i` of (B, h, n, d) is `q[:, i]`, and `np.stack` joins the heads.


# %%
def attention_layer(params, x, thw, heads, stride_q, stride_kv):
    return ...  # your lines


# %%
exercises.check("04.attention_layer", attention_layer)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("04.attention_layer"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 04.pooling_error (investigate)
#
# Fewer keys make attention cheaper. **What is lost?** Here the keys and values form one row. For each stride $s$, average
# groups of $s$ neighbours, and compare attention over the averages with attention over all keys. The error is the root of the
# mean square of the change, divided by the root of the mean square of the full result.
#
# `q` is (B, Nq, d), `k` and `v` are (B, N, d), and `strides` has several whole numbers that divide N. The result has one number
# per stride.
#
# Answer before you run the check: is the error larger where neighbours are alike, or where they are noise? What does this say
# about films?
#
# *Hint:* `x.reshape(B, -1, s, d)` has an axis for the neighbours of a group. Your `attention` does the rest.


# %%
def pooling_error(q, k, v, strides):
    full = attention(q, k, v)
    return ...  # your lines: an array with one number per stride


# %%
exercises.check("04.pooling_error", pooling_error)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("04.pooling_error"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## Your own model so far
#
# Some of these answers are pieces of a whole model, which grows from chapter to chapter in a file of your own. The next cell
# writes those that are right into `my_mvit.py`, beside this notebook.

# %%
exercises.keep("my_mvit.py", split_heads, pool_heads, attention_layer, pooled_skip)

# %% [markdown]
# Then your pieces are put together and compared with `mv.forward`, on a small model with random weights. Where a piece is not
# there yet, the printed solution stands in for it.

# %%
exercises.check_model("my_mvit.py")
