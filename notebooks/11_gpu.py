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
# **The question.** [Notebook 00](00_arrays.ipynb) said that the arrays decide where a function computes, on a CPU with NumPy
# or on a GPU with CuPy. What must you do to run a model on a GPU, what is refused there, why can a GPU be hundreds of times
# faster, and when is it not faster at all? You model the queue between the two machines, draw the roofline of both, time a
# training step and train a small model on whichever device there is.
#
# The notebook runs without a GPU too. It then says so, and what only a GPU could measure stays empty.

# %%
# %matplotlib inline
import time
import tracemalloc
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import ModuleType

import matplotlib.pyplot as plt
import numpy as np
import scipy.special

# %%
import mvit_np as mv
from mvit_np import ops, tiles
from mvit_np.backend import array_module, default_rng, from_host, register_library, synchronize
from mvit_np.bench import floors, machine
from mvit_np.costs import skipped_macs
from mvit_np.data import shuffle_frames
from mvit_np.train import adamw, adamw_state, fit, warmup_cosine
from mvit_np.visualize.style import BLUE, GREEN, GREY, INK, ORANGE, PALE, SKY, VERMILLION
from mvit_np.watch import watching

rng = np.random.default_rng(0)
plt.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})

# %%
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
for name, (clips_per_s, gmacs) in table_16.items():
    print(
        f"{name:21} {clips_per_s} clips/s, {clips_per_s / slow:.2f} times ViT-B's; {many / gmacs:.2f} times fewer multiply-adds"
    )

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
# The second formula is derived and checked below, and both are used.
#
# ## The arrays decide: a device array is a handle
#
# A device array lives in the GPU's own memory. What Python holds is a handle: it knows the shape and the dtype, but the
# numbers are elsewhere, and each calculation is a kernel that Python launches. To see all of this without a GPU, here is a
# stand-in of some forty lines. It hides a NumPy array, takes it out only for a "kernel", and counts the launches. Views are
# only a new rule for the same memory (notebook 00), so they launch nothing.

# %%
VIEWS = "reshape transpose moveaxis swapaxes squeeze expand_dims broadcast_to as_strided empty empty_like result_type".split()
launched = Counter()


def inside(x):
    """The hidden array of each stand-in; a NumPy array is refused, as CuPy does."""
    if isinstance(x, np.ndarray):
        raise TypeError(f"Unsupported type {type(x)}")
    return type(x)(map(inside, x)) if isinstance(x, (list, tuple)) else x.hidden if isinstance(x, Handle) else x


def launch(kernel, *args, out=None, **keywords):
    """Run a NumPy function on what the handles hide, and count it."""
    if kernel.__name__ not in VIEWS:
        launched[kernel.__name__] += 1
    keywords = {name: inside(value) for name, value in keywords.items()} | ({} if out is None else {"out": inside(out)})
    result = kernel(*map(inside, args), **keywords)
    return out if out is not None else Handle(np.asarray(result)) if isinstance(result, (np.ndarray, np.generic)) else result


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


Handle.__getitem__ = lambda self, key: Handle(self.hidden[inside(key)])  # a view
Handle.__setitem__ = lambda self, key, value: launch(self.hidden.__setitem__, key, value)


# %% [markdown]
# A library goes with it: NumPy's functions, each a launch. `register_library` makes the package know both. That is all that
# `mvit_np.backend` needs for CuPy as well.


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
# (Called with `"cpu"`, `to_device` does the same as `to_host`, so a program can take the device as an option.) Here `there` is
# the first of these where a GPU exists, and makes stand-ins elsewhere.

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
# The first refusal is the package's, the others are manners of CuPy, which the stand-in copies. Why not just copy what is in
# the wrong place? Because it would work, and nobody would see that it is slow. A copy that happens in every step is paid for
# twice: the bytes go through a connection far narrower than the GPU's memory (for the GPU below the data sheet says 128 GB/s,
# both directions together, against 4,800 GB/s), and the host waits until the GPU has finished all it was asked for. So there
# are two doors, both with a name, and you decide where in your program they stand: parameters once, a batch each step, the
# loss when you want to print it.
#
# **How the package's GPU code is guarded without a GPU.** The tests hold a strict double, this stand-in grown up: it refuses
# what CuPy refuses, and raises where CuPy would copy or wait without a word. Whole models, their gradients and the optimiser
# run on it in every test run and must give NumPy's numbers with no transfer; `tests/gpu` holds the same checks for a real
# device.
#
# ## The same numbers, but for the last digits
#
# A sum of float32 numbers depends on their order, since each addition rounds. A GPU adds in another order than a CPU, so equal
# bits are not to be expected, only agreement within a tolerance that belongs to the dtype.

