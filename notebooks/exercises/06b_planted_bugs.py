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
# # Exercises to 06: five planted bugs
#
# These belong to [notebook 06](../06_gradients.ipynb). Below are five backward passes. Each of them looks right, returns arrays
# of the right shapes, and has one bug. We do not tell you where. `mv.gradcheck` compares a backward with finite differences and
# says *which* gradient is wrong. Then you read the function, derive the gradient, and mend the bug.
#
# Every function is given with its bug. Run its cell, run the gradcheck below it, and change the function until both
# `mv.gradcheck` and the exercise's own check find no fault.

# %%
import numpy as np

import mvit_np as mv
from mvit_np import course as exercises
from mvit_np import ops
from mvit_np.autodiff.tape import op

gelu_backward = exercises.piece("06.gelu_backward", "my_mvit.py")
rng = np.random.default_rng(0)

# %% [markdown]
# `mv.gradcheck` takes an op: a function that returns its value and its backward. The next cell turns a forward and a backward
# function into an op, and prints the report. It numbers the arguments from 0, in the order in which they come.


# %%
def report(name, forward, backward, *arrays):
    """Print what mv.gradcheck says of a pair of functions."""

    @op
    def pair(*arrays):
        return forward(*arrays), lambda dy: several(backward(*arrays, dy))

    print(mv.gradcheck(pair, *arrays, name=name, check=False))


def several(gradients):
    return gradients if isinstance(gradients, tuple) else (gradients,)


# %% [markdown]
# ## 06.mend_gate (investigate)
#
# Newer transformers have a gate instead of the MLP's first layer. A gate is two linear layers, and one of them scales the
# other, entry by entry.
#
# $$Y = \mathrm{gelu}(X W) \odot (X V)$$
#
# `x` is (N, D), `w` and `v` are (D, H), `dy` is (N, H). Return `dx`, `dw` and `dv`. Your `gelu_backward(u, dy)` comes from your
# file. If it is not there yet, a right one is used instead.


# %%
def gate(x, w, v):
    return ops.gelu(x @ w) * (x @ v)


def mend_gate(x, w, v, dy):
    gate, value = x @ w, x @ v
    dgate = gelu_backward(gate, dy * value)
    dvalue = dy * gate
    return dgate @ w.T + dvalue @ v.T, x.T @ dgate, x.T @ dvalue


# %%
report("mend_gate", gate, mend_gate, *(rng.standard_normal(shape) for shape in ((4, 3), (3, 5), (3, 5))))

# %%
exercises.check("06.mend_gate", mend_gate)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("06.mend_gate"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 06.mend_rms_norm (investigate)
#
# A norm without a mean divides each row by the root of its mean square:
#
# $$y = g \, x \, r, \qquad r = \frac{1}{\sqrt{\mathrm{mean}(x^2) + 10^{-6}}}$$
#
# `x` and `dy` are (N, D), `g` is (D,). Return `dx` and `dg`. The second report is for rows whose mean square is 1. Why does it
# find no fault?


# %%
def rms_norm(x, g):
    return g * x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + 1e-6)


def mend_rms_norm(x, g, dy):
    r = 1 / np.sqrt((x * x).mean(axis=-1, keepdims=True) + 1e-6)
    dz = g * dy
    dx = r * dz - r**2 * x * (x * dz).mean(axis=-1, keepdims=True)
    return dx, (x * r * dy).sum(axis=0)


# %%
report("mend_rms_norm", rms_norm, mend_rms_norm, 3 * rng.standard_normal((4, 5)), rng.standard_normal(5))

# %%
rows = rng.standard_normal((4, 5))
rows *= np.sqrt((1 - 1e-6) / (rows * rows).mean(axis=-1, keepdims=True))  # so that r is 1
report("rows of size 1", rms_norm, mend_rms_norm, rows, rng.standard_normal(5))

# %%
exercises.check("06.mend_rms_norm", mend_rms_norm)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("06.mend_rms_norm"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 06.mend_lookup (investigate)
#
# A lookup takes a row of a table for each token: `y = table[index]`. MViTv2 looks its relative positions up like this. `table`
# is (R, D), `index` holds N whole numbers from 0 to R - 1, `dy` is (N, D). Return `dtable`, (R, D).
#
# The first report finds no fault. What does this prove? Choose another index.


# %%
def mend_lookup(table, index, dy):
    dtable = np.zeros_like(table)
    dtable[index] += dy
    return dtable


# %%
index = np.array([2, 0, 3])
report(
    "mend_lookup",
    lambda table: table[index],
    lambda table, dy: mend_lookup(table, index, dy),
    rng.standard_normal((4, 2)),
)

# %%
exercises.check("06.mend_lookup", mend_lookup)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("06.mend_lookup"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 06.mend_average_pool (investigate)
#
# Average pooling along one axis, without padding: $y_i$ is the mean of the tokens $s i, \dots, s i + k - 1$. `x` is (N, D), and
# `dy` is (n, D) with $n = \lfloor (N - k) / s \rfloor + 1$. Return `dx`, (N, D).
#
# Again the report finds no fault with the window that was tried. Try other windows.


# %%
def average_pool(x, kernel, stride):
    starts = range(0, len(x) - kernel + 1, stride)
    return np.stack([x[i : i + kernel].mean(axis=0) for i in starts])


def mend_average_pool(x, kernel, stride, dy):
    dx = np.zeros_like(x)
    for i, d in enumerate(dy):
        dx[i * stride : i * stride + kernel] += d / stride
    return dx


# %%
kernel, stride = 2, 2
report(
    "mend_average_pool",
    lambda x: average_pool(x, kernel, stride),
    lambda x, dy: mend_average_pool(x, kernel, stride, dy),
    rng.standard_normal((9, 2)),
)

# %%
exercises.check("06.mend_average_pool", mend_average_pool)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("06.mend_average_pool"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 06.mend_bilinear (investigate)
#
# These are scores with a square matrix between queries and keys:
#
# $$Y = Q \, W K^\top$$
#
# `q` is (N, D), `w` is (D, D), `k` is (M, D), and `dy` is (N, M). Return `dq`, `dw` and `dk`. All shapes are right here, so no
# shape tells you what is wrong.


# %%
def bilinear(q, w, k):
    return q @ w @ k.T


def mend_bilinear(q, w, k, dy):
    return dy @ (k @ w.T), k.T @ dy.T @ q, dy.T @ q @ w


# %%
report("mend_bilinear", bilinear, mend_bilinear, *(rng.standard_normal(shape) for shape in ((4, 3), (3, 3), (5, 3))))

# %%
exercises.check("06.mend_bilinear", mend_bilinear)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("06.mend_bilinear"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# The five bugs have this in common: no shape was wrong, and no function stopped with an error. Three of the functions are right
# in the usual case (rows of size 1, no row twice, windows side by side), so a test with usual numbers passes. So test with
# numbers that are not usual.
