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
# # 11c Graphs and a training run: does the GPU wait for Python?
#
# **The question.** A GPU runs the kernels that Python launches, and Python launches them one at a time. When does the GPU wait
# for Python, when does Python wait for the GPU, and how can one call launch a whole training step? You model the queue between
# the two machines, count the launches of a step, record a step and replay it as a **graph**, and start the training run that
# uses all of this. [Notebook 11](11_gpu_kernels.ipynb) explains what a kernel is.
#
# Words that are new to you are in the [glossary](../docs/glossary.md), symbols in the [notation](../docs/notation.md).

# %%
# %matplotlib inline
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from itertools import islice, repeat
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

# %%
import mvit_np as mv
from mvit_np.autodiff.hooks import watching
from mvit_np.backend.arrays import array_module, memory, synchronize
from mvit_np.course import stand_in
from mvit_np.studies.bench import roofline
from mvit_np.train import RECIPES, adamw, adamw_state, fit
from mvit_np.train import run as runs
from mvit_np.train.run.recipe import changed
from mvit_np.visualize.style import BLUE, GREEN, GREY, INK, ORANGE, SKY, VERMILLION

# %%
rng = np.random.default_rng(0)
plt.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
gpu = None  # CuPy, where there is a device for it
try:
    probe = mv.to_device(np.ones(1, np.float32), "cuda:0")
except ValueError as problem:
    print(f"No GPU here, so a stand-in counts its launches, and the GPU's columns stay empty. ({problem})")
else:
    gpu = array_module(probe)
    print("computing on", gpu.cuda.runtime.getDeviceProperties(0)["name"].decode())
there = partial(mv.to_device, device="cuda:0") if gpu else stand_in.put

# %% [markdown]
# ## What the paper says
#
# > "We measure training throughput as the number of video clips per second on a single M40 GPU." (Fan et al., Sec. 4.2)
#
# To measure this, one has to know what a clock on the host sees. The host launches a kernel and does *not* wait for it. The
# kernel goes into a queue, and the device runs the kernels of the queue one after the other. If a step has $n$ kernels, if a
# launch costs the host $a$ seconds, and if a kernel keeps the device busy for $b$ seconds, then the step takes the time
#
# $$t = a + b + (n - 1) \max(a, b) .$$
#
# This formula is derived below.
#
# ## The queue by loops
#
# Kernel $i$ starts when it has been launched *and* the kernel before it has ended. With `wait=True` the host waits after each
# launch, as a hidden `float(loss)` makes it do.


# %%
def schedule(launch_costs, kernel_costs, wait=False):
    """[(launch starts, launch ends, kernel starts, kernel ends), ...], one kernel after the other."""
    rows, host, device = [], 0.0, 0.0
    for launch_cost, kernel_cost in zip(launch_costs, kernel_costs, strict=True):
        launched_at = host + launch_cost
        begins = max(launched_at, device)
        rows.append((host, launched_at, begins, begins + kernel_cost))
        device = begins + kernel_cost
        host = device if wait else launched_at
    return rows


# %% [markdown]
# ## The queue as a formula
#
# Take any kernel $i$. It starts only after all launches up to its own. After that it and all later kernels must still run, one
# after the other. So the total time is at least the launches up to $i$ plus the kernels from $i$ on. For one $i$ the total is
# exactly this sum: take the first kernel after the last gap of the device. It started at the moment when it was launched, and
# from then on the device was busy. So the total is the largest of these sums:
#
# $$t = \max_i \Big( \sum_{j \le i} a_j + \sum_{j \ge i} b_j \Big) .$$
#
# With equal costs the bracket is linear in $i$. Its largest value is at one of the two ends, $a + n b$ or $n a + b$, and that
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
        for height, left, right, colour in ((1, begins, launched_at, ORANGE), (0, starts, ends, BLUE)):
            shade = 0.65 if i % 2 else 1
            axes.barh(height, right - left, left=left, height=0.55, color=colour, alpha=shade, edgecolor="white")
    axes.axvline(goes_on, ymax=0.9, color=VERMILLION, linestyle=":", linewidth=2)
    axes.text(rows[-1][3] + 0.3, 0, f"ends at {rows[-1][3]:g}", va="center")
    axes.set(yticks=[0, 1], yticklabels=["device", "host"], ylim=(-0.5, 1.6), xlim=(0, xlim))
    axes.set_title(title, loc="left", fontsize=10.5)


