"""AdamW (Loshchilov and Hutter 2019) and gradient descent with momentum, on parameter trees."""

from __future__ import annotations

import math
from functools import partial
from itertools import chain
from typing import Any

from ..backend import tree as trees
from ..backend.arrays import array_module
from ..backend.cuda.kernels import adamw as kernels
from ..backend.cuda.kernels.flat import clipped
from ..backend.types import Array, Tree
from .decay import Mask, decays
from .flat_state import (
    flat_zeros,
    in_one_launch,
    is_given,
    launched,
    numbers_there,
    paired,
    refuse_given,
    remembered,
    updated,
)

BETAS = (0.9, 0.999)
RENAMED = {"mean": "exp_avg", "square": "exp_avg_sq"}  # of a state, as an earlier version had it


def adamw_state(params: Tree) -> dict[str, Any]:
    """What AdamW remembers: the step count and two running means.

    Each is of all leaves in one flat array, in the tree's order.
    Raises TypeError where the leaves have several dtypes.
    """
    return {"step": 0, "exp_avg": flat_zeros(params), "exp_avg_sq": flat_zeros(params)}


def under_new_names(state: dict[str, Any]) -> dict[str, Any]:
    """The state of an earlier version, such as that of an old snapshot, as it is called today."""
    return {RENAMED.get(name, name): value for name, value in state.items()}


def adamw(
    params: Tree, grads: Tree, state: dict[str, Any], lr: float | Array,
    betas: tuple[float, float] = BETAS, eps: float = 1e-8, weight_decay: float = 0.05,
    *, factors: dict[str, float] | None = None, decay_mask: Mask = decays,
) -> tuple[Tree, dict[str, Any]]:  # fmt: skip
    """One step; returns new parameters and the state.   grads: like params   lr: a number

    m = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g^2,  p -= lr (m^ / (sqrt(v^) + eps) + decay p), m^
    and v^ being corrected for their start at zero. The running means are updated in place; `params`
    and `grads` are left as they are.

    factors      {path: factor of the learning rate there}, such as `layer_factors` makes; a path
                 that is not among them has 1
    decay_mask   (path, parameter) -> whether it decays; by default weights do, vectors (biases,
                 norms, tokens) do not

    On a device a number whose gradient is NaN stays as it is, and its means. There `lr` may also be
    an array, float64, of `adamw_hyperparameters`, which the kernel reads whenever it runs; the
    count in the state then stays as it is.

    Raises ValueError where the trees differ, a factor is of no parameter, or the state is of
    others.
    """
    leaves = trees.paths(params)
    means = remembered(state, ("exp_avg", "exp_avg_sq"), leaves, "adamw_state")
    shares = _settings(leaves, factors, decay_mask)
    pairs = paired(leaves, grads)
    numbers = adamw_hyperparameters(state["step"], lr, betas)
    if in_one_launch(chain(*pairs, means)):
        kernel = partial(kernels.adamw, betas=betas, eps=eps, weight_decay=weight_decay)
        return _launched(kernel, params, pairs, means, shares, state, lr, numbers)
    refuse_given(lr)
    correct, root = numbers[1], math.sqrt(numbers[2])
    settings = [
        (-lr * factor * root / correct, 1 - lr * factor * weight_decay if decaying else 1.0)
        for factor, decaying in shares
    ]

    def update(p, g, m, v, new, scratch, step_size, decay):
        xp = array_module(p)
        m *= betas[0]
        m += xp.multiply(g, 1 - betas[0], out=new)
        v *= betas[1]
        xp.square(g, out=new)
        new *= 1 - betas[1]
        v += new
        xp.sqrt(v, out=new)
        new += eps * root  # m^ / (sqrt(v^) + eps), its top and bottom times the root of 1 - b2^t
        xp.divide(m, new, out=new)
        new *= step_size
        new += xp.multiply(p, decay, out=scratch)

    new = updated(update, pairs, means, settings)
    return trees.flatten(params)[1](new), {**state, "step": state["step"] + 1}


def adamw_hyperparameters(
    step: int, lr: float | Array, betas: tuple[float, float] = BETAS
) -> tuple[float | Array, float, float]:
    """What changes from step to step: lr, 1 - b1^t, 1 - b2^t.

    step: how many were taken before, as the state counts them
    """
    return lr, 1 - betas[0] ** (step + 1), 1 - betas[1] ** (step + 1)


