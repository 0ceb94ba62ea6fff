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
# # 06 Gradients by hand
#
# [Notebook 05](05_blocks_and_stages.ipynb) built blocks and stages from a dozen small steps, and ran them forwards. To train a
# model, each step must also run *backwards*: from the derivative of the loss by its result to the derivatives by its inputs.
#
# **The question:** where does each backward formula come from, and how do you know that it is right? You derive every formula
# on paper, find it in a few lines of the package, then break it on purpose and see how a finite difference finds the mistake.
#
# ## What the paper says
#
# > "Attention is now computed on these shortened vectors, with the operation [...]" (Fan et al., Sec. 3.1)
#
# $$\mathrm{PA}(\cdot) = \mathrm{softmax}\!\left(Q K^\top / \sqrt{d}\right) V, \qquad
#   Q = \mathcal{P}(\hat Q), \; K = \mathcal{P}(\hat K), \; V = \mathcal{P}(\hat V).$$
#
# The paper gives only this forward half. In this notebook you derive the backward half.
#
# Words that are new to you are in the [glossary](../docs/glossary.md), symbols in the [notation](../docs/notation.md).

# %%
# %matplotlib inline
import inspect

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from scipy.special import ndtr

# %%
import mvit_np as mv
from mvit_np import ops
from mvit_np.autodiff.tape import op, value_and_grad, vjp
from mvit_np.ops.softmax import softmax_array, softmax_backward
from mvit_np.ops.windows import inside, padded, taps
from mvit_np.studies import gradient_cases as checks
from mvit_np.visualize.style import BLUE, GREEN, GREY, INK, ORANGE, PALE, SKY, VERMILLION

