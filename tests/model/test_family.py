"""The rest of the family from the same layers: Rev-MViT, Hiera, ViViT's factorised encoder, single
unpooled blocks.
"""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from counted_costs import counted_macs, kept_bytes

import mvit_np as mv
from mvit_np import ops
from mvit_np.autodiff.reversible import coupled
from mvit_np.autodiff.tape import vjp
from mvit_np.backend import tree as trees
from mvit_np.model.layers.attention import attention
from mvit_np.model.layers.block import attention_half, block, mlp_half
from mvit_np.model.layers.embedding import embed
from mvit_np.model.layers.head import head
from mvit_np.studies.gradient_cases import TINY, TINY_HIERA, TINY_REV, TINY_VIVIT, roughened

TINY_MEAN = replace(TINY, mean_before_norm=True)
TINY_OLD = replace(TINY, unpooled_kv=(1,))
FAMILY = {
    "Rev-MViT": TINY_REV,
    "Rev-MViT, class token, three stages": replace(
        TINY_REV, cls_token=True, depths=(1, 1, 2), size=32
    ),
    "Rev-MViT, one width": replace(TINY_REV, expand=False),
    "Hiera": TINY_HIERA,
    "Hiera, two stages of units": replace(TINY_HIERA, depths=(1, 2, 1), mask_unit_stages=2),
    "ViViT": TINY_VIVIT,
    "ViViT over a pyramid, no class token": replace(
        TINY,
        time_depth=2,
        positions="space",
        cls_token=False,
        relative_time=False,
        cube_stride=(1, 2, 2),
    ),
    "mean before the norm": TINY_MEAN,
    "one block with whole keys": TINY_OLD,
}
every_model = pytest.mark.parametrize("name", FAMILY)


def clip_for(config, batch=2):
    return np.random.default_rng(5).standard_normal((batch, *config.thw, config.channels))


def in_training(config, **options):
    """The model with masks that are the same at each call."""
    return lambda params, clip: mv.forward(
        params, clip, config, rng=np.random.default_rng(3), **options
    )


@every_model
@pytest.mark.slow
@pytest.mark.parametrize("training", [True, False])
def test_every_gradient(name, training):
    """In evaluation, as masks of ones, these are those of test_gradcheck.py for all blocks."""
    config = FAMILY[name]
    run = in_training(config) if training else lambda params, clip: mv.forward(params, clip, config)
    assert mv.gradcheck(run, roughened(config), clip_for(config)).passed


@every_model
def test_checkpoints_give_the_gradients_of_training_without(name):
    config = FAMILY[name]
    leaves, rebuild = trees.flatten([roughened(config), clip_for(config)])

    def logits_and_gradients(**options):
        logits, pull = vjp(lambda *leaves: in_training(config, **options)(*rebuild(leaves)), leaves)
        return [logits, *pull(np.random.default_rng(4).standard_normal(logits.shape))]

    for plain, again in zip(
        logits_and_gradients(), logits_and_gradients(checkpoint=True), strict=True
    ):
        np.testing.assert_allclose(again, plain, rtol=1e-10, atol=1e-13)


@every_model
def test_costs_are_counted_as_they_arise(name):
    """Parameters, multiply-adds and attention's largest array, against the arrays of a forward
    pass.
    """
    config, sizes = replace(FAMILY[name], cube_kernel=(3, 3, 3)), []
    params = roughened(config)
    keep = lambda name, x: sizes.append(x.nbytes / 2) if "attention" in name else None  # noqa: E731  (float64 here)
    mv.forward(params, clip_for(config, 1), config, hook=keep)
    account = mv.costs(config)
    assert account.params == sum(leaf.size for leaf in trees.leaves(params))
    assert account.macs == counted_macs(config, 1) and account.attention_bytes == max(sizes)


SIZES = dict(frames=8, size=64, dim=16, depths=(2, 2), num_classes=2, channels=1)


