"""What a model costs: the paper's numbers, parameters that init makes, products counted in a forward pass, memory measured."""

import gc
import math
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from mvit_np import MViTConfig, costs, cross_entropy, forward, init, plan, preset, tree
from mvit_np.autodiff import vjp
from mvit_np.layers import attention, block, embedding, head, mlp, pooling
from mvit_np.model import _shapes
from mvit_np.presets import PRESETS

B, S, VIT, MICRO = (preset(name) for name in ("mvit_b_16x4", "mvit_s_16x4", "vit_b_8f", "mvit_micro"))
MAX = {"pool": "max", "pool_kernel": "s+1"}  # the paper's max pooling (Table 15)
V2 = {"positions": "relative", "pool_q_always": True, "residual_pooling": "tokens", "expand_in": "attention"}
IMAGE = {"frames": 1, "cube_kernel": (1, 7, 7), "cube_stride": (1, 4, 4), "num_classes": 1000}
TWO_SCALES = {"depths": (6, 6), "expand": False, "stride_q": (1, 2, 2)}

# -- the paper's numbers --------------------------------------------------------------------------------------------------

PUBLISHED = {  # parameters counted in the released implementations, 1e9 multiply-adds
    "MViT-B 16x4": (B, 36_610_672, 70.60),
    "MViT-B 16x4, max": (replace(B, **MAX), 36_513_232, 70.33),
    "MViT-B 16x4, conv s+1": (replace(B, pool_kernel="s+1"), 36_565_936, None),
    "MViT-B 32x3": (replace(B, frames=32), 36_611_440, 169.96),
    "MViT-B 64x3": (replace(B, frames=64), 36_612_976, 455.06),
    "MViT-B-24 32x3": (replace(B, frames=32, depths=(2, 3, 16, 3), pool_kernel="s+1"), 53_115_280, 235.78),
    "MViT-S 16x4": (S, 26_038_032, 29.95),
    "ViT-B": (VIT, 87_159_952, 179.56),
    "MViTv2-S 16x4": (replace(B, **V2), 34_537_744, 64.22),
}


@pytest.mark.parametrize(("config", "params", "gmacs"), PUBLISHED.values(), ids=PUBLISHED)
def test_published_models(config, params, gmacs):
    assert costs(config).params == params
    assert gmacs is None or round(costs(config).macs / 1e9, 2) == gmacs


PAPER = {  # rounded as the paper prints them; a recount may differ by half a per cent (GFLOPs, M parameters)
    "Table 3, ViT-B": (VIT, 179.6, 87.2),
    "Table 3, MViT-B max": (replace(B, **MAX), 70.5, 36.5),
    "Table 5, MViT-B 32x3": (replace(B, frames=32), 170, 36.6),
    "Table 5, MViT-B 64x3": (replace(B, frames=64), 455, 36.6),
    "Table 10, ViT-B with two scales": (replace(VIT, **TWO_SCALES, **MAX), 111.1, None),
    "Table 11, no positions": (replace(B, **MAX, positions="none"), None, 36.2),
    "Table 11, space": (replace(B, **MAX, positions="space"), None, 36.5),
    "Table 11, joint": (replace(B, **MAX, positions="joint"), None, 38.6),
    "Table 12, 8x8 1x7x7": (replace(B, **MAX, frames=8, cube_kernel=(1, 7, 7), cube_stride=(1, 4, 4)), 69.6, None),
    "Table 12, 8x8 3x7x7": (replace(B, **MAX, frames=8, cube_kernel=(3, 7, 7), cube_stride=(1, 4, 4)), 70.5, None),
    "Table 12, 32x2 3x7x7": (replace(B, **MAX, frames=32, cube_stride=(4, 4, 4)), 70.5, None),
    "Table 13, [1, 2, 11, 2]": (replace(B, stride_kv=(2, 4, 4)), 83.6, None),
    "Table 13, [2, 6, 6, 2]": (replace(B, stride_kv=(2, 4, 4), depths=(2, 6, 6, 2)), 90.2, 29.5),
    "Table 17, image B-16": (replace(B, **MAX, **IMAGE, stride_kv=(1, 4, 4)), 7.8, 37.0),
    "Table 17, image B-24": (replace(B, **MAX, **IMAGE, stride_kv=(1, 4, 4), depths=(2, 3, 16, 3)), 10.9, 53.5),
    "Table A.3, kv 8x8": (replace(B, **MAX, **IMAGE), 7.2, None),
}


@pytest.mark.parametrize(("config", "gmacs", "millions"), PAPER.values(), ids=PAPER)
def test_tables_of_the_paper(config, gmacs, millions):
    account = costs(config)
    assert gmacs is None or account.macs / 1e9 == pytest.approx(gmacs, rel=0.006)
    assert millions is None or account.params / 1e6 == pytest.approx(millions, rel=0.006)


@pytest.mark.parametrize(
    ("stride_kv", "adaptive", "low", "high"), [((1, 4, 4), False, 70.3, 71.4), ((2, 4, 4), True, 82.9, 83.6)]
)
@pytest.mark.parametrize("pool", [MAX, {}])
def test_key_value_strides_of_table_14(stride_kv, adaptive, low, high, pool):
    assert low < costs(replace(B, stride_kv=stride_kv, adaptive_kv=adaptive, **pool)).macs / 1e9 < high


