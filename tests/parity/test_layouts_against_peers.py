"""Checkpoints of PyTorchVideo, timm and torchvision, read by the package, are the same functions
here as there.

What each test measures it prints: `python -m pytest tests/parity -rP`.
"""

from dataclasses import replace

import numpy as np
import pytest
from draws import CONFIGS, draw_clip, draw_cotangent, hollow_params, relative_error

import mvit_np as mv
from mvit_np.backend import tree
from mvit_np.weights.configs import from_shapes as infer
from mvit_np.weights.layouts import state_dicts as layouts

torch_models = pytest.importorskip(
    "torch_models", reason="parity needs them: pip install torch torchvision"
)
import peer_models  # noqa: E402

SEED = 2
V1 = CONFIGS["v1"]
V2_IMAGE = mv.MViTConfig(
    frames=1, size=64, num_classes=5, cube_kernel=(1, 7, 7), cube_stride=(1, 4, 4), dim=8, heads=2,
    depths=(1, 2, 2), stride_kv=(1, 4, 4), pool_kernel=(1, 3, 3), pool_q_always=True,
    positions="relative", relative_time=False, cls_token=False, residual_pooling="tokens",
    expand_in="attention",
)  # fmt: skip
HIERA = mv.MViTConfig(
    frames=4, size=32, num_classes=5, dim=8, depths=(1, 2, 2), stride_kv=None, pool="max",
    pool_kernel="s", skip_kernel="s", cls_token=False, mean_before_norm=True, mask_unit=(1, 4, 4),
    expand_in="attention", heads=1,
)  # fmt: skip
HIERA_IMAGE = replace(
    HIERA, frames=1, cube_kernel=(1, 7, 7), cube_stride=(1, 4, 4), positions="joint"
)

PYTORCHVIDEO = {
    "convolutions": V1,
    "two heads": CONFIGS["v1, two heads"],
    "no biases": replace(V1, qkv_bias=False),
    "kernel s + 1": replace(V1, pool_kernel="s+1"),
    "no class token": replace(V1, cls_token=False),
    "joint positions": replace(V1, positions="joint"),
    "max pooling": replace(V1, pool="max"),
    "max pooling, kernel s + 1": replace(
        V1, pool="max", pool_kernel="s+1", cls_token=False, positions="joint"
    ),
    # torch's AvgPool3d wants no window longer than its grid
    "mean pooling": replace(V1, pool="avg", frames=8),
    "whole keys in the last block": replace(V1, unpooled_kv=(3,)),
    "pictures": replace(
        V1,
        frames=1,
        cube_kernel=(1, 7, 7),
        cube_stride=(1, 4, 4),
        pool_kernel=(1, 3, 3),
        stride_kv=(1, 2, 2),
    ),
}
TIMM = {
    "widening in attention": V2_IMAGE,
    "widening in MLPs": replace(V2_IMAGE, expand_in="mlp"),
    "class token": replace(V2_IMAGE, cls_token=True, residual_pooling="all"),
    "more keys than queries": replace(V2_IMAGE, stride_kv=(1, 2, 2)),
}
HIERAS = {
    "clips": HIERA,
    "clips, joint positions": replace(HIERA, positions="joint"),
    "pictures": HIERA_IMAGE,
}
PEERS = {
    f"{title}, {name}": (module, build, layout, config)
    for title, module, build, layout, models in (
        (
            "PyTorchVideo",
            "pytorchvideo.models.vision_transformers",
            peer_models.pytorchvideo,
            "pytorchvideo",
            PYTORCHVIDEO,
        ),
        ("timm", "timm", peer_models.timm_mvit, "timm", TIMM),
        ("timm's Hiera", "timm", peer_models.timm_hiera, "timm_hiera", HIERAS),
    )
    for name, config in models.items()
}


