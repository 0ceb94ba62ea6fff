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
# # 03b A transformer block: MLP, GELU, skips, norms, heads, and the answer
#
# **The question.** In [03](03_attention.ipynb) tokens exchanged what they know. Attention is only one half of a transformer
# block, and a model is more than its blocks. What do the other parts do (the MLP, the skip connection, the norm, the head that
# gives the answer), and what happens without them?
#
# This notebook opens each part in plain loops, measures what it is good for, and puts the parts together to a whole model. At
# the end you train a small one on a scene with known motion, and see that its attention heads do different things. There is
# no pooling yet: [04](04_pooling_attention.ipynb) adds it.
#
# Words that are new to you are in the [glossary](../docs/glossary.md), symbols in the [notation](../docs/notation.md).

# %%
# %matplotlib inline
import math
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

# %%
import mvit_np as mv
from mvit_np import ops
from mvit_np.autodiff.tape import untraced, vjp
from mvit_np.model import inspection
from mvit_np.model.layers.attention import attention
from mvit_np.model.layers.block import block
from mvit_np.model.layers.embedding import embed
from mvit_np.model.layers.head import head
from mvit_np.model.layers.mlp import mlp
from mvit_np.train import adamw, adamw_state, clip_by_norm, warmup_cosine
from mvit_np.visualize.style import BLUE, GREEN, GREY, INK, ORANGE, SKY, VERMILLION

rng = np.random.default_rng(0)
plt.rcParams.update({"figure.dpi": 100, "font.size": 11, "axes.spines.top": False, "axes.spines.right": False})

# %% [markdown]
# ## What the paper says
#
# > "Considering X to be the input of the block, the output of a single transformer block, Block(X) is computed by [...]"
# >
# > Fan et al., Sec. 3.2
#
# $$X_1 = X + \mathrm{MHA}(\mathrm{LN}(X)), \qquad \mathrm{Block}(X) = X_1 + \mathrm{MLP}(\mathrm{LN}(X_1))$$
#
# This is the block of a plain Vision Transformer (ViT), from which the paper starts. MHA is multi head attention, the subject
# of 03. LN is layer norm. An MLP (multi layer perceptron) is two linear layers with a nonlinear function between them:
#
# $$\mathrm{MLP}(X) = \mathrm{gelu}(X W_1 + b_1)\, W_2 + b_2 .$$
#
# The hidden layer, between the two, is by default four times as wide as a token: $W_1$ is $D \times 4D$ and $W_2$ is $4D
# \times D$. The "$X +$" is the **skip connection** (or residual connection): a part does not replace what it gets, it adds to
# it. We open one part after the other.

# %% [markdown]
# ## The MLP in loops
#
# Take the hidden layer unit by unit. Column $j$ of $W_1$ is a pattern. The unit multiplies the token with its pattern, and
# GELU turns the sum into an answer: strong where the pattern is there, nearly 0 where it is not. Row $j$ of $W_2$ is what the
# unit then adds to the token. The loops visit tokens and units, and no token sees another.


# %%
def gelu_loop(u):
    """u times the share of a normal distribution that lies below u."""
    return u * 0.5 * (1 + math.erf(u / math.sqrt(2)))


def mlp_loop(tokens, w1, b1, w2, b2):
    """tokens: N lists of D numbers   w1: (D, hidden)   w2: (hidden, D)   ->   N lists of D numbers"""
    width, hidden, result = len(w2[0]), len(b1), []
    for token in tokens:
        out = list(b2)
        for j in range(hidden):
            found = b1[j] + sum(token[c] * w1[c][j] for c in range(len(token)))  # is pattern j there?
            answer = gelu_loop(found)
            for c in range(width):
                out[c] += answer * w2[j][c]
        result.append(out)
    return result


# %%
N, D, HIDDEN = 5, 6, 24
x = rng.standard_normal((N, D))
w1, w2 = rng.standard_normal((D, HIDDEN)), rng.standard_normal((HIDDEN, D))
b1, b2 = rng.standard_normal(HIDDEN), rng.standard_normal(D)

by_loops = mlp_loop(x.tolist(), w1.tolist(), b1.tolist(), w2.tolist(), b2.tolist())
by_ops = ops.linear(ops.gelu(ops.linear(x, w1, b1)), w2, b2)
by_package = ops.mlp(x, w1, b1, w2, b2)
np.testing.assert_allclose(by_ops, by_loops, rtol=1e-12, atol=1e-12)
np.testing.assert_allclose(by_package, by_loops, rtol=1e-12, atol=1e-12)
print(f"{N} tokens of {D} channels, {HIDDEN} hidden units: loops and ops.mlp differ by", end=" ")
print(f"{np.abs(by_package - by_loops).max():.0e} at most")

alone = ops.mlp(x[2:3], w1, b1, w2, b2)
np.testing.assert_allclose(alone[0], by_package[2], atol=1e-12)
print("token 2 comes out the same without the other four")

# %% [markdown]
# So the two halves of a block share the work. Attention moves information *between* tokens and mixes them by weighted means.
# The MLP computes something new *inside* each token.
#
# **Why a nonlinear function?** Without one, two linear layers in a row are a single linear layer, however wide the middle is:

# %%
no_gelu = (x @ w1 + b1) @ w2 + b2
one_layer = x @ (w1 @ w2) + (b1 @ w2 + b2)
np.testing.assert_allclose(one_layer, no_gelu, rtol=1e-12, atol=1e-11)
print(f"{w1.size + w2.size} weights without GELU do what {(w1 @ w2).size} weights do")

