"""Inspection against loops over single tokens, and against what must come out of uniform and
identity attention.
"""

import itertools
from dataclasses import replace

import numpy as np
import pytest

import mvit_np as mv
from mvit_np.model import inspection
from mvit_np.model.inspection import (
    attention_rollout,
    attention_weights_of,
    mean_attention_distance,
    position_similarity,
    token_pixels,
)

MICRO = replace(mv.preset("mvit_micro"), frames=4, size=(16, 32))  # a grid of 2 x 4 x 8
V2 = replace(
    MICRO,
    expand_in="attention",
    pool_q_always=True,
    positions="relative",
    residual_pooling="tokens",
    stride_kv=(1, 2, 2),
)
HIERA = replace(
    MICRO, mask_unit=(1, 4, 4), pool="max", pool_kernel="s", skip_kernel="s", stride_kv=None,
    cls_token=False, expand_in="attention",
)  # fmt: skip
PLAIN = replace(MICRO, depths=(3,), stride_kv=None, heads=2)
VIVIT = replace(MICRO, depths=(2,), time_depth=1, stride_kv=None, positions="joint")
REVERSIBLE = replace(MICRO, reversible=True, expand_in="attention", skip="plain", cls_token=False)


def model(config, batch=2):
    rng = np.random.default_rng(0)
    params = mv.tree.map(
        lambda x: x + 0.2 * rng.standard_normal(x.shape).astype(x.dtype), mv.init(config, rng)
    )
    return params, rng.standard_normal((batch, *config.thw, config.channels)).astype(np.float32)


def drawn_weights(config, batch=2):
    """Random attention of the shapes that a model has."""
    rng = np.random.default_rng(1)
    for block in mv.plan(config).blocks:
        weights = rng.random((batch, block.heads, block.tokens_q, block.tokens_kv)) ** 4
        yield weights / weights.sum(-1, keepdims=True)


# -- weights ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config", [MICRO, V2, HIERA, VIVIT, REVERSIBLE], ids=["MViT", "v2", "Hiera", "ViViT", "Rev"]
)
def test_weights_of_every_block(config):
    params, clip = model(config)
    taken, found = {}, attention_weights_of(params, clip, config)
    mv.forward(params, clip, config, hook=taken.__setitem__)
    blocks = mv.plan(config).blocks
    assert len(found) == len(blocks) == config.depth
    for weights, block in zip(found, blocks):
        np.testing.assert_array_equal(weights, taken[f"blocks.{block.index}.attention"])
        np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)
        units = np.prod(block.thw) // np.prod(block.unit) if block.unit else 1
        assert len(weights) == 2 * units * block.sequences and weights.shape[1] == block.heads


def test_weights_refuse_what_forward_refuses():
    params, clip = model(MICRO)
    with pytest.raises(ValueError, match="5 axes"):
        attention_weights_of(params, clip[0], MICRO)


# -- rollout ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [True, False])
def test_rollout_without_pooling_is_the_product_of_matrices(cls):
    config = replace(PLAIN, cls_token=cls)
    params, clip = model(config)
    weights = attention_weights_of(params, clip, config)
    for b, shares in enumerate(attention_rollout(weights, mv.plan(config))):
        product = np.eye(weights[0].shape[-1])
        for layer in weights:
            product = (0.5 * layer[b].mean(0) + 0.5 * np.eye(len(product))) @ product
        np.testing.assert_allclose(shares, product[0] if cls else product.mean(0), atol=1e-6)


def pooling_by_loops(pool, thw, cls):
    """The matrix (pooled tokens, tokens) of means over windows, written cell by cell."""
    if pool is None:
        return np.eye(cls + np.prod(thw))
    matrix = np.zeros((cls + np.prod(pool.thw_out), cls + np.prod(thw)))
    matrix[:cls, :cls] = 1
    for row, place in enumerate(itertools.product(*map(range, pool.thw_out))):
        for tap in itertools.product(*map(range, pool.kernel)):
            cell = [s * i - p + k for i, s, p, k in zip(place, pool.stride, pool.padding, tap)]
            if all(0 <= c < n for c, n in zip(cell, thw)):
                matrix[cls + row, cls + np.ravel_multi_index(cell, thw)] += 1
    return matrix / matrix.sum(1, keepdims=True)