# %%
numbers = rng.standard_normal(100_000).astype(np.float32)
exact = numbers.sum(dtype=np.float64)
forwards, backwards = np.cumsum(numbers)[-1], np.cumsum(numbers[::-1])[-1]  # one after the other, as a loop would
for name, total in (("one by one", forwards), ("one by one, backwards", backwards), ("in pairs", numbers.sum())):
    print(f"{name:22} {total:.6f}, off by {abs(total - exact):.0e}")

# %% [markdown]
# The same for a gradient. Without dropout, a batch in another order is the same loss, in another order of addition. Where
# there is a GPU, its gradient is a third opinion. Each tensor is compared relative to its largest entry; gradients that are
# zero in theory are compared with the largest of all. In float64 the same difference must be smaller by as much as the dtype
# is finer: that tells rounding from a mistake.


# %%
def loss_of(params, clips, labels):
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
# The host does not wait for a kernel. It puts it into a queue and goes on; the device takes one kernel after the other. Kernel
# $i$ starts when it has been launched *and* the one before has ended. That is the whole model. `wait=True` is a
# host that waits after each launch, as a hidden `float(loss)` would make it.


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
def draw_schedule(axes, rows, goes_on, title):
    for i, (begins, launched_at, starts, ends) in enumerate(rows):
        for y, left, right, colour in ((1, begins, launched_at, ORANGE), (0, starts, ends, BLUE)):
            axes.barh(y, right - left, left=left, height=0.55, color=colour, alpha=0.65 if i % 2 else 1, edgecolor="white")
    axes.axvline(goes_on, ymax=0.9, color=VERMILLION, linestyle=":", linewidth=2)
    axes.text(rows[-1][3] + 0.3, 0, f"ends at {rows[-1][3]:g}", va="center")
    axes.set(yticks=[0, 1], yticklabels=["device", "host"], ylim=(-0.5, 1.6), xlim=(0, 37))
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
# wait for the device**. `mvit_np.backend.synchronize(x)` does, and does nothing on NumPy. Second, in (a) a faster device would
# change nothing: **many small kernels take as long as their launches**.
#
# You can watch the first lesson on any machine. A thread that takes tasks from a queue is an asynchronous device too:


# %%
def product_times(launch_product, wait_for):
    """Seconds until ten products are launched, and until they are done."""
    start = time.perf_counter()
    results = [launch_product() for _ in range(10)]
    launched_s = time.perf_counter() - start
    wait_for(results[-1])
    return launched_s, time.perf_counter() - start


matrix = rng.standard_normal((512, 512)).astype(np.float32)
with ThreadPoolExecutor(1) as device:
    times = {"a thread as device": product_times(lambda: device.submit(np.matmul, matrix, matrix), lambda last: last.result())}
if gpu:
    on_gpu = there(matrix)
    product_times(lambda: on_gpu @ on_gpu, synchronize)  # the first product loads the library
    times["the GPU"] = product_times(lambda: on_gpu @ on_gpu, synchronize)
for name, (launched_s, done_s) in times.items():
    print(f"{name}: the clock says {launched_s * 1e3:.2f} ms without waiting, {done_s * 1e3:.2f} ms after it")

# %% [markdown]
# ## How many launches is a training step?
#
# The stand-in counts them: forward, backward and AdamW of `mvit_micro`, for batches of 1, 8 and 32 clips.


# %%
def stepper(put, batch):
    """A training step as a function of no arguments that returns its loss; `put` says where."""
    draw = np.random.default_rng(batch)
    clips = put(draw.standard_normal((batch, *config.thw, config.channels)).astype(np.float32))
    at, labels = {"params": put(params)}, put(draw.integers(2, size=batch))
    at["state"] = adamw_state(at["params"])

    def step():
        loss, grads = gradients(at["params"], clips, labels)
        at["params"], at["state"] = adamw(at["params"], grads, at["state"], 1e-4)
        return loss

    return step


