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
# # Exercises to 06 and 06b: the way back of your own model
#
# These belong to [notebook 06](../06_gradients.ipynb) and [notebook 06b](../06b_tape.ipynb). Your model goes forward with your
# functions. So far `mv.value_and_grad` has computed the gradients from their lines. Here you write the way back yourself, piece
# by piece, up to the gradients of the whole model. At the end your model trains in three ways: by autograd, by your backward
# passes, and on your own tape.
#
# All pieces follow one rule. A backward takes **what its forward takes and, last, `dy`**, the gradient by the result. It
# returns **the gradients by the arrays that it took, in their order**; the gradient by a dictionary of parameters is a
# dictionary with the same keys. Nothing is kept of the forward pass: where a backward needs a value from the middle, it
# computes the value again. This costs time and saves memory. Large models are often trained in this way ("gradient
# checkpointing").
#
# You can check each piece yourself with `mv.gradcheck`, as in [the planted bugs](06b_planted_bugs.ipynb).

# %%
import time

import numpy as np

import mvit_np as mv
from mvit_np import course as exercises
from mvit_np import ops
from mvit_np.data import load_motion

MINE = "my_mvit.py"

# %% [markdown]
# Your earlier answers come from your file. Where a piece is not there yet, `exercises.piece` gives a function that does the
# same.

# %%
depthwise_conv, attention, split_heads, pool_heads, attention_layer, pooled_skip = (
    exercises.piece(name, MINE)
    for name in (
        *("02.depthwise_conv", "03.attention", "04.split_heads", "04.pool_heads"),
        *("04.attention_layer", "04.pooled_skip"),
    )
)
cube_embed, add_class_and_positions, block = (
    exercises.piece(name, MINE) for name in ("01.cube_embed", "01.add_class_and_positions", "05.block")
)
linear_backward, softmax_backward, layer_norm_backward = (
    exercises.piece(f"06.{name}_backward", MINE) for name in ("linear", "softmax", "layer_norm")
)

# %% [markdown]
# ## 06.gelu_backward (fill in)
#
# GELU multiplies $u$ by $\Phi(u)$, the cumulative probability of a standard normal variable. The product rule has two terms,
# and the derivative of $\Phi$ is the density $\phi(u) = e^{-u^2/2} / \sqrt{2\pi}$:
#
# $$du = dy \, \big( \Phi(u) + u \, \phi(u) \big)$$
#
# `u` and `dy` have the same shape. `scipy.special.ndtr` is $\Phi$.


# %%
def gelu_backward(u, dy):
    from scipy.special import ndtr

    density = ...  # your line
    return dy * (ndtr(u) + u * density)


