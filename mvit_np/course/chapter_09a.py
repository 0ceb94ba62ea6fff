"""Exercises of notebook 09, first part: rollout, and how far a head looks."""

from __future__ import annotations

import math

import numpy as np

from ..model.config import MViTConfig
from ..model.inspection import attention_rollout, mean_attention_distance
from ..model.plan import plan
from .checker import SPECIFICATION, Exercise


def plain_model(thw, heads=1, blocks=1, **settings):
    """A model without pooling whose grid of tokens is thw."""
    pixels = dict(frames=thw[0], size=thw[1:], cube_kernel=(1, 1, 1), cube_stride=(1, 1, 1))
    sizes = dict(dim=4 * heads, heads=heads, depths=(blocks,), stride_kv=None)
    return MViTConfig(**pixels, **sizes, **settings)


def attention(rng, *shape):
    """Weights that sum to 1 along the last axis."""
    positive = rng.uniform(0.02, 1, shape) ** 3
    return positive / positive.sum(axis=-1, keepdims=True)


# -- rollout ---------------------------------------------------------------------------------------


def rollout(weights):
    """How much each embedded token gives to the class token, through all blocks.

    weights: (blocks, heads, N, N), the first block first   ->   (N,)

    A = the mean of a block's weights over its heads
    mixed = (A + I) / 2, where I stands for the skip connection
    The mixed matrices of all blocks are multiplied, the last block's on the left. The class token
    is the first token, so the result is the first row of the product.
    Hint: start with the identity, and multiply your product from the left by each block's matrix.
    """
    identity = np.eye(weights.shape[-1], dtype=weights.dtype)
    shares = identity
    for block in weights:
        mixed = (block.mean(axis=0) + identity) / 2
        shares = mixed @ shares
    return shares[0]


def _reference_rollout(weights):
    config = plain_model((1, 1, weights.shape[-1] - 1), weights.shape[1], len(weights))
    return attention_rollout(weights[:, None], plan(config))[0].astype(weights.dtype)


def _stacks(rng):
    yield (attention(rng, 3, 2, 5, 5),)
    yield (attention(rng, 4, 3, 3, 3),)
    yield (attention(rng, 1, 2, 4, 4),)


def _rolled(mix=lambda block, identity: (block.mean(axis=0) + identity) / 2, from_right=False):
    """The product with another matrix per block, or in the other order."""

    def wrong(weights):
        identity = np.eye(weights.shape[-1], dtype=weights.dtype)
        shares = identity
        for block in weights:
            mixed = mix(block, identity)
            shares = shares @ mixed if from_right else mixed @ shares
        return shares[0]

    return wrong


def _column(weights):
    identity = np.eye(weights.shape[-1], dtype=weights.dtype)
    shares = identity
    for block in weights:
        shares = (block.mean(axis=0) + identity) / 2 @ shares
    return shares[:, 0]


ROLLOUT = Exercise(
    rollout,
    _reference_rollout,
    _stacks,
    (
        ("the blocks are multiplied in the other order: the last block's matrix is on the left",
         _rolled(from_right=True)),
        ("the skip connection is missing: add the identity and halve",
         _rolled(lambda block, identity: block.mean(axis=0))),
        ("A + I is not halved: its rows sum to 2, and those of the product to 2 per block",
         _rolled(lambda block, identity: block.mean(axis=0) + identity)),
        ("the heads are added up: their mean is wanted",
         _rolled(lambda block, identity: (block.sum(axis=0) + identity) / 2)),
        ("the largest of the heads is taken: their mean is wanted",
         _rolled(lambda block, identity: (block.max(axis=0) + identity) / 2)),
        ("one head is taken: the mean over all of them is wanted",
         _rolled(lambda block, identity: (block[0] + identity) / 2)),
        ("the first column is what the class token gives: what it gets is the first row", _column),
        ("only the last block is there: it is multiplied by those before it",
         lambda weights: ((weights[-1].mean(0) + np.eye(len(weights[0, 0]), dtype=weights.dtype))
                          / 2)[0]),
        ("the blocks are averaged: attention through several blocks is a product",
         lambda weights: ((weights.mean((0, 1)) + np.eye(len(weights[0, 0]), dtype=weights.dtype))
                          / 2)[0]),
    ),
)  # fmt: skip


# -- distance --------------------------------------------------------------------------------------


