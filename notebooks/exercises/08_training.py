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
# # Exercises to 08: training
#
# These belong to [notebook 08](../08_training.ipynb). Write the lines where `...` stands, run the cell, then run the check
# below it. It says what looks wrong, as far as it can tell.
#
# Each heading says what is asked for. *Fill in*: the formula stands above the cell, and a few lines are missing.
# *Specification*: words and shapes say what the function does, and the formula is yours to find. *Investigate*: an open
# question; you measure something, and the check compares it with what was measured before.

# %%
import numpy as np

from mvit_np import course as exercises
from mvit_np import ops

# %% [markdown]
# ## 08.cross_entropy_gradient (fill in)
#
# The loss of a batch is the mean cross-entropy of its $B$ clips. The logits are $z$. The labels are $y$: each row has a single
# 1, and all other numbers in it are 0. Then
#
# $$\frac{\partial \ell}{\partial z} = \frac{\mathrm{softmax}(z) - y}{B}$$
#
# where softmax takes each row by itself. `z` and `y` are (B, K), and so is the result.
#
# *Hint:* `ops.softmax` is given. What is the sum of each row of the result?


# %%
def cross_entropy_gradient(z, y):
    said = ...  # your line: what the model said, as probabilities
    return ...  # your line


# %%
exercises.check("08.cross_entropy_gradient", cross_entropy_gradient)

# %% [markdown]
# <details><summary>Solution</summary>
#
# The sum of each row is 0: both softmax and $y$ have the sum 1.
#
# `print(exercises.solution("08.cross_entropy_gradient"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 08.rates (specification)
#
# *Specification.* Return the learning rate of each step of a run, (steps,). In the first `warmup` steps the rate grows by the
# same amount from step to step. The first step has a rate above 0, and the last step of the warm-up has `peak`. Then the rate
# falls along half a cosine. Step `warmup`, counted from 0, is the first step of this second part and has `peak` too. The cosine
# would reach 0 one step *after* the last step of the run.
#
# *Hint:* `np.cos` falls from 1 to -1 while its angle goes from 0 to $\pi$.


# %%
def rates(steps, warmup, peak):
    return ...  # your lines


