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
# # 06b A tape of sixty lines
#
# [Notebook 06](06_gradients.ipynb) derived the backward of every op. One part was left to the package: the tape, which "adds up
# all gradients that arrive at an array". Here you write this tape yourself, in plain Python.
#
# **The question:** every op knows its own backward. How does a program combine them, so that the loss of a whole MViT has a
# gradient for each parameter, although nobody writes the backward of the model?
#
# ## What the paper says
#
# A transformer block adds each of its two halves to what came in. Fan et al. write it in two lines (Sec. 3.2). Here they are
# with the pooling $P$ of the skip, which an MViT adds:
#
# $$X_1 = \mathrm{MHPA}(\mathrm{LN}(X)) + P(X), \qquad \mathrm{Block}(X) = \mathrm{MLP}(\mathrm{LN}(X_1)) + X_1 .$$
#
# Read it as a list of steps and look at what is used *twice*: $X$, and $X_1$. Inside the attention, the normed $X$ is used
# three times, for queries, keys and values. So a change of $X$ reaches the loss on many paths, and the chain rule adds them up:
#
# $$\frac{\partial \mathcal L}{\partial X} = \sum_{\text{paths from } X \text{ to } \mathcal L} \;
#   \prod_{\text{steps of the path}} \frac{\partial\, \text{output of the step}}{\partial\, \text{its input}} .$$
#
# Words that are new to you are in the [glossary](../docs/glossary.md), symbols in the [notation](../docs/notation.md).

# %%
# %matplotlib inline
import linecache
import tracemalloc
from types import SimpleNamespace

import autograd
import matplotlib.pyplot as plt
import numpy as np

# %%
import mvit_np as mv
from mvit_np import ops
from mvit_np.autodiff.tape import op
from mvit_np.model.layers import block as package_layers
from mvit_np.visualize import graph_figure
from mvit_np.visualize.style import BLUE, GREEN, GREY, ORANGE, PALE, SKY

rng = np.random.default_rng(0)

# %% [markdown]
# ## A node: a value, and where it came from
#
# The steps form a **graph**. A node of it holds a value; its *parents*, which are the arguments of the op that made it; and
# the op's *backward*. An input, or a parameter, is a node that no op made: a **leaf**.


# %%
class Node:
    """A value on the tape, what it was made of, and the way back."""

    def __init__(self, value, parents=(), backward=None, name=""):
        self.value, self.parents, self.backward, self.name = value, parents, backward, name
        self.shape = getattr(value, "shape", None)

    def pull(self, dy):
        """One gradient for each parent, from the gradient of this value (a list where the value is several)."""
        return self.backward(*dy) if isinstance(dy, list) else self.backward(dy)


# %% [markdown]
# All ops of this package have one form: `ops.NAME.definition(...)` returns the value *and* the function `backward`. So one
# function puts every op on our tape: take the arrays out of the nodes, run the definition, and keep what it returns. Some ops
# return several arrays, such as queries, keys and values. Each of them becomes a separate node, whose parent is the node of the
# whole list. Its backward returns a list in which only its own place is filled.


# %%
def on_tape(fun):
    """The op, but of nodes: it takes nodes (and plain values) and returns a node."""

    def call(*args):
        plain = [x.value if isinstance(x, Node) else x for x in args]
        value, backward = fun.definition(*plain)
        node = Node(value, args, backward, fun.__name__)
        return [part(node, i) for i in range(len(value))] if isinstance(value, tuple) else node

    return call


def part(whole, index):
    """One of the several results of an op."""

    def backward(dy):
        return ([dy if i == index else None for i in range(len(whole.value))],)

    return Node(whole.value[index], (whole,), backward, f"part {index}")


# %% [markdown]
# ## The loop version: all paths, one after the other
#
# Take a chain of the simplest residual layers, $x \leftarrow x + w\,x$. Each of them multiplies $x$ by $1 + w$, so the
# derivative of the last by the first is $(1 + w)^n$ for $n$ layers. The formula above, taken literally, follows every path
# separately.


# %%
@op
def times(x, y):
    def backward(dz):
        return dz * y, dz * x

    return x * y, backward


def by_paths(node, leaf, dy):
    """The sum over all paths from a node down to a leaf; and how many nodes were visited on the way."""
    if node is leaf or not node.backward:
        return (dy if node is leaf else 0.0), 1
    total, visits = 0.0, 1
    for parent, gradient in zip(node.parents, node.pull(dy)):
        if isinstance(parent, Node):
            below, visited = by_paths(parent, leaf, gradient)
            total, visits = total + below, visits + visited
    return total, visits


# %%
tape = SimpleNamespace(times=on_tape(times), add=on_tape(ops.add))


def residual_chain(x, w, layers):
    for _ in range(layers):
        x = tape.add(x, tape.times(w, x))
    return x


