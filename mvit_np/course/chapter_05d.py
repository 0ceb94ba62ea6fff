"""Exercises of notebook 05, fourth part: which stage takes the multiply-adds?"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from ..model.config import MViTConfig
from ..model.costs import costs
from ..model.plan import plan
from ..model.presets import preset
from .checker import INVESTIGATE, Exercise


def stage_shares(config):
    """Which share of the multiply-adds of all blocks each stage takes.

    config: an MViTConfig   ->   (number of stages,), with the sum 1
    Hint: costs(config).lines has a line per part of the model, with its macs, and with its stage,
    counted from 0. The embedding and the head belong to no stage: there it is None.
    """
    macs = np.zeros(len(config.depths))
    for line in costs(config).lines:
        if line.stage is not None:
            macs[line.stage] += line.macs
    return macs / macs.sum()


def _block(s):
    """A block's multiply-adds, product by product."""
    pools = [p for p in (s.pool_q, s.pool_kv, s.pool_kv) if p and p.kind == "conv"]
    macs = s.tokens_in * s.dim_in * 3 * s.dim_attn + s.tokens_q * s.dim_attn**2
    macs += 2 * s.tokens_q * s.tokens_kv * s.dim_attn
    macs += sum(prod(p.thw_out) * prod(p.kernel) * s.dim_attn for p in pools)
    macs += s.tokens_q * s.dim_mlp * (s.dim_attn + s.dim_out)
    return macs + (s.tokens_q * s.dim_attn * s.dim_out if s.dim_attn != s.dim_out else 0)


def _by_stage(config, of=_block):
    """The sum of something over the blocks of each stage."""
    found = np.zeros(len(config.depths))
    for s in plan(config).blocks:
        found[s.stage] += of(s)
    return found


def _shares(values, whole=None):
    return values / (values.sum() if whole is None else whole)


def _configs(rng):
    base = preset("mvit_b_16x4")
    yield (replace(base, frames=8),)
    yield (base,)
    for depths in ((1, 2, 3), (2, 1, 4, 2)):
        frames, dim = int(rng.choice((4, 8, 32))), 32 * int(rng.integers(1, 4))
        yield (MViTConfig(frames=frames, size=128, dim=dim, depths=depths, pool="max"),)


def _params_of(config):
    found = np.zeros(len(config.depths))
    for line in costs(config).lines[1:-1]:
        found[line.stage] += line.params
    return found


STAGE_SHARES = Exercise(
    stage_shares,
    lambda config: _shares(_by_stage(config)),
    _configs,
    (
        ("they are shares of the whole model: leave out embedding and head, and the sum is 1",
         lambda config: _shares(_by_stage(config), costs(config).macs)),
        ("the multiply-adds themselves are returned: divide by their sum", _by_stage),
        ("the mean of a stage's blocks is taken: sum them up",
         lambda config: _shares(_by_stage(config) / np.array(config.depths))),
        ("the parameters are shared out: count the multiply-adds",
         lambda config: _shares(_params_of(config))),
        ("the blocks are shared out: count their multiply-adds",
         lambda config: _shares(_by_stage(config, lambda s: 1))),
        ("the tokens are shared out: count the multiply-adds",
         lambda config: _shares(_by_stage(config, lambda s: s.tokens_q))),
        ("they are percentages: the sum is 1", lambda config: 100 * _shares(_by_stage(config))),
    ),
    level=INVESTIGATE,
    finding="in MViT-B the stages take 9, 20, 59 and 13 %; per block that is 6.1, 6.9, 3.7 and "
    "4.5 G. The first block of a stage is the most expensive, since it still gets the tokens of "
    "the stage before. With 64 frames in place of 16 the shares are 10, 25, 54 and 11 %.",
)  # fmt: skip

EXERCISES = (STAGE_SHARES,)
