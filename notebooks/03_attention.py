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
# # 03 Attention, and what it costs
#
# [Notebook 01](01_tokens.ipynb) turned a clip into a list of tokens, each with its position added. [Notebook
# 02](02_pooling.ipynb) shrank grids of tokens with a sliding window, which sees neighbours only. **How does a token gather what
# it needs from all other tokens, however far away, and what does this cost when there are many tokens?** This notebook is about
# plain self-attention, without pooling. Its last sections count the cost for video. This cost is the reason why notebook 04
# combines attention with pooling. Before that, [03b](03b_transformer_block.ipynb) shows the other parts of a block, and why
# there are several heads.
#
# Words that are new to you are in the [glossary](../docs/glossary.md), symbols in the [notation](../docs/notation.md).

# %%
# %matplotlib inline
import inspect
import math
import time
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.patches import Rectangle

# %%
import mvit_np as mv
from mvit_np import ops
from mvit_np.backend import tiles
from mvit_np.model.account import attention_macs
from mvit_np.model.layers.attention import attention
from mvit_np.visualize.style import BLUE, GREY, INK, ORANGE, VERMILLION

plt.rcParams.update({"figure.dpi": 100, "font.size": 11, "axes.titlesize": 12})
rng = np.random.default_rng(0)

# %% [markdown]
# ## What the paper says
#
# > "Since attention computation scales quadratically w.r.t. the sequence length, pooling the key, query and value tensors
# > has dramatic benefits on the fundamental compute and memory requirements of the Multiscale Transformer model."
# > (Fan et al., Sec. 3.1)
#
# To see why, we take attention without the pooling. The tokens are the rows of $X$, an $N \times D$ matrix. Three learned
# matrices turn each token into a query, a key and a value, and attention is
#
# $$Q = X W_Q, \qquad K = X W_K, \qquad V = X W_V, \qquad
# Z = \operatorname{softmax}\!\left(\frac{Q K^\top}{\sqrt d}\right) V .$$
#
# In words: the query of token $i$ is compared with the key of every token $j$ by a dot product. The softmax turns the $N$
# scores into positive weights whose sum is 1. Row $i$ of $Z$ is the mean of all values with these weights. With $h$ heads this
# happens $h$ times side by side, each time on its own $d = D / h$ of the $D$ channels. A last matrix $W_O$ mixes the heads.

# %% [markdown]
# ## In plain Python
#
# There are three nested loops: over heads, over queries, and over keys (inside the square brackets). Nothing else happens in
# attention.


# %%
def attend_loop(q, k, v, heads):
    """For each head and query: scores, softmax, weighted mean.   three lists of N rows of D numbers -> one such list"""
    d = len(q[0]) // heads
    z = [[0.0] * len(row) for row in q]
    for head in range(heads):
        channels = range(head * d, (head + 1) * d)  # a group of its own
        for i in range(len(q)):
            scores = [sum(q[i][c] * k[j][c] for c in channels) / math.sqrt(d) for j in range(len(k))]
            exponentials = [math.exp(s - max(scores)) for s in scores]
            weights = [e / sum(exponentials) for e in exponentials]
            for c in channels:
                z[i][c] = sum(weights[j] * v[j][c] for j in range(len(v)))
    return z


# %% [markdown]
# ## In the package
#
# `ops.attend` takes arrays $(B, N, h, d)$: a reshape cuts the channels into heads, and no number moves. Without the loops
# attention is two products and the softmax between them, for all heads at once. (Its `backward` is for [notebook
# 06](06_gradients.ipynb).)

# %%
print(inspect.getsource(ops.attend), inspect.getsource(ops.attention_weights), sep="\n\n")

# %% [markdown]
# One linear layer makes $Q$, $K$ and $V$ at once, because released models keep the three matrices
# side by side in one; `ops.split_channels` takes them apart. The example has 3 heads and 9 tokens:
# a grid of 2 x 2 x 2 and a class token.