# %%
BATCHES, launches = (1, 8, 32), {}
for batch in BATCHES:
    step = stepper(stand_in, batch)
    launched.clear()
    step()
    launches[batch] = launched.total()
print(f"launches of a step: {launches}, most often: {launched.most_common(4)}")
assert len(set(launches.values())) == 1

# %% [markdown]
# The same for every batch: a batch makes kernels larger, not more. So a larger batch is the first cure for case (a).
#
# ## Why a GPU is faster at all: counting operations and bytes
#
# Case (b) is where a GPU pays, and there $b$ matters. Count both of its parts in the plainest way, once each, for a linear
# layer: every multiply-add is two operations, and every array goes through memory once.


# %%
def linear_counted(x, w, b):
    """y = x w + b by loops, with its operations, and its bytes if each array is read or written once."""
    operations, y = 0, np.zeros((len(x), w.shape[1]), x.dtype)
    for n in range(len(x)):
        for o in range(w.shape[1]):
            y[n, o] = b[o]
            for i in range(w.shape[0]):
                y[n, o] += x[n, i] * w[i, o]
                operations += 2
    return y, operations, sum(array.nbytes for array in (x, w, b, y))


arrays = [rng.standard_normal(shape).astype(np.float32) for shape in ((7, 6), (6, 5), (5,))]
y, operations, moved = linear_counted(*arrays)
np.testing.assert_allclose(ops.linear(*arrays), y, atol=1e-5)
assert floors.forward_work("linear", arrays, y) == (operations, moved)
print(f"(7, 6) x (6, 5): {operations} operations, {moved} bytes, {operations / moved:.1f} operations a byte")

# %% [markdown]
# `mvit_np.bench.floors` counts so for every op, and `watching` hands us each op of MViT-B 16x4 as it runs, with its time.
# Norms, additions and max pooling count as bytes only. For the picture we add their operations: seven a number in a norm, one
# in an addition, and six comparisons for each result of max pooling (two along the row, in twice as many rows as remain, then
# two down the column).

# %%
LIGHT = {"layer_norm": lambda y: 7 * y.size, "add": lambda y: y.size, "max_pool": lambda y: 6 * y.size}
work = defaultdict(lambda: np.zeros(4))  # calls, operations, bytes, seconds


def count(name, phase, seconds, args, static, result):
    value = result[0] if phase == "forward" else None
    flops, moved = floors.forward_work(name, args, value) if phase == "forward" else floors.backward_work(name, args, result)
    light = LIGHT[name](value) if name in LIGHT and phase == "forward" else 0
    work[name] += (1, flops + light, moved, seconds)


# %%
mvit_b = mv.preset("mvit_b_16x4")
params_b, clip_b = mv.init(mvit_b, rng), rng.standard_normal((1, *mvit_b.thw, 3)).astype(np.float32)
mv.forward(params_b, clip_b, mvit_b)  # to warm up
with watching(count):
    mv.forward(params_b, clip_b, mvit_b)
busiest = sorted((name for name in work if work[name][2] > 1e6), key=lambda name: -work[name][3])
for name in busiest:
    calls, flops, moved, seconds = work[name]
    rate, ms = flops / moved, seconds * 1e3
    print(f"{name:15} {calls:3.0f} calls {flops / 1e9:6.2f} Gop {moved / 1e6:6.0f} MB {rate:6.1f} op/byte {ms:5.0f} ms")

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


# %%
def draw_op(axes, name, label):
    """A dot where the op ran here, and a square where the H200's roof is above it."""
    calls, flops, moved, seconds = work[name]
    here, most = flops / seconds / 1e9, min(67e12, flops / moved * 4.8e12) / 1e9
    axes.plot([flops / moved] * 2, [here, most], color=PALE, linewidth=1, zorder=0)
    axes.plot(
        flops / moved,
        here,
        "o",
        color=VERMILLION,
        alpha=0.8,
        markeredgecolor="white",
        markersize=4 + 14 * np.sqrt(seconds / work["mlp"][3]),
    )
    axes.plot(flops / moved, most, "s", markerfacecolor="white", color=GREY)
    below = {"textcoords": "offset points", "ha": "center", "va": "top", "color": INK}
    axes.annotate(label, (flops / moved, here), (0, -13), **below)


