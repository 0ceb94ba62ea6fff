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
# # 11b Precision: what fewer bits lose
#
# **The question.** A GPU multiplies numbers of fewer bits many times as fast as float32 numbers. How many bits does training
# need, and where does it need them? You round numbers bit by bit, see which part of a training step may be rounded and which
# part may not, look at the sizes of real gradients, and train one small model in three precisions. [Notebook
# 11](11_gpu_kernels.ipynb) explains what a GPU computes. Here only the numbers matter, so everything runs on NumPy.
#
# Words that are new to you are in the [glossary](../docs/glossary.md), symbols in the [notation](../docs/notation.md).

# %%
# %matplotlib inline
import time
from dataclasses import replace
from functools import partial

import matplotlib.pyplot as plt
import numpy as np

import mvit_np as mv
from mvit_np import ops
from mvit_np.backend.arrays import array_module, from_host
from mvit_np.backend.precision import PRECISIONS, rounded
from mvit_np.train import fit, warmup_cosine
from mvit_np.visualize.style import BLUE, GREY, INK, ORANGE, SKY, VERMILLION

# %%
rng = np.random.default_rng(0)
plt.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
try:
    put, place = partial(mv.to_device, device="cuda:0"), "the GPU"
    put(np.ones(1, np.float32))
except ValueError as problem:
    put, place = mv.to_host, "NumPy"
    print(f"No GPU here, so all is computed by NumPy. ({problem})")

# %% [markdown]
# ## What the papers say
#
# > "We measure training throughput as the number of video clips per second on a single M40 GPU." (Fan et al., Sec. 4.2)
#
# The M40 has no matrix units for shorter numbers. Today's GPUs have such units, called *tensor cores*. Micikevicius et al.
# (2018, "Mixed Precision Training") showed how to use them, with two rules: a float32 copy of the weights gathers the updates,
# and the loss is scaled so that small gradients are not lost. Below you see for each rule what happens without it.
#
# A number has a sign, an exponent and a mantissa. Let the mantissa have $b$ bits, including the leading 1, which is not stored.
# Rounding to the nearest number then makes an error that is relative to the size of the number:
#
# $$\mathrm{fl}(x) = x\,(1 + \delta), \qquad |\delta| \le 2^{-b} .$$
#
# ## Four kinds of numbers
#
# A **float32** has a sign, an exponent of 8 bits and a mantissa of 23 stored bits, so $b = 24$. **TF32** keeps 10 stored bits
# of the mantissa. **bf16** keeps 7, so it is the upper half of a float32. Both keep the whole exponent, so they can hold
# numbers as large and as small as a float32 can. **float16** divides its 16 bits differently: an exponent of 5 bits and a
# mantissa of 10 stored bits.
#
# Here a loop rounds one number at a time. It reads the bits as a whole number. The bits that are cut off are compared with half
# of the last bit that stays:


# %%
def rounded_by_loop(x, bits):
    """float32 numbers rounded to `bits` bits of mantissa; a middle goes to the neighbour whose last bit is 0."""
    drop, result = 24 - bits, []
    for raw in x.view(np.uint32).tolist():
        kept, rest = raw >> drop, raw % 2**drop  # what stays, and what is cut off
        half = 2 ** (drop - 1)
        up = rest > half or (rest == half and kept % 2 == 1)
        result.append((kept + up) << drop)
    return np.array(result, np.uint32).view(np.float32)


# %%
numbers = (rng.standard_normal(4000) * 10.0 ** rng.integers(-20, 20, 4000)).astype(np.float32)
middles = (1 + (2 * np.arange(8) + 1) * 2.0**-8).astype(np.float32)  # each between two neighbours of bf16
for name, bits in list(PRECISIONS.items())[1:]:
    by_loop = rounded_by_loop(np.append(numbers, middles), bits)
    np.testing.assert_array_equal(by_loop, rounded(np.append(numbers, middles), bits))
    error = np.abs(rounded(numbers, bits) / numbers - 1).max()
    print(f"{name}: the loop and the package agree on every bit; largest relative error {error:.2e}, bound {2.0**-bits:.2e}")
    assert 0.9 * 2.0**-bits < error <= 2.0**-bits

