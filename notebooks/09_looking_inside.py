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
# # 09 Looking inside: what attention maps show, and what they do not prove
#
# **The question.** Notebook 08 trained a model. What has it learned? Attention weights are numbers between 0 and 1 that one can
# draw over the frames, so it is tempting to read them as "where the model looks". Here you train a small MViT, draw its
# attention in four ways, and then test by experiment whether the maps show what the answer depends on.
#
# Words that are new to you are in the [glossary](../docs/glossary.md), symbols in the [notation](../docs/notation.md).

# %%
# %matplotlib inline
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

import mvit_np as mv
from mvit_np import visualize
from mvit_np.data import LABELS, drawn_street, load_motion, normalise
from mvit_np.model import inspection, relevance
from mvit_np.model.layers.block import block
from mvit_np.model.layers.embedding import embed
from mvit_np.model.layers.head import head
from mvit_np.train import demo
from mvit_np.train.run.training import train
from mvit_np.visualize.style import BLUE, GREEN, GREY, INK, ORANGE, VERMILLION

rng = np.random.default_rng(0)
plt.rcParams.update({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 70})

# %% [markdown]
# ## What the paper says
#
# "This creates a multiscale pyramid of features with early layers operating at high spatial resolution to model simple
# low-level visual information, and deeper layers at spatially coarse, but complex, high-dimensional features" (Fan et al.,
# Abstract). There are two tools to look into such a pyramid.
#
# **Attention rollout** (Abnar and Zuidema 2020) follows attention back through all blocks. $A_l$ is the mean over heads of the
# weights of block $l$, and $I$ stands for the skip connection:
#
# $$\tilde A_l = \tfrac12 \left( A_l + I \right), \qquad R = \tilde A_L \cdots \tilde A_2\, \tilde A_1$$
#
# The class token's row of $R$ says how much each embedded token gives to the class token. With pooling, $A_l$ has fewer columns
# than there are tokens, and often fewer rows. The package then takes $\tilde A_l = \tfrac12 (A_l P_K + P_\mathrm{skip})$, where
# a row of $P$ is the mean over a window. This is an approximation.
#
# **Mean attention distance** says how far a head looks, in pixels (Fig. A.6). With the places $r_i$ of queries and $r_j$ of
# keys:
#
# $$\bar\delta = \frac{1}{N_Q} \sum_i \sum_j A_{ij}\, \lVert r_i - r_j \rVert$$

# %% [markdown]
# ## Loop versions
#
# We take a model of two blocks without pooling, on a grid of 2 x 3 places. It has seven tokens with the class token, and two
# heads.

# %%
tiny = mv.MViTConfig(
    frames=1, size=(8, 12), channels=1, num_classes=2, cube_kernel=(1, 4, 4), cube_stride=(1, 4, 4), dim=4, heads=2,
    depths=(2,), stride_kv=None,
)  # fmt: skip
tiny_params = mv.tree.map(lambda leaf: leaf + 0.5 * rng.standard_normal(leaf.shape), mv.init(tiny, rng))
tiny_clip = rng.standard_normal((1, *tiny.thw, 1))
tiny_weights = inspection.attention_weights_of(tiny_params, tiny_clip, tiny)
print("weights of each block (B, heads, Nq, Nk):", [w.shape for w in tiny_weights])


# %% [markdown]
# Rollout takes the mean over heads, adds the identity, halves the sum, and then multiplies these matrices:


# %%
def half_skip(weights):
    heads, n = len(weights), len(weights[0])
    mixed = [[0.0] * n for _ in range(n)]
    for i in range(n):
        for j in range(n):
            mean = sum(weights[h][i][j] for h in range(heads)) / heads
            mixed[i][j] = 0.5 * mean + (0.5 if i == j else 0.0)
    return mixed


def product(left, right):
    found = [[0.0] * len(right[0]) for _ in left]
    for i in range(len(left)):
        for j in range(len(right[0])):
            for inner in range(len(right)):
                found[i][j] += left[i][inner] * right[inner][j]
    return found


# %%
first, second = (half_skip(w[0].tolist()) for w in tiny_weights)
by_loops = product(second, first)[0]  # the row of the class token
shares = inspection.attention_rollout(tiny_weights, mv.plan(tiny))[0]
np.testing.assert_allclose(shares, by_loops, atol=1e-12)
print(f"rollout: class token {shares[0]:.3f}, grid {shares[1:].reshape(2, 3).round(3).tolist()}, sum {shares.sum():.3f}")
print(f"largest difference from the loops {np.abs(shares - by_loops).max():.0e}")

# %% [markdown]
# The distance leaves the class token out, because it has no place. The rest of each row is scaled to sum to 1. A token is 4
# pixels wide and high.


# %%
def distance_loop(weights, rows, columns, step):
    """The mean distance over the queries of one head.   weights: (1 + places, 1 + places)"""
    total = 0.0
    for i in range(rows * columns):
        row = weights[1 + i][1:]
        for j in range(rows * columns):
            down, right = j // columns - i // columns, j % columns - i % columns
            total += row[j] / sum(row) * step * (down**2 + right**2) ** 0.5
    return total / (rows * columns)