# %%
config = replace(mv.preset("vit_b_8f"), frames=2, size=32, dim=12, heads=3, depths=(1,))
spec = mv.plan(config).blocks[0]
N, D, h, d = spec.tokens_in, spec.dim_attn, spec.heads, spec.head_dim
x = rng.standard_normal((1, N, D))
w_qkv = rng.standard_normal((D, 3 * D)) / math.sqrt(D)

q_rows, k_rows, v_rows = ops.split_channels(ops.linear(x, w_qkv), 3)  # (1, N, D) each
q, k, v = (rows.reshape(1, N, h, d) for rows in (q_rows, k_rows, v_rows))
z = ops.attend(q, k, v, d**-0.5)  # (1, N, h, d)

z_loop = attend_loop(q_rows[0].tolist(), k_rows[0].tolist(), v_rows[0].tolist(), h)
np.testing.assert_allclose(z.reshape(N, D), z_loop, rtol=1e-12, atol=1e-12)
print(f"N = {N} tokens, D = {D} channels, h = {h} heads of d = {d}")
print(f"largest difference between loop and package: {np.abs(z.reshape(N, D) - z_loop).max():.1e}")

# %% [markdown]
# `ops.attention_weights` returns the weights themselves, $(B, h, N, N)$, for looking at. The whole layer is
# `layers.attention`: it projects, attends, and mixes the heads with $W_O$.

# %%
p = ops.attention_weights(q, k, d**-0.5)
np.testing.assert_allclose(p.sum(-1), 1)  # each row sums to 1
np.testing.assert_allclose(np.einsum("bhij,bjhd->bihd", p, v), z)  # and Z = P V, head by head

w_o = rng.standard_normal((D, D)) / math.sqrt(D)
layer = attention({"qkv": {"w": w_qkv}, "proj": {"w": w_o, "b": np.zeros(D)}}, x, spec)
np.testing.assert_allclose(layer, z.reshape(1, N, D) @ w_o)
print("weights", p.shape, "  rows sum to", p.sum(-1).min().round(12), "to", p.sum(-1).max().round(12))

# %% [markdown]
# ## A picture of one row
#
# We make twelve tokens by hand: a picture of 3 x 4 places that show sky, tree, car or road. Each token is a noisy copy of its
# kind's vector. To keep it simple $W_Q = W_K = W_V = I$, so that a token's query, key and value are the token itself.

# %%
KINDS = ("sky", "tree", "car", "road")
places = ["sky", "sky", "tree", "sky", "car", "car", "tree", "sky", "road", "road", "road", "road"]
kinds = np.array([KINDS.index(place) for place in places])
tokens = 3 * np.eye(4)[kinds] + 0.35 * rng.standard_normal((12, 4))
as_head = tokens.reshape(1, 12, 1, 4)
P = ops.attention_weights(as_head, as_head, 4**-0.5)[0, 0]
Z = ops.attend(as_head, as_head, as_head, 4**-0.5)[0, :, 0]
QUERY, roads = 9, kinds == KINDS.index("road")
print(f"token {QUERY} ({places[QUERY]}) gives {P[QUERY, roads].sum():.0%} of its weight to the road")
print(f"token 4 (car) gives {P[4, 5]:.0%} to the other car, and {1 - P[4, 4:6].sum():.0%} to what is no car")
spreads = [rows[roads].std(axis=0).mean() for rows in (tokens, Z)]
print(f"the four roads differ by {spreads[0]:.2f} (standard deviation) before, by {spreads[1]:.2f} after")


