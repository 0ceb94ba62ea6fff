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
# # 07b ViViT, and how to read Table 4
#
# **The question.** The most accurate model in the paper's Table 4 is not an MViT. It is ViViT-L (Arnab et al. 2021), which
# reaches 81.3 % on Kinetics-400, while the best MViT reaches 81.2 %. But ViViT-L needs nine times as many multiply-adds per
# clip. What is ViViT, why does it cost so much, what do its authors do about that, and why does MViT save more?
#
# You will cut a clip into tubelets, build all four forms of ViViT from the rule which token may attend to which, count the cost
# of each form, and then read Table 4 as a referee would.
#
# Words that are new to you are in the [glossary](../docs/glossary.md), symbols in the [notation](../docs/notation.md).

# %%
# %matplotlib inline
from dataclasses import replace
from math import prod

import matplotlib.pyplot as plt
import numpy as np

# %%
import mvit_np as mv
from mvit_np import ops
from mvit_np.model.layers.block import block
from mvit_np.model.layers.bridge import bridge
from mvit_np.model.layers.embedding import embed
from mvit_np.model.layers.head import head
from mvit_np.model.paper import TABLES
from mvit_np.visualize.style import BLUE, GREEN, ORANGE, PALE, SKY, VERMILLION

rng = np.random.default_rng(0)
plt.rcParams.update({"figure.dpi": 80, "font.size": 11, "axes.spines.top": False, "axes.spines.right": False})
vivit_b_fe, vivit_l = mv.preset("vivit_b_fe"), mv.preset("vivit_l")
vivit_b = replace(vivit_b_fe, time_depth=0)  # the joint form

# %% [markdown]
# ## Tubelets
#
# A ViT for pictures cuts a picture into patches of 16 x 16 pixels. ViViT changes only this step: it cuts a clip into boxes, and
# each box spans several frames:
#
# > "An alternate method, as shown in Fig. 3, is to extract non-overlapping, spatio-temporal "tubes" from the input volume, and
# > to linearly project this to ℝ^d." (Arnab et al., Sec. 3.2)
#
# ViViT-L/16x2 means tubelets of 16 x 16 pixels and 2 frames. Boxes of size $(k_T, k_H, k_W)$ on a clip of size $(T, H, W)$ give
#
# $$N = n_t\, n_h\, n_w, \qquad n_t = \lfloor T / k_T \rfloor, \quad n_h = \lfloor H / k_H \rfloor, \quad
# n_w = \lfloor W / k_W \rfloor$$
#
# tokens of $D$ channels. Here are the loops, one box at a time:


# %%
def tubelet_loop(clip, w, b):
    """clip: (T, H, W, C)   w: (kt, kh, kw, C, D)   ->   (nt, nh, nw, D)"""
    kernel = w.shape[:3]
    grid = tuple(clip.shape[axis] // kernel[axis] for axis in range(3))
    tokens = np.zeros((*grid, w.shape[-1]))
    for at in np.ndindex(*grid):
        tokens[at] = b
        for i in np.ndindex(*kernel):
            place = tuple(at[axis] * kernel[axis] + i[axis] for axis in range(3))
            tokens[at] += clip[place] @ w[i]  # C colours to D channels
    return tokens


def tubelet_arrays(clip, w, b):
    """The same without loops: a reshape cuts the boxes, for they do not overlap; one product does the rest."""
    (kt, kh, kw), (t, h, width) = w.shape[:3], clip.shape[:3]
    boxes = clip.reshape(t // kt, kt, h // kh, kh, width // kw, kw, -1).transpose(0, 2, 4, 1, 3, 5, 6)
    return boxes.reshape(*boxes.shape[:3], -1) @ w.reshape(-1, w.shape[-1]) + b


# %%
clip, w, b = rng.standard_normal((4, 8, 12, 3)), rng.standard_normal((2, 4, 4, 3, 5)), rng.standard_normal(5)
by_loops = tubelet_loop(clip, w, b)
by_package = ops.cube_conv(clip[None], w, b, (2, 4, 4), (0, 0, 0))[0]
np.testing.assert_allclose(tubelet_arrays(clip, w, b), by_loops, atol=1e-12)
np.testing.assert_allclose(by_package.reshape(by_loops.shape), by_loops, atol=1e-12)
print(f"{clip.shape} -> {by_loops.shape}; loops, one product and ops.cube_conv agree")

print(f"\n{'':12} clip          cube      stride    grid          tokens  channels  numbers in a cube")
MODELS = {"ViT-B": mv.preset("vit_b_8f"), "ViViT-B": vivit_b, "ViViT-L": vivit_l, "MViT-B 32x3": mv.preset("mvit_b_32x3")}
for name, config in MODELS.items():
    sizes = "  ".join(f"{'x'.join(map(str, each)):11}" for each in (config.thw, config.cube_kernel, config.cube_stride))
    e = mv.plan(config).embed
    print(f"{name:12} {sizes} {'x'.join(map(str, e.thw)):11} {prod(e.thw):7,} {e.dim:8} {prod(e.kernel) * 3:12,}")

# %% [markdown]
# A tubelet of ViViT is a patch of a ViT that is two frames long. MViT's cubes overlap, they lie four times closer together
# along height and along width, and each becomes a much shorter token. In both models the embedding itself is cheap. The cost
# lies in the blocks that follow.
#
# ## The joint form: every token meets every token
#
# > "This model simply forwards all spatio-temporal tokens extracted from the video, [...] through the transformer encoder."
# > (Sec. 3.3, Model 1)
#
# The model is one list of $N$ tokens and a class token, which goes through $L$ blocks. Nothing is pooled. A block has four
# square matrices for attention, an MLP that is as large as eight more, and two products over all pairs of tokens. With
# $N' = N + 1$ it takes so many multiply-adds:
#
# $$\underbrace{12\, N' D^2}_{\text{each token alone}} + \underbrace{2\, N'^2 D}_{\text{pairs of tokens}}$$


# %%
def joint_block(tokens, dim):
    """Multiply-adds of a block, counted product by product: (each token alone, pairs of tokens)."""
    alone = sum(tokens * rows * columns for rows, columns in 4 * [(dim, dim)] + [(dim, 4 * dim), (4 * dim, dim)])
    pairs = sum(dim for product in ("q k'", "weights v") for _ in range(tokens)) * tokens
    return alone, pairs


for name, config in (("ViViT-B", vivit_b), ("ViViT-L, 320 px", vivit_l)):
    spec = mv.plan(config).blocks[0]
    alone, pairs = joint_block(spec.tokens_in, spec.dim_attn)
    assert alone + pairs == mv.costs(config).lines[1].macs
    print(f"{name}: {spec.tokens_in:,} tokens of {spec.dim_attn} channels; a block takes {alone / 1e9:.1f} G alone", end=" ")
    print(f"and {pairs / 1e9:.1f} G for pairs, the model {mv.costs(config).macs / 1e9:,.0f} G;", end=" ")
    print(f"a block's attention weights fill {mv.costs(config).attention_bytes / 1e9:.1f} GB")

# %% [markdown]
# For ViViT-L at 320 pixels the pairs take more than half of the multiply-adds, and the attention weights of one block fill
# gigabytes. So the authors look for a form in which fewer pairs of tokens meet.
#
# ## Four forms: who meets whom
#
# 1. **Joint**: all pairs.
# 2. **Factorised encoder**: a first transformer lets only tokens of one frame meet. Each frame becomes one token (its class
#    token), and in a second, short transformer these tokens meet.
# 3. **Factorised self-attention**: every block has two attention steps with separate matrices, the first among the tokens of
#    one frame, the second among the tokens of one place at all times.
# 4. **Factorised dot-product attention**: every block has one attention step; half of its heads attend within the frame, the
#    other half at the same place.


# %%
def meet(grid, rule):
    """Whether token i may attend to token j, pair by pair.   -> (N, N)"""
    places = list(np.ndindex(*grid))
    allowed = np.zeros((len(places), len(places)), bool)
    for i, (t, row, column) in enumerate(places):
        for j, (other_t, other_row, other_column) in enumerate(places):
            same = {"frame": t == other_t, "place": (row, column) == (other_row, other_column), "all": True}
            allowed[i, j] = same[rule]
    return allowed


def masked_attention(q, k, v, allowed):
    """Attention of all tokens, in which the scores of pairs that may not meet are minus infinity.   q, k, v: (N, d)"""
    scores = np.where(allowed, q @ k.T / np.sqrt(q.shape[1]), -np.inf)
    return ops.softmax(scores) @ v


# %% [markdown]
# A mask shows which pairs are meant, but it saves nothing: all pairs are computed, and most of them are thrown away. The saving
# comes from a reshape. The frames become the batch, and each is a short list of tokens; or the places become the batch. The
# reshape gives the same numbers as the mask:

# %%
grid, d = (3, 2, 4), 5
q, k, v = rng.standard_normal((3, prod(grid), d))
frames = [x.reshape(grid[0], -1, 1, d) for x in (q, k, v)]  # (batch = times, places, heads, d)
places = [x.reshape(grid[0], -1, 1, d).swapaxes(0, 1) for x in (q, k, v)]  # (batch = places, times, heads, d)
by_frame = ops.attend(*frames, d**-0.5).reshape(-1, d)
by_place = ops.attend(*places, d**-0.5).swapaxes(0, 1).reshape(-1, d)
np.testing.assert_allclose(by_frame, masked_attention(q, k, v, meet(grid, "frame")), atol=1e-12)
np.testing.assert_allclose(by_place, masked_attention(q, k, v, meet(grid, "place")), atol=1e-12)
n = prod(grid)
print(f"{n} tokens: {n * n} pairs; within frames {meet(grid, 'frame').sum()}, at one place {meet(grid, 'place').sum()}")

# %%
figure, axes = plt.subplots(1, 5, figsize=(11.5, 3.1), layout="constrained", width_ratios=(1, 1, 1, 1, 0.62))
frame, place = meet(grid, "frame"), meet(grid, "place")
encoder = np.pad(frame.astype(int), (0, 3))
encoder[n:, n:] = 2
pooled = np.ones((n, prod((grid[0], 1, 2))), int)  # keys pooled by 1 x 2 x 2
panels = {
    "1 joint": np.ones((n, n), int), "2 factorised\nencoder": encoder, "3 factorised\nself-attention": frame + 2 * place,
    "4 factorised\ndot-product": frame + 2 * place, "MViT: keys pooled\nby 1 × 2 × 2": pooled,
}  # fmt: skip
colours = plt.matplotlib.colors.ListedColormap([PALE, BLUE, ORANGE, GREEN])
for ax, (name, pairs) in zip(axes, panels.items()):
    ax.imshow(pairs, cmap=colours, vmin=0, vmax=3, aspect="equal", interpolation="nearest")
    ax.set_title(name, fontsize=11)
    ax.set(xticks=range(0, pairs.shape[1], 8), yticks=range(0, len(pairs), 8))
axes[0].set(xlabel="key", ylabel="query")
handles = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in (BLUE, ORANGE, GREEN, PALE)]
words = ("first step, or first heads", "second step, or other heads", "both", "never meet")
figure.legend(handles, words, loc="outside lower center", ncols=4, frameon=False)
_ = figure.suptitle("ViViT leaves pairs out; MViT keeps all queries and shortens the list of keys", weight="bold")

# %% [markdown]
# **How to read it.** A square is one attention matrix for 3 frames of 2 × 4 tokens: a row is a query, a column a key, frame
# after frame. The blue blocks on the diagonal are frames. In form 2 the three orange tokens at the end are the frames'
# summaries; they are the only way from one frame to another. Forms 3 and 4 have the same pattern, form 3 in two steps, form 4
# in two halves of the heads. On the right is MViT's answer to the same problem: every query still meets every part of the clip,
# at all times, but the keys that it meets there have been pooled.
#
# ## The factorised encoder, step by step
#
# The authors use form 2 most, and the package has it: `time_depth` is the depth of the second transformer, and `bridge` turns
# each frame into one token. Here is a small model, step by step:

# %%
small = mv.MViTConfig(
    frames=6, size=16, channels=1, num_classes=5, cube_kernel=(2, 4, 4), cube_stride=(2, 4, 4), dim=8, heads=2, depths=(2,),
    stride_kv=None, positions="joint", time_depth=1,
)  # fmt: skip
params, plan = mv.tree.map(np.float64, mv.init(small, rng)), mv.plan(small)


def frame_tokens(clip):
    """What the first transformer makes of the frames.   -> (B nt, 1 + nh nw, D)"""
    x = embed(params, clip, plan.embed)
    for p, spec in zip(params["blocks"][: plan.config.depths[0]], plan.blocks):
        x = block(p, x, spec)
    return x


# %%
clip = rng.standard_normal((1, *small.thw, 1))
x = frame_tokens(clip)
y = bridge(params["bridge"], x, plan.bridge)
z = block(params["blocks"][-1], y, plan.blocks[-1])
print(f"frames alone {x.shape} -> bridge {y.shape} -> over time {z.shape}")
np.testing.assert_allclose(head(params, z, plan.head), mv.forward(params, clip, small), atol=1e-12)

other = clip.copy()
other[:, 2:4] += 1  # the two frames of the second tubelet in time
changed = np.abs(frame_tokens(other) - x).max(axis=(1, 2))
print("change of each frame's tokens before the bridge:", changed.round(3))
assert (changed[[0, 2]] == 0).all() and changed[1] > 0

# %% [markdown]
# Before the bridge, a frame knows nothing of the others: the tokens of the frames that we left alone have not changed by a
# single bit. The authors call this "late fusion".
#
# ## What the four forms save, and what they cannot save
#
# > "[...] the two separate transformer blocks have a complexity of O((n_h · n_w)² + n_t²) compared to O((n_t · n_h · n_w)²) of
# > Model 1." (Sec. 3.3)
#
# Is that so? Let us count. Forms 1 and 2 are in the package. For forms 3 and 4 we add up the products; neither has a class
# token here. The column "printed" is what ViViT's Table 2 says about ViViT-B for 32 frames of 224 x 224 pixels.

# %%
spec, grid = mv.plan(vivit_b).blocks[0], mv.plan(vivit_b).embed.thw
N, D, L = prod(grid), spec.dim_attn, vivit_b.depth
ends = N * prod(mv.plan(vivit_b).embed.kernel) * 3 * D + D * vivit_b.num_classes  # tubelets and the last layer
of_frame, of_place = 2 * N * grid[1] * grid[2] * D, 2 * N * grid[0] * D  # pairs of a block
blocks_fe = mv.plan(vivit_b_fe).blocks
pairs_fe = sum(s.sequences * 2 * s.tokens_in**2 * s.dim_attn for s in blocks_fe)
forms = {  # multiply-adds of pairs, and all
    "1 joint": (L * 2 * spec.tokens_in**2 * D, mv.costs(vivit_b).macs),
    "2 factorised encoder": (pairs_fe, mv.costs(vivit_b_fe).macs),
    "3 factorised self-attention": (L * (of_frame + of_place), L * (16 * N * D * D + of_frame + of_place) + ends),
    "4 factorised dot-product": (L * (of_frame + of_place) // 2, L * (12 * N * D * D + (of_frame + of_place) // 2) + ends),
}
PRINTED = {"1": (455.2, 80.0), "2": (284.4, 78.8), "3": (372.3, 77.4), "4": (277.1, 76.3)}  # Table 2: G, top-1
print(f"{'':30} printed   counted     off    pairs   top-1 (K400)")
for name, (pairs, total) in forms.items():
    printed, top1 = PRINTED[name[0]]
    off = 100 * (total / 1e9 / printed - 1)
    print(f"{name:30} {printed:5.1f} G {total / 1e9:7.1f} G {off:5.1f} % {pairs / 1e9:6.1f} G {top1:6.1f}")
    assert -1 < off < 0

# %% [markdown]
# Our four counts are within 1 % of the printed numbers, and always a little lower, as in [07](07_why_cheaper.ipynb). Now we
# test the formula of the quotation. It promises that the pairs become fewer by a factor of several hundred:

# %%
promised = N**2 / ((grid[1] * grid[2]) ** 2 + grid[0] ** 2)
counted = forms["1 joint"][0] / forms["2 factorised encoder"][0]
print(f"pairs saved by the factorised encoder: {promised:.0f}-fold by the formula, {counted:.1f}-fold counted; n_t = {grid[0]}")
floor = 12 * L * N * D * D
print(f"each token alone: {floor / 1e9:.0f} G of {forms['1 joint'][1] / 1e9:.0f} G,", end=" ")
print(f"in every form that keeps {N:,} tokens of {D} channels")
assert 250 < promised < 260 and 14 < counted < grid[0]

# %% [markdown]
# The formula is about *one* frame. There are $n_t$ of them, so the first transformer takes $n_t\,(n_h n_w)^2$. The true saving
# is a factor of $n_t$, which is sixteen here. (It is a little less, because of the class tokens.)
#
# More important is the second line. **Leaving out pairs can never save more than the pairs cost.** The larger part is what each
# token costs alone, $12 N D^2$, and no factorisation touches it. Form 3 even adds to it, because it has a second set of
# matrices. A model that costs less than this floor needs fewer tokens, or narrower ones. This is what MViT does: few channels
# where tokens are many, few tokens where channels are many, *and* short lists of keys.


# %%
def alone_and_pairs(config):
    """(each token alone, pairs of tokens) in G, over all blocks; the rest is below 3 %."""
    lines = [line for line in mv.costs(config).lines if line.name.startswith("block")]
    specs = mv.plan(config).blocks
    pairs = [s.sequences * 2 * s.tokens_q * s.tokens_kv * s.dim_attn for s in specs]
    return (sum(line.macs for line in lines) - sum(pairs)) / 1e9, sum(pairs) / 1e9


# %%
shown = {f"ViViT-B\n{name[2:]}": ((total - ends - pairs) / 1e9, pairs / 1e9) for name, (pairs, total) in forms.items()}
shown["MViT-B 32x3"] = alone_and_pairs(MODELS["MViT-B 32x3"])
pair = {"ViViT-L, 320 px\n(81.3 %)": vivit_l, "MViT-B 64x3\n(81.2 %)": mv.preset("mvit_b_64x3")}
best = {name: alone_and_pairs(config) for name, config in pair.items()}
figure, panels = plt.subplots(2, 1, figsize=(10, 5.4), layout="constrained", height_ratios=(5, 2.2))
for ax, bars in zip(panels, (shown, best)):
    alone, pairs = np.array([*bars.values()]).T
    ax.barh(range(len(bars)), alone, 0.65, color=SKY, label="each token alone: matrices")
    ax.barh(range(len(bars)), pairs, 0.65, alone, color=VERMILLION, label="pairs of tokens: attention")
    for y, total in enumerate(alone + pairs):
        ax.text(total + 0.008 * max(alone + pairs), y, f"{total:,.0f} G", va="center")
    ax.set(yticks=range(len(bars)), yticklabels=bars, xlim=(0, 1.1 * max(alone + pairs)))
    ax.invert_yaxis()
panels[0].set_title("32 frames of 224 × 224 pixels: ViViT cuts the red part, MViT both parts", loc="left")
panels[1].set_title("Two models of Table 4 that are equally accurate", loc="left")
panels[1].set_xlabel("1e9 multiply-adds per clip, in all blocks")
panels[0].legend(frameon=False, loc="lower right")
plt.show()

# %% [markdown]
# **How to read it.** A bar is a model's blocks for one clip. Each panel has an axis of its own. In the upper panel the blue
# part of forms 1, 2 and 4 is the same floor; MViT-B stays below it, although it starts with sixteen times as many tokens. In
# the lower panel ViViT-L pays for its width of 1,024 (blue) and for all pairs of 6,401 tokens (red).
#
# ## Table 4 as a referee reads it
#
# The numbers of the table are the authors'. We can check whether the sentences of the paper follow from these numbers, whether
# the printed costs are those of the architectures, and whether the comparison is fair. We begin with the costs of every row
# that the package can build:

# %%
rows = {(row.label, row.data): row for table in TABLES if table.name == "Table 4" for row in table.rows}
print(f"{'':22} before   G printed  counted   views T per video  M parameters   top-1")
for (label, data), row in rows.items():
    counted = f"{mv.costs(row.config).macs / 1e9:8,.1f}" if row.config else "       -"
    video = row.gmacs * prod(row.views) / 1e3
    views = "x".join(map(str, row.views))
    print(f"{label:22} {data or '-':7} {row.gmacs:9,} {counted} {views:>7} {video:10.2f} {row.params:12} {row.top1:9}")
    assert row.config is None or row.why or abs(mv.costs(row.config).macs / 1e9 / row.gmacs - 1) < 0.01

# %% [markdown]
# "Views" are the crops and clips of a video whose scores are averaged, so the cost of a video is the cost of a clip times the
# number of views, here in T (1e12 multiply-adds). Now come the ratios that the paper's text takes from the table (Sec. 1, 4.1
# and A.1), each recomputed from the printed numbers:

# %%
CLAIMS = [  # what, where, claimed, recomputed
    ("MViT-B against ViT-B: fewer FLOPs", "4.1", 2.6, 180 / 70.5),
    ("   fewer parameters", "4.1", 2.4, 87.2 / 36.6),
    ("MViT-S against ViT-B: less compute", "4.1", 5.5, 180 / 32.9),
    ("ViViT-L (224 px, 4 views) against MViT-B 32x3: FLOPs", "1", 6.8, 1446 * 4 / (170 * 5)),
    ("   parameters", "1", 8.5, 310.8 / 36.6),
    ("ViViT-L against MViT-B 32x3 on Kinetics-600: FLOPs", "4.1", 56.0, 3992 * 12 / (170 * 5)),
    ("   parameters", "4.1", 8.4, 310.8 / 36.8),
    ("ViT-B against TimeSformer: fewer FLOPs", "4.1", 4.4, 2380 * 3 / (180 * 5)),
    ("   fewer parameters", "4.1", 1.4, 121.4 / 87.2),
]
for what, where, claimed, recomputed in CLAIMS:
    mark = "" if round(recomputed, 1) == claimed else "  <-- does not follow"
    print(f"Sec. {where:4} {what:55} {claimed:5} {recomputed:6.2f}{mark}")
odd = [claimed for *_, claimed, recomputed in CLAIMS if round(recomputed, 1) != claimed]
assert odd == [56.0, 4.4]

# %% [markdown]
# Seven of the nine ratios agree to the printed digit. One is 0.6 % off, and "4.4× fewer FLOPs" than TimeSformer should be 7.9×
# by the table's own numbers (the error makes the authors' baseline look worse than it is). Neither changes the conclusion.
#
# **Is it fair?** Three things differ between ViViT-L and MViT-B 64x3, and the table shows all three:
#
# - *The architecture*, which this notebook is about: 8.8 times the multiply-adds per clip.
# - *The views*: ViViT-L uses 12, MViT-B uses 9. This is a choice of how to test.
# - *The data*: ViViT-L was trained on ImageNet-21K first, MViT on Kinetics alone. The two rows of ViT-B show what this is
#   worth: 79.3 % with ImageNet-21K and 68.5 % without.

# %%
big, ours = rows["ViViT-L/16x2, 320 px", "IN-21K"], rows["MViT-B 64x3", ""]
per_clip, views = big.gmacs / ours.gmacs, prod(big.views) / prod(ours.views)
by_count = mv.costs(big.config).macs / mv.costs(ours.config).macs
print(f"per clip {per_clip:.1f} times (counted {by_count:.1f}), views {views:.2f} times; per video {per_clip * views:.1f}")
print(f"ImageNet-21K is worth {rows['ViT-B', 'IN-21K'].top1 - rows['ViT-B', ''].top1:.1f} points to ViT-B")
assert abs(per_clip / by_count - 1) < 0.01

# %% [markdown]
# ## Questions
#
# **1.** You double the frames of the clip. By what factor do the multiply-adds of the joint form and of the factorised encoder
# grow?
#
# <details><summary>Answer</summary>
#
# $N$ doubles. In the joint form the floor doubles and the pairs grow fourfold, so the factor is between 2 and 4, and it is
# nearer to 4 for a longer clip. In the factorised encoder each further frame is one more sequence of the same length, so the
# factor is 2, apart from the short second transformer. The authors report 995.3 G for 32 frames and 3980.4 G for 128; the next
# cell counts both.
# </details>
#
# **2.** In which layer can two tokens of different frames first exchange something, in each of the four forms and in MViT? What
# kind of video would suffer in form 2?
#
# <details><summary>Answer</summary>
#
# In forms 1, 3, 4 and in MViT they can do so in the first block. (In forms 3 and 4 this holds only for tokens of the same
# place; something that has moved to another place takes a second block.) In form 2 they can do so only after the bridge, when
# each frame has become a single token. The two frames of one tubelet meet even earlier, in the embedding. A video suffers if
# one has to compare details of distant frames; it does not suffer if each frame shows the answer by itself. In the paper form 2
# is 1.2 points worse than form 1 on Kinetics-400.
# </details>
#
# **3.** Form 2 has 26 million parameters more than form 1 and takes 38 % fewer multiply-adds. How can that be?
#
# <details><summary>Answer</summary>
#
# Form 2 has four more blocks of 7.1 million parameters each, which work on 17 tokens only, one per pair of frames and a class
# token. These are many parameters, but hardly any multiply-adds. (Form 2 also saves 2.3 million parameters: it has positions
# for the 196 places of a frame instead of the 3,136 of the clip.) Parameters and multiply-adds are two different things, as in
# the stages of an MViT.
# </details>

# %%
for name, config in (("joint", replace(vivit_l, size=224)), ("factorised encoder", mv.preset("vivit_l_fe"))):
    counts = [mv.costs(replace(config, frames=frames)).macs / 1e9 for frames in (32, 64, 128)]
    print(f"ViViT-L, {name:18}: " + ", ".join(f"{count:8,.1f} G" for count in counts), "with 32, 64 and 128 frames")
assert abs(counts[0] / 995.3 - 1) < 0.01 and abs(counts[2] / 3980.4 - 1) < 0.01
more = mv.costs(vivit_b_fe).params - mv.costs(vivit_b).params
print(f"form 2 has {more / 1e6:.1f} million parameters more, of which its four blocks over time", end=" ")
print(f"{sum(line.params for line in mv.costs(vivit_b_fe).lines if line.stage == 1) / 1e6:.1f}")

# %%
# Factorising leaves out pairs and cannot go below 12 N D^2; a pyramid lowers that floor, and the pairs as well.
floors = [total - ends - pairs for pairs, total in forms.values()]
assert min(floors) > 0.99 * floor and 1e9 * sum(shown["MViT-B 32x3"]) < 0.7 * floor
assert mv.costs(vivit_l).macs > 8 * mv.costs(mv.preset("mvit_b_64x3")).macs