@pytest.mark.parametrize(
    "config", [MICRO, V2, replace(MICRO, cls_token=False)], ids=["MViT", "v2", "mean token"]
)
def test_rollout_with_pooling_agrees_with_loops_over_windows(config):
    weights, p = list(drawn_weights(config)), mv.plan(config)
    for b, shares in enumerate(attention_rollout(weights, p)):
        product = np.eye(p.blocks[0].tokens_in)
        for block, layer in zip(p.blocks, weights):
            keys = pooling_by_loops(block.pool_kv, block.thw, block.cls)
            skip = pooling_by_loops(block.pool_skip, block.thw, block.cls)
            product = (0.5 * layer[b].mean(0) @ keys + 0.5 * skip) @ product
        np.testing.assert_allclose(
            shares, product[0] if config.cls_token else product.mean(0), atol=1e-12
        )


@pytest.mark.parametrize("config", [MICRO, V2, HIERA, PLAIN, mv.preset("mvit_micro")])
def test_rollout_gives_shares(config):
    params, clip = model(config)
    shares = attention_rollout(attention_weights_of(params, clip, config), mv.plan(config))
    assert shares.shape == (2, mv.plan(config).blocks[0].tokens_in) and shares.dtype == np.float64
    assert (shares >= 0).all()
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-5)


def test_rollout_of_identity_and_of_uniform_attention():
    config, batch = PLAIN, 3
    p = mv.plan(config)
    n = p.blocks[0].tokens_in
    identity = [np.broadcast_to(np.eye(n), (batch, config.heads, n, n))] * 3
    # the class token keeps all
    np.testing.assert_allclose(attention_rollout(identity, p), np.eye(n)[[0] * batch])
    uniform = [np.full((batch, config.heads, n, n), 1 / n)] * 3
    expected = np.full(n, (1 - 0.5**3) / n)
    expected[0] += 0.5**3  # what came by the skip connections alone
    np.testing.assert_allclose(attention_rollout(uniform, p), [expected] * batch)


def test_rollout_keeps_inside_mask_units():
    """One block; every query of unit 5 attends to that unit's token 3, all others to their own unit
    alike.
    """
    config = replace(HIERA, depths=(1,), frames=8)
    p = mv.plan(config)
    (block,) = p.blocks
    weights = np.full((8, 1, 16, 16), 1 / 16)  # 4 x (4, 8) tokens in units of (4, 4)
    weights[5] = np.eye(16)[3]
    found = attention_rollout([weights], p).reshape(block.thw)
    expected = np.full(block.thw, 1 / 128)
    expected[2, :, 4:] = 0.5 / 128  # unit 5: the third frame's right half
    expected[2, 0, 7] = 0.5 / 128 + 0.5 * 16 / 128
    np.testing.assert_allclose(found, expected)


def test_rollout_without_a_skip_follows_attention_alone():
    config = replace(MICRO, depths=(1, 1), expand_in="attention", skip="none")
    p, weights = mv.plan(config), list(drawn_weights(config, batch=1))
    first, second = p.blocks
    assert second.dim_in != second.dim_attn
    keys = [pooling_by_loops(block.pool_kv, block.thw, 1) for block in p.blocks]
    below = 0.5 * weights[0][0].mean(0) @ keys[0] + 0.5 * np.eye(first.tokens_in)
    np.testing.assert_allclose(
        attention_rollout(weights, p)[0], weights[1][0, :, 0].mean(0) @ keys[1] @ below
    )


def test_rollout_of_a_model_that_classifies_the_mean_token_though_it_has_a_class_token():
    weights = list(drawn_weights(PLAIN))
    shares = attention_rollout(weights, mv.plan(replace(PLAIN, mean_before_norm=True)))
    parts = [(w.mean(1) + np.eye(w.shape[-1])) / 2 for w in weights]
    np.testing.assert_allclose(shares, (parts[2] @ parts[1] @ parts[0])[:, 1:].mean(1))


def test_rollout_refuses():
    p, weights = mv.plan(MICRO), list(drawn_weights(MICRO))
    with pytest.raises(ValueError, match="all 4 blocks; came 3"):
        attention_rollout(weights[:3], p)
    with pytest.raises(ValueError, match=r"block 1 are \(B, 2, 17, 17\); came"):
        attention_rollout([weights[0], *weights[:3]], p)
    with pytest.raises(ValueError, match="two streams"):
        attention_rollout(weights, mv.plan(REVERSIBLE))
    with pytest.raises(ValueError, match="frames encoded alone"):
        attention_rollout(weights, mv.plan(VIVIT))
    with pytest.raises(ValueError, match=r"\(B, 1, 16, 16\)"):
        # 4 units a clip
        attention_rollout([np.ones((3, 1, 16, 16))], mv.plan(replace(HIERA, depths=(1,))))