@pytest.mark.parametrize(
    "config", [TINY_REV, TINY_HIERA, TINY_VIVIT, TINY_MEAN, TINY_OLD], ids=lambda c: ""
)
def test_activation_bytes_are_those_that_a_traced_forward_pass_keeps(config, few_objects):
    config = replace(config, **SIZES)
    kept_bytes(config, 1)  # fills the caches of plans and shapes
    kept = (kept_bytes(config, 6) - kept_bytes(config, 2)) / 4
    assert mv.costs(config).activation_bytes == pytest.approx(kept, rel=0.05)


# -- Rev-MViT --------------------------------------------------------------------------------------


def two_streams_written_out(params, clip, config):
    """The equations of Rev-MViT on autograd's tape alone, nothing rebuilt."""
    p = mv.plan(config)
    x = embed(params, clip, p.embed)
    x1 = x2 = x
    for spec, q in zip(p.blocks, params["blocks"]):
        if spec.stage > 0 and p.blocks[spec.index - 1].stage < spec.stage:
            x1 = x2 = block(q, ops.scale(ops.add(x1, x2), 0.5), spec)
        else:
            x1 = ops.add(x1, attention_half(q, x2, spec))
            x2 = ops.add(x2, mlp_half(q, x1, spec))
    return head(params, ops.join_channels(x1, x2), p.head)


@pytest.mark.parametrize("name", [name for name in FAMILY if name.startswith("Rev")])
def test_rebuilt_activations_give_the_gradients_of_kept_ones(name):
    config = FAMILY[name]
    params, clip = roughened(config), clip_for(config)

    def loss(model):
        return lambda params, clip: (lambda z: (z * z).sum())(model(params, clip, config))

    for_both = [
        mv.value_and_grad(loss(model), (0, 1))(params, clip)
        for model in (mv.forward, two_streams_written_out)
    ]
    (ours, d_ours), (theirs, d_theirs) = for_both
    assert ours == pytest.approx(theirs, rel=1e-12)
    for (path, a), (_, b) in zip(trees.paths(list(d_ours)), trees.paths(list(d_theirs))):
        assert np.abs(a - b).max() <= 1e-9 * np.abs(b).max() + 1e-12, path


def test_the_skip_of_a_stage_s_first_block_is_pooled_as_its_query():
    """A convolution that picks the window's centre, and a norm that undoes nothing: the skip is
    then x at every other place.
    """
    config = replace(TINY_REV, expand=False, depths=(1, 1), positions="none")
    params, spec = roughened(config)["blocks"][1], mv.plan(config).blocks[1]
    params["attn"]["pool_q"]["w"] = np.zeros_like(params["attn"]["pool_q"]["w"])
    params["attn"]["pool_q"]["w"][1, 1, 1] = 1
    for branch in (params["attn"]["proj"], params["mlp"]["fc2"]):
        branch["w"], branch["b"] = 0 * branch["w"], 0 * branch["b"]
    x = np.random.default_rng(0).standard_normal((2, spec.tokens_in, spec.dim_in))

    picked = x.reshape(2, *spec.thw, -1)[:, :, ::2, ::2].reshape(2, -1, spec.dim_in)
    norm = params["attn"]["norm_q"]
    np.testing.assert_allclose(
        block(params, x, spec), ops.layer_norm(picked, norm["g"], norm["b"], spec.eps), atol=1e-12
    )


@pytest.mark.slow
def test_memory_is_flat_in_depth_and_a_plain_model_s_is_not(few_objects):
    """What a traced forward pass keeps per clip, with 2 and with 8 blocks in the stage: measured
    and counted.
    """
    rev, plain = (replace(TINY_REV, **SIZES | dict(reversible=kind)) for kind in (True, False))
    measured, counted = {}, {}
    for config in (rev, plain):
        for depth in (2, 8):
            deeper = replace(config, depths=(depth,))
            kept_bytes(deeper, 1)
            measured[config.reversible, depth] = (kept_bytes(deeper, 6) - kept_bytes(deeper, 2)) / 4
            counted[config.reversible, depth] = mv.costs(deeper).activation_bytes
    assert (
        measured[True, 8] == pytest.approx(measured[True, 2], rel=0.02)
        and counted[True, 8] == counted[True, 2]
    )
    assert measured[False, 8] > 3 * measured[False, 2] and counted[False, 8] > 3 * counted[False, 2]