# %% [markdown]
# ## GELU beside ReLU
#
# The ReLU of the ConvNets lets positive numbers through and makes zeros of the others. GELU does nearly that, but smoothly. It
# multiplies $u$ by $\Phi(u)$, the probability that a standard normal variable lies below $u$. The product rule gives its slope:
#
# $$\mathrm{gelu}(u) = u\, \Phi(u), \qquad \mathrm{gelu}'(u) = \Phi(u) + u\, \varphi(u), \qquad
# \varphi(u) = \frac{e^{-u^2/2}}{\sqrt{2\pi}} .$$


# %%
def gelu_slope_loop(u):
    below = 0.5 * (1 + math.erf(u / math.sqrt(2)))
    density = math.exp(-u * u / 2) / math.sqrt(2 * math.pi)
    return below + u * density


u = np.linspace(-4, 4, 801)
value, pull = vjp(ops.gelu, [u])  # the value, and the function that takes a derivative back through it (06)
(slope,) = pull(np.ones_like(u))
np.testing.assert_allclose(value, [gelu_loop(each) for each in u], atol=1e-12)
np.testing.assert_allclose(slope, [gelu_slope_loop(each) for each in u], atol=1e-12)
h = 1e-5
moved = (ops.gelu(u + h) - ops.gelu(u - h)) / (2 * h)
np.testing.assert_allclose(slope, moved, atol=1e-9)
print(f"value and slope agree with the loops; the slope agrees with a finite difference to {np.abs(slope - moved).max():.0e}")
print(f"GELU is lowest at {u[value.argmin()]:.2f}, where it is {value.min():.2f}; its steepest slope is {slope.max():.2f}")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
for ax, curve, corner in ((left, value, np.maximum(u, 0)), (right, slope, np.where(u > 0, 1.0, 0.0))):
    ax.axhline(0, color=GREY, linewidth=0.8)
    ax.plot(u, corner, "--", color=ORANGE, linewidth=2, label="ReLU")
    ax.plot(u, curve, color=BLUE, linewidth=2.5, label="GELU")
    ax.set(xlabel="u, what a hidden unit found", xlim=(-4, 4))
left.set(ylabel="answer", ylim=(-0.6, 4), title="The answer")
right.set(ylabel="slope", title="Its slope, which gradients are multiplied by")
left.legend(frameon=False)
_ = figure.suptitle("GELU is a smooth ReLU whose slope is nowhere cut to zero at once", fontsize=13, weight="bold")

# %% [markdown]
# **How to read it.** Left the functions, right their derivatives. Both let large numbers through and keep small ones out.
# A gradient that goes backwards through a unit is multiplied by the slope. ReLU's slope is exactly 0 for every negative
# number, and a unit that is negative for all tokens gets no gradient and can no longer learn. GELU's slope fades slowly.
# It is even slightly negative on the left, and slightly above 1 on the right.

# %%
found = rng.standard_normal(100_000)  # what units find, if it is distributed normally
(gelu_slopes,) = vjp(ops.gelu, [found])[1](np.ones_like(found))
print(f"of normal numbers, ReLU stops the gradient of {np.mean(found < 0):.0%}", end="; ")
print(f"GELU has a slope between -0.01 and 0.01 for {np.mean(np.abs(gelu_slopes) < 0.01):.1%}")

# %% [markdown]
# ## Why four times as wide?
#
# First what it costs. For $N$ tokens of $D$ channels, the four projections of attention take $4 N D^2$ multiply-adds. The
# MLP with a hidden layer of $r D$ units takes
#
# $$N \cdot D \cdot rD + N \cdot rD \cdot D = 2 r N D^2 ,$$
#
# which is $8 N D^2$ for $r = 4$: twice as much as all the projections. `mv.costs` counts a whole model from its config. The
# field `mlp_ratio` is $r$, and the MLP's share grows in proportion to it, so the step from 4 to 5 tells what $r = 1$ costs.

# %%
mvit_b = mv.preset("mvit_b_16x4")


def macs(ratio):
    return mv.costs(replace(mvit_b, mlp_ratio=ratio)).macs


whole, mlp_macs = macs(4), 4 * (macs(5) - macs(4))
counted = sum(s.tokens_q * (s.dim_attn * s.dim_mlp + s.dim_mlp * s.dim_out) for s in mv.plan(mvit_b).blocks)
assert mlp_macs == counted
for ratio in (1, 2, 4, 8):
    costs = mv.costs(replace(mvit_b, mlp_ratio=ratio))
    share = ratio / 4 * mlp_macs / costs.macs
    print(f"r = {ratio}: MViT-B takes {costs.macs / 1e9:5.1f} G, MLPs {share:.0%} of it; {costs.params / 1e6:.1f} M parameters")

# %%
skips = sum(s.tokens_q * s.dim_attn * s.dim_out for s in mv.plan(mvit_b).blocks if s.dim_out != s.dim_attn)
in_blocks = sum(line.macs for line in mv.costs(mvit_b).lines[1:-1])
print(f"two layers of all MLPs: {mlp_macs / 1e9:.1f} G of {whole / 1e9:.1f} G, {mlp_macs / whole:.0%}")
print(f"with the three skips that widen (05): {(mlp_macs + skips) / whole:.0%} of the model,", end=" ")
print(f"{(mlp_macs + skips) / in_blocks:.0%} of its blocks")

# %% [markdown]
# So about half of MViT-B's multiply-adds are in the MLPs. They are the largest part, although attention has the name.
#
# And what does the width buy? More units, which means more patterns. Here is a test without any training of $W_1$: patterns are
# drawn at random, and the best $W_2$ and $b_2$ follow from least squares. The task is a function of each token that no linear
# layer can do: 16 ReLUs of random mixtures of its 16 channels. We see how much of the results' variance comes out right on
# tokens that were not used for the fit.

# %%
D, RATIOS = 16, (0.5, 1, 2, 4, 8, 16)
mixture = rng.standard_normal((D, D)) / D**0.5
learned, unseen = rng.standard_normal((2, 4000, D))