# -- distance --------------------------------------------------------------------------------------


def centre(place, pool):
    """A window's centre in cells of the block's input, as the mean over the cells it looks at."""
    if pool is None:
        return np.array(place, float)
    cells = [
        [s * i - p + tap for tap in range(k)]
        for i, s, p, k in zip(place, pool.stride, pool.padding, pool.kernel)
    ]
    return np.array([np.mean(axis) for axis in cells])


@pytest.mark.parametrize(
    "config", [MICRO, V2, replace(MICRO, cls_token=False, pool="max", pool_kernel="s")]
)
@pytest.mark.parametrize("index", [0, 1, 3])
def test_distance_agrees_with_loops_over_queries_and_keys(config, index):
    spec, weights = mv.plan(config).blocks[index], list(drawn_weights(config))[index]
    pixels = (2, 4, 3)
    queries = list(itertools.product(*map(range, spec.thw_q)))
    keys = list(itertools.product(*map(range, spec.thw_kv)))
    expected = np.zeros(spec.heads)
    for b, head, (i, query) in itertools.product(range(2), range(spec.heads), enumerate(queries)):
        row = weights[b, head, spec.cls + i, spec.cls :]
        steps = [(centre(query, spec.pool_q) - centre(key, spec.pool_kv)) * pixels for key in keys]
        far = [(dy * dy + dx * dx) ** 0.5 for _, dy, dx in steps]
        expected[head] += np.dot(row, far) / row.sum() / (2 * len(queries))
    np.testing.assert_allclose(mean_attention_distance(weights, spec, pixels), expected)


def test_distance_of_identity_and_of_uniform_attention():
    spec = mv.plan(PLAIN).blocks[0]
    n, cells = spec.tokens_q, list(itertools.product(range(4), range(8)))
    identity = np.broadcast_to(np.eye(n), (1, 2, n, n)) + 1e-300
    np.testing.assert_allclose(mean_attention_distance(identity, spec), 0, atol=1e-12)
    uniform = np.full((3, 2, n, n), 1 / n)
    everywhere = np.mean(
        [np.hypot(a - c, b - d) for (a, b), (c, d) in itertools.product(cells, cells)]
    )
    np.testing.assert_allclose(mean_attention_distance(uniform, spec), everywhere)
    np.testing.assert_allclose(mean_attention_distance(uniform, spec, (9, 4, 4)), 4 * everywhere)


def test_distance_leaves_time_and_the_class_token_out():
    spec = mv.plan(PLAIN).blocks[0]
    # each query looks at its own place in the other frame
    other_frame = np.roll(np.eye(64), 32, axis=1)
    weights = np.full((1, 2, 65, 65), 0.9)
    weights[..., 1:, 1:] = 0.1 * other_frame
    np.testing.assert_allclose(mean_attention_distance(weights, spec), 0, atol=1e-12)
    right = np.zeros((1, 2, 65, 65))
    right[..., 0] = 0.5
    right[:, 1, 1:, 1:] = 0.5 * other_frame
    right[:, 0, 1:, 8] = 0.5  # the last place of the upper row
    places = [np.hypot(y, 7 - x) for y, x in itertools.product(range(4), range(8))]
    np.testing.assert_allclose(
        mean_attention_distance(right, spec), [np.mean(places), 0], atol=1e-12
    )


def test_distance_inside_mask_units():
    first, second = mv.plan(HIERA).blocks[:2]
    unit = list(itertools.product(range(4), range(4)))
    alike = np.mean([np.hypot(a - c, b - d) for (a, b), (c, d) in itertools.product(unit, unit)])
    np.testing.assert_allclose(
        mean_attention_distance(np.full((8, 1, 16, 16), 1 / 16), first), alike
    )
    # queries lie between the four tokens that they are pooled from
    pooled = itertools.product([0.5, 2.5], repeat=2)
    alike = np.mean([np.hypot(a - c, b - d) for (a, b), (c, d) in itertools.product(pooled, unit)])
    np.testing.assert_allclose(
        mean_attention_distance(np.full((4, 2, 4, 16), 1 / 16), second), alike
    )