x, w = Node(np.array(2.0), name="x"), Node(np.array(0.1), name="w")
for layers in (1, 2, 4, 8, 12):
    slope, visits = by_paths(residual_chain(x, w, layers), x, np.array(1.0))
    print(f"{layers:2} layers: derivative {slope:.6f}, (1 + w)^n = {1.1**layers:.6f}, {visits:6,} visits")
    np.testing.assert_allclose(slope, 1.1**layers)

# %% [markdown]
# The numbers are right, but the number of paths doubles with each layer. Now look at a node where paths meet: from there on
# they all go the same way. The gradients that arrive at the node can be added up first, and their sum can be passed on once:
#
# $$\text{arrived}(n) = \sum_{u \text{ uses } n} \text{backward}_u\big(\text{arrived}(u)\big)\big|_n .$$
#
# This needs two parts: an **order** in which a node comes only after all nodes that use it, and a **sum** where paths meet.
#
# ## The order
#
# Walk down from the loss. Before you write down a node, write down all nodes from which it was computed. In the resulting list
# each node comes after its parents; read backwards, it comes before them. This is a *topological order* of the graph.


# %%
def backward_order(end):
    """All nodes that `end` was made of, and itself; each before its parents."""
    order, seen = [], set()

    def visit(node):
        if isinstance(node, Node) and node not in seen:
            seen.add(node)
            for parent in node.parents:
                visit(parent)
            order.append(node)

    visit(end)
    return order[::-1]


# %%
end = residual_chain(x, w, 2)
print("  ".join(f"{node.name}={node.value:.2f}" for node in backward_order(end)))

# %% [markdown]
# Read it from the left: the last sum, what was added to it, the first sum, and so on. `w` was used by both products, so it
# stands behind both.
#
# ## The sum where paths meet
#
# Now the backward pass is a loop over that order. `total` holds what has arrived at each node so far. When a node's turn comes,
# everything has arrived, because all its users stand before it.


# %%
def both(a, b):
    """The sum of two gradients; None is one that never came, and lists are summed place by place."""
    if a is None or b is None:
        return b if a is None else a
    return [both(*pair) for pair in zip(a, b, strict=True)] if isinstance(a, list) else a + b


def steps(end, dy):
    """The backward pass, node by node: each time (the node, what has arrived everywhere so far)."""
    total = {end: dy}
    for node in backward_order(end):
        if node.backward:
            for parent, gradient in zip(node.parents, node.pull(total[node])):
                if isinstance(parent, Node):
                    total[parent] = both(total.get(parent), gradient)
        yield node, total


# %%
def gradients(end, dy):
    """What arrives at every node when `dy` starts from the end."""
    *_, (_, total) = steps(end, dy)  # all steps; at the last, everything has arrived
    return total


def value_and_grad(fun):
    """A function that returns `fun(params, ...)`, a single number, and its gradient by each parameter."""

    def call(params, *args):
        leaves = mv.tree.map(Node, params)
        end = fun(leaves, *args)
        total = gradients(end, np.ones_like(end.value))
        return end.value, mv.tree.map(lambda leaf: total[leaf], leaves)

    return call


# %%
end = residual_chain(x, w, 12)
total = gradients(end, np.array(1.0))
print(f"12 layers: derivative {total[x]:.6f} in {len(total)} visits")
np.testing.assert_allclose(total[x], by_paths(end, x, np.array(1.0))[0])

CELLS = {fun.__code__.co_filename for fun in (Node.pull, on_tape, backward_order, both, gradients)}
LINES = [line for cell in CELLS for line in linecache.getlines(cell) if line.strip()]
print(f"the whole tape has {len(LINES)} lines of code and docstrings, in {len(CELLS)} cells")

# %% [markdown]
# That is the whole tape. The rest of this page uses it. (It leaves one thing out: a parameter that the loss does not touch
# ends in a `KeyError` here, where the package returns zeros.)
#
# ## An MLP block
#
# We put the ops that a whole model needs on the tape, and write the second half of a block with them.

# %%
NAMES = """add attend cross_entropy cube_conv depthwise_conv first_token gelu join_class layer_norm linear max_pool
    reshape residual split_channels split_class""".split()
tape = SimpleNamespace(**{name: on_tape(getattr(ops, name)) for name in NAMES})


def norm(p, x, eps=1e-6):
    return tape.layer_norm(x, p["g"], p["b"], eps)


def linear(p, x):
    return tape.linear(x, p["w"], p["b"])


def mlp_half(p, x):
    """X + MLP(LN(X)), or LN(X) W + MLP(LN(X)) where the width grows."""
    y = norm(p["norm2"], x)
    skip = linear(p["proj"], y) if "proj" in p else x
    return tape.residual(skip, linear(p["mlp"]["fc2"], tape.gelu(linear(p["mlp"]["fc1"], y))))


