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
# # 11 On the GPU: kernels
#
# **The question.** The arrays decide where a function of this package computes: on a CPU with NumPy, or on a GPU with CuPy.
# What does a GPU do in the second case? Why can it be hundreds of times faster, and why does the package contain pieces of C
# for some of its functions? You will move a model to a device and back, count operations and bytes for the roofline of two
# machines, and run a *kernel* of a GPU thread by thread.
#
# This is the first of three notebooks. [11b](11b_precision.ipynb) asks what numbers of fewer bits lose, and
# [11c](11c_graphs_and_training.ipynb) asks what it costs to launch all these kernels. None of the three needs a GPU. Without
# one they say so, and the measurements that need a GPU stay empty.
#
# Words that are new to you are in the [glossary](../docs/glossary.md), symbols in the [notation](../docs/notation.md).

# %%
# %matplotlib inline
import inspect
import math
from collections import defaultdict

import matplotlib.pyplot as plt
import numpy as np
import scipy.special

# %%
import mvit_np as mv
from mvit_np import ops
from mvit_np.autodiff.hooks import watching
from mvit_np.backend import tiles
from mvit_np.backend.arrays import array_module, register_library
from mvit_np.backend.cuda.gemm import strided_batches
from mvit_np.backend.cuda.kernels import layer_norm as norm_kernels
from mvit_np.backend.matmul import matmul
from mvit_np.course import stand_in
from mvit_np.model.costs import skipped_macs
from mvit_np.studies.bench import machine, roofline
from mvit_np.visualize.style import BLUE, GREEN, GREY, INK, ORANGE, PALE, VERMILLION

# %%
rng = np.random.default_rng(0)
plt.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
try:
    probe = mv.to_device(np.ones(1, np.float32), "cuda:0")
except ValueError as problem:
    there = stand_in.put
    print(f"No GPU here, so a stand-in takes its place. ({problem})")
else:
    there = mv.to_device
    print("computing on", array_module(probe).cuda.runtime.getDeviceProperties(0)["name"].decode())

# %% [markdown]
# ## What the paper says
#
# > "We measure training throughput as the number of video clips per second on a single M40 GPU." (Fan et al., Sec. 4.2)
#
# Table 16 prints the result and the multiply-adds. If the time depended on multiply-adds alone, the two ratios would agree:

# %%
table_16 = {"ViT-B": (3.6, 179.6), "MViT-B, max pooling": (6.3, 70.5), "MViT-B, conv pooling": (4.8, 70.5)}
slow, many = table_16["ViT-B"]
for name, (speed, gmacs) in table_16.items():
    print(f"{name:21} {speed} clips/s, {speed / slow:.2f} times ViT-B's; {many / gmacs:.2f} times fewer multiply-adds")

# %% [markdown]
# They do not agree. MViT-B does 2.5 times less arithmetic and is 1.3 or 1.75 times faster. In the table the two kinds of
# pooling cost the same multiply-adds, but not the same time. The table does not count the traffic to memory. An op of $F$
# operations that moves $M$ bytes, on a machine that does $\pi$ operations per second and moves $\beta$ bytes per second, both
# at the same time, takes at least
#
# $$t = \max\!\left(\frac{F}{\pi}, \frac{M}{\beta}\right), \qquad
# \text{so it reaches at most } \min(\pi,\ I \beta) \text{ operations per second}, \quad I = \frac{F}{M}.$$
#
# $I$ is the **arithmetic intensity**, and this bound is the **roofline**.
#
# ## The arrays decide
#
# A function of this package must not name a library. It asks its argument: `array_module(x)` is the library to which `x`
# belongs. To see this, we invent a library. It has NumPy's functions, but it records each function that is used. Its arrays are
# NumPy's under another name. `register_library` tells the package which arrays belong to which library.

# %%
asked = []


class Elsewhere(np.ndarray):
    """Arrays of the invented library."""


class Library:
    def __getattr__(self, name):
        asked.append(name)
        return getattr(np, name)


