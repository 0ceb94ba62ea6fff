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
# These belong to [notebook 06](../06_gradients.ipynb). Here $dy$ is the derivative of the loss by a result $y$. You write the
# derivatives of the loss by the arrays from which $y$ was computed. Write the lines where `...` stands, run the cell, then run
# the check below it. The checks compare with the package's backwards, which are themselves compared with finite differences, as
# in the exercise `06.finite_difference`.

# %%
import numpy as np

from mvit_np import course as exercises
from mvit_np import ops

# %% [markdown]
# ## 06.linear_backward (fill in)
#
# For $Y = X W + b$, where the leading axes are flattened to rows, the gradients are
#
# $$dX = dY \, W^\top, \qquad dW = X^\top dY, \qquad db = \sum_{\text{rows}} dY$$
#
# `x` is (..., I), `w` is (I, O), and `dy` is (..., O). Return `dx` (..., I), `dw` (I, O) and `db` (O,).
#
# *Hint:* each gradient has the shape of the array to which it belongs. Every row uses $W$ and $b$, so their gradients are sums
# over rows.


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
# Attention takes the softmax of *scaled* scores. This softmax is the largest array of the model, so the fast version of
# attention does not keep it, and computes it again in the backward pass. (This function has the same name as that of 03, but it
# takes `x` and the scale. It is a piece of your own model; that of 03 is not.) With $p = \mathrm{softmax}(\sigma x)$,
#
# $$dx = \sigma \, p \Big( dp - \sum_j p_j \, dp_j \Big)$$
#
# `x` and `dp` are (..., N), `scale` is the number $\sigma$, and the result is (..., N).
#
# *Hint:* `ops.softmax` is given, and it does not overflow for large scores.


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
# The means are those of each row. `x` and `dy` are (..., D), and `g` is (D,). Return `dx` (..., D), `dg` (D,) and `db` (D,).
#
# *Hint:* $z$ does not change when a row is shifted or stretched (apart from $\varepsilon$). So $dx$ has no part along a shift
# and no part along a stretch: the two terms with a minus sign remove these parts.


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
# Only the largest cell of a window has an influence on the result, and its derivative is 1:
#
# $$dx_n = \sum_{i:\; n \text{ wins window } i} dy_i$$
#
# for each channel alone, along one axis of tokens, without padding. Window $i$ holds the tokens $s i, \dots, s i + k - 1$;
# among equal tokens the first wins. `x` is (N, D), `dy` is (n, D), and the result is (N, D).
#
# *Hint:* `argmax` counts from the start of the array that it gets. Windows overlap, so a token may win more than once. The last
# two lines of the loop are there, but they are wrong.


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
# How do we know that a gradient is right? We move one entry at a time, forward and back:
#
# $$\frac{\partial f}{\partial x_i} = \frac{f(x + h e_i) - f(x - h e_i)}{2h} + O(h^2)$$
#
# `f` takes an array like `x` and returns a number. The result has the shape of `x`.
#
# *Hint:* change copies of `x`, not `x` itself.


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
# Now check your own gradient: does `finite_difference` agree with your `softmax_backward`? Take
# $f(x) = \sum_j c_j \, \mathrm{softmax}(\sigma x)_j$ with fixed numbers $c$; then $dp$ is $c$. `mvit_np.gradcheck` makes this
# comparison for any function, along random directions.

# %% [markdown]
# ## 06.tape_backward (specification)
#
# This exercise belongs to [notebook 06b](../06b_tape.ipynb). *Specification.* A graph is given by numbers: `parents[n]` are the
# nodes from which node $n$ was computed, and `slopes[n, i]` is the derivative of node $n$ by its $i$-th parent. The value of
# every node is one number, so a gradient is one number too. Return the derivatives of the node `end` by *all* nodes.
#
# You may rely on this: no node depends on itself. But a node's number says nothing about its place in the graph, and a list of
# parents may contain one node twice. The derivative of `end` by itself is 1. Its derivative by a node on which it does not
# depend is 0.
#
# `parents` is a tuple of tuples, and `slopes` is (nodes, largest number of parents). The result is (nodes,), of the dtype of
# `slopes`.
#
# *Hint:* first find an order in which each node comes before its parents. Then one loop is enough, which adds up what arrives
# at each node.


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
# Three of these answers are pieces of your own model's way back, which you build in [the last exercises](06c_backward.ipynb).
# The next cell writes those that are right into `my_mvit.py`. Before you go there, find [five planted
# bugs](06b_planted_bugs.ipynb).

# %%
exercises.keep("my_mvit.py", linear_backward, softmax_backward, layer_norm_backward)