# %%
third = np.full(1, 1 / 3, np.float32)
kept_of = {name: rounded(third, bits) if bits < 24 else third for name, bits in PRECISIONS.items()}
rows = {name: (f"{value.view(np.uint32)[0]:032b}"[: 8 + PRECISIONS[name]], 9, value[0]) for name, value in kept_of.items()}
half = third.astype(np.float16)
rows["float16"] = f"{half.view(np.uint16)[0]:016b}", 6, half[0]
figure, axes = plt.subplots(figsize=(9, 2.8), layout="constrained")
for line, (name, (digits, mantissa, value)) in enumerate(rows.items()):
    for at, digit in enumerate(digits):
        colour = GREY if at == 0 else ORANGE if at < mantissa else BLUE
        axes.add_patch(plt.Rectangle((at, -line), 1, 0.8, facecolor=colour, edgecolor="white"))
        axes.text(at + 0.5, 0.4 - line, digit, ha="center", va="center", color="white", fontsize=9)
    axes.text(-0.4, 0.4 - line, name, ha="right", va="center")
    axes.text(32.4, 0.4 - line, f"{value:.7f}", va="center")
axes.set(xlim=(-3.8, 37), ylim=(-3.1, 1), xticks=[], yticks=[])
axes.spines[:].set_visible(False)
axes.set_title("1/3 in four formats: sign (grey), exponent (orange), mantissa (blue)", loc="left", fontsize=11)
plt.show()

# %% [markdown]
# What is gained, and what does it cost? Here are the peaks of one H200 from NVIDIA's data sheet (we did not measure them; for
# TF32 and bf16 the data sheet gives the peak for sparse matrices, and we take half of it). The corner is where the roofs of
# arithmetic and memory meet ([notebook 11](11_gpu_kernels.ipynb)). The last column says how far apart neighbouring numbers are
# near 1:

# %%
PEAK = {"float32": 67e12, "tf32": 494e12, "bf16": 989e12}
for name, bits in PRECISIONS.items():
    apart = 2.0 ** (1 - bits)
    corner = PEAK[name] / 4.8e12
    print(f"{name:8} {PEAK[name] / 1e12:4.0f} TFLOP/s, corner at {corner:4.0f} operations per byte, {apart:.1e} apart at 1")

# %% [markdown]
# With fewer bits the corner moves to the right. So memory becomes the limit for more products, and the gain is smaller than the
# ratio of the peaks. (For these products bf16 helps in another way: its factors have half as many bytes.)
#
# ## Where fewer bits are used
#
# Fewer bits are used only in the factors of products: in linear layers, the cube embedding and attention. The sums of these
# products stay float32, and so do norms, softmax, the loss, the gradients of the parameters, and the parameters that the
# optimiser keeps. Within `mv.use_precision(name)` the fast versions of the ops work in this way; on NumPy they round the
# factors. Here is a product by loops:

# %%
x, w = rng.standard_normal((4, 6)).astype(np.float32), rng.standard_normal((6, 3)).astype(np.float32)
for name, bits in list(PRECISIONS.items())[1:]:
    by_loops, short_x, short_w = np.zeros((4, 3), np.float32), rounded(x, bits), rounded(w, bits)
    for n, o in np.ndindex(4, 3):
        for i in range(6):
            by_loops[n, o] += short_x[n, i] * short_w[i, o]  # the sum is float32
    with mv.use_precision(name):
        y = ops.linear(x, w)
    np.testing.assert_allclose(y, by_loops, atol=1e-5)
    print(f"{name}: the product is at most {np.abs(y - x @ w).max():.0e} from float32's; its dtype is {y.dtype}")

# %% [markdown]
# Why may factors be rounded? The errors of many factors have different signs, so in a long sum they partly cancel. Each product
# is off by up to two times $2^{-b}$ of itself, and the sum of $n$ such products is typically off by $\sqrt n$ such errors, not
# by $n$.
#
# ## The first rule: weights gather updates in float32
#
# A training step changes a weight only a little. We add 0.001 to 1 a thousand times:

# %%
added = {}
for name, bits in PRECISIONS.items():
    weight = np.ones(1, np.float32)
    for _ in range(1000):
        weight = weight + np.float32(1e-3)
        weight = rounded(weight, bits) if bits < 24 else weight
    added[name] = float(weight[0])
    print(f"a weight kept in {name:8} 1 + 1000 x 0.001 = {added[name]:.4f}")