def explained(ratio):
    """The share of variance on unseen tokens, for a hidden layer of ratio x D random units."""
    patterns, shift = rng.standard_normal((D, int(ratio * D))) / D**0.5, rng.standard_normal(int(ratio * D))
    hidden = [np.c_[ops.gelu(each @ patterns + shift), np.ones(len(each))] for each in (learned, unseen)]
    wanted = [np.maximum(each @ mixture, 0) for each in (learned, unseen)]
    best = np.linalg.lstsq(hidden[0], wanted[0], rcond=None)[0]
    left_over = ((hidden[1] @ best - wanted[1]) ** 2).sum()
    return 1 - left_over / ((wanted[1] - wanted[1].mean(axis=0)) ** 2).sum()


shares = [np.mean([explained(ratio) for _ in range(3)]) for ratio in RATIOS]
for ratio, share in zip(RATIOS, shares):
    print(f"hidden layer of {ratio:>4} D: {share:.0%} explained, {2 * ratio * D * D:,.0f} weights")

# %% [markdown]
# Each doubling of the hidden layer doubles the cost and buys less than the doubling before it, from $2D$ on. But nothing
# special happens at 4. **No formula leads to the number.** The first transformer (Vaswani et al. 2017) took a width of 512 and
# a hidden layer of 2048, ViT kept the ratio, and MViT keeps it ("By default, the hidden dimension of the MLP is 4D"). It is a
# compromise that has proved good, and the reason why it may differ is `mlp_ratio`.
#
# ## Layer norm in loops
#
# Before each half of the block every token is normed over its channels: mean 0 and variance 1. A learned gain $g$ and shift $b$
# follow, one number per channel. A small $\epsilon$ keeps a constant token from dividing by zero.
#
# $$\mathrm{LN}(x)_c = g_c\, \frac{x_c - \mathrm{mean}(x)}{\sqrt{\mathrm{var}(x) + \epsilon}} + b_c$$


# %%
def layer_norm_loop(token, g, b, eps):
    mean = sum(token) / len(token)
    variance = sum((value - mean) ** 2 for value in token) / len(token)
    return [g[c] * (token[c] - mean) / math.sqrt(variance + eps) + b[c] for c in range(len(token))]


x, g, b = rng.standard_normal((5, D)), rng.standard_normal(D), rng.standard_normal(D)
by_loops = [layer_norm_loop(token, g, b, 1e-6) for token in x.tolist()]
by_package = ops.layer_norm(x, g, b, 1e-6)
np.testing.assert_allclose(by_package, by_loops, rtol=1e-12, atol=1e-12)
print(f"loops and ops.layer_norm differ by {np.abs(by_package - by_loops).max():.0e} at most")

larger = ops.layer_norm(100 * x, g, b, 1e-6)
print(f"tokens that are 100 times as large come out {np.abs(larger - by_package).max():.0e} away from the same")

# %% [markdown]
# A norm makes a branch independent of how large its input has become. That will matter in a moment.
#
# ## The block
#
# All parts together. `spec` holds the sizes of a block, which the plan decided. The parameters are drawn by the package.

# %%
DEPTH = 16
vit = replace(mv.preset("vit_b_8f"), frames=4, size=64, dim=96, heads=4, depths=(DEPTH,))
specs = mv.plan(vit).blocks
params = mv.tree.map(np.float64, mv.init(vit, rng))


def norm(p, x):
    return ops.layer_norm(x, p["g"], p["b"], vit.eps)


def block_in_two_lines(p, x, spec):
    x = x + attention(p["attn"], norm(p["norm1"], x), spec)
    return x + mlp(p["mlp"], norm(p["norm2"], x))


# %%
N, D = specs[0].tokens_in, specs[0].dim_in
x = rng.standard_normal((2, N, D))
by_hand, by_package = block_in_two_lines(params["blocks"][0], x, specs[0]), block(params["blocks"][0], x, specs[0])
np.testing.assert_allclose(by_hand, by_package, atol=1e-12)
print(f"{x.shape} -> {by_hand.shape}; layers.block differs by {np.abs(by_hand - by_package).max():.0e} at most")

# %% [markdown]
# ## What the skip and the norm are for: sixteen blocks without them
#
# The chain rule multiplies. Without skips, the derivative of a stack of blocks $f_1, \dots, f_L$ is a product of $L$ matrices,
# and so it easily becomes very small or very large. With skips each factor contains the identity:
#
# $$\frac{\partial}{\partial x} f(x) = J \qquad\text{becomes}\qquad \frac{\partial}{\partial x} \big(x + f(x)\big) = I + J .$$
#
# One way through the product of all $I + J_l$ is $I \cdot I \cdots I$: the gradient reaches the first block undamped, whatever
# the blocks do. That is the usual reason. Let us measure it, on 16 blocks of four kinds, with the same weights in all.
#
# The weights have a standard deviation of $1/\sqrt D$, so that a product with a $D \times D$ matrix keeps the size of a normed
# token. (The package starts with 0.02, as the paper does; at $D = 96$ that is five times less, and all effects of one block
# are smaller.)


# %%
def with_both(p, x, spec):  # pre-norm: the block of ViT and MViT
    return block_in_two_lines(p, x, spec)


def without_skip(p, x, spec):
    x = attention(p["attn"], norm(p["norm1"], x), spec)
    return mlp(p["mlp"], norm(p["norm2"], x))


def without_norm(p, x, spec):
    x = x + attention(p["attn"], x, spec)
    return x + mlp(p["mlp"], x)


def without_either(p, x, spec):
    return mlp(p["mlp"], attention(p["attn"], x, spec))


# %% [markdown]
# `measure` runs a stack and looks at three things. How large is the signal after each block? How much do the tokens of a clip
# still differ from one another, relative to their size? And how large is the gradient at the input of each block, for
# a gradient of size 1 that comes in at the end? (Adding zeros at a block's input and differentiating by them gives the last.)


