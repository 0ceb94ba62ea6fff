"""What follows from a config: the paper's stage tables, where strides and widths change, and what
is refused and how.
"""

from dataclasses import replace

import numpy as np
import pytest

from mvit_np import MViTConfig, forward, init, plan, preset
from mvit_np.model.specs import PoolSpec

B = MViTConfig()  # MViT-B 16x4 (Table 3b)
SMALL = MViTConfig(
    frames=4,
    size=32,
    cube_kernel=(3, 3, 3),
    cube_stride=(2, 2, 2),
    dim=8,
    depths=(2, 2),
    stride_kv=(1, 4, 4),
)


def stages(config):
    """The blocks of each stage."""
    blocks = plan(config).blocks
    return [[b for b in blocks if b.stage == stage] for stage in range(len(config.depths))]


def column(config, name):
    return [getattr(b, name) for b in plan(config).blocks]


# -- the paper's instances -------------------------------------------------------------------------

STAGES = {  # grid, tokens, channels, heads, kv stride of each stage (Tables 3 and 4)
    "mvit_b_16x4": [
        ((8, 56, 56), 25089, 96, 1, (1, 8, 8)),
        ((8, 28, 28), 6273, 192, 2, (1, 4, 4)),
        ((8, 14, 14), 1569, 384, 4, (1, 2, 2)),
        ((8, 7, 7), 393, 768, 8, (1, 1, 1)),
    ],
    "mvit_s_16x4": [
        ((8, 28, 28), 6273, 128, 1, (1, 4, 4)),
        ((8, 14, 14), 1569, 256, 2, (1, 2, 2)),
        ((8, 7, 7), 393, 512, 4, (1, 1, 1)),
    ],
    "vit_b_8f": [((8, 14, 14), 1569, 768, 12, (1, 1, 1))],
}


@pytest.mark.parametrize("name", STAGES)
def test_stage_table_of_the_paper(name):
    for blocks, row in zip(stages(preset(name)), STAGES[name], strict=True):
        for b in blocks:
            assert (b.thw_q, b.tokens_q, b.dim_attn, b.heads, b.stride_kv) == row
            assert b.head_dim == row[2] // row[3] and b.dim_mlp == 4 * b.dim_attn


@pytest.mark.parametrize(
    ("name", "depths"),
    [("mvit_b_16x4", [1, 2, 11, 2]), ("mvit_s_16x4", [3, 7, 6]), ("vit_b_8f", [12])],
)
def test_depths_of_the_paper(name, depths):
    assert [len(blocks) for blocks in stages(preset(name))] == depths
    assert column(preset(name), "index") == list(range(sum(depths)))


@pytest.mark.parametrize("name", ["mvit_b_16x4", "mvit_s_16x4"])
def test_keys_keep_one_resolution_except_where_the_queries_shrink(name):
    """The first block of a stage divides its stride before its grid shrinks: 8 x 14 x 14 there, 8 x
    7 x 7 elsewhere.
    """
    for b in plan(preset(name)).blocks:
        assert b.thw_kv == ((8, 14, 14) if b.stride_q != (1, 1, 1) else (8, 7, 7))


def test_vit_pools_nothing():
    assert all(
        b.pool_q is b.pool_kv is b.pool_skip is None for b in plan(preset("vit_b_8f")).blocks
    )
    assert {b.tokens_kv for b in plan(preset("vit_b_8f")).blocks} == {1569}


def test_cube_embedding_pads_by_half_a_kernel_but_not_cubes_side_by_side():
    assert (plan(B).embed.padding, plan(B).embed.thw) == ((1, 3, 3), (8, 56, 56))
    assert (plan(preset("vit_b_8f")).embed.padding, plan(preset("vit_b_8f")).embed.thw) == (
        (0, 0, 0),
        (8, 14, 14),
    )
    assert plan(preset("mvit_s_16x4")).embed.padding == (1, 0, 0)


