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
# # 11 On the GPU: the same code on CuPy
#
# **The question.** [Notebook 00b](00b_arrays.ipynb) said that the arrays decide where a function computes, on a CPU with NumPy
# or on a GPU with CuPy. What must you do to run a model on a GPU, what is refused there, why can a GPU be hundreds of times
# faster, and when is it not faster at all? And what then? You model the queue between the two machines, draw the roofline of
# both, run a GPU kernel thread by thread, multiply matrices where they lie, record a training step and replay it, see what
# lower precision keeps of a number, and train a small model on whichever device there is.
#
# The notebook runs without a GPU too. It then says so, and what only a GPU could measure stays empty.

# %%
# %matplotlib inline
import ctypes
import math
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import replace
from functools import cache, partial
from itertools import islice, repeat
from pathlib import Path
from types import ModuleType, SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import scipy.special

# %%
import mvit_np as mv
from mvit_np import ops
from mvit_np.autodiff.hooks import watching
from mvit_np.backend import tiles
from mvit_np.backend.arrays import array_module, from_host, memory, register_library, synchronize
from mvit_np.backend.cuda import kernel as kernels
from mvit_np.backend.cuda.gemm import strided_batches
from mvit_np.backend.cuda.kernels import layer_norm as norm_kernels
from mvit_np.backend.matmul import matmul
from mvit_np.backend.precision import PRECISIONS, rounded
from mvit_np.model.costs import skipped_macs
from mvit_np.studies.bench import machine, roofline
from mvit_np.train import RECIPES, adamw, adamw_state, fit, warmup_cosine
from mvit_np.train import run as runs
from mvit_np.train.run.recipe import changed
from mvit_np.visualize.style import BLUE, GREEN, GREY, INK, ORANGE, PALE, SKY, VERMILLION

# %%
rng = np.random.default_rng(0)
plt.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
gpu = None  # CuPy, where there is a device for it
try:
    probe = mv.to_device(np.ones(1, np.float32), "cuda:0")
except ValueError as problem:
    print(f"No GPU here, so all is computed by NumPy and the GPU's columns stay empty. ({problem})")
else:
    gpu = array_module(probe)
    print("computing on", gpu.cuda.runtime.getDeviceProperties(0)["name"].decode())

# %% [markdown]
# ## What the paper says
#
# > "We measure training throughput as the number of video clips per second on a single M40 GPU." (Fan et al., Sec. 4.2)
#
# The result is in Table 16, beside the multiply-adds. If time followed from multiply-adds alone, the two ratios would agree:

# %%
table_16 = {"ViT-B": (3.6, 179.6), "MViT-B, max pooling": (6.3, 70.5), "MViT-B, conv pooling": (4.8, 70.5)}
slow, many = table_16["ViT-B"]
for name, (speed, gmacs) in table_16.items():
    print(f"{name:21} {speed} clips/s, {speed / slow:.2f} times ViT-B's; {many / gmacs:.2f} times fewer multiply-adds")

# %% [markdown]
# They do not. MViT-B does 2.5 times less arithmetic and is 1.3 or 1.75 times faster, and the two kinds of pooling cost the
# same multiply-adds in the table but not the same time. Two more things set the time of a step. One is the traffic to memory.
# An op of $F$ operations that moves $M$ bytes, on a machine that does $\pi$ operations and moves $\beta$ bytes a second, both
# at the same time, takes at least
#
# $$t_{\mathrm{op}} = \max\!\left(\frac{F}{\pi}, \frac{M}{\beta}\right), \qquad
# \text{so it reaches at most } \min(\pi,\ I \beta) \text{ operations a second}, \quad I = \frac{F}{M}.$$
#
# $I$ is the **arithmetic intensity**, and this bound is the **roofline**. The other thing is the launch: the host asks for a
# piece of work, a **kernel**, and does not wait for it. With $n$ kernels, $a$ seconds to launch one and $b$ to run one,
#
# $$t = a + b + (n - 1) \max(a, b) .$$
#
# Both are used below, and the second is derived.
#
# ## The arrays decide: a device array is a handle
#
# A device array lives in the GPU's own memory. What Python holds is a handle: it knows the shape and the dtype, but the
# numbers are elsewhere, and each calculation is a kernel that Python launches. To see all of this without a GPU, here is a
# stand-in. It hides a NumPy array, takes it out only for a "kernel", and counts launches and the bytes that they read and
# write. Views are only a new rule for the same memory (notebook 00b), so they launch nothing.

# %%
launched, moved, tape = Counter(), Counter(), None


def inside(x):
    """The hidden array of each stand-in; a NumPy array is refused, as CuPy does."""
    if isinstance(x, np.ndarray):
        raise TypeError(f"Unsupported type {type(x)}")
    return type(x)(map(inside, x)) if isinstance(x, (list, tuple)) else x.hidden if isinstance(x, Handle) else x


def queued(name, work, place, *sources):
    """Count a launch, and write it on the tape where there is one: `work()` does it again, for `place`."""
    launched[name] += 1
    moved[name] += sum(x.nbytes for x in (place, *sources) if x is not None)
    if tape is not None:
        tape.append((work, place))


# %%
def launch(kernel, *args, out=None, **keywords):
    """Run a NumPy function on what the handles hide."""
    args, keywords = [inside(x) for x in args], {name: inside(x) for name, x in keywords.items()}
    work = partial(kernel, *args, **keywords | ({} if out is None else {"out": out.hidden}))
    result = work()
    if not isinstance(result, (np.ndarray, np.generic)):
        return result  # a dtype or a shape
    result = np.asarray(result)
    sources = [x for x in (*args, getattr(kernel, "__self__", None)) if isinstance(x, np.ndarray)]
    view = out is None and any(np.may_share_memory(result, x) for x in sources)
    if not view and kernel.__name__ not in ("empty", "empty_like"):  # those only take memory
        queued(kernel.__name__, work, result, *sources)
    return Handle(result) if out is None else out


def store(key, value, out):
    out[key] = value
    return out


# %%
class Handle(np.lib.mixins.NDArrayOperatorsMixin):
    """The stand-in for a device array: x + y, x.sum() and xp.exp(x) are launches."""

    def __init__(self, hidden):
        self.hidden, self.get = hidden, hidden.copy  # get() is the way out

    def __array__(self, *_, **__):
        raise TypeError("Implicit conversion to a NumPy array is not allowed; use .get()")

    def __array_ufunc__(self, ufunc, method, *args, out=(None,), **keywords):
        return launch(getattr(ufunc, method) if method != "__call__" else ufunc, *args, out=out[0], **keywords)

    def __getattr__(self, name):
        found = getattr(self.hidden if name[0] != "_" else None, name)
        return partial(launch, found) if callable(found) else Handle(found) if isinstance(found, np.ndarray) else found


Handle.__getitem__ = lambda self, key: launch(self.hidden.__getitem__, key)
Handle.__setitem__ = lambda self, key, value: launch(store, key, value, out=self) and None


# %% [markdown]
# A library goes with it: NumPy's functions, each a launch. `register_library` makes the package know both.


# %%
class Library:
    def __init__(self, module):
        self.module, self.__name__ = module, "stand_in"

    def __getattr__(self, name):
        found = getattr(self.module, name)
        if isinstance(found, ModuleType):
            return Library(found)
        return partial(launch, found) if callable(found) and not isinstance(found, type) else found


def stand_in(tree):
    return mv.tree.map(lambda x: Handle(np.array(x)), tree)


register_library(Handle, Library(np), Library(scipy.special), stand_in)
there = partial(mv.to_device, device="cuda:0") if gpu else stand_in  # to the GPU, where there is one