# %% [markdown]
# The package's side is written with its own ops and differentiated by `mv.value_and_grad`. Any single number will do as a
# loss; we take the cross-entropy of the first token, as if its channels were classes.


# %%
def package_mlp_loss(p, x, labels):
    fc1, fc2 = p["mlp"]["fc1"], p["mlp"]["fc2"]
    y = ops.layer_norm(x, p["norm2"]["g"], p["norm2"]["b"], 1e-6)
    y = ops.linear(ops.gelu(ops.linear(y, fc1["w"], fc1["b"])), fc2["w"], fc2["b"])
    return ops.cross_entropy(ops.first_token(ops.residual(x, y)), labels)


def off(mine, theirs):
    """The largest difference of two trees of gradients, relative to the largest gradient."""
    pairs = list(zip(mv.tree.leaves(mine), mv.tree.leaves(theirs), strict=True))
    return max(abs(a - b).max() for a, b in pairs) / max(abs(b).max() for _, b in pairs)


def draw_params(shapes):
    """Parameters in float64 of the same tree, large enough that every gradient counts."""
    return mv.tree.map(lambda leaf: 0.5 * rng.standard_normal(leaf.shape) + (leaf == 1), shapes)


# %%
config = mv.MViTConfig(frames=4, size=32, channels=1, num_classes=2, dim=8, depths=(1, 1, 1), stride_kv=(1, 4, 4))
plan, shapes = mv.plan(config), mv.init(config, rng)
print(plan)

# %%
last = draw_params(shapes["blocks"][2])  # the last block neither pools nor widens in its MLP
mlp_params = {name: last[name] for name in ("norm2", "mlp")}
tokens, labels = rng.standard_normal((2, 9, 32)), np.array([3, 1])


def mlp_loss(p, x, labels):
    return tape.cross_entropy(tape.first_token(mlp_half(p, x)), labels)


# %%
DIFFERENCES = {}


def compare(what, mine, theirs):
    """Print by how much two (loss, gradients) differ; the gradients' difference is kept for the end."""
    DIFFERENCES[what] = off(mine[1], theirs[1])
    print(f"{what}: loss {mine[0]:.12f} and {theirs[0]:.12f}, {len(mv.tree.leaves(mine[1]))} gradients differ", end=" ")
    print(f"by {DIFFERENCES[what]:.0e}")


compare("MLP block", value_and_grad(mlp_loss)(mlp_params, tokens, labels),
        mv.value_and_grad(package_mlp_loss)(mlp_params, tokens, labels))  # fmt: skip

# %% [markdown]
# ## A picture of the graph
#
# A smaller MLP block, of one token with three channels and two hidden units, so that every number can be printed.


# %%
def named(params):
    """Leaves with short names: the last two words of their paths."""
    leaves = mv.tree.map(Node, params)
    for path, leaf in mv.tree.paths(leaves):
        leaf.name = " ".join(path.split(".")[-2:])
    return leaves


array = np.array
small = {
    "norm2": {"g": array([1.0, 2.0, 0.5]), "b": array([0.0, 0.5, -0.5])},
    "mlp": {
        "fc1": {"w": array([[0.5, -1.0], [1.0, 0.5], [-0.5, 1.0]]), "b": array([1.0, 0.0])},
        "fc2": {"w": array([[1.0, 0.5, -1.0], [0.5, -1.0, 1.0]]), "b": array([0.0, 0.0, 1.0])},
    },
}
x = Node(np.array([[[1.0, -0.5, 2.0]]]), name="x")
end = mlp_half(named(small), x)


# %%
def picture(end, title, subtitle, keep=lambda node: True, beside=lambda node: "", colour=lambda node: SKY):
    """The graph below `end`: the nodes to `keep`, each with some words beside it and a colour."""
    nodes = [node for node in backward_order(end)[::-1] if keep(node)]
    number = {node: i for i, node in enumerate(nodes)}
    parents = [[number[p] for p in node.parents if isinstance(p, Node) and p in number] for node in nodes]
    labels = [node.name.replace("_", " ") for node in nodes]
    return graph_figure(labels, parents, title, subtitle, [*map(colour, nodes)], [*map(beside, nodes)])


def size(node):
    return " × ".join(map(str, node.shape[1:])) if node.shape and len(node.shape) > 2 else ""


def op_or_leaf(node):
    return SKY if node.backward else PALE


picture(end, "An MLP block: x is used twice", "Grey: leaves. Blue: ops. Beside them: the shape, tokens × channels.",
        beside=size, colour=op_or_leaf)  # fmt: skip