@pytest.mark.parametrize("size", [224, (224, 320)])
def test_images_and_oblong_frames(size):
    p = plan(replace(B, frames=1, size=size, cube_kernel=(1, 7, 7), cube_stride=(1, 4, 4)))
    wide = 56 if size == 224 else 80
    assert (p.embed.thw, p.blocks[-1].thw_q) == ((1, 56, wide), (1, 7, wide // 8))


# -- transitions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [B, SMALL, replace(B, expand_in="attention"), replace(B, pool="max", pool_kernel="s+1")],
)
def test_only_the_first_block_of_a_later_stage_pools_queries_and_skip(config):
    for stage, blocks in enumerate(stages(config)):
        for place, b in enumerate(blocks):
            pools = stage > 0 and place == 0
            assert b.stride_q == ((1, 2, 2) if pools else (1, 1, 1))
            assert (b.pool_q is not None) == (b.pool_skip is not None) == pools
    assert all(
        b.pool_skip.kernel == (1, 3, 3) and b.pool_skip.kind == "max"
        for b in plan(config).blocks
        if b.pool_skip
    )


@pytest.mark.parametrize(
    "config", [B, replace(B, uneven=True, size=232), replace(SMALL, pool="max", pool_kernel="s")]
)
def test_each_block_takes_what_the_last_one_gives(config):
    p = plan(config)
    assert (p.blocks[0].thw, p.blocks[0].dim_in) == (p.embed.thw, p.embed.dim)
    for one, after in zip(p.blocks, p.blocks[1:]):
        assert (after.thw, after.dim_in, after.tokens_in) == (one.thw_q, one.dim_out, one.tokens_q)
    assert p.head.dim == p.blocks[-1].dim_out
    assert all(b.pool_skip.thw_out == b.thw_q for b in p.blocks if b.pool_skip)


def test_width_doubles_in_the_mlp_of_a_stages_last_block():
    widths = [(b.dim_in, b.dim_attn, b.dim_out) for b in plan(replace(B, depths=(1, 2, 2))).blocks]
    assert widths == [
        (96, 96, 192),
        (192, 192, 192),
        (192, 192, 384),
        (384, 384, 384),
        (384, 384, 384),
    ]


def test_width_doubles_in_the_attention_of_a_stages_first_block():
    widths = [
        (b.dim_in, b.dim_attn, b.dim_out)
        for b in plan(replace(B, depths=(1, 2, 2), expand_in="attention")).blocks
    ]
    assert widths == [
        (96, 96, 96),
        (96, 192, 192),
        (192, 192, 192),
        (192, 384, 384),
        (384, 384, 384),
    ]


def test_without_expansion_width_and_heads_stay():
    for name, value in {"dim_in": 96, "dim_attn": 96, "dim_out": 96, "heads": 2}.items():
        assert set(column(replace(B, expand=False, heads=2), name)) == {value}


def test_each_transition_may_have_its_own_stride():
    config = replace(
        SMALL, frames=8, depths=(1, 1, 1), stride_q=((2, 1, 1), (1, 2, 4)), stride_kv=(2, 4, 4)
    )
    assert column(config, "thw_q") == [(4, 16, 16), (2, 16, 16), (2, 8, 4)]
    assert column(config, "stride_kv") == [(2, 4, 4), (1, 4, 4), (1, 2, 1)]


def test_fixed_key_value_stride():
    config = replace(B, stride_kv=(1, 4, 4), adaptive_kv=False)
    assert set(column(config, "stride_kv")) == {(1, 4, 4)}
    assert [blocks[-1].thw_kv for blocks in stages(config)] == [
        (8, 14, 14),
        (8, 7, 7),
        (8, 4, 4),
        (8, 2, 2),
    ]


def test_no_key_value_pooling():
    config = replace(B, stride_kv=None)
    assert set(column(config, "pool_kv")) == {None}
    assert column(config, "thw_kv") == column(config, "thw")


def test_adaptive_stride_stops_at_one():
    assert [blocks[-1].stride_kv for blocks in stages(replace(B, stride_kv=(1, 2, 2)))] == [
        (1, 2, 2),
        *[(1, 1, 1)] * 3,
    ]


# -- pools -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "kernels"),
    [
        ("s", [(1, 8, 8), (1, 4, 4), (1, 2, 2), None]),
        ("s+1", [(1, 9, 9), (1, 5, 5), (1, 3, 3), None]),
        ("2s+1", [(1, 17, 17), (1, 9, 9), (1, 5, 5), None]),
        ((3, 3, 3), [(3, 3, 3)] * 4),
        ((1, 1, 1), [(1, 1, 1)] * 3 + [None]),
    ],
)
@pytest.mark.parametrize("kind", ["conv", "max", "avg"])
def test_kernel_rules_and_pools_that_would_do_nothing(kind, rule, kernels):
    config = replace(B, pool=kind, pool_kernel=rule)
    pools = [blocks[-1].pool_kv for blocks in stages(config)]
    assert [pool and pool.kernel for pool in pools] == kernels
    assert {pool.kind for pool in pools if pool} == {kind}
    assert column(config, "thw_kv") == column(B, "thw_kv") and column(config, "thw_q") == column(
        B, "thw_q"
    )


