"""From an image model to a video model: identities that hold exactly, and what cannot be carried
over.
"""

from dataclasses import replace

import numpy as np
import pytest

import mvit_np as mv
from mvit_np.backend import tree
from mvit_np.studies.gradient_cases import TINY, TINY_V2, roughened
from mvit_np.weights.inflate import inflate, to_draw

# Without class token: among keys of several equal frames it would weigh less than among those of
# one.
VIDEO = replace(TINY, frames=8, size=32, cls_token=False, depths=(1, 2), num_classes=5)
IMAGE = replace(
    VIDEO,
    frames=1,
    cube_kernel=(1, 3, 3),
    cube_stride=(1, 2, 2),
    pool_kernel=(1, 3, 3),
    positions="joint",
    dropout=0.0,
)
VIDEO_V2 = replace(TINY_V2, frames=8, size=32, cls_token=False, stride_kv=(1, 4, 4), num_classes=5)
IMAGE_V2 = replace(
    VIDEO_V2,
    frames=1,
    cube_kernel=(1, 3, 3),
    cube_stride=(1, 2, 2),
    pool_kernel=(1, 3, 3),
    relative_time=False,
)
PAIRS = [(IMAGE, VIDEO), (IMAGE_V2, VIDEO_V2)]


def picture_and_film(config, rng):
    picture = rng.standard_normal((2, 1, *config.size_hw, config.channels))
    return picture, np.repeat(picture, config.frames, axis=1)


def embedding(params, clip, config):
    """(B, t, h w, D)"""
    kept = {}
    mv.forward(params, clip, config, hook=kept.__setitem__)
    x = kept["embedding"][:, config.cls_token :]
    return x.reshape(len(x), mv.plan(config).embed.thw[0], -1, x.shape[-1])


@pytest.mark.parametrize("image, video", PAIRS, ids=["v1", "v2"])
def test_a_still_film_is_the_picture_to_a_centre_inflated_model(image, video, rng):
    """Every frame sees the picture's kernels, and attention over equal frames is attention over
    one.
    """
    params = roughened(image)
    inflated = inflate(params, image, video, "centre")
    picture, film = picture_and_film(video, rng)
    ours, theirs = mv.forward(inflated, film, video), mv.forward(params, picture, image)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("how, gain", [("centre", 1), ("mean", 1), ("repeat", 3)])
def test_the_stem_on_a_still_film_is_the_pictures(how, gain, joint, rng):
    """In frames that the zero padding does not reach; SlowFast's way is three times too large."""
    video = replace(VIDEO, positions="joint" if joint else "separate")
    params = roughened(IMAGE)
    picture, film = picture_and_film(video, rng)
    rest = params["patch_embed"]["b"] + params["pos_embed"]
    theirs = embedding(params, picture, IMAGE)
    ours = embedding(inflate(params, IMAGE, video, how), film, video)
    np.testing.assert_allclose(
        ours[:, 1:] - rest, np.repeat(gain * (theirs - rest), 3, axis=1), rtol=1e-10, atol=1e-12
    )
    if how == "centre":
        np.testing.assert_allclose(ours[:, 0], theirs[:, 0], rtol=1e-12)


def test_kernels_and_positions_entry_by_entry():
    image, video = replace(IMAGE, cls_token=True), replace(VIDEO, cls_token=True)
    params = roughened(image)
    kernel, pool = params["patch_embed"]["w"][0], params["blocks"][0]["attn"]["pool_k"]["w"][0]
    centre, mean, repeat = (
        inflate(params, image, video, how) for how in ("centre", "mean", "repeat")
    )
    for made, weights in ((centre, (0, 1, 0)), (mean, (1 / 3, 1 / 3, 1 / 3)), (repeat, (1, 1, 1))):
        for got, frame in (
            (made["patch_embed"]["w"], kernel),
            (made["blocks"][0]["attn"]["pool_k"]["w"], pool),
        ):
            np.testing.assert_allclose(got, np.stack([w * frame for w in weights]), rtol=1e-15)
    np.testing.assert_array_equal(centre["pos_embed_spatial"], params["pos_embed"][1:])
    np.testing.assert_array_equal(centre["pos_embed_class"], params["pos_embed"][0])
    assert centre["pos_embed_temporal"].shape == (4, 4) and not centre["pos_embed_temporal"].any()
    joint = inflate(params, image, replace(video, positions="joint"))["pos_embed"]
    np.testing.assert_array_equal(
        joint, np.concatenate([params["pos_embed"][:1], *[params["pos_embed"][1:]] * 4])
    )
    assert centre["head"]["w"] is params["head"]["w"]


