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
# # 00 The idea: a pyramid inside a transformer
#
# **The question.** This course is about one network, the Multiscale Vision Transformer (MViT, Fan et al. 2021). What is its
# idea, what can it do, and what will you do in the chapters that follow? This notebook takes ten minutes. You do not need to
# read its code: it is there so that you can run it.
#
# You need linear algebra, some NumPy and a first course in deep learning. Nothing about transformers is assumed.
#
# Words that are new to you are in the [glossary](../docs/glossary.md), symbols in the [notation](../docs/notation.md).

# %%
# %matplotlib inline
import json
import re
import tempfile
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import mvit_np as mv
from mvit_np import course, ops
from mvit_np.data import LABELS, drawn_street, four_ways, load_motion, normalise
from mvit_np.train import demo
from mvit_np.train.run.training import train
from mvit_np.visualize import graph_figure
from mvit_np.visualize.style import BLUE, GREEN, GREY, ORANGE, SKY, VERMILLION

plt.rcParams.update({"figure.dpi": 80, "font.size": 11, "axes.spines.top": False, "axes.spines.right": False})

# %% [markdown]
# ## What a ConvNet does
#
# A network for pictures begins with many places that hold little (a pixel has three numbers) and ends with one answer. A
# ConvNet (convolutional network) goes there step by step. It works on a grid of places, and each place holds a list of
# numbers, its **channels**. After every few layers it merges 2 x 2 neighbouring places into one and makes the list longer. So
# early layers see fine detail and can say little about each place, an edge or a colour. Late layers have few places, each of
# which stands for a large part of the picture and can say much. This shape is called a **pyramid**.
#
# If a step keeps every fourth place and doubles the channels, the work of a layer does not change. A layer multiplies the
# channels $D$ of each of its $N$ places by a matrix of $D \times D$ numbers, which takes $N D^2$ multiplications, and
#
# $$\frac{N}{4} \, (2D)^2 = N D^2 .$$
#
# ## What a Vision Transformer does not do
#
# A Vision Transformer (ViT) cuts the picture into patches of 16 x 16 pixels and calls each of them a **token**. From then on
# nothing changes: as many tokens, with as many channels, from the first layer to the last.
#
# > "In context of the present paper, it is noteworthy that ViT maintains a constant channel capacity and spatial resolution
# > throughout all the blocks" (Fan et al., Sec. 3.2)
#
# What it has instead is **attention**: in every layer each token may look at every other one, wherever in the clip it is, and
# fetch what it needs. This is powerful, but for $N$ tokens it takes $N^2$ comparisons. For a film, which has many tokens, it is
# expensive.
#
# ## What an MViT does
#
# > "Unlike conventional transformers, which maintain a constant channel capacity and resolution throughout the network,
# > Multiscale Transformers have several channel-resolution 'scale' stages." (Sec. 1)
#
# It is a transformer with the shape of a ConvNet. The loop walks through its four stages. The package's plan of MViT-B, the
# model of the paper, has to say the same.


# %%
def pyramid(side, channels, stages):
    """The stages of a pyramid: places along a side of the picture, and channels of each place."""
    found = []
    for _ in range(stages):
        found.append((side, channels))
        side, channels = side // 2, 2 * channels
    return found


mvit_b, vit_b = mv.preset("mvit_b_16x4"), mv.preset("vit_b_8f")
blocks = {"MViT-B": mv.plan(mvit_b).blocks, "ViT-B": mv.plan(vit_b).blocks}
by_plan = list(dict.fromkeys((block.thw_q[1], block.dim_attn) for block in blocks["MViT-B"]))
assert by_plan == pyramid(56, 96, 4)
for side, channels in by_plan:
    print(f"{side:2} x {side:2} places of {channels:3} channels: N D^2 = {side**2 * channels**2 / 1e6:.1f} million")

# %% [markdown]
# Here are all three by depth. ResNet-50 stands for the ConvNets; MViT-B and ViT-B have 16 and 12 **blocks**, which are the
# layers of a transformer.