def sgd_state(params: Tree) -> dict[str, Any]:
    """What gradient descent remembers: the step count and the velocity.

    That is of all leaves in one flat array, in the tree's order.
    Raises TypeError where the leaves have several dtypes.
    """
    return {"step": 0, "velocity": flat_zeros(params)}


def sgd(
    params: Tree, grads: Tree, state: dict[str, Any], lr: float | Array,
    momentum: float = 0.9, nesterov: bool = True, weight_decay: float = 1e-4,
    *, factors: dict[str, float] | None = None, decay_mask: Mask = decays,
) -> tuple[Tree, dict[str, Any]]:  # fmt: skip
    """One step; returns new parameters and the state.   grads: like params   lr: a number

    d = g + decay p,  v = momentum v + d,  p -= lr (d + momentum v), or without Nesterov's look
    ahead p -= lr v. (The decay goes through the momentum, unlike AdamW's.) The velocity is
    updated in place; `params` and `grads` are left as they are. `factors`, `decay_mask`, what is
    raised, and on a device NaN and `lr` as an array, of `sgd_hyperparameters`: as with `adamw`.
    """
    leaves = trees.paths(params)
    velocity = remembered(state, ("velocity",), leaves, "sgd_state")
    shares = _settings(leaves, factors, decay_mask)
    pairs = paired(leaves, grads)
    if in_one_launch(chain(*pairs, velocity)):
        numbers = sgd_hyperparameters(state["step"], lr)
        kernel = partial(kernels.sgd, momentum=momentum, nesterov=nesterov)
        kernel = partial(kernel, weight_decay=weight_decay)
        return _launched(kernel, params, pairs, velocity, shares, state, lr, numbers)
    refuse_given(lr)
    settings = [(-lr * factor, weight_decay if decaying else 0.0) for factor, decaying in shares]

    def update(p, g, v, new, scratch, step_size, decay):
        xp = array_module(p)
        xp.multiply(p, decay, out=new)
        new += g
        v *= momentum
        v += new
        if nesterov:
            new += xp.multiply(v, momentum, out=scratch)
        else:
            new[...] = v
        new *= step_size
        new += p

    new = updated(update, pairs, velocity, settings)
    return trees.flatten(params)[1](new), {**state, "step": state["step"] + 1}


def sgd_hyperparameters(step: int, lr: float | Array) -> tuple[float | Array]:
    """What changes from step to step: the learning rate."""
    return (lr,)


def _launched(kernel, params, pairs, flats, shares, state, lr, numbers):
    """A step on a device: new parameters and the state. If `lr` is an array the caller counts."""
    new = launched(kernel, pairs, flats, shares, numbers_there(lr, numbers, pairs[0][0]))
    return trees.flatten(params)[1](new), {**state, "step": state["step"] + (not is_given(lr))}


def _settings(leaves, factors, decay_mask):
    """(factor of the learning rate, whether it decays) of each (path, leaf)."""
    factors = factors or {}
    if unknown := set(factors).difference(path for path, _ in leaves):
        raise ValueError(
            f"factors belong to parameters; there is no parameter {min(unknown)!r}: "
            "take paths as mvit_np.backend.tree.paths gives them"
        )
    return [(factors.get(path, 1.0), decay_mask(path, p)) for path, p in leaves]


def clip_by_norm(grads: Tree, limit: float) -> tuple[Tree, Array]:
    """(gradients scaled down to a norm over all leaves of at most `limit`, norm before, 0-d).

    Nothing waits for a device: the norm stays where the gradients are. There all become NaN where
    the norm is not finite, and a step with them changes nothing.
    """
    leaves = trees.leaves(grads)
    if in_one_launch(leaves):
        scaled, norm = clipped(leaves, limit)
        return trees.flatten(grads)[1](scaled), norm
    xp = array_module(leaves[0])
    norm = xp.sqrt(sum((g * g).sum() for g in leaves))
    factor = xp.minimum(limit / (norm + 1e-6), 1.0)
    return trees.map(lambda g: g * factor.astype(g.dtype), grads), norm
