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
# # Exercises to 00: arrays
#
# These belong to [notebook 00](../00b_arrays.ipynb). Write the lines where `...` stands, run the cell, then run the check
# below it. It says what looks wrong, as far as it can tell.
#
# Each heading says what is asked for. *Fill in*: the formula stands above the cell, and a few lines are missing.
# *Specification*: words and shapes say what the function does, and the formula is yours to find. *Investigate*: an open
# question; you measure something, and the check compares it with what was measured before.

# %%
from math import prod

import numpy as np

from mvit_np import course as exercises

# %% [markdown]
# ## 00.strides_of (fill in)
#
# An array is one long line of numbers in memory and a rule for moving on this line. Its strides say how many bytes apart two
# neighbours along an axis are. Where the array is one piece of memory in the usual order, the last axis has the shortest step.
# For the lengths $n_0, n_1, \dots$ of its axes and $z$ bytes per number, the stride of axis $a$ is
#
# $$z \prod_{b > a} n_b$$
#
# `shape` has one whole number per axis of the array, and so has the result.
#
# *Hint:* `prod(())`, the product of no numbers, is 1.


# %%
def strides_of(shape, itemsize):
    steps = ...  # your lines: a tuple, one number per axis
    return steps


# %%
exercises.check("00.strides_of", strides_of)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("00.strides_of"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 00.channels_last (specification)
#
# *Specification.* A library gives you a batch of clips as `clips`, (B, C, T, H, W), in one piece of memory. Return the pixels
# of each clip as a list, (B, T H W, C): frame by frame, and row by row in a frame. The numbers and the dtype must stay the
# same. The channels of a pixel must become neighbours in memory, so that a linear layer reads them as one piece: the result is
# one piece of memory in the usual order.
#
# Before you run the check: which of your steps moves numbers, and which only writes a new rule for the same line?
#
# *Hint:* `x.flags.c_contiguous` says whether an array is one piece in the usual order.


# %%
def channels_last(clips):
    return ...  # your lines


# %%
exercises.check("00.channels_last", channels_last)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("00.channels_last"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 00.count_numbers (specification)
#
# *Specification.* The parameters of a model are a tree: a dict or a list, whose parts are dicts, lists or arrays, nested to any
# depth. Return how many numbers all arrays have together, as one whole number.
#
# *Hint:* a function may call itself.


# %%
def count_numbers(tree):
    return ...  # your lines


# %%
exercises.check("00.count_numbers", count_numbers)

# %% [markdown]
# A model has as many numbers as its plan says. You can test this with your function:
# `count_numbers(mv.init(config, rng)) == mv.costs(config).params`, for any `config`.

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("00.count_numbers"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 00.first_lost (investigate)
#
# A number of a floating-point type has a fixed count of binary digits. So a small number that is added to a large one can be
# lost. **When does that happen?** Find by trial the smallest power of two $n$ for which `n + step == n`, in a type such as
# `"float16"`, and for a `step` that is a power of two.
#
# Guess before you run the cell: a counter in float32 grows by 1 per clip. At which number does it stop?
#
# `dtype` is the name of the type. Return $n$ as a whole number.
#
# *Hint:* `np.dtype("float16").type(3)` is the number 3 in float16, and the sum of two such numbers is in float16 again.


# %%
def first_lost(dtype, step):
    number = np.dtype(dtype).type
    n = ...  # your lines in place of this one: double n, until the sum does not differ from it
    return int(n)


# %%
exercises.check("00.first_lost", first_lost)

# %% [markdown]
# <details><summary>Solution</summary>
#
# A right answer also prints what others found.
#
# `print(exercises.solution("00.first_lost"))` in a new cell shows one way to write it.
#
# </details>
