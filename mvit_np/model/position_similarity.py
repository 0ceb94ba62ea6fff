"""What learned positions have in common: cosines between those of cells, and of times."""

from __future__ import annotations

import numpy as np

from ..backend.arrays import to_host
from ..backend.types import Array, Params
from .config import MViTConfig
from .forward import check_params
from .plan import plan as plan_of


def position_similarity(params: Params, config: MViTConfig) -> tuple[Array, Array | None]:
    """Cosines between the learned positions of all cells, and of all times (ViT's Fig. 7).

    -> (H W, H W) and (T, T), float64, for the embedding's grid (T, H, W)

    The second is None without positions in time.

    Joint positions (one for each cell at each time) are averaged over time for the first and over
    space for the second. ViViT's factorised encoder has its times in the bridge. Raises ValueError
    for parameters of another config, and for a config without learned absolute positions.
    """
    check_params(params, config)
    if config.positions in ("none", "relative"):
        raise ValueError(
            "similarities are of learned absolute positions; this config has "
            f"positions={config.positions!r}: choose a model with 'separate', 'space' or 'joint'"
        )
    space, time = (table if table is None else to_host(table) for table in _tables(params, config))
    return _cosines(space), None if time is None else _cosines(time)


def _tables(params, config):
    """The positions in space and those in time.   -> (H W, D), (T, D) or None"""
    p, time = plan_of(config), params.get("pos_embed_temporal")
    if p.bridge:
        time = params["bridge"]["pos_embed"][p.bridge.cls :]
    if config.positions != "joint":
        return params["pos_embed_spatial"], time
    t, h, w = p.embed.thw_sequence
    table = params["pos_embed"][p.embed.cls :].reshape(t, h * w, -1)
    return table.mean(axis=0), time if p.bridge else table.mean(axis=1)


def _cosines(rows):
    """(N, D) -> (N, N); rows of zeros are like nothing."""
    rows = rows.astype(np.float64)
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)
    return rows @ rows.T