plt.rcParams.update({"figure.dpi": 100, "font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
rng = np.random.default_rng(0)

# %% [markdown]
# ## What a backward computes: dy times the Jacobian, without the Jacobian
#
# Let $y = f(x)$ be one step and $\mathcal L$ the loss at the end of all steps. We write $dy = \partial\mathcal L/\partial y$,
# with the shape of $y$, and call it the **cotangent**. The chain rule is a product with the Jacobian $J_{ij} = \partial y_i
# / \partial x_j$:
#
# $$dx_j = \sum_i dy_i \, J_{ij} \qquad\text{or}\qquad dx = J^\top dy .$$
#
# This is the **vector-Jacobian product**. A backward computes it without making $J$. But first we compute it with $J$, by
# loops, for the softmax of four numbers, where $J_{ij} = P_i\,(\delta_{ij} - P_j)$ (the derivation comes below).

# %%
s, dp = rng.standard_normal((2, 4))
p, jacobian, ds = ops.softmax(s), [[0.0] * 4 for _ in range(4)], [0.0] * 4
for i in range(4):
    for j in range(4):
        jacobian[i][j] = p[i] * ((i == j) - p[j])
for j in range(4):
    for i in range(4):
        ds[j] += dp[i] * jacobian[i][j]

value, pull = vjp(ops.softmax, [s])  # the value, and the function from dy to dx
by_backward = pull(dp)[0]
np.testing.assert_allclose(by_backward, ds)
print("by the Jacobian ", np.round(ds, 6))
print("by the backward ", np.round(by_backward, 6))

first = mv.plan(mv.preset("mvit_b_16x4")).blocks[0]
weights = first.heads * first.tokens_q * first.tokens_kv
print(f"MViT-B's first block: {weights:,} attention weights, a Jacobian of their softmax: {weights**2:.0e} entries")

# %% [markdown]
# This is far too large to store. A formula of a few array operations gives the same gradient.
#
# ## An op: the value and its backward, side by side
#
# In this package a step is an ordinary function that returns two things: its value, and the function `backward` that turns `dy`
# into one gradient per argument. The decorator `op` puts it on a tape. Nothing else is needed to differentiate any function
# that is composed of ops.


# %%
@op
def sum_of_squares(x):
    def backward(dy):
        return (2 * x * dy,)

    return (x * x).sum(), backward


x = np.array([1.0, -2.0, 3.0])
print("called on plain arrays:", sum_of_squares(x))
loss, gradient = value_and_grad(sum_of_squares)(x)
print("loss and gradient:     ", loss, gradient)
value, pull = vjp(sum_of_squares, [x])
print("pulled back from dy = 10:", pull(np.array(10.0))[0])

# %% [markdown]
# `backward` uses `x`, so Python keeps `x` alive as long as `backward` lives: it *closes over* it. These arrays are all that the
# tape keeps in memory. The section on memory near the end comes back to this.
#
# ## The loop version: move each entry a little
#
# The definition of a derivative needs no formula for the gradient. We move one entry by $h$ in both directions and see how the
# number $\langle dy, f(x)\rangle = \sum_i dy_i f_i(x)$ changes. The backward says what the gradient of this number is:
#
# $$\frac{\partial}{\partial x_j} \langle dy, f(x) \rangle \approx
#   \frac{\langle dy, f(x + h e_j)\rangle - \langle dy, f(x - h e_j)\rangle}{2h} .$$


# %%
def numeric_gradient(fun, arrays, which, dy, h=1e-4):
    """d <dy, fun(*arrays)> / d arrays[which], one entry after the other."""
    arrays = [x.copy() for x in arrays]
    x, gradient = arrays[which], np.zeros_like(arrays[which])
    for index in np.ndindex(x.shape):
        start, sides = x[index], []
        for move in (h, -h):
            x[index] = start + move
            total = 0.0
            for a, b in zip(dy.flat, fun(*arrays).flat, strict=True):
                total += a * b
            sides.append(total)
        x[index] = start
        gradient[index] = (sides[0] - sides[1]) / (2 * h)
    return gradient


# %% [markdown]
# `mv.gradcheck(..., full=True)` does the same for all arguments at once and prints a table. The next cell has the test for the
# rest of the notebook. It compares the gradients of an op's definition, whose text you will read, with those of the loop. Where
# the op also has a faster version, it compares with the gradients of that version too.

# %%
RIGHT = {}  # name: (op, arrays, what else it takes), for later


def off(gradients, others):
    """The largest difference, relative to the largest entry of each gradient."""
    pairs = zip(gradients, others, strict=True)
    return max(np.abs(a - b).max() / np.abs(a).max() for a, b in pairs)


# %%
def judge(name, fun, *arrays, static=()):
    """The definition's gradients against the loop's, and against those of what runs otherwise."""

    def on_arrays(*arrays):
        return fun(*arrays, *static)

    value, pull = vjp(on_arrays, arrays)
    dy = rng.standard_normal(value.shape)
    with mv.plain_ops():
        plain_value, plain_pull = vjp(on_arrays, arrays)
        by_loop = [numeric_gradient(on_arrays, arrays, i, dy) for i in range(len(arrays))]
    np.testing.assert_allclose(value, plain_value, rtol=1e-9, atol=1e-12)
    gradients, RIGHT[name] = plain_pull(dy), (fun, arrays, static)
    loop, fast = off(gradients, by_loop), off(gradients, pull(dy))
    print(f"{name}: gradients differ from the loop's by {loop:.0e}, from what runs by {fast:.0e}")
    assert fast < 1e-12 and loop < 1e-6


# %% [markdown]
# ## Linear: $Y = X W + b$
#
# One entry is $y_{no} = \sum_i x_{ni} w_{io} + b_o$. A small change of the inputs changes $\mathcal L$ by
# $\sum_{no} dy_{no}\, \delta y_{no}$. Collect the factors of each $\delta$:
#
# $$\delta\mathcal L = \sum_{no} dy_{no} \Big( \sum_i \delta x_{ni}\, w_{io} + \sum_i x_{ni}\, \delta w_{io} + \delta b_o \Big)
#   \;\Rightarrow\; dX = dY\, W^\top, \quad dW = X^\top dY, \quad db_o = \sum_n dy_{no} .$$
#
# You can remember these products by their shapes: if all sizes differ, the factors fit together in one order only. The
# package's op takes any number of axes before the last, and joins them to one axis of rows where it sums.

# %%
print(inspect.getsource(ops.linear))

# %%
x, w, b = rng.standard_normal((3, 2)), rng.standard_normal((2, 2)), rng.standard_normal(2)
judge("linear", ops.linear, x, w, b)
print(mv.gradcheck(ops.linear, x, w, b, full=True, name="linear, every entry"))

# %% [markdown]
# Read the table line by line: `0` is the first argument, and `[2, 1]` is the entry that moved. `analytic` comes from the
# backward, `numeric` comes from two forward passes, and `error` is their difference in units of the typical size of a gradient
# entry. A difference that rounding alone explains counts as 0.
#
# ## Softmax: subtract the weighted mean of each row
#
# $P_i = e^{S_i} / \sum_k e^{S_k}$, so $\delta P_i = P_i\,(\delta S_i - \sum_k P_k\, \delta S_k)$. If all $S$ grow by the same
# number, nothing changes. Then
#
# $$\delta\mathcal L = \sum_i dP_i P_i \Big(\delta S_i - \sum_k P_k\,\delta S_k\Big)
#   \;\Rightarrow\; dS = P \odot \big(dP - \mathrm{rowsum}(P \odot dP)\big) .$$
#
# Attention needs both halves too, so each half is a separate function:

# %%
print(*map(inspect.getsource, (softmax_array, softmax_backward, ops.softmax)), sep="\n\n")

# %%
judge("softmax", ops.softmax, rng.standard_normal((3, 5)))

# %% [markdown]
# ## Layer norm: two projections
#
# $y = g \odot z + b$ with $z = (x - \bar x)\, r$ and $r = 1/\sqrt{\mathrm{var} + \epsilon}$. A change of $x$ changes the mean
# by $\overline{\delta x}$ and, since $\delta\,\mathrm{var} = 2\,\overline{(x - \bar x)\,\delta x}$, changes $r$ by
# $-r^2\, \overline{z\,\delta x}$. Together $\delta z = r\,(\delta x - \overline{\delta x} - z\,\overline{z\, \delta x})$. This
# linear map is symmetric, so it is its own transpose. With $dz = g \odot dy$, and with bars for means over the channels, the
# gradients are
#
# $$dx = r\,\big(dz - \overline{dz} - z\,\overline{z\,dz}\big), \qquad dg = \sum_n z\, dy, \qquad db = \sum_n dy .$$
#
# The two terms say that a shift of all channels, and a stretch of all channels, do not change the result.

# %%
print(inspect.getsource(ops.layer_norm))

# %%
judge("layer norm", ops.layer_norm, *(rng.standard_normal(n) for n in [(4, 6), 6, 6]))

# %% [markdown]
# ## GELU: one number at a time
#
# $y = x\,\Phi(x)$ with the normal distribution's $\Phi(x) = \tfrac12 (1 + \mathrm{erf}(x/\sqrt2))$,
# whose derivative is the density $\phi(x) = e^{-x^2/2}/\sqrt{2\pi}$. The product rule gives $dx =
# dy\,(\Phi(x) + x\,\phi(x))$. In the code $\Phi$ is $\tfrac12 \mathrm{erfc}(-x/\sqrt2)$, with
# $\mathrm{erfc} = 1 - \mathrm{erf}$: the same, and exact for large negative $x$ too.

# %%
print(inspect.getsource(ops.gelu))

# %%
judge("GELU", ops.gelu, rng.standard_normal((3, 5)))

# %% [markdown]
# ## Attention: two products with a softmax between
#
# With $S = \sigma Q K^\top$, $\sigma = 1/\sqrt d$, $P = \mathrm{softmax}(S)$ and $Z = P V$, walk back through the three steps.
# Each is one of the formulas above:
#
# $$dV = P^\top dZ, \quad dP = dZ\, V^\top, \quad dS = P \odot (dP - \mathrm{rowsum}(P \odot dP)), \quad
#   dQ = \sigma\, dS\, K, \quad dK = \sigma\, dS^\top Q .$$
#
# Note what the definition keeps: `backward` uses `p`, so $P$ stays in memory, and it is the largest array. The fast version
# keeps only $q$ and $k$, which are small, and computes $P$ again. The section on memory compares the two.

# %%
print(inspect.getsource(ops.attend))

# %%
shapes = [(1, 5, 2, 4), (1, 3, 2, 4), (1, 3, 2, 4)]  # (B, N, heads, d): five queries, three keys
judge("attention", ops.attend, *map(rng.standard_normal, shapes), static=(4**-0.5,))

# %% [markdown]
# ## Depthwise convolution: the transposed band matrix
#
# On one axis, $y_o = \sum_i w_i\, x_{s o + i - p}$: window $o$ reads the cells $s o - p, \dots$ with the taps
# $w_0, w_1, \dots$. As a matrix this is a band, and the backward is the transposed matrix: cell $c$ collects $w_i\, dy_o$ from
# every window $o$ and tap $i$ with $s o + i - p = c$. We get the matrix by a convolution of unit vectors.

# %%
cells, kernel, stride, padding = 9, (1, 1, 3), (1, 1, 2), (0, 0, 1)
w = np.array([1.0, 2.0, 3.0]).reshape(1, 1, 3, 1)
columns = [ops.depthwise_conv(e.reshape(1, 1, 1, cells, 1, 1), w, stride, padding).ravel() for e in np.eye(cells)]
band = np.array(columns).T  # (windows, cells)

figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 4.2), width_ratios=[9, 5], layout="constrained")
for axes, matrix in ((left, band), (right, band.T)):
    axes.pcolormesh(matrix, cmap=ListedColormap(["white", SKY, ORANGE, GREEN]), edgecolor=PALE, vmin=0, vmax=3)
    for (row, column), tap in np.ndenumerate(matrix):
        axes.text(column + 0.5, row + 0.5, f"$w_{int(tap) - 1}$" if tap else "", ha="center", va="center", fontsize=11)
    axes.set(aspect="equal", xticks=np.arange(matrix.shape[1]) + 0.5, yticks=np.arange(len(matrix)) + 0.5)
    axes.set(xticklabels=range(matrix.shape[1]), yticklabels=range(len(matrix)))
    axes.invert_yaxis()