def test_an_even_cube_keeps_its_frame():
    video = replace(VIDEO, cube_kernel=(2, 3, 3))
    made = inflate(roughened(IMAGE), IMAGE, video)["patch_embed"]["w"]
    assert not made[0].any() and made[1].any()


def test_relative_tables_follow_grid_and_strides():
    """A ramp stays a ramp between the ends of the table; time starts from 0."""
    params = roughened(IMAGE_V2)
    for block in params["blocks"]:
        for axis in "hw":
            table = block["attn"][f"rel_pos_{axis}"]
            table[:] = np.linspace(-1, 1, 2 * len(table) + 1)[1::2, None]
    larger = replace(VIDEO_V2, size=64)
    made = inflate(params, IMAGE_V2, larger)
    for block, old in zip(made["blocks"], params["blocks"]):
        table, before = block["attn"]["rel_pos_h"], old["attn"]["rel_pos_h"]
        assert len(table) > len(before) and not block["attn"]["rel_pos_t"].any()
        inner = np.abs(table[:, 0]) < before.max()
        np.testing.assert_allclose(
            table[inner, 0], np.linspace(-1, 1, 2 * len(table) + 1)[1::2][inner], atol=1e-12
        )


def test_a_larger_grid_and_separate_positions():
    image = replace(IMAGE, positions="separate")
    params = roughened(image)
    made = inflate(params, image, replace(VIDEO, size=64))
    same = mv.resize(params, image, size=64)[0]
    np.testing.assert_array_equal(
        made["pos_embed_spatial"], same["pos_embed_spatial"] + same["pos_embed_temporal"]
    )
    assert inflate(params, image, VIDEO)["pos_embed_spatial"].shape == (256, 4)


def test_what_the_image_model_has_not_is_drawn(rng):
    video = replace(VIDEO, cls_token=True, num_classes=9)
    assert (
        to_draw(IMAGE, video) == ("cls_token", "head.w", "head.b") and to_draw(IMAGE, VIDEO) == ()
    )
    with pytest.raises(
        ValueError, match="the image model has no cls_token, head.w, head.b of this shape: give rng"
    ):
        inflate(roughened(IMAGE), IMAGE, video)
    made = inflate(roughened(IMAGE), IMAGE, video, rng=rng)
    assert (
        0.005 < made["head"]["w"].std() < 0.04
        and not made["head"]["b"].any()
        and made["cls_token"].any()
    )
    again = inflate(roughened(IMAGE), IMAGE, video, rng=np.random.default_rng(0))
    tree.map(np.testing.assert_array_equal, made, again)
    without = inflate(
        roughened(replace(IMAGE, cls_token=True)), replace(IMAGE, cls_token=True), VIDEO
    )
    assert "cls_token" not in without and "pos_embed_class" not in without


@pytest.mark.parametrize(
    "image, video, how, words",
    [
        (IMAGE, VIDEO, "middle", "how is one of centre, mean, repeat; came 'middle'"),
        (VIDEO, VIDEO, "centre", "embeds one frame by flat cubes; came 8 frames"),
        (IMAGE, replace(VIDEO, depths=(1, 1)), "centre", "it has no blocks.2"),
        (IMAGE, replace(VIDEO, depths=(2, 2)), "centre", "it has no blocks.0.proj.w"),
        (
            IMAGE,
            replace(VIDEO, dim=8),
            "centre",
            r"cls|patch_embed.w \(3, 3, 3, 2, 8\), and the image model",
        ),
        (
            IMAGE,
            replace(VIDEO, cube_kernel=(3, 5, 5)),
            "centre",
            r"patch_embed.w \(3, 5, 5, 2, 4\)",
        ),
        (IMAGE, replace(VIDEO, unpooled_kv=(0,)), "centre", "it has no blocks.0.attn.pool_k.w"),
        (
            replace(IMAGE, unpooled_kv=(0,)),
            VIDEO,
            "centre",
            "blocks.0.attn.pool_k.w .*which the image model lacks",
        ),
        (
            IMAGE,
            replace(VIDEO, positions="none"),
            "centre",
            "both models have one type of positions; came 'joint' for 'none'",
        ),
        (
            IMAGE_V2,
            replace(VIDEO_V2, positions="separate"),
            "centre",
            "one type of positions",
        ),
    ],
)
def test_models_that_differ_in_more_than_time(image, video, how, words):
    with pytest.raises(ValueError, match=words):
        inflate(roughened(image), image, video, how)
