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
# # Exercises to 02: pooling
#
# These belong to [notebook 02](../02_pooling.ipynb). Write the lines where `...` stands, run the cell, then run the check
# below it. It says what looks wrong, as far as it can tell.

# %%
import numpy as np

from mvit_np import course as exercises

# %% [markdown]
# ## 02.pool_length (fill in)
#
# A pool with an odd kernel $k$ and stride $s$ runs over $n$ tokens on one axis. How many tokens does it give? As in MViT,
# $p = \lfloor k/2 \rfloor$ cells are added at each end:
#
# $$\tilde n = \left\lfloor \frac{n + 2 \lfloor k/2 \rfloor - k}{s} \right\rfloor + 1$$
#
# *Hint:* with kernel 3 and stride 2, 56 tokens become 28. What becomes of 7 tokens? Answer before you run the check.


# %%
def pool_length(n, kernel, stride):
    length = ...  # your line
    return length


# %%
exercises.check("02.pool_length", pool_length)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("02.pool_length"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 02.max_pool (fill in)
#
# Max pooling takes the largest number in each window, for each channel alone:
#
# $$y_{thw} = \max_{i,j,l} \; x_{\,s_T t + i - p_T,\; s_H h + j - p_H,\; s_W w + l - p_W}$$
#
# where only cells of the grid count, and not the padding. `x` is (B, T, H, W, D), and the result is (B, t, h, w, D).
#
# *Hint:* which number must the padding have, so that it is never the largest? `np.pad` takes `constant_values`.


# %%
def max_pool(x, kernel, stride, padding):
    wide = ...  # your line: x with padding cells on both sides of time, height and width
    t, h, w = ((x.shape[1 + a] + 2 * padding[a] - kernel[a]) // stride[a] + 1 for a in range(3))
    y = []
    for i, j, k in np.ndindex(t, h, w):
        window = wide[:, stride[0] * i :, stride[1] * j :, stride[2] * k :][:, : kernel[0], : kernel[1], : kernel[2]]
        axes = ...  # your line: the axes of window, (B, kt, kh, kw, D), that the maximum runs over
        y.append(window.max(axis=axes))
    return np.stack(y, axis=1).reshape(x.shape[0], t, h, w, -1)


# %%
exercises.check("02.max_pool", max_pool)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("02.max_pool"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 02.depthwise_conv (fill in)
#
# The pooling of "conv" models is learned. It has one small filter per channel, and all heads share the filters.
#
# $$y_{o} = \sum_i W_i \, x_{\,s o + i - p}$$
#
# for each channel alone, where $i$ runs over the filter's entries in time, height and width. `x` is (B, T, H, W, heads, d),
# `weight` is (kt, kh, kw, d), and the result is (B, t, h, w, heads, d). Outside the grid `x` is zero.
#
# *Hint:* the window starts at `stride[0] * i` in time, and so on. `weight[:, :, :, None]` has an axis for the heads, and
# NumPy repeats it for each.


# %%
def depthwise_conv(x, weight, stride, padding):
    wide = np.pad(x, [(0, 0), *((p, p) for p in padding), (0, 0), (0, 0)])
    t, h, w = ((wide.shape[1 + a] - weight.shape[a]) // stride[a] + 1 for a in range(3))
    y = []
    for i, j, k in np.ndindex(t, h, w):
        result = ...  # your lines: (B, heads, d), from the window of wide at index (i, j, k), and weight
        y.append(result)
    return np.stack(y, axis=1).reshape(x.shape[0], t, h, w, *x.shape[4:])


# %%
exercises.check("02.depthwise_conv", depthwise_conv)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("02.depthwise_conv"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 02.pool_tokens (specification)
#
# A pool works on a grid; attention works on a list, with the class token in front. The class token is not in the grid, so it is
# not pooled, and it stays in front.
#
# *Specification.* `x` is (B, 1 + T H W, D), `thw` is (T, H, W), and `pool` is a function from (B, T, H, W, D) to (B, t, h,
# w, D). The result is (B, 1 + t h w, D).
#
# *Hint:* `x[:, :1]` keeps the axis of tokens, and `x[:, 0]` drops it.


# %%
def pool_tokens(x, thw, pool):
    return ...  # your lines


# %%
exercises.check("02.pool_tokens", pool_tokens)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("02.pool_tokens"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 02.cells_seen (investigate)
#
# Pools follow each other: in MViT-B the stages 2, 3 and 4 each begin with one. **How many cells does a token see after several
# pools?** We look at one axis. `kernels` and `strides` have one number per pool, the first pool first. Take the first and the
# last cell of the *input* that have an influence on one output. Count the cells from the one to the other, both included.
#
# Guess before you run the check: do two pools of kernel 3 and stride 2 see 5, 6, 7 or 9 cells?
#
# Return one whole number.
#
# *Hint:* you can find the number by trial: change one cell of a long row at a time, and look which results change. Or go back
# from one output: which cells does it read, and which cells do those read?


# %%
def cells_seen(kernels, strides):
    return ...  # your lines


# %%
exercises.check("02.cells_seen", cells_seen)

# %% [markdown]
# <details><summary>Solution</summary>
#
# Two pools of kernel 3 and stride 2 see 7 cells: the second pool reads three results, whose windows of 3 cells begin 2 cells
# apart.
#
# `print(exercises.solution("02.cells_seen"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## Your own model so far
#
# Some of these answers are pieces of a whole model, which grows from chapter to chapter in a file of your own. The next cell
# writes those that are right into `my_mvit.py`, beside this notebook.

# %%
exercises.keep("my_mvit.py", depthwise_conv, pool_tokens)

# %% [markdown]
# Then your pieces are put together and compared with `mv.forward`, on a small model with random weights. Where a piece is not
# there yet, the printed solution stands in for it.

# %%
exercises.check_model("my_mvit.py")