# %%
stretched = mv.tree.map(lambda a: a * (D**-0.5 / 0.02) if a.ndim == 2 else a, params["blocks"])
at_end = rng.standard_normal(x.shape)  # the gradient that comes in


def rms(a):
    return np.sqrt(np.mean(a**2))


# %%
def measure(kind, blocks=stretched):
    """(signals, gradients by the blocks' inputs, gradients by the parameters) of a stack of blocks."""
    signals, zeros = [], [np.zeros_like(x) for _ in blocks]

    def run(blocks, zeros):
        y = x
        for p, spec, zero in zip(blocks, specs, zeros):
            y = ops.add(y, zero)
            signals.append(untraced(y))
            y = kind(p, y, spec)
        signals.append(untraced(y))
        return (y * at_end).sum()

    _, (by_params, by_inputs) = mv.value_and_grad(lambda both: run(*both))((blocks, zeros))
    return signals, by_inputs, by_params


# %%
def difference_of_tokens(a):
    """How far tokens are from the mean token of their clip, relative to their size."""
    return rms(a - a.mean(axis=1, keepdims=True)) / rms(a)


KINDS = {"skip and norm": with_both, "norm alone": without_skip, "skip alone": without_norm, "neither": without_either}
COLOURS = dict(zip(KINDS, (BLUE, VERMILLION, ORANGE, GREY)))
stacks = {name: measure(kind) for name, kind in KINDS.items()}
print(f"{DEPTH} blocks    signal: start, end     tokens differ: start, 4th, end       gradient: end, start")
for name, (signals, gradients, _) in stacks.items():
    apart = [difference_of_tokens(signals[at]) for at in (0, 4, DEPTH)]
    sizes = f"{rms(signals[0]):.1f} {rms(signals[-1]):9.2g}"
    print(f"{name:14} {sizes:>15} {apart[0]:17.2f} {apart[1]:9.1e} {apart[2]:9.1e}", end="")
    print(f"{rms(at_end):18.1f} {rms(gradients[0]):9.1e}")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
for (name, (signals, gradients, _)), mark in zip(stacks.items(), "osD^"):
    look = {"color": COLOURS[name], "linewidth": 2, "label": name, "marker": mark, "markersize": 5}
    left.semilogy(range(DEPTH + 1), [difference_of_tokens(a) for a in signals], **look)
    right.semilogy(range(DEPTH + 1), [*map(rms, gradients), rms(at_end)], **look)
left.set(title="How much tokens differ: only skips keep them apart", ylabel="deviation from the mean token / size")
right.set(title="Gradient: without norms it grows or fades", ylabel="gradient at this place (root mean square)")
for ax in (left, right):
    ax.set(xlabel="after so many blocks", xticks=range(0, DEPTH + 1, 4))
    ax.grid(axis="y", alpha=0.3)
right.legend(frameon=False)
_ = figure.suptitle("Sixteen blocks at initialisation, with and without skip and norm", fontsize=13, weight="bold")

# %% [markdown]
# **How to read it.** From left to right through the stack; both scales are logarithmic. Left, 1 means that the tokens of a clip
# have nothing in common, and $10^{-16}$ (the precision of float64) that they are all the same. Right, gradients travel from
# the right end of the axis to the left end.
#
# - *Neither:* signal and gradient shrink in every block. The first block would learn about nothing.
# - *Skip alone:* each branch adds in proportion to what it gets, so sizes and gradients grow in every block, without limit.
# - *Norm alone:* the sizes are fine, since each norm restores them, and still the stack is useless. Attention takes means,
#   means of means are ever more alike, and after five blocks **all tokens are the same**: what the clip shows, and where, is
#   lost. (Dong et al. 2021 prove it for attention that has neither skips nor MLPs, and call it token uniformity. These blocks
#   have MLPs, and they do not save them.) The gradient at those blocks has a good size, but it is the same for all tokens, too.
# - *Skip and norm:* tokens stay different, each has a gradient of its own, and its size stays within a factor of five.

# %%
ends = {name: difference_of_tokens(signals[5]) for name, (signals, *_) in stacks.items()}
assert ends["norm alone"] < 1e-9 and ends["skip and norm"] > 0.5
per_token = {name: difference_of_tokens(gradients[5]) for name, (_, gradients, _) in stacks.items()}
print(
    "how much the gradient differs between tokens, after 5 blocks:", {name: f"{each:.0e}" for name, each in per_token.items()}
)
assert per_token["norm alone"] < 1e-9 and per_token["skip and norm"] > 0.5
first = {name: rms(gradients[0]) for name, (_, gradients, _) in stacks.items()}
assert first["neither"] < 1e-3 and first["skip alone"] > 1e3 and 0.1 < first["skip and norm"] < 10

# %% [markdown]
# ## Norm before or norm after?
#
# The first transformer normed *after* the addition, $X_1 = \mathrm{LN}(X + \mathrm{MHA}(X))$: **post-norm**. ViT and MViT norm
# at the entrance of each branch: **pre-norm**. It looks like a detail. The difference is whether a norm stands *on the skip*.


# %%
def post_norm(p, x, spec):
    x = norm(p["norm1"], x + attention(p["attn"], x, spec))
    return norm(p["norm2"], x + mlp(p["mlp"], x))


def likeness(a):
    """The cosine between what passes and the stack's input."""
    return (a * x).sum() / np.sqrt((a**2).sum() * (x**2).sum())


def last_layer_gradients(by_params):
    """The length of the gradient of W2 in each block."""
    return [np.linalg.norm(p["mlp"]["fc2"]["w"]) for p in by_params]