# %%
exercises.check("06.gelu_backward", gelu_backward)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("06.gelu_backward"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 06.mlp_backward (specification)
#
# *Specification.* The MLP of exercise `03.mlp` is a linear layer, a GELU, and a second linear layer. Return its gradients by
# all five arrays: `dx`, `dw1`, `db1`, `dw2`, `db2`. `x` is (B, N, D), `w1` is (D, H), `w2` is (H, E), and `dy` is (B, N, E).
#
# *Hint:* walk back from the end. What was the input of each of the three steps? Compute these inputs again first. Your
# `linear_backward(x, w, dy)` and `gelu_backward(u, dy)` do the rest.


# %%
def mlp_backward(x, w1, b1, w2, b2, dy): ...  # your lines


# %%
exercises.check("06.mlp_backward", mlp_backward)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("06.mlp_backward"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 06.attention_backward (specification)
#
# *Specification.* This is the most important piece. One head computes $\mathrm{softmax}(Q K^\top / \sqrt d)\, V$, as in
# exercise `03.attention`. Return `dq`, `dk` and `dv`. `q` is (B, Nq, d), `k` is (B, Nk, d), `v` is (B, Nk, e) and `dy` is (B,
# Nq, e).
#
# Derive the gradients before you write: attention is a product, a softmax of scaled scores, and a second product. A product
# $Y = A B$ has two gradients, and [notebook 06](../06_gradients.ipynb) derives both. Then look at the shapes: in which of your
# lines would the shapes fit even if you forgot to transpose a matrix?
#
# *Hint:* your `softmax_backward(scores, dp, scale)` does the middle step, with the factor `scale` in it.


# %%
def attention_backward(q, k, v, dy): ...  # your lines


# %%
exercises.check("06.attention_backward", attention_backward)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("06.attention_backward"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 06.cross_entropy_backward (fill in)
#
# Every backward pass of the model begins with this gradient. With $p = \mathrm{softmax}(z)$, the loss of a batch of $B$ clips
# is the mean of $-\log p_{\text{label}}$, and
#
# $$dz = \frac{p - t}{B}, \qquad t_k = 1 \text{ for the label, else } 0 .$$
#
# `logits` are (B, K), and `labels` are B whole numbers. There is no `dy`: the derivative of the loss by itself is 1.


# %%
def cross_entropy_backward(logits, labels):
    target = ...  # your line: (B, K)
    return ...  # your line


# %%
exercises.check("06.cross_entropy_backward", cross_entropy_backward)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("06.cross_entropy_backward"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 06.depthwise_conv_backward (specification)
#
# *Specification.* Queries, keys and values are pooled by the convolution of exercise `02.depthwise_conv`,
# $y_o = \sum_i w_i \, x_{s o + i - p}$, for each channel alone and with the same filter for all heads. Return `dx` and
# `dweight`. `x` is (B, T, H, W, heads, d), `weight` is (kt, kh, kw, d), and `dy` is (B, t, h, w, heads, d).
#
# Read the sum in two ways. In which outputs is entry $i$ of the filter used? And to which cells does an output send its
# gradient?
#
# *Hint:* loop over the entries of the filter, not over the windows. All the cells that one entry meets are one slice of the
# padded grid, with the stride as its step.


# %%
def depthwise_conv_backward(x, weight, stride, padding, dy): ...  # your lines


# %%
exercises.check("06.depthwise_conv_backward", depthwise_conv_backward)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("06.depthwise_conv_backward"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 06.pooled_skip_backward (specification)
#
# *Specification.* The skip of a block that pools its queries is pooled by maxima, exercise `04.pooled_skip`. Its windows
# overlap: on an axis with stride $s > 1$ they are $s + 1$ long and the padding is $s // 2$; with $s = 1$ they are 1 and 0. The
# class token is not pooled. In each window and channel the largest cell gets the window's gradient; among equal cells the first
# one gets it.
#
# `x` is (B, 1 + T H W, D), `dy` is (B, 1 + t h w, D), and the result has the shape of `x`.
#
# *Hint:* `max_pool_backward` did this along one axis, window by window. Here loop over the places within a window. Each place
# gives one slice of the padded grid. Keep a record of the windows whose gradient no cell has taken so far.


# %%
def pooled_skip_backward(x, thw, stride, dy): ...  # your lines


# %%
exercises.check("06.pooled_skip_backward", pooled_skip_backward)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("06.pooled_skip_backward"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 06.pool_heads_backward (specification)
#
# *Specification.* Exercise `04.pool_heads` cuts the channels into heads, pools the grid by a convolution, and norms each
# token's channels; the class token is not pooled, but it is normed. Return `dx`, `dweight`, `dg` and `db`. `x` is (B, 1 + T H
# W, D), and `dy` is (B, h, 1 + t h w, d).
#
# *Hint:* what was the input of the norm? Compute it again with your `depthwise_conv`. Then your
# `layer_norm_backward(x, g, dy, eps)`, with `eps` 1e-6, and your `depthwise_conv_backward`.


# %%
def pool_heads_backward(x, thw, heads, weight, g, b, stride, dy): ...  # your lines


# %%
exercises.check("06.pool_heads_backward", pool_heads_backward)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("06.pool_heads_backward"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 06.attention_layer_backward (specification)
#
# *Specification.* This is the whole of Multi Head Pooling Attention, exercise `04.attention_layer`: project, pool, attend in
# each head, project. Return `dparams`, a dictionary like `params`, and `dx`. `params` has `"qkv"`, `"proj"` and, for each of q,
# k, v that is pooled, `"pool_q"` and `"norm_q"`. `dy` is (B, 1 + t h w, D').
#
# Where do several paths meet? Queries, keys and values are the thirds of one projection of `x`. So join their three gradients
# before you go back through this projection.
#
# *Hint:* go forward once more and keep the thirds, then q, k, v, then z. Walk back with `linear_backward`, `attention_backward`
# for each head, and `pool_heads_backward`.


# %%
def attention_layer_backward(params, x, thw, heads, stride_q, stride_kv, dy): ...  # your lines


# %%
exercises.check("06.attention_layer_backward", attention_layer_backward)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("06.attention_layer_backward"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 06.mlp_block_backward (specification)
#
# *Specification.* The second half of a block is $x + \mathrm{MLP}(\mathrm{norm}(x))$, exercise `05.mlp_block`. Return `dx`,
# `dg`, `db`, `dw1`, `db1`, `dw2`, `db2`. `x` and `dy` are (B, N, D).
#
# *Hint:* `x` is used twice. Use your `mlp_backward` and `layer_norm_backward`.


# %%
def mlp_block_backward(x, g, b, w1, b1, w2, b2, dy): ...  # your lines


# %%
exercises.check("06.mlp_block_backward", mlp_block_backward)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("06.mlp_block_backward"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 06.widening_mlp_backward (specification)
#
# *Specification.* The last block of a stage widens the channels (exercise `05.widening_mlp`) and computes
# $\mathrm{MLP}(\mathrm{norm}(x)) + \mathrm{norm}(x)\, W_{\text{skip}} + b_{\text{skip}}$. Return nine arrays: the same
# gradients as in the exercise above, and then `dw_skip` and `db_skip`.
#
# *Hint:* what is used twice here?


# %%
def widening_mlp_backward(x, g, b, w1, b1, w2, b2, w_skip, b_skip, dy): ...  # your lines


# %%
exercises.check("06.widening_mlp_backward", widening_mlp_backward)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("06.widening_mlp_backward"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 06.cube_embed_backward (fill in)
#
# Exercise `01.cube_embed` turns each cube of pixels into a token. It is a linear layer whose rows are cubes, so
#
# $$dW = \sum_{\text{tokens}} \text{cube}^\top dy, \qquad db = \sum_{\text{tokens}} dy .$$
#
# The clip is not learned, so we do not need its gradient: return `dweight` and `dbias` alone. `clip` is (B, T, H, W, C),
# `weight` is (kt, kh, kw, C, D), and `dy` is (B, t h w, D).
#
# *Hint:* `np.tensordot(cubes, d, (0, 0))` sums over the clips: from (B, kt, kh, kw, C) and (B, D) it makes (kt, kh, kw, C, D).


# %%
def cube_embed_backward(clip, weight, bias, stride, padding, dy):
    kernel = weight.shape[:3]
    clip = np.pad(clip, ((0, 0), *((p, p) for p in padding), (0, 0)))
    grid = ((n - k) // s + 1 for n, k, s in zip(clip.shape[1:4], kernel, stride))
    dweight = np.zeros_like(weight)
    for token, place in enumerate(np.ndindex(*grid)):
        starts = np.multiply(place, stride)
        frames, rows, columns = (slice(at, at + n) for at, n in zip(starts, kernel))
        cubes = clip[:, frames, rows, columns]
        added = ...  # your line: what this token adds, (kt, kh, kw, C, D)
        dweight += added
    dbias = ...  # your line
    return dweight, dbias


# %%
exercises.check("06.cube_embed_backward", cube_embed_backward)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("06.cube_embed_backward"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 06.add_class_and_positions_backward (specification)
#
# *Specification.* Exercise `01.add_class_and_positions` adds to each token a position for its frame and one for its cell, and
# puts the class token, with its own position, before them. Return `dx`, `dcls`, `dpos_class`, `dpos_spatial` and
# `dpos_temporal`. `dy` is (B, 1 + t h w, D).
#
# *Hint:* an array that is repeated on the way forward gets a sum on the way back. To how many tokens was each position added?


# %%
def add_class_and_positions_backward(x, cls, pos_class, pos_spatial, pos_temporal, dy): ...  # your lines


# %%
exercises.check("06.add_class_and_positions_backward", add_class_and_positions_backward)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("06.add_class_and_positions_backward"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 06.head_backward (fill in)
#
# Exercise `05.head` norms the class token, and a linear layer turns it into the scores. Return `dparams`, with `"norm"` and
# `"head"` alone, and `dx`, which has the shape of `x`. `x` is (B, 1 + n, D), and `dy` is (B, K).
#
# *Hint:* what is the gradient by a token that the scores do not depend on?


# %%
def head_backward(params, x, dy):
    norm, linear = params["norm"], params["head"]
    token = ops.layer_norm(x[:, 0], norm["g"], norm["b"])
    dtoken, dw, db = ...  # your line
    dfirst, dg, dshift = ...  # your line
    dx = np.zeros_like(x)
    dx[:, 0] = dfirst
    return {"norm": {"g": dg, "b": dshift}, "head": {"w": dw, "b": db}}, dx


# %%
exercises.check("06.head_backward", head_backward)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("06.head_backward"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 06.block_backward (specification)
#
# *Specification.* This is a whole transformer block, exercise `05.block`. Return `dparams`, a dictionary with `"norm1"`,
# `"attn"`, `"norm2"`, `"mlp"` (of `"fc1"` and `"fc2"`) and, where the block widens, `"proj"`; and `dx`.
#
# Draw the graph first, or look at the one in [notebook 06b](../06b_tape.ipynb). Two values are used twice. You have to compute
# the input of the second half again before you can walk back through it.
#
# *Hint:* use your `mlp_block_backward` or `widening_mlp_backward`, then `attention_layer_backward`, `layer_norm_backward` and
# `pooled_skip_backward`. You need your forward `attention_layer` and `pooled_skip` too.


# %%
def block_backward(params, x, thw, heads, stride_q, stride_kv, dy): ...  # your lines


# %%
exercises.check("06.block_backward", block_backward)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("06.block_backward"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 06.backward (specification)
#
# *Specification.* This is the whole model, exercise `05.forward`. Return a dictionary like `params`: `"patch_embed"`,
# `"cls_token"`, the three positions, a list of `"blocks"`, `"norm"` and `"head"`. `dy`, (B, K), is the gradient by the scores.
#
# *Hint:* a block's backward needs the input of the block. Go forward and keep the input of each block. Then go back, from the
# last block to the first.


# %%
def backward(params, clip, config, dy): ...  # your lines


# %%
exercises.check("06.backward", backward)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("06.backward"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## 06.tape_gradients (specification)
#
# *Specification.* You had to write `block_backward` and `backward` by hand, and every other model needs new ones. A tape makes
# this unnecessary. Here you write the loop of [notebook 06b](../06b_tape.ipynb) again, now for arrays.
#
# A node has a `.value`, an array; `.parents`, a list of the nodes from which it was computed, empty for a leaf; and
# `.pull(dy)`, which gives a list with one gradient per parent. Return a list with the gradient of `end` by each of the
# `leaves`, when `dy` arrives at `end`. A leaf on which the end does not depend gets zeros.
#
# Two traps: two gradients that come out of a `.pull` may be one and the same array, so do not write into them; and a list of
# parents may contain one node twice.


# %%
def tape_gradients(end, leaves, dy): ...  # your lines


# %%
exercises.check("06.tape_gradients", tape_gradients)

# %% [markdown]
# <details><summary>Solution</summary>
#
# `print(exercises.solution("06.tape_gradients"))` in a new cell shows one way to write it.
#
# </details>

# %% [markdown]
# ## Your own model, in three ways
#
# The next cell writes your right answers into your file. Then all your pieces are put together: the way forward, the way back
# by your `backward`, and the way back on your tape. Both ways back are compared with the gradients of `mv.forward`.
#
# On the tape, your `forward` and your `block` run unchanged. The tape records what they call: each of your pieces that has a
# backward (`attention_layer`, `pooled_skip`, `mlp_block`, ...), `ops.layer_norm`, and every sum becomes a node, and the node's
# `.pull` is your backward of it. So the tape needs neither your `block_backward` nor your `backward`.

# %%
exercises.keep(
    *(MINE, gelu_backward, mlp_backward, attention_backward, cross_entropy_backward),
    *(depthwise_conv_backward, pooled_skip_backward, pool_heads_backward),
    *(attention_layer_backward, mlp_block_backward, widening_mlp_backward),
    *(cube_embed_backward, add_class_and_positions_backward, head_backward),
    *(block_backward, backward, tape_gradients),
)

# %%
exercises.check_model(MINE)

# %% [markdown]
# The three ways must give the same numbers. The next cells make a few steps of training on the films of [notebook
# 08](../08_training.ipynb), with the same weights and the same clips. Where you have no piece yet, the printed solution is
# used.


# %%
def few_steps(way, films, steps=5, rate=0.001):
    """The losses of some steps of plain gradient descent on 32 clips, and the processor time per step."""
    config, gradients = mv.preset("mvit_micro"), exercises.gradients(MINE, way)
    params, losses, begun = mv.init(config, np.random.default_rng(0)), [], time.process_time()
    for _ in range(steps):
        loss, found = gradients(params, films.train_clips[:32], films.train_labels[:32], config)
        params = mv.tree.map(lambda p, g: p - rate * g.astype(p.dtype), params, found)
        losses.append(float(loss))
    return losses, (time.process_time() - begun) / steps


def side_by_side(films):
    """Print one line per way: processor time, losses, and how far these are from autograd's."""
    by_way = {way: few_steps(way, films) for way in exercises.WAYS}
    for way, (losses, seconds) in by_way.items():
        apart = np.abs(np.subtract(losses, by_way["autograd"][0])).max()
        first, last = losses[0], losses[-1]
        print(f"{way:9} {seconds:.2f} s per step   loss {first:.6f} ... {last:.6f}   apart by {apart:.0e}")
        assert apart < 1e-4


# %%
side_by_side(load_motion())

# %% [markdown]
# Where does the time go? Autograd records every slice and every sum of your loops, and has to walk back through all of them.
# Your backward passes record nothing, but they go forward again and again: `backward` does so, then `block_backward`, then
# `attention_layer_backward`, then `pool_heads_backward`. So a pool's convolution is computed five times per step. The tape is
# between the two. It keeps the inputs of each node, and only your backward inside a node computes values again. So a pool's
# convolution is computed three times per step.
#
# Now train your model to the end, once in each way. Open a terminal in this folder and run
#
# - `mvit-np course train my_mvit.py`
# - `mvit-np course train my_mvit.py --gradients backward`
# - `mvit-np course train my_mvit.py --gradients tape`