spec = mv.plan(tiny).blocks[0]
pixels = inspection.token_pixels(mv.plan(tiny), 0)
far = inspection.mean_attention_distance(tiny_weights[0], spec, pixels)
by_loops = [distance_loop(w.tolist(), 2, 3, 4) for w in tiny_weights[0][0]]
np.testing.assert_allclose(far, by_loops, atol=1e-12)
print(f"the two heads of block 1 look {far.round(2)} pixels far; from the loops {np.abs(far - by_loops).max():.0e} off")

# %% [markdown]
# ## A trained model
#
# The task is that of the demo: does the picture move to the left or to the right? The clips are cut from three films, and the
# test clips come from shots that are not used for training. `mvit_micro` has 4 blocks in 3 stages, and 96 steps of 32 clips are
# enough. We train it three times, from three random starts, because a result that holds for one model only is not a finding.
# The figures show the first model, and the experiments use all three.

# %%
STEPS, SEEDS = 96, 3
clips, config = load_motion(), mv.preset("mvit_micro")
recipe = replace(demo.recipe_of(), test_every=1)  # one test, at the end
few = rng.choice(len(clips.train_clips), STEPS * recipe.batch, replace=False)
some = replace(clips, train_clips=clips.train_clips[few], train_labels=clips.train_labels[few])


def trained(seed):
    *_, last = train(demo.training(some, replace(recipe, seed=seed)))
    row = last.row
    print(f"model {seed + 1}, {row['step']} steps: {row['test_accuracy']:.1%} of unseen clips answered rightly")
    assert row["test_accuracy"] > 0.9
    return last.state.params


trained_models = [trained(seed) for seed in range(SEEDS)]
before, after = demo.training(some, recipe).state.params, trained_models[0]

# %% [markdown]
# We choose two clips to look at: from two shots, the clips of which the first model is most certain. The experiments use 64
# test clips. Frames of films are not stored in this notebook, so figures over frames use a third clip, a drawn street.

# %%
plan = mv.plan(config)


def surest_of(shot):
    """Index of the test clip of a shot that the model gets right with the largest margin."""
    mine = np.flatnonzero(clips.test_shots == clips.shot_names.index(shot))
    logits, labels = mv.predict(after, clips.test_clips[mine], config), clips.test_labels[mine]
    at = np.arange(len(mine))
    return mine[(logits[at, labels] - logits[at, 1 - labels]).argmax()]


pair = [surest_of("bikes 2"), surest_of("carphone 0")]
chosen = rng.choice(len(clips.test_clips), 64, replace=False)

# %%
two, x, labels = clips.test_clips[pair], clips.test_clips[chosen], clips.test_labels[chosen]
weights_two = inspection.attention_weights_of(after, two, config)
street = normalise(drawn_street(np.random.default_rng(3)).mean(axis=-1, keepdims=True), "clip")[None]  # moves to the right
weights_street = inspection.attention_weights_of(after, street, config)
print(f"the drawn street moves right; the model says {LABELS[mv.predict(after, street, config).argmax()]}")
for s, w in zip(plan.blocks, weights_two):
    print(f"block {s.index + 1}, stage {s.stage + 1}: queries {s.thw_q}, keys {s.thw_kv}, weights {w.shape}")

# %% [markdown]
# ## One: the class token's attention, block by block
#
# The maps show the row of the class token, as a mean over heads, without the weight on the class token itself. A map has the
# grid of the block's *keys*.
#
# **How to read it.** Time runs to the right. The upper row is the clip, the drawn street. In the rows below a tile is one key,
# and yellow keys get most of the attention. Each row has its own scale, and the number beside it is its maximum.

# %%
class_maps = {
    f"block {s.index + 1}": w[0, :, 0, 1:].mean(axis=0).reshape(s.thw_kv) for s, w in zip(plan.blocks, weights_street)
}
visualize.rollout_figure(class_maps, street[0], title="class token, a drawn street")

# %% [markdown]
# Blocks 1 and 3 have 2 x 2 keys per time for a picture of 32 x 32 pixels, so there is little to see in them. And the keys of a
# block are made from tokens that earlier blocks have already mixed. So a bright key does not mean that the *pixels* under it
# matter. Rollout was invented for this reason.

# %% [markdown]
# ## Two: rollout
#
# The first figure shows rollout over the drawn street, the second over the first film clip (run the notebook to see the second
# one):

# %%
rolled_street = inspection.attention_rollout(weights_street, plan)[0, 1:].reshape(plan.embed.thw)
visualize.rollout_figure({"rollout": rolled_street}, street[0], title="rollout over the drawn street")

# %%
rolled_two = inspection.attention_rollout(weights_two, plan)
maps_two = rolled_two[:, 1:].reshape(2, *plan.embed.thw)
print(f"shares of the first clip: class token {rolled_two[0, 0]:.2f}, the {maps_two[0].size} places {maps_two[0].sum():.2f}")

# %% tags=["film"]
visualize.rollout_figure({"rollout": maps_two[0]}, two[0], title=f"rollout over the clip: class {labels.max()} is right")

# %% [markdown]
# Before you believe such a map, look at a second clip, and at a model that prefers no key: this is **uniform attention**, in
# which every weight is $1 / N_K$. It needs no clip and no parameters.