# %%
FORMS = {"pre-norm": with_both, "post-norm": post_norm}
forms = {name: measure(kind) for name, kind in FORMS.items()}
print("             size: start, end    likeness to the input: 4th, 8th, end    tokens differ at the end")
for name, (signals, *_) in forms.items():
    alike = [likeness(signals[at]) for at in (4, 8, DEPTH)]
    print(f"{name:10} {rms(signals[0]):12.1f} {rms(signals[-1]):5.1f}", end="")
    print(f"{alike[0]:22.2f} {alike[1]:5.2f} {alike[2]:5.2f} {difference_of_tokens(signals[-1]):22.2f}")

# %%
figure, panels = plt.subplots(1, 3, figsize=(12, 3.7), layout="constrained")
for (name, (signals, _, by_params)), colour, mark in zip(forms.items(), (BLUE, VERMILLION), "os"):
    look = {"color": colour, "linewidth": 2, "label": name, "marker": mark, "markersize": 4}
    panels[0].plot(range(DEPTH + 1), [rms(a) for a in signals], **look)
    panels[1].plot(range(DEPTH + 1), [likeness(a) for a in signals], **look)
    panels[2].plot(range(1, DEPTH + 1), last_layer_gradients(by_params), **look)
panels[0].set(title="Size of the tokens", xlabel="after so many blocks", ylabel="root mean square", ylim=(0, None))
panels[1].set(title="Likeness to the first block's input", xlabel="after so many blocks", ylabel="cosine")
panels[2].set(title="Gradient of $W_2$", xlabel="block", ylabel="length", ylim=(0, None))
panels[0].legend(frameon=False)
for ax in panels:
    ax.set_xticks(range(0, DEPTH + 1, 4))
_ = figure.suptitle("Pre-norm lets the input pass straight through; post-norm rescales it in every block", weight="bold")

# %% [markdown]
# **How to read it.** Left: with pre-norm the tokens grow, since every block adds and nothing rescales the sum. (That is why the
# head at the end begins with a norm.) Middle: with post-norm each norm makes the sum smaller again, and what the earlier
# blocks have written with it. Two parts of like size become $\sqrt 2$ times too large, so each of the 32 norms takes about a
# factor $\sqrt 2$ from the input's part, and after ten blocks nothing of it is to be seen. With pre-norm it is one part among
# 33. Right: the gradients that the optimiser meets in the first step.
#
# Does the gradient depend on the depth? Xiong et al. (2020, Theorem 1) derive upper bounds for the gradient of the last $W_2$
# at initialisation. The one for post-norm does not depend on the depth; the one for pre-norm falls with its square root.
# They see in this why post-norm transformers need a careful warm-up of the learning rate. A bound need not be reached, so
# here are our blocks, stacked 4 or 16 high, with the norm that a pre-norm model has at its end:

# %%
one, zero = np.ones(D), np.zeros(D)


def last_gradient(kind, depth):
    """The length of the gradient of W2 in the last of `depth` blocks, a norm behind them."""

    def run(blocks):
        y = x
        for p, spec in zip(blocks, specs):
            y = kind(p, y, spec)
        return (ops.layer_norm(y, one, zero) * at_end).sum()

    return last_layer_gradients(mv.value_and_grad(run)(stretched[:depth])[1])[-1]


at_depth = {name: [last_gradient(kind, depth) for depth in (4, 16)] for name, kind in FORMS.items()}
for name, (shallow, deep) in at_depth.items():
    print(f"{name:9}: {shallow:6.0f} with 4 blocks, {deep:6.0f} with 16 blocks, {deep / shallow:.2f} times as large")
assert at_depth["pre-norm"][1] < 0.7 * at_depth["pre-norm"][0] and at_depth["post-norm"][1] > 0.7 * at_depth["post-norm"][0]

# %% [markdown]
# Both happen here. Pre-norm has a price, too: what a late block adds is small beside a sum that has grown.
#
# ## Several heads
#
# 03 cut the channels into $h$ groups that attend side by side. It cost no multiply-adds. What is gained? One head makes *one*
# weighted mean per query. If a token needs two things, say what moves here and what stands there, one mean has to blend them.
# With several heads it can fetch both and keep them apart, each in channels of its own:
#
# $$\mathrm{MHA}(X) = \big[\, P_1 V_1 \;\; P_2 V_2 \;\; \cdots \;\; P_h V_h \,\big]\, W_O, \qquad
# P_i = \mathrm{softmax}(Q_i K_i^\top / \sqrt d) .$$
#
# Whether heads really share the work is a question about *trained* models. So train one. The scenes are drawn here, and so we
# know everything about them: a still background, one square that stands still and one that moves by two pixels per frame. All
# of it has a random texture. The task is to say which way the square moves.

# %%
WAYS, SIDE, FRAMES, SIZE = ("left", "right", "up", "down"), 8, 8, 32
STEP = np.array([(0, -2), (0, 2), (-2, 0), (2, 0)])  # (rows, columns) per frame