# %%
def matrix(ax, values, title, xlabels, cmap, row):
    """A matrix with one row framed and its numbers written in."""
    low, high = (0, values.max()) if cmap == "viridis" else (tokens.min(), tokens.max())
    ax.imshow(values, cmap=cmap, aspect="auto", vmin=low, vmax=high)
    ax.set_title(title, fontsize=11)
    ax.set_xticks(range(values.shape[1]), xlabels, rotation=90)
    ax.set_yticks(range(len(values)), places)
    ax.add_patch(Rectangle((-0.5, row - 0.5), values.shape[1], 1, fill=False, edgecolor=VERMILLION, lw=3, clip_on=False))
    for j, value in enumerate(values[row]):
        bright = value > low + 0.6 * (high - low)
        ax.text(j, row, f"{value:.2f}".replace("0.", "."), ha="center", va="center", fontsize=9, color="k" if bright else "w")


# %%
fig, axes = plt.subplots(1, 3, figsize=(10.5, 4.6), width_ratios=[12, 4.6, 4.6], layout="constrained")
matrix(axes[0], P, "weights P: one row a query, one column a key", places, "viridis", QUERY)
matrix(axes[1], tokens, "values V", KINDS, "cividis", QUERY)
matrix(axes[2], Z, "result Z = P V", KINDS, "cividis", QUERY)
axes[0].set_ylabel("query")
axes[0].set_xlabel("key")
for ax in axes[1:]:
    ax.set_xlabel("channel")
fig.suptitle("A road gathers from the roads: row i of Z is the mean of V's rows, weighted by row i of P", fontweight="bold")
plt.show()

# %% [markdown]
# **How to read it.** Bright is large. Follow the framed row from left to right. Its twelve weights sum to 1; the four keys that
# are road get nearly all of the weight. The framed row of $V$ is the token's own value. The framed row of $Z$ is the token's
# result: a mean of the four roads. So the noise of single tokens is averaged out, and tokens of one kind become alike: compare
# the last four rows of $V$ and of $Z$. The first car has a short random vector: half of its weight goes to the other car, and
# 30 % goes to tokens that are not cars. In a trained model the three matrices decide what counts as alike ($W_Q$, $W_K$) and
# what is passed on ($W_V$).

# %% [markdown]
# ## Softmax does not see a constant
#
# $e^{s_j + c} / \sum_i e^{s_i + c} = e^{s_j} / \sum_i e^{s_i}$: a constant added to all scores of a row cancels. So the largest
# score may be subtracted first, and it must be where scores are large: $e^{1000}$ does not fit into a float64. (The fast
# version of `ops.attend` first looks at the lengths of queries and keys, and leaves the maximum out where no score can be
# large.)

# %%
scores = np.array([0.0, 1.0, 2.0])
with np.errstate(over="ignore", invalid="ignore"):
    naive = np.exp(scores + 1000) / np.exp(scores + 1000).sum()
print("as the formula says:        ", naive)
print("with the maximum taken off: ", ops.softmax(scores + 1000))
assert np.isnan(naive).all()
np.testing.assert_array_equal(ops.softmax(scores + 1000), ops.softmax(scores))


# %% [markdown]
# ## Why divide by $\sqrt d$
#
# Let the $d$ numbers of a query and of a key be independent, with mean 0 and variance 1. Their dot product is a sum of $d$
# products, each of mean 0 and variance 1, so its variance is $d$. At $d = 1024$ scores of $\pm 32$ are ordinary, and the
# softmax puts all weight on one key. Then each weight is near 0 or 1, and the derivative of a weight by its own score,
# $p (1 - p)$, is near 0: nothing is learned. Dividing by $\sqrt d$ brings the variance back to 1 for every $d$.
#
# Below, the variance is measured, and the *entropy* of the weights of 256 queries over 64 keys, in bits:
# $H = -\sum_j p_j \log_2 p_j$. It is 6 bits for 64 equal weights and 0 for one weight of 1; $2^H$ is a number of keys.


# %%
def entropy_bits(p):
    """0 where one weight is 1, log2 N where all N are equal.   p: (..., N) -> (...)"""
    return -(p * np.log2(np.maximum(p, 1e-300))).sum(-1)