# %%
scores = rng.standard_normal((3, 5)).astype(np.float32)
for x in (scores, stand_in(scores)):
    launched.clear()
    y = ops.softmax(x)
    print(f"{type(x).__name__:8} array_module: {array_module(x).__name__:9} launches: {dict(launched)}")
np.testing.assert_array_equal(mv.to_host(y), ops.softmax(scores))

# %% [markdown]
# ## There and back, and nothing in between
#
# Parameters are a tree, so one call moves a model: `mv.to_device(params, "cuda:0")`. `mv.to_host` brings any tree back.
# Here `there` is the first of these where a GPU exists, and makes stand-ins elsewhere.

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
print("parameters come back as they went, bit by bit; the logits agree")

# %% [markdown]
# The config and the plan stay on the host: they are numbers for Python. Now forget one of the two moves.


# %%
def refused(what, call, error=TypeError):
    try:
        call()
    except error as problem:
        print(f"{what}: {problem}")
    else:
        raise AssertionError(f"{what} was not refused")


refused("clip on the host, parameters there", lambda: mv.forward(params_there, clips, config))
refused("handle + NumPy array", lambda: clips_there + clips)
refused("np.asarray(handle)", lambda: np.asarray(clips_there))

# %% [markdown]
# The first refusal is the package's, the others are manners of CuPy, which the stand-in copies. Why not just copy what is
# in the wrong place? Because it would work, and nobody would see that it is slow. A copy in every step is paid for twice:
# the bytes go through a connection far narrower than the GPU's memory (for the GPU below the data sheet says 128 GB/s, both
# directions together, against 4,800 GB/s), and the host waits until the GPU has finished all it was asked for. So there are
# two doors, both with a name, and you decide where they stand: parameters once, a batch each step, the loss when you want
# to print it. (The package's tests hold this stand-in grown up: it raises where CuPy would copy or wait without a word, and
# whole trainings run on it.)
#
# **The same numbers, but for the last digits.** A sum of float32 numbers depends on their order, since each addition
# rounds, and a GPU adds in another order than a CPU. Without dropout, a batch in another order is the same loss, in another
# order of addition. Each tensor of the gradient is compared relative to its largest entry (where it is zero in theory, to
# the largest of all). In float64 the same difference must be smaller by as much as the dtype is finer: that tells rounding
# from a mistake.


# %%
def loss_of(params, clips, labels, config=config):
    return mv.cross_entropy(mv.forward(params, clips, config), labels)


def disagreement(these, those):
    """The largest difference of two trees, relative to each tensor's largest entry."""
    largest = max(np.abs(leaf).max() for leaf in mv.tree.leaves(these))
    pairs = zip(mv.tree.leaves(these), mv.tree.leaves(mv.to_host(those)), strict=True)
    return max(np.abs(a - b).max() / max(np.abs(a).max(), 1e-3 * largest) for a, b in pairs)


# %%
gradients, tolerance = mv.value_and_grad(loss_of), {"float32": 2e-4, "float64": 1e-11}
for dtype, allowed in tolerance.items():
    p, x = mv.tree.map(lambda leaf, dtype=dtype: leaf.astype(dtype), (params, clips))
    _, here = gradients(p, x, labels)
    _, reversed_ = gradients(p, x[::-1].copy(), labels[::-1].copy())
    _, back = gradients(there(p), there(x), there(labels))
    apart = {"batch in another order": disagreement(here, reversed_), array_module(logits).__name__: disagreement(here, back)}
    print(dtype, ", ".join(f"{name}: {value:.0e}" for name, value in apart.items()), f"(allowed {allowed:.0e})")
    assert max(apart.values()) < allowed

# %% [markdown]
# ## Asynchronous launches: the loop version
#
# The host does not wait for a kernel. It puts it into a queue and goes on; the device takes one kernel after the other.
# Kernel $i$ starts when it has been launched *and* the one before has ended. `wait=True` is a host that waits after each
# launch, as a hidden `float(loss)` would make it.


# %%
def schedule(launch_costs, kernel_costs, wait=False):
    """[(launch starts, launch ends, kernel starts, kernel ends), ...], one kernel after the other."""
    rows, host, device = [], 0.0, 0.0
    for a, b in zip(launch_costs, kernel_costs, strict=True):
        launched_at = host + a
        begins = max(launched_at, device)
        rows.append((host, launched_at, begins, begins + b))
        device = begins + b
        host = device if wait else launched_at
    return rows


# %% [markdown]
# ### The array version
#
# Take any kernel $k$. It cannot start before it and all kernels before it have been launched, and it and all later kernels
# must still run, one after the other. So the total is at least the sum of the launches up to $k$ and of the kernels from $k$
# on. For one $k$ it is exactly that: the first kernel after the last gap, since it started the moment it was launched, and
# from then on the device was busy. The total is the largest of these sums:
#
# $$t = \max_k \Big( \sum_{i \le k} a_i + \sum_{i \ge k} b_i \Big) .$$
#
# With equal costs the bracket is linear in $k$. Its largest value is at one of the two ends, $a + n b$ or $n a + b$, and that
# is the formula above.

# %%
a, b = rng.uniform(0, 1, (2, 200))
total = (np.cumsum(a) + np.cumsum(b[::-1])[::-1]).max()
np.testing.assert_allclose(total, schedule(a, b)[-1][3])
np.testing.assert_allclose(a.sum() + b.sum(), schedule(a, b, wait=True)[-1][3])
for n in (1, 2, 7, 100):
    for a_i, b_i in ((1.0, 0.2), (1.0, 1.0), (1.0, 6.0)):
        np.testing.assert_allclose(schedule([a_i] * n, [b_i] * n)[-1][3], a_i + b_i + (n - 1) * max(a_i, b_i))
print(f"200 kernels: {schedule(a, b)[-1][3]:.2f} by the schedule, {total:.2f} by the formula")
print(f"a host that waits after each: {schedule(a, b, wait=True)[-1][3]:.2f}, the sum of all launches and kernels")


# %%
def draw_schedule(axes, rows, goes_on, title, xlim=37):
    for i, (begins, launched_at, starts, ends) in enumerate(rows):
        for y, left, right, colour in ((1, begins, launched_at, ORANGE), (0, starts, ends, BLUE)):
            axes.barh(y, right - left, left=left, height=0.55, color=colour, alpha=0.65 if i % 2 else 1, edgecolor="white")
    axes.axvline(goes_on, ymax=0.9, color=VERMILLION, linestyle=":", linewidth=2)
    axes.text(rows[-1][3] + 0.3, 0, f"ends at {rows[-1][3]:g}", va="center")
    axes.set(yticks=[0, 1], yticklabels=["device", "host"], ylim=(-0.5, 1.6), xlim=(0, xlim))
    axes.set_title(title, loc="left", fontsize=10.5)


# %%
cases = [
    ("a. Small kernels, a = 2, b = 0.5: the device waits for the host", (2.0, 0.5, False)),
    ("b. Large kernels, a = 1, b = 3: launches are hidden, and a clock read at the dotted line is wrong", (1.0, 3.0, False)),
    ("c. The same, but the host waits for each kernel: the costs add up", (1.0, 3.0, True)),
]
figure, panels = plt.subplots(3, 1, figsize=(8.5, 5), sharex=True, layout="constrained")
for axes, (title, (a_i, b_i, wait)) in zip(panels, cases, strict=True):
    rows = schedule([a_i] * 8, [b_i] * 8, wait)
    draw_schedule(axes, rows, rows[-1][3 if wait else 1], title)