# %%
def uniform(s):
    """Weights of a block that prefers nothing."""
    return np.broadcast_to(np.float32(1 / s.tokens_kv), (1, s.heads, s.tokens_q, s.tokens_kv))


no_clip = inspection.attention_rollout([uniform(s) for s in plan.blocks], plan)[0, 1:].reshape(plan.embed.thw)
rolled = {
    "the street": rolled_street,
    "first film clip": maps_two[0],
    "second film clip": maps_two[1],
    "no clip at all": no_clip,
}
visualize.rollout_figure(rolled, street[0], title="rollout; the frames are the street's")

# %% [markdown]
# **How to read it.** The figure is like the one above, with one row per clip and one for uniform attention. All four rows show
# the same lattice. It comes from the windows of the pooling, so it is there for any clip. Next we compare the maps of many
# clips:


# %%
def rollout_of(params):
    weights = inspection.attention_weights_of(params, x, config)
    return inspection.attention_rollout(weights, plan)[:, 1:]


def mean_correlation(maps, others):
    return np.mean([np.corrcoef(one, other)[0, 1] for one, other in zip(maps, others)])


pairs, alike = np.triu_indices(len(x), 1), []
for seed, params in enumerate(trained_models):
    maps, untrained = rollout_of(params), rollout_of(mv.init(config, np.random.default_rng(seed)))
    none = mean_correlation(maps, [no_clip.ravel()] * len(x))
    alike.append((np.corrcoef(maps)[pairs].mean(), none, mean_correlation(maps, untrained)))
    print(f"model {seed + 1}: rollout maps of different clips correlate by {alike[-1][0]:.3f},", end=" ")
    print(f"with uniform attention's by {none:.3f}, with those before training by {alike[-1][2]:.3f}")
assert np.min(alike) > 0.9

# %% [markdown]
# So in these models rollout shows the *architecture*: it hardly depends on the clip, and hardly on what the model learned.
# Adebayo et al. (2018) proposed exactly this check for explanations: does the map change when the parameters are random?

# %% [markdown]
# ## Three: how far do the heads look?
#
# ### What the geometry alone says
#
# We take uniform attention again, now for the grids of full-size models. No model runs, because all weights are $1 / N_K$. Two
# time steps are enough, because only distances in space count.

# %%
vit, mvit = replace(mv.preset("vit_b_8f"), frames=2), replace(mv.preset("mvit_b_16x4"), frames=4)
geometry = {}
for name, c in (("ViT-B", vit), ("MViT-B", mvit)):
    sizes = mv.plan(c)
    for s in {s.stage: s for s in sizes.blocks}.values():  # the last block of each stage
        step = inspection.token_pixels(sizes, s.index)
        geometry[name, s.stage] = inspection.mean_attention_distance(uniform(s), s, step)[0]
        keys = step[1] * s.stride_kv[1]
        print(
            f"{name:6} stage {s.stage + 1}: {s.thw[1:]} tokens {step[1]:2} pixels apart, keys {keys:2} pixels apart:", end=" "
        )
        print(f"uniform attention looks {geometry[name, s.stage]:.1f} pixels far")
offset = np.ptp(list(geometry.values()))
print(f"all of them lie within {offset:.1f} pixels")
assert offset < 3

# %% [markdown]
# The distance is nearly the same on every grid: all grids cover the same 224 x 224 pixels, finely or coarsely, and for
# attention that is spread over the whole picture the number of places does not matter. The small differences come from the
# places of the windows' centres. So the different grids of MViT alone do not make some heads look near and others look far.
# Larger differences must come from weights that are *not* uniform.
#
# ### What random weights do, measured
#
# The paper's Fig. A.6 shows that at initialisation the distances of MViT's heads have a range that is about 4 times as large as
# ViT's. Let us run both models with random parameters: with full width, all blocks and heads, and all grids in space. Only the
# time is cut to two steps, which saves a minute. The clip shows coloured squares with noise. The third model is MViT-B with max
# pooling, where no norm follows the pool.


# %%
def at_start(c):
    """(heads,) distances of each block, and the spread of its scores over the keys, for random parameters."""
    sizes, draw, far, spread = mv.plan(c), np.random.default_rng(0), [], []
    params = mv.init(c, draw)
    clip = draw.standard_normal((1, 1, 7, 7, 3)).repeat(c.frames, 1).repeat(32, 2).repeat(32, 3)
    clip = (clip + 0.3 * draw.standard_normal(clip.shape)).astype(np.float32)

    def hook(name, array):
        if name.endswith("attention"):
            s = sizes.blocks[len(far)]
            far.append(inspection.mean_attention_distance(array, s, inspection.token_pixels(sizes, s.index)))
            spread.append(np.log(array[:, :, 1:, 1:]).std(axis=-1).mean())

    mv.forward(params, clip, c, hook=hook)
    return far, np.array(spread)


