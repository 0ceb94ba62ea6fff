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
# # Exercises to 01: from clip to tokens
#
# These belong to [notebook 01](../01_tokens.ipynb). In each cell a function is begun. Write the lines where `...` stands, run
# the cell, then run the check below it. The check compares your function with the package's own function on small arrays, some
# of them with odd sizes. Where the two differ it says what looks wrong. `exercises.statement("01.grid_size")` shows a task
# again, as text.
#
# Each heading says what is asked for. *Fill in*: the formula stands above the cell, and a few lines are missing.
# *Specification*: words and shapes say what the function does, and the formula is yours to find. *Investigate*: an open
# question; you measure something, and the check compares it with what was measured before.

# %%
import numpy as np

from mvit_np import course as exercises

# %% [markdown]
# ## 01.grid_size (fill in)
#
# A clip of $T \times H \times W$ pixels becomes a grid of $t \times h \times w$ tokens. An axis has $n$ cells, and $p$ more
# cells are added at each end. A window of $k$ cells starts at the first cell and moves by $s$ cells. The number of places where
# it fits is
#
# $$\tilde n = \left\lfloor \frac{n + 2p - k}{s} \right\rfloor + 1$$
#
# (Sec. 3.1). Return $(\tilde t, \tilde h, \tilde w)$ as a tuple of whole numbers.
#
# *Hint:* `//` divides and rounds down.


# %%
def grid_size(thw, kernel, stride, padding):
    t = ...  # your line, from thw[0], kernel[0], stride[0] and padding[0]
    h = ...  # your line, the same for height
    w = ...  # your line, and for width
    return t, h, w


# %%
exercises.check("01.grid_size", grid_size)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("01.grid_size"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 01.cube_embed (fill in)
#
# Each cube of pixels is multiplied with a matrix, and a bias is added. So each cube gives one token of $D$ channels. The clip
# $x$ is padded with zeros, and then
#
# $$y_{thw} = b + \sum_{i,j,l,c} x_{\,s_T t + i,\; s_H h + j,\; s_W w + l,\; c} \; W_{ijlc}$$
#
# `clip` is (B, T, H, W, C), `weight` is (kt, kh, kw, C, D), and `bias` is (D,). The result is (B, t h w, D); its tokens are
# listed frame by frame and row by row.
#
# *Hint:* the cubes at one index, of all clips, are one slice of `clip`, (B, kt, kh, kw, C), that starts at `stride[0] * i` in
# time. `np.tensordot(a, b, 4)` sums over the last four axes of `a` and the first four of `b`. The tokens are collected in a
# list and joined by `np.stack`, because automatic differentiation cannot follow an array that is filled piece by piece.


# %%
def cube_embed(clip, weight, bias, stride, padding):
    pt, ph, pw = padding
    clip = np.pad(clip, ((0, 0), (pt, pt), (ph, ph), (pw, pw), (0, 0)))
    t, h, w = ((clip.shape[1 + a] - weight.shape[a]) // stride[a] + 1 for a in range(3))
    tokens = []
    for i, j, k in np.ndindex(t, h, w):
        token = ...  # your lines: (B, D), from the cubes at index (i, j, k), weight and bias
        tokens.append(token)
    return np.stack(tokens, axis=1)


# %%
exercises.check("01.cube_embed", cube_embed)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("01.cube_embed"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 01.add_class_and_positions (specification)
#
# A list of tokens does not say where each token was. So a position is added to each token: it is the sum of a position for the
# frame and a position for the cell in the frame (Table 11, "separate").
#
# *Specification.* `x`, (B, t h w, D), are the tokens of B clips, frame by frame. Add to each token the position of its frame,
# which is a row of `pos_temporal`, (t, D), and the position of its cell, which is a row of `pos_spatial`, (h w, D). The class
# token is `cls`, (D,). It is the same for every clip, it has its own position, `pos_class`, (D,), and it comes before the other
# tokens. The result is (B, 1 + t h w, D).
#
# *Hint:* which of `pos_temporal[:, None]` and `pos_temporal[None]` gives (t, h w, D) when `pos_spatial` is added?


# %%
def add_class_and_positions(x, cls, pos_class, pos_spatial, pos_temporal):
    return ...  # your lines


# %%
exercises.check("01.add_class_and_positions", add_class_and_positions)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("01.add_class_and_positions"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 01.times_read (investigate)
#
# The cubes of MViT overlap. **How often is each pixel read?** Take one axis of n cells, with `padding` more cells at each end.
# Windows of `kernel` cells move over it by `stride` cells. Find the fewest and the most times that any of the n cells is read.
# The cells of the padding are not counted.
#
# Before you run the check, say what you expect for a row of 224 pixels with kernel 7, stride 4 and padding 3. Can you choose
# sizes for which a pixel is never read?
#
# Return two whole numbers, `fewest, most`.
#
# *Hint:* go through the windows, and count for each cell how many of them read it.


# %%
def times_read(n, kernel, stride, padding):
    fewest, most = ..., ...  # your lines
    return fewest, most


# %%
exercises.check("01.times_read", times_read)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("01.times_read"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## Your own model so far
#
# Some of these answers are pieces of a whole model, which grows from chapter to chapter in a file of your own. The next cell
# writes those that are right into `my_mvit.py`, beside this notebook.

# %%
exercises.keep("my_mvit.py", cube_embed, add_class_and_positions)

# %% [markdown]
# Then your pieces are put together and compared with `mv.forward`, on a small model with random weights. Where a piece is not
# there yet, the printed solution stands in for it.

# %%
exercises.check_model("my_mvit.py")
