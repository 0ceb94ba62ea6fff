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
# # Exercises to 06: gradients
#
# These belong to [notebook 06](../06_gradients.ipynb). Here $dy$ is the derivative of the loss by a result $y$; wanted are
# those by what $y$ was made of. Write the lines where `...` stands, run the cell, then run the check below it. The checks
# compare with the package's backwards, which are themselves compared with finite differences, as in the exercise
# `06.finite_difference`.

# %%
import numpy as np

from mvit_np import course as exercises
from mvit_np import ops

# %% [markdown]
# ## 06.linear_backward (fill in)
#
# For $Y = X W + b$, with the leading axes flattened to rows,
#
# $$dX = dY \, W^\top, \qquad dW = X^\top dY, \qquad db = \sum_{\text{rows}} dY$$
#
# `x` is (..., I), `w` (I, O), `dy` (..., O). Return `dx` (..., I), `dw` (I, O) and `db` (O,).
#
# *Hint:* each gradient has the shape of what it belongs to. $W$ and $b$ serve every row, so their gradients are sums over
# rows.


# %%
def linear_backward(x, w, dy):
    dx = ...  # your line
    dw = ...  # your line, from x and dy as rows
    db = ...  # your line, from dy as rows
    return dx, dw, db


# %%
exercises.check("06.linear_backward", linear_backward)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("06.linear_backward"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 06.softmax_backward (fill in)
#
# Attention takes the softmax of *scaled* scores. Its fast version does not keep it: it is the
# largest array of the model, and made again for the backward pass. With $p =
# \mathrm{softmax}(\sigma x)$,
#
# $$dx = \sigma \, p \Big( dp - \sum_j p_j \, dp_j \Big)$$
#
# `x` and `dp` are (..., N), `scale` is the number $\sigma$; the result is (..., N).
#
# *Hint:* `ops.softmax` is given, and takes care of large scores.


# %%
def softmax_backward(x, dp, scale):
    p = ops.softmax(...)  # your argument
    mean = ...  # your line: for each row
    factor = ...  # your line
    return factor * p * (dp - mean)


# %%
exercises.check("06.softmax_backward", softmax_backward)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("06.softmax_backward"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 06.layer_norm_backward (fill in)
#
# For $y = g z + b$ with $z = (x - \mathrm{mean}(x))\, r$ and $r = 1 / \sqrt{\mathrm{var}(x) + \varepsilon}$, and with
# $dz = g \, dy$,
#
# $$dx = r \Big( dz - \mathrm{mean}(dz) - z \, \mathrm{mean}(z \, dz) \Big), \qquad
# dg = \sum_{\text{rows}} z \, dy, \qquad db = \sum_{\text{rows}} dy$$
#
# The means are those of each row. `x` and `dy` are (..., D), `g` (D,). Return `dx` (..., D), `dg` (D,) and `db` (D,).
#
# *Hint:* $z$ does not change when a row is shifted or stretched (but for $\varepsilon$), so $dx$ has no part along either:
# these are the two terms that are taken off.


# %%
def layer_norm_backward(x, g, dy, eps):
    centred = x - x.mean(axis=-1, keepdims=True)
    r = 1 / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + eps)
    z, dz = centred * r, g * dy
    shift = ...  # your line: the part of dz along a shift of the row
    stretch = ...  # your line: the part along a stretch of the row, which is along z
    dx = r * (dz - shift - stretch)
    rows = tuple(range(x.ndim - 1))  # the axes that a sum over rows runs over
    dg = (z * dy).sum(axis=rows)
    db = ...  # your line
    return dx, dg, db


# %%
exercises.check("06.layer_norm_backward", layer_norm_backward)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("06.layer_norm_backward"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 06.max_pool_backward (fill in)
#
# Of a window's cells only the largest has a part in the result, and there the derivative is 1:
#
# $$dx_n = \sum_{i:\; n \text{ wins window } i} dy_i$$
#
# for each channel alone, along one axis of tokens, without padding. Window $i$ holds the tokens $s i, \dots, s i + k - 1$;
# among equals the first wins. `x` is (N, D), `dy` (n, D), and the result (N, D).
#
# *Hint:* `argmax` counts from the start of what it is given. Windows overlap, so a token may win more than once: the last two
# lines are begun, and wrong.


# %%
def max_pool_backward(x, dy, kernel, stride):
    dx = np.zeros_like(x)
    channels = np.arange(x.shape[1])
    for i in range(len(dy)):
        window = ...  # your line: the tokens of window i, (k, D)
        winner = window.argmax(axis=0)  # mend this line: which tokens of x are these?
        dx[winner, channels] = dy[i]  # mend this line: what if a token wins again?
    return dx


# %%
exercises.check("06.max_pool_backward", max_pool_backward)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("06.max_pool_backward"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 06.finite_difference (fill in)
#
# How does one know that a gradient is right? By moving one entry at a time, forward and back:
#
# $$\frac{\partial f}{\partial x_i} = \frac{f(x + h e_i) - f(x - h e_i)}{2h} + O(h^2)$$
#
# `f` makes a number of an array like `x`; the result has the shape of `x`.
#
# *Hint:* move copies of `x`, not `x` itself.


# %%
def finite_difference(f, x, h):
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        slope = ...  # your lines: move entry index of one copy of x forward, and that of another back
        gradient[index] = slope
    return gradient


# %%
exercises.check("06.finite_difference", finite_difference)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("06.finite_difference"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# Now check your own: does `finite_difference` agree with your `softmax_backward`? Take
# $f(x) = \sum_j c_j \, \mathrm{softmax}(\sigma x)_j$ for some fixed numbers $c$, which then are $dp$. `mvit_np.gradcheck`
# does the same for any function, along random directions.

# %% [markdown]
# ## 06.tape_backward (specification)
#
# This one belongs to [notebook 06b](../06b_tape.ipynb). *Specification.* A graph is given by numbers: `parents[n]` are the
# nodes that node $n$ was made of, and `slopes[n, i]` is the derivative of node $n$ by its $i$-th parent. Every node has one
# number for a value, so a gradient is one number too. Return the derivatives of the node `end` by *all* nodes.
#
# What you may rely on: no node was made of itself. What you may not: a node's number says nothing about its place, and one
# parent may stand twice in a list. By itself the derivative of `end` is 1, and by a node that it was not made of it is 0.
#
# `parents` is a tuple of tuples, `slopes` (nodes, most parents); the result is (nodes,), of the dtype of `slopes`.
#
# *Hint:* first an order in which each node comes before its parents; then one loop, in which what arrives is added up.


# %%
def tape_backward(parents, slopes, end):
    order = ...  # your lines: `end` and all that it was made of, each before its parents
    total = np.zeros(len(parents), slopes.dtype)
    for node in order:
        total[node] = ...  # your lines in place of this one: what arrives at the parents of the node?
    return total


# %%
exercises.check("06.tape_backward", tape_backward)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("06.tape_backward"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## The way back of your own model
#
# Three of these answers are pieces of your own model's way back, which [the last exercises](06c_backward.ipynb) build. The next
# cell writes those that are right into `my_mvit.py`. Before that, [five planted bugs](06b_planted_bugs.ipynb) wait for you.

# %%
exercises.keep("my_mvit.py", linear_backward, softmax_backward, layer_norm_backward)