def assert_same_function(model, tensors, config, like, batch=2):
    """Logits and the gradient of the input, of their model and of ours with its weights and the
    config inferred.
    """
    clip, cotangent = draw_clip(config, SEED, batch), draw_cotangent(config, SEED, batch)
    layout = layouts.recognise(tensors)
    params = layouts.to_params(tensors, layout)
    found, _ = infer.config(params, like=like, hints=layouts.hints(tensors, layout))
    assert found == config

    def loss(params, clip):
        logits = mv.forward(params, clip, found)
        return (logits * cotangent).sum(), logits

    (_, ours), d_clip = mv.value_and_grad(loss, argnums=1, has_aux=True)(params, clip)
    theirs, their_d_clip = peer_models.logits_and_input_gradient(model, clip, cotangent)
    errors = relative_error(ours, theirs), relative_error(d_clip, their_d_clip)
    print(f"float64: logits {errors[0]:.1e} apart, the input's gradient {errors[1]:.1e}")
    assert max(errors) <= 1e-9
    return params


def assert_same_tensors(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, x in theirs.items():
        np.testing.assert_array_equal(ours[name], x, err_msg=name, strict=True)


@pytest.mark.parametrize("name", PEERS)
def test_the_same_function_and_there_and_back(name):
    module, build, layout, config = PEERS[name]
    pytest.importorskip(module)
    model = build(config)
    tensors = peer_models.state_of(model)
    assert layouts.recognise(tensors) == layout
    params = assert_same_function(model, tensors, config, like=config)
    assert_same_tensors(layouts.from_params(params, config, layout.partition("_")[0]), tensors)


def test_pytorchvideo_of_today_fuses_qkv_and_registers_pools_twice():
    """As its main branch does (the release does not): same weights, packed by hand here."""
    pytest.importorskip("pytorchvideo.models.vision_transformers")
    model = peer_models.pytorchvideo(V1)
    tensors = peer_models.state_of(model)
    packed = {
        name: x for name, x in tensors.items() if ".attn.q." not in name and ".attn.k." not in name
    }
    packed = {name: x for name, x in packed.items() if ".attn.v." not in name}
    for i in range(V1.depth):
        for leaf in ("weight", "bias"):
            rows = [tensors[f"blocks.{i}.attn.{which}.{leaf}"] for which in "qkv"]
            packed[f"blocks.{i}.attn.qkv.{leaf}"] = np.concatenate(rows)
    params = assert_same_function(model, packed, V1, like=V1)
    assert_same_tensors(layouts.from_params(params, V1, "pytorchvideo", split=False), packed)

    aliases = {
        name.replace(f"{part}_{which}", f"_attention_pool_{which}.{part}"): x
        for name, x in packed.items()
        for part in ("pool", "norm")
        for which in "qkv"
        if f".attn.{part}_{which}." in name
    }
    # every block pools k and v, two blocks q; a weight, and a norm's two
    assert len(aliases) == 3 * 4 + 2 * 4 * 3 - 6
    again = layouts.to_params(packed | aliases, "pytorchvideo")
    tree.map(np.testing.assert_array_equal, params, again)


def test_timms_class_row_gets_the_query_where_slowfasts_does_not():
    """The one difference between the two on the same weights: with SlowFast's convention logits are
    far off.
    """
    pytest.importorskip("timm")
    config = TIMM["class token"]
    model = peer_models.timm_mvit(config)
    clip, cotangent = draw_clip(config, SEED), draw_cotangent(config, SEED)
    params = layouts.to_params(peer_models.state_of(model), "timm")
    theirs, _ = peer_models.logits_and_input_gradient(model, clip, cotangent)
    ours = mv.forward(params, clip, replace(config, residual_pooling="tokens"))
    assert relative_error(ours, theirs) > 0.1


FULL_SIZE = {
    "mvit_b_16x4": peer_models.pytorchvideo,
    "mvitv2_t_image": peer_models.timm_mvit,
    "mvitv2_l_image": peer_models.timm_mvit,
    "hiera_b_image": peer_models.timm_hiera,
    "hiera_b_16x224": peer_models.timm_hiera,
}


@pytest.mark.full_size
@pytest.mark.parametrize("name", FULL_SIZE)
def test_full_size(name):
    for peer in ("pytorchvideo.models.vision_transformers", "timm"):
        pytest.importorskip(peer)
    model = FULL_SIZE[name](mv.preset(name))
    assert_same_function(model, peer_models.state_of(model), mv.preset(name), like=name, batch=1)


def test_timms_tiny_at_full_size_by_name_and_shape():
    timm = pytest.importorskip("timm")
    torch = pytest.importorskip("torch")

    with torch.device("meta"):
        model = timm.create_model("mvitv2_tiny")
    theirs = {
        name: np.broadcast_to(np.float32(0), tuple(x.shape))
        for name, x in model.state_dict().items()
    }
    config = mv.preset("mvitv2_t_image")
    ours = layouts.from_params(hollow_params(config), config, "timm")
    assert {name: x.shape for name, x in ours.items()} == {
        name: x.shape for name, x in theirs.items()
    }
    assert sum(x.size for x in ours.values()) == 24_173_320
    params = layouts.to_params(theirs, "timm")
    found, notes = infer.config(params, hints=layouts.hints(theirs, "timm"))
    assert found == config and not any(note.assumed for note in notes)


TORCHVISION = [
    name for name in CONFIGS if CONFIGS[name].positions != "space" and CONFIGS[name].qkv_bias
]
TORCHVISION = [name for name in TORCHVISION if CONFIGS[name].relative_time]


def torchvision_model(config):
    return peer_models.rough(torch_models.build(config).to_empty(device="cpu"))


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision(name):
    config = CONFIGS[name]
    model = torchvision_model(config)
    tensors = peer_models.state_of(model)
    assert layouts.recognise(tensors) == "torchvision"
    params = assert_same_function(model, tensors, config, like=config)
    assert_same_tensors(layouts.from_params(params, config, "torchvision"), tensors)


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("name", ["v1", "v1, two heads", "v2", "v2, wider after the MLP"])
def test_slowfast_by_way_of_torchvision(name, split):
    """SlowFast cannot be installed here. Its names, written by hand below, make torchvision's model
    compute what we do.
    """
    config = CONFIGS[name]
    model = torchvision_model(config)
    written = {slowfast_name(name): x for name, x in peer_models.state_of(model).items()}
    for name in written.keys() & {
        "cls_token",
        "pos_embed_class",
        "pos_embed_spatial",
        "pos_embed_temporal",
    }:
        written[name] = written[name].reshape(1, -1, config.dim)
    if split:
        for name in [name for name in written if ".qkv." in name]:
            parts = np.split(written.pop(name), 3)
            written |= {name.replace("qkv", which): part for which, part in zip("qkv", parts)}
    assert layouts.recognise(written) == "slowfast"
    params = assert_same_function(model, written, config, like=config)
    assert_same_tensors(layouts.from_params(params, config, "slowfast", split=split), written)


SLOWFAST_NAMES = {
    "conv_proj": "patch_embed.proj",
    "pos_encoding.class_token": "cls_token",
    "pos_encoding.class_pos": "pos_embed_class",
    "pos_encoding.spatial_pos": "pos_embed_spatial",
    "pos_encoding.temporal_pos": "pos_embed_temporal",
    ".mlp.0": ".mlp.fc1",
    ".mlp.3": ".mlp.fc2",
    "attn.project.0": "attn.proj",
    ".project.": ".proj.",
    "head.1": "head.projection",
    ".pool.weight": ".weight",
    "pool_q.norm_act.0": "norm_q",
    "pool_k.norm_act.0": "norm_k",
    "pool_v.norm_act.0": "norm_v",
}


def slowfast_name(name):
    for theirs, slowfasts in SLOWFAST_NAMES.items():
        name = name.replace(theirs, slowfasts)
    return name


@pytest.mark.parametrize(
    "factory, name", [("mvit_v1_b", "mvit_b_16x4"), ("mvit_v2_s", "mvitv2_s_16x4")]
)
def test_torchvisions_own_models_by_name_and_shape(factory, name):
    model, config = torch_models.named(factory), mv.preset(name)
    theirs = {
        name: np.broadcast_to(np.float32(0), tuple(x.shape))
        for name, x in model.state_dict().items()
    }
    ours = layouts.from_params(hollow_params(config), config, "torchvision")
    assert {name: x.shape for name, x in ours.items()} == {
        name: x.shape for name, x in theirs.items()
    }
    found, notes = infer.config(layouts.to_params(theirs, "torchvision"))
    assert found == config and not any(note.assumed for note in notes)