dims = [2**power for power in range(2, 11)]
rows = []
for dim in dims:
    a, b = rng.standard_normal((2, 4096, dim))
    variance = np.einsum("nd,nd->n", a, b).var()
    entropies = [entropy_bits(ops.softmax(scale * (a[:256] @ b[:64].T))).mean() for scale in (1, dim**-0.5)]
    rows.append((variance, variance / dim, *entropies))
raw, scaled, bits_raw, bits_scaled = np.array(rows).T

print("   d   variance of q.k  and of q.k / sqrt(d)   bits without   with 1/sqrt(d)")
for dim, row in zip(dims, rows):
    print(f"{dim:4d} {row[0]:16.1f} {row[1]:21.2f} {row[2]:14.2f} {row[3]:16.2f}")

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
left.loglog(dims, dims, "--", color=GREY, lw=1, label="d, and 1")
left.loglog(dims, np.ones(len(dims)), "--", color=GREY, lw=1)
right.semilogx(dims, np.full(len(dims), 6), "--", color=GREY, lw=1, label="64 equal weights: 6 bits")
for values, bits, colour, name, mark in (
    (raw, bits_raw, VERMILLION, "q.k", "s"),
    (scaled, bits_scaled, BLUE, r"q.k / $\sqrt{d}$", "o"),
):
    left.loglog(dims, values, mark, color=colour, ms=8, label=name)
    right.semilogx(dims, bits, mark + "-", color=colour, ms=8, label=name)
left.set(xlabel="channels of a head, d", ylabel="variance of a score", title="A dot product's variance is d")
right.set(xlabel="channels of a head, d", ylabel="entropy of the weights (bits)", title="Without the scale, one key takes all")
for ax in (left, right):
    ax.set_xticks(dims, dims, minor=False)
    ax.minorticks_off()
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
plt.show()

# %% [markdown]
# **How to read it.** On the left both axes are logarithmic: the squares (measured) lie on the line $d$, and the circles lie on
# 1. On the right you see that with the scale the weights are spread out as much at $d = 1024$ as at $d = 4$. Without it the
# entropy falls towards 0 bits.

# %% [markdown]
# ## From soft to hard
#
# The scale decides how hard the choice is. We take nine points of the plane as keys and as values. They have length 1, so the
# score of a key is the cosine of its angle to the query, times the scale. At scale 0 all weights are equal; as it grows, the
# mean becomes a choice of the nearest key. (In a model the scale is fixed, but a longer query does the same: $W_Q$ can learn
# it.)

# %%
angles = np.deg2rad([0, 25, 70, 95, 150, 185, 215, 280, 320])
points = np.stack([np.cos(angles), np.sin(angles)], axis=-1)  # (9, 2): keys and values
turns = np.deg2rad([10, 50, 90, 130, 170])
queries = np.stack([np.cos(turns), np.sin(turns)], axis=-1)  # (5, 2)
scales = [0.5, 3, 12, 100]
one_head = (1, -1, 1, 2)
soft = [ops.attention_weights(queries.reshape(one_head), points.reshape(one_head), s)[0, 0] for s in scales]


# %%
def draw(ax, query, weights):
    """Keys coloured by weight, the query as an arrow, the weighted mean as a star."""
    shown = ax.scatter(*points.T, c=weights, cmap="Blues", norm=PowerNorm(0.5, 0, 1), s=140, edgecolors=GREY)
    ax.annotate("", xy=0.75 * query, xytext=(0, 0), arrowprops={"arrowstyle": "->", "color": INK, "lw": 1.5})
    ax.plot(*(weights @ points), "*", color=ORANGE, ms=11, mec=INK, mew=0.5)
    ax.set(xlim=(-1.3, 1.3), ylim=(-1.65, 1.25), xticks=[], yticks=[], aspect="equal")
    ax.spines[:].set_color("#DDDDDD")
    ax.text(0, -1.52, f"{2 ** entropy_bits(weights):.1f} keys", ha="center", fontsize=10, color=INK)
    return shown


