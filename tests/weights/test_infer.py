"""The config of a checkpoint from its shapes, its layout, the presets and what the caller says."""

from dataclasses import replace
from typing import get_type_hints

import numpy as np
import pytest
from draws import CONFIGS, hollow_params

import mvit_np as mv
from mvit_np.backend import tree
from mvit_np.model import presets
from mvit_np.studies.gradient_cases import (
    TINY,
    TINY_HIERA,
    TINY_REV,
    TINY_V2,
    TINY_VIVIT,
    roughened,
)
from mvit_np.weights.configs import from_shapes as infer
from mvit_np.weights.configs import shapes
from mvit_np.weights.layouts import state_dicts as layouts
from mvit_np.weights.overrides import Overrides

PRESETS = [name for name, preset in presets.PRESETS.items() if not preset.config.time_depth]


def in_evaluation(config):
    return replace(config, dropout=0.0, drop_path=0.0)


@pytest.fixture
def no_presets(monkeypatch):
    monkeypatch.setattr(infer, "PRESETS", {})


# -- what shapes tell ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_known_by_its_shapes(name):
    found, notes = infer.config(hollow_params(mv.preset(name)))
    assert in_evaluation(found) == in_evaluation(mv.preset(name))
    assert not any(note.assumed for note in notes) and all(
        f"preset {name};" in str(note) for note in notes
    )


@pytest.mark.parametrize(
    "name", [name for name in PRESETS if name not in ("mvit_s_16x4", "mvit_micro")]
)
def test_convention_alone_makes_every_published_preset(name, no_presets):
    found, notes = infer.config(hollow_params(mv.preset(name)))
    assert in_evaluation(found) == in_evaluation(mv.preset(name))
    assert all(note.assumed and "assumed, as shapes do not tell" in str(note) for note in notes)


UNSEEN = (
    "stride_q",
    "stride_kv",
    "adaptive_kv",
    "cube_stride",
    "frames",
    "size",
    "residual_pooling",
    "uneven",
    "pool_kernel",
)


@pytest.mark.parametrize("name", CONFIGS)
def test_what_shapes_tell_is_never_guessed(name):
    """Any small model: the config found has its shapes, and differs at most in what those cannot
    tell; `like` tells that.
    """
    config = CONFIGS[name]
    params = hollow_params(config)
    assert infer.config(params, like=config) == (config, ())
    if "oblong" in name:
        return  # shapes without a square need size=
    found, (note,) = infer.config(params)
    differing = {
        field
        for field in config.__dataclass_fields__
        if getattr(found, field) != getattr(config, field)
    }
    assert differing <= set(UNSEEN) and note.assumed
    tree.map(lambda a, b: np.testing.assert_equal(a.shape, b.shape), hollow_params(found), params)


@pytest.mark.parametrize(
    "name, changes",
    [
        ("v1", {"mean_before_norm": True}),
        ("v1", {"cls_token": False, "mean_before_norm": True}),
        ("v1", {"residual_pooling": "tokens"}),
        ("v2", {"residual_pooling": None}),
        ("v2", {"cls_token": False, "residual_pooling": None}),
        ("v1", {"adaptive_kv": False, "stride_kv": (1, 1, 1)}),
        ("v1", {"pool": "max", "pool_kernel": (3, 3, 3)}),
        ("v1", {"pool": "avg", "pool_kernel": "2s+1", "stride_kv": None}),
        ("v1", {"pool": "max", "stride_kv": (2, 2, 2), "adaptive_kv": False}),
        ("v1, one width", {"pool": "max"}),  # as a ViT by its shapes
        ("v1", {"positions": "joint", "frames": 8}),
        ("v1", {"positions": "joint", "size": (16, 64)}),
        ("v1", {"positions": "none", "frames": 8}),
        ("v1, whole keys", {"depths": (3,), "heads": 2, "size": (16, 64)}),
    ],
)
def test_every_choice_that_shapes_leave_open_is_named(name, changes, no_presets):
    """Two models with the same shapes: whatever differs between the one assumed and the true one
    stands in the warning.
    """
    config = replace(CONFIGS[name], **changes)
    found, (note,) = infer.config(hollow_params(config))
    tree.map(
        lambda a, b: np.testing.assert_equal(a.shape, b.shape),
        hollow_params(found),
        hollow_params(config),
    )
    fields = set(config.__dataclass_fields__) - {"dropout", "drop_path", "uneven", "expand"}
    differing = [field for field in fields if getattr(found, field) != getattr(config, field)]
    assert note.assumed and differing
    for field in differing:
        assert infer.LABELS[field] in str(note), field