def attention_distance(weights, thw, pixels):
    """How far in space each head looks, in pixels, as a mean over queries and clips.

    weights: (B, heads, 1 + N, 1 + N), the class token first   thw: (t, h, w) with N = t h w
    pixels: (down, right) from one token to the next   ->   (heads,)

    Only the attention between places counts: the class token has no place, so it is left out as a
    query and as a key, and the rest of each row is scaled to sum to 1. The distance of two places
    is the length of the straight line between them in the picture, whatever their times. The
    distance of a query is the mean of its distances to all keys, weighted by its attention.
    Hint: np.indices(thw) gives the time, row and column of every place in the tokens' order.
    """
    _, row, column = np.indices(thw).reshape(3, -1)
    down, right = pixels
    far = np.hypot(down * (row[:, None] - row), right * (column[:, None] - column))
    shares = weights[:, :, 1:, 1:]
    shares = shares / shares.sum(axis=-1, keepdims=True)
    distance = (shares * far.astype(weights.dtype)).sum(axis=-1)  # (B, heads, N)
    return distance.mean(axis=(0, 2))


def _reference_distance(weights, thw, pixels):
    spec = plan(plain_model(thw, weights.shape[1])).blocks[0]
    return mean_attention_distance(weights, spec, (1, *pixels)).astype(weights.dtype)


def _looks(rng):
    for clips, heads, thw, pixels in (
        (2, 3, (2, 3, 2), (4, 7)), (1, 2, (3, 2, 4), (16, 16)), (1, 1, (1, 1, 5), (1, 2)),
    ):  # fmt: skip
        count = 1 + math.prod(thw)
        yield attention(rng, clips, heads, count, count), thw, pixels


def _far(measure=np.hypot, share=None, mean=(0, 2)):
    """The distances with another measure, other shares, or another mean."""

    def wrong(weights, thw, pixels):
        steps = [np.subtract.outer(place, place) for place in np.indices(thw).reshape(3, -1)]
        far = measure(pixels[0] * steps[1], pixels[1] * steps[2]).astype(weights.dtype)
        shares = weights[:, :, 1:, 1:]
        shares = share(shares) if share else shares / shares.sum(axis=-1, keepdims=True)
        return (shares * far).sum(axis=-1).mean(axis=mean)

    return wrong


def _with_time(weights, thw, pixels):
    steps = [np.subtract.outer(place, place) for place in np.indices(thw).reshape(3, -1)]
    far = np.sqrt(steps[0] ** 2 + (pixels[0] * steps[1]) ** 2 + (pixels[1] * steps[2]) ** 2)
    shares = weights[:, :, 1:, 1:]
    shares = shares / shares.sum(axis=-1, keepdims=True)
    return (shares * far.astype(weights.dtype)).sum(axis=-1).mean(axis=(0, 2))


ATTENTION_DISTANCE = Exercise(
    attention_distance,
    _reference_distance,
    _looks,
    (
        ("the rows do not sum to 1 any more without the class token: divide each by its sum",
         _far(share=lambda shares: shares)),
        ("the scaling makes columns sum to 1: each query's row has to, axis=-1",
         _far(share=lambda shares: shares / shares.sum(axis=-2, keepdims=True))),
        ("the attention is left out: each key counts by its weight",
         _far(share=lambda shares: np.ones_like(shares) / shares.shape[-1])),
        ("the time counts as a distance: only the place in the picture does", _with_time),
        ("the distances are squared: take the root", _far(lambda down, right: down**2 + right**2)),
        ("the distance is rows plus columns: the straight line is the root of the squares' sum",
         _far(lambda down, right: abs(down) + abs(right))),
        ("pixels is (down, right): rows by the first, columns by the second",
         lambda weights, thw, pixels: attention_distance(weights, thw, pixels[::-1])),
        ("the distance is in tokens: multiply by pixels",
         lambda weights, thw, pixels: attention_distance(weights, thw, (1, 1))),
        ("the distances of all queries are added up: their mean is wanted",
         lambda weights, thw, pixels: math.prod(thw) * attention_distance(weights, thw, pixels)),
        ("each clip has its own result: the mean over clips is wanted", _far(mean=2)),
    ),
    level=SPECIFICATION,
)  # fmt: skip

EXERCISES = (ROLLOUT, ATTENTION_DISTANCE)
