"""One model at any length and size."""

from dataclasses import replace

import numpy as np
import pytest

import mvit_np as mv
from mvit_np.backend import tree as trees
from mvit_np.studies.gradient_cases import TINY, TINY_V2, TINY_VIVIT, roughened

MODELS = {
    "separate": TINY,
    "joint": replace(TINY, positions="joint"),
    "space, no class token": replace(TINY, positions="space", cls_token=False),
    "none": replace(TINY, positions="none"),
    "relative": TINY_V2,
    "ViViT": TINY_VIVIT,
}
every_model = pytest.mark.parametrize("name", MODELS)


@every_model
@pytest.mark.parametrize(
    "frames, size", [(8, 16), (2, 16), (4, 32), (4, (16, 24)), (12, (40, 24)), (4, 20)]
)
def test_one_model_runs_at_any_length_and_size(name, frames, size):
    config = MODELS[name]
    params, resized = mv.resize(roughened(config), config, frames=frames, size=size)
    clip = np.random.default_rng(0).standard_normal((2, *resized.thw, config.channels))
    assert np.isfinite(mv.forward(params, clip, resized)).all()
    assert resized.thw == (frames, *((size, size) if isinstance(size, int) else size))


@every_model
def test_its_own_size_changes_no_bit(name):
    config = MODELS[name]
    params = roughened(config)
    same, same_config = mv.resize(params, config, frames=config.frames, size=config.size)
    assert same_config == config
    trees.map(np.testing.assert_array_equal, same, params)


def test_tables_that_say_the_same_everywhere_go_on_saying_so():
    """Interpolation weights sum to 1, so a clip twice as long of a model without positions to speak
    of sees no edge.
    """
    params = roughened(TINY)
    for name in ("pos_embed_spatial", "pos_embed_temporal"):
        params[name] = np.broadcast_to(params[name][:1], params[name].shape)
    bigger, config = mv.resize(params, TINY, frames=10, size=(24, 40))
    t, h, w = mv.plan(config).embed.thw
    assert (
        bigger["pos_embed_temporal"].shape[0] == t and bigger["pos_embed_spatial"].shape[0] == h * w
    )
    for name in ("pos_embed_spatial", "pos_embed_temporal"):
        np.testing.assert_allclose(
            bigger[name], np.broadcast_to(params[name][:1], bigger[name].shape), rtol=1e-12
        )


def test_a_ramp_in_time_stays_a_ramp_between_the_old_ends():
    params = roughened(replace(TINY, frames=8))
    params["pos_embed_temporal"] = np.arange(4.0)[:, None] * np.ones((1, TINY.dim))
    longer, _ = mv.resize(params, replace(TINY, frames=8), frames=16)
    wanted = [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]
    np.testing.assert_allclose(longer["pos_embed_temporal"][:, 0], wanted)


def test_the_class_row_is_left_alone_and_joint_tables_are_separable():
    config = MODELS["joint"]
    params = roughened(config)
    t, h, w = mv.plan(config).embed.thw
    time, place = np.random.default_rng(0).standard_normal((2, 64))[:, : t * h * w]
    table = (time[:t, None] + place[None, : h * w]).reshape(-1, 1) * np.ones((1, config.dim))
    params["pos_embed"] = np.concatenate([params["pos_embed"][:1], table])
    bigger, _ = mv.resize(params, config, frames=8, size=32)

    split = replace(config, positions="separate")
    both = roughened(split) | {
        "pos_embed_temporal": time[:t, None] * np.ones((1, config.dim)),
        "pos_embed_spatial": place[: h * w, None] * np.ones((1, config.dim)),
    }
    apart, _ = mv.resize(both, split, frames=8, size=32)
    summed = apart["pos_embed_temporal"][:, None] + apart["pos_embed_spatial"][None]
    np.testing.assert_array_equal(bigger["pos_embed"][0], params["pos_embed"][0])
    np.testing.assert_allclose(
        bigger["pos_embed"][1:], summed.reshape(-1, config.dim), rtol=1e-9, atol=1e-12
    )


def test_grids_that_no_stride_divides_are_rounded_up():
    _, config = mv.resize(roughened(TINY), TINY, size=18)
    assert config.uneven and mv.plan(config).blocks[-1].thw_q == (2, 5, 5)


def test_what_cannot_be_is_said():
    with pytest.raises(ValueError, match="size is an int or"):
        mv.resize(roughened(TINY), TINY, size=0)
    with pytest.raises(ValueError, match="this config has no parameters"):
        mv.resize(roughened(TINY), replace(TINY, positions="none"), size=32)
    with pytest.raises(
        ValueError, match=r"use params, config = mv.resize\(params, config, frames=6\)"
    ):
        mv.forward(roughened(TINY), np.zeros((1, 6, 16, 16, 2)), TINY)
    with pytest.raises(ValueError, match=r"mv.resize\(params, config, size=\(16, 24\)\)"):
        mv.forward(roughened(TINY), np.zeros((1, 4, 16, 24, 2)), TINY)