def test_mask_units_are_named(no_presets):
    config = replace(TINY_HIERA, mask_unit_stages=2, depths=(1, 1, 1), mask_unit=(1, 8, 8), size=64)
    text = str(infer.config(hollow_params(config), heads=1)[1][0])
    assert (
        "mask unit (1, 8, 8), mask unit stages 2," in text
        and "mean pooling (mean_before_norm) True" in text
    )


def test_what_the_caller_or_the_layout_tells_is_not_named(no_presets):
    params = hollow_params(CONFIGS["v1"])
    _, (note,) = infer.config(
        params, hints={"mean_before_norm": False}, residual_pooling=None, size=32
    )
    assert not any(word in str(note) for word in ("mean pooling", "residual", "size"))
    joint = replace(CONFIGS["v1"], positions="joint", frames=64, size=16)
    found, (note,) = infer.config(hollow_params(joint), size=16)
    assert found.frames == 64 and "frames" not in str(note)


@pytest.mark.parametrize("pool, kernel", [("max", "s+1"), ("avg", (3, 3, 3))])
def test_another_pool_than_the_presets_is_told(pool, kernel):
    """Which then pools the keys as the preset does, in every block."""
    config = replace(mv.preset("mvit_b_16x4"), pool=pool, pool_kernel=kernel)
    for like in (None, "mvit_b_16x4"):
        assert (
            infer.config(hollow_params(config), like=like, pool=pool, pool_kernel=kernel)[0]
            == config
        )
    assert infer.config(hollow_params(config), like=config)[0] == config


@pytest.mark.parametrize("dim, heads", [(384, 6), (768, 12)])
def test_reversible_vits_of_slowfast(dim, heads):
    """Rev-ViT-S and -B: one stage, nothing pooled, 22,434,664 and 87,335,656 parameters."""
    config = replace(
        mv.preset("vit_b_8f"), frames=1, num_classes=1000, dim=dim, heads=heads, reversible=True,
        cls_token=False, skip="plain", expand_in="attention",
    )  # fmt: skip
    params = hollow_params(config)
    assert sum(leaf.size for leaf in tree.leaves(params)) == {384: 22_434_664, 768: 87_335_656}[dim]
    found, (note,) = infer.config(params)
    assert in_evaluation(found) == in_evaluation(
        replace(config, pool_kernel=(3, 3, 3))
    ) and "stages (12,)" in str(note)


def test_the_two_large_models_are_told_apart():
    """README and paper mix both: the width of blocks.1.mlp.fc2 says which it is."""
    for expand_in, width in (("attention", 144), ("mlp", 288)):
        config = replace(mv.preset("mvitv2_l_40x3"), expand_in=expand_in)
        params = hollow_params(config)
        assert params["blocks"][1]["mlp"]["fc2"]["w"].shape[1] == width
        found, notes = infer.config(params)
        assert in_evaluation(found) == in_evaluation(config) and found.uneven
        assert any(note.assumed for note in notes) == (expand_in == "mlp")  # that one is no preset


def test_kernels_of_a_rule_tell_the_strides(no_presets):
    config = mv.preset("mvit_b_24_32x3")
    for changes in (
        {},
        {"stride_kv": (2, 4, 4)},
        {"stride_q": ((1, 2, 2), (2, 2, 2), (1, 1, 1))},
        {"pool_kernel": "2s+1"},
    ):
        changed = replace(config, **changes)
        found, (note,) = infer.config(hollow_params(changed))
        assert in_evaluation(found) == in_evaluation(changed)
        assert str(note).startswith(
            "size 224, cube stride (2, 4, 4), residual pooling None, mean pooling"
        )


