"""The whole model: what it returns, what it must ignore, what training changes, and what it says of
bad input.
"""

from dataclasses import replace

import numpy as np
import pytest
from op_loops import (
    bias_loop,
    cube_conv_loop,
    depthwise_conv_loop,
    gelu_loop,
    layer_norm_loop,
    max_pool_loop,
    softmax_loop,
)

import mvit_np as mv
from mvit_np import MViTConfig, cross_entropy, forward, init, plan, predict, preset, value_and_grad
from mvit_np.backend import tiles, tree
from mvit_np.model.layers.embedding import embed
from mvit_np.model.layers.pooling import pool_tokens
from mvit_np.model.layers.stochastic import add_branch, drop_branch, dropout
from mvit_np.model.specs import PoolSpec
from mvit_np.studies.gradient_cases import roughened

TINY = MViTConfig(
    frames=4, size=16, channels=2, num_classes=5, cube_kernel=(3, 3, 3), cube_stride=(2, 2, 2),
    dim=8, heads=2, depths=(1, 2, 1), stride_kv=(1, 4, 4), mlp_ratio=2, drop_path=0.3,
)  # fmt: skip
MAX = {"pool": "max", "pool_kernel": "s+1"}
V2 = {
    "positions": "relative",
    "pool_q_always": True,
    "residual_pooling": "tokens",
    "expand_in": "attention",
}
VARIANTS = {
    "MViT": {},
    "max pooling": MAX,
    "average pooling": MAX | {"pool": "avg"},
    "max pooling, kernel s": {"pool": "max", "pool_kernel": "s"},
    "joint positions": {"positions": "joint"},
    "space positions": {"positions": "space"},
    "no positions": {"positions": "none"},
    "relative positions": {"positions": "relative"},
    "widening in attention": {"expand_in": "attention"},
    "plain skip": {"skip": "plain"},
    "no skip": {"skip": "none"},
    "no skip, attention": {"skip": "none", "expand_in": "attention"},
    "no expansion": {"expand": False},
    "no class token": {"cls_token": False},
    "no qkv bias": {"qkv_bias": False},
    "image": {"frames": 1, "size": 32, "cube_kernel": (1, 7, 7), "cube_stride": (1, 4, 4)},
    "oblong": {"size": (16, 32)},
    "uneven": {"size": (18, 26), "uneven": True},
    "stride 3": {"size": 36, "stride_q": (1, 3, 3), "stride_kv": (1, 9, 9)},
    "ViT": {"depths": (2,), "stride_kv": None},
    "MViTv2": V2,
    "MViTv2, no class token": V2 | {"cls_token": False, "residual_pooling": "all"},
    "MViTv2, no time": V2 | {"relative_time": False, "residual_pooling": "all"},
}
every_variant = pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)


def rng(seed=0):
    return np.random.default_rng(seed)


def clips(config, batch=2, dtype="float32"):
    return rng(7).standard_normal((batch, *config.thw, config.channels)).astype(dtype)


def cast(params, dtype):
    return tree.map(lambda p: p.astype(dtype), params)


def model(changes=None, dtype="float32"):
    """A tiny config and parameters none of which is neutral."""
    config = replace(TINY, **(changes or {}))
    return config, cast(roughened(config), dtype)


# -- the paper read aloud: Sec. 3 from the config alone, with the loops of op_loops ----------------


def model_loop(params, clip, c):
    """Logits, where query strides are (1, 2, 2) and pools are conv 3 x 3 x 3 or max s + 1."""
    x, thw = embedding_loop(params, clip, c)
    blocks = iter(params["blocks"])
    for stage, depth in enumerate(c.depths):
        for place in range(depth):
            x, thw = block_loop(
                next(blocks), x, thw, c, stage, (1, 2, 2) if stage > 0 and place == 0 else (1, 1, 1)
            )
    x = layer_norm_loop(x, **params["norm"], eps=c.eps)
    return dense(x[:, 0] if c.cls_token else x.mean(axis=1), params["head"])


def dense(x, p):
    return x @ p["w"] + p.get("b", 0)