# %% [markdown]
# *How to read it.* From the bottom up, as the values are computed: an arrow leads from what is used to the op that uses it.
# `x` has two arrows, the skip on one side and the norm on the other. Backwards, everything runs against the arrows, and in `x`
# two gradients meet.
#
# ## Backwards, step by step
#
# We send a gradient into the top and let the tape go on one op at a time: run the five cells one after the other. Before you
# run a cell, say what will arrive where. (`residual` can take two more arguments, a mask and a count. They are no nodes.)

# %%
uses = {}
for node in backward_order(end):
    for parent in node.parents:
        if isinstance(parent, Node):
            uses[parent] = uses.get(parent, 0) + 1
walk = steps(end, np.array([[[1.0, -2.0, 0.5]]]))


# %%
def numbers(values):
    """An array in a line: a row for each token or input, with two digits after the point."""
    rows = np.asarray(values).reshape(-1, np.shape(values)[-1])
    return "[" + ", ".join(" ".join(f"{value:.2f}" for value in row) for row in rows) + "]"


# %%
def one_op():
    """Let the tape go on to the next op; print what came to it and what its parents have now."""
    node, total = next(pair for pair in walk if pair[0].backward)
    print(f"{node.name}: {numbers(total[node])} has arrived and is passed on. Now there is:")
    for parent in node.parents:
        if isinstance(parent, Node):
            uses[parent] -= 1
            missing = "  (not yet all: it has another use)" if uses[parent] else ""
            print(f"    at {parent.name:10} {numbers(total[parent])}{missing}")


# %%
one_op()  # y = skip + branch: both get dy as it is

# %%
one_op()  # Y = X W + b: dX = dY W', dW = X' dY, db = dY

# %%
one_op()  # gelu: each number times its own slope

# %%
one_op()  # the first linear layer

# %%
one_op()  # the norm: its two projections; and here x has its second gradient

# %% [markdown]
# The last cell prints for `x` everything that has arrived there: `[1, -2, 0.5]` from the skip plus the gradient that came
# through the norm. The three numbers that came through the norm must sum to zero, because a layer norm does not change when all
# channels are shifted by the same number.

# %%
from_norm = gradients(end, np.array([[[1.0, -2.0, 0.5]]]))[x] - np.array([[[1.0, -2.0, 0.5]]])
print("through the norm:", numbers(from_norm), f"  their sum: {abs(from_norm.sum()):.0e}")
assert abs(from_norm.sum()) < 1e-12


# %% [markdown]
# The same in a picture, once in the middle of the pass and once at its end.


# %%
def after(count, title):
    """The graph after so many ops have passed on what came to them."""
    done = set()
    for node, arrived in steps(end, np.array([[[1.0, -2.0, 0.5]]])):
        done, total = done | {node}, arrived
        if sum(bool(node.backward) for node in done) == count:
            break

    def state(node):
        return GREEN if node in done or (count == 5 and node in total) else ORANGE if node in total else "white"

    def words(node):
        return "" if node.value.ndim == 2 else (numbers(total[node]) if node in total else "").ljust(18)

    legend = "Green: everything has arrived and is passed on. Orange: something has arrived. No colour: nothing yet."
    return picture(end, title, legend, beside=words, colour=state)


after(2, "After two ops: x has a gradient, but not yet all of it")

# %%
after(5, "After five ops: two gradients have met in x")

# %% [markdown]
# *How to read it.* From the top down. Beside each node you see the gradient that has arrived so far (there is no room for the
# two matrices). In the first picture `x` is orange: so far its gradient is only the part of the skip. The order makes sure that
# this is no problem: `x` comes after the norm, so its gradient is not used before the second part has arrived.
#
# ## A whole MViT block
#
# The attention uses the normed tokens three times and pools each of the three on its own grid, and no pool changes the class
# token. With [04](04_pooling_attention.ipynb) and [05](05_blocks_and_stages.ipynb) you can write it down directly.


# %%
def pooled(x, spec, w=None):
    """The class token, and the pooled grid: a convolution with filters `w`, or the maximum."""
    cls, rest = tape.split_class(x)
    cls.name, rest.name = "class", "grid"  # for the picture
    grid = tape.reshape(rest, (x.shape[0], *spec.thw_in, *x.shape[2:]))
    if w is None:
        grid = tape.max_pool(grid, spec.kernel, spec.stride, spec.padding)
    else:
        grid = tape.depthwise_conv(grid, w, spec.stride, spec.padding)
    return tape.join_class(cls, tape.reshape(grid, (x.shape[0], -1, *x.shape[2:])))