def test_relative_tables_tell_the_strides(no_presets):
    config = mv.preset("mvitv2_s_16x4")
    for changes in (
        {"stride_q": ((1, 2, 2), (1, 2, 2), (1, 1, 1))},  # as MaskFeat is pre-trained
        {"stride_q": ((2, 2, 2), (1, 2, 2), (1, 2, 2))},
        {"stride_kv": (1, 4, 4)},
        {"frames": 40, "size": 312, "uneven": True},
    ):
        changed = replace(config, **changes)
        found, _ = infer.config(hollow_params(changed))
        assert in_evaluation(found) == in_evaluation(changed)
    image, (note,) = infer.config(hollow_params(mv.preset("mvitv2_s_image")))
    assert image.stride_kv == (1, 4, 4) and str(note).startswith(
        "frames 1, size 224, cube stride (1, 4, 4), resid"
    )


def test_the_older_16x4_file_without_pools_in_the_last_blocks():
    """SlowFast's first release: no pool_k, pool_v, norm_k, norm_v in blocks 14 and 15, and
    36,599,536 parameters.
    """
    params = hollow_params(mv.preset("mvit_b_16x4"))
    for i in (14, 15):
        for name in ("pool_k", "pool_v", "norm_k", "norm_v"):
            del params["blocks"][i]["attn"][name]
    assert sum(leaf.size for leaf in tree.leaves(params)) == 36_599_536
    for like in (None, "mvit_b_16x4"):
        found, notes = infer.config(params, like=like)
        assert found == replace(mv.preset("mvit_b_16x4"), unpooled_kv=(14, 15)) and not any(
            note.assumed for note in notes
        )


def test_such_a_file_runs(rng):
    config = replace(TINY, unpooled_kv=(1,), qkv_bias=False)
    tensors = layouts.from_params(roughened(config), config, "slowfast")
    assert "blocks.1.attn.pool_k.weight" not in tensors and "blocks.1.attn.pool_q.weight" in tensors
    params = layouts.to_params(tensors, "slowfast")
    found, _ = infer.config(params, like=replace(TINY, qkv_bias=False))
    clip = rng.standard_normal((1, *TINY.thw, 2))
    np.testing.assert_array_equal(
        mv.forward(params, clip, found), mv.forward(roughened(config), clip, config)
    )


@pytest.mark.parametrize(
    "config", [TINY, TINY_V2, TINY_REV, TINY_HIERA], ids=["v1", "v2", "rev", "hiera"]
)
def test_a_fine_tuned_model_keeps_its_classes_and_its_grid(config, monkeypatch):
    monkeypatch.setattr(infer, "PRESETS", {"known": presets.Preset("known", "", config)})
    tuned = replace(config, num_classes=7, frames=8, size=64, channels=5)
    found, notes = infer.config(hollow_params(tuned))
    assert found == tuned and not any(note.assumed for note in notes)
    assert infer.config(hollow_params(tuned), like=config)[0] == tuned


def test_another_number_of_classes_and_an_image_model_without_a_preset_for_it():
    """PyTorchVideo's mvit_base_16: separate positions, 400 classes where its weights have 1000."""
    config = replace(mv.preset("mvit_b_16_image"), positions="separate", num_classes=400)
    found, (note,) = infer.config(hollow_params(config))
    assert in_evaluation(found) == in_evaluation(config) and note.assumed


# -- what the caller tells -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "like, words",
    [
        (
            "mvit_b_24_image",
            (
                r"'mvit_b_24_image' has dim|"
                r"'mvit_b_24_image' has cube_kernel \(1, 7, 7\), the file \(3, 7, 7\)"
            ),
        ),
        ("mvit_b_24_32x3", r"depths \(2, 3, 16, 3\), the file \(1, 2, 11, 2\)"),
        ("mvitv2_s_16x4", "expand_in attention, the file mlp"),
        ("mvit_s_16x4", "dim 128, the file 96"),
        (
            replace(mv.preset("mvit_b_16x4"), cls_token=False),
            "the config given has cls_token False, the file True",
        ),
        (replace(mv.preset("mvit_b_16x4"), mlp_ratio=2), "mlp_ratio 2, the file 4"),
        (
            replace(mv.preset("mvit_b_16x4"), positions="joint"),
            "positions joint, the file separate",
        ),
        (replace(mv.preset("mvit_b_16x4"), pool_kernel="s+1"), "parameter.*pool_"),
        (replace(mv.preset("mvit_b_16x4"), pool="max"), "no parameters .*pool_"),
    ],
)
def test_like_has_to_agree_with_the_shapes(like, words):
    with pytest.raises(ValueError, match=words):
        infer.config(hollow_params(mv.preset("mvit_b_16x4")), like=like)


