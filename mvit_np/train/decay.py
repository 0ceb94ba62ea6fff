"""What decays: parameters by weight decay, and the learning rate from layer to layer.

A mask of weight decay is a function (path, parameter) -> bool, and may ask for either.
"""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import TypeAlias

from ..backend import tree as trees
from ..backend.types import Array, Params

Mask: TypeAlias = Callable[[str, Array], bool]

EMBEDDING = ("patch_embed", "cls_token", "pos_embed")  # what the names of its parameters begin with


def decays(path: str, param: Array) -> bool:
    """Whether weight decay applies: to matrices and filters, not to vectors or position tables."""
    return param.ndim > 1 and not path.rpartition(".")[2].startswith(("pos_embed", "rel_pos"))


def decays_except(*patterns: str) -> Mask:
    """A mask like `decays` that also spares paths like a pattern: `head.*`, `blocks.*.pool_?.w`."""

    def mask(path, param):
        return decays(path, param) and not any(fnmatchcase(path, pattern) for pattern in patterns)

    return mask


def layer_factors(params: Params, decay: float) -> dict[str, float]:
    """{path: factor of the learning rate}, smaller from each block to the one before it.

    It is decay^(L - i) in block i of L, decay^(L + 1) in the embedding, and else 1.

    Layer-wise decay of the learning rate (BEiT, Bao et al. 2022): what came first in the network
    moves least. It is for fine-tuning, where the first layers are good already; MViTv2's authors
    use 0.75 after self-supervised training.

    Block 0 has decay^L and the last block has decay; "else" is the last norm, the head, and ViViT's
    bridge, which is new where the rest is not.

    Raises ValueError for parameters without blocks, and for a decay outside (0, 1].
    """
    if not 0 < decay <= 1:
        raise ValueError(
            f"a layer's rate is a share in (0, 1] of the next one's, came {decay}: "
            "0.75 is usual, 1 changes nothing"
        )
    if "blocks" not in params:
        raise ValueError(
            f"layers are counted by the list `blocks`; came {', '.join(params)}: "
            "pass a model's parameters"
        )
    depth = len(params["blocks"])
    return {path: decay ** (depth + 1 - _layer(path, depth)) for path, _ in trees.paths(params)}


def _layer(path, depth):
    """0 is the embedding, 1 to L are the blocks, L + 1 is what follows."""
    if path.startswith(EMBEDDING):
        return 0
    first, _, rest = path.partition(".")
    return int(rest.partition(".")[0]) + 1 if first == "blocks" else depth + 1