left.set(title="Forward", xlabel="cell of x", ylabel="window of y")
right.set(title="Backward", xlabel="window of dy", ylabel="cell of dx")
figure.suptitle("The backward is the transposed band; cells a stride apart share their taps", weight="bold")
plt.show()

# %% [markdown]
# *How to read it.* The kernel is 3, the stride is 2, and the padding is 1. On the left, a row is a window. The first window
# reaches one cell outside the grid, so its $w_0$ is missing, and $w_2$ of the last window is missing in the same way. On the
# right, a row is a cell of $dx$. The rows alternate: an even cell is seen by the middle tap of one window, an odd cell by $w_2$
# of one window and $w_0$ of the next. **Cells a stride apart are seen by the same taps.** So each of the $s$ classes of cells
# is a small convolution of $dy$ with stride 1, by every $s$-th tap in reverse order. The fast version of `ops.depthwise_conv`
# works in this way. The definition is shorter: it goes tap by tap on a padded grid, and each tap returns $dy$ to the cells that
# it read. At the end the padding is cut off.

# %%
print(inspect.getsource(ops.depthwise_conv))

# %%
STRIDE, PADDING = (1, 2, 2), (1, 1, 1)
x, w = rng.standard_normal((1, 2, 4, 5, 2, 2)), rng.standard_normal((3, 3, 3, 2))  # (B, T, H, W, heads, d), (kt, kh, kw, d)
judge("depthwise conv", ops.depthwise_conv, x, w, static=(STRIDE, PADDING))
error = mv.adjointcheck(lambda x: ops.depthwise_conv(x, w, STRIDE, PADDING), x)
print(f"and as a linear map of x: <A x, y> = <x, A' y> to {error:.0e}")