@pytest.mark.slow
def test_the_peak_of_a_whole_step_grows_by_less_than_a_fifth_from_2_blocks_to_8():
    peaks = []
    for depth in (2, 8):
        config = replace(TINY_REV, **SIZES | dict(depths=(depth,)))
        params = mv.init(config, np.random.default_rng(0))
        clip = clip_for(config, 3).astype("float32")
        step = mv.value_and_grad(
            lambda p, config=config, clip=clip: mv.cross_entropy(
                mv.forward(p, clip, config), np.zeros(3, int)
            )
        )
        step(params)
        tracemalloc.start()
        step(params)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_a_result_that_is_not_used_gets_no_gradient():
    double = lambda params, x, rng: ops.linear(x, params["w"])  # noqa: E731
    chain = [((double, {"w": np.eye(3)}), (double, {"w": 2 * np.eye(3)}))]
    x = np.ones((1, 2, 3))
    (y1, y2), only_first = (
        coupled(chain, x, x),
        vjp(lambda x1, x2: coupled(chain, x1, x2)[0], [x, x])[1],
    )
    np.testing.assert_allclose((y1, y2), (2 * x, 5 * x))
    np.testing.assert_allclose(only_first(np.ones_like(x)), [x, x])


def test_reversible_models_widen_in_the_attention():
    with pytest.raises(ValueError, match='set expand_in="attention"'):
        replace(TINY_REV, expand_in="mlp")


# -- Hiera -----------------------------------------------------------------------------------------