scores = rng.standard_normal((3, 5)).astype(np.float32)
register_library(Elsewhere, Library(), scipy.special, np.asarray)
for array in (scores, scores.view(Elsewhere)):
    asked.clear()
    ops.softmax(array)
    print(f"{type(array).__name__:10} asked the invented library for {asked or 'nothing'}")

# %% [markdown]
# (The function used only `exp` of the library. Maximum, sum, minus and the division belong to the arrays themselves.) CuPy is
# such a library, and it is registered in the same way. Its arrays are in the GPU's own memory. Python has only a **handle**: it
# knows the shape and the dtype, but the numbers are elsewhere. Each array function on a handle makes the host ask the GPU for a
# piece of work, a **kernel**. This is called a **launch**.
#
# You can see all of this without a GPU, because the course has a stand-in, `mvit_np.course.stand_in`. It hides a NumPy array,
# takes it out only for a "kernel", and counts the launches and the bytes that they read and write. Views are only a new rule
# for the same memory ([notebook 00b](00b_arrays.ipynb)), so they launch nothing. This is the stand-in's counter:

# %%
print(inspect.getsource(stand_in._count))

# %%
for array in (scores, stand_in.put(scores)):
    stand_in.clear()
    shares = ops.softmax(array)
    print(f"{type(array).__name__:8} array_module: {array_module(array).__name__:9} launches: {dict(stand_in.launched)}")
np.testing.assert_array_equal(mv.to_host(shares), ops.softmax(scores))

# %% [markdown]
# ## To the device and back, and no copy in between
#
# Parameters are a tree, so one call moves a model: `mv.to_device(params, "cuda:0")`. `mv.to_host` brings any tree back. Here
# `there` moves arrays to the GPU if there is one; otherwise it makes handles of the stand-in.

# %%
config = mv.preset("mvit_micro")
params = mv.init(config, rng)
clips = rng.standard_normal((4, *config.thw, config.channels)).astype(np.float32)
labels = np.array([0, 1, 1, 0])

params_there, clips_there = there(params), there(clips)
logits = mv.forward(params_there, clips_there, config)
print(f"{len(mv.tree.leaves(params))} arrays there, logits: {type(logits).__name__} {logits.shape} {logits.dtype}")
for before, after in zip(mv.tree.leaves(params), mv.tree.leaves(mv.to_host(params_there)), strict=True):
    np.testing.assert_array_equal(before, after)
np.testing.assert_allclose(mv.to_host(logits), mv.forward(params, clips, config), atol=1e-4)
print("the parameters come back without a changed bit; the logits agree")

# %% [markdown]
# The config and the plan stay on the host, because Python uses their numbers. Now we forget one of the two moves.


# %%
def refused(what, call):
    try:
        call()
    except TypeError as problem:
        print(f"{what}: {problem}")
    else:
        raise AssertionError(f"{what} was not refused")


refused("clip on the host, parameters there", lambda: mv.forward(params_there, clips, config))
refused("handle + NumPy array", lambda: clips_there + clips)
refused("np.asarray(handle)", lambda: np.asarray(clips_there))

# %% [markdown]
# The first refusal comes from the package. The others are those of CuPy, which the stand-in imitates. Why is an array in the
# wrong place not simply copied? The program would work, and nobody would see that it is slow. A copy in every step costs time
# in two ways. The bytes go through a connection that is much slower than the GPU's memory (for the GPU below, the data sheet
# says 128 GB/s for both directions together, against 4,800 GB/s for the memory), and the host waits until the GPU has finished
# all its work. So only two functions copy, and you decide when: the parameters once, a batch in each step, and the loss when
# you want to print it.
#
# **The numbers are the same, except for the last digits.** A sum of float32 numbers depends on their order, because each
# addition rounds, and a GPU adds in another order than a CPU. A batch in another order has the same loss, but the additions
# have another order, so it shows how large such differences are. Each tensor of the gradient is compared relative to its
# largest entry (if this entry is zero in theory, relative to the largest entry of all tensors). In float64 the difference must
# be smaller by the ratio of the two dtypes' precisions. If it is not, the difference is not rounding but a mistake.


