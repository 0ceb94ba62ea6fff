"""Rev-MViT (Mangalam et al. 2022): two streams through a stage's blocks after its first."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby

from ...autodiff.reversible import coupled
from ...backend.types import Array, Generator, Hook, Params
from ...ops import add, join_channels, scale
from ..specs import BlockSpec
from .block import attention_half, block, mlp_half


def two_streams(
    params: Sequence[Params],
    x: Array,
    specs: Sequence[BlockSpec],
    *,
    rng: Generator | None = None,
    hook: Hook | None = None,
    run: Callable[..., Array] = block,
) -> Array:
    """All blocks of a reversible model.

    params: one dict per block   x: (B, N, D)   ->   both streams, (B, n, 2 D_out)

    Each stage starts from the same array twice; where it ends, the mean of its two streams goes on.
    hook   called with (name, array), as in `forward`; the backward pass calls it again
    run   runs a stage's first block: `block`, or a checkpointed one
    """
    streams = (x, x)
    for is_coupled, group in groupby(specs, key=lambda spec: spec.coupled):
        if is_coupled:
            chain = [_halves(params[spec.index], spec, hook) for spec in group]
            streams = coupled(chain, *streams, rng=rng)
            continue
        for spec in group:
            mean = scale(add(*streams), 0.5)
            x = run(params[spec.index], mean, spec, rng=rng, hook=_inside(hook, spec))
            streams = (x, x)
    return join_channels(*streams)


def _halves(params, spec, hook):
    attend = partial(attention_half, spec=spec, hook=_inside(hook, spec))
    first = {"norm1": params["norm1"], "attn": params["attn"]}
    return (attend, first), (
        partial(mlp_half, spec=spec),
        {"norm2": params["norm2"], "mlp": params["mlp"]},
    )


def _inside(hook, spec):
    return (lambda name, array: hook(f"blocks.{spec.index}.{name}", array)) if hook else None