@pytest.mark.parametrize("rule", ["s", "s+1", "2s+1", (3, 3, 3), (5, 1, 3)])
@pytest.mark.parametrize("stride", [(1, 2, 2), (1, 3, 3), (2, 4, 4), (1, 5, 5)])
def test_pools_divide_the_grid_by_their_stride(rule, stride):
    config = MViTConfig(
        frames=4, size=120, cube_kernel=(1, 1, 1), cube_stride=(1, 1, 1), depths=(1, 1),
        stride_q=stride, stride_kv=stride, adaptive_kv=False, pool_kernel=rule,
    )  # fmt: skip
    divided = tuple(n // s for n, s in zip((4, 120, 120), stride))
    assert plan(config).blocks[1].pool_skip.thw_out == plan(config).blocks[1].thw_q == divided
    assert plan(config).blocks[0].thw_kv == divided


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "out"),
    [
        ((1, 1, 1), (1, 1, 1), (0, 0, 0), (8, 14, 10)),
        ((3, 3, 3), (1, 2, 2), (1, 1, 1), (8, 7, 5)),
        ((1, 2, 2), (1, 2, 2), (0, 0, 0), (8, 7, 5)),
        ((3, 5, 9), (2, 4, 8), (1, 2, 4), (4, 4, 2)),
    ],
)
def test_pool_grids_follow_the_papers_formula(kernel, stride, padding, out):
    pool = PoolSpec("max", kernel, stride, (8, 14, 10))
    assert pool.padding == padding
    assert (
        pool.thw_out
        == out
        == tuple(
            (n + 2 * p - k) // s + 1 for n, p, k, s in zip((8, 14, 10), padding, kernel, stride)
        )
    )


def test_queries_are_pooled_in_every_block_of_mvitv2():
    config = replace(B, pool_q_always=True)
    assert None not in column(config, "pool_q")
    assert column(config, "stride_q") == column(B, "stride_q") and column(
        config, "thw_q"
    ) == column(B, "thw_q")
    assert set(column(replace(config, pool="max", pool_kernel="s+1", depths=(2,)), "pool_q")) == {
        None
    }


def test_uneven_grids_round_up():
    config = replace(B, frames=40, size=312, uneven=True)
    assert [blocks[-1].thw_q for blocks in stages(config)] == [
        (20, 78, 78),
        (20, 39, 39),
        (20, 20, 20),
        (20, 10, 10),
    ]


@pytest.mark.parametrize(
    ("rate", "depths"), [(0.2, (1, 2, 11, 2)), (0.3, (2, 2)), (0.0, (1, 2)), (0.4, (1,))]
)
def test_stochastic_depth_grows_linearly_from_0(rate, depths):
    rates = column(replace(B, drop_path=rate, depths=depths), "drop_path")
    last = max(sum(depths) - 1, 1)
    assert rates == pytest.approx([rate * i / last for i in range(sum(depths))])


def test_relative_tables_span_the_finer_of_the_two_grids():
    """2 n - 1 rows an axis (MViTv2-S: 56, 56 then 28, ... in space; 8 in time)."""
    config = replace(B, positions="relative", pool_q_always=True, expand_in="attention")
    spans = [dict(blocks[-1].relative) for blocks in stages(config)]
    assert spans == [{"h": 2 * n - 1, "w": 2 * n - 1, "t": 15} for n in (56, 28, 14, 7)]
    assert set(column(B, "relative")) == {()}
    assert "t" not in dict(plan(replace(config, relative_time=False)).blocks[0].relative)


def test_plan_prints_the_stage_table():
    table = str(plan(B)).splitlines()
    cells = [line.replace(" x ", "x").split() for line in table]
    rows = [row for row in cells if row and row[0] in "1234"]
    assert [row[2:4] for row in rows] == [
        ["8x56x56", "25089"],
        ["8x28x28", "6273"],
        ["8x14x14", "1569"],
        ["8x7x7", "393"],
    ]
    assert cells[-1] == ["total", "16", "36.611", "70.599"]


# -- what is refused -------------------------------------------------------------------------------

