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
# # 10 From v1 to v2
#
# The notebooks so far are about the first MViT (Fan et al. 2021). A year later some of its authors improved it with four small
# changes, all inside the block that [04](04_pooling_attention.ipynb) and [05](05_blocks_and_stages.ipynb) took apart.
#
# **The question:** what did MViTv2 (Li et al. 2022, [arXiv 2112.01526](https://arxiv.org/abs/2112.01526)) change, why, and what
# does each change cost? The largest change is positions that know only distances. You compute them by loops first, and then see
# how the package gets them out of the same product $QK^\top$ that attention needs anyway.
#
# ## What the paper says
#
# > "Namely, the way MViT models the interaction between two patches will change depending on their absolute position in images
# > even if their relative positions stay unchanged." (Li et al., Sec. 4.1)
#
# So the position is no longer added to the tokens but to the scores. Query $i$ and key $j$ get a learned vector for their
# *distance*, and it is a sum of three vectors, one per axis (their Eq. 3 and 4):
#
# $$S_{ij} = \frac{Q_i \cdot K_j}{\sqrt d} + Q_i \cdot \big(R^h_{h(i)-h(j)} + R^w_{w(i)-w(j)} + R^t_{t(i)-t(j)}\big),
#   \qquad P = \mathrm{softmax}(S).$$
#
# The pooled query is also added to the output. This is **residual pooling** (Eq. 5): $Z = P V + Q$.
#
# (In the paper $\sqrt d$ divides both terms. In all released code the bias is not scaled, and released weights expect that, so
# the package does the same.)
#
# Words that are new to you are in the [glossary](../docs/glossary.md), symbols in the [notation](../docs/notation.md).

# %%
# %matplotlib inline
import inspect
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap

import mvit_np as mv
from mvit_np import ops
from mvit_np.model.layers.attention import attention
from mvit_np.model.layers.pooling import pool_heads
from mvit_np.ops.relative_position import relative_index
from mvit_np.studies.gradient_cases import TINY_V2, roughened
from mvit_np.visualize.style import BLUE, GREY, INK, ORANGE, SKY, VERMILLION

