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
# A kernel is the body of a loop over jobs, such as the rows of an array. Its threads are arranged in `blocks` blocks of
# `threads` threads each. `lanes` neighbouring threads share a job. The number of a thread, its first job, and how many jobs the
# grid takes at once are
#
# $$\mathrm{number} = \mathrm{block} \cdot \mathrm{threads} + \mathrm{thread}, \qquad
# \mathrm{first} = \lfloor \mathrm{number} / \mathrm{lanes} \rfloor, \qquad
# \mathrm{step} = \mathrm{blocks} \cdot \mathrm{threads} / \mathrm{lanes}$$
#
# After each job a thread goes on by `step`, as long as there are jobs. All numbers count from 0. Return the numbers of the jobs
# of one thread, as a tuple or a list.
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
# *Specification.* This is a matrix product whose factors have fewer bits, as the matrix units of a GPU need them. `x`, (N, D),
# and `w`, (D, E), are float32. Round every number of both to the nearest number with `bits` bits of mantissa, the leading bit
# included: 11 bits make TF32, 8 bits make bf16. A number in the middle between two goes to the one whose last bit is 0. The
# product of the rounded factors, and its sums, are float32. The result is (N, E).
#
# *Hint:* a float32 has 24 bits of mantissa, of which the leading one is not stored. `x.view(np.uint32)` shows the numbers as
# whole numbers, and their last `24 - bits` bits must become zeros. What do you have to add first, so that cutting these bits
# off is the same as rounding?


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
# *Specification.* This is one step of loss scaling. `gradient`, (N,), float32, is the gradient that exact arithmetic would
# give. The loss was multiplied by `scale`, a power of 2. So everything in the backward pass is multiplied by it too, and the
# backward pass ends with numbers in float16. The optimiser wants a float32 gradient of the loss itself. If any number of the
# float16 gradient is not finite, the step is lost: then the optimiser gets zeros, and the next step uses half the scale.
# Otherwise the scale stays the same. Return two results: the gradient for the optimiser, (N,), float32, and the scale of the
# next step, a whole number.
#
# *Hint:* `x.astype(np.float16)` rounds: a number below about 3e-8 becomes 0, and a number above 65519 becomes infinite. What
# must you do first, divide by the scale or go back to float32?


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
# **The question.** From how many tokens on is a linear layer limited by arithmetic, and no longer by memory? Are there layers
# that are limited by memory for any number of tokens?
#
# The layer multiplies (rows, inputs) by (inputs, outputs). A multiply-add is two operations. Both factors are read once, and
# the result is written once; a bias does not count. Every number has `number_bytes` bytes. Arithmetic is the limit where there
# are at least `corner` operations per byte: at this point the two roofs of the machine meet. Find the smallest number of rows
# for which this is so, or 0 where no number of rows is enough.
#
# *Hint:* multiply both sides by the bytes, and you have a linear inequality in the number of rows. Use whole numbers only:
# `-(-a // b)` is a / b rounded up.


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
# number has 2 bytes)? How many clips must a batch have for this? Write down what you expect, and then make a table with your
# `rows_to_fill`.

# %%
for stage, block in {block.stage: block for block in mv.plan(mv.preset("mvit_b_16x4")).blocks}.items():
    print(f"stage {stage + 1}: {block.dim_attn} inputs, {block.dim_mlp} outputs, {block.tokens_q} tokens per clip")

# %% [markdown]
# <details><summary>What we found</summary>
#
# In float32 every stage reaches the peak with 45 rows or fewer, and one clip has many times as many. In TF32 and in bf16 the
# layers of stages 1 and 2 never reach it. With more and more rows a layer from $D$ to $4D$ channels approaches $1.6 D$
# operations per number. In stage 1 this is 38 operations per byte in TF32, but 103 are needed. Stage 3 needs 626 rows and stage
# 4 needs 310: one clip has 1,569 and 393, so a single clip is enough. TF32 and bf16 have the same answers, because bf16 has
# twice the peak and half the bytes. This is why the package fuses the steps between the products of an MLP: narrow layers are
# limited by the bytes that they move.
#
# </details>
