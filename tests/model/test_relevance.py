"""Relevance: slopes against finite differences, the sum over paths against a loop, and masking."""

from dataclasses import replace

import numpy as np
import pytest

import mvit_np as mv
from mvit_np import ops
from mvit_np.model import relevance as module
from mvit_np.model.inspection import attention_weights_of
from mvit_np.model.layers import attention as layer
from mvit_np.model.relevance import relevance
from mvit_np.studies.model_cases import roughened

SMALL = mv.MViTConfig(
    frames=4, size=16, channels=2, num_classes=5, cube_kernel=(3, 3, 3), cube_stride=(2, 2, 2),
    dim=8, heads=2, depths=(1, 2), stride_kv=(1, 2, 2), mlp_ratio=2,
)  # fmt: skip
VARIANTS = {
    "MViT": {},
    "no class token": {"cls_token": False},
    "max pooling": {"pool": "max"},
    "MViTv2": {
        "positions": "relative", "pool_q_always": True, "residual_pooling": "tokens",
        "expand_in": "attention",
    },
    "no skip": {"skip": "none", "expand_in": "attention"},
    "ViT": {"depths": (2,), "stride_kv": None, "pool_kernel": (1, 1, 1), "pool_q_always": False},
}  # fmt: skip


def model(changes=(), dtype=np.float64):
    config = replace(SMALL, **dict(changes))
    params = roughened(config)
    clip = np.random.default_rng(2).standard_normal((2, *config.thw, config.channels))
    return config, mv.tree.map(lambda p: p.astype(dtype), params), clip.astype(dtype)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_slopes_are_those_of_pushing_the_weights(name, monkeypatch):
    """ds/dA of single entries, by central differences through an attention that is changed."""
    config, params, clip = model(VARIANTS[name].items())
    classes = np.array([1, 3])
    cams = module._weighted_attention(params, clip, config, classes)
    push = {}

    def pushed(q, k, v, scale):
        weights = ops.attention_weights(q, k, scale)
        block = push["calls"] = push["calls"] + 1
        if block == push["block"]:
            weights[push["at"]] += push["by"]
        return (weights @ v.swapaxes(1, 2)).swapaxes(1, 2)

    weights = attention_weights_of(params, clip, config)
    monkeypatch.setattr(layer, "attend", pushed)

    def score(by):
        push.update(by=by, calls=-1)
        with mv.plain_ops():
            return mv.forward(params, clip, config)[np.arange(2), classes].sum()

    rng = np.random.default_rng(0)
    for block, of_block in enumerate(weights):
        at = tuple(int(rng.integers(n)) for n in (2, 1, *of_block.shape[2:]))
        expected = 0
        for head in range(of_block.shape[1]):
            push.update(block=block, at=(at[0], head, *at[2:]))
            slope = (score(1e-5) - score(-1e-5)) / 2e-5
            expected += max(0, of_block[push["at"]] * slope) / of_block.shape[1]
        np.testing.assert_allclose(cams[block][at[0], at[2], at[3]], expected, atol=1e-9)


def test_without_pooling_it_is_the_papers_sum_over_paths():
    config, params, clip = model(VARIANTS["ViT"].items())
    cams = module._weighted_attention(params, clip, config, [4, 0])
    found = relevance(params, clip, config, [4, 0])
    for b in range(2):
        r = np.eye(cams[0].shape[1])
        for cam in cams:
            r = r + cam[b] @ r
        row = r[0, 1:]  # what the class token gathers
        np.testing.assert_allclose(found[b].ravel(), row / row.sum(), rtol=1e-12)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_map_has_a_share_for_each_token_and_depends_on_the_class(name):
    config, params, clip = model(VARIANTS[name].items(), np.float32)
    maps = [relevance(params, clip, config, [k, k]) for k in range(5)]
    assert all(found.shape == (2, *mv.plan(config).embed.thw) for found in maps)
    assert all((found >= 0).all() for found in maps)
    np.testing.assert_allclose([found.sum(axis=(1, 2, 3)) for found in maps], 1)
    assert len({found.tobytes() for found in maps}) == 5
    best = mv.forward(params, clip, config).argmax(axis=1)
    np.testing.assert_array_equal(
        relevance(params, clip, config), relevance(params, clip, config, best)
    )


def test_two_clips_do_not_mix():
    config, params, clip = model()
    both = relevance(params, clip, config, [1, 2])
    for k in range(2):
        alone = relevance(params, clip[k : k + 1], config, [1 + k])
        np.testing.assert_allclose(both[k], alone[0], rtol=1e-10)


@pytest.mark.parametrize("classes", [[5, 0], [-1, 0], [1], [0.5, 1], "ab"])
def test_classes_that_the_model_does_not_have_are_refused(classes):
    config, params, clip = model()
    with pytest.raises(ValueError, match="one of the 5 classes for each of the 2 clips; came"):
        relevance(params, clip, config, classes)


def test_two_streams_are_refused():
    config = replace(SMALL, reversible=True, cls_token=False, expand_in="attention")
    params = mv.init(config, np.random.default_rng(0))
    with pytest.raises(ValueError, match="came a model with two streams: take another one"):
        relevance(params, np.zeros((1, *config.thw, 2), np.float32), config)