panels[2].set_xlabel("time (any unit)")
plt.show()

# %% [markdown]
# **How to read it.** Eight kernels in each panel; orange is the host launching, blue the device computing, shades only tell
# neighbours apart. The dotted line is where the host goes on with your program.
#
# Two lessons. First, in (b) a clock that stops at the dotted line reports 8, and the truth is 25: **before reading a clock,
# wait for the device**. `mvit_np.backend.arrays.synchronize(x)` does, and does nothing on NumPy. Second, in (a) a faster device
# would change nothing: **many small kernels take as long as their launches**.
#
# ## Why a GPU is faster at all: counting operations and bytes
#
# Case (b) is where a GPU pays, and there $b$ matters. Count both of its parts in the plainest way:
# every multiply-add is two operations, and every array goes through memory once.
# `mvit_np.studies.bench.roofline` counts so for every op, and `watching` hands us each op of MViT-B
# 16x4 as it runs, with its time. Norms, additions and max pooling count as bytes only. For the
# picture we add their operations: seven a number in a norm, one in an addition, and six comparisons
# for each result of max pooling. What runs here are the fast versions of the ops: `project` makes
# the queries, keys and values of a layer, and `take_seen` picks the tokens that their pools look at
# (notebook 02).

# %%
LIGHT = {"layer_norm": lambda y: 7 * y.size, "max_pool": lambda y: 6 * y.size}
LIGHT |= {"residual": lambda y: y.size, "add": lambda y: y.size}
work = defaultdict(lambda: np.zeros(4))  # calls, operations, bytes, seconds


def count(name, phase, seconds, args, static, result):
    value = result[0] if phase == "forward" else None
    flops, bytes_ = (
        roofline.forward_work(name, args, value) if phase == "forward" else roofline.backward_work(name, args, result)
    )
    light = LIGHT[name](value) if name in LIGHT and phase == "forward" else 0
    work[name] += (1, flops + light, bytes_, seconds)


# %%
mvit_b = mv.preset("mvit_b_16x4")
params_b, clip_b = mv.init(mvit_b, rng), rng.standard_normal((1, *mvit_b.thw, 3)).astype(np.float32)
mv.forward(params_b, clip_b, mvit_b)  # to warm up
with watching(count):
    mv.forward(params_b, clip_b, mvit_b)
busiest = sorted((name for name in work if work[name][2] > 1e6), key=lambda name: -work[name][3])
for name in busiest:
    calls, flops, bytes_, seconds = work[name]
    rate, ms = flops / bytes_, seconds * 1e3
    print(f"{name:15} {calls:3.0f} calls {flops / 1e9:6.2f} Gop {bytes_ / 1e6:6.0f} MB {rate:6.1f} op/byte {ms:5.0f} ms")

# %% [markdown]
# Half the operations, without those that we added, must be the multiply-adds that `mv.costs` counts from the plan alone, less
# those that no pool ever looks at:

# %%
counted = sum(work[name][1] for name in work if name not in LIGHT) / 2
by_plan = mv.costs(mvit_b).macs - skipped_macs(mvit_b)
print(f"{counted / 1e9:.3f} G multiply-adds seen, {by_plan / 1e9:.3f} G by the plan")
assert counted == by_plan

# %% [markdown]
# ## The roofline
#
# This machine's two roofs are measured on the spot: the best product of two large matrices, and the best copy of a large
# array. For the GPU we take the numbers that NVIDIA's data sheet publishes for one H200 (SXM): 67 TFLOP/s in float32 without
# tensor cores, 4.8 TB/s. **Published, not measured here**, and peaks: what a program reaches is below.

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
    print(f"{name:23} {pi / 1e9:8,.0f} GFLOP/s {beta / 1e9:7,.0f} GB/s, they meet at {pi / beta:4.1f} operations a byte")
times = {name: sum(max(f / pi, m / beta) for _, f, m, _ in work.values()) for name, (pi, beta) in roofs.items()}
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
    calls, flops, bytes_, seconds = work[name]
    here, most = flops / seconds / 1e9, min(67e12, flops / bytes_ * 4.8e12) / 1e9
    axes.plot([flops / bytes_] * 2, [here, most], color=PALE, linewidth=1, zorder=0)
    dot = {"color": VERMILLION, "alpha": 0.8, "markeredgecolor": "white"}
    axes.plot(flops / bytes_, here, "o", markersize=4 + 14 * np.sqrt(seconds / work["mlp"][3]), **dot)
    axes.plot(flops / bytes_, most, "s", markerfacecolor="white", color=GREY)
    below = {"textcoords": "offset points", "ha": "center", "va": "top", "color": INK}
    axes.annotate(label, (flops / bytes_, here), (0, -13), **below)


# %%
together = {"mlp": "mlp,\nattend", "project": "project,\ncube_conv"}  # dots that nearly coincide
together |= {"residual": "residual,\nadd"} | dict.fromkeys(("attend", "cube_conv", "add"), "")
figure, axes = plt.subplots(figsize=(8.5, 5.4), layout="constrained")
draw_roof(axes, "H200, published peak", GREY, "--")
draw_roof(axes, "this machine, measured", BLUE, "-")
for name in busiest:
    if work[name][1]:
        draw_op(axes, name, together.get(name, name))
axes.plot([], [], "o", color=VERMILLION, label="an op of MViT-B here, measured; area by time")
axes.plot([], [], "s", markerfacecolor="white", color=GREY, label="the most it could reach on the H200")
axes.set(xlabel="arithmetic intensity (operations a byte)", ylabel="1e9 operations a second")
axes.set(ylim=(0.3, 3e5), xlim=(0.05, 1000))
axes.set_title("A GPU's roof has the same shape; both of its parts are far higher", loc="left", fontsize=11)
axes.legend(frameon=False, loc="upper left")
plt.show()

# %% [markdown]
# **How to read it.** Both axes are logarithmic. The rising part of a roof is memory: so many bytes a second times so many
# operations a byte. The level part is arithmetic. A dot is an op of MViT-B as it ran here. Products (`mlp`, `project`,
# `attend`, `linear`, `cube_conv`) are to the right of the dotted corner, where arithmetic is the limit. A pooling
# convolution, a norm and an addition are to its left: they only move arrays. (A dot may lie above the rising roof where its
# arrays are still in a cache, which the copy of a large array is not.)
#
# The corners lie close together. So a GPU does not favour another kind of op, it has more of everything. Two cautions. The
# counts are the least possible: between the kernels inside an op there are more arrays to write and read. And a roof says
# nothing of launches. The next sections are about these two.
#
# ## When it is not faster: launches against the roof
#
# The stand-in counts the launches of a training step: forward, backward and AdamW of `mvit_micro`.
# It has no kernels of the package's own yet, so the definitions of the ops run, and each of their
# array calls is a launch.


# %%
def stepper(put, batch, config=config):
    """A training step as a function of no arguments that returns its loss; `put` says where."""
    draw = np.random.default_rng(batch)
    clips = put(draw.standard_normal((batch, *config.thw, config.channels)).astype(np.float32))
    at, labels = {"params": put(mv.init(config, draw))}, put(draw.integers(2, size=batch))
    at["state"] = adamw_state(at["params"])

    def step():
        loss, grads = gradients(at["params"], clips, labels, config=config)
        at["params"], at["state"] = adamw(at["params"], grads, at["state"], 1e-4)
        return loss

    return step


# %%
def launches_of(config, batch=2):
    """The launches of a step on the stand-in; of the second, for the first one also makes tables for those to come."""
    step = stepper(stand_in, batch, config)
    step()
    launched.clear()
    step()
    return launched.copy()