fig, axes = plt.subplots(len(scales), len(turns), figsize=(9, 7.8), layout="constrained")
for row, scale, weights in zip(axes, scales, soft):
    row[0].set_ylabel(f"scale {scale:g}")
    for ax, query, share in zip(row, queries, weights):
        shown = draw(ax, query, share)
fig.colorbar(shown, ax=axes, label="weight of a key", shrink=0.6, ticks=[0, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1])
fig.suptitle("The same query turning: from a mean of all keys (top) to a choice of one (bottom)", fontweight="bold")
plt.show()

# %% [markdown]
# **How to read it.** Each row has one scale, and from left to right the query (arrow) turns. A key's colour is its weight (the
# colours are spread out where weights are small). The star is the weighted mean of the nine points, which is the result of
# attention; the number is $2^H$, the number of keys that take part. At the top the star hardly leaves the middle, and at the
# bottom it jumps from key to key. It never leaves the convex hull of the values, because a mean cannot leave it.

# %%
for scale, weights in zip(scales, soft):
    star = np.linalg.norm(weights @ points, axis=-1)
    print(f"scale {scale:5}: largest weight {weights.max():.2f}, star at most {star.max():.2f} from the centre")
np.testing.assert_allclose(ops.attention_weights(queries.reshape(one_head), points.reshape(one_head), 0), 1 / 9)

# %% [markdown]
# ## Attention does not know the order
#
# If you shuffle the tokens, the result is shuffled in the same way: nothing in the equation says where a token is. The class
# token's row does not change at all. A film and the same film with shuffled frames are the same *set*. This is why positions
# are added to the tokens before attention. (Pooling, notebook 02, is the second step that knows places: its windows gather
# neighbours.)

# %%
order = rng.permutation(N)
shuffled = ops.attend(q[:, order], k[:, order], v[:, order], d**-0.5)
np.testing.assert_allclose(shuffled, z[:, order], rtol=1e-12, atol=1e-12)

only_others = np.concatenate([[0], 1 + rng.permutation(N - 1)])  # token 0 stays, all others move
others = ops.attend(q[:, only_others], k[:, only_others], v[:, only_others], d**-0.5)
np.testing.assert_allclose(others[:, 0], z[:, 0], rtol=1e-12, atol=1e-12)
print("order", order, "-> the same rows in that order; token 0 does not notice that the others moved")

# %% [markdown]
# ## What it costs
#
# A multiply-add counts as one, as in the paper.
#
# - Four projections ($W_Q, W_K, W_V, W_O$), each an $N \times D$ by $D \times D$ product: $4 N D^2$.
# - Scores $Q K^\top$: in each of $h$ heads there are $N \times N$ dot products of $d$ numbers, $h N^2 d = N^2 D$. The weighted
#   mean costs the same again, so together they cost $2 N^2 D$.
# - Weights: $h N^2$ numbers, where the result has only $N D$.
#
# The two sums are equal where $2 N^2 D = 4 N D^2$, that is at $N = 2 D$. For longer lists the pairs cost more than the
# projections. The number of heads does not change the multiply-adds. Next we measure the time, with the width of MViT-B's first
# stage: $D = 96$, one head, float32, one thread.


# %%
def counted(n, d):
    """Multiply-adds of the projections and of the pairs."""
    return 4 * n * d * d, 2 * n * n * d