# %%
together = {"mlp": "mlp,\nattend", "attend": "", "project": "project,\ncube_conv", "cube_conv": ""}  # dots that nearly coincide
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
# `attend`, `linear`, `cube_conv`) are to the right of the dotted corner, where arithmetic is the limit. A pooling convolution,
# a norm and an addition are to its left: they only move arrays. (A dot may lie above the rising roof where its arrays are
# still in a cache, which the copy of a large array is not.)
#
# The corners of the two machines lie close together. So a GPU does not favour another kind of op. It has more of everything:
# more arithmetic, and memory that is faster by a factor of the same order. Two cautions. The counts are the least possible:
# between the kernels inside an op there are more arrays to write and read. And a roof says nothing of launches.
#
# ## When it is not faster: launches against the roof
#
# The kernels of a step take at least the sum of its ops' times at the GPU's roof, and that grows with the batch. Its launches
# take $n a$, whatever the batch. For $a$ we take a range: 5 µs, and the 15 µs that the example in CuPy's user guide comes to
# (44 µs of host time for the three kernels of a root of a sum of squares). **A model, not a measurement.** The stand-in counts
# array calls, and CuPy may need a kernel more or less in some.


# %%
def roof_seconds(run, roof):
    """The least that the ops of run() could take at a roof (pi, beta)."""
    work.clear()
    with watching(count):
        run()
    return sum(max(flops / roof[0], moved / roof[1]) for _, flops, moved, _ in work.values())


# %%
n = launches[1]
model = {batch: roof_seconds(stepper(mv.to_host, batch), roofs["H200, published peak"]) for batch in BATCHES}
launched.clear()
mv.forward(stand_in(params_b), stand_in(clip_b), mvit_b)
n_b = launched.total()

rows = [(f"mvit_micro step, batch {batch}", model[batch], n) for batch in BATCHES] + [
    ("MViT-B forward, batch 1", theirs_s, n_b)
]
for name, seconds, count_ in rows:
    print(f"{name:26} kernels {seconds * 1e3:6.3f} ms, {count_} launches {count_ * 5e-3:4.0f} to {count_ * 15e-3:4.0f} ms")
at_5, at_15 = (n_b * a / theirs_s for a in (5e-6, 15e-6))
print(f"MViT-B: the device has as much to do as the host from about {at_5:.0f} to {at_15:.0f} clips on")

# %% [markdown]
# The kernels of `mvit_micro` look absurdly short, and are: the roof does not know that even an empty kernel takes a
# microsecond or two. That is still less than the launches we assumed. So even MViT-B is case (a) for a single clip on such a
# GPU, and a batch of some clips makes it case (b). The small model of this notebook stays in case (a) at any batch that we
# try. Fewer launches are the other cure: kernels that do several things at once, or a recorded sequence of launches that is
# replayed as one (a CUDA graph).
#
# ## A training step, timed
#
# Now the clock, with `synchronize` before it is read, after a step to warm up (CuPy compiles each kernel when it first meets
# it). Memory is what a step needs besides parameters, AdamW's means and clips: on the host the largest sum of live arrays, as
# `tracemalloc` sees it; on a device what CuPy's pool had to ask for.


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
def step_bytes(step, on_device):
    """The most that a step holds at once, beyond what was there before."""
    if not on_device:
        tracemalloc.start()
        step()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak
    pool = gpu.get_default_memory_pool()
    pool.free_all_blocks()
    before = pool.used_bytes()
    synchronize(step())
    return pool.total_bytes() - before


# %%
places = {"NumPy": (mv.to_host, False)} | ({"GPU": (there, True)} if gpu else {})
measured = {}
for place, (put, on_device) in places.items():
    for batch in BATCHES:
        step = stepper(put, batch)
        measured[place, batch] = step_seconds(step), step_bytes(step, on_device)

kept = mv.costs(config).activation_bytes
print("batch" + "".join(f"   {place:>5}: ms a step, MB" for place in places) + "   kept by the plan, MB")
for batch in BATCHES:
    row = "".join(f"{measured[place, batch][0] * 1e3:17.1f} {measured[place, batch][1] / 1e6:6.1f}" for place in places)
    print(f"{batch:5}{row} {kept * batch / 1e6:14.1f}")