# %%
BATCHES = (1, 8, 32)
launches = {batch: launches_of(config, batch).total() for batch in BATCHES}
small_b = replace(mvit_b, frames=4, size=64)  # as many launches as for large clips, and sooner counted
plain, plain_b = launches_of(config), launches_of(small_b)
print(f"launches of a step of mvit_micro: {launches}, most often: {plain.most_common(4)}")
print(f"of MViT-B: {plain_b.total()}")
assert launches[8] == launches[32] == plain.total() == launches_of(replace(config, size=48)).total()

# %% [markdown]
# The same for every batch, and for clips of any size: more numbers make kernels larger, not more. (A single clip saves some
# copies. The stand-in counts array calls; CuPy may need a kernel more or less in some.) Now compare. The kernels of a step
# take at least the sum of its ops' times at the GPU's roof, and that grows with the batch. Its launches take $n a$,
# whatever the batch. For $a$ we take a range: 5 µs, and the 15 µs that the example in CuPy's user guide comes to (44 µs of
# host time for the three kernels of a root of a sum of squares). **A model, not a measurement.**


# %%
def roof_seconds(run, roof):
    """The least that the ops of run() could take at a roof (pi, beta)."""
    work.clear()
    with watching(count):
        run()
    return sum(max(flops / roof[0], bytes_ / roof[1]) for _, flops, bytes_, _ in work.values())


def compare(name, seconds, n):
    print(f"{name:32} kernels {seconds * 1e3:6.3f} ms, {n:5} launches {n * 5e-3:5.1f} to {n * 15e-3:5.1f} ms")


# %%
model = {batch: roof_seconds(stepper(mv.to_host, batch), roofs["H200, published peak"]) for batch in BATCHES}
for batch in BATCHES:
    compare(f"mvit_micro, a step, batch {batch}", model[batch], plain.total())
compare("MViT-B, a step, batch 1", 3 * theirs_s, plain_b.total())


def balance(n):
    few, many = (n * a / (3 * theirs_s) for a in (5e-6, 15e-6))
    print(f"MViT-B, {n} launches: the device has as much to do as the host from about {few:.1f} to {many:.1f} clips on")


balance(plain_b.total())

# %% [markdown]
# (For MViT-B we take a step for three forward passes. The kernels of `mvit_micro` are absurdly short: the roof does not
# know that even an empty kernel takes a microsecond or two.) So even MViT-B is case (a) for a few clips. A larger batch is
# the first cure. There are two more: fewer launches, by kernels that do more, and one launch for all of them.
#
# ## One kernel in place of eleven
#
# Take layer norm at the size of MViT-B's first block. By its definition ([notebook
# 06](06_gradients.ipynb) shows it) nearly every call of an array function is a launch of its own,
# and reads and writes whole arrays:

# %%
first = mv.plan(mvit_b).blocks[0]
tokens = stand_in(rng.standard_normal((first.tokens_in, first.dim_in), dtype=np.float32))
gain, shift = stand_in(np.ones(first.dim_in, np.float32)), stand_in(np.zeros(first.dim_in, np.float32))
launched.clear(), moved.clear()
ops.layer_norm(tokens, gain, shift)
passes = {name: total / tokens.nbytes for name, total in moved.items()}
for name, times_ in launched.items():
    print(f"{name:10} {times_} launches, {passes[name]:4.2f} passes over an array of {tokens.nbytes / 1e6:.1f} MB")
print(f"together   {launched.total()} launches, {sum(passes.values()):.1f} passes")

# %% [markdown]
# Two passes would do: read $x$, write $y$. The mean, the deviation and $z$ need never be in memory. A **fused** kernel does
# all of it for a row. A kernel is the body of a loop, and many threads run it, each for a job of its own. This is the text
# of the package's. A job is a row, and 32 threads, the lanes of a *warp*, share it:

# %%
print(norm_kernels.MOMENTS)
print(norm_kernels.FORWARD.parameters, norm_kernels.FORWARD.body, sep="\n")

# %% [markdown]
# `i` is the job, `lane` the thread within its warp, and `LANES` how many there are. A lane takes the places `lane`, `lane +
# LANES`, ... of the row, so that neighbours read neighbouring numbers. `sum_lanes` adds up what the lanes found: in five
# rounds every lane adds what the lane 16, 8, 4, 2, 1 places away holds, and then all of them hold the sum. The text reads a
# row three times, but only the first time it has to come from memory: 96 numbers are 384 bytes, and stay in a cache.
#
# Now by loops. What runs at once on a device goes one after the other here.


# %%
def sum_lanes(values):
    """Every lane gets the sum of all; a power of two of them."""
    apart = len(values) // 2
    while apart:
        values = [value + values[lane ^ apart] for lane, value in enumerate(values)]
        apart //= 2
    return values


# %%
def layer_norm_threads(x, g, b, eps=1e-6, lanes=4):
    """FORWARD above: a job for each row, a part of the row for each lane."""
    y, width = np.empty_like(x), x.shape[1]
    for i, row in enumerate(x.tolist()):
        own = [range(lane, width, lanes) for lane in range(lanes)]
        mean = sum_lanes([sum(row[j] for j in places) for places in own])[0] / width
        variance = sum_lanes([sum((row[j] - mean) ** 2 for j in places) for places in own])[0] / width
        r = 1 / math.sqrt(variance + eps)
        for places in own:
            for j in places:
                y[i, j] = g[j] * ((row[j] - mean) * r) + b[j]
    return y


# %%
assert sum_lanes([1, 2, 3, 4, 5, 6, 7, 8]) == [36] * 8
rows = [rng.standard_normal(shape).astype(np.float32) for shape in ((3, 10), 10, 10)]
by_threads = layer_norm_threads(*rows)
np.testing.assert_allclose(by_threads, ops.layer_norm(*rows), atol=1e-5)
print(f"3 rows of 10 by 4 lanes: {np.abs(by_threads - ops.layer_norm(*rows)).max():.0e} from the package's op")

# %% [markdown]
# ### The same text, compiled
#
# The body is CUDA and plain C alike; in C there is one lane, and a loop goes over the jobs. So the package's tests can run
# every line of every kernel without a GPU, compiled by gcc. We do it here, where there is a gcc. The stand-in gets
# **tools**: what a device can do beyond array functions. The first is to launch a kernel. (Arrays go to C as addresses.
# AdamW's kernel also takes a table of where all parameters lie, by value.)

# %%
GCC, folder = shutil.which("gcc"), tempfile.TemporaryDirectory()
computing = GCC is not None  # otherwise launches are only counted, and their numbers are never looked at
print("kernels are compiled by gcc" if GCC else "no gcc on this machine: kernels are counted, not run")


@cache
def compiled(kernel, names):
    """The kernel's text as a C function.   names: what is known when it is compiled, such as WIDTH"""
    path = Path(folder.name, f"{kernel.name}{abs(hash(names))}.c")
    path.write_text(kernel.source(names, kernels.C))
    options = ["-std=c11", "-O1", "-fPIC", "-shared"]
    subprocess.run([GCC, *options, path, "-o", path.with_suffix(".so"), "-lm"], check=True)
    return getattr(ctypes.CDLL(str(path.with_suffix(".so"))), kernel.name)


