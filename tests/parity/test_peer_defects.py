"""Where the public implementations fail or surprise, this one is held to do better: one test a
defect.
"""

from dataclasses import replace

import numpy as np
import pytest
from draws import CONFIGS, draw, draw_clip, draw_params, hollow_params

import mvit_np as mv
from mvit_np.backend import tree
from mvit_np.train import decays

torch_models = pytest.importorskip(
    "torch_models", reason="parity needs them: pip install torch torchvision"
)
torch = torch_models.torch
V1, V2 = CONFIGS["v1"], CONFIGS["v2"]
IMAGE = mv.MViTConfig(
    frames=1, size=64, num_classes=5, cube_kernel=(1, 7, 7), cube_stride=(1, 4, 4), dim=8,
    depths=(1, 2, 1), stride_kv=(1, 4, 4), pool_kernel=(1, 3, 3), pool_q_always=True,
    positions="relative", relative_time=False, cls_token=False, residual_pooling="tokens",
    expand_in="attention",
)  # fmt: skip


@pytest.mark.parametrize("config", [V1, V2], ids=["v1", "v2"])
@pytest.mark.parametrize("frames, size", [(8, 32), (4, 48)])
def test_torchvision_runs_at_the_size_it_was_built_for_alone(config, frames, size):
    params = draw_params(config, 3)
    clip = draw(3, "clip", (1, frames, size, size, 3))
    with pytest.raises((RuntimeError, ValueError)):
        torch_models.logits_of(torch_models.load_params(torch_models.build(config), params), clip)
    assert np.isfinite(
        mv.forward(*swapped(mv.resize(params, config, frames=frames, size=size), clip))
    ).all()


def swapped(model, clip):
    params, config = model
    return params, clip, config


def test_torchvisions_models_have_a_class_token_and_ours_may_not():
    with pytest.raises(ValueError, match="no such model"):
        torch_models.build(replace(V1, cls_token=False))
    config = replace(V1, cls_token=False)
    assert mv.forward(draw_params(config, 3), draw_clip(config, 3), config).shape == (2, 5)


def test_timm_has_tables_for_one_size_and_no_other():
    """256 pixels into a model of 224, in small: 96 into one of 64."""
    timm = pytest.importorskip("timm.models.mvitv2")
    cfg = timm.MultiScaleVitCfg(
        depths=(1, 2, 1), embed_dim=8, num_heads=1, stride_q=((1, 1), (2, 2), (2, 2))
    )
    model = timm.MultiScaleVit(cfg, img_size=64, num_classes=5).eval()
    with pytest.raises((IndexError, RuntimeError)):
        model(torch.zeros(1, 3, 96, 96))
    params, config = mv.resize(draw_params(IMAGE, 3), IMAGE, size=96)
    assert np.isfinite(mv.forward(params, draw_clip(config, 3), config)).all()


def test_timm_pools_first_by_a_product_of_shapes_that_do_not_fit():
    """Its `pool_first` raises at the first picture; it is no option here, and the config says so
    before anything runs.
    """
    timm = pytest.importorskip("timm.models.mvitv2")
    cfg = timm.MultiScaleVitCfg(
        depths=(1, 1), embed_dim=8, num_heads=1, stride_q=((1, 1), (2, 2)), pool_first=True
    )
    with pytest.raises(RuntimeError):
        timm.MultiScaleVit(cfg, img_size=64, num_classes=5).eval()(torch.zeros(1, 3, 64, 64))
    with pytest.raises(ValueError, match="pool is one of 'conv', 'max', 'avg'"):
        replace(IMAGE, pool="conv_unshared")


def test_pytorchvideos_image_model_has_400_classes_by_default_and_ours_imagenets():
    hub = pytest.importorskip("pytorchvideo.models.hub.vision_transformers")
    assert "head_num_classes" not in hub.mvit_image_base_16_config
    assert mv.preset("mvit_b_16_image").num_classes == 1000


def test_slowfast_starts_its_biases_at_0_02_and_ours_are_0():
    params = dict(tree.paths(mv.init(V2, np.random.default_rng(0))))
    assert all(np.all(x == 0) for path, x in params.items() if path.endswith(".b"))
    assert all(np.all(x == 1) for path, x in params.items() if path.endswith(".g"))


@pytest.mark.parametrize(
    "config", [V1, V2, replace(V1, positions="joint")], ids=["v1", "v2", "joint"]
)
def test_facebooks_list_of_what_does_not_decay_matches_nothing_and_ours_does(config):
    decayed = {path for path, x in tree.paths(hollow_params(config)) if decays(path, x)}
    assert decayed and all(path.endswith(".w") for path in decayed)


def test_slowfast_and_torchvision_disagree_on_the_row_of_a_relative_table_and_ours_is_slowfasts():
    """At MViTv2-L's sizes; torchvision's order of operations, in float64, picks other rows."""
    from mvit_np.ops.relative_position import relative_index

    q, k = 78, 10
    slowfast = (
        torch.arange(q)[:, None] * max(k / q, 1.0)
        - torch.arange(k)[None, :] * max(q / k, 1.0)
        + (k - 1) * (q / k)
    ).long()
    exact = np.trunc(np.arange(q)[:, None] - np.arange(k) * (q / k) + (k - 1) * (q / k))
    ours = relative_index(np, q, k)
    np.testing.assert_array_equal(ours, slowfast.numpy())
    assert (ours != exact).sum() > 0


def test_slowfasts_reversible_config_fails_with_a_class_token_and_ours_runs():
    config = replace(V1, reversible=True, expand_in="attention", skip="plain")
    assert config.cls_token
    assert np.isfinite(mv.forward(draw_params(config, 3), draw_clip(config, 3), config)).all()


def test_no_other_code_base_has_these_presets():
    for name in ("mvit_s_16x4", "mvit_b_64x3", "mvit_b_24_wide_320_image"):
        assert mv.costs(mv.preset(name)).macs > 0