assert added["bf16"] == 1 and abs(added["float32"] - 2) < 1e-3
print(f"kept in float32 and rounded for each product to bf16: {rounded(np.float32([added['float32']]), 8)[0]:.4f}")

# %% [markdown]
# In bf16 the next number after 1 is 1.0078, so each step is rounded away, and the weight never moves. If the weight is kept in
# float32, and only a copy of it is rounded for each product, no step is lost. Such float32 weights are called *master
# weights*.
#
# ## The same training in three precisions
#
# A small task: a bar moves to the left or to the right, by one to two pixels per frame, in noise that is as strong as the bar.
# The bar leaves the picture on one side and enters on the other. A single frame does not show the direction. The clips are made
# on the host. The losses stay on the device, and all of them come back together at the end, so no step waits for its loss.


# %%
def bars(count, rng):
    """count clips (count, 8, 32, 32, 1) of mean 0 and deviation 1, and labels: 1 where the bar moves right."""
    labels = rng.integers(2, size=count)
    time_, _, column = np.indices((8, 32, 32))
    begin, speed = rng.uniform(0, 32, count), rng.uniform(1, 2, count) * np.where(labels, 1, -1)
    middle = begin[:, None, None, None] + speed[:, None, None, None] * time_
    away = (column - middle + 16) % 32 - 16
    clips = np.exp(-(away**2) / (2 * 1.5**2)) + rng.normal(0, 1, away.shape)
    clips = (clips - clips.mean((1, 2, 3), keepdims=True)) / clips.std((1, 2, 3), keepdims=True)
    return clips[..., None].astype(np.float32), labels


# %% [markdown]
# In each precision, 150 steps run on the same batches from the same parameters. Training magnifies small differences, even
# those from rounding in float32. So we need a fourth run for comparison: it is in float32 too, but each of its first parameters
# is changed by about one millionth.

# %%
config = replace(mv.preset("mvit_micro"), dropout=0.0, drop_path=0.0)  # no masks: rounding is to be the only difference
start = mv.init(config, np.random.default_rng(0))


def loss_of(params, clips, labels):
    return mv.cross_entropy(mv.forward(params, clips, config), labels)


# %%
STEPS, BATCH = 150, 16
wobble = np.random.default_rng(9)
nudged = mv.tree.map(lambda leaf: (leaf * (1 + 1e-6 * wobble.standard_normal(leaf.shape))).astype(leaf.dtype), start)