def test_distance_of_every_block_of_the_family():
    for config in (MICRO, V2, HIERA, REVERSIBLE, VIVIT):
        params, clip = model(config)
        for weights, spec in zip(
            attention_weights_of(params, clip, config), mv.plan(config).blocks
        ):
            far = mean_attention_distance(weights, spec)
            assert (
                far.shape == (spec.heads,)
                and (far >= 0).all()
                and (far < np.hypot(*spec.thw[1:])).all()
            )


def test_distance_refuses():
    spec, weights = mv.plan(MICRO).blocks[1], list(drawn_weights(MICRO))
    with pytest.raises(ValueError, match="weights of block 1 are"):
        mean_attention_distance(weights[0], spec)
    with pytest.raises(ValueError, match="weights of block 1 are .* came \\(2, 17, 17\\)"):
        mean_attention_distance(weights[1][0], spec)
    for pixels in ((4, 4), (0, 4, 4)):
        with pytest.raises(ValueError, match="three positive steps"):
            mean_attention_distance(weights[1], spec, pixels)


def test_pixels_from_token_to_token():
    p = mv.plan(mv.preset("mvit_b_16x4"))
    assert [token_pixels(p, index) for index in (0, 1, 2, 3, 4, 14, 15)] == [
        (2, 4, 4), (2, 4, 4), (2, 8, 8), (2, 8, 8), (2, 16, 16), (2, 16, 16), (2, 32, 32),
    ]  # fmt: skip
    for block in p.blocks:
        assert tuple(n // c for n, c in zip((16, 224, 224), block.thw)) == token_pixels(
            p, block.index
        )
    for index in (-1, 16):
        with pytest.raises(ValueError, match="0 to 15"):
            token_pixels(p, index)
    with pytest.raises(ValueError, match="0 to 1"):
        token_pixels(mv.plan(VIVIT), 2)


# -- positions -------------------------------------------------------------------------------------


def cosine(a, b):
    return a @ b / (a @ a) ** 0.5 / (b @ b) ** 0.5


def assert_cosines(found, rows):
    expected = [[cosine(a, b) for b in rows] for a in rows]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_separate_positions():
    params, _ = model(MICRO)
    space, time = position_similarity(params, MICRO)
    assert (
        space.shape == (32, 32) and time.shape == (2, 2) and space.dtype == time.dtype == np.float64
    )
    assert_cosines(space, params["pos_embed_spatial"])
    assert_cosines(time, params["pos_embed_temporal"])


def test_positions_in_space_alone_and_joint_ones():
    config = replace(MICRO, positions="space")
    params, _ = model(config)
    space, time = position_similarity(params, config)
    assert_cosines(space, params["pos_embed_spatial"])
    assert time is None
    config = replace(MICRO, positions="joint")
    params, _ = model(config)
    space, time = position_similarity(params, config)
    grid = params["pos_embed"][1:].reshape(2, 32, -1)
    assert_cosines(space, (grid[0] + grid[1]) / 2)
    assert_cosines(time, [frame.mean(0) for frame in grid])


def test_positions_of_the_factorised_encoder():
    params, _ = model(VIVIT)
    space, time = position_similarity(params, VIVIT)
    assert_cosines(space, params["pos_embed"][1:])
    assert_cosines(time, params["bridge"]["pos_embed"][1:])


def test_positions_that_are_zero_are_like_nothing():
    config = replace(MICRO, positions="space")
    params, _ = model(config)
    params["pos_embed_spatial"][3] = 0
    space, _ = position_similarity(params, config)
    assert (space[3] == 0).all() and space[4, 4] == pytest.approx(1)


@pytest.mark.parametrize("positions", ["none", "relative"])
def test_positions_that_are_not_there(positions):
    config = replace(MICRO, positions=positions)
    with pytest.raises(ValueError, match=f"positions='{positions}'"):
        position_similarity(model(config)[0], config)
    with pytest.raises(ValueError, match="include pos_embed"):
        position_similarity(model(config)[0], MICRO)


def test_every_public_name_gives_its_shapes():
    for name in (
        "attention_weights_of",
        "attention_rollout",
        "mean_attention_distance",
        "position_similarity",
    ):
        doc = getattr(inspection, name).__doc__
        assert "->" in doc and "Raises" in doc