def test_single_fields_count_before_all_else():
    params = hollow_params(mv.preset("mvit_b_16x4"))
    found, notes = infer.config(params, stride_kv=(1, 4, 4), dropout=0.0)
    assert found == replace(mv.preset("mvit_b_16x4"), stride_kv=(1, 4, 4), dropout=0.0)
    assert "key-value stride" not in str(notes[0]) and "query stride" in str(notes[0])
    assert (
        infer.config(params, like="mvit_b_16x4", residual_pooling="tokens")[0].residual_pooling
        == "tokens"
    )
    assert infer.config(params, cube_stride=(4, 4, 4))[0].frames == 32


def test_oblong_clips_are_told():
    config = replace(TINY, size=(16, 24))
    with pytest.raises(
        ValueError, match=r"96 positions in a frame make no square: give size=\(H, W\)"
    ):
        infer.config(hollow_params(config))
    assert infer.config(hollow_params(config), size=(16, 24))[0].size == (16, 24)
    assert infer.config(hollow_params(config), like=config)[0] == config


def test_mistakes_of_the_caller():
    params = hollow_params(TINY)
    with pytest.raises(TypeError, match="MViTConfig has no field colour: give such as stride_kv="):
        infer.config(params, colour=3)
    with pytest.raises(TypeError, match="no field depth, stride_k: did you mean 'depths'"):
        infer.config(params, stride_k=(1, 4, 4), depth=(2,))
    with pytest.raises(TypeError, match="like is a preset's name or an MViTConfig; came int"):
        infer.config(params, like=3)
    with pytest.raises(ValueError, match="there is no preset 'mvit_x'"):
        infer.config(params, like="mvit_x")
    with pytest.raises(ValueError, match="no usual config has these shapes.*num_classes|head.w"):
        infer.config(params, num_classes=9)
    with pytest.raises(ValueError, match="factorised encoder"):
        infer.config(hollow_params(TINY_VIVIT))


def test_overrides_are_the_fields_of_a_config_with_their_types():
    assert list(get_type_hints(Overrides).items()) == list(get_type_hints(mv.MViTConfig).items())


# -- what no config has ----------------------------------------------------------------------------


def changed(config, path, shape):
    return tree.flatten(hollow_params(config))[1](
        [
            np.zeros(shape, np.float32) if p == path else leaf
            for p, leaf in tree.paths(hollow_params(config))
        ]
    )


@pytest.mark.parametrize(
    "config, path, shape, words",
    [
        (TINY, "blocks.1.norm1.g", (9,), "a width doubles"),
        (TINY, "blocks.0.mlp.fc2.w", (8, 12), "a width doubles"),
        (TINY, "blocks.0.attn.qkv.w", (4, 0), "every layer has channels"),
        (
            TINY,
            "blocks.1.mlp.fc1.b",
            (15,),
            "no usual config has these shapes .*blocks.1.mlp.fc1.b",
        ),
        (TINY, "blocks.1.attn.pool_q.w", (5, 3, 3, 4), "no usual config has these shapes"),
        (
            TINY_V2,
            "blocks.1.attn.rel_pos_h",
            (6, 4),
            "no usual config has these shapes .*rel_pos_h",
        ),
        (TINY, "pos_embed_temporal", (0, 4), "no usual config|frames"),
    ],
)
def test_shapes_that_no_config_has(config, path, shape, words):
    with pytest.raises(ValueError, match=words):
        infer.config(changed(config, path, shape))


def test_absolute_and_relative_positions_at_once():
    params = hollow_params(TINY_V2) | {"pos_embed": np.zeros((9, 4), np.float32)}
    with pytest.raises(
        ValueError, match="absolute or relative positions; these parameters have both"
    ):
        infer.config(params)


