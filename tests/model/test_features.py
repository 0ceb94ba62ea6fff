"""`mv.features`: maps are what blocks put out, the pooled vector is what the head reads."""

import numpy as np
import pytest
from draws import CONFIGS, draw_clip, draw_params

import mvit_np as mv
from mvit_np.model.features import features, pooled

SEED = 9
FAMILY = {
    "vivit": mv.MViTConfig(
        frames=4, size=16, num_classes=5, dim=12, heads=3, depths=(2,), stride_kv=None,
        cube_kernel=(2, 8, 8), cube_stride=(2, 8, 8), time_depth=1, positions="joint",
    ),
    "hiera": mv.MViTConfig(
        frames=4, size=32, num_classes=5, dim=8, depths=(1, 2), stride_kv=None, pool="max",
        pool_kernel="s", skip_kernel="s", cls_token=False, mean_before_norm=True,
        mask_unit=(1, 4, 4), expand_in="attention",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ["v1", "v2", "v2, rounded grids", "v1, one width", *FAMILY])
def test_maps_are_the_blocks_outputs_and_the_head_reads_the_pooled(name):
    config = (CONFIGS | FAMILY)[name]
    params, clip = draw_params(config, SEED), draw_clip(config, SEED)
    outputs = {}
    logits = mv.forward(params, clip, config, hook=outputs.__setitem__)
    found, blocks = mv.features(params, clip, config), mv.plan(config).blocks
    last = [b.index for b in blocks if b.index + 1 == len(blocks) or _ends(b, blocks)]
    assert len(found.maps) == len(last)
    for index, grid in zip(last, found.maps):
        tokens = outputs[f"blocks.{index}.output"][:, blocks[index].cls :]
        t, *hw = blocks[index].thw_q
        assert grid.shape == (2, blocks[index].sequences * t, *hw, blocks[index].dim_out)
        np.testing.assert_array_equal(grid.ravel(), tokens.ravel())
    scores = found.pooled @ params["head"]["w"] + params["head"]["b"]
    np.testing.assert_allclose(scores, logits, atol=1e-12)
    np.testing.assert_allclose(pooled(params, clip, config), found.pooled, atol=1e-12)


def _ends(block, blocks):
    return blocks[block.index + 1].stage != block.stage


def test_of_a_reversible_model_the_mean_of_the_streams_goes_on():
    config = mv.MViTConfig(
        frames=2, size=32, num_classes=5, dim=8, depths=(2, 2), stride_kv=(1, 4, 4),
        reversible=True, cls_token=False, skip="plain", expand_in="attention",
    )  # fmt: skip
    params, clip = draw_params(config, SEED), draw_clip(config, SEED)
    found = features(params, clip, config)
    p = mv.plan(config)
    assert found.maps[0].shape[1:] == (*p.blocks[1].thw_q, p.blocks[1].dim_out)
    assert found.maps[1].shape[1:] == (*p.blocks[-1].thw_q, 2 * p.blocks[-1].dim_out)
    scores = found.pooled @ params["head"]["w"] + params["head"]["b"]
    np.testing.assert_allclose(scores, mv.forward(params, clip, config), atol=1e-12)


def test_features_may_be_differentiated():
    """A head of one's own on the maps: its gradient goes back into the clip and the blocks."""
    config = CONFIGS["v1"]
    params, clip = draw_params(config, SEED), draw_clip(config, SEED, batch=1)

    def loss(params, clip):
        found = features(params, clip, config)
        return (found.maps[0] * found.maps[0]).mean() + (found.pooled * found.pooled).mean()

    mv.gradcheck(lambda clip: loss(params, clip), clip)
    grads = mv.value_and_grad(loss)(params, clip)[1]
    assert np.abs(grads["blocks"][0]["attn"]["qkv"]["w"]).max() > 0
    assert not grads["head"]["w"].any()
