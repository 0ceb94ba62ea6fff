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
# # Exercises to 11, 11b and 11c: on the GPU
#
# The first and the last of these belong to [notebook 11](../11_gpu_kernels.ipynb), the two in the middle to [notebook
# 11b](../11b_precision.ipynb). None of them needs a GPU. Write the lines where `...` stands, run the cell, then run the check
# below it.

# %%
import numpy as np

import mvit_np as mv
from mvit_np import course as exercises

# %% [markdown]
# ## 11.jobs_of_thread (fill in)
#
# A kernel is the body of a loop over jobs, such as the rows of an array. Its threads come in `blocks` blocks of `threads`
# threads. `lanes` threads side by side share a job. The number of a thread, its first job, and how many jobs the grid takes at
# once are
#
# $$\mathrm{number} = \mathrm{block} \cdot \mathrm{threads} + \mathrm{thread}, \qquad
# \mathrm{first} = \lfloor \mathrm{number} / \mathrm{lanes} \rfloor, \qquad
# \mathrm{step} = \mathrm{blocks} \cdot \mathrm{threads} / \mathrm{lanes}$$
#
# A thread goes on by `step` as long as there are jobs. Everything counts from 0. Return the numbers of the jobs of one thread,
# a tuple or a list.
#
# *Hint:* `range(start, stop, step)` leaves `stop` itself out.


# %%
def jobs_of_thread(block, thread, blocks, threads, lanes, jobs):
    number = ...  # your part
    first = ...  # your part
    step = ...  # your part
    return tuple(range(first, jobs, step))


# %%
exercises.check("11.jobs_of_thread", jobs_of_thread)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("11.jobs_of_thread"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 11.rounded_product (specification)
#
# *Specification.* This is a matrix product whose factors have fewer bits, as a GPU's matrix units take them. `x`, (N, D), and
# `w`, (D, E), are float32. Every number of both is rounded to `bits` bits of mantissa, the leading one included: 11 make TF32,
# 8 make bf16. It goes to the nearest such number. From the middle between two it goes to the one whose last bit is 0. The
# product of the rounded factors, and its sums, are float32. The result is (N, E).
#
# *Hint:* a float32 has 24 bits of mantissa, of which the leading one is not written. Seen as whole numbers,
# `x.view(np.uint32)`, the `24 - bits` last bits are to become zeros. What has to be added before, so that cutting them off is
# rounding?


# %%
def rounded_product(x, w, bits):
    return ...  # your lines


# %%
exercises.check("11.rounded_product", rounded_product)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("11.rounded_product"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 11.loss_scaling (specification)
#
# *Specification.* This is one step of loss scaling. `gradient`, (N,), float32, is what exact arithmetic would give. The loss
# was multiplied by `scale`, a power of 2, and so is everything in the backward pass, which ends in float16. The optimiser wants
# a float32 gradient of the loss itself. If a number of the float16 gradient is not finite, the step is lost: then the optimiser
# gets zeros, and the next step is tried with half the scale. Otherwise the scale stays. Return two results: the gradient for
# the optimiser, (N,), float32, and the scale of the next step, a whole number.
#
# *Hint:* `x.astype(np.float16)` rounds, to 0 below about 3e-8 and to infinity above 65519. Which comes first, the division by
# the scale or the way back to float32?


# %%
def loss_scaling(gradient, scale):
    return ...  # your lines


# %%
exercises.check("11.loss_scaling", loss_scaling)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("11.loss_scaling"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 11.rows_to_fill (investigate)
#
# **The question.** From how many tokens on is a linear layer limited by arithmetic, and no longer by memory? And are there
# layers that never are, however many tokens there are?
#
# The layer multiplies (rows, inputs) by (inputs, outputs). A multiply-add is two operations. Both factors are read once, and
# the result is written once; a bias does not count. Every number has `number_bytes` bytes. Arithmetic is the limit where there
# are at least `corner` operations per byte: at this point the two roofs of the machine meet. Find the smallest such number of
# rows, or 0 where no number of rows is enough.
#
# *Hint:* multiply by the bytes, and you have a linear inequality in the number of rows. Stay with whole numbers: `-(-a // b)`
# is a / b rounded up.


# %%
def rows_to_fill(inputs, outputs, number_bytes, corner):
    return ...  # your lines


# %%
exercises.check("11.rows_to_fill", rows_to_fill)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("11.rows_to_fill"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# **Then go on.** Here are the first linear layers of the MLPs of MViT-B's four stages. Which of them can reach the peak of an
# H200 in float32 (corner at 14 operations per byte), which in TF32 (103; a number still has 4 bytes), which in bf16 (206; a
# number has 2 bytes)? How many clips must a batch have? Write down what you expect, and then make a table with your
# `rows_to_fill`.

# %%
for stage, block in {block.stage: block for block in mv.plan(mv.preset("mvit_b_16x4")).blocks}.items():
    print(f"stage {stage + 1}: {block.dim_attn} inputs, {block.dim_mlp} outputs, {block.tokens_q} tokens per clip")

# %% [markdown]
# <details><summary>What we found</summary>
#
# In float32 every stage reaches the peak with 45 rows or fewer, and one clip has many times as many. In TF32 and in bf16 the
# layers of stages 1 and 2 never reach it. With more and more rows a layer from $D$ to $4D$ comes to $1.6 D$ operations per
# number. In stage 1 that is 38 per byte in TF32, where 103 are needed. Stage 3 needs 626 rows and stage 4 needs 310: one clip
# has 1,569 and 393, so a single clip is enough. TF32 and bf16 have the same answers, because bf16 has twice the peak and half
# the bytes. This is why the package fuses what stands between the products of an MLP: narrow layers are limited by the bytes.
#
# </details>