def test_two_presets_that_fit_and_differ_are_named(monkeypatch):
    known = {
        name: presets.Preset(name, "", replace(TINY, stride_kv=(1, n, n)))
        for name, n in (("one", 1), ("two", 2))
    }
    monkeypatch.setattr(infer, "PRESETS", known)
    found, notes = infer.config(hollow_params(TINY))
    assert found == known["one"].config
    assert [str(note) for note in notes if note.assumed] == [
        "took preset one, but two would fit as well: give like=... to choose"
    ]


SPOILED = {
    "slowfast": TINY,
    "slowfast_rev": TINY_REV,
    "pytorchvideo": TINY,
    "timm_hiera": TINY_HIERA,
}


@pytest.mark.parametrize("layout", SPOILED)
def test_spoiled_files_are_refused_with_a_sentence(layout, rng):
    """Tensors lost, renamed and of random shapes: a ValueError, or a config that they fit; nothing
    else.
    """
    config, refused = SPOILED[layout], 0
    family = {"slowfast_rev": "slowfast", "timm_hiera": "timm"}.get(layout, layout)
    whole = layouts.from_params(hollow_params(config), config, family)
    for _ in range(60):
        tensors = dict(whole)
        name = rng.choice(list(tensors))
        x = tensors.pop(name)
        shape = (
            rng.choice([0, 1, 3, 4, 8], rng.integers(0, 6))
            if rng.random() < 0.5
            else rng.permutation(x.shape)
        )
        other = rng.choice(
            [
                "",
                f"{name}.1",
                "blocks.7.norm1.weight",
                "blocks.01.norm1.weight",
                "stages.2.blocks.1.norm1.weight",
            ]
        )
        tensors[str(other or name)] = np.broadcast_to(np.float32(0), shape)
        try:
            found = layouts.recognise(tensors)
            infer.config(layouts.to_params(tensors, found), hints=layouts.hints(tensors, found))
        except ValueError as problem:
            refused += len(str(problem)) > 20
    assert refused > 30


# -- layouts ---------------------------------------------------------------------------------------


def test_what_layouts_tell():
    image = replace(
        TINY_V2,
        frames=1,
        cube_kernel=(1, 3, 3),
        cube_stride=(1, 2, 2),
        pool_kernel=(1, 3, 3),
        relative_time=False,
    )
    timms = layouts.from_params(roughened(image), replace(image, residual_pooling="all"), "timm")
    assert layouts.hints(timms, "timm") == {
        "frames": 1,
        "depths": (1, 1),
        "residual_pooling": "all",
        "mean_before_norm": False,
    }
    found, _ = infer.config(layouts.to_params(timms, "timm"), hints=layouts.hints(timms, "timm"))
    assert (found.residual_pooling, found.frames, found.depths) == ("all", 1, (1, 1))

    hieras = layouts.from_params(roughened(TINY_HIERA), TINY_HIERA, "timm")
    found, notes = infer.config(
        layouts.to_params(hieras, "timm_hiera"), hints=layouts.hints(hieras, "timm_hiera"), heads=1
    )
    assert (found.pool, found.stride_kv, found.mean_before_norm) == ("max", None, True) and notes[
        0
    ].assumed


def test_pictures_of_256_pixels_in_a_model_of_224(rng):
    """Which timm and facebookresearch/mvit answer with an IndexError."""
    config = replace(
        mv.preset("mvitv2_t_image"),
        dim=8,
        depths=(1, 1, 1, 1),
        size=64,
        num_classes=3,
        stride_kv=(1, 4, 4),
    )
    tensors = layouts.from_params(roughened(config), config, "timm")
    params = layouts.to_params(tensors, "timm")
    found, _ = infer.config(params, hints=layouts.hints(tensors, "timm"))
    larger, config = mv.resize(params, found, size=96)
    assert np.isfinite(mv.forward(larger, rng.standard_normal((1, 1, 96, 96, 3)), config)).all()


def test_visible_facts_of_a_plain_vit():
    seen = shapes.visible(hollow_params(mv.preset("vit_b_8f")))
    assert "depths" not in seen and "heads" not in seen and seen["positions"] == "joint"