# %%
def for_c(x):
    """An argument of a C function."""
    if isinstance(x, Handle):
        return ctypes.c_void_p(x.hidden.ctypes.data)
    if isinstance(x, np.ndarray):
        table = type("Table", (ctypes.Structure,), {"_fields_": [("words", ctypes.c_longlong * (x.nbytes // 8))]})
        return table.from_buffer_copy(x)
    return (ctypes.c_double if isinstance(x, float) else ctypes.c_longlong)(x)


# %%
class Tools:
    """What the stand-in's device can do beyond array functions."""

    own = set()  # names of the kernels that were launched

    def launch(self, kernel, jobs, args, names):
        def work():
            compiled(kernel, names)(*map(for_c, args), ctypes.c_longlong(jobs))

        if computing:
            work()
        self.own.add(kernel.name)
        queued(kernel.name, work, None, *(x.hidden for x in args if isinstance(x, Handle)))


register_library(Handle, Library(np), Library(scipy.special), stand_in, Tools())

# %%
launched.clear(), moved.clear()
fused = ops.layer_norm(tokens, gain, shift)
print(f"{dict(launched)}, {moved.total() / tokens.nbytes:.2f} passes")
if computing:
    alone = ops.layer_norm(*mv.to_host([tokens, gain, shift]))
    print(f"the compiled kernel is {np.abs(fused.get() - alone).max():.0e} from NumPy's op")
    np.testing.assert_allclose(fused.get(), alone, atol=1e-5)
assert launched.total() == 1 and moved.total() < 2.1 * tokens.nbytes < 0.25 * sum(passes.values()) * tokens.nbytes

# %% [markdown]
# Layer norm is on the rising part of the roof, so its time should go with the passes.
# `mvit_np/backend/cuda/kernels/` has such kernels also for the pooling convolution, GELU with its
# bias, the softmax inside attention, sums over rows, and AdamW. They are in the fast versions of
# the ops, in `ops/cuda/` and `ops/fast/`. Within `mv.plain_ops()` the definitions run instead, to
# see what the kernels gain.
#
# ## Products where the numbers lie
#
# Products of large matrices are left to NVIDIA's library cuBLAS. It counts **columns first**: a matrix is an address and a
# *leading dimension*, how many numbers from one column to the next. A batch has a *distance* besides, from one matrix to the
# next. NumPy counts rows first, so an (I, K) array is to cuBLAS its own transpose. No harm: the transpose of a product is the
# product of the transposes in the other order, so one asks for
#
# $$C = A B \quad\text{as}\quad C^\top = B^\top A^\top ,$$
#
# and no array is moved. A view that NumPy has transposed is told by a flag. Heads lie side by side in a token, (B, N, h,
# d), so the matrix of a head has a leading dimension of $h d$ numbers, and the next head begins $d$ numbers further on:

# %%
q = rng.standard_normal((1, 3, 2, 4)).astype(np.float32)  # a clip, 3 tokens, 2 heads of 4 numbers
k = rng.standard_normal((1, 5, 2, 4)).astype(np.float32)  # and 5 keys
out = np.zeros((1, 2, 3, 5), np.float32)
left, right = q.swapaxes(1, 2), k.swapaxes(1, 2).swapaxes(-1, -2)  # views: (1, 2, 3, 4) and (1, 2, 4, 5)
calls = list(strided_batches(left, right, out))
for *sides, sizes, count_ in calls:
    print(f"{count_} products; in cuBLAS's order {sizes[0]} rows, {sizes[1]} columns, sums of {sizes[2]}")
    for name, side in zip("BAC", sides, strict=True):
        print(f"  {name}: from number {side.start}, leading {side.leading:2}, apart {side.batch_stride:2}, flip {side.flip}")


# %%
def draw_heads(axes, lists, leading, apart, heads=2, d=4):
    """Memory as a line of cells: the place of each number of q."""
    for place, (_, head, channel) in enumerate(np.ndindex(lists)):
        axes.add_patch(plt.Rectangle((place, 0), 1, 1, facecolor=(BLUE, ORANGE)[head], alpha=0.75, edgecolor="white"))
        axes.text(place + 0.5, 0.5, f"{channel}", ha="center", va="center", color="white", fontsize=9)
    for token in range(lists[0]):
        axes.text((token + 0.5) * heads * d, -0.15, f"token {token}", ha="center", va="top", fontsize=10)
    for y, length, text in ((1.3, leading, f"leading: {leading}"), (2.1, apart, f"apart: {apart}")):
        axes.annotate("", (length, y), (0, y), arrowprops={"arrowstyle": "->", "color": INK, "linewidth": 1.5})
        axes.text(length + 0.3, y, text, va="center", fontsize=10)
    axes.set(xlim=(-0.2, 24.2), ylim=(-0.9, 2.6), yticks=[], xticks=[])
    axes.spines[:].set_visible(False)


# %%
figure, axes = plt.subplots(figsize=(8.5, 1.9), layout="constrained")
draw_heads(axes, q.shape[1:], calls[0][1].leading, calls[0][1].batch_stride)
axes.set_title("q in memory: two matrices, blue and orange, of 3 rows each, without moving a number", loc="left", fontsize=11)
plt.show()

# %% [markdown]
# **How to read it.** Each cell is a number, with its channel written in; blue is head 0, orange head 1. It is 8 numbers
# from a row of the blue matrix to the next, and 4 from the blue matrix to the orange one. Now the call by loops over flat
# memory, and then the second tool: NumPy's product, on matrices found by address, leading dimension and distance alone.


# %%
def at(side, z, row, column):
    """The place in memory of a number of the z-th matrix; columns first, unless it is to be flipped."""
    return side.start + z * side.batch_stride + (row * side.leading + column if side.flip else row + column * side.leading)


def gemm_loops(memory_b, memory_a, memory_c, b, a, c, sizes, count):
    """C' = B' A' for every matrix of the batch."""
    rows, columns, inner = sizes
    for z in range(count):
        for row in range(rows):
            for column in range(columns):
                for m in range(inner):
                    product = memory_b[at(b, z, row, m)] * memory_a[at(a, z, m, column)]
                    memory_c[at(c, z, row, column)] += product


# %%
for call in calls:
    gemm_loops(k.reshape(-1), q.reshape(-1), out.reshape(-1), *call)
np.testing.assert_allclose(out, matmul(left, right), atol=1e-5)
print("the loops over flat memory agree with the package's product")


# %%
def matrices(side, rows, columns, count):
    """(count, rows, columns) of a side, as cuBLAS sees it: a view."""
    x, size = side.array.hidden, side.array.itemsize
    down, right = (side.leading, 1) if side.flip else (1, side.leading)
    found = {"version": 3, "typestr": x.dtype.str, "data": (x.ctypes.data + side.start * size, False)}
    found |= {"shape": (count, rows, columns), "strides": (side.batch_stride * size, down * size, right * size)}
    return np.asarray(SimpleNamespace(__array_interface__=found))


def gemm(self, b, a, c, sizes, count, *, add, tf32):
    def work():
        rows, columns, inner = sizes
        result = matrices(c, rows, columns, count)
        product = matrices(b, rows, inner, count) @ matrices(a, inner, columns, count)
        result[...] = result + product if add else product

    if computing:
        work()
    queued("product", work, None)


# %% [markdown]
# With `add` a product is added to what is there, a bias for instance: a pass less. One thing more is asked of a device array:
# where its memory is, so that AdamW can tell whether parameters lie one after the other.


# %%
def data(self):
    """Where the first number is, and in which allocation."""
    owner = self.hidden
    while getattr(owner, "base", None) is not None:
        owner = owner.base
    return SimpleNamespace(ptr=self.hidden.ctypes.data, mem=owner, device_id=0)


Tools.gemm, Handle.data = gemm, property(data)
launched.clear()
on_stand_in = matmul(stand_in(q).swapaxes(1, 2), stand_in(k).swapaxes(1, 2).swapaxes(-1, -2))
if computing:
    np.testing.assert_allclose(on_stand_in.get(), out, atol=1e-5)
print(f"on the stand-in: {dict(launched)}, nothing was copied")
assert launched == {"product": 1}

# %% [markdown]
# ## The launches of a step, again
#
# The same step with both tools, beside what it was with array calls alone. For MViT-B launches are only counted.


# %%
def by_kind(counts):
    """Launches of products, of kernels of the package's own, and of array functions."""
    products, own = counts["product"] + counts["matmul"], sum(counts[name] for name in Tools.own)
    return products, own, counts.total() - products - own


def print_kinds(name, before, after):
    for way, counts in (("array calls", before), ("with tools", after)):
        print(f"{name:10} {way:11}" + "".join(f"{value:9}" for value in (*by_kind(counts), counts.total())))
    print(f"{'':22}{before.total() / after.total():.1f} times fewer launches")


# %%
with np.errstate(all="ignore"):  # of numbers that nobody computed
    with_tools = launches_of(config)
    able, computing = computing, False
    with_tools_b = launches_of(small_b)
computing = able
print(f"{'':22} products  kernels   others      all")
print_kinds("mvit_micro", plain, with_tools)
print_kinds("MViT-B", plain_b, with_tools_b)
balance(with_tools_b.total())
assert with_tools.total() < plain.total() / 4 and with_tools_b.total() < plain_b.total() / 4

# %% [markdown]
# Most of what is gone were additions and multiplications, a launch each: AdamW's for each of the
# parameters, the convolution's for each of its taps, the norms'. (Fewer products, too: the
# definition of the cube embedding makes one for each of its taps.) And the numbers are the same:

# %%
if computing:
    _, on_numpy = gradients(params, clips, labels)
    _, by_tools = gradients(stand_in(params), stand_in(clips), stand_in(labels))
    print(f"gradients of mvit_micro, kernels and products as above: {disagreement(on_numpy, by_tools):.0e} from NumPy's")
    assert disagreement(on_numpy, by_tools) < 2e-4

# %% [markdown]
# ## All launches as one: a graph
#
# A training step does the same launches each time. CUDA can record them, as a **graph**, and start all of them by one call.
# The device then goes from kernel to kernel by itself. In the queue's model all launches but the first cost nothing:
#
# $$t = a + n b .$$

# %%
replayed = schedule([2.0] + [0.0] * 7, [0.5] * 8)
np.testing.assert_allclose(replayed[-1][3], 2.0 + 8 * 0.5)
figure, panels = plt.subplots(2, 1, figsize=(8.5, 3.4), sharex=True, layout="constrained")
for axes, title, rows in (
    (panels[0], "a. Small kernels, a = 2, b = 0.5, launched one by one", schedule([2.0] * 8, [0.5] * 8)),
    (panels[1], "d. The same kernels, replayed as a graph: one launch", replayed),
):
    draw_schedule(axes, rows, rows[-1][1], title, 20)
panels[1].set_xlabel("time (any unit)")
plt.show()

# %% [markdown]
# **How to read it.** As above: a replay is launched once (orange), then kernel follows kernel.
#
# What is a recording? A list of work, with the addresses of what it reads and writes. The stand-in can make one: `queued`
# writes each launch on the tape. (It also computes meanwhile; CUDA only writes down.) Here is a step of gradient descent that
# changes its parameters in place.


# %%
def recorded(fun):
    """fun's result, and a function that does all its launches again, on the same arrays."""
    global tape
    tape = noted = []
    result = fun()
    tape = None

    def replay():
        for work, place in noted:
            again = work()
            if place is not None:
                place[...] = again

    print(f"{len(noted)} launches recorded")
    return result, replay


# %%
def descent(params, clips, labels):
    def step():
        loss, slopes = gradients(params, clips, labels)
        for weight, slope in zip(mv.tree.leaves(params), mv.tree.leaves(slopes), strict=True):
            weight -= pace * slope
        return loss

    return step


pace, others = 0.02, rng.standard_normal(clips.shape).astype(np.float32)
by_hand, p = [], mv.tree.map(np.copy, params)
for batch in (clips, others, others):
    by_hand.append(float(descent(p, batch, labels)()))
print("steps one by one, on NumPy:", np.round(by_hand, 5))

# %%
p, x = stand_in(params), stand_in(clips)
with mv.plain_ops():
    loss, replay = recorded(descent(p, x, stand_in(labels)))
found = [float(loss.get())]
x[...] = stand_in(others)  # other clips, in the same array
pace = 1000.0
for _ in range(2):
    replay()
    found.append(float(loss.get()))
print("recorded, then replayed twice:", np.round(found, 5))
np.testing.assert_allclose(found, by_hand, rtol=1e-4)

# %% [markdown]
# The losses agree, although `pace` was set to 1000 before the replays, and nothing noticed: **a Python number is in a
# recording as it was.** So is a Python decision: an `if` was taken once. From this follows what may *not* be in one:
#
# - a look at a number (`float(loss)`, `if loss > 1`): the host cannot wait for work that is only being written down;
# - a copy from the host: it would send the same bytes at every replay;
# - anything that changes from step to step as a Python number: the learning rate, the step count of AdamW, the seed of
#   dropout's masks. They have to be arrays on the device, which are written before each replay, as `x` was;
# - new memory somewhere else: a recording holds addresses. It gets a memory pool of its own, which nobody else takes from.
#
# `mvit_np.backend.cuda.graph.Graphed` does this with CUDA, and `fit(..., graph=True)` with whole training steps: forward, backward,
# clipping, AdamW. The result is the same.


# %%
def steps_by_fit(put, batch, graph):
    """Training steps of one batch over and over, as a function of no arguments."""
    draw = np.random.default_rng(batch)
    clips = put(draw.standard_normal((batch, *config.thw, config.channels)).astype(np.float32))
    given, start = (clips, put(draw.integers(2, size=batch))), put(mv.init(config, draw))
    steps = fit(lambda p, given: (loss_of(p, *given), None), start, repeat(given), lr=lambda i: 1e-3, graph=graph)
    return lambda: next(steps).loss


refused("fit(graph=True) on the host", steps_by_fit(mv.to_host, 1, graph=True), ValueError)
if gpu:
    ways = [steps_by_fit(there, 4, graph) for graph in (False, True)]
    both = np.array([[float(mv.to_host(step())) for _ in range(10)] for step in ways])
    print(f"ten losses, launched one by one and replayed: at most {np.abs(both[0] - both[1]).max():.0e} apart")
    np.testing.assert_allclose(*both, rtol=1e-2)
else:
    print("not run: fit(graph=True) needs a GPU, and there is none here")

# %% [markdown]
# ## A training step, timed
#
# Now the clock, with `synchronize` before it is read, after a step to warm up (CuPy compiles each kernel when it first meets
# it).


# %%
def step_seconds(step, repeats=5):
    """The median, after one step to warm up."""
    synchronize(step())
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        synchronize(step())
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))


# %%
def plainly(batch):
    """A step there without kernels of the package's own."""
    step = stepper(there, batch)

    def run():
        with mv.plain_ops():
            return step()

    return run


# %%
places = {"NumPy": partial(stepper, mv.to_host)}
if gpu:
    places |= {"GPU, array calls": plainly, "GPU, kernels": partial(stepper, there)}
    places["GPU, a graph"] = partial(steps_by_fit, there, graph=True)
measured = {place: [step_seconds(made(batch)) * 1e3 for batch in BATCHES] for place, made in places.items()}
for place, found in measured.items():
    print(f"{place:16}" + "".join(f"  batch {batch}: {ms:.1f} ms" for batch, ms in zip(BATCHES, found, strict=True)))
if not gpu:
    print("GPU: not measured, there is none here")

# %%
figure, axes = plt.subplots(figsize=(8.5, 4.4), layout="constrained")
for (place, found), colour, mark in zip(measured.items(), (BLUE, VERMILLION, GREEN, INK), "osD^"):
    axes.loglog(BATCHES, found, mark + "-", color=colour, linewidth=2, label=f"{place}, measured")
for counts, colour, name in ((plain, ORANGE, "array calls"), (with_tools, SKY, "with tools")):
    band = counts.total() * 5e-3, counts.total() * 15e-3
    axes.fill_between(BATCHES, *band, color=colour, alpha=0.4, label=f"model: launches, {name}")
axes.loglog(BATCHES, [1e3 * model[batch] for batch in BATCHES], "--", color=GREY, label="model: kernels at the H200's roof")
axes.set(xlabel="clips in the batch", ylabel="ms a step of mvit_micro", ylim=(5e-4, 1e3))
axes.set_xticks(BATCHES, BATCHES)
axes.set_xticks([], minor=True)
axes.set_title("Launches do not grow with the batch", loc="left", fontsize=11)
axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
plt.show()

# %% [markdown]
# **How to read it.** The bands are what the launches alone would take on a GPU, from array calls and with the tools. The
# dashed line is what the kernels would take at least; the larger of the two counts. A replay has one launch, so it lies above
# the dashed line alone, by the microsecond or two that even an empty kernel takes, for each of them. Where there is a GPU, its
# measured points are there too.
#
# ## What a product has to know: precision
#
# A GPU's matrix units, its *tensor cores*, multiply numbers of fewer bits many times as fast. A float32 is a sign, 8 bits
# of an exponent and 23 of a mantissa, whose leading 1 is not written. **TF32** takes 10 bits of the mantissa, **bf16**
# takes 7 and is the upper half of a float32. Both keep the exponent, so nothing gets too large or too small that was not
# before.

# %%
third, kept_of = np.full(1, 1 / 3, np.float32), {}
for name, bits in PRECISIONS.items():
    kept_of[name] = rounded(third, bits) if bits < 24 else third
figure, axes = plt.subplots(figsize=(9, 2.2), layout="constrained")
for line, (name, value) in enumerate(kept_of.items()):
    length = 8 + PRECISIONS[name]
    for place, digit in enumerate(f"{value.view(np.uint32)[0]:032b}"[:length]):
        colour = GREY if place == 0 else ORANGE if place < 9 else BLUE
        axes.add_patch(plt.Rectangle((place, -line), 1, 0.8, facecolor=colour, edgecolor="white"))
        axes.text(place + 0.5, 0.4 - line, digit, ha="center", va="center", color="white", fontsize=9)
    axes.text(-0.4, 0.4 - line, name, ha="right", va="center")
    axes.text(32.4, 0.4 - line, f"{value[0]:.7f}", va="center")
axes.set(xlim=(-3.8, 37), ylim=(-2.1, 1), xticks=[], yticks=[])
axes.spines[:].set_visible(False)
axes.set_title("1/3 in three precisions: sign (grey), exponent (orange), mantissa (blue)", loc="left", fontsize=11)
plt.show()

# %% [markdown]
# What does it buy, and what does it cost? Here are the data sheet's peaks (published, not measured here; TF32 and bf16 at
# half of what it says for sparse matrices), where the roof's corner comes to lie, and how far neighbouring numbers are apart
# at 1:

# %%
PEAK = {"float32": 67e12, "tf32": 494e12, "bf16": 989e12}
for name, bits in PRECISIONS.items():
    apart = 2.0 ** (1 - bits)
    print(f"{name:8} {PEAK[name] / 1e12:4.0f} TFLOP/s, corner at {PEAK[name] / 4.8e12:4.0f} op/byte, {apart:.1e} apart at 1")

# %% [markdown]
# The corner moves to the right, so for more and more products memory is the limit, and the gain will be smaller than the
# ratio of the peaks. (There bf16 helps in another way: its factors have half the bytes.)
#
# **Where it is used.** In the factors of products alone: linear layers, the cube embedding,
# attention. Their sums stay float32, and so do norms, softmax, the loss, the gradients of the
# parameters, and the parameters that the optimiser keeps. Within `mv.use_precision(name)` the fast
# versions do so, on NumPy by rounding. (Definitions know nothing of it: within `mv.plain_ops()`
# arrays keep their own precision.) By loops:

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
# **Why the parameters stay float32.** A step of training changes a weight by little. Add 0.001 to 1 a thousand times:

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
# In bf16 the next number after 1 is 1.0078, so each step is rounded away, and the weight never moves. Who rounds for the
# product alone loses nothing for good: that is what *master weights* are for.
#
# ## The same training in three precisions
#
# A small task: a bar moves to the left or to the right, one to two pixels a frame, in noise as strong as itself, and leaves
# the picture on one side to enter on the other. A single frame does not tell. Clips are drawn on the host, and `from_host` is
# the one door they pass. The losses stay where they are made, and come back together at the end: no step waits for its loss.


# %%
def bars(count, rng):
    """count clips (count, 8, 32, 32, 1) of mean 0 and deviation 1, and labels: 1 where the bar moves right."""
    labels = rng.integers(2, size=count)
    t, _, w = np.indices((8, 32, 32))
    start, speed = rng.uniform(0, 32, count), rng.uniform(1, 2, count) * np.where(labels, 1, -1)
    middle = start[:, None, None, None] + speed[:, None, None, None] * t
    away = (w - middle + 16) % 32 - 16
    clips = np.exp(-(away**2) / (2 * 1.5**2)) + rng.normal(0, 1, away.shape)
    clips = (clips - clips.mean((1, 2, 3), keepdims=True)) / clips.std((1, 2, 3), keepdims=True)
    return clips[..., None].astype(np.float32), labels


# %% [markdown]
# 200 steps on the same batches from the same parameters, in each precision. Training magnifies small differences, also those of
# rounding in float32. So a fourth run is the yardstick: in float32, but each of its first parameters is off by about a
# millionth part.

# %%
STEPS, BATCH = 200, 16
put, place = (there, "the GPU") if gpu else (mv.to_host, "NumPy")
steady = replace(config, dropout=0.0, drop_path=0.0)  # no masks: the rounding is to be the only difference
start = mv.init(steady, np.random.default_rng(0))
wobble = np.random.default_rng(9)
nudged = mv.tree.map(lambda x: (x * (1 + 1e-6 * wobble.standard_normal(x.shape))).astype(x.dtype), start)


# %%
def trained(start, precision):
    """(losses, parameters, seconds)"""
    params, draw, losses, began = put(start), np.random.default_rng(1), [], time.perf_counter()
    batches = (tuple(from_host(x, params["head"]["w"]) for x in bars(BATCH, draw)) for _ in range(STEPS))
    rate = partial(warmup_cosine, steps=STEPS, peak=7e-4, warmup=STEPS // 10)
    with mv.use_precision(precision):
        for step in fit(lambda p, batch: (loss_of(p, *batch, steady), None), params, batches, lr=rate):
            losses.append(step.loss)
    return np.array(mv.to_host(losses), dtype=float), step.params, time.perf_counter() - began


# %%
asked = {name: (start, name) for name in PRECISIONS} | {"float32, nudged": (nudged, "float32")}
runs_of = {name: trained(*how) for name, how in asked.items()}
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
left.axhline(np.log(2), color=GREY, linestyle="--", linewidth=1, label="a coin: ln 2")
left.set(xlabel="training step (16 clips each)", ylabel="cross-entropy (nats)", ylim=(0, 1))
left.set_title("Three curves, hardly to be told apart", loc="left", fontsize=11)
for name, colour in (("bf16", INK), ("tf32", ORANGE), ("float32, nudged", SKY)):
    smooth = np.median(np.lib.stride_tricks.sliding_window_view(np.maximum(gaps[name], 1e-9), 9), axis=-1)
    right.semilogy(np.arange(4, 4 + len(smooth)), smooth, color=colour, linewidth=2, label=name)
right.set(xlabel="training step", ylabel="distance from float32's loss (nats)", ylim=(1e-8, 10))
right.set_title("How far from float32: median of nine steps", loc="left", fontsize=11)
left.legend(frameon=False), right.legend(frameon=False, ncols=3, fontsize=9, loc="upper left")
plt.show()

# %% [markdown]
# **How to read it.** Left: the loss of each batch; all clips are new ones. A spike is one clip that is misjudged. Where a
# run has one alone, the others have come to judge that clip otherwise: their parameters are no longer the same. Right: how
# far apart the losses of a step are, without such single steps. At first bf16 is further off than TF32, and TF32 than the
# nudge, as their bits say. Where the loss falls steeply all distances grow: whoever learns a little sooner is far ahead
# there. The measure counts the spikes in: the mean distance over all steps, as a share of how far the loss falls, which
# must be under 5 %. It says that the curves agree, not that the parameters do. All have learned the task:

# %%
test_clips, test_labels = bars(512, np.random.default_rng(2))
right_of = {}
for name in PRECISIONS:
    params_of = runs_of[name][1]
    with mv.use_precision(name):
        scores = mv.predict(params_of, from_host(test_clips, params_of["head"]["w"]), steady)
    right_of[name] = (mv.to_host(scores).argmax(-1) == test_labels).mean()
    print(f"{name:8} {right_of[name]:.1%} of 512 new clips right")

# %% [markdown]
# ## The demo: three million parameters
#
# `mvit-np train --device cuda` trains a larger model on a harder task: a digit moves in one of eight directions over noise,
# in clips of 64 x 64 pixels. It uses all of the above: kernels, TF32 products, a graph of the step. Where there is no
# device it says so in one sentence:

# %%
recipe = RECIPES["gpu"]
out = Path(folder.name, "run")
if not gpu:
    command = ["train", "--device", "cuda", "--out", str(out)]
    said = subprocess.run([sys.executable, "-m", "mvit_np", *command], capture_output=True, text=True)
    print(said.stderr.strip(), f"(exit code {said.returncode})", sep="\n")
    assert said.returncode == 2 and said.stderr.count("\n") == 1
    few = {"device": "cpu", "graph": False, "precision": "float32", "epochs": 1.0, "train_clips": 64, "test_clips": 16}
    recipe = changed(recipe, few | {"batch": 16, "warmup": 0.0})

# %% [markdown]
# The command calls `runs.prepare` and `runs.run`, which gives a row of numbers a step. So do we, on a GPU with the whole
# recipe, elsewhere with four steps of sixteen clips. Those learn nothing, but they say how fast it is here.

# %%
job = runs.prepare(recipe, out, say=print)
model_costs, clips_in_all = mv.costs(job.task.config), RECIPES["gpu"].epochs * 8192
text = f"{model_costs.params / 1e6:.1f} M parameters, {model_costs.macs / 1e9:.2f} G multiply-adds a clip forward"
print(f"{text}, {len(job.task.train)} clips to learn from, {job.steps} steps of {recipe.batch}")
assert model_costs.params > 2e6 and job.task.config.size == 64
going = runs.run(job)
done = list(islice(going, job.steps // 2))  # the first half of the run
print(f"step {done[-1]['step']}: loss {done[-1]['loss']:.3f}, {done[-1]['clips_per_s']:.0f} clips/s")

# %%
done += going  # and the second
last = done[-1]
seconds, count_ = last["seconds"] - done[0]["seconds"], recipe.batch * (last["step"] - 1)  # the first step compiles kernels
print(f"step {last['step']}: loss {last['loss']:.3f}, {last['test_accuracy']:.1%} of {len(job.task.tests)} test clips right")
print(f"{count_ / seconds:.0f} clips/s on {place}", end=", ")
if gpu:
    print(f"{memory(job.state.params['head']['w']) / 1e9:.2f} GB in use on the device")
else:
    print(f"so the whole recipe, {clips_in_all:,.0f} clips, would take {clips_in_all * seconds / count_ / 3600:.0f} hours here")


# %%
if gpu:
    figure, axes = plt.subplots(figsize=(9.5, 4.5), layout="constrained")
    axes.imshow(plt.imread(out / "curves.png"))
    axes.axis("off")
    plt.show()
else:
    print("no curves of the whole recipe: there is no GPU here")

# %% [markdown]
# The run's folder holds the model as NumPy arrays, whichever device made it.
#
# ## Questions to the reader
#
# **1.** You time `mv.forward` on a GPU with `time.perf_counter()` around the call and get 20 ms for MViT-B, whatever the
# batch. What did you measure, and why does it not depend on the batch?
#
# <details><summary>Answer</summary>
#
# The launches: the host returned as soon as it had put all kernels into the queue. Their number does not depend on the
# batch. Call `synchronize` on the result before you read the clock, and once before you start it. (For a large batch the
# time may rise after all: a queue holds only so many launches, and when it is full the host waits.)
#
# </details>
#
# **2.** A colleague prints `float(step.loss)` after every step. Loss curve and result are the same as before, but training on
# the GPU got slower. In which panel of the schedule are you, and what do you advise? And if the step is a graph?
#
# <details><summary>Answer</summary>
#
# A step nearer to (c): `float` needs the number, so the host waits until the device has finished the step, and the device
# then waits for the first launches of the next one. Keep the losses as arrays and fetch them together, or print only every
# fiftieth. With a graph the wait costs less, for the next step is one launch away. But copy what you keep: the next replay
# writes its loss into the same array.
#
# </details>
#
# **3.** Which dots of the roofline profit from TF32, and which from a fused kernel?
#
# <details><summary>Answer</summary>
#
# From TF32 those right of the old corner, the products, as far as the new corner, at about 103 operations a byte, lets them:
# `linear` is left of that and becomes limited by memory. Convolution, norms and additions are on the rising part and gain
# nothing from it. They gain from a fused kernel, which has fewer bytes to move and fewer launches.
#
# </details>
#
# **4.** To halve the memory of the parameters, somebody keeps them in bf16 and updates them with a learning rate of 1e-4. The
# loss falls a little and then stands still. Why a little?
#
# <details><summary>Answer</summary>
#
# AdamW moves a weight by about the rate. Near 1 that is far below half the distance of neighbours, 0.004, and is rounded
# away. But neighbours lie the closer the smaller the number is: weights below about 0.03 still move.
#
# </details>

# %%
# The arrays decide; a batch adds work but no launches; the slower of host and device sets the pace; a replay is one launch.
assert array_module(runs_of["float32"][1]["head"]["w"]) is (gpu or np) and array_module(logits) is not np
assert launches[8] == launches[32] and model[32] > model[8] > model[1]
assert with_tools.total() < plain.total() / 4 and replayed[-1][3] < schedule([2.0] * 8, [0.5] * 8)[-1][3] / 2
assert losses["float32"][-20:].mean() < 0.2 and min(right_of.values()) > 0.9