# %%
def loss_of(params, clips, labels):
    return mv.cross_entropy(mv.forward(params, clips, config), labels)


def disagreement(these, those):
    """The largest difference of two trees, relative to each tensor's largest entry."""
    largest = max(np.abs(leaf).max() for leaf in mv.tree.leaves(these))
    pairs = zip(mv.tree.leaves(these), mv.tree.leaves(mv.to_host(those)), strict=True)
    return max(np.abs(one - two).max() / max(np.abs(one).max(), 1e-3 * largest) for one, two in pairs)


# %%
gradients, tolerance = mv.value_and_grad(loss_of), {"float32": 2e-4, "float64": 1e-11}
for dtype, allowed in tolerance.items():
    some, given = mv.tree.map(lambda leaf, dtype=dtype: leaf.astype(dtype), (params, clips))
    _, here = gradients(some, given, labels)
    _, reversed_ = gradients(some, given[::-1].copy(), labels[::-1].copy())
    _, back = gradients(there(some), there(given), there(labels))
    apart = {"batch in another order": disagreement(here, reversed_), array_module(logits).__name__: disagreement(here, back)}
    print(dtype, ", ".join(f"{name}: {value:.0e}" for name, value in apart.items()), f"(allowed {allowed:.0e})")
    assert max(apart.values()) < allowed

# %% [markdown]
# ## Why a GPU is faster at all: counting operations and bytes
#
# We count $F$ and $M$ in the simplest way: every multiply-add is two operations, and every array goes through memory once.
# `mvit_np.studies.bench.roofline` counts every op in this way, and `watching` gives us each op of MViT-B 16x4 as it runs, with
# its time. For norms, additions and max pooling only the bytes are counted. For the figure we add their operations: seven per
# number in a norm, one in an addition, and six comparisons per result of max pooling. The fast versions of the ops run here:
# `project` makes the queries, keys and values of a layer, and `take_seen` picks the tokens that their pools read.

# %%
LIGHT = {"layer_norm": lambda y: 7 * y.size, "max_pool": lambda y: 6 * y.size}
LIGHT |= {"residual": lambda y: y.size, "add": lambda y: y.size}
work = defaultdict(lambda: np.zeros(4))  # calls, operations, bytes, seconds


def count(name, phase, seconds, args, static, result):
    """What a forward call of an op did."""
    operations, bytes_ = roofline.forward_work(name, args, result[0])
    light = LIGHT[name](result[0]) if name in LIGHT else 0
    work[name] += (1, operations + light, bytes_, seconds)


# %%
mvit_b = mv.preset("mvit_b_16x4")
params_b, clip_b = mv.init(mvit_b, rng), rng.standard_normal((1, *mvit_b.thw, 3)).astype(np.float32)
mv.forward(params_b, clip_b, mvit_b)  # to warm up
with watching(count):
    mv.forward(params_b, clip_b, mvit_b)
busiest = sorted((name for name in work if work[name][2] > 1e6), key=lambda name: -work[name][3])
print(f"{'':15} calls  1e9 operations  MB moved  operations per byte    ms")
for name in busiest:
    calls, operations, bytes_, seconds = work[name]
    row = f"{name:15} {calls:5.0f} {operations / 1e9:15.2f} {bytes_ / 1e6:9.0f}"
    print(f"{row} {operations / bytes_:20.1f} {seconds * 1e3:5.0f}")

# %% [markdown]
# Half of the operations, without those that we added, must be the multiply-adds that `mv.costs` counts from the plan alone,
# without those for tokens that no pool reads:

# %%
counted = sum(work[name][1] for name in work if name not in LIGHT) / 2
by_plan = mv.costs(mvit_b).macs - skipped_macs(mvit_b)
print(f"{counted / 1e9:.3f} G multiply-adds seen, {by_plan / 1e9:.3f} G by the plan")
assert counted == by_plan