# %%
models = {"ViT-B": vit, "MViT-B, max pooling": replace(mvit, pool="max", pool_kernel="s+1"), "MViT-B, conv pooling": mvit}
start = {name: at_start(c) for name, c in models.items()}
ranges = {name: max(map(max, far)) - min(map(min, far)) for name, (far, _) in start.items()}
base = ranges["ViT-B"]
for name, (_, spread) in start.items():
    print(f"{name:21} range {ranges[name]:4.1f} pixels, {ranges[name] / base:.1f} times ViT-B's;", end="")
    print(f" spread of scores over keys: mean {spread.mean():.2f}, largest {spread.max():.2f} (block {spread.argmax() + 1})")
assert ranges["MViT-B, conv pooling"] > 2 * base

# %% [markdown]
# **How to read it.** A dot is a head, and the blocks follow from left to right. Each model has a panel, and all panels have the
# same scale. The dashed line is uniform attention on ViT-B's grid.

# %%
figure, panels = plt.subplots(1, 3, figsize=(11, 4), sharey=True, layout="constrained")
for axes, (name, (far, _)), colour in zip(panels, start.items(), (VERMILLION, ORANGE, BLUE)):
    for index, heads in enumerate(far, 1):
        axes.plot([index] * len(heads), heads, "o", color=colour, markersize=6, alpha=0.7, markeredgecolor="white")
    axes.axhline(geometry["ViT-B", 0], color=INK, linestyle="--", linewidth=1)
    axes.set(xlabel="block", title=f"{name}\nrange {ranges[name]:.1f} pixels", xlim=(0, 17), xticks=(1, 4, 8, 12, 16))
panels[0].set_ylabel("mean attention distance (pixels)")
figure.suptitle("At initialisation MViT's heads differ more in how far they look", fontsize=14, weight="bold")
plt.show()

# %% [markdown]
# The range is larger for MViT, as in the paper. The factor is our own, from one clip and one seed, and it changes with them. In
# pixels all differences are small: a few of 116. With max pooling the scores $q \cdot k / \sqrt d$ spread least, attention is
# nearly uniform, and the range is little more than the effect of the window centres. With a convolution the scores spread most.
# A norm follows the convolution, and where queries *and* keys are pooled (blocks 2, 4 and 15) it gives both unit size, even if
# the random weights are small. This is probably the reason for the wide range. MViT also has fewer keys than ViT (7 x 7 per
# time in most blocks instead of 14 x 14), so random preferences average out less. We have not separated the two effects.
#
# ### Before and after training
#
# Now the small model, measured on the 64 test clips.


# %%
def distances(params):
    found = zip(inspection.attention_weights_of(params, x, config), plan.blocks)
    return [inspection.mean_attention_distance(w, s, inspection.token_pixels(plan, s.index)) for w, s in found]


far_before, far_after = distances(before), distances(after)
visualize.attention_distance_figure(far_before, far_after)

# %%
print("how much the four heads of the last block differ, in pixels")
for seed, params in enumerate(trained_models):
    ends = [distances(which)[-1] for which in (mv.init(config, np.random.default_rng(seed)), params)]
    print(f"model {seed + 1}: {np.ptp(ends[0]):.2f} before training, {np.ptp(ends[1]):.2f} after")

# %% [markdown]
# In two of the three models the heads of the last block differ more after training. How much more depends on the start. It is
# tempting to conclude that the heads share out the work. Remember this for the experiments below.

# %% [markdown]
# ## Four: positions and filters
#
# How alike are the learned positions of two cells? We measure it by their cosine. At the start the positions are random
# directions, and no two are alike. The figure shows them after training.
#
# **How to read it.** On the left each cell of the grid has a small map, which lies at the place of the cell. The map shows how
# similar the cell's position is to those of all cells: red is alike, blue is opposite. On the right is the same for the four
# times.

# %%
row, column = np.indices(plan.embed.thw[1:]).reshape(2, -1)
beside = np.abs(np.subtract.outer(row, row)) + np.abs(np.subtract.outer(column, column)) == 1
for name, params in (("before", before), ("after", after)):
    space, time = inspection.position_similarity(params, config)
    print(f"{name:6} training: cells side by side have cosine {space[beside].mean():5.2f}", end=", ")
    print(f"neighbouring times {np.diagonal(time, 1).mean():5.2f}")

# %%
visualize.position_similarity_figure(space, time, plan.embed.thw[1:])


# %%
def same_answers(changed, params=after):
    """The share of clips to which two models give the same answer."""
    one, other = (mv.forward(which, x, config).argmax(axis=1) for which in (changed, params))
    return (one == other).mean()


for name in ("pos_embed_spatial", "pos_embed_temporal"):
    moved = np.linalg.norm(after[name] - before[name]) / np.linalg.norm(before[name])
    kept = same_answers(after | {name: np.zeros_like(after[name])})
    print(f"{name}: moved by {moved:.0%} of its size; without it {kept:.0%} of the answers stay the same")
    assert kept > 0.9

# %% [markdown]
# The positions have moved, but neighbours are hardly more alike than before, and the answers do not need the positions. The
# task explains this: motion to the left is the same in every corner, and the cubes of three frames see it by themselves. Some
# ViTs learn positions that look like a map of the picture, but they were trained for days, on tasks in which places matter.
#
# The motion is seen in the cube embedding. The figure shows its 16 filters after training.
#
# **How to read it.** A column is a filter of 3 x 7 x 7 weights, and time runs downwards. A filter that detects motion has a
# pattern that moves from slice to slice.