# %%
exercises.check("08.rates", rates)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("08.rates"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 08.adamw_step (specification)
#
# *Specification.* One step of AdamW. `p` is a parameter, `g` its gradient; `m` and `v` are running means, of the gradient and
# of its square. All four have the same shape. `t` is the number of this step, counted from 1; `rate` and `decay` are numbers.
#
# The new `m` is nine tenths of the old one and a tenth of `g`. The new `v` is 0.999 of the old one and 0.001 of the square of
# `g`. Both were 0 before step 1, so at first they are too small. To correct this, each is divided by the sum of the weights
# that all gradients so far have in it. Then the parameter moves in the direction opposite to the corrected `m`, divided by (the
# root of the corrected `v`, plus $10^{-8}$). It also shrinks by `decay` times itself. Both movements are multiplied by `rate`.
# Return the new `p`, and the new `m` and `v` without the correction, because they are kept in this way.
#
# *Hint:* after one step the weight of `g` in `m` is 0.1. After two steps the weights are 0.09 and 0.1, which add up to
# $1 - 0.9^2$.


# %%
def adamw_step(p, g, m, v, t, rate, decay):
    return ..., ..., ...  # your lines


# %%
exercises.check("08.adamw_step", adamw_step)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("08.adamw_step"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 08.accuracy_by_order (specification)
#
# *Specification.* Does a classifier use the order of the frames? `guess` is a function: it takes clips, (B, F, H, W), and
# returns the class that it guesses for each, (B,). `clips` and `labels` are a test set. `orders` holds several orders of the
# frames, each a tuple of F numbers. Return the share of right answers: first for the clips as they are, then with the frames of
# all clips put in each of the orders. The labels stay. The result is (1 + number of orders,).
#
# *Hint:* the order `(7, 6, 5, 4, 3, 2, 1, 0)` plays a clip of eight frames backward.


# %%
def accuracy_by_order(guess, clips, labels, orders):
    return ...  # your lines


# %%
exercises.check("08.accuracy_by_order", accuracy_by_order)

# %% [markdown]
# **Then go on with shuffled frames.** The films of notebook 08 are `mvit_np.data.load_motion()`, with `test_clips` and
# `test_labels`. Write two classifiers by hand, without any training: one compares neighbouring frames (where does the picture
# move?), and the other looks only at the mean picture. Give both to your function, with several orders. Which of them can be
# better than a coin, and what happens to each if the film runs backward?

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("08.accuracy_by_order"))` in a new cell shows one way to write it.
#
# For the films, multiply each frame with the next frame, which you shift by a pixel to the right and to the left. Say "right"
# where the first sum is larger. This classifier is right for 99.6 % of the clips in order and for 0.4 % of the clips backward.
# In 20 random orders, each the same for all clips, it is right for between 0 and 94 %. So one order for all clips is not a fair
# shuffle, and notebook 08 draws a new order per clip. The mean picture is right for 50 % in every order.
#
# </details>

# %% [markdown]
# ## 08.coin_flips (investigate)
#
# A model is right for 56 of 100 test clips of two classes. **Is that better than a coin?** Find out how probable it is that a
# fair coin gets as many answers right, or more. `right` has several numbers of right answers, and `clips` is the number of all
# answers. The result has one probability per number in `right`.
#
# You may flip coins (20,000 tests of a coin are enough), or count. The check accepts a probability that is within 0.02 of the
# right one.
#
# Guess before you run it: how many of 1,000 clips must be right, so that a coin does as well in fewer than one of a thousand
# tests?
#
# *Hint:* `np.random.default_rng(0).integers(0, 2, (20_000, clips))` are 20,000 tests. `math.comb(n, k)` is the number of ways
# to choose k of n.


# %%
def coin_flips(right, clips):
    return ...  # your lines: (number of counts,)


# %%
exercises.check("08.coin_flips", coin_flips)

# %% [markdown]
# <details><summary>Solution</summary>
#
# The answer is 550 of 1,000: a coin gets as many or more in 0.09 % of all tests.
#
# `print(exercises.solution("08.coin_flips"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 08.own_ablation (investigate)
#
# **Make your own ablation.** Change one thing in a model, train both models in the same way with several seeds, and say whether
# their accuracies differ. `mvit-np experiment` does the training. Open a terminal in the folder of this notebook, choose one of
# the experiments (`mvit-np experiment` lists them), and run a short version of it:
#
#     mvit-np experiment positions --steps 60 --seeds 3
#
# It takes one to three minutes. It writes `mvit_experiment/positions/results.json`, with every run, and `table.md`, with the
# command's own verdict. If you ask for more seeds later, their runs are added to the file. Another number of steps needs
# another folder, such as `--out mvit_experiment/longer`.
#
# First write down what you expect, and why. Then read the results with your own function. `results` is the content of the file:
# `results["runs"]` is a list, and each run has a `"variant"`, a `"seed"` and an `"accuracy"`, a dict in which `"in order"` is a
# share. `high` and `low` are the names of two variants. Return four numbers, in percentage points: the mean accuracy of `high`,
# that of `low`, their difference, and the smallest difference that counts.
#
# A difference counts where it is more than twice the spread, and at least 1 point. The spread is the root of the mean of the
# two variances over seeds.
#
# *Hint:* `np.var(x, ddof=1)` divides by $n - 1$, which is right for a small number of seeds.


# %%
def own_ablation(results, high, low):
    return ...  # your lines: (4,)


# %%
exercises.check("08.own_ablation", own_ablation)

# %% [markdown]
# The check draws random results, and it also tries every `mvit_experiment/*/results.json` that it finds beside this notebook:
# its line "tried with" then names your two variants. Does your function agree with `table.md`? Does the difference count, or
# could other seeds give the opposite result?

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("08.own_ablation"))` in a new cell shows one way to write it.
#
# </details>