# %%
def attention(p, x, spec):
    q_k_v = []
    pools = spec.pool_q, spec.pool_kv, spec.pool_kv
    for name, pool, y in zip("qkv", pools, tape.split_channels(linear(p["qkv"], x), 3), strict=True):
        y.name = name  # for the picture
        y = tape.reshape(y, (*y.shape[:2], spec.heads, spec.head_dim))
        if pool:
            y = norm(p[f"norm_{name}"], pooled(y, pool, p[f"pool_{name}"]["w"]))
        q_k_v.append(y)
    z = tape.attend(*q_k_v, spec.head_dim**-0.5)
    return linear(p["proj"], tape.reshape(z, (*z.shape[:2], spec.dim_attn)))


def block(p, x, spec):
    y = attention(p["attn"], norm(p["norm1"], x), spec)
    skip = pooled(x, spec.pool_skip) if spec.pool_skip else x
    return mlp_half(p, tape.residual(skip, y))


# %% [markdown]
# Our test is the second block of the small model above. It does everything that a block can do: it pools queries, keys, values
# and the skip, and it widens its channels at the end. The other side is the package's own `block`.

# %%
spec = plan.blocks[1]
block_params = draw_params(shapes["blocks"][1])
tokens = rng.standard_normal((2, spec.tokens_in, spec.dim_in))


def block_loss(p, x, labels):
    return tape.cross_entropy(tape.first_token(block(p, x, spec)), labels)


def package_block_loss(p, x, labels):
    return ops.cross_entropy(ops.first_token(package_layers.block(p, x, spec)), labels)


compare("MViT block", value_and_grad(block_loss)(block_params, tokens, labels),
        mv.value_and_grad(package_block_loss)(block_params, tokens, labels))  # fmt: skip

# %%
x = Node(tokens, name="x")
end = block(named(block_params), x, spec)
COLOURS = {"depthwise_conv": ORANGE, "max_pool": ORANGE, "attend": GREEN, "linear": SKY, "gelu": SKY}


def size_of_most(node):
    return "" if node.name in (*"qkv", "class", "grid", "reshape") else size(node)


picture(end, "A whole MViT block on the tape", "Orange: pools. Green: attention. Blue: the linear layers and the GELU.",
        keep=lambda node: node.backward or node is x, beside=size_of_most,
        colour=lambda node: COLOURS.get(node.name, PALE))  # fmt: skip

# %% [markdown]
# *How to read it.* Read it from the bottom up; the parameters are left out. On the left is the pooled skip. In the middle are
# queries, keys and values, each with its own pool and norm; the class token is not pooled. At the top is the MLP, whose skip is
# a linear layer on the normed tokens, because the channels double here.
#
# On how many paths does the loss reach `x`? We count them with the same loop: one path arrives at the end, and each node passes
# the paths that arrived at it on to all its parents.


# %%
def count_paths(end, leaf):
    """The number of paths between two nodes, counted like gradients with all slopes 1."""
    paths = {end: 1}
    for node in backward_order(end):
        for parent in node.parents:
            if isinstance(parent, Node):
                paths[parent] = paths.get(parent, 0) + paths[node]
    return paths[leaf]


print(f"this block: {count_paths(end, x)} paths from its end to x, over {len(backward_order(end))} nodes")

# %% [markdown]
# ## A whole model
#
# With two more layers, the embedding and the head, the loss of a batch of clips is one function on the tape.


# %%
def embed(p, clip, spec):
    cube, (t, height, width), d = p["patch_embed"], spec.thw, spec.dim
    x = tape.cube_conv(clip, cube["w"], cube["b"], spec.stride, spec.padding)
    places = tape.add(p["pos_embed_spatial"], tape.reshape(p["pos_embed_temporal"], (t, 1, d)))
    x = tape.add(tape.reshape(x, (x.shape[0], t, height * width, d)), places)
    cls = tape.add(p["cls_token"], p["pos_embed_class"])
    return tape.join_class(cls, tape.reshape(x, (x.shape[0], t * height * width, d)))


def model(p, clip, plan):
    x = embed(p, clip, plan.embed)
    for block_params, spec in zip(p["blocks"], plan.blocks, strict=True):
        x = block(block_params, x, spec)
    return linear(p["head"], norm(p["norm"], tape.first_token(x)))


def model_loss(p, clip, labels, plan):
    return tape.cross_entropy(model(p, clip, plan), labels)


# %%
def package_loss(p, clip, labels, config):
    return ops.cross_entropy(mv.forward(p, clip, config), labels)


params = draw_params(shapes)
clip, labels = rng.standard_normal((3, *config.thw, 1)), np.array([0, 1, 1])
compare("whole model", value_and_grad(model_loss)(params, clip, labels, plan),
        mv.value_and_grad(package_loss)(params, clip, labels, config))  # fmt: skip

# %% [markdown]
# Now count the paths in a model as deep as MViT-B, with 16 blocks (its channels are few here; the graph does not depend on
# them).