# %% [markdown]
# ## Max pooling: the largest cell gets the gradient
#
# $y_o = \max_i x_{so+i-p}$. Call the largest cell of a window its winner. If another cell moves a little, nothing happens. If
# the winner moves, $y_o$ moves by the same amount. So the winner gets the whole of $dy_o$. A cell that wins in several windows
# collects from each of them. In the code `left` is the part of $dy$ that no cell has taken yet: a cell that equals the maximum
# takes what is left, and nothing remains for the cells after it.

# %%
print(inspect.getsource(ops.max_pool))

# %%
CELLS, SIDES = (1, 3, 3), (0, 1, 1)  # kernel and padding
x = rng.permutation(np.arange(40.0)).reshape(1, 2, 4, 5, 1, 1)  # all different
judge("max pooling", ops.max_pool, x, static=(CELLS, STRIDE, SIDES))

# %% [markdown]
# What if the two largest cells are equal? Then the maximum has a kink: it rises when either cell rises, and it falls only when
# both fall. There is no derivative, and the central difference gives half to each of the two cells. The code must choose one of
# them (the first, as PyTorch does). The two results differ, and neither is wrong. The check can tell a kink from a mistake,
# because at a kink the slopes to the two sides differ for every step, however small.

# %%
tied = np.array([0.0, 5.0, 5.0, 1.0]).reshape(1, 1, 1, 4, 1, 1)


def largest(x):
    return ops.max_pool(x, (1, 1, 4), (1, 1, 4), (0, 0, 0))


dy = np.ones((1, 1, 1, 1, 1, 1))
print("backward:          ", vjp(largest, [tied])[1](dy)[0].ravel())
print("central difference:", numeric_gradient(largest, [tied], 0, dy).ravel())
report = mv.gradcheck(largest, tied, full=True, check=False, name="max of a tie")
print(report)
assert not report.passed

# %% [markdown]
# ## The skip, and how the tape joins ops
#
# $y = x + f(x)$: the input is used twice, so its gradient is a **sum**, $dx = dy + J_f^\top dy$. The first term passes $dy$ on
# unchanged, however deep the network is. Each of the two terms of a sum simply gets $dy$, and the tape adds up all gradients
# that arrive at an array. ([Notebook 06b](06b_tape.ipynb) builds this tape.) The next cell composes half a block from ops, and
# the tape differentiates it as a whole.


# %%
def branch(x, g, b, w1, b1, w2, b2):
    """x + MLP(LN(x))"""
    return ops.add(x, ops.linear(ops.gelu(ops.linear(ops.layer_norm(x, g, b), w1, b1)), w2, b2))


arrays = [rng.standard_normal(n) for n in [(4, 6), 6, 6, (6, 8), 8, (8, 6), 6]]
judge("half a block", branch, *arrays)
judge("skip", ops.add, arrays[0], arrays[0][::-1].copy())

# %% [markdown]
# ## Break it
#
# Here are some mistakes that people make. `broken` takes a right op and makes the gradient of one argument wrong. The value
# stays right, so without a check you would notice it only because training makes no progress.