def unit_of(token, thw, unit):
    return tuple(i // u for i, u in zip(np.unravel_index(token, thw), unit))


def masked_attention(params, x, spec):
    """Attention of all tokens with all, in which logits between units are minus infinity; queries
    pooled in a loop.
    """
    qkv = (x @ params["qkv"]["w"] + params["qkv"]["b"]).reshape(*x.shape[:2], 3, spec.heads, -1)
    q, k, v = (qkv[:, :, i].swapaxes(1, 2) for i in range(3))
    if spec.pool_q:
        t, h, w = spec.thw
        q = (
            q.reshape(*q.shape[:2], t, h // 2, 2, w // 2, 2, -1)
            .max((4, 6))
            .reshape(*q.shape[:2], -1, spec.head_dim)
        )
    logits = q @ k.swapaxes(2, 3) * spec.head_dim**-0.5
    units_q = [unit_of(i, spec.thw_q, spec.unit_q) for i in range(spec.tokens_q)]
    units_k = [unit_of(i, spec.thw, spec.unit) for i in range(spec.tokens_in)]
    apart = np.array([[a != b for b in units_k] for a in units_q])
    weights = np.exp(np.where(apart, -np.inf, logits))
    z = (weights / weights.sum(-1, keepdims=True)) @ v
    return (
        z.swapaxes(1, 2).reshape(len(x), spec.tokens_q, -1) @ params["proj"]["w"]
        + params["proj"]["b"]
    )


@pytest.mark.parametrize("index", [0, 1])
def test_mask_unit_attention_is_attention_with_the_other_units_masked_out(index):
    spec, params = mv.plan(TINY_HIERA).blocks[index], roughened(TINY_HIERA)["blocks"][index]["attn"]
    assert spec.unit == (1, 4, 4) and bool(spec.pool_q) == (index == 1)
    x = np.random.default_rng(0).standard_normal((2, spec.tokens_in, spec.dim_in))
    np.testing.assert_allclose(
        attention(params, x, spec), masked_attention(params, x, spec), rtol=1e-9
    )


def test_units_shrink_with_the_queries_and_end_after_the_block_that_pools_their_last():
    config = mv.MViTConfig(
        depths=(2, 3, 16, 3), mask_unit=(1, 8, 8), stride_kv=None, pool="max", pool_kernel="s",
        skip_kernel="s", cls_token=False, expand_in="attention", mean_before_norm=True,
    )  # fmt: skip
    units = [block.unit for block in mv.plan(config).blocks]
    assert units[:6] == [(1, 8, 8)] * 3 + [(1, 4, 4)] * 3 and set(units[6:]) == {None}


@pytest.mark.parametrize(
    "changes, words",
    [
        (dict(cls_token=True), "without class token"),
        (dict(mask_unit=(1, 3, 3)), "mask_unit divides the grid"),
        (dict(mask_unit=(1, 1, 1)), "a query stride divides the mask unit"),
        (dict(mask_unit=(1, 4)), "mask_unit is .time, height, width."),
        (dict(mask_unit_stages=0), "mask_unit_stages is a whole number >= 1"),
    ],
)
def test_impossible_mask_units_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        replace(TINY_HIERA, **changes)


# -- ViViT, and the rest ---------------------------------------------------------------------------


def test_the_factorised_encoder_is_a_loop_over_frames_and_then_time():
    p, params, clip = mv.plan(TINY_VIVIT), roughened(TINY_VIVIT), clip_for(TINY_VIVIT)
    tokens = ops.cube_conv(
        clip,
        params["patch_embed"]["w"],
        params["patch_embed"]["b"],
        p.embed.stride,
        p.embed.padding,
    )
    frames = []
    for t in range(tokens.shape[1]):
        x = tokens[:, t].reshape(2, -1, p.embed.dim)
        x = (
            np.concatenate([np.broadcast_to(params["cls_token"], (2, 1, p.embed.dim)), x], axis=1)
            + params["pos_embed"]
        )
        for spec, q in zip(p.blocks[:2], params["blocks"]):
            x = block(q, x, spec)
        frames.append(
            ops.layer_norm(
                x[:, 0], params["bridge"]["norm"]["g"], params["bridge"]["norm"]["b"], 1e-6
            )
        )
    first = np.broadcast_to(params["bridge"]["cls_token"], frames[0].shape)
    x = np.stack([first, *frames], axis=1) + params["bridge"]["pos_embed"]
    logits = head(params, block(params["blocks"][2], x, p.blocks[2]), p.head)
    np.testing.assert_allclose(mv.forward(params, clip, TINY_VIVIT), logits, rtol=1e-10)


@pytest.mark.parametrize(
    "changes, words",
    [
        (dict(positions="separate"), 'positions are "joint", "space" or "none"'),
        (dict(time_depth=-1), "time_depth is a whole number >= 0"),
        (dict(reversible=True, expand=False), "goes without reversible"),
        (dict(depths=(1, 1), stride_q=(2, 2, 2)), "leave time alone"),
    ],
)
def test_impossible_factorised_encoders_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        replace(TINY_VIVIT, **changes)


def test_mean_before_norm_leaves_the_class_token_out():
    p, params = mv.plan(TINY_MEAN), roughened(TINY_MEAN)
    x = np.random.default_rng(0).standard_normal((2, p.blocks[-1].tokens_q, p.head.dim))
    mean = x[:, 1:].mean(1)
    mean = (mean - mean.mean(-1, keepdims=True)) / np.sqrt(mean.var(-1, keepdims=True) + 1e-6)
    wanted = (mean * params["norm"]["g"] + params["norm"]["b"]) @ params["head"]["w"] + params[
        "head"
    ]["b"]
    np.testing.assert_allclose(head(params, x, p.head), wanted, rtol=1e-10)


def test_an_unpooled_block_attends_to_every_key_and_has_no_pool():
    first, second = mv.plan(TINY_OLD).blocks
    assert first.pool_kv and second.pool_kv is None and second.tokens_kv == second.tokens_in
    assert "pool_k" not in roughened(TINY_OLD)["blocks"][1]["attn"]
    with pytest.raises(ValueError, match="unpooled_kv is a tuple of blocks, 0 to 1"):
        replace(TINY, unpooled_kv=(2,))


def test_the_old_16x4_file_has_36_599_536_parameters():
    """SlowFast's released MVIT_B_16x4_CONV: no pooling of keys and values in the last stage."""
    assert mv.costs(replace(mv.preset("mvit_b_16x4"), unpooled_kv=(14, 15))).params == 36_599_536