print("" if gpu else "GPU: not measured, there is none here")
assert all(measured["NumPy", batch][1] > kept * batch for batch in BATCHES)

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
kept_mb = [kept * batch / 1e6 for batch in BATCHES]
for (place, colour), mark in zip({"NumPy": BLUE, "GPU": GREEN}.items(), "os", strict=True):
    if place in places:
        for axes, column, unit in ((left, 0, 1e-3), (right, 1, 1e6)):
            values = [measured[place, batch][column] / unit for batch in BATCHES]
            axes.loglog(BATCHES, values, mark + "-", color=colour, linewidth=2, label=f"{place}, measured")
left.fill_between(BATCHES, n * 5e-3, n * 15e-3, color=ORANGE, alpha=0.3, label="model: launches on a GPU")
left.loglog(BATCHES, [1e3 * model[batch] for batch in BATCHES], "--", color=GREY, label="model: kernels at the H200's roof")
right.loglog(BATCHES, kept_mb, "--", color=GREY, label="kept for the backward pass, by the plan")
left.set(ylabel="ms a step", ylim=(3e-4, 1e5))
right.set(ylabel="MB beyond parameters and clips", ylim=(0.2, 200))
for axes, title in ((left, "Launches do not grow with the batch"), (right, "Memory does")):
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xticks(BATCHES, BATCHES)
    axes.set_xlabel("clips in the batch")
    axes.legend(frameon=False, loc="upper left")
plt.show()

# %% [markdown]
# **How to read it.** Left: the time of a training step of `mvit_micro`. The orange band is what the launches alone would take
# on a GPU, the dashed line what the kernels would take at least; the larger of the two counts. Right: memory. Of what a step
# holds, the part that grows with the batch is what the backward pass needs; `mv.costs` foretells it from the plan. Where there
# is a GPU, its measured points are green.
#
# ## A small training run, wherever we are
#
# A bar moves to the left or to the right, one to two pixels a frame, in noise as strong as itself, and leaves the picture on
# one side to enter on the other. It may be anywhere, so a single frame says nothing about the direction. Clips are drawn on
# the host, and `from_host` is the one door they pass. The losses stay where they are made, and come back together at the end:
# no step waits for its loss.


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


# %%
examples, their_labels = bars(8, np.random.default_rng(4))
chosen = [their_labels.argmin(), their_labels.argmax()]
figure, rows = plt.subplots(2, 8, figsize=(8.5, 2.5), dpi=75, layout="constrained")
for panels, clip, which in zip(rows, examples[chosen], their_labels[chosen], strict=True):
    panels[0].set_ylabel(("left", "right")[which], fontsize=11)
    for t, axes in enumerate(panels):
        axes.imshow(clip[t, :, :, 0], cmap="gray", vmin=-2, vmax=3)
        axes.set(xticks=[], yticks=[])
figure.suptitle("Two clips, a frame a column: which way does the bright bar go?", fontsize=11, x=0.02, ha="left")
plt.show()

# %%
STEPS, BATCH = 120, 32
put, where = (there, "the GPU") if gpu else (mv.to_host, "NumPy")
start_params = put(mv.init(config, np.random.default_rng(0)))
like = start_params["head"]["w"]  # clips and masks go where this is
masks, draw = default_rng(0, like), np.random.default_rng(1)


def training_loss(params, batch):
    clips, labels = (from_host(array, like) for array in batch)
    return mv.cross_entropy(mv.forward(params, clips, config, rng=masks), labels), None