IMPOSSIBLE = [
    # (changes, what the message must contain) One rule holds for each of these groups of fields:
    # all values are tried at the first, one at each of the others.
    *[({name: value}, [name, repr(value)])
      for name in ("frames", "size") for value in (0, -1, 2.0, True, None, "3", [3])],
    *[({name: 0}, [name, "0"]) for name in ("channels", "num_classes", "dim", "heads")],
    *[({name: value}, [name, repr(value)])
      for name in ("cube_kernel", "stride_q")
      for value in ((1, 2), (1, 2, 2, 2), (1, 0, 2), (1, -2, 2), (1, 2.0, 2), (True, 2, 2),
                    [1, 2, 2], 2, ("1", "2", "2"))],
    *[({name: [1, 2, 2]}, [name, "[1, 2, 2]"])
      for name in ("cube_stride", "stride_kv", "pool_kernel")],
    *[({"dropout": value}, ["dropout", repr(value)])
      for value in (1, 1.0, -0.1, 2, None, "0.1", float("nan"), False)],
    ({"drop_path": 1}, ["drop_path", "1"]),
    *[({"mlp_ratio": value}, ["mlp_ratio", repr(value)])
      for value in (0, -1, None, "4", float("nan"), float("inf"), True, [4])],
    ({"eps": 0}, ["eps", "0"]),
    *[({"adaptive_kv": value}, ["adaptive_kv", repr(value), "True"])
      for value in (None, 0, 1, "no")],
    *[({name: None}, [name, "None", "True"])
      for name in ("pool_q_always", "uneven", "relative_time", "cls_token", "expand", "qkv_bias")],
    *[({name: "other"}, [name, "'other'", "one of"])
      for name in ("pool", "positions", "skip", "expand_in", "residual_pooling", "pool_kernel")],
    *[({"pool": value}, ["pool", repr(value)]) for value in (None, 1, ["conv"])],
    *[({"depths": value}, ["depths", repr(value)])
      for value in ((), (1, 0), (1, 2.0), [1, 2], 4, None, (True,))],
    *[({"size": value}, ["size", repr(value)])
      for value in ((224,), (224, 0), [224, 224], (224, 224, 3), (224.0, 224))],
    *[({name: None}, [name, "None"])
      for name in ("cube_kernel", "cube_stride", "stride_q", "pool_kernel")],
    ({"stride_q": ((1, 2, 2),)}, ["stride_q", "3 transitions", "1"]),
    ({"stride_q": ((1, 2, 2),) * 4}, ["stride_q", "3 transitions", "4"]),
    ({"stride_q": ()}, ["stride_q", "3 transitions", "0"]),
    ({"stride_q": ((1, 2, 2), (1, 2), (1, 2, 2))}, ["stride_q of transition 2", "(1, 2)"]),
    ({"stride_q": ([1, 2, 2],) * 3}, ["stride_q of transition 1", "[1, 2, 2]"]),
    ({"heads": 5}, ["heads=5", "dim=96", "multiple of 5"]),
    ({"mlp_ratio": 1.13, "dim": 10}, ["mlp_ratio", "1.13 x 10"]),
    ({"frames": 15}, ["frames 15", "cube_stride", "stride is 2", "multiple of 2"]),
    ({"size": 225}, ["height 225", "cube_stride", "multiple of 32"]),
    ({"size": (224, 230)}, ["width 230", "cube_stride", "multiple of 32"]),
    ({"size": 240}, ["stride_q of transition 3", "height 15", "stride is 2", "multiple of 32"]),
    ({"stride_q": ((2, 2, 2), (1, 2, 2), (3, 2, 2))},
     ["transition 3", "frames 4", "stride is 3", "multiple of 12"]),
    ({"cube_kernel": (2, 7, 7), "cube_stride": (1, 4, 4)}, ["cube_kernel", "(2, 7, 7)", "odd"]),
    ({"pool_kernel": (2, 2, 2)}, ["pool_kernel", "(2, 2, 2)", "odd"]),
    ({"cube_kernel": (2, 4, 4), "size": 234, "uneven": True},
     ["cube_stride", "height 234", "multiple of 32"]),
    ({"pool": "max", "pool_kernel": "s", "size": 232, "uneven": True},
     ["stride_q of transition 2", "height 29"]),
    ({"size": 8, "uneven": True}, ["stride_q of transition 2", "height 1", "stride is 2"]),
    ({"depths": (10**9,), "stride_q": ()}, ["at most 1000 blocks", "1000000000", "depths"]),
    ({"positions": "joint", "time_depth": 10**9}, ["at most 1000 blocks", "1000000016"]),
]  # fmt: skip


def told(changes):
    return ", ".join(f"{name}={value!r}" for name, value in changes.items())


