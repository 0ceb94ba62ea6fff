"""The forward pass by rows is the composition of the definitions, for every kind of block."""

from dataclasses import replace

import numpy as np
import pytest

from mvit_np.autodiff.hooks import watching
from mvit_np.backend import tiles, tree
from mvit_np.backend.arrays import plain_ops
from mvit_np.model import forward, passes
from mvit_np.studies.gradient_cases import (
    TINY,
    TINY_HIERA,
    TINY_V2,
    TINY_VIVIT,
    roughened,
)

FAMILY = {
    "MViT": TINY,
    "MViTv2": TINY_V2,
    "Hiera": TINY_HIERA,
    "ViViT": TINY_VIVIT,
    "strides beyond the kernels": replace(TINY, size=32, stride_kv=(1, 8, 8)),
    "no class token, max pooling": replace(
        TINY, cls_token=False, pool="max", pool_kernel="s+1", residual_pooling=None
    ),
    "average pooling": replace(TINY, pool="avg"),
    "keys and values not pooled": replace(TINY, stride_kv=None),
    "skips not normed": replace(TINY, skip="plain"),
    "no skips where it widens": replace(TINY, skip="none"),
    "widening in attention, skips not normed": replace(TINY, expand_in="attention", skip="plain"),
    "widening in attention, no skips": replace(TINY, expand_in="attention", skip="none"),
    "no bias": replace(TINY, qkv_bias=False),
}


def case(config, dtype="float64"):
    params = tree.map(lambda x: x.astype(dtype), roughened(config))
    clip = np.random.default_rng(0).standard_normal((3, *config.thw, config.channels))
    return params, clip.astype(dtype), config


@pytest.fixture(params=[None, 16], ids=["whole", "cut"])
def cut(request, monkeypatch):
    """Arrays as they are, and cut into tiles of a few rows."""
    if request.param:
        monkeypatch.setattr(tiles, "SMALL", 1)
        monkeypatch.setattr(tiles, "NUMBERS", request.param)


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-13), ("float32", 2e-6)])
@pytest.mark.parametrize("config", FAMILY.values(), ids=FAMILY)
def test_rows_at_a_time_give_what_the_definitions_give(config, dtype, tolerance, cut):
    inputs = case(config, dtype)
    with plain_ops():
        wanted = forward.run(*inputs)
    with tiles.use_threads(2):
        found = passes.run(*inputs)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


@pytest.mark.parametrize("config", [TINY, TINY_V2, TINY_HIERA], ids=["MViT", "MViTv2", "Hiera"])
def test_threads_change_no_bit_and_nothing_is_written_to_the_arguments(config, cut):
    params, clip, config = case(config, "float32")
    before = tree.map(np.copy, [params, clip])
    found = []
    for count in (1, 2, 3):
        with tiles.use_threads(count):
            found += [passes.run(params, clip, config), forward.forward(params, clip, config)]
    for logits in found:
        assert np.array_equal(logits, found[0]) or np.array_equal(logits, found[1])
    assert all(map(np.array_equal, found[0::2], found[2::2]))
    assert all(map(np.array_equal, found[1::2], found[3::2]))
    for now, then in zip(tree.leaves([params, clip]), tree.leaves(before)):
        assert np.array_equal(now, then)


def test_whoever_watches_the_ops_sees_each():
    seen = []
    with watching(lambda name, *_: seen.append(name)):
        forward.forward(*case(TINY))
    assert seen.count("attend") == seen.count("mlp") == sum(TINY.depths)