# %%
RESNET_50 = [(56, 256, 3), (28, 512, 4), (14, 1024, 6), (7, 2048, 3)]  # places a side, channels, blocks
paths = {"a ConvNet: ResNet-50": [(side, channels) for side, channels, count in RESNET_50 for _ in range(count)]}
paths |= {f"{name}": [(block.thw_q[1], block.dim_attn) for block in blocks[name]] for name in ("ViT-B", "MViT-B")}
figure, panels = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
for column, (axes, word) in enumerate(zip(panels, ("places along a side of the picture", "channels of a place"))):
    for (name, path), colour, line in zip(paths.items(), (GREEN, VERMILLION, BLUE), ("-", "--", "-")):
        edges = np.linspace(0, 1, len(path) + 1)
        axes.stairs([each[column] for each in path], edges, baseline=None, color=colour, ls=line, linewidth=3, label=name)
    axes.set_yscale("log", base=2)
    ticks = (7, 14, 28, 56) if column == 0 else (96, 192, 384, 768, 2048)
    axes.set_yticks(ticks, [str(tick) for tick in ticks])
    axes.set(xlabel="from the first block (0) to the last (1)", ylabel=word)
    axes.grid(axis="y", color=GREY, alpha=0.2)
panels[0].legend(frameon=False, loc="lower left")
figure.suptitle("The idea: an MViT has the pyramid of a ConvNet; a ViT is a flat line", fontsize=13, weight="bold")
plt.show()

# %% [markdown]
# **How to read it.** Each network runs from left to right. Both vertical scales are logarithmic. On the left each grid line is
# half of the one above it. The dashed line is the ViT.
#
# What is it good for? The package counts the multiplications of a whole model (a multiplication with its addition counts as
# one). The accuracies are the paper's, for 400 kinds of human action in ten-second films; both were trained on these films
# only.

# %%
for name, config, top1 in (("ViT-B", vit_b, 68.5), ("MViT-B", mvit_b, 78.4)):
    costs = mv.costs(config)
    print(f"{name:7} {config.frames:2} frames: {costs.macs / 1e9:5.1f} G multiply-adds, ", end="")
    print(f"{costs.params / 1e6:4.1f} million parameters, {top1} % answered rightly (Table 4)")
print(f"MViT-B takes {mv.costs(mvit_b).macs / mv.costs(vit_b).macs:.0%} of the multiply-adds of ViT-B")

# %% [markdown]
# MViT-B is more accurate at two fifths of the cost. Chapters 02 to 07 explain why.
#
# ## A trained model answers
#
# Now a small MViT, with 95 thousand parameters instead of 37 million. It learns from three short films to say **which way the
# picture moves**, left or right. A clip has 8 grey frames of 32 x 32 pixels. No single frame can tell the answer, because every
# clip also goes in mirrored and reversed in time. Training takes 20 to 30 seconds on two CPU cores.

# %%
task, recipe = load_motion(), replace(demo.recipe_of(), test_every=1)  # one test, at the end
few = np.random.default_rng(0).permutation(len(task.train_clips))[: 96 * recipe.batch]
some = replace(task, train_clips=task.train_clips[few], train_labels=task.train_labels[few])
*_, last = train(demo.training(some, recipe))
model, config = last.state.params, mv.preset("mvit_micro")
right = (mv.predict(model, task.test_clips, config).argmax(axis=1) == task.test_labels).mean()
print(f"{last.row['step']} steps of {recipe.batch} clips;", end=" ")
print(f"{right:.1%} of {len(task.test_clips):,} clips of other shots are answered rightly")
assert right > 0.9

# %% [markdown]
# We ask the model about a film. This is the first clip of a shot that it has never seen, in each of the four ways to show it.


# %%
def ask(clips, labels):
    """Print what the model says of each clip.   clips: (N, 8, 32, 32, 1)   labels: (N,)"""
    chances = ops.softmax(mv.predict(model, clips, config))
    for way, chance, label in zip(("as it is", "mirrored", "reversed", "both"), chances, labels):
        said = chance.argmax()
        print(f"{way:9} moves {LABELS[label]:5}: the model says {LABELS[said]:5} with {chance[said]:4.0%}")
    return chances.argmax(axis=1)