# %%
visualize.cube_filters_figure(after, config)

# %% [markdown]
# The filters look like noise, as they did before training. But they matter: if we put the random filters back, some answers
# change. Most answers do not change, and this is a result as well: random filters over three frames already see motion, and the
# later layers have learned to use them.

# %%
change = after["patch_embed"]["w"] - before["patch_embed"]["w"]
moved = np.linalg.norm(change) / np.linalg.norm(before["patch_embed"]["w"])
kept = same_answers(after | {"patch_embed": before["patch_embed"]})
print(f"the filters moved by {moved:.0%} of their size; with the random ones back {kept:.0%} of the answers stay the same")
assert moved > 0.2

# %% [markdown]
# ## Do early layers hold detail, and do late layers hold what happens?
#
# The quotation at the top says that early layers model simple, low-level information on a fine grid, and that deeper layers
# hold complex features on a coarse one. This is the idea behind the pyramid, and it can be tested. For drawn streets we know
# both kinds of information exactly. We take 400 of them, and half of them move to the left, half to the right. After each block
# we look at **one token**, at the middle of the grid, and ask it two questions:
#
# - *Detail:* how bright are the 4 x 4 pixels in its upper left corner, in the third frame?
# - *What happens:* which way does the street go?
#
# "To ask" means that a linear function of the token's channels is fitted to 300 streets and tested on the other 100.

# %%
ways = np.random.default_rng(4).integers(0, 2, 400)
drawn = [drawn_street(np.random.default_rng(seed), pan=4 * way - 2) for seed, way in enumerate(ways)]
many = np.stack([normalise(clip.mean(axis=-1, keepdims=True), "clip") for clip in drawn])
bright, to_fit = many[:, 2, 16:20, 16:20].mean(axis=(1, 2, 3)), np.arange(400) < 300


def after_each(params, streets):
    """[(grid, tokens), ...] of the embedding and of each block."""
    found = [(plan.embed.thw, embed(params, streets, plan.embed))]
    for s, b in zip(plan.blocks, params["blocks"]):
        found.append((s.thw_q, block(b, found[-1][1], s)))
    return found


def told(token, wanted):
    """The prediction of a linear function of the token for the streets to which it was not fitted.   token: (400, D)"""
    known = np.c_[token, np.ones(400)]
    square = known[to_fit].T @ known[to_fit] + 3 * known.var() * np.eye(known.shape[1])  # a little ridge, against chance
    return known[~to_fit] @ np.linalg.solve(square, known[to_fit].T @ wanted[to_fit])