@pytest.mark.parametrize(
    ("positions", "rows"),
    [("none", 0), ("space", 56 * 56 + 1), ("separate", 56 * 56 + 8 + 1), ("joint", 8 * 56 * 56 + 1)],
)
def test_positions_of_table_11_add_one_row_a_place(positions, rows):
    none = costs(replace(B, positions="none"))
    some = costs(replace(B, positions=positions))
    assert some.params - none.params == rows * 96
    assert some.macs == none.macs


@pytest.mark.parametrize("name", PRESETS)
def test_each_preset_states_what_it_costs(name):
    known, account = PRESETS[name], costs(PRESETS[name].config)
    assert known.params in (None, account.params)
    assert known.gmacs is None or account.macs / 1e9 == pytest.approx(known.gmacs, rel=5e-3)


# -- against real arrays --------------------------------------------------------------------------------------------------

TINY = MViTConfig(
    frames=4, size=(16, 32), channels=2, num_classes=5, cube_kernel=(3, 3, 3), cube_stride=(2, 2, 2), dim=8, heads=2,
    depths=(1, 2, 1), stride_kv=(1, 4, 4), mlp_ratio=3,
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


def clips(config, batch):
    return np.random.default_rng(0).standard_normal((batch, *config.thw, config.channels), dtype="float32")


@every_variant
def test_parameters_are_those_that_init_makes(changes):
    config = replace(TINY, **changes)
    assert costs(config).params == sum(leaf.size for leaf in tree.leaves(init(config, np.random.default_rng(0))))


@pytest.mark.parametrize("config", [case[0] for case in PUBLISHED.values()], ids=PUBLISHED)
def test_parameters_of_the_large_models_are_those_of_their_shapes(config):
    assert costs(config).params == sum(map(math.prod, _shapes(config).values()))


COUNTED = {  # multiply-adds of one call, from the shapes of its arrays
    "linear": lambda y, x, w, b=None: y.size * w.shape[0],
    "cube_conv": lambda y, x, w, *_: y.size * math.prod(w.shape[:4]),
    "depthwise_conv": lambda y, x, w, *_: y.size * math.prod(w.shape[:3]),
    "attend": lambda y, q, k, v, *_: 2 * math.prod(q.shape[:3]) * k.shape[1] * v.shape[3],
    "relative_query": lambda y, q, scale, grids, *tables: sum(
        q.shape[0] * math.prod(thw_q) * q.shape[2] * thw_kv[axis] * q.shape[3] for axis, thw_q, thw_kv in grids
    ),
}


def counting(monkeypatch):
    """Wrap the ops that multiply, wherever a layer calls one.   -> the list of counts, one a call"""
    counts = []

    def wrapped(op, count):
        def call(*args):
            y = op(*args)
            counts.append(count(y, *args))
            return y

        return call

    for module in (attention, block, embedding, head, mlp, pooling):
        for name, count in COUNTED.items():
            if hasattr(module, name):
                monkeypatch.setattr(module, name, wrapped(getattr(module, name), count))
    return counts


@every_variant
def test_multiply_adds_are_those_of_the_arrays_in_a_forward_pass(changes, monkeypatch):
    config = replace(TINY, **changes)
    counts = counting(monkeypatch)
    forward(init(config, np.random.default_rng(0)), clips(config, 2), config)
    assert costs(config).macs == sum(counts) / 2


@every_variant
def test_attention_bytes_are_those_of_the_largest_attention_array(changes):
    config, sizes = replace(TINY, **changes), []
    params = init(config, np.random.default_rng(0))
    forward(params, clips(config, 1), config, tap=lambda name, x: sizes.append(x.nbytes) if "attention" in name else None)
    assert costs(config).attention_bytes == max(sizes)


def kept_bytes(config, batch):
    """Memory alive after a traced forward pass: the clips and what the backward pass will need."""
    leaves, rebuild = tree.flatten(init(config, np.random.default_rng(0)))
    labels = np.zeros(batch, int)
    tracemalloc.start()
    x = clips(config, batch)
    _, pull = vjp(lambda *p: cross_entropy(forward(rebuild(p), x, config), labels), leaves)
    gc.collect()
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return kept if pull else None  # `pull` holds the tape until here


MEASURED = ["MViT", "max pooling", "average pooling", "no class token", "joint positions", "no skip", "one stage"]
MEASURED += ["no skip, attention", "MViTv2", "MViTv2, no class token", "MViTv2, keys not pooled"]


@pytest.mark.parametrize("changes", [VARIANTS[name] for name in MEASURED], ids=MEASURED)
def test_activation_bytes_are_those_that_a_traced_forward_pass_keeps(changes):
    """By the difference of two batches, so that what does not grow with the batch drops out."""
    config = replace(MICRO, **changes)
    forward(init(config, np.random.default_rng(0)), clips(config, 1), config)  # fills the caches of plans and shapes
    kept = (kept_bytes(config, 12) - kept_bytes(config, 4)) / 8
    assert costs(config).activation_bytes == pytest.approx(kept, rel=0.05)


def test_a_batch_of_8_keeps_what_costs_says():
    forward(init(MICRO, np.random.default_rng(0)), clips(MICRO, 1), MICRO)
    assert 8 * costs(MICRO).activation_bytes == pytest.approx(kept_bytes(MICRO, 8), rel=0.1)


def test_the_account_has_a_line_for_each_part_that_adds_up():
    account = costs(MICRO)
    assert [line.name for line in account.lines] == ["embedding", *(f"block {i}" for i in range(sum(MICRO.depths))), "head"]
    assert [line.stage for line in account.lines[1:-1]] == [b.stage for b in plan(MICRO).blocks]
    assert account.params == sum(line.params for line in account.lines)
    assert account.macs == sum(line.macs for line in account.lines)
