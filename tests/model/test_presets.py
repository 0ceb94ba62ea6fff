"""The presets: the released models' counts to the last parameter, their grids, kernels and widths,
and that each runs.
"""

import math
from dataclasses import replace

import numpy as np
import pytest

from mvit_np import costs, forward, init, list_presets, plan, preset
from mvit_np.model.parameters import parameter_shapes
from mvit_np.model.presets import PRESETS

every_preset = pytest.mark.parametrize("name", PRESETS)

# parameters and 1e9 multiply-adds of other implementations: SlowFast, torchvision, timm,
# instantiated and counted
COUNTED = {
    "mvit_b_16x4": (36_610_672, 70.60),
    "mvit_b_32x3": (36_611_440, 169.96),
    "mvit_b_64x3": (36_612_976, 455.06),
    "mvit_b_24_32x3": (53_115_280, 235.78),
    "mvit_s_16x4": (26_038_032, 29.95),
    "mvit_b_16_image": (36_982_600, 7.81),
    "mvit_b_24_image": (53_516_392, 10.94),
    "mvitv2_s_16x4": (34_537_744, 64.22),
    "mvitv2_b_32x3": (51_230_128, 224.47),
    "mvitv2_l_40x3": (213_390_112, 2823.40),
    "mvitv2_t_image": (24_173_320, 4.68),
    "mvitv2_s_image": (34_870_216, 6.96),
    "mvitv2_b_image": (51_472_744, 10.10),
    "mvitv2_l_image": (217_992_952, 43.71),
    "vit_b_8f": (87_159_952, 179.56),
    "rev_mvit_b_16x4": (34_963_120, 63.65),
    "hiera_b_16x224": (51_092_560, None),
    "hiera_b_image": (51_524_968, 9.38),
}
PUBLISHED = {  # rounded, where nothing else was counted: 1e6 parameters, 1e9 multiply-adds
    "mvit_b_24_wide_320_image": (72.9, 32.7),
    "vivit_l": (310.8, 3992),
    "vivit_l_fe": (None, 995.3),
    "vivit_b_fe": (115.1, 284.4),
    "hiera_b_16x224": (51.1, None),
}


@every_preset
def test_each_has_the_counts_it_states(name):
    known, account = PRESETS[name], costs(PRESETS[name].config)
    assert known.params in (None, account.params)
    assert known.gmacs in (None, round(account.macs / 1e9, 2))
    assert (known.params, known.gmacs) == COUNTED.get(name, (None, known.gmacs))


@pytest.mark.parametrize(("name", "printed"), PUBLISHED.items(), ids=PUBLISHED)
def test_the_others_are_within_a_per_cent_of_what_was_printed(name, printed):
    account = costs(preset(name))
    for ours, paper in zip((account.params / 1e6, account.macs / 1e9), printed):
        assert paper is None or ours == pytest.approx(paper, rel=0.01)


def test_no_preset_is_left_uncounted():
    assert set(PRESETS) - set(COUNTED) - set(PUBLISHED) == {"mvit_micro"}


@every_preset
def test_parameters_are_those_of_the_shapes_that_init_makes(name):
    assert costs(preset(name)).params == sum(
        map(math.prod, parameter_shapes(preset(name)).values())
    )


def small(config):
    """The same model with few frames, pixels, channels and blocks."""
    depths = tuple(min(depth, 2) for depth in config.depths)
    changes = {
        "frames": min(config.frames, 4),
        "size": 64,
        "dim": 8 * config.heads,
        "num_classes": 3,
        "depths": depths,
    }
    return replace(config, **changes, time_depth=min(config.time_depth, 1))


@every_preset
def test_each_runs_when_made_small(name):
    config, rng = small(preset(name)), np.random.default_rng(0)
    clips = rng.standard_normal((2, *config.thw, config.channels), dtype="float32")
    logits = forward(init(config, rng), clips, config)
    assert logits.shape == (2, 3) and np.isfinite(logits).all()


def block_sizes(name):
    return [
        (b.dim_in, b.dim_attn, b.dim_out, b.heads, b.thw_q[1], b.thw_kv[1])
        for b in plan(preset(name)).blocks
    ]


