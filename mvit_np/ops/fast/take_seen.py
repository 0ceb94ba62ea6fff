"""Keys and values are made only where their pool looks: a stride above the kernel skips tokens.

With kernel 3 and stride 8 on an axis, as in MViT-B's first stage, 12.8 % of the tokens are seen.
The pool of what is left lies side by side: `on_seen`.
"""

import itertools
import math
from dataclasses import replace

from ...autodiff.tape import op
from ...backend.arrays import array_module
from ..windows import out_grid
from .windows import seen_by


@op
def take_seen(x, thw, kernel, stride, padding):
    """The tokens that some window of a pool looks at: a stride above the kernel leaves others out.

    x: (B, [1 +] T H W, ...)   ->   (B, [1 +] t h w, ...); the class token stays.
    """
    xp, shape, cls = array_module(x), x.shape, x.shape[1] - math.prod(thw)
    axes = [_seen_on_axis(*sizes) for sizes in zip(thw, kernel, stride, padding)]
    grid = tuple(max(into.stop for into, _ in runs) for runs in axes)
    cells = itertools.product(*axes)
    pairs = [tuple((slice(None), *side) for side in zip(*runs)) for runs in cells]

    def as_grid(tokens, thw):
        return tokens[:, cls:].reshape(tokens.shape[0], *thw, *tokens.shape[2:])

    y = xp.empty((shape[0], cls + math.prod(grid), *shape[2:]), dtype=x.dtype)
    y[:, :cls] = x[:, :cls]
    for into, cells in pairs:
        as_grid(y, grid)[into] = as_grid(x, thw)[cells]

    def backward(dy):
        dx = xp.zeros(shape, dtype=dy.dtype)
        dx[:, :cls] = dy[:, :cls]
        for into, cells in pairs:
            as_grid(dx, thw)[cells] = as_grid(dy, grid)[into]
        return dx, None, None, None, None

    return y, backward


def skips_cells(pool):
    """Whether the stride of a `PoolSpec` leaves cells of the grid out that no window looks at."""
    return any(s > k for k, s in zip(pool.kernel, pool.stride))


def on_seen(pool):
    """The `PoolSpec` of what `take_seen` leaves of the grid: windows side by side, not apart."""
    sizes = zip(pool.thw_in, pool.thw_out, pool.kernel, pool.stride, pool.padding)
    thw = tuple(
        n if s <= k else k * out - max(0, p) - max(0, s * (out - 1) - p + k - n)
        for n, out, k, s, p in sizes
    )
    return replace(pool, stride=tuple(map(min, pool.kernel, pool.stride)), thw_in=thw)


def _seen_on_axis(n, k, s, p):
    """(places among those kept, cells of the axis): all, or those that each tap falls on."""
    if s <= k:
        return [(slice(0, n), slice(0, n))]
    count, runs = out_grid((n,), (k,), (s,), (p,))[0], []
    for i in range(k):
        if found := seen_by(i, n, (0, count), s, p):
            wins, cells = found
            at = i - max(0, p)  # the first window's taps before the grid have no place
            runs.append((slice(k * wins.start + at, k * (wins.stop - 1) + at + 1, k), cells))
    return runs
