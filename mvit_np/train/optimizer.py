"""AdamW (Loshchilov and Hutter 2019) on parameter trees, in either array library."""

from __future__ import annotations

import math

import numpy as np

from .. import tiles
from .. import tree as trees
from ..backend import array_module

SMALL = 1 << 14  # numbers in a leaf that is not worth calls of its own


def adamw_state(params):
    """What AdamW remembers: the step count and two running means, trees like `params`."""
    zeros = [trees.map(lambda p: array_module(p).zeros_like(p), params) for _ in range(2)]
    return {"step": 0, "mean": zeros[0], "square": zeros[1]}


def adamw(params, grads, state, rate, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05):
    """One step; returns new parameters and the state.   grads: like params   rate: a number

    m = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g^2,  p -= rate (m^ / (sqrt(v^) + eps) + decay p), m^ and v^ being corrected
    for their start at zero. Weights decay, vectors (biases, norms, tokens) do not: see `decays`. The running means are
    updated in place; `params` and `grads` are left as they are.
    """
    step = state["step"] + 1
    correct = 1 - betas[0] ** step, 1 - betas[1] ** step
    paths = iter([path for path, _ in trees.paths(params)])
    groups = {}  # leaves of each kind, as flat views: (p, g, m, v, new p)

    def collect(p, *others):
        new = array_module(p).empty(p.shape, dtype=p.dtype)
        small = p.size < SMALL and isinstance(p, np.ndarray)  # a device would copy a table of their places there
        leaf = [x.reshape(-1) for x in (p, *others, new)]
        groups.setdefault((decays(next(paths), p), small, p.dtype), []).append(leaf)
        return new

    new = trees.map(collect, params, grads, state["mean"], state["square"])
    for (decaying, small, _), leaves in groups.items():
        kept = 1 - rate * weight_decay if decaying else 1.0
        _update_all(leaves, small, lambda *flat, kept=kept: _update(*flat, kept, rate, betas, eps, correct))
    return new, {**state, "step": step}


def _update_all(leaves, small, update):
    """Large leaves a tile at a time; small ones as one, for calls would take longer than the arithmetic."""
    if not small:
        pieces = [(leaf, at) for leaf in leaves for at in tiles.rows(leaf[0])]
        tiles.run(lambda piece: update(*(x[piece[1]] for x in piece[0])), pieces)
        return
    joined = [np.concatenate(arrays) for arrays in zip(*leaves)]
    update(*joined)
    start = 0
    for leaf in leaves:
        at = slice(start, start + leaf[0].size)
        for view, whole in zip(leaf[2:], joined[2:]):  # m, v and the new p
            view[...] = whole[at]
        start = at.stop


def _update(p, g, m, v, new, kept, rate, betas, eps, correct):
    xp = array_module(p)
    m *= betas[0]
    m += xp.multiply(g, 1 - betas[0], out=new)
    v *= betas[1]
    xp.square(g, out=new)
    new *= 1 - betas[1]
    v += new
    xp.sqrt(v, out=new)
    new *= 1 / math.sqrt(correct[1])
    new += eps
    xp.divide(m, new, out=new)
    new *= -rate / correct[0]
    new += p * kept


def decays(path, param):
    """Whether weight decay applies: to matrices and filters, not to vectors and tables of positions."""
    return param.ndim > 1 and not path.rpartition(".")[2].startswith(("pos_embed", "rel_pos"))


def clip_by_norm(grads, limit):
    """Gradients scaled down so that their norm over all leaves is at most `limit`; also that norm, a 0-d array.

    Nothing waits for a device: the norm stays where the gradients are.
    """
    leaves = trees.leaves(grads)
    xp = array_module(leaves[0])
    norm = xp.sqrt(sum((g * g).sum() for g in leaves))
    factor = xp.minimum(limit / (norm + 1e-6), 1.0)
    return trees.map(lambda g: g * factor.astype(g.dtype), grads), norm