# %%
def broken(name, position, wrong):
    """The right op of this name, but the gradient g of one argument becomes wrong(g, dy, *arrays)."""
    right, _, static = RIGHT[name]

    @op
    def spoiled(*arrays):
        value, backward = right.definition(*arrays, *static)  # the function under the decorator

        def bad(dy):
            gradients = list(backward(dy))
            gradients[position] = wrong(gradients[position], dy, *arrays)
            return gradients

        return value, bad

    return spoiled


# %%
def normed(x, eps=1e-6):
    """z and r of a layer norm."""
    r = 1 / np.sqrt(x.var(axis=-1, keepdims=True) + eps)
    return (x - x.mean(axis=-1, keepdims=True)) * r, r


def without_mean(dx, dy, x, g, b):
    (z, r), dz = normed(x), g * dy
    return r * (dz - z * (z * dz).mean(axis=-1, keepdims=True))


def without_eps(dx, dy, x, g, b):
    return dx * normed(x, eps=0)[1] / normed(x)[1]


def of_tanh_gelu(dx, dy, x):
    t, inner = np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)), np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x**2)
    return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * inner)


# %%
def with_padding(dy, x, w):
    """dx of the convolution, its padding left on."""
    wide = np.zeros(padded(x, PADDING).shape)
    for tap, cells in taps(w.shape[:3], STRIDE, PADDING, dy.shape[1:4]):
        wide[cells] += w[tap] * dy
    return wide


def padding_from_one_side(dx, dy, x, w):
    t, h, width = x.shape[1:4]
    return with_padding(dy, x, w)[:, :t, :h, :width]


def to_all_in_the_window(dx, dy, x):
    wide = np.zeros(padded(x, SIDES).shape)
    for _, cells in taps(CELLS, STRIDE, SIDES, dy.shape[1:4]):
        wide[cells] += dy
    return wide[inside(SIDES)]


# %%
RIGHT["mean of tokens"] = ops.mean_token, (rng.standard_normal((2, 4, 3)),), ()
MISTAKES = {
    "linear: forgotten transpose, dX = dY W": ("linear", 0, lambda g, dy, x, w, b: dy @ w),
    "linear: mean instead of sum in db": ("linear", 2, lambda g, dy, x, w, b: dy.mean(axis=0)),
    "mean of tokens: sum instead of mean": ("mean of tokens", 0, lambda g, dy, x: g * x.shape[1]),
    "softmax: no row sum, dS = P dP": ("softmax", 0, lambda g, dp, s: ops.softmax(s) * dp),
    "layer norm: mean(dz) missing": ("layer norm", 0, without_mean),
    "layer norm: eps left out of r": ("layer norm", 0, without_eps),
    "GELU: no x phi(x)": ("GELU", 0, lambda g, dy, x: dy * ndtr(x)),
    "GELU: slope of its tanh approximation": ("GELU", 0, of_tanh_gelu),
    "attention: 1 / sqrt(d) missing in dQ": ("attention", 0, lambda g, dz, q, k, v: g * q.shape[-1] ** 0.5),
    "attention: dK 0.1 % too long": ("attention", 1, lambda g, dz, q, k, v: g * 1.001),
    "conv: padding taken off one side only": ("depthwise conv", 0, padding_from_one_side),
    "max pooling: all cells of a window win": ("max pooling", 0, to_all_in_the_window),
    "skip: its own dy forgotten": ("skip", 0, lambda g, dy, x, y: 0 * g),
}

# %% [markdown]
# Now we run the check in the usual way: `mv.gradcheck` raises a `GradientError`, whose message is the table with the wrong line
# marked. We print this line. (A line that fails is tried again with smaller steps, and the best try is shown; this is the
# 1e-06.)

# %%
caught = {}
for mistake, (name, position, wrong) in MISTAKES.items():
    fun, arrays = broken(name, position, wrong), RIGHT[name][1]
    try:
        mv.gradcheck(fun, *arrays, name=mistake)
        print(f"{mistake}: NOT caught")
    except mv.GradientError as problem:
        line = next(line for line in str(problem).splitlines() if "<-- wrong" in line)
        print(f"{mistake}\n    argument {line}")
        caught[mistake] = mv.gradcheck(fun, *arrays, check=False).worst.error
assert len(caught) == len(MISTAKES)

# %% [markdown]
# Some mistakes are found without a finite difference. With different sizes a forgotten transpose does not fit. If the padding
# is not cut off at all, the gradient has another shape, and the check refuses it before it computes anything.

# %%
fun = broken("depthwise conv", 0, lambda g, dy, x, w: with_padding(dy, x, w))
try:
    mv.gradcheck(fun, *RIGHT["depthwise conv"][1], name="conv, padding left on")
except mv.GradientError as problem:
    print(problem)

# %%
right = {}
for name, (fun, arrays, static) in RIGHT.items():
    report = mv.gradcheck(lambda *x, fun=fun, static=static: fun(*x, *static), *arrays)
    right[name] = report.worst.error