# %%
deep = mv.MViTConfig(frames=4, size=64, channels=1, num_classes=2, dim=4, depths=(1, 2, 11, 2))
x = Node(rng.standard_normal((1, *deep.thw, 1)))
leaves = mv.tree.map(Node, draw_params(mv.init(deep, rng)))
end = model_loss(leaves, x, np.array([1]), mv.plan(deep))
PATHS, NODES = count_paths(end, x), len(backward_order(end))
print(f"16 blocks: {PATHS:.1e} paths from the loss to the clip, over {NODES:,} nodes")

# %% [markdown]
# No program could follow these paths one by one. The tape visits every node once, and its result is the sum over all of them.
#
# ## Train on it
#
# Does the model train with this tape? The task needs only three lines of code: a bright bar moves, and the model says in which
# direction. Single frames do not tell.


# %%
def moving_bars(count, rng):
    """Clips of a bar that moves to the left (0) or to the right (1).   -> (count, 4, 32, 32, 1), (count,)"""
    labels = rng.integers(0, 2, count)
    clips = 0.3 * rng.standard_normal((count, *config.thw, 1))
    for clip, label, start in zip(clips, labels, rng.integers(8, 22, count), strict=True):
        for t, frame in enumerate(clip):
            column = start + (2 * label - 1) * 2 * t
            frame[:, column : column + 3] += 2
    return clips, labels


# %%
def train(gradients_of, params, steps, rng, lr=3e-3):
    """The losses of some steps of Adam, and the parameters after them."""
    leaves, rebuild = mv.tree.flatten(params)
    means, squares, losses = [0.0] * len(leaves), [0.0] * len(leaves), []
    for step in range(1, steps + 1):
        loss, gradients = gradients_of(rebuild(leaves), *moving_bars(16, rng))
        losses.append(float(loss))
        for i, gradient in enumerate(mv.tree.leaves(gradients)):
            means[i] = 0.9 * means[i] + 0.1 * gradient
            squares[i] = 0.99 * squares[i] + 0.01 * gradient**2
            mean, square = means[i] / (1 - 0.9**step), squares[i] / (1 - 0.99**step)
            leaves[i] = leaves[i] - lr * mean / (np.sqrt(square) + 1e-8)
    return losses, rebuild(leaves)


# %%
STEPS = 60
fresh = mv.tree.map(np.float64, mv.init(config, np.random.default_rng(1)))
mine, theirs = value_and_grad(model_loss), mv.value_and_grad(package_loss)
on_mine, trained = train(lambda p, *batch: mine(p, *batch, plan), fresh, STEPS, np.random.default_rng(2))
on_theirs, _ = train(lambda p, *batch: theirs(p, *batch, config), fresh, STEPS, np.random.default_rng(2))
clips, labels = moving_bars(200, np.random.default_rng(3))
RIGHT = (mv.predict(trained, clips, config).argmax(axis=1) == labels).mean()
print(f"loss {np.mean(on_mine[:5]):.3f} at first, {np.mean(on_mine[-5:]):.3f} at last; {RIGHT:.0%} of new clips right")
print(f"the two tapes' losses differ by at most {np.abs(np.subtract(on_mine, on_theirs)).max():.0e}")

# %%
figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
axes.plot(range(1, STEPS + 1), on_theirs, color=PALE, lw=6, label="mv.value_and_grad")
axes.plot(range(1, STEPS + 1), on_mine, color=BLUE, lw=1.5, label="the tape of this page")
axes.axhline(np.log(2), color=GREY, ls="--", lw=1)
axes.text(STEPS, np.log(2) * 1.03, "guessing", color=GREY, ha="right", va="bottom")
axes.set(xlabel="step", ylabel="cross-entropy of the batch", ylim=(0, None))
axes.spines[["top", "right"]].set_visible(False)
axes.set_title("The model learns on your tape, step by step as on the package's", loc="left", weight="bold")
axes.legend(frameon=False, loc="lower left")
plt.show()

# %% [markdown]
# *How to read it.* The thin line lies on the wide one: the same gradients make the same steps. The trained parameters are plain
# dicts of arrays, so the package's `mv.predict` can use them.
#
# ## What autograd does differently
#
# The package's `value_and_grad` stands on [autograd](https://github.com/HIPS/autograd). The idea is the same as on this page, but
# five things are done in another way.
#
# **1. Boxes.** We wrote the model a second time, with `tape.linear` in place of `ops.linear`. autograd wraps the arrays
# instead: an array that is to be differentiated comes as an `ArrayBox`, which remembers its node. An op looks whether one of
# its arguments is a box. So the *same* function computes values from arrays and gradients from boxes.


# %%
def looked_at(x):
    y = ops.gelu(x)
    print("came:", type(x).__name__, "  result of ops.gelu:", type(y).__name__)
    return ops.cross_entropy(y, np.array([0]))


