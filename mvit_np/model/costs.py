"""What the model of a config costs: the account of its plan."""

from __future__ import annotations

from .account import Costs, account, tokens_projected
from .config import MViTConfig
from .plan import plan


def costs(config: MViTConfig) -> Costs:
    """Parameters, multiply-adds and memory of the model that `config` describes."""
    return account(plan(config))


def skipped_macs(config: MViTConfig) -> int:
    """Multiply-adds counted for keys and values that no pool's window sees: they are not made."""
    return sum(
        s.sequences * (s.tokens_in - tokens_projected(s)) * s.dim_in * 2 * s.dim_attn
        for s in plan(config).blocks
    )