def texture(rng, side):
    return rng.standard_normal((side // 2, side // 2)).repeat(2, axis=0).repeat(2, axis=1)


def places(rng, way):
    """(FRAMES, 2) corners of the moving square and (2,) of the still one, which never touch."""
    while True:
        still = rng.integers(0, SIZE - SIDE + 1, 2)
        moving = rng.integers(SIDE, SIZE - 2 * SIDE + 1, 2) + STEP[way] * (np.arange(FRAMES)[:, None] - 3.5)
        apart = (np.abs(moving - still) >= SIDE).any(axis=1).all()
        if apart and moving.min() >= 0 and moving.max() <= SIZE - SIDE:
            return moving.astype(int), still


# %%
def scene(rng, way, where=None):
    """(FRAMES, SIZE, SIZE) brightness, and boolean maps of the moving and of the still square."""
    moving, still = where or places(rng, way)
    clip, maps = np.tile(0.3 * texture(rng, SIZE), (FRAMES, 1, 1)), np.zeros((2, FRAMES, SIZE, SIZE), bool)
    looks = [1.5 + texture(rng, SIDE) for _ in range(2)]
    for t in range(FRAMES):
        for (row, column), look, here in zip((moving[t], still), looks, maps):
            clip[t, row : row + SIDE, column : column + SIDE] = look
            here[t, row : row + SIDE, column : column + SIDE] = True
    return (clip - clip.mean()) / clip.std(), maps


def scenes(rng, count):
    """Clips (count, FRAMES, SIZE, SIZE, 1), labels, and maps (count, 2, FRAMES, SIZE, SIZE)."""
    ways = rng.integers(len(WAYS), size=count)
    clips, maps = zip(*(scene(rng, way) for way in ways))
    return np.stack(clips)[..., None].astype(np.float32), ways, np.stack(maps)


# %% [markdown]
# The model is a ViT of two blocks with four heads. A cube of 3 × 9 × 9 pixels makes a token. Cubes are 2 × 8 × 8 apart, so
# there are 4 × 4 × 4 tokens and the class token. A cube sees three frames, so a token can know about motion at its place. But
# the answer is read from the class token, which has to fetch it. (Loss, optimiser and schedule are those of
# [08](08_training.ipynb).)

# %%
WIDE, STEPS, BATCH = {"cube_kernel": (3, 9, 9), "cube_stride": (2, 8, 8), "dim": 32, "heads": 4}, 300, 32
small = replace(mv.preset("mvit_micro"), **WIDE, depths=(2,), stride_kv=None, num_classes=4, dropout=0.0, drop_path=0.0)


def loss(params, clips, ways):
    return mv.cross_entropy(mv.forward(params, clips, small), ways)


def is_right(params, clips, ways):
    return mv.predict(params, clips, small).argmax(axis=1) == ways


# %%
draw = np.random.default_rng(0)
trained = mv.init(small, draw)
state, (test_clips, test_ways, test_maps) = adamw_state(trained), scenes(np.random.default_rng(1), 400)
for step in range(STEPS):
    clips, ways, _ = scenes(draw, BATCH)
    grads, _ = clip_by_norm(mv.value_and_grad(loss)(trained, clips, ways)[1], 1.0)
    trained, state = adamw(trained, grads, state, warmup_cosine(step, STEPS, 3e-3, warmup=15), weight_decay=0.05)
accuracy = is_right(trained, test_clips, test_ways).mean()
print(f"{mv.costs(small).params:,} parameters, {STEPS} steps: {accuracy:.1%} of 400 new scenes are answered rightly")
assert accuracy > 0.7

# %% [markdown]
# Now one scene four times. The two squares have the same places in the middle of the clip, and only the way that one of them
# moves is different. To see what is typical we draw the textures 40 times anew and take the mean. We look at the row of the
# class token in the second block, head by head: which of the 64 tokens does it gather from? (What it gives to itself is left
# out.)

# %%
STILL, MIDDLE, DRAWS = np.array([22, 22]), np.array([10, 12]), 40
paths = [(MIDDLE + STEP[way] * (np.arange(FRAMES)[:, None] - 3.5)).astype(int) for way in range(4)]
grid = mv.plan(small).embed.thw


def gathered(clips):
    """(clips, heads, t, h, w): where the class token gathers from in the second block, times uniform."""
    rows = inspection.attention_weights_of(trained, clips, small)[1][:, :, 0, 1:]
    rows = rows / rows.sum(axis=-1, keepdims=True) * math.prod(grid)
    return rows.reshape(len(clips), small.heads, *grid)


four = [[scene(np.random.default_rng(seed), way, (paths[way], STILL))[0] for seed in range(DRAWS)] for way in range(4)]
four = np.array(four, np.float32)[..., None]  # (ways, draws, FRAMES, SIZE, SIZE, 1)
maps = [gathered(clips).mean(axis=(0, 2)) for clips in four]  # (heads, h, w), means over draws and times
for way, clips in zip(WAYS, four):
    said = ops.softmax(mv.predict(trained, clips, small)).mean(axis=0)
    print(f"moves {way:5}: the model says on average", ", ".join(f"{name} {share:.0%}" for name, share in zip(WAYS, said)))

# %%
figure, axes = plt.subplots(4, 5, figsize=(10.5, 8.6), layout="constrained")
for line, way, clips, heads, path in zip(axes, WAYS, four, maps, paths):
    line[0].imshow(clips[:, 4, :, :, 0].mean(axis=0), cmap="gray")
    line[0].set_ylabel(f"moves {way}", fontsize=12)
    for ax, shares in zip(line[1:], heads):
        image = ax.imshow(shares, vmin=0, vmax=6, extent=(-0.5, SIZE - 0.5, SIZE - 0.5, -0.5), cmap="viridis")
    for ax in line:
        ax.set(xticks=[], yticks=[])
        ax.add_patch(plt.Rectangle(STILL - 0.5, SIDE, SIDE, fill=False, edgecolor="white", linestyle=":", linewidth=2))
        tail, tip = path[[0, -1], ::-1] + SIDE / 2 - 0.5
        ax.annotate("", tip, tail, arrowprops={"arrowstyle": "-|>", "color": ORANGE, "linewidth": 2.5, "mutation_scale": 18})
for ax, name in zip(axes[0], ("mean of frame 5", *(f"head {number}" for number in range(1, 5)))):
    ax.set_title(name, fontsize=12)
figure.colorbar(image, ax=axes, label="attention of the class token, × uniform", shrink=0.6, extend="max")
_ = figure.suptitle("Four motions at one place: the heads look at different things", fontsize=14, weight="bold")

# %% [markdown]
# **How to read it.** A row is a way to move. On the left the mean of the 40 clips in their fifth frame, beside it where the
# class token gathers from in each of the four heads, the mean over the clips and all times. A tile is a place of the grid of
# tokens, 8 × 8 pixels. 1 is what uniform attention would give, and yellow is six times as much or more. The arrow is the path
# of the moving square's middle; the dotted frame is the square that stands still. Go down a column: the squares stay where
# they are, but the attention of a head depends on the way the square moves. Go along a row: the heads do not agree. (In the
# stored picture most of them look behind a square that goes left, at places that it has passed, and one of them spreads out
# where it goes up.)
#
# One place may be chance. So count over the 400 test scenes, whose squares are anywhere: how much of a head's attention lies on
# the moving square, on the still one and on the background, relative to the part of the picture that they take?

# %%
gathers = gathered(test_clips) / math.prod(grid)
cut = test_maps.reshape(400, 2, grid[0], 2, grid[1], 8, grid[2], 8).mean(axis=(3, 5, 7))  # shares of each cube's pixels
parts = {"moving square": cut[:, 0], "still square": cut[:, 1], "background": 1 - cut.sum(axis=1)}


def times_uniform(part, chosen):
    """(heads,) attention on a part of the scenes, relative to that of uniform attention."""
    on_part = (gathers[chosen] * part[chosen, None]).sum(axis=(2, 3, 4)) / part[chosen].mean(axis=(1, 2, 3))[:, None]
    return on_part.mean(axis=0)


# %%
for name, part in parts.items():
    shares = times_uniform(part, test_ways >= 0)
    print(f"on the {name:14}", "  ".join(f"head {k + 1}: {share:.2f}" for k, share in enumerate(shares)))
table = np.array([times_uniform(parts["moving square"], test_ways == way) for way in range(4)])  # (ways, heads)
ratios = table.max(axis=0) / table.min(axis=0)
print(f"between the ways a head's attention to the moving square differs by factors of up to {ratios.max():.1f}")
assert ratios.max() > 1.5

# %%
figure, ax = plt.subplots(figsize=(9, 3.6), layout="constrained")
for way, (heights, colour) in enumerate(zip(table, (VERMILLION, BLUE, GREEN, SKY))):
    bars = ax.bar(np.arange(4) + 0.2 * (way - 1.5), heights, 0.18, color=colour, label=f"moves {WAYS[way]}")
    ax.bar_label(bars, fmt="%.1f", fontsize=9, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})
ax.axhline(1, color=INK, linestyle=":", linewidth=1.5, zorder=0)
ax.text(3.6, 1.1, "uniform", ha="center")
ax.set(
    xticks=range(4), xticklabels=[f"head {k + 1}" for k in range(4)], ylabel="attention on the moving square", xlim=(-0.6, 3.95)
)
ax.legend(frameon=False, ncols=4, loc="lower center", bbox_to_anchor=(0.5, -0.36))
_ = ax.set_title("A head's attention to the moving square depends on which way it moves", fontsize=13, weight="bold")

# %% [markdown]
# **How to read it.** A group of bars is a head, a bar is the mean over the test scenes of one way. The dotted line is uniform
# attention. A head with four equal bars would attend to the square as such. A head with one high bar attends to *motion* of one
# kind. Two heads may also do nearly the same.
#
# And does the model need them? Silence heads: the rows of $W_O$ that take a head's channels become zeros.

# %%
width = small.dim // small.heads


def silenced(numbers):
    """The trained parameters, some heads (counted from 0) of the second block silenced."""
    first, second = trained["blocks"]
    w = second["attn"]["proj"]["w"].copy()
    for number in numbers:
        w[number * width : (number + 1) * width] = 0
    attn = second["attn"] | {"proj": second["attn"]["proj"] | {"w": w}}
    return trained | {"blocks": [first, second | {"attn": attn}]}


# %%
heads_left = [(0, 1, 2, 3), *((k,) for k in range(4)), ()]
heads_left[1:1] = [tuple(k for k in range(4) if k != gone) for gone in range(4)]
print(f"{'heads left':14}", "".join(f"{way:>8}" for way in WAYS), "   all   (rightly answered, where it moves ...)")
for left_over in heads_left:
    ok = is_right(silenced(set(range(4)) - set(left_over)), test_clips, test_ways)
    by_way = "".join(f"{ok[test_ways == way].mean():8.0%}" for way in range(4))
    print(f"{', '.join(str(k + 1) for k in left_over) or 'none':14}", by_way, f"{ok.mean():6.0%}")

# %% [markdown]
# In the stored run (another machine may train to other heads):
#
# - **Any three heads are enough.** What one head fetches, the others together fetch as well. So a head that looks different is
#   not for that reason indispensable.
# - **One head alone is not like another.** One of them answers nearly everything rightly; with another one, squares that move
#   to the right are no longer recognised.
# - **A bar is no proof.** Head 4 has the highest bar for squares that move right, and alone it recognises none of them. *Where*
#   a head looks is in the bars. *What* it fetches there is in its values, and these the bars do not show.
# - Without all four the class token has only what the first block gave it, and that is enough for three of the four ways.
#
# With another seed the jobs are shared out in another way. [09](09_looking_inside.ipynb) goes on with such experiments.
#
# ## The head: from the class token to classes
#
# After the last block there are $1 + THW$ tokens, and one answer is wanted. The class token was added for this purpose. It
# is a learned token without a place, and in every block it has collected from all others. It is normed, a last linear layer
# makes one score per class of it (a **logit**), and softmax turns the scores into probabilities:
#
# $$z = \mathrm{LN}(x_{\mathrm{class}})\, W + b, \qquad p_k = \frac{e^{z_k}}{\sum_j e^{z_j}} .$$


# %%
def head_loop(tokens, g, b, w, shift, eps):
    """tokens: N lists of D numbers   w: (D, classes)   ->   (logits, probabilities), a number per class"""
    normed = layer_norm_loop(tokens[0], g, b, eps)  # the class token comes first; the others are not looked at
    logits = []
    for k in range(len(shift)):
        logits.append(shift[k] + sum(normed[c] * w[c][k] for c in range(len(normed))))
    largest = max(logits)  # for safety: exp of a large number overflows
    exponentials = [math.exp(z - largest) for z in logits]
    return logits, [e / sum(exponentials) for e in exponentials]


# %%
wide, four_clips, seen = mv.tree.map(np.float64, trained), four[:, 0].astype(np.float64), {}
logits = mv.forward(wide, four_clips, small, hook=seen.__setitem__)
tokens, plan = seen["blocks.1.output"], mv.plan(small)
leaves = (wide["norm"]["g"], wide["norm"]["b"], wide["head"]["w"], wide["head"]["b"])
by_loops = [head_loop(clip.tolist(), *(leaf.tolist() for leaf in leaves), small.eps) for clip in tokens]

np.testing.assert_allclose(head(wide, tokens, plan.head), logits, atol=1e-12)
np.testing.assert_allclose([scores for scores, _ in by_loops], logits, rtol=1e-12, atol=1e-12)
np.testing.assert_allclose([chances for _, chances in by_loops], ops.softmax(logits), rtol=1e-12, atol=1e-12)
print(f"from {tokens.shape[1]} tokens of {tokens.shape[2]} channels to {logits.shape[1]} classes; loops and package agree")
for way, pair in zip(WAYS, by_loops):
    scores, chances = (" ".join(f"{value:6.2f}" for value in values) for values in pair)
    print(f"moves {way:5}: logits {scores}   probabilities {chances}")

# %% [markdown]
# The norm is there because of the pre-norm blocks: their sum has grown, as you saw, and nothing has normed it yet.
#
# ## A whole model in seven lines
#
# Nothing is missing now. Cubes and positions (01), blocks, head:


# %%
def model(params, clip, config):
    plan = mv.plan(config)
    x = embed(params, clip, plan.embed)
    for p, spec in zip(params["blocks"], plan.blocks):
        x = x + attention(p["attn"], norm(p["norm1"], x), spec)
        x = x + mlp(p["mlp"], norm(p["norm2"], x))
    return norm(params["norm"], x)[:, 0] @ params["head"]["w"] + params["head"]["b"]


by_hand = model(wide, four_clips, small)
np.testing.assert_allclose(by_hand, logits, atol=1e-12)
print(f"mv.forward differs by {np.abs(by_hand - logits).max():.0e} at most")

# %% [markdown]
# This is a ViT. What makes an MViT of it is in the next two notebooks: [04](04_pooling_attention.ipynb) shortens the list of
# tokens inside the attention, and [05](05_blocks_and_stages.ipynb) widens them, in the MLP that you know now.
#
# ## Questions
#
# **1.** You shuffle the tokens of a clip before a block. What happens to the result of the MLP, of the norms, of the skips, of
# the attention? Which parts of a block carry information from one place of the clip to another?
#
# <details><summary>Answer</summary>
#
# All four come out shuffled in the same way. MLP, norm and skip treat each token alone, and attention treats its tokens as
# a set (03). Only attention carries information between places. That is also why the head can drop all tokens but one: what
# it needs has been carried there.
# </details>
#
# **2.** In a block that was just initialised, set $W_O$ of the attention and $W_2$ and $b_2$ of the MLP to zero. What does the
# block compute? Which of its parameters get a gradient in the first step?
#
# <details><summary>Answer</summary>
#
# The block is the identity, since both branches add zeros. The gradient of $W_2$ is the hidden layer times what comes from
# above, and that is not zero; so it is with $b_2$ and $W_O$. Whatever lies before them in a branch ($W_1$, the queries, keys
# and values, the norms) gets a gradient that was multiplied by zeros. It has to wait for the second step. The
# next cell checks it. Some models start in this way on purpose: a deep stack that is the identity is easy to train.
# </details>
#
# **3.** Without skips all tokens became the same after five blocks. Would an MLP of 8 times the width have prevented it?
#
# <details><summary>Answer</summary>
#
# No. The MLP does the same to each token. Once two tokens are equal, no function of each token alone can make them different
# again. It can only enlarge a difference that is still there.
# </details>
#
# **Now you.** [Exercises to 03](exercises/03_attention.ipynb): the last two, `03.mlp` and `03.class_probabilities`, belong to
# this notebook. A specification in words says what they have to do, and you find the formula. `exercises.check` says whether
# yours is right, and which mistake it looks like.

# %%
quiet = mv.tree.map(np.copy, params["blocks"][0])
for layer in (quiet["attn"]["proj"], quiet["mlp"]["fc2"]):
    layer["w"][:], layer["b"][:] = 0, 0
np.testing.assert_array_equal(block(quiet, x, specs[0]), x)
_, by_quiet = mv.value_and_grad(lambda p: (block(p, x, specs[0]) * at_end).sum())(quiet)
for path, leaf in mv.tree.paths(by_quiet):
    print(f"{path:12} {'gets a gradient' if np.abs(leaf).max() > 0 else 'gets none yet'}")

# %%
# Attention carries between tokens, the MLP computes in each; skips keep tokens apart, norms keep their size; heads differ.
shuffle, block_0 = rng.permutation(N), params["blocks"][0]
np.testing.assert_allclose(block(block_0, x[:, shuffle], specs[0]), block(block_0, x, specs[0])[:, shuffle], atol=1e-12)
assert 0.45 < mlp_macs / whole < 0.5 and mlp_macs == counted
assert ends["norm alone"] < 1e-9 < ends["skip and norm"] and ratios.max() > 1.5
learns = {path for path, leaf in mv.tree.paths(by_quiet) if np.abs(leaf).max() > 0}
assert learns == {"attn.proj.w", "attn.proj.b", "mlp.fc2.w", "mlp.fc2.b"}