looked_at(np.ones((1, 2)))
_ = mv.value_and_grad(looked_at)(np.ones((1, 2)))

# %% [markdown]
# **2. Primitives.** autograd knows the derivatives of NumPy's functions one by one (`np.exp`, `+`, `@`), its *primitives*, and
# boxes stand for arrays in all of them. A layer norm is then about ten nodes. Our ops are larger: `op` makes the whole norm one
# node with a backward derived on paper. Fewer nodes, and fewer arrays kept.
#
# **3. No list of steps is kept.** There is no tape object in autograd: a node knows its parents and its backward, and Python
# frees what nothing points to. Our `Node` also holds its *value*, although most backwards do not need it (the sum of a residual
# needs nothing). And `steps` keeps every node and every gradient to the end, where the package forgets a node's backward as
# soon as it has been used. The price is memory:


# %%
def peak_mb(fun, *args):
    """The most that Python's arrays took at one time, in MB."""
    tracemalloc.start()
    fun(*args)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


batch = moving_bars(32, np.random.default_rng(4))
with mv.plain_ops():  # the same definitions on both sides
    PEAKS = peak_mb(mine, fresh, *batch, plan), peak_mb(theirs, fresh, *batch, config)
print("peak memory of one step: {:.0f} MB on this tape, {:.0f} MB on the package's".format(*PEAKS))

# %% [markdown]
# **4. Laziness.** Our tape asks each op for all its gradients and throws away those that belong to no node. In training the
# clip is not a node, but `cube_conv` computes its gradient anyway. autograd registers one function for each argument and calls
# only those that lead to a node. In this package a backward may return a *function* instead of a gradient, and the tape calls
# it only if the result is needed:


# %%
@op
def chatty_product(x, w):
    def asked_for(name, gradient):
        print(f"    somebody asked for {name}")
        return gradient

    def backward(dy):
        return lambda: asked_for("dx", dy * w), lambda: asked_for("dw", dy * x)

    return (x * w).sum(), backward


for argnums in (0, 1, (0, 1)):
    print("differentiated by", argnums)
    mv.value_and_grad(chatty_product, argnums)(np.ones(2), np.ones(2))

# %% [markdown]
# **5. Derivatives of derivatives.** autograd's backwards are themselves made of primitives. So the backward pass leaves nodes
# too, and can be differentiated again. Ours are plain array code and leave no nodes, so they cannot be differentiated again. If
# you try it, the package says so.

# %%
second = autograd.grad(autograd.grad(autograd.numpy.sin))
print(f"autograd: the second derivative of the sine at 1 is {second(1.0):.6f}, and -sin(1) is {-np.sin(1):.6f}")


def loss_of(x):
    return ops.cross_entropy(ops.gelu(x), np.array([0]))


try:
    mv.value_and_grad(lambda x: mv.value_and_grad(loss_of)(x)[0])(np.ones((1, 2)))
except TypeError as problem:
    print("mvit_np: ", problem)

# %% [markdown]
# ## Break it
#
# A tape can be wrong while every op is right. To catch that, make a function on our tape *one op of the package*: forward it
# computes the end of the graph, backward it runs our loop. Then `mv.gradcheck` compares the loop with finite differences. The
# function has a value `hidden` that is used three times.


# %%
def three_uses(x, w1, b1, w2, b2):
    hidden = tape.linear(x, w1, b1)
    return tape.add(tape.gelu(hidden), tape.add(hidden, tape.linear(hidden, w2, b2)))


# %%
def as_op(build, gradients):
    """A function on the tape as one op, whose backward is the loop `gradients`."""

    @op
    def call(*arrays):
        leaves = [Node(x) for x in arrays]
        end = build(*leaves)

        def backward(dy):
            total = gradients(end, dy.copy())
            return tuple(total[leaf] for leaf in leaves)

        return end.value, backward

    return call


# %%
arrays = [rng.standard_normal(n) for n in [(4, 3), (3, 3), 3, (3, 3), 3]]
print(mv.gradcheck(as_op(three_uses, gradients), *arrays, name="the tape of this page"))

# %% [markdown]
# Here are three tapes that look nearly the same. The first does not add. The second goes on from a node as soon as something
# has arrived there (breadth first). The third adds in place, which saves an array.


# %%
def passed_on(node, total):
    """(parent, gradient) pairs of a node."""
    pairs = zip(node.parents, node.pull(total[node])) if node.backward else ()
    return [(parent, gradient) for parent, gradient in pairs if isinstance(parent, Node)]


def without_sum(end, dy):
    total = {end: dy}
    for node in backward_order(end):
        for parent, gradient in passed_on(node, total):
            total[parent] = gradient
    return total


# %%
def breadth_first(end, dy):
    total, queue = {end: dy}, [end]
    for node in queue:
        for parent, gradient in passed_on(node, total):
            queue += [] if parent in total else [parent]
            total[parent] = both(total.get(parent), gradient)
    return total


