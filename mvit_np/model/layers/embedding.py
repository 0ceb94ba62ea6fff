"""From a clip to tokens: cubes, class token, positions (Sec. 3.2)."""

from ...backend.types import Array, Generator, Params
from ...ops import add, cube_conv, join_class, reshape
from ..specs import EmbedSpec
from . import initial


def embed(params: Params, clip: Array, spec: EmbedSpec) -> Array:
    """Cubes of pixels become tokens, each told where it is.

    clip: (B, T, H, W, C)   ->   (B, [1 +] t h w, D)

    Where frames are sequences of their own (ViViT's factorised encoder), the result is
    (B t, [1 +] h w, D). Separate positions (Table 11): a token's is the sum of one for its frame
    and one for its cell in the frame.
    """
    cube = params["patch_embed"]
    x = cube_conv(clip, cube["w"], cube["b"], spec.stride, spec.padding)
    t, h, w = spec.thw_sequence
    batch, d = x.shape[0] * spec.sequences, spec.dim
    cls = params.get("cls_token")

    if spec.positions in ("separate", "space"):
        table = params["pos_embed_spatial"]
        if spec.positions == "separate":
            table = add(table, reshape(params["pos_embed_temporal"], (t, 1, d)))
        x = add(reshape(x, (batch, t, h * w, d)), table)
        cls = add(cls, params["pos_embed_class"]) if spec.cls else None

    x = reshape(x, (batch, t * h * w, d))
    x = join_class(cls, x) if spec.cls else x
    return add(x, params["pos_embed"]) if spec.positions == "joint" else x


def init_embed(spec: EmbedSpec, rng: Generator) -> Params:
    """The parameters of `embed`."""
    t, h, w = spec.thw_sequence
    d = spec.dim
    params: Params = {
        "patch_embed": {
            "w": initial.normal(rng, *spec.kernel, spec.channels, d),
            "b": initial.constant(rng, 0, d),
        }
    }
    if spec.cls:
        params["cls_token"] = initial.normal(rng, d)
    shapes: dict[str, tuple[int, ...]] = {}
    if spec.positions == "joint":
        shapes["pos_embed"] = (spec.cls + t * h * w, d)
    if spec.positions in ("separate", "space"):
        shapes["pos_embed_spatial"] = (h * w, d)
    if spec.positions == "separate":
        shapes["pos_embed_temporal"] = (t, d)
    if spec.positions in ("separate", "space") and spec.cls:
        shapes["pos_embed_class"] = (d,)
    return params | {name: initial.normal(rng, *shape) for name, shape in shapes.items()}