# %%
cases = [
    ("(a) Small kernels, a = 2, b = 0.5: the device waits for the host", (2.0, 0.5, False)),
    ("(b) Large kernels, a = 1, b = 3: launches are hidden, and a clock read at the dotted line is wrong", (1.0, 3.0, False)),
    ("(c) The same, but the host waits for each kernel: the costs add up", (1.0, 3.0, True)),
]
figure, panels = plt.subplots(3, 1, figsize=(8.5, 5), sharex=True, layout="constrained")
for axes, (title, (a_i, b_i, wait)) in zip(panels, cases, strict=True):
    rows = schedule([a_i] * 8, [b_i] * 8, wait)
    draw_schedule(axes, rows, rows[-1][3 if wait else 1], title)
panels[2].set_xlabel("time (any unit)")
plt.show()

# %% [markdown]
# **How to read it.** Eight kernels in each panel; orange is the time in which the host launches, blue is the time in which the
# device computes, and two shades separate neighbours. At the dotted line the host goes on with your program.
#
# There are two lessons. First, in (b) a clock that is read at the dotted line reports 8, but the work takes 25: **before
# reading a clock, wait for the device**. `mvit_np.backend.arrays.synchronize(x)` waits; on NumPy it does nothing. Second, in
# (a) a faster device would change nothing: **many small kernels take as long as their launches**.
#
# ## The launches of a training step
#
# How many launches are in a step? The course's stand-in for a GPU ([notebook 11](11_gpu_kernels.ipynb)) counts them: forward,
# backward and AdamW. First it runs the definitions of the ops, where each array call is a launch. Then it gets the tools of a
# real device: the package's own kernels, and products that need no copies.

# %%
config = mv.preset("mvit_micro")


def loss_of(params, clips, labels, config=config):
    return mv.cross_entropy(mv.forward(params, clips, config), labels)


gradients = mv.value_and_grad(loss_of)


# %%
def stepper(put, batch, config=config):
    """A training step as a function of no arguments that returns its loss; `put` says where."""
    draw = np.random.default_rng(batch)
    clips = put(draw.standard_normal((batch, *config.thw, config.channels)).astype(np.float32))
    at, labels = {"params": put(mv.init(config, draw))}, put(draw.integers(2, size=batch))
    at["state"] = adamw_state(at["params"])

    def step():
        loss, slopes = gradients(at["params"], clips, labels, config=config)
        at["params"], at["state"] = adamw(at["params"], slopes, at["state"], 1e-4)
        return loss

    return step


# %%
def launches_of(config, batch=2):
    """The launches of the second step on the stand-in; the first step also makes tables that later steps use."""
    step = stepper(stand_in.put, batch, config)
    step()
    stand_in.clear()
    step()
    return stand_in.launched.copy()


# %%
BATCHES = (1, 8, 32)
mvit_b = mv.preset("mvit_b_16x4")
small_b = replace(mvit_b, frames=4, size=64)  # it has as many launches as for large clips and is counted faster
launches = {batch: launches_of(config, batch).total() for batch in BATCHES}
plain, plain_b = launches_of(config), launches_of(small_b)
print(f"launches of a step of mvit_micro by batch: {launches}, most often: {plain.most_common(4)}")
assert launches[8] == launches[32] == plain.total() == launches_of(replace(config, size=48)).total()

with stand_in.tools():
    with_tools = launches_of(config)
    with stand_in.counting_only():
        with_tools_b = launches_of(small_b)


# %%
def print_kinds(name, way, counts):
    """Launches of products, of kernels of the package's own, and of array functions."""
    products, own = counts["product"] + counts["matmul"], sum(counts[kernel] for kernel in stand_in.own)
    others = counts.total() - products - own
    print(f"{name:10} {way:11}{products:9}{own:9}{others:9}{counts.total():9}")


print(f"{'':22} products  kernels   others      all")
for name, before, after in (("mvit_micro", plain, with_tools), ("MViT-B", plain_b, with_tools_b)):
    print_kinds(name, "array calls", before)
    print_kinds("", "with tools", after)
    print(f"{'':22}{before.total() / after.total():.1f} times fewer launches")