@pytest.mark.parametrize(
    ("changes", "named"), IMPOSSIBLE, ids=[told(changes) for changes, _ in IMPOSSIBLE]
)
def test_impossible_configs_are_refused_with_name_number_and_remedy(changes, named):
    with pytest.raises(ValueError) as error:
        MViTConfig(**changes)
    message = str(error.value)
    missing = [word for word in named if word not in message]
    assert not missing, f"{missing} not in: {message}"
    rule, _, remedy = message.rpartition(": ")
    assert rule and remedy and "\n" not in message


@pytest.mark.parametrize(
    ("changes", "came"),
    [
        ({"stride_kv": (1, 64, 64)}, r"\(1, 64, 64\) for grid \(2, 16, 16\)"),
        (
            {"depths": (1, 1, 1), "size": (8, 16), "adaptive_kv": False},
            r"\(1, 4, 4\) for grid \(2, 2, 4\)",
        ),
    ],
)
def test_a_window_larger_than_its_grid_is_refused(changes, came):
    with pytest.raises(
        ValueError,
        match=f"^a pool's window fits its grid, came {came}: give a smaller stride or pool_kernel$",
    ):
        replace(SMALL, **{"pool": "max", "pool_kernel": "s"} | changes)


def test_a_mask_unit_divides_the_grid_that_is_rounded_up():
    units = replace(preset("hiera_b_image"), depths=(2,), uneven=True, cube_kernel=(1, 7, 7))
    assert plan(replace(units, size=253)).embed.thw == (1, 64, 64)
    with pytest.raises(
        ValueError, match=r"^mask_unit divides the grid of tokens \(1, 57, 57\), came \(1, 8, 8\)"
    ):
        replace(units, size=226)


def some_config(draw):
    """A config that may be possible or not."""
    stages = draw([1, 2, 3])
    return dict(
        frames=draw([1, 2, 3, 4]), size=draw([8, 9, 12, 16, (8, 16), (6, 10)]),
        cube_kernel=draw([(1, 3, 3), (3, 3, 3), (1, 2, 2)]),
        cube_stride=draw([(1, 2, 2), (2, 2, 2), (1, 4, 4), (1, 3, 3)]),
        dim=draw([2, 4, 6]), depths=(draw([1, 2]),) * stages,
        stride_q=draw([(1, 2, 2), (2, 2, 2), (1, 3, 3), (1, 1, 2)]),
        stride_kv=draw([None, (1, 2, 2), (1, 4, 4), (2, 3, 5)]), adaptive_kv=draw([False, True]),
        pool=draw(["max", "avg"]), pool_kernel=draw([(3, 3, 3), "s", "s", "s+1", "2s+1"]),
        uneven=draw([False, True]), pool_q_always=draw([False, True]),
        skip_kernel=draw(["s", "s+1"]), cls_token=False,
        mask_unit=draw([None, None, (1, 2, 2), (1, 4, 4)]), mask_unit_stages=draw([1, 2]),
        time_depth=draw([0, 0, 1]), positions=draw(["joint", "none"]),
        reversible=draw([False, False, True]), expand_in="attention",
    )  # fmt: skip


def test_every_config_that_is_accepted_has_a_plan_and_runs():
    accepted = 0
    for seed in range(1500):
        draw = np.random.default_rng(seed)
        try:
            config = MViTConfig(
                num_classes=2,
                channels=1,
                **some_config(lambda values, draw=draw: values[draw.integers(len(values))]),
            )
        except ValueError:
            continue
        accepted += 1
        assert plan(config).blocks[-1].tokens_q >= 1
        if accepted % 10 == 0:
            clip = np.zeros((1, *config.thw, 1), np.float32)
            assert np.isfinite(forward(init(config, draw), clip, config)).all()
    assert accepted > 100


@pytest.mark.parametrize(
    "changes",
    [
        {"stride_kv": (1, 64, 64)},  # more than the grid: one key a frame is left
        {"depths": (4,), "stride_q": ()},
        {"heads": 3, "expand": False},
        {"mlp_ratio": 2.5},
        {"drop_path": 0, "dropout": 0},
        {"size": 234, "uneven": True},
    ],
)
def test_unusual_but_possible(changes):
    assert plan(replace(B, **changes)).blocks


def test_a_config_cannot_be_changed_afterwards():
    with pytest.raises(AttributeError):
        B.dim = 128
    assert len({B, replace(B), replace(B, dim=192)}) == 2