plt.rcParams.update({"figure.dpi": 100, "font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
DIVERGING = LinearSegmentedColormap.from_list("blue to orange", [BLUE, "white", VERMILLION])
rng = np.random.default_rng(0)

# %% [markdown]
# ## Why: move the picture
#
# A toy scene: an object of 4 x 4 tokens on an empty grid of 8 x 20. The scores between its own tokens say how the model sees
# the object. We slide the object to the right and ask how much these scores change, (a) with a random absolute embedding that
# is added to the tokens, (b) with random tables of relative positions.

# %%
D, ROWS, COLUMNS = 8, 8, 20
thing = rng.standard_normal((4, 4, D))
w_q, w_k = rng.standard_normal((2, D, D)) / D**0.5
absolute = rng.standard_normal((ROWS, COLUMNS, D))
r_h, r_w = 0.3 * rng.standard_normal((2 * ROWS - 1, D)), 0.3 * rng.standard_normal((2 * COLUMNS - 1, D))


def scene(shift):
    x = np.zeros((ROWS, COLUMNS, D))
    x[2:6, 2 + shift : 6 + shift] = thing
    return x


def scores_absolute(shift):
    x = (scene(shift) + absolute)[2:6, 2 + shift : 6 + shift].reshape(16, D)
    return (x @ w_q) @ (x @ w_k).T / D**0.5


# %%
def scores_relative(shift, pool=1):
    """Scores of the object's queries and keys; keys may be pooled to a coarser grid."""
    x = scene(shift)
    q, k = (x @ w_q).reshape(1, -1, 1, D), (x @ w_k).reshape(1, 1, ROWS, COLUMNS, 1, D)
    k = ops.max_pool(k, (1, pool, pool), (1, pool, pool), (0, 0, 0))
    grid_q, grid_k = (1, ROWS, COLUMNS), k.shape[1:4]
    grids = ((1, grid_q, grid_k), (2, grid_q, grid_k))
    q = ops.relative_query(q, D**-0.5, grids, r_h, r_w)
    k = ops.relative_key(k.reshape(1, -1, 1, D), grids)
    scores = (D**-0.5 * q[0, :, 0] @ k[0, :, 0].T).reshape(*grid_q[1:], *grid_k[1:])
    return scores[2:6, 2 + shift : 6 + shift, 2 // pool : 6 // pool, (2 + shift) // pool : (6 + shift) // pool]


def change(scores, shift, **how):
    """The largest change of a score, in standard deviations of the scores."""
    start = scores(0, **how)
    return np.abs(scores(shift, **how) - start).max() / start.std()


# %%
shifts = range(13)
by_absolute = [change(scores_absolute, shift) for shift in shifts]
by_relative = [change(scores_relative, shift) for shift in shifts]
by_pooled = [change(scores_relative, shift, pool=2) for shift in shifts]

# %%
figure, axes = plt.subplots(figsize=(8, 3.8), layout="constrained")
axes.plot(shifts, by_absolute, "o-", color=VERMILLION, label="absolute positions")
axes.plot(shifts, by_pooled, "^--", color=ORANGE, label="relative, keys pooled 2 x 2")
axes.plot(shifts, by_relative, "s-", color=BLUE, label="relative")
axes.set(xlabel="the object moves to the right (tokens)", ylabel="largest change of a score\n(standard deviations)")
axes.set_title("Relative positions give the same scores wherever the object is", loc="left", weight="bold")
axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3)
plt.show()
print(f"largest change: absolute {max(by_absolute):.1f}, relative {max(by_relative):.0e}")
even, odd = by_pooled[::2], by_pooled[1::2]
print(f"keys pooled: even shifts {max(even):.0e} at most, odd shifts {min(odd):.1f} at least")
assert max(by_relative) < 1e-10 and max(by_pooled[::2]) < 1e-10 and min(by_absolute[1:]) > 1

# %% [markdown]
# *How to read it.* With absolute positions the object's inner scores change by several standard deviations as soon as it moves.
# With relative ones they do not change at all. The orange line shows a limit: where keys are pooled, an object that moves by
# one token lies *between* two cells of the coarse grid. Only shifts by the pool's stride leave the scores as they were. MViT
# pools keys by 8 in its first stage.
#
# ## Which row of the table: distances in the finer grid
#
# Queries and keys may live on grids of different fineness, so the paper maps both to a shared scale. On one axis with $n_q$
# query places and $n_k$ key places, distances count in the finer of the two:
#
# $$\mathrm{row}(i, j) = i \max(n_k / n_q, 1) - j \max(n_q / n_k, 1) + (n_k - 1) \max(n_q / n_k, 1).$$
#
# The last term has one purpose: the smallest distance gets row 0. A table has $2 \max(n_q, n_k) - 1$ rows.


# %%
def row(i, j, n_q, n_k):
    """Row of the table for query place i and key place j of one axis."""
    step_q, step_k = max(n_k / n_q, 1), max(n_q / n_k, 1)
    return int(i * step_q - j * step_k + (n_k - 1) * step_k)


for n_q, n_k in ((8, 8), (8, 4), (4, 8)):
    loops = [[row(i, j, n_q, n_k) for j in range(n_k)] for i in range(n_q)]
    np.testing.assert_array_equal(loops, relative_index(np, n_q, n_k))
print("the package picks the same rows")

# %%
figure, panels = plt.subplots(1, 2, figsize=(8.4, 4.9), width_ratios=[8, 4.6], layout="constrained")
for axes, n_k, title in zip(panels, (8, 4), ("Keys as fine as queries", "Keys half as fine"), strict=True):
    distance = relative_index(np, 8, n_k) - row(0, 0, 8, n_k)
    axes.pcolormesh(distance, cmap=DIVERGING, vmin=-9, vmax=9, edgecolor="white")
    for (i, j), value in np.ndenumerate(distance):
        axes.text(j + 0.5, i + 0.5, f"{value:.0f}".replace("-", "\N{MINUS SIGN}"), ha="center", va="center")
    axes.set(title=title, xlabel="key place", ylabel="query place", aspect="equal")
    axes.set(xticks=np.arange(n_k) + 0.5, xticklabels=range(n_k), yticks=np.arange(8) + 0.5, yticklabels=range(8))
    axes.invert_yaxis()
figure.suptitle("One vector per distance: the same number means the same row of the table", weight="bold")
plt.show()

# %% [markdown]
# *How to read it.* A number is the distance (query place minus key place, in cells of the finer grid), and equal numbers share
# one learned vector. On the left the numbers are constant along diagonals. So an axis of 8 places needs 15 vectors, not 64. On
# the right each key stands for two query cells, so one step of the key counts 2. A query at place 0 and the key at place 1 are
# 2 apart.
#
# ## The bias by loops
#
# We take two frames, a query grid of 4 x 4, a key grid of 2 x 2 and three channels. There are four loops: over queries, keys,
# axes and channels.

# %%
THW_Q, THW_K, WIDTH = (2, 4, 4), (2, 2, 2), 3
q, k = (rng.standard_normal((1, np.prod(thw), 1, WIDTH)) for thw in (THW_Q, THW_K))  # (B, N, heads, d)
tables = [rng.standard_normal((2 * max(n_q, n_k) - 1, WIDTH)) for n_q, n_k in zip(THW_Q, THW_K, strict=True)]  # t, h, w


def bias_by_loops(q):
    bias = np.zeros((len(q), np.prod(THW_K)))
    for i, place_q in enumerate(np.ndindex(THW_Q)):
        for j, place_k in enumerate(np.ndindex(THW_K)):
            for axis in (0, 1, 2):
                vector = tables[axis][row(place_q[axis], place_k[axis], THW_Q[axis], THW_K[axis])]
                for channel in range(WIDTH):
                    bias[i, j] += q[i, channel] * vector[channel]
    return bias


loops = bias_by_loops(q[0, :, 0])
print("bias of", len(loops), "queries and", loops.shape[1], "keys")

# %% [markdown]
# ## The bias out of $QK^\top$ itself
#
# The bias has as many numbers as the attention weights, which are the largest array of the model. A separate array for it would
# double the numbers that must be moved. The package avoids this array. On an axis with $n_k$ key places, $Q_i \cdot R_{i-j}$
# takes only $n_k$ values for a query. So each query gets $n_k$ more **columns** that hold them, and each key gets a row with a
# single 1 that picks its own. Then
#
# $$[\,Q_i,\; c^h_i,\; c^w_i,\; c^t_i\,] \cdot [\,K_j,\; e_{h(j)},\; e_{w(j)},\; e_{t(j)}\,]
#   = Q_i \cdot K_j + c^h_{i,h(j)} + c^w_{i,w(j)} + c^t_{i,t(j)} .$$
#
# The columns are divided by the attention's scale, so that the scale cancels. `selection` picks the table's row for every pair
# of places on an axis, as above; all other work is sums over channels.

# %%
print(inspect.getsource(ops.relative_query))

# %%
scale = WIDTH**-0.5
grids = tuple((axis, THW_Q, THW_K) for axis in (1, 2, 0))  # h, w, t as in the released models
long_q = ops.relative_query(q, scale, grids, *(tables[axis] for axis, _, _ in grids))
long_k = ops.relative_key(k, grids)
print("queries", q.shape, "->", long_q.shape, "   keys", k.shape, "->", long_k.shape)

by_product = scale * (long_q[0, :, 0] @ long_k[0, :, 0].T - q[0, :, 0] @ k[0, :, 0].T)
np.testing.assert_allclose(by_product, loops, atol=1e-12)
print(f"loops and columns differ by {np.abs(by_product - loops).max():.0e} at most")
by_hand = ops.softmax(scale * q[0, :, 0] @ k[0, :, 0].T + loops)
np.testing.assert_allclose(ops.attention_weights(long_q, long_k, scale)[0, 0], by_hand)

# %%
figure, panels = plt.subplots(1, 3, figsize=(9, 4.6), width_ratios=[9, 9, 8], layout="constrained")
shown = long_q[0, :, 0].copy(), long_k[0, :, 0], loops
shown[0][:, WIDTH:] *= scale
titles = ("Queries, with bias columns", "Keys, with one-hot rows", "Their product: the bias")
for axes, matrix, title, most in zip(panels, shown, titles, (4, 1.5, 4), strict=True):
    axes.imshow(matrix, cmap=DIVERGING, vmin=-most, vmax=most, aspect="auto", interpolation="nearest")
    axes.set_title(title, fontsize=11)
for axes, what in zip(panels[:2], ("query", "key"), strict=True):
    axes.set(ylabel=what, xticks=[1, 3.5, 5.5, 7.5], xticklabels=["d channels", "h", "w", "t"])
    for edge in (2.5, 4.5, 6.5):
        axes.axvline(edge, color=INK, lw=1)
panels[2].set(xlabel="key", ylabel="query", xticks=range(8))
plt.show()

# %% [markdown]
# *How to read it.* Blue is negative, orange positive. On the left, a query has three channels and then 2 + 2 + 2 numbers, its
# bias for each key row, key column and key frame. In the middle, a key has three channels and then three ones, at its own row,
# column and frame. Attention works as before on vectors that are a little longer. The softmax, its backward and their memory
# stay the same.

# %%
first = mv.plan(mv.preset("mvitv2_s_16x4")).blocks[0]
extra = sum(first.thw_kv["thw".index(axis)] for axis, _ in first.relative)
print(f"MViTv2-S, first block: {first.head_dim} channels and {extra} columns per head; keys on a grid of {first.thw_kv}")
print(f"an array for the bias would hold {first.heads * first.tokens_q * first.tokens_kv:,} numbers per clip,")
print(f"the columns hold              {first.heads * (first.tokens_q + first.tokens_kv) * extra:,}")

# %% [markdown]
# ## What a bias looks like
#
# Here are tables that we invent for one query (released tables are learned; we have none here). Say that this query prefers
# keys in its own row, keys about four cells to its right, and keys in the frame before. The query grid is 4 x 14 x 14, and the
# key grid is 4 x 7 x 7.

# %%
GRID_Q, GRID_K, QUERY = (4, 14, 14), (4, 7, 7), (2, 9, 5)  # (t, h, w)
wishes = {
    "h": lambda distance: 2 - (distance / 4) ** 2 / 1.5,
    "w": lambda distance: 3 * np.exp(-(((distance + 4) / 3) ** 2)) - 1,  # a key to the right: query minus key is negative
    "t": lambda distance: np.where(distance == 1, 1.5, -0.5),
}
parts = []
for axis, wish in zip((1, 2, 0), wishes.values(), strict=True):
    n_q, n_k = GRID_Q[axis], GRID_K[axis]
    distance = np.arange(2 * max(n_q, n_k) - 1) - row(0, 0, n_q, n_k)
    table = np.clip(wish(distance), -3, 3)[:, None].astype(float)  # one channel, in which the query is 1
    one = np.ones((1, np.prod(GRID_Q), 1, 1))
    columns = ops.relative_query(one, 1.0, ((axis, GRID_Q, GRID_K),), table)[0, np.ravel_multi_index(QUERY, GRID_Q), 0, 1:]
    keys = ops.relative_key(np.ones((1, np.prod(GRID_K), 1, 1)), ((axis, GRID_Q, GRID_K),))[0, :, 0, 1:]
    parts.append((keys @ columns).reshape(GRID_K))

# %%
figure, grid = plt.subplots(4, 4, figsize=(8, 8), layout="constrained", sharex=True, sharey=True)
labels = ("height", "width", "time", "sum")
for line, bias, label in zip(grid, (*parts, sum(parts)), labels, strict=True):
    for frame, axes in enumerate(line):
        image = axes.imshow(bias[frame], cmap=DIVERGING, vmin=-5.5, vmax=5.5)
        if frame == QUERY[0]:
            axes.plot(QUERY[2] / 2 - 0.25, QUERY[1] / 2 - 0.25, "*", color=INK, ms=11)
    line[0].set_ylabel(f"{label}\n\nkey row", fontsize=10)
for frame, axes in enumerate(grid[0]):
    axes.set_title(f"key frame {frame}", fontsize=10)
for axes in grid[-1]:
    axes.set(xlabel="key column", xticks=range(0, 7, 2))
figure.colorbar(image, ax=grid, label="bias added to the score", shrink=0.5)
figure.suptitle("Three one-dimensional preferences add up to a place in space and time", weight="bold")
plt.show()

# %% [markdown]
# *How to read it.* The star is the query, in frame 2. Each of the first three rows of panels is constant along two of the three
# axes: the bias for height has horizontal stripes, the bias for width has vertical stripes, and the bias for time is constant
# within a frame. Their sum is highest in frame 1, in the query's row, to the right of the query. After the softmax a sum of
# scores is a *product* of weights, $e^{a + b} = e^a e^b$, so decomposed positions can single out one place. They cannot express
# a preference for a *diagonal*, because weights that are such a product have rank 1.

# %%
in_frame = np.exp(parts[0][1] + parts[1][1])
diagonal = np.exp(-((np.arange(7)[:, None] - np.arange(7)) ** 2.0))
best = np.unravel_index(np.argmax(sum(parts)), GRID_K)
print(f"highest sum: key frame {best[0]}, row {best[1]}, column {best[2]}")
ranks = np.linalg.matrix_rank(in_frame), np.linalg.matrix_rank(diagonal)
print("rank of the weights in one frame: decomposed", ranks[0], "- a diagonal", ranks[1])
assert ranks == (1, 7)

# %% [markdown]
# This does not stop the model from preferring a diagonal, since $Q_i \cdot K_j$ is in the score too. What is gained by the
# split?
#
# ## Table sizes: a sum instead of a product
#
# A joint table would have a vector for each distance in space-time, which makes $L_t L_h L_w$ vectors with
# $L = 2 \max(n_q, n_k) - 1$. Decomposed tables have $L_t + L_h + L_w$ vectors. The paper's Table A.6 gives the parameters of
# MViTv2-S with every kind of positions; we recount them from the plan.

# %%
v2 = mv.preset("mvitv2_s_16x4")
blocks = mv.plan(v2).blocks
for spec in (blocks[0], blocks[1], blocks[3], blocks[14], blocks[15]):
    n = dict(spec.relative)
    joint, split = n["t"] * n["h"] * n["w"], n["t"] + n["h"] + n["w"]
    sizes = f"{n['t']} x {n['h']:3} x {n['w']:3}"
    print(f"block {spec.index:2}: {sizes} = {joint:7,} vectors joint, {split:3} decomposed: 1 to {joint / split:.0f}")


def tables_of(count):
    """Parameters of all blocks' tables, of count({t: L_t, h: L_h, w: L_w}) vectors per block."""
    return sum(count(dict(spec.relative)) * spec.head_dim for spec in blocks)


# %%
none = mv.costs(replace(v2, positions="none")).params
TABLE_A6 = [  # positions, top-1 on Kinetics-400 and M parameters as published, our parameters
    ("none", 80.1, 34.4, none),
    ("absolute", 80.4, 34.7, mv.costs(replace(v2, positions="separate")).params),
    ("relative, time only", 80.8, 34.4, none + tables_of(lambda n: n["t"])),
    ("relative, space only, decomposed", 80.6, 34.5, none + tables_of(lambda n: n["h"] + n["w"])),
    ("relative, decomposed (MViTv2)", 81.0, 34.5, mv.costs(v2).params),
    ("relative, joint in space, and time", 81.1, 37.1, none + tables_of(lambda n: n["h"] * n["w"] + n["t"])),
    ("relative, joint in space-time", None, 73.7, none + tables_of(lambda n: n["h"] * n["w"] * n["t"])),
]
print(f"{'positions':36}  top-1  M, paper    ours")
for name, top1, paper, ours in TABLE_A6:
    print(f"{name:36}  {top1 or '  - '}  {paper:8.1f}  {ours / 1e6:6.2f}")
    assert abs(ours / 1e6 - paper) < 0.06

# %% [markdown]
# All seven counts agree with the paper's to the digit that it prints. Joint tables in space-time would more than double the
# model. Decomposed tables need fewer parameters than the absolute positions that they replace, and the accuracy is only 0.1
# points lower than with tables that are joint in space.
#
# ## Residual pooling, and a query pool in every block
#
# In v1 the keys and values are pooled in every block, but the queries only in three blocks of sixteen. In v2 *every* block
# pools its queries by a convolution, mostly with stride 1 (which shrinks nothing but mixes neighbours), and adds them to the
# output: $Z = PV + Q$. Here is the whole attention of a tiny v2 block by hand, compared with the package's layer.

# %%
spec, params = mv.plan(TINY_V2).blocks[1], roughened(TINY_V2)["blocks"][1]["attn"]
x = rng.standard_normal((1, spec.tokens_in, spec.dim_in))
hats = ops.split_channels(ops.linear(x, params["qkv"]["w"], params["qkv"]["b"]), 3)
q, k, v = (y.reshape(1, -1, spec.heads, spec.head_dim) for y in hats)
q = pool_heads(params, q, spec.pool_q, "q", spec)
k, v = pool_heads(params, k, spec.pool_kv, "k", spec), pool_heads(params, v, spec.pool_kv, "v", spec)

scale, axes = spec.head_dim**-0.5, [axis for axis, _ in spec.relative]
grids = tuple(("thw".index(axis), spec.thw_q, spec.thw_kv) for axis in axes)
long_q = ops.relative_query(q, scale, grids, *(params[f"rel_pos_{axis}"] for axis in axes))
z = ops.attend(long_q, ops.relative_key(k, grids), v, scale)
z[:, spec.cls :] += q[:, spec.cls :]  # residual pooling; the class token's row stays as it is
by_hand = z.reshape(1, -1, spec.dim_attn) @ params["proj"]["w"] + params["proj"]["b"]
np.testing.assert_allclose(attention(params, x, spec), by_hand)
print("queries pooled from", spec.thw, "to", spec.thw_q, "and added: the layer agrees")

# %% [markdown]
# Why add the query? The paper: "to increase information flow and facilitate the training". We can measure one side of that.
# Without residual pooling the query matrix $W_Q$ learns only through the softmax, that is, through *which* values are averaged.
# With residual pooling the query reaches the output directly. We compare the gradient of $W_Q$ in a fresh micro model with and
# without it, for eight random starts with eight random clips each.

# %%
micro = replace(mv.preset("mvit_micro"), positions="relative", pool_q_always=True, expand_in="attention", dropout=0.0)


def query_gradients(config, seed):
    """|dL / dW_Q| of each block at the start of training."""
    draws = np.random.default_rng(seed)
    clips, labels = draws.standard_normal((8, *config.thw, 1)), np.arange(8) % 2
    params = mv.tree.map(np.float64, mv.init(config, draws))
    _, gradient = mv.value_and_grad(lambda params: mv.cross_entropy(mv.forward(params, clips, config), labels))(params)
    matrices = [block["attn"]["qkv"]["w"] for block in gradient["blocks"]]  # queries, keys, values side by side
    return [np.linalg.norm(matrix[:, : matrix.shape[1] // 3]) for matrix in matrices]


both = micro, replace(micro, residual_pooling="tokens")
without, with_residual = (np.array([query_gradients(config, seed) for seed in range(8)]) for config in both)
ratio = with_residual / without
print("mean ratio, block by block:", np.round(ratio.mean(axis=0), 2), f"  smallest of {ratio.size}: {ratio.min():.2f}")
assert ratio.min() > 1

# %%
figure, axes = plt.subplots(figsize=(7.5, 3.4), layout="constrained")
for block, ratios in enumerate(ratio.T):
    dots = block + np.linspace(-0.15, 0.15, len(ratios))
    axes.plot(dots, ratios, "o", color=SKY, label=None if block else "a random start")
    axes.plot(dots[[0, -1]], [ratios.mean()] * 2, color=BLUE, lw=3, label=None if block else "mean")
axes.axhline(1, color=GREY, ls="--", lw=1)
axes.set(xlabel="block", xticks=range(ratio.shape[1]), ylabel="gradient of $W_Q$:\nwith / without", ylim=(0, 2.8))
axes.set_title("With residual pooling more gradient reaches the queries", loc="left", weight="bold")
axes.legend(frameon=False, loc="lower right")
plt.show()

# %% [markdown]
# *How to read it.* A dot is the ratio of two gradient norms of one start, with and without residual pooling; at the dashed line
# the two are equal. This shows one mechanism in a small model. It does not prove that this mechanism makes the model more
# accurate. The paper measured the accuracy (Table A.7, MViTv2-S on Kinetics-400): 79.3 % without either change, 79.7 % with a
# query pool in every block alone, 79.7 % with the residual alone, and **81.0 % with both**. So the two changes belong together.
#
# ## Where the channels widen
#
# v1 doubles the channels in the MLP of a stage's *last* block, so the next stage's first block computes its queries, keys and
# values at double width on tokens that are not pooled yet. v2 doubles them in the attention of a stage's *first* block, and the
# matrix there has half as many rows. (For images v2 also drops the class token, Sec. B.1; its video models keep it.)

# %%
v1 = mv.preset("mvit_b_16x4")
print("        v1: into, attention, out of      v2: into, attention, out of     query pooled: v1, v2")
for old, new in zip(mv.plan(v1).blocks, blocks, strict=True):
    if old.dim_in != new.dim_in or old.dim_out != new.dim_out:
        sizes = [f"{spec.dim_in:8} {spec.dim_attn:7} {spec.dim_out:7}" for spec in (old, new)]
        print(f"block {old.index:2} {sizes[0]:28} {sizes[1]:28} {bool(old.pool_q)!s:>12}, {bool(new.pool_q)}")
pooled = [sum(spec.pool_q is not None for spec in mv.plan(config).blocks) for config in (v1, v2)]
print(f"blocks that pool their queries: {pooled[0]} of 16 in v1, {pooled[1]} of 16 in v2")

# %% [markdown]
# ## What each change costs
#
# We start from `mvit_b_16x4` and make one change after the other. The last line is `mvitv2_s_16x4`.

# %%
CHANGES = {
    "MViT-B 16x4": {},
    "+ relative positions": {"positions": "relative"},
    "+ query pool in every block": {"pool_q_always": True},
    "+ residual pooling": {"residual_pooling": "tokens"},
    "+ widening in the attention": {"expand_in": "attention"},
}
config, path = v1, []
for name, settings in CHANGES.items():
    config = replace(config, **settings)
    path.append((name, mv.costs(config).params / 1e6, mv.costs(config).macs / 1e9))
    print(f"{name:30} {path[-1][1]:6.2f} M parameters {path[-1][2]:6.2f} G multiply-adds")
assert config == v2

# %% [markdown]
# Relative positions and the query pools cost about 0.3 G each. Residual pooling costs only additions, which are not counted.
# The widening in the attention saves 6.9 G, and the accuracy stays the same within 0.1 points (Li et al., Sec. B.1).

# %%
MODELS = {
    "MViT-S 16x4": ("mvit_s_16x4", 76.0),
    "MViT-B 16x4": ("mvit_b_16x4", 78.4),
    "MViTv2-S 16x4": ("mvitv2_s_16x4", 81.0),
}
accounts = [mv.costs(mv.preset(name)) for name, _ in MODELS.values()]

# %%
columns = {
    "parameters (M)": [costs.params / 1e6 for costs in accounts],
    "multiply-adds (G)": [costs.macs / 1e9 for costs in accounts],
    "top-1 on Kinetics-400 (%)": [top1 for _, top1 in MODELS.values()],
}
figure, panels = plt.subplots(1, 3, figsize=(9, 2.9), sharey=True, layout="constrained")
for axes, (title, values) in zip(panels, columns.items(), strict=True):
    axes.barh(list(MODELS), values, color=[SKY, BLUE, ORANGE])
    axes.bar_label(axes.containers[0], [f"{value:.1f}" for value in values], padding=3)
    axes.set(xlabel=title, xlim=(0, max(values) * 1.2))
panels[2].set_xlim(70, 83)
panels[0].invert_yaxis()
figure.suptitle("MViTv2-S: less of everything than MViT-B, and 2.6 points more", weight="bold")
plt.show()

# %% [markdown]
# *How to read it.* Parameters and multiply-adds of one clip are counted from the configs; the accuracies are the authors', on
# Kinetics-400 (note that the last axis begins at 70). For MViT-S the paper prints 32.9 G, but it does not print the stride of
# the keys and values; we guess (1, 4, 4) and show the count that follows from it.
#
# ## Questions
#
# **1.** The class token gets no bias, neither as a query nor as a key. Why not?
#
# <details><summary>Answer</summary>
#
# It has no place in the grid, so it has no distance to anything. In `relative_query` its columns are zero, and in
# `relative_key` its row has zeros only. For the same reason residual pooling leaves its row out in the released video models.
#
# </details>
#
# **2.** Swin adds a bias too, but it learns one *number* per distance and head. What is different in $Q_i \cdot R_{i-j}$?
#
# <details><summary>Answer</summary>
#
# It depends on the content of the query. One token can look to its right while another looks one frame back, with the same
# tables. Swin's number for a distance is the same for all tokens. (A vector needs larger tables: $d$ numbers per row instead of
# one.)
#
# </details>
#
# **3.** You want to run a model on 320 x 320 pixels that was trained on 224 x 224. Are its relative tables long enough?
#
# <details><summary>Answer</summary>
#
# No. Larger grids have larger distances: the tables of the first stage need $2 \cdot 80 - 1 = 159$ rows instead of
# $2 \cdot 56 - 1 = 111$. The tables are stretched by linear interpolation (absolute embeddings must be stretched too);
# `mv.resize` does it. Relative positions make a model independent of where an object is, but not of how large the picture is.
#
# </details>

# %%
# v2 is v1 with four changes. Distances replace places, and the sizes of their tables add up instead of multiplying.
small, base, v2_s = accounts
assert max(by_relative) < 1e-10 < min(by_absolute[1:])
assert v2_s.params < base.params and v2_s.macs < base.macs and MODELS["MViTv2-S 16x4"][1] - MODELS["MViT-B 16x4"][1] > 2.5
assert TABLE_A6[4][3] < TABLE_A6[5][3] < TABLE_A6[6][3]