# %%
batches = (bars(BATCH, draw) for _ in range(STEPS))
rate = partial(warmup_cosine, steps=STEPS, peak=1.5e-3, warmup=STEPS // 10)
start, losses = time.perf_counter(), []
for step in fit(training_loss, start_params, batches, rate=rate):
    losses.append(step.loss)
losses = np.array(mv.to_host(losses), dtype=float)  # waits, once
seconds = time.perf_counter() - start
print(f"{STEPS} steps of {BATCH} clips in {seconds:.0f} s on {where}, {STEPS * BATCH / seconds:.0f} clips/s")

# %%
test_clips, test_labels = bars(512, np.random.default_rng(2))
mixed = shuffle_frames(test_clips, np.random.default_rng(3))
trained = step.params


def accuracy(clips):
    return (mv.to_host(mv.predict(trained, from_host(clips, like), config)).argmax(-1) == test_labels).mean()


in_order, out_of_order = accuracy(test_clips), accuracy(mixed)
print(f"512 new clips: {in_order:.1%} right; with their frames shuffled {out_of_order:.1%}")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), width_ratios=(1.6, 1), layout="constrained")
smooth = np.convolve(losses, np.ones(9) / 9, "valid")
left.plot(losses, color=SKY, linewidth=1, label="each step")
left.plot(np.arange(4, 4 + len(smooth)), smooth, color=BLUE, linewidth=2.5, label="mean of nine")
left.axhline(np.log(2), color=GREY, linestyle="--", linewidth=1, label="a coin: ln 2")
left.set(xlabel="training step (32 clips each)", ylabel="cross-entropy (nats)", ylim=(0, 1))
left.set_title("The loss falls far below a coin's", loc="left", fontsize=11)
left.legend(frameon=False, loc="center right")
right.bar([0, 1], [100 * in_order, 100 * out_of_order], 0.6, color=[BLUE, ORANGE])
right.axhline(50, color=GREY, linestyle="--", linewidth=1)
for x, share in enumerate((in_order, out_of_order)):
    right.text(x, 100 * share + 1.5, f"{share:.1%}", ha="center")
right.set(xticks=[0, 1], ylabel="right on 512 new clips (per cent)", ylim=(0, 112))
right.set_xticklabels(["frames in order", "shuffled"])
right.set_title("It needs the order of frames", loc="left", fontsize=11)
plt.show()

# %% [markdown]
# **How to read it.** Left: the loss of each batch. All clips are new ones, so nothing can be learned by heart.
# Right: clips never seen; the dashed line is a coin. The parameters that were trained can go anywhere: `mv.to_host(trained)`
# is a tree of NumPy arrays that `mv.save` writes, whichever device made it. Moved back, they must give the same scores:

# %%
from_device = mv.to_host(mv.predict(trained, from_host(test_clips[:32], like), config))
from_numpy = mv.predict(mv.to_host(trained), test_clips[:32], config)
away = np.abs(from_device - from_numpy).max() / np.abs(from_numpy).max()
print(f"scores of the {'GPU' if gpu else 'device there is, NumPy,'} and of NumPy: {away:.0e} apart, of the largest")
assert away < 1e-4

# %% [markdown]
# ## Questions to the reader
#
# **1.** You time `mv.forward` on a GPU with `time.perf_counter()` around the call and get 20 ms for MViT-B, whatever the
# batch. What did you measure, and why does it not depend on the batch?
#
# <details><summary>Answer</summary>
#
# The launches: the host returned as soon as it had put all kernels into the queue. Their number does not depend on the batch.
# Call `synchronize` on the result before you read the clock, and once before you start it. (For a large batch you may see the
# time rise after all: a queue holds only so many launches, and when it is full the host waits.)
#
# </details>
#
# **2.** A colleague prints `float(step.loss)` after every step. Loss curve and result are the same as before, but training on
# the GPU got slower. In which panel of the schedule are you, and what do you advise?
#
# <details><summary>Answer</summary>
#
# A step nearer to (c): `float` needs the number, so the host waits until the device has finished the step, and the device then
# waits for the first launches of the next one. Keep the losses as arrays and fetch them together, or print only every
# fiftieth.
#
# </details>
#
# **3.** A GPU has twice the arithmetic of the H200 above and the same memory. Which dots of the roofline would profit?
#
# <details><summary>Answer</summary>
#
# Those right of the new corner, which moves from 14 to 28 operations a byte: the products. Convolution, norms and additions
# are on the rising part and gain nothing. For such a GPU it pays more to fuse a norm or an activation into a product: fewer
# bytes, and fewer launches.
#
# </details>

# %%
# The arrays decide; a batch adds work but no launches; the slower of host and device sets the pace.
assert array_module(trained["head"]["w"]) is (gpu or np) and array_module(logits) is not np
assert len(set(launches.values())) == 1 and model[32] > model[8] > model[1]
assert np.isclose(schedule([2.0] * 8, [0.5] * 8)[-1][3] - schedule([2.0] * 8, [0.1] * 8)[-1][3], 0.4)  # 0.4 of 16.5: no gain
assert losses[-9:].mean() < 0.5 * losses[:9].mean() and in_order > 0.9 and abs(out_of_order - 0.5) < 0.1
