"""What a model costs: the paper's numbers, parameters that init makes, products counted in a
forward pass, memory measured.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
from counted_costs import clips, counted_macs, kept_bytes

from mvit_np import MViTConfig, costs, forward, init, plan, preset
from mvit_np.backend import tree
from mvit_np.model.account import attention_complexity, attention_macs
from mvit_np.model.costs import skipped_macs

B, VIT, MICRO = (preset(name) for name in ("mvit_b_16x4", "vit_b_8f", "mvit_micro"))
MAX = {"pool": "max", "pool_kernel": "s+1"}  # the paper's max pooling (Table 15)
V2 = {
    "positions": "relative",
    "pool_q_always": True,
    "residual_pooling": "tokens",
    "expand_in": "attention",
}

# -- the paper's numbers ---------------------------------------------------------------------------

# parameters counted in the released implementations, 1e9 multiply-adds; presets have a test of
# their own
PUBLISHED = {
    "MViT-B 16x4, max": (replace(B, **MAX), 36_513_232, 70.33),
    "MViT-B 16x4, conv s+1": (replace(B, pool_kernel="s+1"), 36_565_936, None),
    "MViT-B 16x4, conv, last stage unpooled": (replace(B, unpooled_kv=(14, 15)), 36_599_536, None),
}


@pytest.mark.parametrize(("config", "params", "gmacs"), PUBLISHED.values(), ids=PUBLISHED)
def test_published_models(config, params, gmacs):
    assert costs(config).params == params
    assert gmacs is None or round(costs(config).macs / 1e9, 2) == gmacs


@pytest.mark.parametrize(
    ("positions", "rows"),
    [
        ("none", 0),
        ("space", 56 * 56 + 1),
        ("separate", 56 * 56 + 8 + 1),
        ("joint", 8 * 56 * 56 + 1),
    ],
)
def test_positions_of_table_11_add_one_row_a_place(positions, rows):
    none = costs(replace(B, positions="none"))
    some = costs(replace(B, positions=positions))
    assert some.params - none.params == rows * 96
    assert some.macs == none.macs


# -- against real arrays ---------------------------------------------------------------------------

TINY = MViTConfig(
    frames=4, size=(16, 32), channels=2, num_classes=5, cube_kernel=(3, 3, 3),
    cube_stride=(2, 2, 2), dim=8, heads=2, depths=(1, 2, 1), stride_kv=(1, 4, 4), mlp_ratio=3,
)  # fmt: skip
VARIANTS = {
    "MViT": {},
    "max pooling": MAX,
    "average pooling": {"pool": "avg"},
    "kernel s": {"pool": "max", "pool_kernel": "s"},
    "kernel 2s+1": {"pool_kernel": "2s+1"},
    "fixed kv stride": {"adaptive_kv": False},
    "no kv pooling": {"stride_kv": None},
    "no class token": {"cls_token": False},
    "joint positions": {"positions": "joint"},
    "space positions": {"positions": "space"},
    "no positions": {"positions": "none"},
    "plain skip": {"skip": "plain"},
    "no skip": {"skip": "none"},
    "no skip, attention": {"skip": "none", "expand_in": "attention"},
    "no expansion": {"expand": False},
    "no qkv bias": {"qkv_bias": False},
    "MViTv2": V2,
    "MViTv2, all, no time": V2 | {"residual_pooling": "all", "relative_time": False},
    "MViTv2, no class token": V2 | {"cls_token": False},
    "MViTv2, keys not pooled": V2 | {"stride_kv": None},
    "strides of their own": {"stride_q": ((2, 1, 1), (1, 2, 4))},
    "uneven": {"size": (18, 26), "uneven": True},
    "image": {"frames": 1, "cube_kernel": (1, 3, 3), "cube_stride": (1, 2, 2)},
    "one stage": {"depths": (2,), "stride_kv": None},
}
every_variant = pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)


@every_variant
def test_parameters_are_those_that_init_makes(changes):
    config = replace(TINY, **changes)
    assert costs(config).params == sum(
        leaf.size for leaf in tree.leaves(init(config, np.random.default_rng(0)))
    )


@every_variant
def test_multiply_adds_are_those_of_the_arrays_in_a_forward_pass(changes):
    config = replace(TINY, **changes)
    assert costs(config).macs - skipped_macs(config) == counted_macs(config, 2) / 2


@every_variant
def test_attention_bytes_are_those_of_the_largest_attention_array(changes):
    config, sizes = replace(TINY, **changes), []
    params = init(config, np.random.default_rng(0))
    forward(
        params,
        clips(config, 1),
        config,
        hook=lambda name, x: sizes.append(x.nbytes) if "attention" in name else None,
    )
    assert costs(config).attention_bytes == max(sizes)


MEASURED = [
    "MViT",
    "max pooling",
    "average pooling",
    "no class token",
    "joint positions",
    "no skip",
    "one stage",
]
MEASURED += ["no skip, attention", "MViTv2", "MViTv2, no class token", "MViTv2, keys not pooled"]


@pytest.mark.parametrize("changes", [VARIANTS[name] for name in MEASURED], ids=MEASURED)
def test_activation_bytes_are_those_that_a_traced_forward_pass_keeps(changes, few_objects):
    """By the difference of two batches, so that what does not grow with the batch drops out."""
    config = replace(MICRO, **changes)
    # fills the caches of plans and shapes
    forward(init(config, np.random.default_rng(0)), clips(config, 1), config)
    kept = (kept_bytes(config, 12) - kept_bytes(config, 4)) / 8
    assert costs(config).activation_bytes == pytest.approx(kept, rel=0.05)


def test_a_batch_of_8_keeps_what_costs_says(few_objects):
    forward(init(MICRO, np.random.default_rng(0)), clips(MICRO, 1), MICRO)
    assert 8 * costs(MICRO).activation_bytes == pytest.approx(kept_bytes(MICRO, 8), rel=0.1)


def test_the_account_has_a_line_for_each_part_that_adds_up():
    account = costs(MICRO)
    assert [line.name for line in account.lines] == [
        "embedding",
        *(f"block {i}" for i in range(sum(MICRO.depths))),
        "head",
    ]
    assert [line.stage for line in account.lines[1:-1]] == [b.stage for b in plan(MICRO).blocks]
    assert account.params == sum(line.params for line in account.lines)
    assert account.macs == sum(line.macs for line in account.lines)


# -- Sec. 3.1's complexity -------------------------------------------------------------------------

PLAIN = MAX | {"cls_token": False, "expand": False}
SIZES = {
    "ViT-B": replace(VIT, cls_token=False),
    "long": replace(B, **PLAIN, frames=32, size=448),
    "short": replace(B, **PLAIN, size=64),
    "wide": replace(B, **PLAIN, dim=1536, size=64),
    "narrow": replace(B, **PLAIN, dim=8),
    "keys pooled 128-fold": replace(B, **PLAIN, stride_kv=(2, 8, 8), adaptive_kv=False, size=256),
    "nothing pooled": replace(B, **PLAIN, stride_kv=None, size=64),
    "mask units": replace(
        B, **PLAIN | {"pool_kernel": "s"}, stride_kv=None, mask_unit=(1, 8, 8), skip_kernel="s"
    ),
}


@pytest.mark.parametrize("config", SIZES.values(), ids=SIZES)
def test_multiply_adds_grow_as_the_papers_formula(config):
    """By hand (no class token, no widening, no convolution): 2 to 4 times it, the 3 + 1 / f_Q and
    the 2 of its two terms.
    """
    for spec in plan(config).blocks:
        f_q = math.prod(spec.stride_q)
        length, d = math.prod(spec.thw), spec.dim_attn
        scores = length / f_q * spec.tokens_seen * d
        assert attention_macs(spec) == (3 + 1 / f_q) * length * d * d + 2 * scores
        assert 2 <= attention_macs(spec) / attention_complexity(spec)[0] <= 4


@pytest.mark.parametrize("config", SIZES.values(), ids=SIZES)
def test_attention_weights_are_the_papers_second_term_of_memory(config):
    for spec, line in zip(plan(config).blocks, costs(config).lines[1:]):
        _, memory = attention_complexity(spec)
        assert memory == math.prod(spec.thw) * spec.dim_attn + line.attention_bytes / 4


def test_a_block_without_pooling_keeps_8_thw_d_floats():
    spec, line = plan(SIZES["ViT-B"]).blocks[0], costs(SIZES["ViT-B"]).lines[1]
    assert line.activation_bytes == 4 * 8 * math.prod(spec.thw) * spec.dim_attn


def test_complexity_of_the_large_models_is_counted_within_its_bounds():
    """With class token, widening and pooling by convolution: 27 / D more a token and pool."""
    for name in ("mvit_b_16x4", "mvit_b_32x3", "mvitv2_s_16x4", "vivit_l", "vit_b_8f"):
        for spec in plan(preset(name)).blocks:
            assert 1.5 < attention_macs(spec) / attention_complexity(spec)[0] < 4.5
