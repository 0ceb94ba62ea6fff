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
# # 04 Multi Head Pooling Attention, step by step on real frames
#
# **The question.** Attention compares every token with every other, so its cost grows with the square of their number, and a
# film has many tokens. Notebook 02 built pooling, and notebook 03 built attention. How do the two together make one layer with
# which a transformer can shrink its grid from stage to stage? What does pooling the queries change, and what does pooling the
# keys and values change?
#
# You follow the frames of a real film through one block of an MViT, step by step, and compare with
# the package's layer at the end.
#
# Words that are new to you are in the [glossary](../docs/glossary.md), symbols in the [notation](../docs/notation.md).

# %%
# %matplotlib inline
import dataclasses
import inspect
import math

import matplotlib.pyplot as plt
import numpy as np

# %%
import mvit_np as mv
from mvit_np import data, ops, visualize
from mvit_np.model.account import attention_complexity, attention_macs, tokens_projected
from mvit_np.model.layers.attention import attention, queries_keys_values
from mvit_np.model.layers.block import block
from mvit_np.model.layers.mlp import mlp
from mvit_np.model.layers.pooling import pool_tokens
from mvit_np.model.specs import PoolSpec
from mvit_np.ops.fast.take_seen import on_seen, take_seen
from mvit_np.visualize.style import BLUE, GREEN, INK, ORANGE, SKY

rng = np.random.default_rng(0)
plt.rcParams["figure.dpi"] = 80

# %% [markdown]
# ## What the paper says
#
# > "In contrast to original Multi Head Attention (MHA) operators [...], where the channel dimension and the spatiotemporal
# > resolution remains fixed, MHPA pools the sequence of latent tensors to reduce the sequence length (resolution) of the
# > attended input."
# >
# > Fan et al., Sec. 3.1
#
# Project, pool, attend:
#
# $$\hat Q = X W_Q, \qquad \hat K = X W_K, \qquad \hat V = X W_V$$
#
# $$Q = \mathcal P(\hat Q;\, k, s^Q, p), \quad K = \mathcal P(\hat K;\, k, s^K, p), \quad V = \mathcal P(\hat V;\, k, s^V, p)$$
#
# $$\mathrm{PA}(X) = \mathrm{softmax}\!\left(\frac{Q K^\top}{\sqrt d}\right) V$$
#
# $\mathcal P$ puts the tokens back on their grid of $T \times H \times W$ places, slides a window of size $k$ over it in steps
# of $s$, and keeps one token per window. Only this line is new. Without it you have the attention of 03.

# %% [markdown]
# ## As loops, for one head
#
# We begin with the simplest $\mathcal P$, the maximum of each window, which has no parameters. `x` is a grid of tokens, `o`
# counts the windows, and `i` counts the places in a window. Places outside the grid are left out.