def trained(start, precision):
    """(losses, parameters, seconds)"""
    params, draw, losses, began = put(start), np.random.default_rng(1), [], time.perf_counter()
    batches = (tuple(from_host(part, params["head"]["w"]) for part in bars(BATCH, draw)) for _ in range(STEPS))
    rate = partial(warmup_cosine, steps=STEPS, peak=7e-4, warmup=STEPS // 10)
    with mv.use_precision(precision):
        for step in fit(lambda params, batch: (loss_of(params, *batch), None), params, batches, lr=rate):
            losses.append(step.loss)
    return np.array(mv.to_host(losses), dtype=float), step.params, time.perf_counter() - began


# %%
runs_of = {name: trained(start, name) for name in ("float32", "tf32")}

# %%
runs_of |= {"bf16": trained(start, "bf16"), "float32, nudged": trained(nudged, "float32")}
losses = {name: run[0] for name, run in runs_of.items()}
fall = losses["float32"][:10].mean() - losses["float32"][-20:].mean()
gaps = {name: np.abs(curve - losses["float32"]) for name, curve in losses.items()}
for name, (curve, _, seconds) in runs_of.items():
    text = f"{name:15} {seconds:3.0f} s on {place}, last 20 losses {curve[-20:].mean():.4f}"
    print(f"{text}; from float32's at most {gaps[name][:20].max():.0e} in 20 steps, {gaps[name].max():.0e} in all;", end=" ")
    print(f"on average {gaps[name].mean() / fall:.2%} of the fall")
short = [name for name in PRECISIONS if name != "float32"]
assert max(gaps[name][:20].max() for name in short) < 0.02
assert max(gaps[name].mean() for name in short) < 0.05 * fall and fall > 0.4

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
styles = {"float32": (BLUE, "-", 4), "tf32": (ORANGE, "-", 2), "bf16": (INK, ":", 1.5)}
for name, (colour, dashes, width) in styles.items():
    left.plot(losses[name], dashes, color=colour, linewidth=width, label=name)
left.axhline(np.log(2), color=GREY, linestyle="--", linewidth=1, label="guessing: ln 2")
left.set(xlabel="training step (16 clips each)", ylabel="cross-entropy (nats)", ylim=(0, 1))
left.set_title("The three curves are almost the same", loc="left", fontsize=11)
for name, colour in (("bf16", INK), ("tf32", ORANGE), ("float32, nudged", SKY)):
    smooth = np.median(np.lib.stride_tricks.sliding_window_view(np.maximum(gaps[name], 1e-9), 9), axis=-1)
    right.semilogy(np.arange(4, 4 + len(smooth)), smooth, color=colour, linewidth=2, label=name)
right.set(xlabel="training step", ylabel="distance from float32's loss (nats)", ylim=(1e-8, 10))
right.set_title("How far from float32: median of nine steps", loc="left", fontsize=11)
left.legend(frameon=False), right.legend(frameon=False, ncols=3, fontsize=9, loc="upper left")
plt.show()

# %% [markdown]
# **How to read it.** On the left is the loss of each batch; all clips are new ones. A spike is one clip that the model gets
# wrong. Where only one run has a spike, the other runs get that clip right: their parameters are no longer the same. On the
# right you see how far apart the losses of a step are; the median leaves such single spikes out. At first bf16 is further off
# than TF32, and TF32 is further off than the nudged run, as their numbers of bits suggest. Where the loss falls steeply all
# distances grow, because there a run that learns a little sooner is far ahead. The `assert` above includes the spikes: it takes
# the mean distance over all steps, divides it by how far the loss falls, and demands less than 5 %. This says that the curves
# agree, not that the parameters agree. All runs have learned the task:

# %%
test_clips, test_labels = bars(512, np.random.default_rng(2))
right_of = {}
for name in PRECISIONS:
    params_of = runs_of[name][1]
    with mv.use_precision(name):
        scores = mv.predict(params_of, from_host(test_clips, params_of["head"]["w"]), config)
    right_of[name] = (mv.to_host(scores).argmax(-1) == test_labels).mean()
    print(f"{name:8} {right_of[name]:.1%} of 512 new clips right")

# %% [markdown]
# ## The second rule: a short exponent needs a scaled loss
#
# How large are gradients? Here are the gradients of the fresh model and of the trained model on 64 clips, with every entry of
# every parameter. The smallest number that a float16 can hold is $2^{-24}$, and a number smaller than half of it becomes zero.
# Below $2^{-14}$ a float16 has fewer than 11 bits. If the loss is multiplied by a **scale** before the backward pass, the whole
# gradient is multiplied by it as well. When the gradient is float32 again, it is divided by the scale.

# %%
batch = bars(64, np.random.default_rng(3))
gradient_of = {}
for name, params in (("fresh", start), ("trained", mv.to_host(runs_of["float32"][1]))):
    loss, slopes = mv.value_and_grad(loss_of)(params, *batch)
    entries = np.concatenate([leaf.ravel() for leaf in mv.tree.leaves(slopes)])
    gradient_of[name] = entries[entries != 0]
    print(f"{name:8} loss {float(loss):.4f}, half of the entries are below {np.median(np.abs(entries)):.0e}")


# %%
def through_float16(gradient, scale):
    """A gradient that was multiplied by the scale, turned into float16 and back, and divided by the scale."""
    with np.errstate(over="ignore"):
        short = (gradient * scale).astype(np.float16)
    return short.astype(np.float32) / scale


def shares(exact, found):
    """(became zero, lost bits, became infinite), as shares of all entries"""
    off = np.abs(found / exact - 1) > 2.0**-11
    return np.mean(found == 0), np.mean(off & (found != 0) & np.isfinite(found)), np.mean(~np.isfinite(found))


# %%
exact, lost = gradient_of["trained"], {}
for power in range(0, 33, 4):
    zero, fewer, infinite = lost[power] = shares(exact, through_float16(exact, 2**power))
    print(f"scale 2^{power:<2}: {zero:7.2%} became zero, {fewer:7.2%} lost bits, {infinite:7.2%} became infinite")
as_bf16 = rounded(exact, 8)
print(f"bf16      : {np.mean(as_bf16 == 0):7.2%} became zero, and {np.mean(~np.isfinite(as_bf16)):7.2%} became infinite")

# %% [markdown]
# The best scale is the largest one with which no entry becomes infinite. Programs find it by trial: they begin with a large
# scale and halve it whenever a step has an entry that is not finite. Such a step is thrown away.

# %%
power = 32
while not np.isfinite(through_float16(exact, 2**power)).all():
    power -= 1
best = shares(exact, through_float16(exact, 2**power))
print(f"scale 2^{power}: {best[0]:.2%} became zero, {best[1]:.2%} lost bits, {best[2]:.2%} became infinite")
assert best[0] < lost[0][0] / 10 and best[2] == 0

# %%
figure, axes = plt.subplots(figsize=(8.5, 3.8), layout="constrained")
drawn = (("fresh", 0, GREY, "fresh model"), ("trained", 0, VERMILLION, "trained model"))
for name, by, colour, label in (*drawn, ("trained", power, BLUE, f"trained, loss times $2^{{{power}}}$")):
    axes.hist(np.log2(np.abs(gradient_of[name])) + by, np.arange(-50, 21), color=colour, alpha=0.55, label=label)
top = axes.get_ylim()[1]
for exponent, text in ((-25, "zero in float16 "), (-14, "fewer bits ")):
    axes.axvline(exponent, color=INK, linestyle="--", linewidth=1)
    axes.text(exponent, 1.15 * top, text, ha="right", va="top")
axes.axvline(16, color=INK, linestyle="--", linewidth=1)
axes.text(16, 1.15 * top, " infinite", va="top")
axes.set(xlabel="size of an entry of the gradient, as a power of 2", ylabel="how many entries")
axes.set(xlim=(-45, 24), ylim=(0, 1.2 * top))
axes.legend(frameon=False, loc="center left")
axes.set_title("Scaling the loss moves a small gradient into the range of float16", loc="left", fontsize=11)
plt.show()

# %% [markdown]
# **How to read it.** A bar counts entries of one size. Entries left of the first dashed line become zero in float16, entries
# between the first and the second line keep only some of their bits, and entries right of the third line become infinite. The
# gradient of the trained model is much smaller than that of the fresh one, because the trained model is rarely wrong. When it
# is multiplied by the scale, it fits. bf16 has the exponent of a float32 and needs no scale. That is why this package offers
# TF32 and bf16, and not float16.
#
# On NumPy the lower precisions are slower, because the rounding is extra work. But in this way you can see what they do to a
# model without a GPU. On a GPU the matrix units round by themselves.
#
# ## Questions to the reader
#
# **1.** To halve the memory of the parameters, somebody keeps them in bf16 and updates them with a learning rate of 1e-4. The
# loss falls a little and then stands still. Why does it fall a little?
#
# <details><summary>Answer</summary>
#
# AdamW moves a weight by about the learning rate. Near 1 this is far less than 0.004, half the distance between neighbouring
# numbers, so the step is rounded away. But the smaller a number is, the closer its neighbours lie. So weights below about 0.03
# still move.
#
# </details>
#
# **2.** Which dots of the roofline in [notebook 11](11_gpu_kernels.ipynb) move up with TF32?
#
# <details><summary>Answer</summary>
#
# The dots right of the old corner move up, and these are the products. The new corner, at about 103 operations per byte, is the
# limit: `linear` is left of it and becomes limited by memory. Convolution, norms and additions are on the rising part of the
# roof and gain nothing from TF32.
#
# </details>
#
# **3.** You add the number 1 to a sum 2000 times, and the sum is kept in bf16. What is the result? What follows for softmax,
# norms and the sums inside products?
#
# <details><summary>Answer</summary>
#
# It is 256. A bf16 has 8 bits, so after 256 the next number is 258, and 257 lies in the middle between the two: it is rounded
# to 256, whose last bit is 0. So sums over many numbers are made in float32: those of softmax and norms, and those inside
# products.
#
# </details>

# %%
# Factors may lose bits; sums and weights may not; a short exponent needs a scale. All three precisions learn the task.
total = np.zeros(1, np.float32)
for _ in range(2000):
    total = rounded(total + 1, 8)
assert total == 256 and added["bf16"] == 1 and best[0] < lost[0][0]
assert array_module(runs_of["float32"][1]["head"]["w"]) is array_module(put(np.ones(1)))
assert losses["float32"][-20:].mean() < 0.2 and min(right_of.values()) > 0.9
