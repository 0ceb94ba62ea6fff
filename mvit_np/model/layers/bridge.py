"""ViViT's factorised encoder (Arnab et al. 2021, Sec. 3.3): frames, then a token per frame."""

from ...backend.types import Array, Generator, Params
from ...ops import add, join_class, reshape
from ..specs import BridgeSpec
from . import initial
from .head import summary


def bridge(params: Params, x: Array, spec: BridgeSpec) -> Array:
    """The summary of each frame becomes a token of the clip.

    x: (B t, [1 +] h w, D)   ->   (B, [1 +] t, D)
    """
    x = reshape(summary(params["norm"], x, spec), (-1, spec.frames, spec.dim))
    x = join_class(params["cls_token"], x) if spec.cls else x
    return add(x, params["pos_embed"]) if spec.positions else x


def init_bridge(spec: BridgeSpec, rng: Generator) -> Params:
    """The parameters of `bridge`."""
    params: Params = {"norm": initial.norm(rng, spec.dim)}
    if spec.cls:
        params["cls_token"] = initial.normal(rng, spec.dim)
    if spec.positions:
        params["pos_embed"] = initial.normal(rng, spec.cls + spec.frames, spec.dim)
    return params
