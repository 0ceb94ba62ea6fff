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
# # Exercises to 09: looking inside
#
# These belong to [notebook 09](../09_looking_inside.ipynb). Write the lines where `...` stands, run the cell, then run the
# check below it. The checks compare with the package's own `mvit_np.model.inspection`, on new random attention weights.

# %%
import numpy as np

from mvit_np import course as exercises
from mvit_np import ops

# %% [markdown]
# ## 09.rollout (fill in)
#
# Rollout follows attention back through all blocks. $A_l$ is the mean over heads of the weights of block $l$, and $I$ stands
# for the skip connection:
#
# $$\tilde A_l = \tfrac12 \left( A_l + I \right), \qquad R = \tilde A_L \cdots \tilde A_2\, \tilde A_1$$
#
# `weights` is (blocks, heads, N, N), the first block first. The model has no pooling. The class token is the first token.
# Return how much it gets from each of the N embedded tokens, (N,): this is the first row of $R$.
#
# *Hint:* start with the identity, and multiply your product from the left by each block's matrix.


# %%
def rollout(weights):
    identity = np.eye(weights.shape[-1], dtype=weights.dtype)
    shares = identity
    for block in weights:
        mixed = ...  # your line
        shares = ...  # your line
    return ...  # your part: the row of the class token


# %%
exercises.check("09.rollout", rollout)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("09.rollout"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 09.attention_distance (specification)
#
# *Specification.* How far in space does each head look? The answer is a distance in pixels, a mean over queries and clips.
# `weights` is (B, heads, 1 + N, 1 + N), the class token first, `thw` is (t, h, w) with N = t h w, and `pixels` is (down,
# right), the pixels from one token to the next. Only the attention between places counts: the class token has no place, so it
# is left out as a query and as a key, and the rest of each row is scaled to sum to 1. The distance of two places is the length
# of the straight line between them in the picture, whatever their times. The distance of a query is the mean of its distances
# to all keys, weighted by its attention. The result is (heads,).
#
# *Hint:* `np.indices(thw)` gives the time, row and column of every place in the tokens' order.


# %%
def attention_distance(weights, thw, pixels):
    return ...  # your lines


# %%
exercises.check("09.attention_distance", attention_distance)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("09.attention_distance"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 09.position_similarity (specification)
#
# *Specification.* How alike are the learned positions of all places, and those of all times? `table`, (1 + t h w, D), holds a
# vector for each place at each time, in the tokens' order, after the class token's row. `thw` is (t, h, w). For `space`, first
# average the vectors of each place over time; for `time`, first average the vectors of each time over space. Then "alike" means
# the cosine of two vectors, which is 1 for a vector and itself. Return `space`, (h w, h w), and `time`, (t, t).
#
# *Hint:* reshape the table to (t, h w, D), without the class token's row.


# %%
def position_similarity(table, thw):
    space = ...  # your lines
    time = ...  # your lines
    return space, time


# %%
exercises.check("09.position_similarity", position_similarity)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("09.position_similarity"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 09.looks_back (investigate)
#
# **The question.** The motion in a scene is known. Is there a head that looks back in time, to where the content came from?
#
# First you need a measure. The content that is at row $i$ and column $j$ at one time was at row $i$ - down and column $j$ -
# right one time earlier: this earlier place is the *source* of the query. Some queries have a source outside the clip; leave
# them out. Leave the class token out as query and as key, and scale the rest of each row to sum to 1. The measure is the mean
# weight on the source, over queries and clips, times N. It is 1 for a head that prefers no place. `weights` is (B, heads, 1 +
# N, 1 + N), `thw` is (t, h, w), `motion` is (down, right) in tokens from one time to the next, and the result is (heads,).
#
# *Hint:* `np.indices(thw)` gives the time, row and column of every place, and `np.ravel_multi_index` makes a token's number of
# the three.


# %%
def looks_back(weights, thw, motion):
    return ...  # your lines


# %%
exercises.check("09.looks_back", looks_back)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("09.looks_back"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# **Then go on.** Here is a scene of 4 times and 4 x 6 tokens with 16 channels. Its content moves to the right, by one token per
# time, with some noise. Four heads look at it. `preferences` says what they prefer, but their order is random.

# %%
THW, MOTION, D = (4, 4, 6), (0, 1), 16
rng = np.random.default_rng(0)
band = rng.standard_normal((4, 9, D))  # wider than what is seen at one time
content = np.stack([band[:, 3 - time : 9 - time] for time in range(4)]).reshape(-1, D)
content = content + 0.3 * rng.standard_normal(content.shape)
alike = 2 * content @ content.T / D**0.5  # large where two tokens have the same content
times = np.arange(4).repeat(24)
earlier = times[:, None] - times  # by how many times the key is earlier than the query

preferences = [alike, -3.0 * abs(earlier - 1), alike - 3.0 * abs(earlier - 1), alike - 3.0 * abs(earlier + 1)]
scores = np.stack([preferences[each] for each in rng.permutation(4)])
weights = ops.softmax(np.pad(scores, ((0, 0), (1, 0), (1, 0))))[None]  # with a class token: (1, 4, 97, 97)

# %% [markdown]
# Which head looks back along the motion? Which head looks back in time, but not along the motion? One head compares contents
# alone: does it look back more than forward? How can you find the head that looks forward with the same function? Measure with
# the motions (0, 1), (0, 0) and (0, -1), and think of a clip that runs backwards. Write down what you expect before you
# measure.
#
# <details><summary>What we found</summary>
#
# With the motion (0, 1) the four heads measure 1.1, 3.7, 69.2 and 18.9 times uniform attention. Head 2 looks back along the
# motion. Head 1 measures 3.7 with the motions (0, 0) and (0, -1) as well: it looks one time back, and it looks at all 24 places
# of that time in the same way. (If it looked at nothing else it would measure 4.) Head 3 compares contents alone. On the clip
# that runs backwards (the order of times is reversed and the motion is (0, -1)) it measures 18.2, nearly the same: content
# alone cannot tell the past from the future. Head 0 measures 68.1 on this clip: it looks forward. So a head needs two
# preferences to look back along a motion, one for the content and one for the distance in time. The relative positions of
# [notebook 10](../10_v1_to_v2.ipynb) add the second one to a score.
#
# </details>