def show(clip, title):
    """The eight frames of a clip.   clip: (8, 32, 32, 1)"""
    figure, axes = plt.subplots(1, 8, figsize=(10, 1.9), layout="constrained")
    for number, (ax, frame) in enumerate(zip(axes, clip[..., 0]), 1):
        ax.imshow(frame, cmap="gray")
        ax.set(xticks=[], yticks=[], title=f"frame {number}")
    figure.suptitle(title, fontsize=13, weight="bold")
    plt.show()


# %%
four = np.arange(4) * (len(task.test_clips) // 4)  # the first clip; its four ways lie that far apart
_ = ask(task.test_clips[four], task.test_labels[four])

# %% tags=["film"]
show(task.test_clips[four[0]], "A clip from a film that the model has not seen")

# %% [markdown]
# Frames of other people's films are not stored in this notebook, so you see them only when you run it. The next street is
# drawn, and the model has seen nothing like it in training:

# %%
street = drawn_street(np.random.default_rng(3), pan=2)  # the picture goes two pixels to the right with every frame
clips, labels = four_ways(normalise(street.mean(axis=-1, keepdims=True), "clip")[None], np.array([1]))
show(clips[0], "A street that is drawn: the picture moves to the right")
said = ask(clips, labels)

# %% [markdown]
# "As it is" and "reversed" are the same eight frames in opposite order. The model tells them apart, so it looks at their
# order. [08](08_training.ipynb) makes an experiment of this, as the paper did, and finds that a ViT of the same cost does not.
#
# ## A map of the chapters
#
# Every chapter asks a question, quotes the paper, answers first in plain loops and then with the package, and asserts that
# both agree. Reading times are **estimates**: 80 words of text and 8 lines of code per minute, rounded to a quarter of an
# hour. You will be faster where you know a subject. The times to run a notebook were measured, on two CPU cores. The exercises
# to 03b and 06b are among those to 03 and 06.

# %%
AFTER = {"00b": "00", "01": "00b", "02": "01", "03": "01", "03b": "03", "04": "02 03b", "05": "04", "06": "03b", "06b": "06"}
AFTER |= {"07": "05", "07b": "07", "08": "05 06", "09": "08", "10": "05", "11": "05 06", "11b": "11", "11c": "11"}
RUN_S = {"00": 22, "00b": 4, "01": 6, "02": 14, "03": 12, "03b": 24, "04": 19, "05": 5, "06": 10, "06b": 16, "07": 7, "07b": 5}
RUN_S |= {"08": 88, "09": 79, "10": 8, "11": 12, "11b": 39, "11c": 23}


def chapter(path):
    """(number, title, minutes to read) of a stored notebook."""
    texts = {"markdown": "", "code": ""}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        texts[cell["cell_type"]] += "".join(cell["source"]) + "\n"
    prose, code = texts.values()
    number, _, title = prose.partition("\n")[0].lstrip("# ").partition(" ")
    minutes = len(prose.split()) / 80 + len([line for line in code.splitlines() if line.strip()]) / 8
    return number, re.split("[:,;]| on real", title)[0], 10 if number == "00" else 15 * round(minutes / 15)


# %%
chapters = [chapter(path) for path in sorted(Path().glob("[0-9]*.ipynb"))]
print(f"{'':4} {'':34} after     read     run  exercises")
for number, title, minutes in chapters:
    run, count = f"{RUN_S[number]:3} s" if number in RUN_S else "", len(course.names(f"{number}.")) or ""
    print(f"{number:4} {title:34} {AFTER.get(number, ''):8} {minutes:3} min {run:>6} {count:>6}")
hours, count = sum(minutes for *_, minutes in chapters) / 60, len(course.names())
print(f"about {hours:.0f} hours to read, and {count} exercises of 10 to 45 minutes")

# %%
numbers = [number for number, *_ in chapters]
parents = [[numbers.index(other) for other in AFTER.get(number, "").split() if other in numbers] for number in numbers]
COLOUR = {"00": SKY, "01": SKY, "02": ORANGE, "03": ORANGE, "04": ORANGE, "05": ORANGE}
colours = [COLOUR.get(number[:2], GREEN) for number in numbers]
graph_figure(
    [f"{number} {title}" for number, title, _ in chapters], parents,
    "Which chapter needs which", "Read it from the bottom up: a line leads from a chapter to the one that needs it",
    colours, [f"{minutes} min" for *_, minutes in chapters],
)  # fmt: skip

# %% [markdown]
# **How to read it.** A box is a notebook, with the estimated minutes beside it. Blue chapters are the basis, orange chapters
# build the model part by part, and green chapters use it: gradients, costs, training, looking inside, the second version, the
# GPU. If your time is short: 00, 01, 02, 03, 03b, 04, 05 and then one green chapter of your choice.
#
# ## How exercises work
#
# After a chapter come its exercises: you write a function, and `check` tries it on arrays that are drawn anew each time. It
# says whether the function is right, and if not, which mistake it looks like. Here is a first answer to an exercise of chapter
# 01: how many windows of $k$ cells, $s$ cells apart, fit on an axis of $n$ cells with $p$ more on both sides?


# %%
def grid_size(thw, kernel, stride, padding):
    return tuple((n + 2 * p - k) // s for n, k, s, p in zip(thw, kernel, stride, padding))


print(course.check("01.grid_size", grid_size, seed=0))

# %% [markdown]
# The answer forgets the first window. (`hints=1` to `4` says less or more, and `course.solution` shows one way to write it.)


# %%
def grid_size(thw, kernel, stride, padding):
    return tuple((n + 2 * p - k) // s + 1 for n, k, s, p in zip(thw, kernel, stride, padding))


answer = course.check("01.grid_size", grid_size, seed=0)
print(answer)

# %% [markdown]
# **Your own model.** Some exercises are pieces of a whole MViT. `course.keep` puts a right answer into your file `my_mvit.py`.
# For pieces that you have not written yet, the printed solutions are used, so after each chapter `course.check_model` can
# compare the whole model with the package's `mv.forward`. In the end every line from the pixels to the answer is yours, and you
# train it on the films of this notebook.

# %%
print(f"the {len(course.pieces())} pieces:", ", ".join(course.pieces()))


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


with tempfile.TemporaryDirectory() as folder:  # yours will be notebooks/exercises/my_mvit.py
    print(str(course.keep(Path(folder, "my_mvit.py"), softmax)).replace(f"{folder}/", ""))
    so_far = course.check_model(Path(folder, "my_mvit.py"), seed=0)
print(so_far)

# %% [markdown]
# In a terminal, `mvit-np course start DIR` makes a working copy of all notebooks, `mvit-np course progress DIR` says how far
# you are, `mvit-np course check DIR` grades it, and `mvit-np course train my_mvit.py` trains your model.
#
# ## Questions
#
# **1.** Suppose the channels stay as they are when the number of places falls to a quarter. What would the work of a layer in
# the fourth stage be, compared with the first one? What would it be if the channels grew fourfold?
#
# <details><summary>Answer</summary>
#
# $N D^2$ falls by 4 at each of the three steps: the fourth stage would do a 64th of the work and could not say more about
# each place than the first. With fourfold channels it would grow by $16 / 4 = 4$ at each step, 64-fold in all. Doubling keeps
# it level.
# </details>
#
# **2.** MViT-B starts with 56 x 56 places, ViT-B with 14 x 14. Why not give the ViT 56 x 56 places, too?
#
# <details><summary>Answer</summary>
#
# It would have 16 times the tokens, and so 16 times the work $N D^2$ and $16^2 = 256$ times the comparisons of attention. The
# next cell counts it. An MViT can afford its many early places because each of them has only 96 channels, and because it lets
# them attend to a shortened list: the subject of 04.
# </details>

# %%
fine = mv.costs(replace(vit_b, cube_kernel=(1, 4, 4), cube_stride=(1, 4, 4))).macs
print(f"a ViT-B with 56 x 56 places: {fine / 1e9:,.0f} G multiply-adds, {fine / mv.costs(vit_b).macs:.0f} times those of ViT-B")

# %%
# Stage by stage fewer places and more channels at a level cost; a ViT stays flat; and a small MViT reads the order of frames.
assert len({side**2 * channels**2 for side, channels in by_plan}) == 1
assert len({(block.thw_q, block.dim_attn) for block in blocks["ViT-B"]}) == 1
assert right > 0.9 and answer.passed and so_far.passed and fine > 50 * mv.costs(vit_b).macs