figure, axes = plt.subplots(figsize=(8.6, 5.2), layout="constrained")
for row, (mistake, (name, _, _)) in enumerate(MISTAKES.items()):
    axes.plot([max(right[name], 1e-13), caught[mistake]], [row, row], color=PALE, lw=2, zorder=0)
    axes.plot(max(right[name], 1e-13), row, "o", color=BLUE, label="right" if row == 0 else None)
    axes.plot(caught[mistake], row, "X", ms=9, color=VERMILLION, label="broken" if row == 0 else None)
for tolerance, label in ((1e-7, "tolerance,\nfloat64"), (1e-5, "tolerance,\nfloat32")):
    axes.axvline(tolerance, color=GREY, ls="--", lw=1)
    axes.text(tolerance * 0.8, -0.75, label, ha="right", va="center", fontsize=9, color=GREY)
axes.set(xscale="log", xlim=(5e-14, 20), yticks=range(len(MISTAKES)), yticklabels=MISTAKES, ylim=(len(MISTAKES) - 0.4, -1.3))
axes.set_xlabel("error found by the check (in units of a typical directional derivative)")
figure.suptitle("The errors of right and of broken backwards are orders of magnitude apart", weight="bold")
axes.legend(loc="upper left", bbox_to_anchor=(-0.5, -0.02), frameon=False)
plt.show()

# %% [markdown]
# *How to read it.* Each line is one mistake. The blue dot is the error that the check finds in the right backward (rounding
# alone is drawn at 1e-13), and the cross is the error of the broken one. Every mark right of a dashed line fails. Most mistakes
# are far to the right, but look at *eps left out of r*: it passes the tolerance for float32, and only the stricter tolerance
# for float64 finds it. A check that can see smaller errors finds smaller mistakes. What limits a check?

# %% [markdown]
# ## The step: why 1e-4
#
# The central difference has two errors. Taylor's theorem leaves the **truncation** $\tfrac{h^2}{6} f'''$, which falls with $h$.
# The other error is **rounding**: $f$ is computed with a relative error $\varepsilon$, and the division by $2h$ makes it about
# $\varepsilon / h$, which grows as $h$ falls. The best step lies in between, near $\varepsilon^{1/3}$.


# %%
def step_errors(dtype, steps, directions=15):
    """Median error of the central difference for the softmax of 60 numbers, relative to the typical derivative."""
    draws = np.random.default_rng(1)
    x, dy = (draws.standard_normal((6, 10)).astype(dtype) for _ in range(2))
    gradient = vjp(ops.softmax, [x.astype(float)])[1](dy.astype(float))[0]
    typical, errors = np.sqrt((gradient**2).mean()), []
    for _ in range(directions):
        u = draws.standard_normal(x.shape)
        u = (u / np.linalg.norm(u)).astype(dtype)
        ahead = np.array([(dy * ops.softmax(x + dtype(h) * u)).sum() for h in steps], dtype=float)
        behind = np.array([(dy * ops.softmax(x - dtype(h) * u)).sum() for h in steps], dtype=float)
        errors.append(np.abs((ahead - behind) / (2 * steps) - (gradient * u).sum()) / typical)
    return np.median(errors, axis=0)


# %%
steps = np.logspace(-10, 0.3, 60)
error64, error32 = step_errors(np.float64, steps), step_errors(np.float32, steps)
at = np.argmin(np.abs(steps - 1e-4))
print(f"at h = 1e-4: {error64[at]:.0e} in float64, {error32[at]:.0e} in float32")
print(f"best: {error64.min():.0e} at h = {steps[error64.argmin()]:.0e} in float64, {error32.min():.0e} at h = "
      f"{steps[error32.argmin()]:.0e} in float32")  # fmt: skip

# %%
figure, axes = plt.subplots(figsize=(8.4, 4.6), layout="constrained")
axes.loglog(steps, error32, color=ORANGE, lw=2)
axes.loglog(steps, error64, color=BLUE, lw=2)
tail, head = steps < 2e-6, steps > 3e-4
axes.loglog(steps[head], error64[-15] * (steps[head] / steps[-15]) ** 2 * 0.3, color=GREY, ls=":")
axes.loglog(steps[tail], 4e-17 / steps[tail], color=GREY, ls=":")
axes.text(1.5e-2, 3e-8, "truncation, $h^2$", color=GREY)
axes.text(2e-9, 1e-9, r"rounding, $\varepsilon / h$", color=GREY, ha="right")
axes.text(2e-10, 3, "float32", color=ORANGE, weight="bold")
axes.text(2e-10, 5e-5, "float64", color=BLUE, weight="bold")
for step, width in ((1e-4, 1.5), (3e-5, 0.5), (1e-5, 0.5), (1e-6, 0.5)):
    axes.axvline(step, color=INK, lw=width, ls="-" if width > 1 else "--", zorder=0)