assert with_tools.total() < plain.total() / 4 and with_tools_b.total() < plain_b.total() / 4

# %% [markdown]
# The number of launches is the same for every batch, and for clips of any size: with more numbers the kernels are larger, but
# there are not more of them. (A single clip saves some copies. The stand-in counts array calls; CuPy may need one kernel more
# or less for some of them.)
#
# Most of the launches that the tools save are additions and multiplications, one launch each. AdamW needed several of them per
# parameter array, the pooling convolution needed them for each tap of its filter, and the norms for each step of their
# definition. The tools save products, too: the definition of the cube embedding makes one product per tap.
#
# ## Launches against kernels
#
# How long do the kernels of a step take at least? Each op takes the time for its operations or the time for its bytes,
# whichever is longer, at the GPU's roof. The sum over all ops grows with the batch. The launches take $n a$ for every batch.
# For $a$ we take a range from 5 µs to 15 µs. The 15 µs come from an example in CuPy's user guide (44 µs of host time for the
# three kernels of a root of a sum of squares). **This is a model, not a measurement.**

# %%
H200 = {"flops_per_s": 67e12, "bytes_per_s": 4.8e12}  # of NVIDIA's data sheet


def roof_seconds(run):
    """The least that the ops of run() could take on the H200."""
    seconds = []

    def add(name, phase, took, args, static, result):
        how = roofline.forward_work(name, args, result[0]) if phase == "forward" else roofline.backward_work(name, args, result)
        seconds.append(roofline.floor_s(how, H200))

    with watching(add):
        run()
    return sum(seconds)


def compare(name, seconds, n):
    print(f"{name:32} kernels {seconds * 1e3:6.3f} ms, {n:5} launches {n * 5e-3:5.1f} to {n * 15e-3:5.1f} ms")


# %%
model = {batch: roof_seconds(stepper(mv.to_host, batch)) for batch in BATCHES}
for batch in BATCHES:
    compare(f"mvit_micro, a step, batch {batch}", model[batch], plain.total())
params_b, clip_b = mv.init(mvit_b, rng), rng.standard_normal((1, *mvit_b.thw, 3)).astype(np.float32)
step_b = 3 * roof_seconds(lambda: mv.forward(params_b, clip_b, mvit_b))  # a step is about three forward passes
compare("MViT-B, a step, batch 1", step_b, plain_b.total())
for n in (plain_b.total(), with_tools_b.total()):
    few, many = (n * launch_cost / step_b for launch_cost in (5e-6, 15e-6))
    print(f"MViT-B, {n} launches: the device has as much to do as the host from about {few:.1f} to {many:.1f} clips on")

# %% [markdown]
# (The times for the kernels of `mvit_micro` are too short to be true: the roof does not know that even an empty kernel takes a
# microsecond or two.) So with only a few clips even MViT-B is in case (a). A larger batch is the first remedy, and kernels that
# do more work are the second. The third remedy is one launch for all kernels.
#
# ## All launches as one: a graph
#
# A training step makes the same launches each time. CUDA can record them as a **graph** and start all of them by one call. The
# device then goes from kernel to kernel by itself. In our model of the queue all launches except the first cost nothing:
#
# $$t = a + n b .$$

# %%
replayed = schedule([2.0] + [0.0] * 7, [0.5] * 8)
np.testing.assert_allclose(replayed[-1][3], 2.0 + 8 * 0.5)
figure, panels = plt.subplots(2, 1, figsize=(8.5, 3.4), sharex=True, layout="constrained")
for axes, title, rows in (
    (panels[0], "(a) Small kernels, a = 2, b = 0.5, launched one by one", schedule([2.0] * 8, [0.5] * 8)),
    (panels[1], "(d) The same kernels, replayed as a graph: one launch", replayed),
):
    draw_schedule(axes, rows, rows[-1][1], title, 20)
panels[1].set_xlabel("time (any unit)")
plt.show()

# %% [markdown]
# **How to read it.** The colours mean the same as above. A replay is launched once (orange), and then one kernel follows the
# other (blue).
#
# What is a recording? It is a list of kernels, with the addresses of the arrays that they read and write. The stand-in can make
# a recording: it writes down each launch. (It also computes while it records; CUDA only records.) Here is a step of gradient
# descent that changes its parameters in place.