def test_blocks_of_mvit_b_as_in_the_released_model():
    middle, last = (
        [(384, 384, 384, 4, 14, 7)] * 9,
        [(384, 384, 768, 4, 14, 7), (768, 768, 768, 8, 7, 14), (768, 768, 768, 8, 7, 7)],
    )
    first = [
        (96, 96, 192, 1, 56, 7),
        (192, 192, 192, 2, 28, 14),
        (192, 192, 384, 2, 28, 7),
        (384, 384, 384, 4, 14, 14),
    ]
    assert block_sizes("mvit_b_16x4") == first + middle + last


def test_blocks_of_mvitv2_s_as_in_the_released_model():
    first = [
        (96, 96, 96, 1, 56, 7),
        (96, 192, 192, 2, 28, 14),
        (192, 192, 192, 2, 28, 7),
        (192, 384, 384, 4, 14, 14),
    ]
    last = [(384, 768, 768, 8, 7, 14), (768, 768, 768, 8, 7, 7)]
    assert block_sizes("mvitv2_s_16x4") == first + [(384, 384, 384, 4, 14, 7)] * 10 + last


def test_grids_of_mvitv2_l_at_312_pixels_are_rounded_up_but_its_tables_down():
    blocks = plan(preset("mvitv2_l_40x3")).blocks
    some = [blocks[i] for i in (0, 2, 3, 8, 9, 44, 45)]
    assert [(b.thw_q[1], b.thw_kv[1], b.heads, b.head_dim) for b in some] == [
        (78, 10, 2, 72), (39, 20, 4, 72), (39, 10, 4, 72), (20, 20, 8, 72), (20, 10, 8, 72),
        (10, 20, 16, 72), (10, 10, 16, 72),
    ]  # fmt: skip
    assert [dict(blocks[i].relative)["h"] for i in (9, 45)] == [37, 17]


def test_the_deeper_video_model_pools_with_kernels_of_stride_plus_one():
    kernels = [
        b.pool_kv.kernel if b.pool_kv else None for b in plan(preset("mvit_b_24_32x3")).blocks
    ]
    middle = [(1, 5, 5)] * 3 + [(1, 3, 3)] * 16
    assert kernels == [(1, 9, 9)] * 2 + middle + [None] * 3


@pytest.mark.parametrize("name", [name for name in PRESETS if name.endswith("_image")])
def test_image_models_have_no_axis_of_time(name):
    p = plan(preset(name))
    assert (
        p.embed.thw[0] == 1
        and p.embed.kernel[0] == 1
        and p.config.num_classes == 1000
        and p.config.dropout == 0
    )
    pools = [pool for b in p.blocks for pool in (b.pool_q, b.pool_kv) if pool]
    assert {pool.kernel[0] for pool in pools} == {1}
    assert not any(axis == "t" for b in p.blocks for axis, _ in b.relative)


def test_an_image_models_second_transition_sees_more_keys_than_queries():
    blocks = plan(preset("mvitv2_s_image")).blocks
    assert [(b.thw_q[1], b.thw_kv[1]) for b in (blocks[i] for i in (0, 1, 3, 4, 14, 15))] == [
        (56, 14), (28, 28), (14, 28), (14, 14), (7, 14), (7, 7)
    ]  # fmt: skip


@every_preset
def test_a_preset_says_in_a_few_words_what_it_is(name):
    assert 0 < len(PRESETS[name].about) <= 38 and PRESETS[name].name == name


def test_an_unknown_name_is_refused_with_the_names_there_are():
    words = "there is no preset 'mvit_b_16x' among mvit_b_16x4, .*: did you mean 'mvit_b_16x4'"
    with pytest.raises(ValueError, match=words):
        preset("mvit_b_16x")
    with pytest.raises(ValueError, match="among mvit_b_16x4, .*, mvit_micro: pick one of them"):
        preset("resnet50")


def test_names_are_listed_in_order_and_chosen_by_a_pattern():
    assert list_presets() == sorted(PRESETS)
    assert list_presets("mvitv2_?_image") == [f"mvitv2_{size}_image" for size in "blst"]
    assert set(list_presets("*_image")) == {name for name in PRESETS if name.endswith("_image")}
    assert list_presets("mvit_micro") == ["mvit_micro"]
    assert list_presets("MVIT*") == list_presets("") == []