axes.text(1.2e-4, 3e2, "first step\nof gradcheck", va="top", fontsize=9)
axes.text(8e-7, 3e2, "tried where the\nfirst one fails", va="top", ha="right", fontsize=9)
axes.set(xlabel="step h", ylabel="error of the central difference", ylim=(1e-13, 5e2))
axes.set_title("A large step has a truncation error, a small step a rounding error", loc="left", weight="bold")
plt.show()

# %% [markdown]
# *How to read it.* Both axes are logarithmic, so $h^2$ is a line of slope 2 on the right and $\varepsilon/h$ one of slope -1 on
# the left. In float32 even the best step has an error of 1e-5, which is more than some of the mistakes above. So the package
# computes the finite difference **in float64 even where the arrays are float32**, and only the backward in float32. Its step of
# 1e-4 is larger than the best step for this function. There are two reasons: rounding grows with the number of terms that a
# result sums, and the truncation of about $h^2 = 10^{-8}$ is below the tolerance of 1e-7. Where the first step fails, the
# package tries a difference of the fourth order, whose truncation is about $h^4$, and then smaller steps, because a step across
# a kink of max pooling does not give a derivative. A wrong gradient fails at every step.
#
# ## One random direction instead of all entries
#
# To move every entry of every argument takes two forward passes per entry. To move all entries at once along one direction
# takes two forward passes altogether: for a unit vector $u$, $\langle \text{gradient}, u\rangle$ must equal the slope of $f$
# along $u$.

# %%
calls = 0


def counted(x, g, b):
    global calls
    calls += 1
    return ops.layer_norm(x, g, b)


arrays = [rng.standard_normal(n) for n in [(20, 24), 24, 24]]
for full in (False, True):
    calls = 0
    report = mv.gradcheck(counted, *arrays, full=full)
    print(f"full={full!s:5}: {len(report.checks):3d} lines, {calls:4d} forward passes, worst error {report.worst.error:.0e}")
params = mv.costs(mv.preset("mvit_b_16x4")).params
print(f"every entry of MViT-B would take {2 * params:,} forward passes of the whole model")

# %% [markdown]
# (A few extra calls check other rules: that the function is not random, that shapes and dtypes are right, and that the function
# does not write into its inputs.)
#
# What can one direction miss? An error $\delta$ in one entry shows up as $\delta\, u_i$, where $u_i$ is about $1/\sqrt n$, and
# this must be larger than the rounding of a sum of $n$ terms. So with more entries in one direction, a single wrong entry must
# have a larger error to be found. But a mistake in a formula makes many entries wrong, and their errors add up. Let us make one
# entry of $n$ wrong, and then all of them, and count how many of 30 random directions notice it.


# %%
def noticed(n, spoil, entries, directions=30):
    """The share of random directions that find the first gradient entries of n, off by a factor 1 + spoil."""
    weights, x = np.random.default_rng(n).standard_normal((2, n))
    wrong = weights.copy()
    wrong[:entries] *= 1 + spoil

    @op
    def scaled(x):
        return weights * x, lambda dy: (wrong * dy,)

    return np.mean([not mv.gradcheck(scaled, x, seed=seed, check=False).passed for seed in range(directions)])


# %%
sizes = [10, 100, 1000, 10_000, 100_000]
shares = {f"one entry off by {100 * spoil:g} %": [noticed(n, spoil, 1) for n in sizes] for spoil in (1e-1, 1e-3, 1e-5)}
shares["all entries off by 0.1 %"] = [noticed(n, 1e-3, n) for n in sizes]
for what, share in shares.items():
    print(f"{what:26}", "  ".join(f"n = {n}: {s:.0%}" for n, s in zip(sizes, share, strict=True)))
assert min(shares["all entries off by 0.1 %"]) > 0.8 and shares["one entry off by 0.1 %"][-1] < 0.1

# %%
figure, axes = plt.subplots(figsize=(8, 3.8), layout="constrained")
for (what, share), color, marker in zip(shares.items(), (BLUE, ORANGE, VERMILLION, GREEN), "os^D", strict=True):
    axes.semilogx(sizes, 100 * np.array(share), color=color, marker=marker, label=what)
axes.set(xlabel="entries n that move together", ylabel="directions that notice (%)", ylim=(-5, 108))
axes.set_title("One direction may miss one wrong entry of many, but not a wrong formula", loc="left", weight="bold")
axes.legend(frameon=False, loc="lower left")
plt.show()