# %%
params = mv.init(config, rng)
clips, others = rng.standard_normal((2, 4, *config.thw, config.channels)).astype(np.float32)
labels, pace = np.array([0, 1, 1, 0]), 0.02


def descent(params, clips, labels):
    def step():
        loss, slopes = gradients(params, clips, labels)
        for weight, slope in zip(mv.tree.leaves(params), mv.tree.leaves(slopes), strict=True):
            weight -= pace * slope
        return loss

    return step


by_hand, own_copy = [], mv.tree.map(np.copy, params)
for batch in (clips, others, others):
    by_hand.append(float(descent(own_copy, batch, labels)()))
print("steps one by one, on NumPy:", np.round(by_hand, 5))

# %%
handles, given = stand_in.put(params), stand_in.put(clips)
loss, replay, count = stand_in.recorded(descent(handles, given, stand_in.put(labels)))
found = [float(loss.get())]
given[...] = stand_in.put(others)  # other clips, in the same array
pace = 1000.0
for _ in range(2):
    replay()
    found.append(float(loss.get()))
print(f"{count} launches recorded, then replayed twice:", np.round(found, 5))
np.testing.assert_allclose(found, by_hand, rtol=1e-4)

# %% [markdown]
# The losses agree, although `pace` was set to 1000 before the replays. The replays did not notice: **a recording keeps a Python
# number as it was when it was recorded.** The same is true of a Python decision: an `if` is decided once. So a recording must
# *not* contain:
#
# - a step that reads a number (`float(loss)`, `if loss > 1`): the host cannot wait for work that is only being recorded;
# - a copy from the host, which would send the same bytes at every replay;
# - a Python number that changes from step to step: the learning rate, the step count of AdamW, the seed of dropout's masks.
#   These have to be arrays on the device, and they are written before each replay, as `given` was;
# - new memory at other addresses, because a recording holds addresses. It gets its own memory pool, which nothing else uses.
#
# `mvit_np.backend.cuda.graph.Graphed` records with CUDA, and `fit(..., graph=True)` records whole training steps: forward,
# backward, clipping and AdamW. The result is the same.


# %%
def steps_by_fit(put, batch, graph):
    """Training steps of one batch over and over, as a function of no arguments."""
    draw = np.random.default_rng(batch)
    clips = put(draw.standard_normal((batch, *config.thw, config.channels)).astype(np.float32))
    given, start = (clips, put(draw.integers(2, size=batch))), put(mv.init(config, draw))

    def loss(params, given):
        return loss_of(params, *given), None

    steps = fit(loss, start, repeat(given), lr=lambda number: 1e-3, graph=graph)
    return lambda: next(steps).loss


# %%
try:
    steps_by_fit(mv.to_host, 1, graph=True)()
except ValueError as problem:
    print("fit(graph=True) on the host:", problem)
if gpu:
    ways = [steps_by_fit(there, 4, graph) for graph in (False, True)]
    both = np.array([[float(mv.to_host(step())) for _ in range(10)] for step in ways])
    print(f"ten losses, launched one by one and replayed: at most {np.abs(both[0] - both[1]).max():.0e} apart")
    np.testing.assert_allclose(*both, rtol=1e-2)

# %% [markdown]
# ## A training step, timed
#
# Now we measure. We call `synchronize` before we read the clock, and one step runs before the measurement, because CuPy
# compiles each kernel at its first use.


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
    """A training step on the device without the package's own kernels."""
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
axes.set(xlabel="clips in the batch", ylabel="ms per step of mvit_micro", ylim=(5e-4, 1e3))
axes.set_xticks(BATCHES, BATCHES)
axes.set_xticks([], minor=True)
axes.set_title("Launches do not grow with the batch", loc="left", fontsize=11)
axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
plt.show()

# %% [markdown]
# **How to read it.** The two bands are the times that the launches alone would take on a GPU, one for array calls and one with
# the tools. The dashed line is the time that the kernels would take at least. A step takes about the larger of the two times. A
# replay has one launch, so it lies above the dashed line only because even an empty kernel takes a microsecond or two, and each
# of its kernels adds that much. If you have a GPU, the figure shows its measured points too.
#
# ## The demo: three million parameters
#
# `mvit-np train --device cuda` trains a larger model on a harder task: a digit moves in one of eight directions over noise, in
# clips of 64 x 64 pixels. It uses all the tools of this notebook: the package's kernels, TF32 products ([notebook
# 11b](11b_precision.ipynb)) and a graph of the step. Without a device the command stops with one sentence:

# %%
recipe, folder = RECIPES["gpu"], tempfile.TemporaryDirectory()
out, place = Path(folder.name, "run"), "the GPU" if gpu else "NumPy"
if not gpu:
    command = ["train", "--device", "cuda", "--out", str(out)]
    said = subprocess.run([sys.executable, "-m", "mvit_np", *command], capture_output=True, text=True)
    print(said.stderr.strip(), f"(exit code {said.returncode})", sep="\n")
    assert said.returncode == 2 and said.stderr.count("\n") == 1
    few = {"device": "cpu", "graph": False, "precision": "float32", "epochs": 1.0, "train_clips": 64, "test_clips": 16}
    recipe = changed(recipe, few | {"batch": 16, "warmup": 0.0})

# %% [markdown]
# The command calls `runs.prepare` and `runs.run`, which gives a row of numbers per step. We do the same: with the whole recipe
# on a GPU, and with four steps of sixteen clips elsewhere. The model learns nothing in four steps, but they tell how fast
# training is here.

# %%
job = runs.prepare(recipe, out, say=print)
model_costs, clips_in_all = mv.costs(job.task.config), RECIPES["gpu"].epochs * 8192
text = f"{model_costs.params / 1e6:.1f} M parameters, {model_costs.macs / 1e9:.2f} G multiply-adds per clip forward"
print(f"{text}, {len(job.task.train)} clips to learn from, {job.steps} steps of {recipe.batch}")
assert model_costs.params > 2e6 and job.task.config.size == 64
going = runs.run(job)
done = list(islice(going, job.steps // 2))  # the first half of the run
print(f"step {done[-1]['step']}: loss {done[-1]['loss']:.3f}, {done[-1]['clips_per_s']:.0f} clips/s")

# %%
done += going  # the second half
last = done[-1]
seconds, clips_done = last["seconds"] - done[0]["seconds"], recipe.batch * (last["step"] - 1)  # the first step compiles kernels
print(f"step {last['step']}: loss {last['loss']:.3f}, {last['test_accuracy']:.1%} of {len(job.task.tests)} test clips right")
print(f"{clips_done / seconds:.0f} clips/s on {place}", end=", ")
if gpu:
    print(f"{memory(job.state.params['head']['w']) / 1e9:.2f} GB in use on the device")
else:
    hours = clips_in_all * seconds / clips_done / 3600
    print(f"so the whole recipe, {clips_in_all:,.0f} clips, would take {hours:.0f} hours here")

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
# You measured the launches: the host returned as soon as it had put all kernels into the queue. Their number does not depend
# on the batch. Call `synchronize` on the result before you read the clock, and once before you start it. (For a large batch the
# time may rise after all: a queue holds only so many launches, and when it is full the host waits.)
#
# </details>
#
# **2.** A colleague prints `float(step.loss)` after every step. Loss curve and result are the same as before, but training on
# the GPU got slower. Which panel of the schedule shows this, and what do you advise? What changes if the step is a graph?
#
# <details><summary>Answer</summary>
#
# It is close to panel (c): `float` needs the number, so the host waits until the device has finished the step, and then the
# device waits for the first launches of the next step. Keep the losses as arrays and fetch them together, or print only every
# fiftieth. With a graph the wait costs less, because the next step needs only one launch. But copy each loss that you want to
# keep: the next replay writes its loss into the same array.
#
# </details>
#
# **3.** You train with a graph and a learning rate that falls from step to step. Why does the graph not use the first rate for
# ever?
#
# <details><summary>Answer</summary>
#
# The rate is an array on the device. The recording holds its address, and a new number is written there before each replay. As
# a Python number, like `pace` above, it would stay what it was when the graph was recorded.
#
# </details>

# %%
# The slower of host and device decides the time of a step; a batch adds work but no launches; a replay is one launch.
assert launches[8] == launches[32] and model[32] > model[8] > model[1]
assert replayed[-1][3] < schedule([2.0] * 8, [0.5] * 8)[-1][3] / 2
assert with_tools_b.total() < plain_b.total() / 4 and last["step"] == job.steps
