"""What follows: every grid, width, kernel and stride of a model, decided once (Sec. 3.2, Table 2).

Init, forward, costs, figures and tests all read the plan; no layer computes a size. How sizes
follow is in `model/sizes.py`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from .config import MViTConfig
from .sizes import block_sizes, embed_size, time_block_sizes
from .specs import BlockSpec, BridgeSpec, EmbedSpec, HeadSpec
from .text_table import stage_table


@dataclass(frozen=True)
class Plan:
    """All sizes of one model. `print(plan)` shows the stage table."""

    config: MViTConfig
    embed: EmbedSpec
    blocks: tuple[BlockSpec, ...]
    bridge: BridgeSpec | None  # before block sum(depths)
    head: HeadSpec

    def __str__(self) -> str:
        return stage_table(self)


@functools.lru_cache(maxsize=64)
def plan(config: MViTConfig) -> Plan:
    """Every size that follows from `config`. Raises TypeError for what is no MViTConfig."""
    if not isinstance(config, MViTConfig):
        came = f"came {type(config).__name__}: mv.preset(name) gives one by name"
        raise TypeError(f"a config is an MViTConfig; {came}")
    embed = embed_size(config)
    blocks, bridge = tuple(block_sizes(config, embed)), None
    streams, width = 2 if config.reversible else 1, blocks[-1].dim_out
    summary = config.cls_token, config.mean_before_norm
    if config.time_depth:
        bridge = BridgeSpec(width, embed.thw[0], config.positions != "none", *summary, config.eps)
        blocks += tuple(time_block_sizes(config, blocks[-1], bridge))
    ends = config.dropout, config.eps
    head = HeadSpec(streams * width, config.num_classes, *summary, *ends)
    return Plan(config, embed, blocks, bridge, head)