# %% [markdown]
# ## The roofline
#
# We measure this machine's two roofs here: the best product of two large matrices, and the best copy of a large array. For the
# GPU we take the numbers of NVIDIA's data sheet for one H200 (SXM): 67 TFLOP/s in float32 without tensor cores, and 4.8 TB/s.
# These numbers are **published, not measured here**, and they are peaks.

# %%
threads = tiles.threads()
roofs = {
    "this machine, measured": (
        machine.product_flops_per_s(threads, size=1536, repeats=4),
        machine.copy_bytes_per_s(threads, 1 << 27),
    ),
    "H200, published peak": (67e12, 4.8e12),
}
for name, (pi, beta) in roofs.items():
    print(f"{name:23} {pi / 1e9:8,.0f} GFLOP/s {beta / 1e9:7,.0f} GB/s, they meet at {pi / beta:4.1f} operations per byte")
times = {name: sum(max(w[1] / pi, w[2] / beta) for w in work.values()) for name, (pi, beta) in roofs.items()}
for name, seconds in times.items():
    print(f"least time of a forward pass of MViT-B at these roofs: {seconds * 1e3:7.1f} ms ({name})")
ours_s, theirs_s = times.values()
print(f"that is {ours_s / theirs_s:.0f} times faster; this pass took {sum(w[3] for w in work.values()) * 1e3:.0f} ms")


# %%
def draw_roof(axes, name, colour, style):
    pi, beta = roofs[name]
    intensity = np.geomspace(0.05, 1000, 200)
    axes.loglog(intensity, np.minimum(pi, intensity * beta) / 1e9, style, color=colour, linewidth=2.5, label=name)
    axes.axvline(pi / beta, color=colour, linestyle=":", linewidth=1)


def draw_op(axes, name, label):
    """A dot where the op ran here, and a square where the H200's roof is above it."""
    calls, operations, bytes_, seconds = work[name]
    here, most = operations / seconds / 1e9, min(67e12, operations / bytes_ * 4.8e12) / 1e9
    axes.plot([operations / bytes_] * 2, [here, most], color=PALE, linewidth=1, zorder=0)
    dot = {"color": VERMILLION, "alpha": 0.8, "markeredgecolor": "white"}
    axes.plot(operations / bytes_, here, "o", markersize=4 + 14 * np.sqrt(seconds / work["mlp"][3]), **dot)
    axes.plot(operations / bytes_, most, "s", markerfacecolor="white", color=GREY)
    below = {"textcoords": "offset points", "ha": "right" if label == "linear" else "center", "va": "top", "color": INK}
    axes.annotate(label, (operations / bytes_, here), (4 if label == "linear" else 0, -13), **below)


# %%
together = {"mlp": "mlp,\nattend", "project": "project,\ncube_conv"}  # dots that are nearly in the same place
together |= {"residual": "residual,\nadd"} | dict.fromkeys(("attend", "cube_conv", "add"), "")
figure, axes = plt.subplots(figsize=(8.5, 5.4), layout="constrained")
draw_roof(axes, "H200, published peak", GREY, "--")
draw_roof(axes, "this machine, measured", BLUE, "-")
for name in busiest:
    if work[name][1]:
        draw_op(axes, name, together.get(name, name))
axes.plot([], [], "o", color=VERMILLION, label="an op of MViT-B here, measured; area by time")
axes.plot([], [], "s", markerfacecolor="white", color=GREY, label="the most it could reach on the H200")
axes.set(xlabel="arithmetic intensity (operations per byte)", ylabel="1e9 operations per second")
axes.set(ylim=(0.05, 3e5), xlim=(0.05, 1000))
axes.set_title("A GPU's roof has the same shape, but both of its parts are far higher", loc="left", fontsize=11)
axes.legend(frameon=False, loc="upper left")
plt.show()

