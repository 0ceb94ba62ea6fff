"""Models, arrays and tolerances for tests that hold a device's numbers against NumPy's."""

from dataclasses import replace

import numpy as np

import mvit_np as mv
from mvit_np.backend import tree as trees
from mvit_np.studies.gradient_cases import TINY, TINY_HIERA, TINY_REV, TINY_V2, TINY_VIVIT

MICRO = mv.preset("mvit_micro")
FAMILY = {
    "MViT": MICRO,
    "max pooling": replace(
        MICRO, pool="max", pool_kernel="s+1", cls_token=False, positions="joint"
    ),
    "average pooling": replace(MICRO, pool="avg", pool_kernel="2s+1", positions="space"),
    "tiny MViT": TINY,
    "MViTv2": TINY_V2,
    "Rev-MViT": TINY_REV,
    "Hiera": TINY_HIERA,
    "ViViT, factorised": TINY_VIVIT,
    "ViT": replace(MICRO, depths=(2,), heads=4, stride_kv=None),
}
TOLERANCE = {"float32": 2e-5, "float64": 1e-10}


def agree(host, device, dtype):
    """Each tensor relative to its largest entry, gradients that are zero in theory to the largest
    of all.
    """
    everything = max(float(np.abs(leaf).max()) for leaf in trees.leaves(host))
    for a, b in zip(trees.leaves(host), trees.leaves(mv.to_host(device))):
        assert a.dtype == b.dtype == dtype
        scale = max(float(np.abs(a).max()), 1e-4 * everything)
        assert float(np.abs(a - b).max()) <= TOLERANCE[dtype] * scale


def task(config, dtype="float32"):
    rng = np.random.default_rng(0)
    params = trees.map(
        lambda p: (p + 0.1 * rng.standard_normal(p.shape)).astype(dtype), mv.init(config, rng)
    )
    clip = rng.standard_normal((2, *config.thw, config.channels)).astype(dtype)
    return params, clip, np.array([0, 1])