# %%
def median_s(fun, repeats=7):
    """The median time of a call, in seconds."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        fun()
        seconds.append(time.perf_counter() - start)
    return np.median(seconds[1:])  # the first one warms up


def measured(n, d):
    """Seconds of the four projections, and of softmax(Q K' / sqrt(d)) V with one head."""
    x, ws = rng.standard_normal((1, n, d), dtype=np.float32), rng.standard_normal((4, d, d), dtype=np.float32)
    q = x.reshape(1, n, 1, d)
    return median_s(lambda: [ops.linear(x, w) for w in ws]), median_s(lambda: ops.attend(q, q, q, d**-0.5))


# %%
WIDTH = 96
lengths = np.array([64, 128, 256, 512, 1024, 2048])
macs = np.array([counted(n, WIDTH) for n in lengths])
with mv.use_threads(1):
    seconds = np.array([measured(n, WIDTH) for n in lengths])
weight_bytes = 4 * lengths**2

print("      million multiply-adds      milliseconds here      MB of weights")
print("   N  projections     pairs   projections    pairs")
for n, (m_proj, m_pairs), (s_proj, s_pairs), size in zip(lengths, macs / 1e6, 1e3 * seconds, weight_bytes / 1e6):
    print(f"{n:5d} {m_proj:11.1f} {m_pairs:9.1f} {s_proj:13.3f} {s_pairs:8.3f} {size:12.2f}")
rate = (macs / seconds).max()
print(f"at best {rate / 1e9:.0f} G multiply-adds per second")

# %%
MVIT_TOKENS = mv.plan(mv.preset("mvit_b_16x4")).blocks[0].tokens_in
far = np.geomspace(lengths[0], MVIT_TOKENS, 50)
TERMS = ((0, BLUE, "o", r"projections, $4 N D^2$"), (1, VERMILLION, "s", r"pairs, $2 N^2 D$"))


def draw_time(ax):
    """Lines: counted, at the best rate measured. Marks: measured."""
    for term, colour, mark, name in TERMS:
        ax.loglog(far, 1e3 * counted(far, WIDTH)[term] / rate, "-", color=colour, lw=1.5, label=name)
        ax.loglog(lengths, 1e3 * seconds[:, term], mark, color=colour, ms=8, mec="white")
    ax.axvline(2 * WIDTH, color=GREY, lw=1, ls=":")
    ax.text(2 * WIDTH * 1.1, 0.03, f"N = 2D = {2 * WIDTH}", color=GREY, transform=ax.get_xaxis_transform())
    right = ax.secondary_yaxis("right", functions=(lambda ms: ms * rate / 1e3, lambda m: 1e3 * m / rate))
    right.set_ylabel("multiply-adds, counted (lines)")
    ax.set(ylabel="milliseconds, measured (marks)", title="Time: the pairs overtake")


# %%
def draw_memory(ax):
    """What has to be held at once, if it is held at all."""
    ax.loglog(far, 4 * far**2 / 1e6, "-", color=VERMILLION, lw=1.5, label=r"weights, $h N^2$")
    ax.loglog(far, 4 * far * WIDTH / 1e6, "-", color=BLUE, lw=1.5, label=r"the result, $N D$")
    ax.axvline(WIDTH, color=GREY, lw=1, ls=":")
    ax.text(WIDTH * 1.1, 0.03, f"N = D/h = {WIDTH}", color=GREY, transform=ax.get_xaxis_transform())
    ax.set(ylabel="float32 megabytes", title=f"Memory: {4 * MVIT_TOKENS**2 / 1e9:.1f} GB of weights")


# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained", width_ratios=[1.15, 1])
fig.get_layout_engine().set(wspace=0.08)
draw_time(left)
draw_memory(right)
for ax in (left, right):
    ax.axvline(MVIT_TOKENS, color=ORANGE, lw=1.5)
    note = f"MViT's first\nstage: {MVIT_TOKENS:,}"
    ax.text(MVIT_TOKENS * 0.9, 0.03, note, ha="right", fontsize=10, color=INK, transform=ax.get_xaxis_transform())
    ax.set_xlabel("tokens, N")
    ax.spines["top"].set_visible(False)
    ax.legend(loc="upper left", framealpha=1, edgecolor="none")
fig.suptitle(f"One attention layer, D = {WIDTH}, one head: twice the tokens, four times the pairs", fontweight="bold")
plt.show()

# %% [markdown]
# **How to read it.** All axes are logarithmic, so a power of $N$ is a straight line: slope 1 for the projections, slope 2 for
# the pairs and for the weights. On the left, lines are counted multiply-adds (right-hand scale), and marks are measured times
# (left-hand scale); the two scales are matched at the best rate of all twelve measurements. A mark above its line shows time
# that the count leaves out: the $h N^2$ exponentials of the softmax, and for short lists the fixed cost of a call; or the
# machine was busy. On the right, the weights become larger than the result at $N = D / h$, and they keep growing.

# %% [markdown]
# ## What N is for video
#
# The plan of a model has this number. We compare the first blocks of three models: ViT-B, which sees cubes of 16 x 16 pixels;
# MViT-B, which has 16 times as many tokens that are 8 times narrower; and an MViT-B whose keys and values are not pooled, that
# is, with plain attention.

# %%
MVIT = mv.preset("mvit_b_16x4")
MODELS = {"ViT-B": mv.preset("vit_b_8f"), "MViT-B, plain": replace(MVIT, unpooled_kv=(0,)), "MViT-B, pooled": MVIT}
first = {name: mv.plan(config).blocks[0] for name, config in MODELS.items()}
sizes = {name: mv.costs(config).lines[1].attention_bytes for name, config in MODELS.items()}  # line 0: the cubes

print("first block      grid        tokens    keys    D   h   N / 2D   G mult-adds: 4ND^2    all   MB of weights")
for name, s in first.items():
    grid, ratio, projections = "x".join(map(str, s.thw)), s.tokens_in / (2 * s.dim_attn), counted(s.tokens_in, s.dim_attn)[0]
    print(
        f"{name:15s} {grid:>9} {s.tokens_in:9,d} {s.tokens_kv:7,d} {s.dim_attn:4d} {s.heads:3d} {ratio:8.1f}"
        f" {projections / 1e9:20.2f} {attention_macs(s) / 1e9:6.2f} {sizes[name] / 1e6:13.1f}"
    )

# %% [markdown]
# ViT-B, with 8 x 14 x 14 cubes and a class token, has just enough tokens that the pairs cost more than the projections. MViT's
# dense cubes make far more tokens. $N / 2D$ is the ratio of the pairs to the projections: without pooling the pairs would cost
# 131 times as much, and the weights of one head of one block for one clip would take 2.5 GB. Keys and values pooled by (1, 8,
# 8) leave 8 x 7 x 7 + 1 keys, and both numbers become small. The number of queries stays the same, so the result has the same
# grid as before. Notebook 04 shows how this is done.

# %%
plain, pooled = first["MViT-B, plain"], first["MViT-B, pooled"]
vit = first["ViT-B"]
assert (vit.tokens_in, plain.tokens_in, pooled.tokens_kv) == (8 * 14 * 14 + 1, 8 * 56 * 56 + 1, 8 * 7 * 7 + 1)
for s in (vit, plain):  # without pooling the two terms are all
    assert attention_macs(s) == sum(counted(s.tokens_in, s.dim_attn))
assert sizes["MViT-B, plain"] == 4 * 25_089**2  # bytes: float32, one head

print(f"weights: {sizes['MViT-B, plain'] / 1e9:.2f} GB -> {sizes['MViT-B, pooled'] / 1e6:.1f} MB")
print(f"multiply-adds: {attention_macs(plain) / attention_macs(pooled):.0f} times fewer with pooling")
whole = [mv.costs(config).macs / 1e9 for config in (replace(MVIT, stride_kv=None), MVIT)]
print(f"all 16 blocks: {whole[0]:.0f} G without pooled keys and values, {whole[1]:.1f} G with")

# %% [markdown]
# ## Never all rows at once
#
# A row of $Z$ needs only its own row of weights. So a few rows at a time can be computed, used and thrown away: the result is
# the same, and memory does not grow with $N^2$. (Time still does.) The definition in `ops/attend.py` holds all of $P$; the
# version that runs, `ops/fast/attend.py`, does not. It takes as many rows as fit into a core's cache, `tiles.NUMBERS` weights,
# and one thread takes the next rows while another is busy. Its backward pass computes the rows again instead of keeping them.

# %%
n, rows = 1000, 64
q, k, v = rng.standard_normal((3, 1, n, 1, 96))
blocked = np.empty_like(v)
for start in range(0, n, rows):
    some = slice(start, start + rows)
    p = ops.attention_weights(q[:, some], k, 96**-0.5)  # (1, 1, 64, N): all that is held
    blocked[:, some, 0] = p[:, 0] @ v[:, :, 0]

at_once = ops.attention_weights(q, k, 96**-0.5)[:, 0] @ v[:, :, 0]
np.testing.assert_allclose(blocked[:, :, 0], at_once, rtol=1e-12, atol=1e-12)
np.testing.assert_allclose(blocked, ops.attend(q, k, v, 96**-0.5), rtol=1e-12, atol=1e-12)
with mv.plain_ops():
    np.testing.assert_allclose(blocked, ops.attend(q, k, v, 96**-0.5), rtol=1e-12, atol=1e-12)
print(f"held: {rows} x {n} weights instead of {n} x {n}; largest difference {np.abs(blocked[:, :, 0] - at_once).max():.0e}")
held = f"{tiles.NUMBERS:,} weights at a time, {tiles.NUMBERS // MVIT_TOKENS} rows"
print(f"the fast version: {held} of {MVIT_TOKENS:,} keys")

# %% [markdown]
# ## Questions
#
# **1.** A model has $D = 768$ channels. Does it take more multiply-adds with 12 heads or with 1? Does it take more memory?
#
# <details><summary>Answer</summary>
#
# The multiply-adds are the same: $h$ heads of $N^2$ dot products, each of $D / h$ numbers. The weights are $h N^2$ numbers,
# so 12 heads make 12 times as many, and 12 times as many exponentials. The gain is that there are 12 different weighted
# means instead of one.
# </details>
#
# **2.** In the picture of nine points all keys have length 1. What happens to the star if one key is made twice as long?
#
# <details><summary>Answer</summary>
#
# Its score doubles. Queries on its side give it more weight than its direction alone would get, and queries on the other side
# give it less (its score is then more negative). So a long key gets more attention, or less, than a short one. If the value
# grows too, the star can go further out: it stays within the hull of the values, and this hull has grown.
# </details>
#
# **3.** ViT-B sees 8 frames as 1,569 tokens. Give it 16 frames (twice the grid, one class token). What do the projections
# cost, what do the pairs cost, and which of them cost more now?
#
# <details><summary>Answer</summary>
#
# There are 3,137 tokens. The projections double, and the pairs cost four times as much (the last cell asserts both, to 1 %). At
# 8 frames the two were nearly equal, $N = 1569$ and $2 D = 1536$; at 16 the pairs cost twice as much as the projections.
# </details>
#
# **Now you.** [Exercises to 03](exercises/03_attention.ipynb): the first four functions there, with their key lines left
# out. `exercises.check` says whether yours is right, and which mistake it looks like.

# %%
# Attention is a weighted mean over all tokens, blind to their order; past N = 2D its price is the pairs, N squared.
assert np.allclose(P.sum(-1), 1) and np.allclose(P @ tokens, Z)
assert counted(2 * WIDTH, WIDTH)[0] == counted(2 * WIDTH, WIDTH)[1]
longer = mv.plan(replace(mv.preset("vit_b_8f"), frames=16)).blocks[0]
assert (vit.tokens_in, longer.tokens_in) == (1569, 3137)
short, long = (np.array(counted(s.tokens_in, s.dim_attn)) for s in (vit, longer))
assert np.allclose(long / short, [2, 4], rtol=0.01)
assert attention_macs(plain) > 40 * attention_macs(pooled)