# %%
def in_place(end, dy):
    total = {end: dy}
    for node in backward_order(end):
        for parent, gradient in passed_on(node, total):
            if parent in total:
                total[parent] += gradient
            else:
                total[parent] = gradient
    return total


# %% [markdown]
# The third mistake is the hardest to see. `ops.add` passes the *same* array `dy` to both its parents, which is right as long as
# nobody writes into it. The sum in place changes the gradient of one parent, and so it changes the gradient of the other too.
#
# Two more mistakes are possible with a right tape. They write into a value after the tape has recorded it: the definitions
# close over their inputs, so the backward uses the changed value.


# %%
def written_before_use(x, w1, b1, w2, b2):
    hidden = tape.linear(x, w1, b1)
    hidden.value *= 0.5  # nobody tells the tape about the factor
    return tape.add(hidden, tape.linear(tape.gelu(hidden), w2, b2))


def written_after_use(x, w1, b1, w2, b2):
    hidden = tape.linear(x, w1, b1)
    y = tape.linear(tape.gelu(hidden), w2, b2)
    hidden.value[...] = 0  # "no longer needed", to save memory
    return y


# %%
BROKEN = {
    "overwrites instead of adding": (three_uses, without_sum),
    "does not wait for all that arrives": (three_uses, breadth_first),
    "adds in place": (three_uses, in_place),
    "a value written before its use": (written_before_use, gradients),
    "a value written after its use": (written_after_use, gradients),
}
CAUGHT = {}
for mistake, (build, loop) in BROKEN.items():
    report = mv.gradcheck(as_op(build, loop), *arrays, name=mistake, check=False)
    wrong = [line.split()[0] for line in str(report).splitlines() if "<-- wrong" in line]
    CAUGHT[mistake] = report.worst.error
    print(f"{mistake:35} passed: {report.passed}, worst error {report.worst.error:.0e}, wrong: {', '.join(wrong)}")
    assert not report.passed
    assert mv.gradcheck(as_op(three_uses, gradients), *arrays).passed

# %% [markdown]
# In all five the *value* is right, so no error is raised, and a model would train, but worse. For this reason an op of the
# package never writes into its inputs or its cotangent, and `mv.gradcheck` refuses one that does.
#
# ## Questions
#
# **1.** `backward_order` calls itself. What happens in a network of 10,000 layers, and what would you do about it?
#
# <details><summary>Answer</summary>
#
# Python stops at a depth of about 1,000 calls with a `RecursionError`. Keep your own list of the nodes that are still to be
# visited. autograd counts the users of each node, and puts a node on a list as soon as all its users have been visited. This
# needs no recursion and gives an order like ours.
#
# </details>
#
# **2.** `tape.add(x, x)` is one op with the same node twice among its parents. Does `steps` get its gradient right? Would a
# version get it right that first collects an op's gradients as `dict(zip(node.parents, gradients))`, and then adds these?
#
# <details><summary>Answer</summary>
#
# `steps` gets it right: the loop meets the parent twice and adds twice, so that the derivative is 2. A dict has room for only
# one gradient per parent, and the second would overwrite the first. This is the mistake of `without_sum` inside one op.
#
# </details>
#
# **3.** What would your tape need so that it could differentiate its own backward pass?
#
# <details><summary>Answer</summary>
#
# The backwards would have to be made of ops on the tape, in place of plain array code: `tape.times(dy, y)` and not `dy * y`.
# Then the gradients would be nodes, `both` would be `tape.add`, and the gradient of a gradient would be one more walk. It costs
# memory: every backward leaves a graph of its own, and keeps its arrays.
#
# </details>
#
# **Now you.** The last of the [exercises to 06](exercises/06_gradients.ipynb) asks for the loop of this page, from its
# description alone. `exercises.check` says whether yours is right, and which mistake it looks like. Then
# [your own model](exercises/06c_backward.ipynb) trains on your own tape, with backward passes that you have written.

# %%
# Three graphs, from half a block to a whole model: all gradients are those of mv.value_and_grad. And it trains.
assert set(DIFFERENCES) == {"MLP block", "MViT block", "whole model"} and max(DIFFERENCES.values()) < 1e-12
assert np.mean(on_mine[-5:]) < 0.5 * np.mean(on_mine[:5]) and RIGHT > 0.9
assert np.abs(np.subtract(on_mine, on_theirs)).max() < 1e-6
assert len(LINES) < 65 and PEAKS[0] > PEAKS[1] and PATHS > 1e12 > NODES and min(CAUGHT.values()) > 1e-4
print("\n".join(f"{what}: gradients differ by {value:.0e}" for what, value in DIFFERENCES.items()))
