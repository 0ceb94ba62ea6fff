"""Memory that does not grow with depth: blocks that run backwards (Gomez et al. 2017).

Two streams are coupled,          y1 = x1 + f(x2),   y2 = x2 + g(y1),
and so uncoupled:                 x2 = y2 - g(y1),   x1 = y1 - f(x2).

The backward pass rebuilds every activation from the last two, where `checkpoint` keeps one array
per block. For transformers: Mangalam et al. 2022.
"""

from __future__ import annotations

from ..backend import tree as trees
from ..backend.types import Array, Generator
from .checkpoint import Recording, Replay
from .tape import op, vjp


def coupled(chain: list, x1: Array, x2: Array, rng: Generator | None = None) -> tuple[Array, Array]:
    """Run two streams through a chain of couplings, keeping the result alone.

    x1, x2: (B, N, D)   ->   the same, twice

    chain   [((f, its params), (g, its params)), ...]: `f(params, x, rng=...)` keeps x's shape and
            is pure but for `rng`
    """
    functions = [(f, g) for (f, _), (g, _) in chain]
    leaves, rebuild = trees.flatten([(of_f, of_g) for (_, of_f), (_, of_g) in chain])

    @op
    def run(x1, x2, *leaves):
        params, tapes = rebuild(leaves), []
        for (f, g), (f_params, g_params) in zip(functions, params):
            tapes.append([None if rng is None else Recording(rng) for _ in "fg"])
            x1 = x1 + f(f_params, x2, rng=tapes[-1][0])
            x2 = x2 + g(g_params, x1, rng=tapes[-1][1])

        def backward(dy1, dy2):
            return _unwind(functions, params, tapes, (x1, x2), (dy1, dy2))

        return (x1, x2), backward

    return run(x1, x2, *leaves)


def _unwind(functions, params, tapes, streams, cotangents):
    """Gradients of x1, x2 and all parameters: each coupling is undone, then differentiated."""
    y1, y2 = streams
    dy1, dy2 = (0 * y if dy is None else dy for y, dy in zip(streams, cotangents))
    found = []
    backwards = zip(functions[::-1], params[::-1], tapes[::-1])
    for (f, g), (f_params, g_params), (f_tape, g_tape) in backwards:
        branch, d, d_g = _rerun(g, g_params, y1, g_tape, dy2)
        y2, dy1 = y2 - branch, dy1 + d
        branch, d, d_f = _rerun(f, f_params, y2, f_tape, dy1)
        y1, dy2 = y1 - branch, dy2 + d
        found.append([*d_f, *d_g])
    return dy1, dy2, *(gradient for step in found[::-1] for gradient in step)


def _rerun(fun, params, x, tape, cotangent):
    """fun(params, x) once more, with the gradients of x and of each leaf of params."""
    leaves, rebuild = trees.flatten(params)
    replay = None if tape is None else Replay(tape.drawn)
    value, pull = vjp(lambda x, *leaves: fun(rebuild(leaves), x, rng=replay), [x, *leaves])
    d_x, *d_leaves = pull(cotangent)
    return value, d_x, d_leaves