# %% [markdown]
# *How to read it.* On the left few entries move together, and nearly every direction sees even a tiny error. To the right a
# single wrong entry is no longer seen: first a small error is lost, and with 100,000 entries even an error of 10 %. A wrong
# factor in the formula, here 0.1 % on all entries, is seen by nearly all directions at every size. So the package checks each
# op on small arrays, with one direction per argument, and `full=True` shows which entry is wrong. And a check cannot see what
# its input does not use: a branch that is not taken, a padding of zero, sizes that happen to be equal.
#
# ## Memory: the arrays that a backward uses stay in memory
#
# Between forward and backward, every op's `backward` and the arrays that it closes over are in memory. We can look at these
# arrays, which a `backward` holds directly or through other functions.


# %%
def held(backward):
    """MB of the arrays that a function closes over; views of one array count once."""
    found, todo = {}, [backward]
    while todo:
        for cell in todo.pop().__closure__ or ():
            inner = cell.cell_contents
            if isinstance(inner, np.ndarray):
                owner = inner if inner.base is None else inner.base
                found[id(owner)] = owner.nbytes
            elif hasattr(inner, "__closure__"):
                todo.append(inner)
    return sum(found.values()) / 1e6


# %%
q, k, v = (np.zeros((1, n, 1, 96), np.float32) for n in (3137, 393, 393))  # an eighth of MViT-B's first block
both, kept = {"definition": ops.attend.definition, "fast version": ops.attend.versions["numpy"]}, {}
for name, fun in both.items():
    kept[name] = held(fun(q, k, v, 96**-0.5)[1])
    print(f"the {name:12} holds {kept[name]:.2f} MB")
print(f"in the whole first block P is {mv.costs(mv.preset('mvit_b_16x4')).lines[1].attention_bytes / 1e6:.1f} MB per clip")
assert kept["definition"] > 3 * kept["fast version"]
assert kept["fast version"] < 1.1 * (q.nbytes + k.nbytes + v.nbytes) / 1e6

# %% [markdown]
# The definition keeps $P$, which takes several times the memory of $q$, $k$ and $v$ together. The fast version computes $P$
# again, which takes one more product $QK^\top$ in the backward pass. The fast versions of layer norm (only `x` stays), GELU and
# the MLP (the hidden layer is computed again) also save memory in this way, and `mv.checkpoint` does so for whole blocks.
#
# ## Every op of the package
#
# The command `mvit-np check` runs this check for each op, each layer and whole models. Here are the ops.

# %%
reports = [case.check() for case in checks.op_cases()]
for report in reports:
    if report.name in ("linear", "softmax", "layer_norm", "attend", "depthwise_conv", "max_pool"):
        print(report.summary())
worst = max(report.worst.error for report in reports)
print(f"... {len(reports)} cases, {sum(report.passed for report in reports)} passed, worst error {worst:.0e}")

# %% [markdown]
# ## Questions
#
# **1.** One number is added to the scores of a query with all its keys. The gradient by this number is exactly zero. Why?
#
# <details><summary>Answer</summary>
#
# A softmax does not change when the same number is added to all its inputs, so the loss does not depend on this number. In the
# formula: the sum of a row of $dS = P \odot (dP - \mathrm{rowsum}(P \odot dP))$ is
# $\mathrm{rowsum}(P\odot dP) - 1 \cdot \mathrm{rowsum}(P\odot dP) = 0$, because a row of $P$ sums to 1.
#
# </details>
#
# **2.** Show that $\mathrm{rowsum}(P \odot dP) = \mathrm{rowsum}(Z \odot dZ)$. Why is that useful?
#
# <details><summary>Answer</summary>
#
# $\sum_j P_{ij}\, dP_{ij} = \sum_j P_{ij} \sum_c dZ_{ic} V_{jc} = \sum_c dZ_{ic} \sum_j P_{ij} V_{jc} = \sum_c dZ_{ic} Z_{ic}$.
# The right side needs no array of the size of $P$. So an implementation that takes the keys in pieces can compute it before the
# first piece.
#
# </details>
#
# **3.** You check a whole model in float32 with the tolerance of one op. It fails with an error of 3e-5. Is there a mistake?
#
# <details><summary>Answer</summary>
#
# You cannot tell, because the rounding errors of many ops add up to this size. Convert parameters and clip to float64 and check
# again. Then a right backward agrees to 1e-7 or better, and a wrong one still fails. This is why a model is checked in float64.
#
# </details>
#
# **Now you.** [Exercises to 06](exercises/06_gradients.ipynb): from key lines that you fill in to open questions.
# `exercises.check` says whether an answer is right, and which mistake it looks like.

# %%
# Thirteen broken backwards were caught, all right ones passed, and the two sides are at least a factor 100 apart.
for mistake, (name, _, _) in MISTAKES.items():
    assert caught[mistake] > 1e-7 > right[name] and caught[mistake] > 100 * max(right[name], 1e-13)
assert all(report.passed for report in reports)
print(f"all {len(MISTAKES)} mistakes caught, every right gradient passed")