def embedding_loop(params, clip, c):
    """Cubes, each with a position of its own or one of its frame and one of its place; the class
    token before them.
    """
    x = cube_conv_loop(
        clip, **params["patch_embed"], stride=c.cube_stride, padding=[k // 2 for k in c.cube_kernel]
    )
    batch, *thw, d = x.shape
    x = x.reshape(batch, thw[0], -1, d) + params.get("pos_embed_spatial", 0)
    x = (x + params.get("pos_embed_temporal", np.zeros((thw[0], d)))[:, None]).reshape(batch, -1, d)
    if c.cls_token:
        cls = params["cls_token"] + params.get("pos_embed_class", 0)
        x = np.concatenate([np.tile(cls, (batch, 1, 1)), x], axis=1)
    return x + params.get("pos_embed", 0), tuple(thw)


def block_loop(p, x, thw, c, stage, stride_q):
    """norm, attention, plus skip; norm, MLP, plus skip. The skip widens and shrinks with its
    branch.
    """
    y = layer_norm_loop(x, **p["norm1"], eps=c.eps)
    z, thw_q = attention_loop(p["attn"], y, thw, c, stage, stride_q)
    skip = skip_loop(p, x, y, z.shape[-1], c)
    x = z + (skip if thw_q == thw else pool_loop(skip, thw, stride_q, c))

    y = layer_norm_loop(x, **p["norm2"], eps=c.eps)
    z = dense(gelu_loop(dense(y, p["mlp"]["fc1"])), p["mlp"]["fc2"])
    return z + skip_loop(p, x, y, z.shape[-1], c), thw_q


def skip_loop(p, x, normed, width, c):
    """x itself, or where the width grows what Table A.1 says."""
    if width == x.shape[-1]:
        return x
    if c.skip == "none":
        return np.zeros((*x.shape[:2], width))
    return dense(normed if c.skip == "normalised" else x, p["proj"])


def pool_loop(x, thw, stride, c, w=None):
    """Pool the tokens (B, N, ...) as a grid by a convolution, or without weights by the maximum;
    the class token aside.
    """
    grid = x[:, c.cls_token :].reshape(len(x), *thw, *x.shape[2:])
    kernel = [s + 1 if s > 1 else 1 for s in stride]
    padding = [k // 2 for k in kernel]
    grid = (
        max_pool_loop(grid, kernel, stride, padding)
        if w is None
        else depthwise_conv_loop(grid, w, stride, (1, 1, 1))
    )
    return np.concatenate([x[:, : c.cls_token], grid.reshape(len(x), -1, *x.shape[2:])], axis=1)


def attention_loop(p, x, thw, c, stage, stride_q):
    stride_kv = (c.stride_kv[0], *(s // 2**stage for s in c.stride_kv[1:]))
    qkv = dense(x, p["qkv"]).reshape(*x.shape[:2], 3, c.heads * 2**stage, -1)
    pooled = []
    for i, (name, stride) in enumerate([("q", stride_q), ("k", stride_kv), ("v", stride_kv)]):
        y = qkv[:, :, i]
        if f"pool_{name}" in p:
            y = layer_norm_loop(
                pool_loop(y, thw, stride, c, p[f"pool_{name}"]["w"]), **p[f"norm_{name}"], eps=c.eps
            )
        elif c.pool == "max" and max(stride) > 1:
            y = pool_loop(y, thw, stride, c)
        pooled.append(y)
    q, k, v = pooled

    thw_q, thw_kv = (tuple(n // s for n, s in zip(thw, stride)) for stride in (stride_q, stride_kv))
    tables = {
        axis: p[f"rel_pos_{name}"] for axis, name in enumerate("thw") if f"rel_pos_{name}" in p
    }
    logits = np.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(q.shape[-1]) + bias_loop(
        q, tables, thw_q, thw_kv, c.cls_token
    )
    z = np.einsum("bhqk,bkhd->bqhd", softmax_loop(logits), v)
    if c.residual_pooling:
        first = 1 if c.cls_token and c.residual_pooling == "tokens" else 0
        z[:, first:] += q[:, first:]
    return dense(z.reshape(*z.shape[:2], -1), p["proj"]), thw_q


READ_ALOUD = [
    "MViT",
    "max pooling",
    "joint positions",
    "space positions",
    "no positions",
    "plain skip",
    "no skip",
]
READ_ALOUD += [
    "no skip, attention",
    "no class token",
    "no qkv bias",
    "oblong",
    "MViTv2",
    "MViTv2, no class token",
]
READ_ALOUD += ["MViTv2, no time", "widening in attention"]


@pytest.mark.parametrize("name", READ_ALOUD)
def test_forward_is_the_paper_read_aloud(name):
    changes = {"size": (8, 16), "depths": (1, 2)} | VARIANTS[name]
    config, params = model(changes, "float64")
    x = clips(config, dtype="float64")
    np.testing.assert_allclose(
        forward(params, x, config), model_loop(params, x, config), rtol=1e-9, atol=1e-10
    )


# -- values ----------------------------------------------------------------------------------------


@every_variant
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_forward_gives_finite_logits_in_the_dtype_of_its_input_and_the_same_ones_again(
    changes, dtype
):
    config, params = model(changes, dtype)
    x = clips(config, 3, dtype)
    logits = forward(params, x, config)
    assert (logits.shape, logits.dtype) == ((3, 5), dtype)
    assert np.isfinite(logits).all() and np.ptp(logits, axis=0).min() > 0
    assert np.array_equal(forward(params, x, config), logits) and np.array_equal(
        x, clips(config, 3, dtype)
    )


@every_variant
def test_float32_agrees_with_float64(changes):
    config, params = model(changes)
    double = forward(cast(params, "float64"), clips(config, dtype="float64"), config)
    np.testing.assert_allclose(forward(params, clips(config), config), double, rtol=1e-3, atol=1e-4)


@every_variant
def test_clips_of_a_batch_do_not_see_each_other(changes):
    config, params = model(changes, "float64")
    x = clips(config, 3, "float64")
    alone = np.concatenate([forward(params, x[i : i + 1], config) for i in range(3)])
    np.testing.assert_allclose(forward(params, x, config), alone, atol=1e-11)


def test_predict_is_forward_in_parts():
    config, params = model(dtype="float64")
    x = clips(config, 5, "float64")
    np.testing.assert_allclose(
        predict(params, x, config, batch=2), forward(params, x, config), atol=1e-11
    )


@every_variant
def test_the_order_of_heads_means_nothing(changes):
    """Heads are blocks of channels of q, k and v and of the rows of proj; moved alike they compute
    the same.
    """
    config, params = model(changes, "float64")
    x, expected = (
        clips(config, dtype="float64"),
        forward(params, clips(config, dtype="float64"), config),
    )
    for spec, part in zip(plan(config).blocks, params["blocks"]):
        order = rng().permutation(spec.heads)[::-1]
        for leaf, value in part["attn"]["qkv"].items():
            heads = value.reshape(*value.shape[:-1], 3, spec.heads, spec.head_dim)
            part["attn"]["qkv"][leaf] = heads[..., order, :].reshape(value.shape)
        w = part["attn"]["proj"]["w"]
        part["attn"]["proj"]["w"] = w.reshape(spec.heads, spec.head_dim, -1)[order].reshape(w.shape)
    np.testing.assert_allclose(forward(params, x, config), expected, atol=1e-11)


BLIND = {"cube_kernel": (2, 4, 4), "cube_stride": (2, 4, 4), "size": 32, "frames": 8} | MAX


@pytest.mark.parametrize(
    ("changes", "sees_order"),
    [
        ({"positions": "none"}, False),
        ({"positions": "space"}, False),
        ({"positions": "space", "depths": (2,), "stride_kv": None}, False),
        ({"positions": "none", "cls_token": False}, False),
        ({"positions": "separate"}, True),
        ({"positions": "joint"}, True),
        ({"positions": "relative"}, True),
        ({"positions": "space", "pool": "conv", "pool_kernel": (3, 3, 3)}, True),
    ],
)
def test_only_time_positions_and_time_kernels_see_the_order_of_frames(changes, sees_order):
    """Table 9's shuffling: attention itself is blind to order, and so is pooling within frames."""
    config, params = model(BLIND | changes, "float64")
    x = clips(config, dtype="float64")
    # whole cubes of two frames
    shuffled = x.reshape(2, 4, 2, *x.shape[2:])[:, [2, 0, 3, 1]].reshape(x.shape)
    same = np.allclose(forward(params, shuffled, config), forward(params, x, config), atol=1e-10)
    assert same != sees_order


def test_with_silent_branches_the_class_token_goes_straight_to_the_head():
    """Every branch ends in a linear layer; where these are 0, logits = head(norm(class token + its
    position)).
    """
    config, params = model({"depths": (3,), "stride_kv": (1, 2, 2)}, "float64")
    for part in params["blocks"]:
        for last in (part["attn"]["proj"], part["mlp"]["fc2"]):
            last.update({name: 0 * value for name, value in last.items()})
    token = params["cls_token"] + params["pos_embed_class"]
    normed = (token - token.mean()) / np.sqrt(token.var() + config.eps) * params["norm"][
        "g"
    ] + params["norm"]["b"]
    expected = normed @ params["head"]["w"] + params["head"]["b"]
    np.testing.assert_allclose(
        forward(params, clips(config, dtype="float64"), config), [expected] * 2, atol=1e-12
    )


@pytest.mark.parametrize("kind", ["conv", "max", "avg"])
def test_the_class_token_goes_around_the_pool(kind):
    spec = PoolSpec(kind, (3, 3, 3), (1, 2, 2), (2, 4, 4))
    x, w = rng().standard_normal((2, 33, 2, 3)), rng().standard_normal((3, 3, 3, 3))
    other = np.concatenate([x[:, :1] + 100, x[:, 1:]], axis=1)
    y, y_other = (pool_tokens(tokens, spec, True, w) for tokens in (x, other))
    assert y.shape == (2, 1 + 2 * 2 * 2, 2, 3)
    np.testing.assert_array_equal(y[:, 0], x[:, 0])
    np.testing.assert_array_equal(y[:, 1:], y_other[:, 1:])
    np.testing.assert_array_equal(y[:, 1:], pool_tokens(x[:, 1:], spec, False, w))


def test_fresh_parameters_are_float32_cut_normals_and_neutral_norms():
    params = init(replace(TINY, dim=64, heads=1), rng())
    for path, leaf in tree.paths(params):
        assert leaf.dtype == np.float32
        if path.endswith(".g"):
            assert (leaf == 1).all()
        elif path.endswith(".b"):
            assert (leaf == 0).all()
        else:
            assert 0 < np.abs(leaf).max() <= 0.04
    # 0.88: of a normal cut at 2 deviations
    assert params["head"]["w"].std() == pytest.approx(0.02 * 0.88, rel=0.05)
    assert all(
        np.array_equal(a, b)
        for a, b in zip(
            tree.leaves(params), tree.leaves(init(replace(TINY, dim=64, heads=1), rng()))
        )
    )


# -- training --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [{"drop_path": 0.5, "dropout": 0}, {"drop_path": 0, "dropout": 0.5}, {"skip": "none"}],
)
def test_training_draws_and_evaluation_does_not(changes):
    config, params = model(changes)
    x = clips(config, 4)
    one, again, other = (forward(params, x, config, rng=rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, again) and not np.array_equal(one, other)
    assert not np.allclose(one, forward(params, x, config)) and one.dtype == np.float32


def test_without_rates_training_is_evaluation():
    config, params = model({"drop_path": 0, "dropout": 0})
    with mv.plain_ops():  # evaluation's fast version has products of other shapes, so other bits
        trained = forward(params, clips(config), config, rng=rng())
        assert np.array_equal(trained, forward(params, clips(config), config))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_stochastic_depth_drops_whole_clips_and_keeps_the_mean(rate):
    x, y = (np.broadcast_to(part, (40_000, 2, 3)) for part in rng().standard_normal((2, 2, 3)))
    z = add_branch(x, y, rate, rng(1))
    kept = np.isclose(z, x + y / (1 - rate)).all(axis=(1, 2))
    assert (kept | (z == x).all(axis=(1, 2))).all()
    assert 1 - kept.mean() == pytest.approx(rate, abs=0.01)
    np.testing.assert_allclose(z.mean(axis=0), (x + y)[0], atol=0.06)
    np.testing.assert_allclose(drop_branch(y, rate, rng(1)), z - x, atol=1e-12)


def test_dropout_drops_entries_and_keeps_the_mean():
    x = np.full((400, 100), 3.0)
    z = dropout(x, 0.25, rng())
    assert set(np.unique(z)) == {0.0, 4.0}
    assert z.mean() == pytest.approx(3, abs=0.03) and (z == 0).mean(axis=0).std() > 0.01
    assert dropout(x, 0.25) is x and dropout(x, 0, rng()) is x


def loss_fn(params, x, labels, config, **options):
    return cross_entropy(forward(params, x, config, **options), labels)


@every_variant
@pytest.mark.parametrize("seed", [None, 3])
def test_checkpoints_change_neither_logits_nor_gradients(changes, seed):
    config, params = model(changes)
    results = []
    for checkpoint in (False, True):
        options = {"rng": None if seed is None else rng(seed), "checkpoint": checkpoint}
        results.append(
            value_and_grad(loss_fn)(params, clips(config), np.array([0, 3]), config, **options)
        )
    (loss, gradients), (again, recomputed) = results
    assert loss == again
    for (path, g), h in zip(tree.paths(gradients), tree.leaves(recomputed)):
        np.testing.assert_array_equal(g, h, err_msg=path)


def zero_in_theory(config, path):
    """Whether the loss cannot depend on this parameter at all.

    A shift of all keys moves each row of logits by a constant, which softmax ignores. In the last
    block the head reads the class token alone, whose query is not pooled and has no relative
    position.
    """
    last = f"blocks.{sum(config.depths) - 1}.attn."
    of_places = config.cls_token and path.startswith((last + "pool_q", last + "rel_pos"))
    return of_places or path.endswith("norm_k.b")


@every_variant
def test_every_parameter_gets_a_float32_gradient(changes):
    config, params = model(changes)
    loss, gradients = value_and_grad(loss_fn)(params, clips(config), np.array([0, 3]), config)
    assert loss.dtype == np.float32 and np.isfinite(loss)
    for (path, p), g in zip(tree.paths(params), tree.leaves(gradients)):
        assert (g.shape, g.dtype) == (p.shape, np.float32) and np.isfinite(g).all(), path
        assert (np.abs(g).max() > 1e-5) != zero_in_theory(config, path), (path, np.abs(g).max())


# -- looking inside --------------------------------------------------------------------------------


@every_variant
@pytest.mark.parametrize("checkpoint", [False, True])
def test_hook_shows_attention_and_outputs_and_changes_nothing(changes, checkpoint):
    config, params = model(changes)
    seen = []
    with mv.plain_ops():  # evaluation's fast version has products of other shapes, so other bits
        logits = forward(
            params,
            clips(config),
            config,
            hook=lambda *pair: seen.append(pair),
            checkpoint=checkpoint,
        )
        assert np.array_equal(logits, forward(params, clips(config), config))
    blocks = plan(config).blocks
    shapes = [("embedding", (2, blocks[0].tokens_in, config.dim))]
    for b in blocks:
        shapes.append((f"blocks.{b.index}.attention", (2, b.heads, b.tokens_q, b.tokens_kv)))
        shapes.append((f"blocks.{b.index}.output", (2, b.tokens_q, b.dim_out)))
    assert [(name, x.shape) for name, x in seen] == shapes
    for name, x in seen:
        if name.endswith("attention"):
            np.testing.assert_allclose(x.sum(axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(logits, forward(params, clips(config), config), atol=1e-5)


def test_hook_gets_plain_ops_while_gradients_are_taken():
    config, params = model()
    seen = []
    value_and_grad(loss_fn)(
        params, clips(config), np.array([0, 3]), config, hook=lambda name, x: seen.append(type(x))
    )
    assert set(seen) == {np.ndarray} and len(seen) == 1 + 2 * sum(config.depths)


# -- bad input -------------------------------------------------------------------------------------

CONFIG, PARAMS = model({"channels": 3})
CLIP = clips(CONFIG)


def changed(**leaves):
    """The parameters with top-level parts replaced, or left out where None."""
    return {key: value for key, value in (PARAMS | leaves).items() if value is not None}


NOT_A_NUMBER = np.where(CLIP == CLIP.max(), np.nan, CLIP)
BAD_INPUT = {
    "no batch": (PARAMS, CLIP[0], ValueError, ["5 axes", "(4, 16, 16, 3)", "clip[None]"]),
    "an axis too many": (PARAMS, CLIP[None], ValueError, ["5 axes", "(1, 2, 4, 16, 16, 3)"]),
    "channels first": (
        PARAMS, np.moveaxis(CLIP, -1, 1), ValueError,
        ["channels-last", "(2, 3, 4, 16, 16)", "moveaxis"],
    ),
    "grey": (PARAMS, CLIP[..., :1], ValueError, ["3 channels", "1 channels"]),
    "15 frames": (PARAMS, CLIP[:, :3], ValueError, ["3 frames", "embeds 4", "resample"]),
    "size": (PARAMS, CLIP[:, :, :, :12], ValueError, ["16 x 12", "16 x 16", "resize"]),
    "integers": (PARAMS, np.zeros(CLIP.shape, np.uint8), TypeError, ["uint8", "255"]),
    "half precision": (
        PARAMS, CLIP.astype("float16"), TypeError,
        ["float32 or float64", "float16", "astype('float32')"],
    ),
    "complex numbers": (
        PARAMS, CLIP.astype("complex64"), TypeError,
        ["float32 or float64", "complex64", "astype"],
    ),
    "all in half precision": (
        tree.map(lambda p: p.astype("float16"), PARAMS), CLIP.astype("float16"), TypeError,
        ["float32 or float64", "float16"],
    ),
    "NaN": (PARAMS, NOT_A_NUMBER, ValueError, ["NaN"]),
    "infinity": (
        PARAMS, np.where(np.isnan(NOT_A_NUMBER), np.inf, CLIP).astype("float32"), ValueError,
        ["infinity"],
    ),
    "a list": (PARAMS, CLIP.tolist(), TypeError, ["array", "list", "numpy.asarray"]),
    "nothing": (PARAMS, None, TypeError, ["array", "NoneType"]),
    "a part missing": (changed(head=None), CLIP, ValueError, ["head.w, head.b", "missing", "init"]),
    "a leaf missing": (
        changed(head={"w": PARAMS["head"]["w"]}), CLIP, ValueError,
        ["head.b", "is missing"],
    ),
    "all missing": ({}, CLIP, ValueError, ["patch_embed.w", "missing", "more"]),
    "a block missing": (
        changed(blocks=PARAMS["blocks"][:-1]), CLIP, ValueError,
        ["blocks.3.norm1.g", "missing"],
    ),
    "a part too many": (
        changed(pos_embed=np.zeros(3)), CLIP, ValueError,
        ["pos_embed", "no parameters", "another config"],
    ),
    "a block too many": (
        changed(blocks=PARAMS["blocks"] * 2), CLIP, ValueError,
        ["blocks.4", "no parameters", "more"],
    ),
    "wrong shape": (
        changed(head={"w": PARAMS["head"]["w"].T, "b": PARAMS["head"]["b"]}), CLIP, ValueError,
        ["head.w", "(32, 5)", "(5, 32)", "another config"],
    ),
    "a number": (
        changed(head={"w": PARAMS["head"]["w"], "b": 0.5}), CLIP, ValueError,
        ["head.b", "(5,)", "float"],
    ),
}  # fmt: skip


def one_line(error, words):
    message = str(error.value)
    assert "\n" not in message
    assert not [word for word in words if word not in message], message


@pytest.mark.parametrize(("params", "clip", "kind", "words"), BAD_INPUT.values(), ids=BAD_INPUT)
def test_bad_input_is_named_in_one_line(params, clip, kind, words):
    with pytest.raises(kind) as error:
        forward(params, clip, CONFIG)
    one_line(error, words)


BAD_LABELS = {
    "too large": (np.array([0, 5]), ValueError, ["[0, 5)", "5", "num_classes"]),
    "negative": (np.array([-1, 2]), ValueError, ["[0, 5)", "-1"]),
    "one too few": (np.array([1]), ValueError, ["one integer per clip", "(1,)", "(2, 5)"]),
    "one-hot": (np.eye(5, dtype=int)[:2], ValueError, ["one integer per clip", "(2, 5)"]),
    "floats": (np.array([0.0, 1.0]), ValueError, ["integer", "float64"]),
    "a list": ([0, 1], TypeError, ["array", "list", "numpy.asarray"]),
}


@pytest.mark.parametrize(("labels", "kind", "words"), BAD_LABELS.values(), ids=BAD_LABELS)
def test_bad_labels_are_named_in_one_line(labels, kind, words):
    with pytest.raises(kind) as error:
        cross_entropy(rng().standard_normal((2, 5)), labels)
    one_line(error, words)


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8"])
def test_labels_of_any_integer_type(dtype):
    assert np.isfinite(cross_entropy(np.zeros((2, 5)), np.array([0, 4], dtype)))


def test_an_unknown_preset_lists_the_known_ones():
    with pytest.raises(ValueError) as error:
        preset("mvit_xl")
    one_line(error, ["'mvit_xl'", "mvit_b_16x4", "mvit_micro"])


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda p, x, c: mv.forward(p, x.astype("float64"), c), "mixture of float32 and float64"),
        (lambda p, x, c: mv.forward(p, x[:0], c), "at least one clip"),
        (lambda p, x, c: mv.predict(p, x[:0], c), "at least one clip"),
        (lambda p, x, c: mv.forward(p, x, c, rng=0), "rng is a random generator; came int"),
        (lambda p, x, c: mv.init(c, 0), "rng is a random generator; came int"),
        (
            lambda p, x, c: mv.init(c, None),
            "parameters are drawn by a random generator; came None: use",
        ),
        (lambda p, x, c: mv.forward(p, x, "mvit_micro"), "MViTConfig; came str"),
        (lambda p, x, c: mv.cross_entropy(mv.forward(p, x, c), np.array([0]), 1.5), "smoothing"),
    ],
)
def test_other_mistakes_are_one_sentence(call, words):
    config = mv.preset("mvit_micro")
    params = mv.init(config, np.random.default_rng(0))
    with pytest.raises((TypeError, ValueError), match=words) as error:
        call(params, np.zeros((1, *config.thw, config.channels), np.float32), config)
    assert "\n" not in str(error.value)


def test_a_seeds_draws_go_in_the_order_of_the_clips_way():
    """First the cubes, last the head: the demo's figures depend on it."""
    from mvit_np.model.layers import initial

    config = mv.preset("mvit_micro")
    first = initial.normal(
        np.random.default_rng(0), *config.cube_kernel, config.channels, config.dim
    )
    np.testing.assert_array_equal(
        mv.init(config, np.random.default_rng(0))["patch_embed"]["w"], first
    )


def test_clips_of_a_batch_taken_one_by_one_give_what_the_batch_gives(monkeypatch):
    """In evaluation a large model takes them so: two threads for five clips, four of them side by
    side.
    """
    params = init(TINY, np.random.default_rng(0))
    clips = (
        np.random.default_rng(1).standard_normal((5, *TINY.thw, TINY.channels)).astype("float32")
    )
    whole, seen = forward(params, clips, TINY), []
    for who in ("forward", "passes"):
        monkeypatch.setattr(
            f"mvit_np.model.{who}.embed",
            lambda params, x, spec: seen.append(len(x)) or embed(params, x, spec),
        )
    monkeypatch.setattr(tiles, "NUMBERS", 64)
    with tiles.use_threads(2):
        np.testing.assert_allclose(forward(params, clips, TINY), whole, rtol=1e-5, atol=1e-6)
        assert seen == [1] * 5
        value_and_grad(lambda p: cross_entropy(forward(p, clips, TINY), np.zeros(5, int)))(params)
        assert seen[5:] == [5]