# %% [markdown]
# **How to read it.** Both axes are logarithmic. The rising part of a roof is memory: bytes per second times operations per
# byte. The level part is arithmetic. A dot is an op of MViT-B as it ran here. Products (`mlp`, `project`, `attend`, `linear`,
# `cube_conv`) are right of the dotted corner, where arithmetic is the limit. A pooling convolution, a norm and an addition are
# left of it: almost all of their time goes into moving arrays. (A dot may lie above the rising roof if its arrays are still in
# a cache; the large array that we copied did not fit into one.)
#
# The two corners are close together. So a GPU does not prefer another kind of op; it is faster at all of them. But note that
# the counts are the smallest possible. If an op is made of several kernels, they write and read more arrays between them. The
# next section is about these arrays.
#
# ## One kernel in place of eleven
#
# Take layer norm at the size of MViT-B's first block. In its definition ([notebook 06](06_gradients.ipynb) shows it) nearly
# every call of an array function is a separate launch, which reads and writes whole arrays:

# %%
first = mv.plan(mvit_b).blocks[0]
tokens = stand_in.put(rng.standard_normal((first.tokens_in, first.dim_in), dtype=np.float32))
gain, shift = stand_in.put((np.ones(first.dim_in, np.float32), np.zeros(first.dim_in, np.float32)))
stand_in.clear()
ops.layer_norm(tokens, gain, shift)
plain_launches = stand_in.launched.total()
passes = {name: total / tokens.nbytes for name, total in stand_in.moved.items()}
for name, times_ in stand_in.launched.items():
    print(f"{name:10} {times_} launches, {passes[name]:4.2f} passes over an array of {tokens.nbytes / 1e6:.1f} MB")
print(f"together   {plain_launches} launches, {sum(passes.values()):.1f} passes")

# %% [markdown]
# Two passes would be enough: read $x$ and write $y$. The mean, the deviation and the normed numbers do not have to be in
# memory. A **fused** kernel does all steps for a row. A kernel is the body of a loop, and many threads run it, each for another
# job. This is the text of the package's kernel. A job is a row, and 32 threads, the lanes of a *warp*, share it:

# %%
print(norm_kernels.MOMENTS)
print(norm_kernels.FORWARD.parameters, norm_kernels.FORWARD.body, sep="\n")

# %% [markdown]
# `i` is the job, `lane` is the number of the thread within its warp, and `LANES` is the number of lanes. Simple arithmetic of
# indices decides which thread does which job. The threads come in *blocks* of equal size. Neighbouring threads share a job.
# When a thread has finished its job, it goes on by the number of jobs that the whole grid of threads takes at once:


# %%
def jobs_of(block, thread, blocks, threads, lanes, jobs):
    """(the jobs of one thread, its lane), as the head of every kernel of the package computes them."""
    number = block * threads + thread
    return range(number // lanes, jobs, blocks * threads // lanes), number % lanes


BLOCKS, THREADS, LANES, ROWS, WIDTH = 2, 8, 4, 10, 12  # a tiny grid, and a tiny array
owner = np.full((ROWS, WIDTH, 2), -1)  # the block and the thread that read each number
for block, thread in np.ndindex(BLOCKS, THREADS):
    jobs, lane = jobs_of(block, thread, BLOCKS, THREADS, LANES, ROWS)
    for row in jobs:
        assert (owner[row, lane::LANES] == -1).all()  # nobody else has taken them
        owner[row, lane::LANES] = block, thread
assert (owner >= 0).all()
print(f"{BLOCKS} blocks of {THREADS} threads: each of the {ROWS * WIDTH} numbers is read by exactly one thread")

# %%
figure, axes = plt.subplots(figsize=(8.5, 4.3), layout="constrained")
colours = {(0, 0): BLUE, (0, 1): ORANGE, (1, 0): GREEN, (1, 1): GREY}  # block, and group of four lanes in it
for row, column in np.ndindex(ROWS, WIDTH):
    block, thread = owner[row, column]
    axes.add_patch(plt.Rectangle((column, row), 1, 1, facecolor=colours[block, thread // LANES], edgecolor="white", alpha=0.8))
    axes.text(column + 0.5, row + 0.5, f"{thread}", ha="center", va="center", color="white", fontsize=9)
for (block, group), colour in colours.items():
    axes.plot([], [], "s", color=colour, markersize=9, label=f"block {block}, threads {4 * group} to {4 * group + 3}")
axes.set(xlim=(0, WIDTH), ylim=(ROWS, 0), xticks=[], yticks=np.arange(ROWS) + 0.5, yticklabels=range(ROWS))
axes.set(xlabel="numbers of a row", ylabel="row (job)")
axes.spines[:].set_visible(False)
axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
axes.set_title("Sixteen threads cover the array: four threads share a row, then go on by four rows", loc="left", fontsize=11)
plt.show()

# %% [markdown]
# **How to read it.** Each cell is a number in memory, and the number written in it is the thread that reads it. A colour is a
# group of four lanes. Lane 0 takes the places 0, 4 and 8 of its row, and lane 1 takes the places 1, 5 and 9. So four
# neighbouring threads read four neighbouring numbers at the same time, and the memory delivers them together.
#
# `sum_lanes` adds up the results of the lanes. In each round every lane adds the number of the lane some places away: 16, 8, 4,
# 2 and 1 places in a warp. After five rounds all lanes have the sum. The text reads a row three times, but only the first time
# the row comes from memory: 96 numbers are 384 bytes, and they stay in a cache.
#
# Here is the kernel by loops. The threads, which run at the same time on a device, run one after the other here.


# %%
def sum_lanes(values):
    """Every lane gets the sum of all; a power of two of them."""
    apart = len(values) // 2
    while apart:
        values = [value + values[lane ^ apart] for lane, value in enumerate(values)]
        apart //= 2
    return values


# %%
def layer_norm_threads(x, gain, shift, eps=1e-6, lanes=4):
    """FORWARD above: each row is a job, and each lane takes a part of the row."""
    y, width = np.empty_like(x), x.shape[1]
    for i, row in enumerate(x.tolist()):
        own = [range(lane, width, lanes) for lane in range(lanes)]
        mean = sum_lanes([sum(row[j] for j in places) for places in own])[0] / width
        variance = sum_lanes([sum((row[j] - mean) ** 2 for j in places) for places in own])[0] / width
        reciprocal = 1 / math.sqrt(variance + eps)
        for places in own:
            for j in places:
                y[i, j] = gain[j] * ((row[j] - mean) * reciprocal) + shift[j]
    return y


# %%
assert sum_lanes([1, 2, 3, 4, 5, 6, 7, 8]) == [36] * 8
small = [rng.standard_normal(shape).astype(np.float32) for shape in ((3, 10), 10, 10)]
by_threads = layer_norm_threads(*small)
np.testing.assert_allclose(by_threads, ops.layer_norm(*small), atol=1e-5)
print(f"3 rows of 10 by 4 lanes: {np.abs(by_threads - ops.layer_norm(*small)).max():.0e} from the package's op")

# %% [markdown]
# ### The same text, compiled
#
# The body is both CUDA and plain C. In C there is one lane, and a loop goes over the jobs. So every line of every kernel can
# run without a GPU, compiled by gcc, if gcc is installed. Within `stand_in.tools()` the stand-in does this: it then has the
# tools of a device beyond array functions. The first of these **tools** launches the package's own kernels.

# %%
print("kernels are compiled by gcc" if stand_in.GCC else "no gcc on this machine: kernels are counted, not run")
stand_in.clear()
with stand_in.tools():
    fused = ops.layer_norm(tokens, gain, shift)
print(f"{dict(stand_in.launched)}, {stand_in.moved.total() / tokens.nbytes:.2f} passes")
if stand_in.GCC:
    alone = ops.layer_norm(*mv.to_host([tokens, gain, shift]))
    print(f"the compiled kernel is {np.abs(fused.get() - alone).max():.0e} from NumPy's op")
    np.testing.assert_allclose(fused.get(), alone, atol=1e-5)
assert stand_in.launched.total() == 1
assert stand_in.moved.total() < 2.1 * tokens.nbytes < 0.25 * sum(passes.values()) * tokens.nbytes

# %% [markdown]
# Layer norm is on the rising part of the roof, so its time should be proportional to the passes.
# `mvit_np/backend/cuda/kernels/` also has kernels for the pooling convolution, GELU with its bias, the softmax inside
# attention, sums over rows, and AdamW. The fast versions of the ops in `ops/cuda/` and `ops/fast/` use them. Within
# `mv.plain_ops()` the definitions run instead, so that you can measure what the kernels gain.
#
# ## Products without copies
#
# NVIDIA's library cuBLAS has kernels for products of large matrices, and the package uses them. cuBLAS stores a matrix **column
# by column**: a matrix is an address and a *leading dimension*, the number of places from one column to the next. A batch also
# has a *distance* from one matrix to the next. NumPy stores a matrix row by row, so cuBLAS sees the transpose of a NumPy array.
# This is no problem: the transpose of a product is the product of the transposes in the other order, so one asks for
#
# $$C = A B \quad\text{as}\quad C^\top = B^\top A^\top ,$$
#
# and no array is moved. A flag tells cuBLAS about a view that NumPy has transposed. The heads are side by side in a token,
# (clips, tokens, heads, channels). So the leading dimension of a head's matrix is the number of all channels of a token, and
# the next head begins one head's number of channels later:

# %%
q = rng.standard_normal((1, 3, 2, 4)).astype(np.float32)  # a clip, 3 tokens, 2 heads of 4 numbers
k = rng.standard_normal((1, 5, 2, 4)).astype(np.float32)  # and 5 keys
out = np.zeros((1, 2, 3, 5), np.float32)
left, right = q.swapaxes(1, 2), k.swapaxes(1, 2).swapaxes(-1, -2)  # views: (1, 2, 3, 4) and (1, 2, 4, 5)
calls = list(strided_batches(left, right, out))
for *sides, sizes, products in calls:
    print(f"{products} products; in cuBLAS's order {sizes[0]} rows, {sizes[1]} columns, sums of {sizes[2]}")
    for name, side in zip("BAC", sides, strict=True):
        print(f"  {name}: from number {side.start}, leading {side.leading:2}, apart {side.batch_stride:2}, flip {side.flip}")


# %%
def draw_heads(axes, sizes, leading, apart):
    """Memory as a line of cells: the place of each number of the queries."""
    for place, (_, head, channel) in enumerate(np.ndindex(sizes)):
        axes.add_patch(plt.Rectangle((place, 0), 1, 1, facecolor=(BLUE, ORANGE)[head], alpha=0.75, edgecolor="white"))
        axes.text(place + 0.5, 0.5, f"{channel}", ha="center", va="center", color="white", fontsize=9)
    for token in range(sizes[0]):
        axes.text((token + 0.5) * sizes[1] * sizes[2], -0.15, f"token {token}", ha="center", va="top", fontsize=10)
    for height, length, text in ((1.3, leading, f"leading: {leading}"), (2.1, apart, f"apart: {apart}")):
        axes.annotate("", (length, height), (0, height), arrowprops={"arrowstyle": "->", "color": INK, "linewidth": 1.5})
        axes.text(length + 0.3, height, text, va="center", fontsize=10)
    axes.set(xlim=(-0.2, 24.2), ylim=(-0.9, 2.6), yticks=[], xticks=[])
    axes.spines[:].set_visible(False)


# %%
figure, axes = plt.subplots(figsize=(8.5, 1.9), layout="constrained")
draw_heads(axes, q.shape[1:], calls[0][1].leading, calls[0][1].batch_stride)
axes.set_title("The queries in memory are two matrices of 3 rows, blue and orange; no number is moved", loc="left", fontsize=11)
plt.show()

# %% [markdown]
# **How to read it.** Each cell is a number, and its channel is written in it; blue is head 0, and orange is head 1. From one
# row of the blue matrix to the next there are 8 places, and from the blue matrix to the orange one there are 4. Next we write
# the call as loops over flat memory. The stand-in's second tool is NumPy's product on matrices that are found by address,
# leading dimension and distance alone.


# %%
def at(side, batch, row, column):
    """The place in memory of a number of one matrix of a batch: column by column, unless it is flipped."""
    inside = row * side.leading + column if side.flip else row + column * side.leading
    return side.start + batch * side.batch_stride + inside


def gemm_loops(memory_b, memory_a, memory_c, side_b, side_a, side_c, sizes, count):
    """C' = B' A' for every matrix of the batch."""
    rows, columns, inner = sizes
    for batch in range(count):
        for row in range(rows):
            for column in range(columns):
                for m in range(inner):
                    product = memory_b[at(side_b, batch, row, m)] * memory_a[at(side_a, batch, m, column)]
                    memory_c[at(side_c, batch, row, column)] += product


# %%
for call in calls:
    gemm_loops(k.reshape(-1), q.reshape(-1), out.reshape(-1), *call)
np.testing.assert_allclose(out, matmul(left, right), atol=1e-5)
print("the loops over flat memory agree with the package's product")

stand_in.clear()
with stand_in.tools():
    on_stand_in = matmul(stand_in.put(q).swapaxes(1, 2), stand_in.put(k).swapaxes(1, 2).swapaxes(-1, -2))
np.testing.assert_allclose(on_stand_in.get(), out, atol=1e-5)
print(f"on the stand-in: {dict(stand_in.launched)}, nothing was copied")
assert stand_in.launched == {"product": 1}

# %% [markdown]
# A product can also be added to an array that is there already, for instance a bias, and this saves a pass. With both tools we
# compute a whole gradient of `mvit_micro`, which uses every kernel that it needs. It agrees with NumPy's gradient:

# %%
if stand_in.GCC:
    _, on_numpy = gradients(params, clips, labels)
    stand_in.clear()
    with stand_in.tools():
        _, by_kernels = gradients(*map(stand_in.put, (params, clips, labels)))
    print("own kernels that ran:", ", ".join(sorted(stand_in.own & set(stand_in.launched))))
    print(f"gradients of mvit_micro by kernels and products: {disagreement(on_numpy, by_kernels):.0e} from NumPy's")
    assert disagreement(on_numpy, by_kernels) < 2e-4

# %% [markdown]
# ## Questions to the reader
#
# **1.** Which dots of the roofline gain from a fused kernel, and which gain from faster arithmetic?
#
# <details><summary>Answer</summary>
#
# Convolution, norms and additions are on the rising part: they gain from a fused kernel, which moves fewer bytes. Faster
# arithmetic helps the dots right of the corner, which are the products. But with faster arithmetic the corner moves to the
# right, so memory becomes the limit for some of them. [Notebook 11b](11b_precision.ipynb) continues here.
#
# </details>
#
# **2.** Lane 0 could also take the places 0, 1 and 2 of its row, lane 1 the places 3, 4 and 5, and so on. The sums would be the
# same. What would be worse?
#
# <details><summary>Answer</summary>
#
# At each moment the lanes would read numbers that are three places apart. Memory delivers whole pieces, which have 32 bytes on
# NVIDIA's GPUs. If neighbouring lanes read neighbouring places, one piece is enough for eight lanes. If the places are far
# apart, each lane needs its own piece, and most of the bytes that are moved are thrown away or must wait in a cache.
#
# </details>
#
# **3.** Could every number of the array be a job of its own, with one thread per number?
#
# <details><summary>Answer</summary>
#
# For an addition this works, because each number of the result depends only on its own inputs. In a norm every number of a row
# needs the row's mean and deviation. So the threads of a row have to exchange sums. Threads of one warp can do this without
# memory, but threads of different blocks cannot.
#
# </details>

# %%
# The arrays decide where a function computes, operations and bytes decide how fast; a fused kernel moves each number once.
assert array_module(logits) is not np and theirs_s < ours_s / 10
assert plain_launches > 8 and sum(passes.values()) > 8
