"""The numbers that parity is checked on: small models, weights and clips drawn from a seed, and how
to compare.

No torch here. Each array is drawn by its own name: a parameter that comes, goes or moves leaves the
others as they are. The generator is NumPy's legacy one: its stream is frozen for good (NEP 19), so
a seed is all a golden file must keep.
"""

import zlib

import numpy as np

import mvit_np as mv
from mvit_np.backend import tree
from mvit_np.model.parameters import parameter_shapes
from mvit_np.weights.layouts.renames import nested

_MViT = dict(frames=4, size=32, num_classes=5, dim=8, depths=(1, 2, 1), stride_kv=(1, 4, 4))
_MViTv2 = _MViT | dict(
    pool_q_always=True, positions="relative", residual_pooling="tokens", expand_in="attention"
)
_UNEVEN = dict(size=20, uneven=True)  # 5 x 5 tokens, then 3 x 3, then 2 x 2

CONFIGS = {
    "v1": mv.MViTConfig(**_MViT),
    "v1, two heads": mv.MViTConfig(**_MViT | dict(heads=2, dim=12)),
    "v1, odd oblong grid": mv.MViTConfig(
        **_MViT | dict(frames=6, size=(24, 40), depths=(1, 2), stride_kv=(1, 2, 2))
    ),
    "v1, rounded grids": mv.MViTConfig(
        **_MViT | _UNEVEN | dict(stride_kv=(1, 2, 2), adaptive_kv=False)
    ),
    "v1, kernel flat in time": mv.MViTConfig(**_MViT | dict(pool_kernel=(1, 3, 3))),
    "v1, kernel s + 1": mv.MViTConfig(**_MViT | dict(pool_kernel="s+1", depths=(2, 2))),
    "v1, kernel 2s + 1": mv.MViTConfig(**_MViT | dict(pool_kernel="2s+1", depths=(1, 2))),
    "v1, pooling time": mv.MViTConfig(
        **_MViT
        | dict(frames=8, stride_q=((2, 2, 2), (1, 2, 1)), stride_kv=(4, 4, 4), depths=(1, 1, 2))
    ),
    "v1, whole keys": mv.MViTConfig(**_MViT | dict(stride_kv=None, depths=(1, 2))),
    "v1, one width": mv.MViTConfig(**_MViT | dict(expand=False, qkv_bias=False, positions="space")),
    "v1, cubes side by side": mv.MViTConfig(
        **_MViT | dict(frames=2, cube_kernel=(1, 4, 4), cube_stride=(1, 4, 4))
    ),
    "v2": mv.MViTConfig(**_MViTv2),
    "v2, class row too": mv.MViTConfig(**_MViTv2 | dict(residual_pooling="all", heads=2)),
    "v2, fewer keys": mv.MViTConfig(**_MViTv2 | dict(stride_kv=(1, 8, 8), depths=(2, 2))),
    "v2, fewer queries": mv.MViTConfig(**_MViTv2 | dict(stride_kv=(1, 1, 1), adaptive_kv=False)),
    "v2, odd oblong grid": mv.MViTConfig(
        **_MViTv2 | dict(frames=6, size=(24, 40), depths=(1, 2), stride_kv=(1, 2, 2))
    ),
    "v2, rounded grids": mv.MViTConfig(
        **_MViTv2 | _UNEVEN | dict(stride_kv=(1, 2, 2), depths=(1, 2, 2))
    ),
    "v2, pooling time": mv.MViTConfig(
        **_MViTv2
        | dict(frames=8, stride_q=(2, 2, 2), stride_kv=(2, 4, 4), adaptive_kv=False, depths=(1, 2))
    ),
    "v2, positions in space": mv.MViTConfig(
        **_MViTv2 | dict(relative_time=False, pool_q_always=False)
    ),
    "v2, wider after the MLP": mv.MViTConfig(
        **_MViTv2 | dict(expand_in="mlp", residual_pooling=None)
    ),
}


def draw(seed, name, shape, dtype=np.float64):
    """Standard normal numbers that depend on `seed` and `name` alone."""
    return (
        np.random.RandomState([seed, zlib.crc32(name.encode())])
        .standard_normal(shape)
        .astype(dtype)
    )


def draw_params(config, seed, dtype=np.float64):
    """Parameters of which none is trivial: no bias or position is 0, no norm the identity, no
    attention even.
    """
    shapes = parameter_shapes(config)
    return nested({path: _draw_leaf(seed, path, shape, dtype) for path, shape in shapes.items()})


def hollow_params(config):
    """Arrays of the right shapes that take no memory: all zeros."""
    shapes = parameter_shapes(config)
    return nested({path: np.broadcast_to(np.float32(0), shape) for path, shape in shapes.items()})


def _draw_leaf(seed, path, shape, dtype):
    """Weights keep the size of what they meet, so that logits are of order 1 at any depth."""
    x, leaf = draw(seed, path, shape), path.rpartition(".")[2]
    if leaf == "w":
        fan_in = np.prod(shape[:3]) if ".pool_" in path else np.prod(shape[:-1])
        return (x * fan_in**-0.5).astype(dtype)
    return (1 + 0.2 * x if leaf == "g" else 0.2 * x).astype(dtype)


def draw_clip(config, seed, batch=2, dtype=np.float64):
    """(batch, T, H, W, C)"""
    return draw(seed, "clip", (batch, *config.thw, config.channels), dtype)


def draw_cotangent(config, seed, batch=2):
    """(batch, num_classes): what the logits are weighted with before gradients are taken."""
    return draw(seed, "cotangent", (batch, config.num_classes))


def logits_and_gradients(params, clip, config, cotangent):
    """Of mvit_np: logits (B, K), and {path: gradient of sum(logits cotangent)} for every parameter
    and the "clip".
    """

    def loss(params, clip):
        logits = mv.forward(params, clip, config)
        return (logits * cotangent).sum(), logits

    (_, logits), (d_params, d_clip) = mv.value_and_grad(loss, argnums=(0, 1), has_aux=True)(
        params, clip
    )
    return logits, dict(tree.paths(d_params)) | {"clip": d_clip}


def relative_error(ours, theirs, floor=0.0):
    """max |ours - theirs| in units of max |theirs|, or of `floor` where that is larger."""
    assert ours.shape == theirs.shape, f"shapes differ: {ours.shape} and {theirs.shape}"
    return float(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), floor))


def gradient_errors(ours, theirs, floor=1e-5):
    """{path: relative error}. Floor, in units of the largest gradient of all: some are 0 in theory
    (`norm_k.b`, which moves all logits of a query alike), and rounding in practice.
    """
    assert ours.keys() == theirs.keys()
    largest = max(np.abs(g).max() for g in theirs.values())
    return {path: relative_error(ours[path], theirs[path], floor * largest) for path in theirs}