# %%
def pool_loop(x, kernel, stride, padding):
    """The maximum of each window.   x: (T, H, W, d)   ->   (tokens, d)"""
    thw, d = x.shape[:3], x.shape[3]
    grid = [(n + 2 * p - k) // s + 1 for n, k, s, p in zip(thw, kernel, stride, padding)]
    tokens = []
    for o in np.ndindex(*grid):
        token = [-math.inf] * d
        for i in np.ndindex(*kernel):
            t, h, w = (stride[axis] * o[axis] + i[axis] - padding[axis] for axis in range(3))
            if 0 <= t < thw[0] and 0 <= h < thw[1] and 0 <= w < thw[2]:
                for c in range(d):
                    token[c] = max(token[c], x[t, h, w, c])
        tokens.append(token)
    return tokens


# %% [markdown]
# Then comes attention on the pooled tokens. It does not need to know that they were pooled: `q` and `k` may have different
# lengths.


# %%
def attention_loop(q, k, v):
    """softmax(q k' / sqrt(d)) v.   lists of Nq, Nk and Nk tokens   ->   a list of Nq tokens"""
    d, z = len(q[0]), []
    for i in range(len(q)):
        weights = []
        for j in range(len(k)):
            score = sum(q[i][c] * k[j][c] for c in range(d)) / math.sqrt(d)
            weights.append(math.exp(score))
        total = sum(weights)
        z.append([sum(weights[j] * v[j][c] for j in range(len(v))) / total for c in range(d)])
    return z


# %% [markdown]
# Here is the same from the package, on a grid of 2 × 4 × 8 tokens of 3 channels. A `PoolSpec` holds kernel and stride and
# computes the padding and the new grid. Queries are pooled by (1, 2, 2), keys and values by (1, 4, 4), with windows that
# overlap by one place.

# %%
thw, d = (2, 4, 8), 3
q_hat, k_hat, v_hat = rng.standard_normal((3, *thw, d))
few, fewer = PoolSpec("max", (1, 3, 3), (1, 2, 2), thw), PoolSpec("max", (1, 5, 5), (1, 4, 4), thw)

q_list = pool_loop(q_hat, few.kernel, few.stride, few.padding)
k_list, v_list = (pool_loop(x, fewer.kernel, fewer.stride, fewer.padding) for x in (k_hat, v_hat))
z_loop = attention_loop(q_list, k_list, v_list)

as_tokens = [x.reshape(1, -1, 1, d) for x in (q_hat, k_hat, v_hat)]  # (B, N, heads, d)
q, k, v = (pool_tokens(x, spec, cls=False) for x, spec in zip(as_tokens, (few, fewer, fewer)))
z = ops.attend(q, k, v, d**-0.5)

np.testing.assert_allclose(np.array(z_loop), z[0, :, 0], atol=1e-12)
print(f"{math.prod(thw)} tokens came; queries {few.thw_out}: {q.shape[1]}, keys {fewer.thw_out}: {k.shape[1]}")
print(f"{len(z_loop)} tokens go; largest difference of loops and package {np.abs(np.array(z_loop) - z[0, :, 0]).max():.0e}")

# %% [markdown]
# Note the number of tokens in the result: it is the number of *queries*. There were four times fewer keys, but this does not
# change the size of the result.
#
# ## A film and a small model
#
# Next comes a whole layer, on real frames: eight frames of a street film that comes with the package's `video` extra. The model
# has the design of MViT-B, but narrow: it starts with 16 channels where MViT-B has 96. Cubes of 3 × 7 × 7 pixels, 2 × 4 × 4
# apart, make a grid of 4 × 48 × 96 tokens from 8 × 192 × 384 pixels.
#
# The weights are random. Steps, shapes and costs do not depend on that. What the attention *looks at* does: it would become
# useful only by training.

# %%
FILM, START, EVERY = "bikes", 7.6, 0.12  # seconds
moments = START + EVERY * np.arange(8)
frames = data.frames_at(data.film_paths()[FILM], moments, cover=(192, 384))
left = (frames.shape[2] - 384) // 2
frames = data.cut(frames, (0, left), (192, 384))
clip = data.normalise(frames, "clip", dtype="float64")[None]

config = dataclasses.replace(mv.preset("mvit_micro"), size=(192, 384), channels=3, stride_kv=(1, 8, 8))
params = mv.tree.map(np.float64, mv.init(config, rng))
print(f"frames {frames.shape} {frames.dtype}, clip {clip.shape} {clip.dtype}")
print(mv.plan(config))

# %% tags=["film"]
figure, axes = plt.subplots(2, 4, figsize=(11, 3.4), layout="constrained")
for number, (ax, frame) in enumerate(zip(axes.flat, frames), 1):
    ax.imshow(frame)
    ax.set_title(f"frame {number}", fontsize=10)
    ax.set_axis_off()

# %% [markdown]
# We study block 1, the first of the second stage, because it pools everything: queries, keys, values and the skip connection.
# `hook` shows the arrays inside the model. The output of block 0 is the input of block 1.

# %%
seen = {}
mv.forward(params, clip, config, hook=seen.__setitem__)
spec, p = mv.plan(config).blocks[1], params["blocks"][1]
a = p["attn"]
x = seen["blocks.0.output"]
print("x", x.shape, "= 1 class token +", " × ".join(map(str, spec.thw)), "tokens")
print("queries: ", spec.pool_q, "\nkeys:    ", spec.pool_kv, "\nskip:    ", spec.pool_skip)

# %% [markdown]
# Its plan as a picture, the paper's Fig. 3 with this block's own sizes. Read it from the bottom up: the input is normed and
# projected three times, each projection is pooled on its own (orange), then comes ordinary attention (green). On the left the
# skip connection goes around all of these steps, and it is pooled too. The shape of each array is written beside its arrow.

# %%
visualize.pooling_attention_figure(spec)


# %% [markdown]
# ## The steps
#
# **Norm, then project.** Each token is normed over its channels: mean 0 and variance 1, then a gain $g$ and a shift $b$. Three
# matrices turn it into $\hat q$, $\hat k$ and $\hat v$. The released models store the three side by side in one matrix, so this
# matrix has three times as many columns as rows.

# %%
print(inspect.getsource(ops.layer_norm))


# %%
def norm(x, params):
    return ops.layer_norm(x, params["g"], params["b"], spec.eps)


def show(name, array):
    print(f"{name:<12}{str(array.shape):<22}{math.prod(array.shape):>10,} numbers")


y = norm(x, p["norm1"])
w_q, w_k, w_v = np.split(a["qkv"]["w"], 3, axis=1)
b_q, b_k, b_v = np.split(a["qkv"]["b"], 3)
q_hat, k_hat, v_hat = y @ w_q + b_q, y @ w_k + b_k, y @ w_v + b_v
for name, array in {"x": x, "y": y, "W": a["qkv"]["w"], "W_Q": w_q, "q_hat": q_hat}.items():
    show(name, array)

# %% [markdown]
# **Split heads.** The 32 channels of a token are cut into `heads` groups of `d` channels. From here on each head works alone,
# until the heads are joined.

# %%
heads, d = spec.heads, spec.head_dim
q_hat, k_hat, v_hat = (hat.reshape(1, spec.tokens_in, heads, d) for hat in (q_hat, k_hat, v_hat))
show("q_hat", q_hat)


# %% [markdown]
# **Pool.** The class token has no place in the grid, so it is put aside. The other tokens go back to their grid, and a learned
# filter of 3 × 3 × 3 places slides over it: one filter for each of the `d` channels, the same in all heads. Its stride decides
# how many tokens are left. Then the grid becomes a list again, with the class token in front.


# %%
def pool(tokens, w, pooling):
    """Around the class token.   tokens: (1, 1 + T H W, heads, d)   w: (kt, kh, kw, d)   ->   (1, 1 + t h w, heads, d)"""
    class_token, rest = tokens[:, :1], tokens[:, 1:]
    grid = rest.reshape(1, *spec.thw, heads, d)
    grid = ops.depthwise_conv(grid, w, pooling.stride, pooling.padding)
    assert grid.shape == (1, *pooling.thw_out, heads, d)
    return np.concatenate([class_token, grid.reshape(1, -1, heads, d)], axis=1)


q_pooled = pool(q_hat, a["pool_q"]["w"], spec.pool_q)
k_pooled = pool(k_hat, a["pool_k"]["w"], spec.pool_kv)
v_pooled = pool(v_hat, a["pool_v"]["w"], spec.pool_kv)
for name, array in {"pool_q.w": a["pool_q"]["w"], "q_pooled": q_pooled, "k_pooled": k_pooled, "v_pooled": v_pooled}.items():
    show(name, array)

# %% [markdown]
# The figure shows the result: the length (Euclidean norm) of each token's vector, drawn at its place in the grid. This is one
# number per token, while a token has 32 numbers.


# %%
def token_lengths(tokens, thw):
    """|token| over all heads and channels.   tokens: (1, 1 + t h w, heads, d)   ->   (t, h, w)"""
    return np.sqrt((tokens[0, 1:] ** 2).reshape(*thw, -1).sum(axis=-1))


# %%
def draw(rows, title, unit, low=None, high=None):
    """A row of pictures for each (label, (t, h, w) array or frames), one per time step. Without low and high a scale per row."""
    figure, axes = plt.subplots(len(rows), 4, figsize=(11, 1.5 * len(rows) + 0.5), layout="constrained")
    for line, (label, grid) in zip(axes, rows):
        bottom, top = np.quantile(grid, (0.002, 0.998)) if high is None else (low, high)
        for ax, picture in zip(line, grid):
            image = ax.imshow(picture, vmin=bottom, vmax=top, extent=(0, 96, 48, 0), interpolation="nearest")
            ax.set(xticks=[], yticks=[])
        line[0].set_ylabel(label)
        if grid.ndim == 3:  # and no frames in colour
            figure.colorbar(image, ax=line, label=unit, pad=0.01)
    for t, ax in enumerate(axes[0]):
        ax.set_title(f"around frame {2 * t + 1}", fontsize=11)
    figure.suptitle(title, fontsize=13, weight="bold")
    return axes


# %%
rows = [
    ("$\\hat{q}$: 48 × 96", token_lengths(q_hat, spec.thw)),
    ("pooled: 24 × 48", token_lengths(q_pooled, spec.thw_q)),
    ("$\\hat{k}$: 48 × 96", token_lengths(k_hat, spec.thw)),
    ("pooled: 12 × 24", token_lengths(k_pooled, spec.thw_kv)),
]
axes = draw(rows, "Queries are pooled to a coarser grid, keys to a coarser one still", "length")

# %% [markdown]
# How to read it: time runs to the right, a column for each step of the token grid, whose cubes see three frames each. A tile is
# a token. The upper pair is the query before and after its pool, and the lower pair is the key. The scene stays the same; only
# its tiles grow, by 2 for the query and by 4 for the key. The numbers on the scales become ten times smaller, because a new
# random filter has small weights. Where a window reaches outside the grid, zeros are added: so the first row of the pooled maps
# is darker. The first and the last time step are darker than the middle ones, because windows are three time steps deep.
#
# **Norm after the pool.** The length of a pooled token depends on the filter's weights and on the border. A norm removes this:
# it gives every query, key and value the same length, nearly $\sqrt d$, so that the scores have a useful size. The class token
# gets this norm too.

# %%
q, k, v = norm(q_pooled, a["norm_q"]), norm(k_pooled, a["norm_k"]), norm(v_pooled, a["norm_v"])
for name, array, before in (("q", q, q_pooled), ("k", k, k_pooled), ("v", v, v_pooled)):
    show(name, array)
    lengths = [np.linalg.norm(tokens[0, 1:], axis=-1) for tokens in (before, array)]
    print(f"   length in a head: {lengths[0].min():.4f} to {lengths[0].max():.4f} before, {lengths[1].mean():.2f} after")
print(f"   sqrt(d) = {math.sqrt(d):.2f}")


# %% [markdown]
# **Scores and softmax.** Every query is multiplied with every key, in each head. A row of `weights` belongs to a query
# and sums to 1.
#
# The largest array of the layer is made here. Without pools it would have as many rows and as many columns as `x` has tokens.

# %%
scores = np.einsum("bihc,bjhc->bhij", q, k) / math.sqrt(d)
weights = ops.softmax(scores)
show("scores", scores)
np.testing.assert_allclose(weights.sum(axis=-1), 1)
np.testing.assert_allclose(weights, seen["blocks.1.attention"], atol=1e-12)
full = heads * spec.tokens_in**2
print(f"{weights.size:,} weights; without pools {full:,}, {full / weights.size:.1f} times as many")

unnormed = ops.softmax(np.einsum("bihc,bjhc->bhij", q_pooled, k_pooled) / math.sqrt(d))
for name, each in (("with", weights), ("without", unnormed)):
    print(f"largest weight {name} the norm after the pool: {each.max() * spec.tokens_kv:.3f} × uniform")

# %% [markdown]
# Without the norm, every query of this fresh model would give all keys nearly the same weight: even the largest weight would
# hardly differ from that of uniform attention, 1 over the number of keys. With the norm the weights differ.
#
# What do queries look at? The frames of the film are not stored in this notebook, so let us send another clip through the same
# block, with the same weights: a drawn street, whose houses move to the left while a person walks to the right.

# %%
street = data.drawn_street(np.random.default_rng(8), (192, 384), pan=-6, walk=(60, 12))  # (T, H, W, 3)
street_seen = {}
mv.forward(params, data.normalise(street, "clip", dtype="float64")[None], config, hook=street_seen.__setitem__)
STEP = 1  # of the four time steps of the grid: around frame 3
PLACES = {"shirt": (15, 12), "road": (22, 40), "sky": (1, 30)}  # (row, column) on the grid of the queries
attended = street_seen["blocks.1.attention"][0, :, 1:, 1:].reshape(heads, *spec.thw_q, *spec.thw_kv) * spec.tokens_kv
rows = [
    (f"{name}, head {head + 1}", attended[head, STEP, row, column])
    for name, (row, column) in PLACES.items()
    for head in range(heads)
]

# %%
axes = draw([("the street", street[::2]), *rows], "What three queries attend to, in each of the two heads", "× uniform", 0, 6)
dots = [*PLACES.values()], *([place] for place in PLACES.values() for _ in range(heads))
for line, places in zip(axes, dots):
    for row, column in places:
        line[STEP].plot(2 * column + 1, 2 * row + 1, "o", color="white", markeredgecolor="black", markersize=9)


# %% [markdown]
# How to read it: time runs to the right. The upper row is the street. Below, a row is one query in one head, and the dot marks
# the query's place and time. A tile is a key; keys are 4 places apart on the input grid, so the tiles are large. On the scale 1
# is uniform attention; yellow is 6 times as much or more. All four time steps are open to a query: attention goes through the
# whole clip, not only through its own frame. The weights are random, but the map of a query still has the shapes of the street,
# because tokens that look alike have similar keys. We can test this with numbers: over all queries, do two keys whose parts of
# the picture have the same brightness get similar weights?

# %%
bright = street[::2].mean(axis=-1).reshape(4, 12, 16, 24, 16).mean(axis=(2, 4)).ravel()  # of what lies under each key
sky_like = np.abs(bright - bright.max()) < 10
by_query = np.log(street_seen["blocks.1.attention"][0, :, 1:, 1:])  # (heads, Nq, Nk), softmax's scores up to a constant
scatter = by_query[..., sky_like].std(axis=-1).mean(), by_query.std(axis=-1).mean()
print(
    f"{sky_like.sum()} keys are as bright as the sky: their scores scatter by {scatter[0]:.2f}, all keys' by {scatter[1]:.2f}"
)
assert scatter[0] < 0.7 * scatter[1]

# %% [markdown]
# **Times v, join heads, project.** The weights mix the values. Then the heads' channels lie side by side again and a last
# matrix mixes them.

# %%
z = np.einsum("bhij,bjhc->bihc", weights, v)
show("z", z)
joined = z.reshape(1, spec.tokens_q, heads * d)
show("joined", joined)
out = joined @ a["proj"]["w"] + a["proj"]["b"]
show("out", out)

by_package = attention(a, y, spec)
np.testing.assert_allclose(out, by_package, atol=1e-12)
print(f"layers.attention agrees: largest difference {np.abs(out - by_package).max():.0e} of {np.abs(out).max():.2g}")

# %% [markdown]
# `layers.attention` has the same steps in the same order: project, pool, attend, project.

# %%
print(inspect.getsource(attention), inspect.getsource(queries_keys_values), sep="\n\n")

# %% [markdown]
# The version that normally runs takes a shorter way to the same numbers. The fast version of `ops.attend` never holds all
# weights at a time (notebook 03 showed how). Within `mv.plain_ops()` all steps run as you read them:

# %%
with mv.plain_ops():
    plain = attention(a, y, spec)
np.testing.assert_allclose(plain, by_package, atol=1e-12)
apart = np.abs(plain - by_package).max()
print(f"by the definitions alone: at most {apart:.0e} from what ran above")

# %% [markdown]
# The second shortcut leaves out tokens that no window sees. A key is $P(X W_K)$: it is first projected, then pooled. The
# projection works on each token alone. Where the stride is wider than the window, as in block 0 of MViT-B, most tokens are in
# no window ([02](02_pooling.ipynb) drew them), and it is useless to project them to keys and values. So the fast version of
# `queries_keys_values` (`model/fast.py`) takes the seen tokens first, with the functions of 02:

# %%
first = mv.plan(mv.preset("mvit_b_16x4")).blocks[0]
at = first.pool_kv.thw_in, first.pool_kv.kernel, first.pool_kv.stride, first.pool_kv.padding
many, w_key, filters = (rng.standard_normal(shape) for shape in ((1, first.tokens_in, 4), (4, 4), (*at[1], 4)))

every = pool_tokens((many @ w_key)[:, :, None], first.pool_kv, True, filters)  # as the paper writes it; one head
some = pool_tokens((take_seen(many, *at) @ w_key)[:, :, None], on_seen(first.pool_kv), True, filters)
np.testing.assert_allclose(some, every, atol=1e-12)
projected = tokens_projected(first)
cost = [2 * n * first.dim_in * first.dim_attn / 1e6 for n in (first.tokens_in, projected)]
print(f"keys from all tokens and from the seen ones differ by at most {abs(some - every).max():.1e}")
print(f"tokens projected: {first.tokens_in:,} or {projected:,}; keys that come out: {first.tokens_kv}")
print(f"multiply-adds of W_K and W_V in block 0 of MViT-B: {cost[0]:.0f} M or {cost[1]:.0f} M")

# %% [markdown]
# ## The skip connection has to be pooled
#
# The block adds its input to the result of attention. But the input has more tokens:

# %%
try:
    print(x + out)
except ValueError as problem:
    print("x + out:", problem)

# %% [markdown]
# So the skip connection shrinks with the queries' stride as well. It is pooled by the maximum of each window of 3 × 3 places,
# which has no weights and keeps the size of the numbers.

# %%
grid = x[:, 1:].reshape(1, *spec.thw, spec.dim_in)
grid = ops.max_pool(grid, spec.pool_skip.kernel, spec.pool_skip.stride, spec.pool_skip.padding)
skip = np.concatenate([x[:, :1], grid.reshape(1, -1, spec.dim_in)], axis=1)
show("x", x)
show("skip", skip)
x1 = skip + out
show("x1", x1)

window = x[0, 1:].reshape(*spec.thw, spec.dim_in)[1, 27:30, 39:42]  # what token (1, 14, 20) of the skip is made of
np.testing.assert_array_equal(grid[0, 1, 14, 20], window.max(axis=(0, 1)))

# %%
CHANNEL = int(x[0, 1:].std(axis=0).argmax())  # the one that varies most
TOP, BOTTOM, LEFT, RIGHT = 20, 36, 28, 52  # a part of the grid of x
panels = {"x": (x, spec.thw, 1), "skip": (skip, spec.thw_q, 2), "out": (out, spec.thw_q, 2), "x1": (x1, spec.thw_q, 2)}
limit = 1.1 * np.abs(x[0, 1:, CHANNEL]).max()
figure, axes = plt.subplots(1, 4, figsize=(11, 2.7), layout="constrained", sharey=True)
for ax, (name, (tokens, thw, s)) in zip(axes, panels.items()):
    picture = tokens[0, 1:, CHANNEL].reshape(thw)[STEP, TOP // s : BOTTOM // s, LEFT // s : RIGHT // s]
    image = ax.imshow(picture, cmap="PuOr", vmin=-limit, vmax=limit, extent=(LEFT, RIGHT, BOTTOM, TOP), interpolation="nearest")
    ax.set(title=f"{name}: {picture.shape[0]} × {picture.shape[1]} of {thw[1]} × {thw[2]}", xlabel="column, in places of x")
axes[0].set_ylabel("row, in places of x")
for ax, corner, side in ((axes[0], (39, 27), 3), (axes[1], (40, 28), 2)):
    ax.add_patch(plt.Rectangle(corner, side, side, fill=False, edgecolor=INK, linewidth=2.5))
figure.colorbar(image, ax=axes, label=f"value of channel {CHANNEL}")
_ = figure.suptitle("The skip keeps the largest of each window, and the sum stays close to it", fontsize=13, weight="bold")

# %% [markdown]
# How to read it: you see a part of the second time step, in one channel of the 32, with one scale of colours. From left to
# right there are the block's input, the pooled skip, the result of attention, and the sum of the last two. The frame in `x` is
# a window of 3 × 3 places, and the frame in `skip` is the token that got its maximum. Purple (large) areas become wider, and
# thin orange areas are filled in. `out` is pale: at the start of training attention adds little, and the block passes its input
# on.
#
# **The rest of the block** is that of any transformer ([03b](03b_transformer_block.ipynb)): norm, MLP, add. It works on each
# token alone and changes no grid.

# %%
x2 = x1 + mlp(p["mlp"], norm(x1, p["norm2"]))
by_package = block(p, x, spec)
np.testing.assert_allclose(x2, by_package, atol=1e-12)
np.testing.assert_allclose(x2, seen["blocks.1.output"], atol=1e-12)
show("x2", x2)
print(f"layers.block agrees: largest difference {np.abs(x2 - by_package).max():.0e} of {np.abs(x2).max():.2g}")


# %% [markdown]
# ## What does each pool change?
#
# The length of a block's output is that of its queries. Keys and values may be as few as you like. Here is the same layer with
# the *same parameters* and other strides for keys and values: a stride is not a parameter, and neither is the grid.


# %%
def with_stride_kv(spec, s):
    """The same block, but with keys and values pooled by (1, s, s), or not at all."""
    return dataclasses.replace(spec, pool_kv=s and PoolSpec("conv", (3, 3, 3), (1, s, s), spec.thw))


for s in (None, 2, 4, 8):
    each = with_stride_kv(spec, s)
    print(f"stride_kv {s or 'none':>4}: keys {str(each.thw_kv):<12} out {attention(a, y, each).shape}")

# %% [markdown]
# What changes is the cost. Count multiply-adds from the sizes alone, step by step. `attention_macs`
# (`model/account.py`) does the same.


# %%
def parts(s):
    """Multiply-adds of each step of a block's attention, for one clip."""
    pools = [pool for pool in (s.pool_q, s.pool_kv, s.pool_kv) if pool]
    return {
        "project q, k, v": s.tokens_in * s.dim_in * 3 * s.dim_attn,
        "pool": sum(math.prod(pool.thw_out) * math.prod(pool.kernel) * s.dim_attn for pool in pools),
        "q k' and weights times v": 2 * s.tokens_q * s.tokens_kv * s.dim_attn,
        "project out": s.tokens_q * s.dim_attn**2,
    }


# %%
STRIDES, mvit_b = (None, 2, 4, 8), mv.plan(mv.preset("mvit_b_16x4")).blocks
BLOCKS = {"this block": spec, "MViT-B, block 1": mvit_b[1], "MViT-B, block 5": mvit_b[5]}
for name, each in BLOCKS.items():
    for s in STRIDES:
        counted = parts(with_stride_kv(each, s))
        total = sum(counted.values())
        assert total == attention_macs(with_stride_kv(each, s))
        share, pools = counted["q k' and weights times v"] / total, counted["pool"] / total
        print(f"{name}, stride_kv {s or 'none':>4}: {total / 1e9:>6.2f} G, weights {share:.0%}, pools {pools:.1%}")

# %%
figure, axes = plt.subplots(1, 3, figsize=(11, 4), layout="constrained")
for ax, (name, each) in zip(axes, BLOCKS.items()):
    counted, below = [parts(with_stride_kv(each, s)) for s in STRIDES], np.zeros(4)
    for step, colour in zip(counted[0], (SKY, ORANGE, GREEN, BLUE)):
        height = np.array([line[step] for line in counted]) / 1e9
        ax.bar(range(4), height, bottom=below, color=colour, label=step, width=0.65)
        below += height
    ax.margins(y=0.1)
    for place, total in enumerate(below):
        ax.text(place, total, f"{total:.3g}", ha="center", va="bottom", fontsize=11, color=INK)
    ax.set_xticks(range(4), ["none", "1×2×2", "1×4×4", "1×8×8"])
    ax.set(xlabel="stride of keys and values", title=f"{name}:\n{each.tokens_in:,} tokens, {each.dim_attn} channels")
    ax.spines[["top", "right"]].set_visible(False)
axes[0].set_ylabel("1e9 multiply-adds")
axes[0].legend(frameon=False)
_ = figure.suptitle("Pooling keys and values pays where tokens are many", fontsize=13, weight="bold")

# %% [markdown]
# How to read it: a bar is the attention of one block for one clip, its colours are the steps, and each panel has its own axis.
# The green part is proportional to the number of queries times the number of keys; each doubling of the stride divides it by
# four. The other parts are linear in the number of tokens. The part of the pools (orange) is too thin to see. Block 5 of
# MViT-B, in the third stage, has few tokens and many channels: with a stride of 2 the projections are already the larger part,
# and a larger stride saves little. So the stride may fall from stage to stage. MViT-B has 1×4×4 in block 1 and 1×2×2 in block 5
# (1×8×8 in its first stage, divided by the queries' strides met so far).
#
# Next we count the whole model, not only one block:

# %%
for stride_kv in (None, (1, 2, 2), (1, 4, 4), (1, 8, 8)):
    whole = mv.costs(dataclasses.replace(mv.preset("mvit_b_16x4"), stride_kv=stride_kv))
    weights_gb = whole.attention_bytes / 1e9
    print(f"first stage's stride_kv {stride_kv}: {whole.macs / 1e9:6.1f} G, weights of one block up to {weights_gb:5.2f} GB")

# %% [markdown]
# The last line is MViT-B as published: the paper's Table 4 has 70.5 G (07 says where the tenth comes from). Memory follows the
# weights: they are the largest array of a block (here in float32, for one clip), wherever they are held at once.
#
# ## How it grows
#
# With $f_Q = s^Q_T s^Q_H s^Q_W$ and $f_K$ likewise (how many times fewer queries and keys there are), Sec. 3.1 gives, for all
# heads together (the paper prints the time of one),
#
# $$\text{time } O\!\left(THW\, D\, \Big(D + \frac{THW}{f_Q f_K}\Big)\right), \qquad
# \text{memory } O\!\left(THW\, h\, \Big(\frac Dh + \frac{THW}{f_Q f_K}\Big)\right).$$
#
# $D$ stands for the projections, which see each token once. $THW / f_Q f_K$ stands for the weights. Which one is larger
# decides where the time goes. `attention_complexity` gives both formulas without their $O$.

# %%
for name, each in BLOCKS.items():
    for s in STRIDES:
        one = with_stride_kv(each, s)
        n, folds = math.prod(one.thw), math.prod(one.stride_q) * math.prod(one.stride_kv)
        time = n * one.dim_attn * (one.dim_attn + n / folds)
        assert math.isclose(time, attention_complexity(one)[0])
        ratio = attention_macs(one) / time
        assert 2 <= ratio <= 4
        keys = f"D = {one.dim_attn:>3}, THW / fQ fK = {n / folds:>8,.1f}"
        print(f"{name}, stride_kv {s or 'none':>4}: {keys}, counted / formula {ratio:.2f}")

# %% [markdown]
# The count is two to four times the formula, whatever the stride: a constant factor is what $O$ leaves out. (It is two where
# the weights dominate, since two products are made with them. It is up to four where the projections dominate, since there
# are four of those, and the last one is for the pooled queries only.) In the memory the second term is the number of
# weights:

# %%
h, folds = spec.heads, math.prod(spec.stride_q) * math.prod(spec.stride_kv)
by_formula = math.prod(spec.thw) * h * math.prod(spec.thw) // folds
print(f"THW h THW / fQ fK = {by_formula:,}; held above, with the class token: {weights.size:,}")
assert abs(weights.size / by_formula - 1) < 0.002

# %% [markdown]
# Its first term, $THW\,h\,D/h$, is the projections' results. More heads mean more weights to hold, but not more multiply-adds.
# How many heads there are follows from the width of a head, which is the same in all stages. Where channels double, heads
# double:

# %%
for name in ("mvit_b_16x4", "mvit_micro"):
    blocks = mv.plan(mv.preset(name)).blocks
    sizes = sorted({(s.stage + 1, s.dim_attn, s.heads, s.head_dim) for s in blocks})
    print(name, *(f"  stage {stage}: {dim} channels / {h} = {d} a head" for stage, dim, h, d in sizes), sep="\n")
    assert len({s.head_dim for s in blocks}) == 1

# %% [markdown]
# So the factor $1/\sqrt d$ is the same in all blocks, and a pool's filters have the same size everywhere.
#
# ## Questions
#
# **1.** A block pools its queries by (1, 2, 2) and its keys and values by (1, 4, 4). About how many times fewer weights are
# there, and how many times fewer tokens leave the block?
#
# <details><summary>Answer</summary>
#
# 4 · 16 = 64 times fewer weights, and 4 times fewer tokens: only the queries' stride counts for the output. (The class token
# is in all lists, which is why the number printed above is a little below 64.)
# </details>
#
# **2.** Why must keys and values have the same stride, $s^K = s^V$, while queries are free?
#
# <details><summary>Answer</summary>
#
# The weight in row $i$ and column $j$ is made from key $j$ and multiplies value $j$. Keys and values have to be as many, and
# at the same places. Nothing pairs a query with a key.
# </details>
#
# **3.** You double height and width of the film. By what factor does the green part of the bars grow, and by what factor
# do the blue ones grow? What would you do about it?
#
# <details><summary>Answer</summary>
#
# Four times the tokens: the green part grows by 16, the projections by 4. Doubling the keys' stride in height and width
# takes a factor of 4 away from the green part again, and leaves the block's parameters as they are.
# </details>
#
# **Now you.** [Exercises to 04](exercises/04_pooling_attention.ipynb): from key lines that you fill in to open questions.
# `exercises.check` says whether an answer is right, and which mistake it looks like.

# %%
# Queries set the length of the output, keys and values only the price; the skip follows the queries.
for s in STRIDES:
    assert attention(a, y, with_stride_kv(spec, s)).shape == (1, spec.tokens_q, spec.dim_attn) == skip.shape
prices = [attention_macs(with_stride_kv(spec, s)) for s in STRIDES]
assert prices == sorted(prices, reverse=True) and prices[0] > 5 * prices[2]