# %%
def probed(params):
    """After each block, the explained variance of the detail and the share of right directions.   -> (5, 2)"""
    answers = []
    for (_, h, w), tokens in after_each(params, many):
        token = tokens[:, 1:].reshape(400, 4, h, w, -1)[:, 1, h // 2, w // 2]
        detail = 1 - ((told(token, bright) - bright[~to_fit]) ** 2).mean() / bright[~to_fit].var()
        answers.append((detail, ((told(token, 2 * ways - 1) > 0) == ways[~to_fit]).mean()))
    return np.array(answers)


found = np.array([probed(params) for params in trained_models])  # (models, places, 2)
random = probed(before)
for number, (grid, tokens) in enumerate(after_each(after, many[:1])):
    name, (detail, way) = f"block {number}" if number else "embedding", found[:, number].T
    print(f"{name:10} {grid}, {tokens.shape[-1]:2} channels: detail", detail.round(2), " direction", way.round(2))
assert (found[:, 0, 0] > 0.5).all() and (found[:, 4, 0] < 0.2).all()
assert (found[:, 0, 1] < 0.75).all() and (found[:, 4, 1] > 0.95).all()

# %% [markdown]
# And from which places does such a token get its information? The size of its derivative by each of the embedded tokens shows
# on which of them it depends; we average over 16 streets and four random directions in its channels. Where the grid shrinks, a
# token's query and skip are pooled from a window of 3 x 3 places of the finer grid, and two such pools in a row make a window
# of 7 x 7.


# %%
def gathers_from(params, count):
    """(8, 8) shares: how much the middle token after `count` blocks depends on each place of the embedding."""
    specs, shares = plan.blocks[:count], 0
    at = 1 + np.ravel_multi_index((1, specs[-1].thw_q[1] // 2, specs[-1].thw_q[2] // 2), specs[-1].thw_q)

    def seen(tokens, draw):
        for s, b in zip(specs, params["blocks"]):
            tokens = block(b, tokens, s)
        return (tokens[:, at] * draw).sum()

    for draw in np.random.default_rng(0).standard_normal((4, specs[-1].dim_out)).astype(np.float32):
        by_token = mv.value_and_grad(seen)(embed(params, many[:16], plan.embed), draw)[1]
        shares = shares + (by_token[:, 1:] ** 2).sum(axis=-1).reshape(16, 4, 8, 8).sum(axis=(0, 1))
    return shares / shares.sum()


# %%
WINDOWS = {1: slice(4, 5), 2: slice(3, 6), 4: slice(1, 8)}  # places of the embedding in the pools' windows, rows and columns
sources = {count: gathers_from(after, count) for count in WINDOWS}
own = {count: sources[count][rows, rows].sum() for count, rows in WINDOWS.items()}
for count, rows in WINDOWS.items():
    side = rows.stop - rows.start
    print(
        f"after block {count}: {side} x {side} of the 8 x 8 places lie in the token's window, {side**2 / 64:.0%} of them;",
        end=" ",
    )
    print(f"it depends on these by {own[count]:.0%}")
assert own[1] > 0.9 and own[2] > 0.7

# %%
figure, axes = plt.subplots(1, 4, figsize=(12, 4.4), layout="constrained", width_ratios=(1.9, 1, 1, 1))
for column, colour, name in ((0, ORANGE, "detail"), (1, BLUE, "direction")):
    for number, each in enumerate(found):
        axes[0].plot(range(5), each[:, column], "o-", color=colour, linewidth=2, label=name if number == 0 else None)
    axes[0].plot(range(5), random[:, column], ":", color=colour, linewidth=2, label=f"{name}, random weights")
axes[0].set(xticks=range(5), ylim=(-0.05, 1.05), title="What one token tells")
axes[0].set_xticklabels(["input", *(f"block {number}\n{s.thw_q[1]} x {s.thw_q[2]}" for number, s in enumerate(plan.blocks, 1))])
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower left", ncols=4, frameon=False)
for ax, (count, shares) in zip(axes[1:], sources.items()):
    start, side = WINDOWS[count].start, WINDOWS[count].stop - WINDOWS[count].start
    image = ax.imshow(shares / shares.max(), cmap="viridis", vmin=0, vmax=1)
    ax.add_patch(plt.Rectangle((start - 0.5,) * 2, side, side, fill=False, edgecolor="white", linewidth=2.5))
    ax.set(xticks=[], yticks=[], title=f"after block {count}: {own[count]:.0%}\nfrom its window")
figure.colorbar(image, ax=axes[3], label="dependence / largest", shrink=0.7)
figure.suptitle("Going up, a token loses the detail, gathers from farther, and learns what happens", fontsize=14, weight="bold")
plt.show()

# %% [markdown]
# **How to read it.** On the left each of the three trained models has an orange and a blue line, and dotted lines are for
# random weights. "Detail" is a share of the variance; 0 means no better than the mean. For the direction, 0.5 is as good as
# guessing. On the right you see on which of the 8 x 8 places of the embedding the middle token of the first model depends. The
# frame is the window.
#
# In the fine grid a token knows its own small patch: it can say how bright a corner is, and almost nothing about the direction.
# Each time the grid shrinks the detail falls, and the direction is there as soon as the first tokens have been pooled together.
# After block 4 the corner is nearly lost, and this one token tells the direction of every street. So the quotation is true for
# these models. Two remarks belong to it. First, not all of the detail can stay: 256 tokens of 16 channels become 16 tokens of
# 64, a quarter of the numbers. Second, the dotted lines show that *random* weights already do a large part of this: the shape
# of the network collects the information, and training does the rest.

# %% [markdown]
# ## What attention maps do not prove
#
# "Attention is not Explanation", wrote Jain and Wallace (2019): in their text classifiers, attention weights agreed poorly with
# what gradients say about the words, and quite different weights gave the same answer. Three experiments of this kind follow.
#
# ### Experiment 1: take the choice away
#
# If the queries are zero, every score is 0, and softmax gives all keys the same weight. Everything else stays as trained. For
# comparison we also remove the attention branch completely, so that only the skip connections remain.


# %%
def without_choice(params):
    blocks = []
    for s, b in zip(plan.blocks, params["blocks"]):
        attn = b["attn"] | {"qkv": {name: value.copy() for name, value in b["attn"]["qkv"].items()}}
        for value in attn["qkv"].values():
            value[..., : s.dim_attn] = 0  # the columns that make the queries
        if "norm_q" in attn:  # after pooling
            attn["norm_q"] = {name: np.zeros_like(value) for name, value in attn["norm_q"].items()}
        blocks.append(b | {"attn": attn})
    return params | {"blocks": blocks}


def without_attention(params):
    blocks = []
    for b in params["blocks"]:
        nothing = {name: np.zeros_like(value) for name, value in b["attn"]["proj"].items()}
        blocks.append(b | {"attn": b["attn"] | {"proj": nothing}})
    return params | {"blocks": blocks}


# %%
even_kept, none_kept = [], []
for number, params in enumerate(trained_models, 1):
    pair = (params, without_choice(params))
    peaks = [max(w.max() * w.shape[-1] for w in inspection.attention_weights_of(which, x, config)) for which in pair]
    print(f"model {number}: largest weight {peaks[0]:.0f} times uniform, without choice {peaks[1]:.1f};", end=" ")
    even_kept.append(same_answers(without_choice(params), params))
    none_kept.append(same_answers(without_attention(params), params))
    print(f"same answers with uniform attention {even_kept[-1]:.0%}, without attention {none_kept[-1]:.0%}")
assert min(even_kept) > max(none_kept) + 0.2

# %% [markdown]
# The largest weights are many times as large as those of uniform attention, the heads of two models differ, and the maps have
# bright tiles. All of this can be removed, in all blocks at once, and most answers stay the same. But without any
# attention the answers are no better than guesses. So these models need attention to *collect* the information of the tokens in
# the class token. They do not need it to *choose* among tokens. If a constant can replace the weights, a map of the weights
# does not explain an answer. (Wiegreffe and Pinter 2019, in reply to Jain and Wallace, used uniform weights as a first test.
# They trained models with uniform weights. Here we replace the weights in the trained model, which is a harder test.)
#
# This is a small model on an easy task. A large model on Kinetics may need its weights. The map alone cannot tell, so one has
# to test it.
#
# ### Experiment 2: mask the tokens that rollout ranks highest
#
# If a map shows what matters, then the model should suffer most when we remove the brightest tokens. We replace embedded tokens
# by their mean over the clips (this keeps the place and removes the content) and measure the **margin**: the logit of the
# model's answer minus the other logit. We mask the tokens in these orders:
#
# - by rollout of the clip, highest first, and by rollout of uniform attention, which has not seen the clip
# - at random, as a mean over 2 draws
# - by gradient times difference, highest first: if $g$ is the gradient of the margin by a token $u$, and $m$ is its
#   replacement, then $g \cdot (u - m)$ is the drop of the margin to first order. Unlike rollout, it depends on the model's
#   answer.
# - by relevance for the answer, highest first. This is rollout in which each attention weight $A$ is replaced by
#   $\max(0, A \, \partial s / \partial A)$, where $s$ is the logit of the answer, as a mean over heads (Chefer, Gur and Wolf
#   2021). So it follows attention too, but only where more attention would raise the answer's logit.


# %%
def from_tokens(params, tokens):
    for s, b in zip(plan.blocks, params["blocks"]):
        tokens = block(b, tokens, s)
    return head(params, tokens, plan.head)


# %%
def margin_of(params):
    """A function of tokens: the margin of each clip, for the answer that the model gives to the unmasked clip."""
    answers = mv.forward(params, x, config).argmax(axis=1)
    towards = np.stack([1 - 2 * answers, 2 * answers - 1], axis=1).astype(np.float32)
    return lambda tokens: (from_tokens(params, tokens) * towards).sum(axis=1)


def first_order(params):
    """Gradient times difference of each token: the drop of the margin that masking it should cause.   -> (B, places)"""
    tokens, margin = embed(params, x, plan.embed), margin_of(params)
    gradient = mv.value_and_grad(lambda tokens: margin(tokens).sum())(tokens)[1]
    return (gradient * (tokens - tokens.mean(axis=0))).sum(axis=-1)[:, 1:]


# %%
tokens = embed(after, x, plan.embed)
np.testing.assert_allclose(from_tokens(after, tokens), mv.forward(after, x, config), atol=1e-3)


def masked(tokens, order, count):
    """The tokens with the first `count` of each clip's order replaced.   order: (B, places)"""
    changed, mean = tokens.copy(), tokens.mean(axis=0)
    for clip, places in enumerate(order[:, :count]):
        changed[clip, 1 + places] = mean[1 + places]
    return changed


# %%
COUNTS = (0, 16, 32, 64, 96, 128, 192, 256)
ORDERS = ("rollout", "rollout without a clip", "gradient", "relevance", "random", "random again")


def curves_of(params):
    """Mean margins, one per order and number of masked tokens.   -> (orders, counts)"""
    draws = rng.random((2, len(x), no_clip.size))
    ranks = [rollout_of(params), np.tile(no_clip.ravel(), (len(x), 1)), first_order(params)]
    ranks += [relevance.relevance(params, x, config).reshape(len(x), -1), *draws]
    tokens, margin = embed(params, x, plan.embed), margin_of(params)
    orders = [np.argsort(-rank, axis=1) for rank in ranks]
    return np.array([[margin(masked(tokens, order, count)).mean() for count in COUNTS] for order in orders])


# %%
curves = np.array([curves_of(params) for params in trained_models])  # (models, orders, counts)
curves = np.concatenate([curves[:, :4], curves[:, 4:].mean(axis=1, keepdims=True)], axis=1)
drops = curves[:, :, :1] - curves
eighth, half = drops[:, :, COUNTS.index(32)], drops[:, :, COUNTS.index(128)]
for number, drops_of in enumerate(zip(eighth, half), 1):
    print(f"model {number}, margin {curves[number - 1, 0, 0]:.2f}; it falls by")
    for name, small, large in zip(ORDERS, *drops_of):
        print(f"   {name:29} {small:5.2f} with 32 of 256 tokens masked, {large:5.2f} with 128")

# %% [markdown]
# **How to read it.** If a curve falls far when few tokens are masked, its order has found the tokens on which the answer
# depends.

# %%
figure, panels = plt.subplots(1, SEEDS, figsize=(11, 4.8), sharey=True, layout="constrained")
looks = ((BLUE, "s-"), (GREEN, "^:"), (VERMILLION, "D-"), (ORANGE, "v-"), (GREY, "o--"))
for number, (axes, of_model) in enumerate(zip(panels, curves), 1):
    for name, curve, (colour, mark) in zip(ORDERS, of_model, looks):
        axes.plot(COUNTS, curve, mark, color=colour, linewidth=2, label=name)
    axes.set(xlabel="tokens masked, of 256", xticks=range(0, 257, 64), title=f"model {number}")
    axes.axhline(0, color=INK, linewidth=0.8)
panels[0].set_ylabel("mean margin of the answer (logits)")
figure.legend(
    *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, title="masked first by"
)
figure.suptitle("Rollout finds hardly more with the clip than without it", fontsize=14, weight="bold")
plt.show()

# %%
small, large = eighth.sum(axis=0), half.sum(axis=0)  # over the models
against_none, against_random = half[:, 0] / half[:, 1], half[:, 0] / half[:, 4]
print("half masked, rollout's drop as a multiple of the drop")
print("   by rollout without a clip, model by model:", against_none.round(2))
print("   by random tokens, model by model:         ", against_random.round(2))
print(f"32 masked: the gradient's drop is {small[2] / small[0]:.1f} times rollout's, over all models")
print(f"128 masked: relevance's drop is {large[3] / large[0]:.1f} times rollout's, {large[3] / large[4]:.1f} times random's")
assert 0.6 < large[0] / large[1] < 1.6 and small[2] > 1.5 * small[0]
assert large[3] > 1.2 * large[0] and large[3] > 1.3 * large[4]

# %% [markdown]
# With half of the tokens masked, the tokens that rollout ranks highest matter more than random ones in some trained models (a
# factor above 1) and less in others. Where they matter more, it is tempting to call the map an explanation. But a map that has
# seen no clip does about as well in every model: rollout only knows which places the pooling windows favour. This second
# comparison is the important one, and it is easily forgotten. With few tokens the gradient's order finds much more. (It looks
# at one token at a time, to first order, so it can be worse when many tokens are masked together.)
#
# Relevance finds more than rollout and more than random tokens, but less than the gradient's order. It is worth having beside
# the attention map for a second reason: it can be asked about any class. (`mvit-np classify film.mp4 --explain "a class"` draws
# it under the frames.)
#
# ### Experiment 3: does the gradient's order depend on the clip?

# %%
by_gradient = [first_order(params) for params in trained_models]
other = [np.abs(np.corrcoef(maps)[pairs]).mean() for maps in by_gradient]
print("correlation of maps of different clips, model by model:")
print("   rollout                  ", np.round([found[0] for found in alike], 2))
print("   gradient times difference", np.round(other, 2), "(mean size)")
gradient_two = np.maximum(by_gradient[0][:2], 0).reshape(2, *plan.embed.thw)
visualize.rollout_figure(
    {"gradient, clip 1": gradient_two[0], "gradient, clip 2": gradient_two[1], "rollout, no clip": no_clip}
)

# %% [markdown]
# **How to read it.** The figure is like the rollout figure above, for two of the 64 clips. Bright tiles are tokens whose
# replacement would lower the margin (negative values count as zero). These maps do differ from clip to clip. They are no proof
# either: they are an estimate to first order, and a token corresponds to pixels only roughly. But they passed the test that
# rollout failed.

# %%
assert max(other) < 0.5 < min(found[0] for found in alike)

# %% [markdown]
# ## Questions to the reader
#
# **1.** Rollout of uniform attention shows a lattice. Where does it come from?
#
# <details><summary>Answer</summary>
#
# It comes from the windows of the pools. Block 1 pools its keys with a kernel of 3 and a stride of 4, so some places of the 8 x
# 8 grid are in no window: they can give nothing to the class token in block 1. Where the grid shrinks, windows of 3 with stride
# 2 overlap: every second row and column is in two windows and counts twice. And the border is in fewer windows.
# </details>
#
# **2.** With all 256 tokens masked the curves end close to, but not at, zero. Why is the end the same for all orders?
#
# <details><summary>Answer</summary>
#
# When every token is replaced by its mean, all orders have masked the same tokens. All clips are then equal for the model, so
# it gives the same answer to each. The margin is positive for clips to which the model gave this answer before, and negative
# for the others. The mean is near zero when the two answers are equally frequent.
# </details>
#
# **3.** Uniform attention looks 116 pixels far on 224 x 224 pixels. How far would it look at 320 x 320, with the same number of
# tokens?
#
# <details><summary>Answer</summary>
#
# Distances scale with the picture: $116 \cdot 320 / 224 \approx 166$ pixels. To compare models at different sizes, divide by
# the size of the picture.
# </details>
#
# **4.** Someone shows you an attention map that is bright exactly on the moving car. What do you ask for?
#
# <details><summary>Answer</summary>
#
# Ask for the map of another clip, the map of the untrained model, and the map of uniform attention. Also ask how the answer
# changes when the bright tokens are masked, compared with random tokens and with another clip's map.
# </details>

# %% [markdown]
# ## What was learned

# %%
# Attention weights are a fact about the model. Whether the answer depends on them must be tested, and here it does not.
assert np.min(alike) > 0.9 and min(even_kept) > max(none_kept) + 0.2
