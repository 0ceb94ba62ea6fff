"""Every figure beside a stored picture of it, and the new ones word by word.

After a wanted change of a figure, store it anew with

    MVIT_NP_REFRESH_FIGURES=1 python -m pytest tests/visualize/test_figures.py

and look at what changed in tests/visualize/figures before it is kept. Fonts and frames are drawn a
little differently from machine to machine and from one matplotlib to the next. So pictures are
compared as blurred grey values, and only what differs from all that lies within a few pixels
counts: words that have moved by so much do not, a word that is missing does.
"""

import functools
import os
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from figure_layout import all_words, check_layout, words
from matplotlib.image import imread
from PIL import Image
from training_rows import training_rows

import mvit_np as mv
from mvit_np import visualize
from mvit_np.model import paper
from mvit_np.model.inspection import (
    attention_rollout,
    attention_weights_of,
    mean_attention_distance,
    position_similarity,
)
from mvit_np.model.specs import PoolSpec
from mvit_np.studies.ablations.findings import Line
from mvit_np.train.answers import Mistake
from mvit_np.train.evaluate import Evaluation
from mvit_np.visualize import style
from mvit_np.visualize.cost_bars import parts

FOLDER = Path(__file__).parent / "figures"
REFRESH = bool(os.environ.get("MVIT_NP_REFRESH_FIGURES"))
DPI = 50
BLUR, SHIFT = 4, 3  # pixels a side that make one grey value, and by which it may have moved
TILE = 48  # pixels a side of the parts that are compared: about an inch
# Root mean square differences of grey values (white is 1): of the figure, of its worst part. From
# matplotlib 3.11 to 3.8 and 3.10 they are below 0.010 and 0.033; a word of five letters that is
# missing makes 0.04 to 0.17 of a part.
WHOLE, PART = 0.015, 0.04

MICRO = mv.preset("mvit_micro")


# -- synthetic inputs, the same in every run -------------------------------------------------------


def blob(h, w, y, x, wide):
    rows, columns = np.indices((h, w))
    return np.exp(-((rows / h - y) ** 2 + (columns / w - x) ** 2) / (2 * wide**2))


def moving_clip(frames=8, side=32):
    """A bright blob that crosses a dark frame.   -> (T, H, W, 1)"""
    return np.stack([blob(side, side, 0.5, (t + 1) / (frames + 1), 0.12) for t in range(frames)])[
        ..., None
    ]


def shares(t, h, w, wide=0.15):
    """A map that follows the blob.   -> (t, h, w), summing to 1"""
    cells = np.stack([blob(h, w, 0.45, (i + 1) / (t + 1), wide) for i in range(t)]) + 0.02
    return cells / cells.sum()


def film_shares():
    """(windows, probabilities, labels, thumbnails) of a film in which three classes take turns."""
    start = np.arange(0, 90, 1.5)
    scores = np.stack([4 * np.sin(start / 14 + 2 * k) for k in range(3)], axis=1)
    each = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    pictures = (255 * moving_clip(10)).astype(np.uint8)
    return np.stack([start, start + 3], axis=1), each, ("run", "jump", "stand"), pictures


def class_maps(config):
    last = {block.stage: block for block in mv.plan(config).blocks}
    return [(stage, shares(*block.thw_kv)) for stage, block in last.items()]


def learned_positions(h, w, wide=0.2):
    """Similarities that fall with distance, from 1 to a little below 0.   -> (h w, h w)"""
    y, x = (axis.ravel() for axis in np.indices((h, w)) / max(h, w))
    square = (y[:, None] - y) ** 2 + (x[:, None] - x) ** 2
    return 1.2 * np.exp(-square / (2 * wide**2)) - 0.2


def distances(plan, spread):
    for block in plan.blocks:
        middle = 60 + 20 * np.sin(block.index / 3)
        yield middle + spread * (np.arange(block.heads) - (block.heads - 1) / 2)


def filters(config):
    """Parameters whose cube filters are stripes of all directions, some of which drift."""
    params = mv.init(config, np.random.default_rng(0))
    kt, kh, kw, c, d = params["patch_embed"]["w"].shape
    t, y, x = np.indices((kt, kh, kw))
    for k in range(d):
        angle, drift = np.pi * k / d, k % 3 - 1
        wave = np.cos(1.1 * (np.cos(angle) * x + np.sin(angle) * y) + 1.5 * drift * t)
        colour = 1 + 0.5 * np.cos(2 * np.pi * (np.arange(c) / 3 + k / d))
        params["patch_embed"]["w"][..., k] = (wave[..., None] * colour * (1 - k / (2 * d))).astype(
            np.float32
        )
    return params


def classified():
    from mvit_np.train.classify import Result

    frames = (200 * moving_clip() + 20).astype(np.uint8)
    chances = np.array([0.62, 0.2, 0.1, 0.05, 0.03])
    labels = ("moving to the right", "standing still", "moving to the left", "growing", "shrinking")
    seconds = 1.2 + np.arange(8) * 4 / 30
    return Result(
        Path("blob.mp4"),
        labels,
        chances,
        chances[None],
        (5, 1),
        5.0,
        seconds,
        frames,
        frames[None] / 255,
    )


def scaling_points():
    for axis, sizes in (("frames", (8, 16, 32)), ("size", (160, 224, 320))):
        for size in sizes:
            frames, pixels = (size, 224) if axis == "frames" else (16, size)
            macs = 4.4e9 * frames * (pixels / 224) ** 2
            point = {
                "axis": axis,
                "frames": frames,
                "size": pixels,
                "macs": macs,
                "kept_bytes": macs / 40,
            }
            point["forward"] = {"median_s": macs / 1e11, "peak_bytes": macs / 150}
            yield point | {"step": {"median_s": 4 * macs / 1e11, "peak_bytes": macs / 30 + 3e8}}


def run_rows(steps):
    """As a metrics.csv: a loss that falls from guessing, tests that come along."""
    rng = np.random.default_rng(0)
    for step in range(1, steps + 1):
        learned = 1 - np.exp(-3 * step / steps)
        row = {
            "step": step,
            "seconds": 0.15 * step,
            "clips_per_s": 212.0,
            "learning_rate": 1e-3 * np.sin(np.pi * step / steps),
        }
        row |= {
            "loss": 2.1 - 1.2 * learned + 0.1 * rng.standard_normal(),
            "accuracy": 0.7 * learned + rng.uniform(0, 0.25),
        }
        test = {"test_accuracy": 0.125 + 0.8 * learned, "test_loss": 2 - 1.3 * learned}
        yield row | (test if step % 20 == 0 else {"test_accuracy": None})


def confused():
    names = ("right", "down right", "down", "down left", "left", "up left", "up", "up right")
    near = np.eye(8) + 0.2 * np.roll(np.eye(8), 1, axis=1) + 0.1 * np.roll(np.eye(8), -1, axis=0)
    return Evaluation(names, np.rint(40 * near * np.linspace(1, 0.4, 8)).astype(np.int64), 280, 0.5)


def mistaken():
    frames = np.linspace(0, 255, 4 * 18 * 24).reshape(4, 18, 24, 1).astype(np.uint8)
    names = confused().classes
    for k in range(5):
        yield Mistake(f"films/{k}.mp4", names[k], names[k + 1], 0.99 - 0.07 * k, frames)


def experiment_lines():
    for index, name in enumerate(("convolution", "max", "average", "1 x 1 x 1: none")):
        shares = tuple(0.93 - 0.06 * index + 0.01 * seed for seed in range(3))
        yield Line(
            name, shares, 90_000, 3_000_000 * (index + 1), 20.0, 78.4 - index if index < 3 else None
        )


def pool(kernel, stride, thw=(8, 56, 56), kind="conv"):
    return PoolSpec(kind, kernel, stride, thw)


def plan_of(name):
    return mv.plan(mv.preset(name))


def some_costs():
    return {
        "MViT-B": mv.preset("mvit_b_16x4"),
        "MViTv2-S": mv.preset("mvitv2_s_16x4"),
        "ViT-B": mv.preset("vit_b_8f"),
    }


def position_figure(h, w, time):
    nearby = np.cos((np.arange(time)[:, None] - np.arange(time)) / 3)
    return visualize.position_similarity_figure(learned_positions(h, w), nearby, (h, w))


def distance_figure(name="mvit_b_16x4"):
    return visualize.attention_distance_figure(
        list(distances(plan_of(name), 4)), list(distances(plan_of(name), 8))
    )


def stages():
    return visualize.stage_figure(plan_of("mvit_b_16x4"), plan_of("vit_b_8f"))


def mlp_graph():
    labels = "x W1 linear gelu W2 linear add".split()
    parents = [(), (), (0, 1), (2,), (), (3, 4), (0, 5)]
    beside = ["8 × 96", "", "8 × 384", "8 × 384", "", "8 × 96", "8 × 96"]
    colours = [style.SKY if made_of else style.PALE for made_of in parents]
    return visualize.graph_figure(labels, parents, "An MLP", "x twice", colours, beside)


def dark(make):
    with visualize.theme("dark"):
        figure = make()
    return figure


def some_films():
    """Two classes, of one of which there are portraits too; a long name and one with a $."""
    films = [
        (200 * moving_clip(side=side)[5] * [1, 0.6, 0.3] + 20).astype(np.uint8) for side in (24, 32)
    ]
    names = {"walking the dog in the rain, slowly": 5, "costs $5 $": 2, "naïve": 1}
    pictures = {
        name: [films[k % 2][:, : 32 - 6 * (k == 3)] for k in range(n)] for name, n in names.items()
    }
    return pictures, {name: 40 * count for name, count in names.items()}


V = visualize
FIGURES = {
    "stages": stages,
    "stages_dark": lambda: dark(stages),
    "pooling_attention": lambda: V.pooling_attention_figure(plan_of("mvit_b_16x4").blocks[1]),
    "pooling_attention_dark": lambda: dark(
        lambda: V.pooling_attention_figure(plan_of("mvit_b_16x4").blocks[1])
    ),
    "attention": lambda: V.attention_figure(
        moving_clip(), class_maps(MICRO), mv.plan(MICRO), title="a blob"
    ),
    "contact_sheet": lambda: V.contact_sheet_figure(
        classified(), class_maps(MICRO), mv.plan(MICRO)
    ),
    "class_sheet": lambda: V.class_sheet_figure(*some_films(), "320 examples of films"),
    "training": lambda: V.training_figure(
        list(training_rows(60)), {"test_accuracy": 0.97, "shuffled_accuracy": 0.5}
    ),
    "scaling": lambda: V.scaling_figure(
        {"preset": "a preset", "points": list(scaling_points())}, 4e11
    ),
    "pooling_windows_overlap": lambda: V.pooling_windows_figure(pool((3, 3, 3), (1, 2, 2))),
    "pooling_windows_unseen": lambda: V.pooling_windows_figure(pool((3, 3, 3), (1, 8, 8))),
    "pooling_windows_dark": lambda: dark(
        lambda: V.pooling_windows_figure(pool((3, 3, 3), (1, 2, 2), (8, 7, 7)))
    ),
    "curves": lambda: V.curves_figure(list(run_rows(120)), 1 / 8),
    "confusion": lambda: V.confusion_figure(confused()),
    "mistakes": lambda: V.mistakes_figure(list(mistaken()), confused()),
    "experiment": lambda: V.experiment_figure(
        list(experiment_lines()), "Which pool?", "Table 99 at small scale", 0.125
    ),
    "graph": mlp_graph,
    "layer_table": lambda: V.layer_table_figure(plan_of("mvit_b_16x4")),
    "relevance": lambda: V.relevance_figure(
        classified(), class_maps(MICRO)[-1], shares(4, 8, 8), classified().labels[0], mv.plan(MICRO)
    ),
    "timeline": lambda: V.timeline_figure(*film_shares(), "a film"),
    "rollout": lambda: V.rollout_figure(
        {"rollout": shares(4, 8, 8), "last block alone": shares(4, 4, 4, 0.3)}, moving_clip()
    ),
    "attention_distance": distance_figure,
    "position_similarity": lambda: position_figure(14, 14, 8),
    "cost_bars": lambda: V.cost_bars_figure(some_costs()),
    "accuracy_cost": V.accuracy_cost_figure,
    "accuracy_cost_dark": lambda: dark(V.accuracy_cost_figure),
    "cube_filters": lambda: V.cube_filters_figure(
        filters(mv.preset("mvit_b_16x4")), mv.preset("mvit_b_16x4")
    ),
    "cube_filters_grey": lambda: V.cube_filters_figure(filters(MICRO), MICRO),
}


# -- beside the stored pictures --------------------------------------------------------------------


def drawn(figure):
    """The figure as it is saved, its letters as their outlines say.   -> (H, W, 3), 0 to 1"""
    figure.set_dpi(DPI)
    with matplotlib.rc_context({"text.hinting": "none"}):
        figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3] / 255


def blurred(picture):
    """(H, W, 3)   ->   grey values, each the mean of BLUR x BLUR pixels"""
    return along_both(picture @ [0.299, 0.587, 0.114], BLUR, np.add) / BLUR**2


def along_both(grey, length, ufunc):
    """The sum, minimum or maximum over windows of length x length."""
    for axis in (0, 1):
        lines = np.moveaxis(grey, axis, 0)
        result = lines[: len(lines) - length + 1].copy()
        for i in range(1, length):
            ufunc(result, lines[i : i + len(result)], out=result)
        grey = np.moveaxis(result, 0, axis)
    return grey


def outside(one, other):
    """How far each grey value of one lies from all those of the other that are at most SHIFT pixels
    away.
    """
    wide = np.pad(other, SHIFT, mode="edge")
    low, high = (along_both(wide, 2 * SHIFT + 1, ufunc) for ufunc in (np.minimum, np.maximum))
    return np.maximum(0, np.maximum(low - one, one - high))


def differences(one, other):
    """Root mean square difference of the grey values: of all, and of the part of TILE x TILE where
    it is largest.
    """
    one, other = blurred(one), blurred(other)
    square = np.maximum(outside(one, other), outside(other, one)) ** 2
    steps = [range(0, max(n - TILE, 0) + 1, TILE // 2) for n in square.shape]
    tiles = [square[i : i + TILE, j : j + TILE].mean() for i in steps[0] for j in steps[1]]
    return square.mean() ** 0.5, max(tiles) ** 0.5


def assert_alike(picture, stored):
    assert picture.shape == stored.shape, (
        f"the figure is {picture.shape[:2]} pixels, the stored one {stored.shape[:2]}"
    )
    whole, part = differences(picture, stored)
    assert whole < WHOLE and part < PART, (
        f"grey values differ by {whole:.3f} (worst part {part:.3f}) from the stored picture"
    )


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_the_stored_one(name):
    figure, path = FIGURES[name](), FOLDER / f"{name}.png"
    picture = drawn(figure)
    check_layout(figure)
    if REFRESH:
        FOLDER.mkdir(exist_ok=True)
        pixels = Image.fromarray((255 * picture).astype(np.uint8))
        pixels.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
    assert path.is_file(), "no stored picture: MVIT_NP_REFRESH_FIGURES=1 makes it"
    assert_alike(picture, imread(path)[..., :3])


def test_the_comparison_sees_a_missing_word_and_a_moved_panel():
    picture = drawn(stages())
    figure = stages()
    figure.texts[0].set_visible(False)
    with pytest.raises(AssertionError, match="differ"):
        assert_alike(drawn(figure), picture)
    figure = stages()
    left, *rest = figure.axes[-1].get_position().bounds
    figure.axes[-1].set_position((left - 0.05, *rest))
    with pytest.raises(AssertionError, match="differ"):
        assert_alike(drawn(figure), picture)


def test_the_comparison_allows_for_fonts():
    """Letters that are shifted by a third of a pixel, as another version of the font's renderer may
    draw them.
    """
    figure = stages()
    picture = drawn(figure)
    width, height = figure.get_size_inches() * DPI
    for text in figure.texts:
        x, y = text.get_position()
        text.set_position((x + 0.3 / width, y + 0.3 / height))
    assert_alike(drawn(figure), picture)


def test_stored_pictures_are_small_and_all_in_use():
    stored = {path.stem: path.stat().st_size for path in FOLDER.glob("*.png")}
    assert set(stored) == set(FIGURES)
    assert max(stored.values()) < 60_000
    made = {public for public in visualize.__all__ if public.endswith("_figure")}
    assert not [
        name
        for name in made
        if not any(key.startswith(name.removesuffix("_figure")) for key in stored)
    ]


# -- the windows of a pool -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec, words",
    [
        (
            pool((3, 3, 3), (1, 2, 2)),
            "Windows of 3 × 3 tokens, stride 2 × 2: a token lies in up to 4 of them",
        ),
        (pool((3, 3, 3), (1, 8, 8)), "stride 8 × 8: 87 % of the tokens lie in none"),
        (pool((1, 2, 2), (1, 2, 2)), "each token lies in exactly one"),
        (pool((3, 3, 3), (1, 1, 1)), "up to 9 of them"),
        (pool((1, 2, 4), (1, 2, 4), (4, 6, 20), "max"), "Windows of 2 × 4 tokens, stride 2 × 4: "),
        (pool((3, 3, 3), (1, 2, 2), (1, 7, 7)), "up to 4"),
        (pool((3, 9, 9), (1, 8, 8), kind="max"), "10 % of the tokens lie in none"),
        (pool((1, 1, 3), (1, 1, 2), (8, 1, 40)), "up to 2"),
    ],
)
def test_pooling_windows_figure(spec, words):
    figure = visualize.pooling_windows_figure(spec)
    check_layout(figure)
    text = all_words(figure)
    assert words in text and f"kernel {spec.kernel[0]}, stride {spec.stride[0]}" in text
    for thw in (spec.thw_in, spec.thw_out):
        assert f"{thw[1]} × {thw[2]} tokens" in text


def test_pooling_windows_of_every_pool_of_some_presets():
    seen = set()
    for name in ("mvitv2_l_40x3", "hiera_b_16x224", "mvit_micro"):
        for block in plan_of(name).blocks:
            seen |= {each for each in (block.pool_q, block.pool_kv, block.pool_skip) if each}
    shapes = {(each.kernel, each.stride, each.thw_in[1:]): each for each in seen}
    for spec in shapes.values():
        check_layout(visualize.pooling_windows_figure(spec))


# -- the table -------------------------------------------------------------------------------------


def test_layer_table_has_the_papers_table():
    figure = visualize.layer_table_figure(plan_of("mvit_b_16x4"))
    lines = all_words(figure).split("\n")
    for width, hidden, count, output in (
        (96, 384, 1, "96 × 8 × 56 × 56"), (192, 768, 2, "192 × 8 × 28 × 28"),
        (384, 1536, 11, "384 × 8 × 14 × 14"), (768, 3072, 2, "768 × 8 × 7 × 7"),
    ):  # fmt: skip
        assert {f"MHPA({width})", f"MLP({hidden})", f"× {count}", output} <= set(lines)
    assert {
        "3 × 7 × 7, 96 channels",
        "stride 2 × 4 × 4",
        "3 × 16 × 224 × 224",
        "K, V 1 × 8 × 8",
        "25089",
        "393",
    } <= set(lines)
    assert "From 25089 tokens of 96 channels to 393 of 768, in 16 blocks" in lines


KINDS = (
    "mvit_b_24_32x3 mvit_s_16x4 mvit_b_24_wide_320_image mvitv2_l_40x3 vivit_l vivit_b_fe "
    "rev_mvit_b_16x4 hiera_b_16x224"
)


@pytest.mark.parametrize("name", KINDS.split())
def test_layer_table_of_every_kind(name):
    figure = visualize.layer_table_figure(plan_of(name))
    check_layout(figure)
    text = all_words(figure)
    assert ("over time" in text) == name.endswith("_fe") and ("MHPA(" in text) != name.startswith(
        "vi"
    )
    assert ("units 1 × 8 × 8, then 1 × 4 × 4" in text) == name.startswith("hiera")


# -- rollout ---------------------------------------------------------------------------------------


def test_rollout_figure_of_a_model():
    rng = np.random.default_rng(0)
    params, clip = mv.init(MICRO, rng), moving_clip()[None].astype(np.float32)
    found = attention_rollout(attention_weights_of(params, clip, MICRO), mv.plan(MICRO))
    grid = found[0, 1:].reshape(mv.plan(MICRO).embed.thw)
    figure = visualize.rollout_figure(grid, clip[0], title="a blob")
    check_layout(figure)
    assert "4 × 8 × 8" in all_words(figure) and "a blob" in all_words(figure)
    tiles = [
        axes.images[0].get_array()
        for axes in figure.axes
        if axes.images and axes.images[0].get_array().shape == (8, 8)
    ]
    np.testing.assert_array_equal(tiles, grid)


def test_rollout_figure_says_how_sharp_a_map_is():
    even, one = np.ones((2, 5, 10)), np.zeros((2, 5, 10))
    one[1, 2, 3] = 1
    assert "half of the attention lies on 50 % of the tokens" in all_words(
        visualize.rollout_figure(even)
    )
    text = all_words(visualize.rollout_figure({"sharp": one, "even": even}))
    assert "Half of the attention lies on 1.0 % of the tokens (sharp), or on 50 % (even)" in text
    assert "max 100× an even share" in text and "max 1× an even share" in text


@pytest.mark.parametrize("t, h, w", [(1, 14, 14), (20, 8, 24), (8, 24, 8)])
def test_rollout_figure_of_other_grids(t, h, w):
    figure = visualize.rollout_figure(
        {"one": shares(t, h, w), "another": shares(t, h, w)}, title="a clip"
    )
    check_layout(figure)
    assert ("every 3. of 20 times" in all_words(figure)) == (t == 20)


def test_rollout_figure_refuses():
    for maps in ({}, np.ones((4, 4)), {"a": np.ones((2, 4, 4)), "b": np.ones((4, 4, 4))}):
        with pytest.raises(ValueError, match="draws maps"):
            visualize.rollout_figure(maps)
    for change in (-1, 0, np.nan):
        with pytest.raises(ValueError, match="at least 0, .* in 'rollout'"):
            visualize.rollout_figure(change * shares(4, 8, 8))


# -- distances, positions --------------------------------------------------------------------------


def test_attention_distance_figure_has_a_dot_a_head():
    before, after = (
        [np.array([10.0]), np.array([20.0, 30.0])],
        [np.array([5.0]), np.array([8.0, 60.0])],
    )
    figure = visualize.attention_distance_figure(before, after)
    check_layout(figure)
    text = all_words(figure)
    assert "Heads look 10 to 30 pixels far at the start, 5 to 60 after training" in text
    assert "differ by 10.0 pixels on average at the start, by 52.0 after" in text
    for axes, blocks in zip(figure.axes, (before, after)):
        dots = next(line for line in axes.lines if line.get_label() == "a head")
        np.testing.assert_array_equal(
            dots.get_xydata(), [(1, blocks[0][0]), (2, blocks[1][0]), (2, blocks[1][1])]
        )
    check_layout(visualize.attention_distance_figure([[1.5]], [[0.5]], unit="tokens"))
    with pytest.raises(ValueError, match=r"\[1, 2\] and \[1\] heads"):
        visualize.attention_distance_figure(before, after[:1])


def test_attention_distance_figure_of_a_model():
    rng = np.random.default_rng(0)
    clip = rng.standard_normal((1, *MICRO.thw, 1)).astype(np.float32)
    blocks, both = mv.plan(MICRO).blocks, []
    for scale in (1, 8):
        params = mv.tree.map(lambda x: x * np.float32(scale), mv.init(MICRO, rng))  # noqa: B023
        both.append(
            [
                mean_attention_distance(*pair)
                for pair in zip(attention_weights_of(params, clip, MICRO), blocks)
            ]
        )
    check_layout(visualize.attention_distance_figure(*both, unit="tokens"))


def test_position_similarity_figure_says_whether_neighbours_are_alike():
    text = all_words(position_figure(7, 7, 4))
    beside = 1.2 * np.exp(-1 / (2 * 7**2 * 0.2**2)) - 0.2  # from one to the next it is a seventh
    assert f"Neighbouring cells are alike, cosine {beside:.2f}" in text
    assert f"neighbouring times: {np.cos(1 / 3):.2f}" in text
    config = replace(MICRO, size=(32, 64))
    space, time = position_similarity(mv.init(config, np.random.default_rng(0)), config)
    figure = visualize.position_similarity_figure(space, time, (8, 16))
    check_layout(figure)
    assert "no more alike than others" in all_words(figure)


@pytest.mark.parametrize(
    "h, w, time", [(16, 8, 4), (3, 3, 1), (28, 28, 2), (4, 64, 40), (40, 3, 5)]
)
def test_position_similarity_figure_of_other_grids(h, w, time):
    check_layout(position_figure(h, w, time))


def test_position_similarity_figure_without_time_and_of_another_grid():
    figure = visualize.position_similarity_figure(learned_positions(4, 5), None, (4, 5))
    check_layout(figure)
    tiles = [image.get_array() for image in figure.axes[0].images]
    np.testing.assert_array_equal(np.reshape(tiles, (20, 20)), learned_positions(4, 5))
    with pytest.raises(ValueError, match=r"\(20, 20\) for a grid 4 x 5"):
        visualize.position_similarity_figure(np.ones((16, 16)), None, (4, 5))


# -- costs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(mv.PRESETS))
def test_the_parts_of_every_block_add_up(name):
    config = mv.preset(name)
    lines = {line.name: line.macs for line in mv.costs(config).lines}
    for block in mv.plan(config).blocks:
        macs = lines[f"block {block.index}"]
        shares = parts(block, macs)
        assert sum(shares.values()) == macs and min(shares.values()) >= 0
        tokens, d = block.sequences * block.tokens_q, block.dim_attn
        assert shares["MLP"] == tokens * block.dim_mlp * (d + block.dim_out)
        assert shares["attention (Q K' and P V)"] >= 2 * tokens * block.tokens_seen * d
        assert (
            block.relative
            or shares["attention (Q K' and P V)"] == 2 * tokens * block.tokens_seen * d
        )


def test_cost_bars_figure_draws_every_multiply_add():
    figure = visualize.cost_bars_figure(some_costs())
    text = all_words(figure)
    assert (
        "MViT-B takes 2.5× fewer multiply-adds than ViT-B" in text
        and "ViT-B\n179.6 G in all" in text
        and "20, 23, 25 % of the totals" in text
    )
    for axes, config in zip(figure.axes, some_costs().values()):
        account = mv.costs(config)
        drawn_macs = sum(bar.get_height() for bar in axes.patches) * 1e9
        assert drawn_macs == pytest.approx(account.macs - account.lines[-1].macs)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_cost_bars_figure_of_one_to_five_models(count):
    names = ("mvit_micro", "hiera_b_16x224", "mvit_b_16x4", "vivit_b_fe", "mvit_s_16x4")[:count]
    figure = visualize.cost_bars_figure({name: mv.preset(name) for name in names})
    check_layout(figure)
    assert ("on one part: MLP" in all_words(figure)) == (count == 1)


def test_cost_bars_figure_refuses():
    for count in (0, 6):
        with pytest.raises(ValueError, match=f"1 to 5 models; came {count}"):
            visualize.cost_bars_figure({str(i): MICRO for i in range(count)})


def test_the_published_points_are_the_papers():
    table = next(table for table in paper.TABLES if table.name == "Table 4")
    rows = [(row.label, row.gmacs, row.views[0] * row.views[1]) for row in table.rows]
    text = all_words(visualize.accuracy_cost_figure())
    assert "MViT-B 64x3: 12× cheaper than ViViT-L/16x2, 0.1 points less accurate" in text
    assert all(f"{label}  ({gmacs:g} × {views})" in text for label, gmacs, views in rows)


# -- cubes -----------------------------------------------------------------------------------------


def test_cube_filters_figure_tells_what_changes_from_what_stands_still():
    params = filters(MICRO)
    w = params["patch_embed"]["w"]
    w[:] = w[:1]
    assert "0 % of the cube filters' energy is change over time (random ones: 67 %)" in all_words(
        visualize.cube_filters_figure(params, MICRO)
    )
    w[0], w[2], w[1] = -w[1], w[1], 0
    assert "100 % of the cube filters' energy" in all_words(
        visualize.cube_filters_figure(params, MICRO)
    )


@pytest.mark.parametrize("name", ["mvit_b_16_image", "vit_b_8f", "vivit_b_fe", "mvit_s_16x4"])
def test_cube_filters_figure_of_other_cubes(name):
    config = replace(mv.preset(name), depths=(1,), num_classes=2)
    figure = visualize.cube_filters_figure(mv.init(config, np.random.default_rng(0)), config)
    check_layout(figure)
    kt = config.cube_kernel[0]
    assert ("see one frame each" in all_words(figure)) == (kt == 1) and f"slice {kt}" in all_words(
        figure
    )


def test_cube_filters_figure_shows_the_largest_first():
    figure = visualize.cube_filters_figure(filters(MICRO), MICRO)
    check_layout(figure)
    titles = [int(text.get_text()) for text in words(figure) if text.get_text().isdigit()]
    sizes = np.square(filters(MICRO)["patch_embed"]["w"]).sum(axis=(0, 1, 2, 3))
    assert titles == list(np.argsort(-sizes, kind="stable"))
    with pytest.raises(ValueError, match="another config"):
        visualize.cube_filters_figure(filters(MICRO), replace(MICRO, cube_kernel=(3, 5, 5)))


# -- themes ----------------------------------------------------------------------------------------


@functools.cache
def light_page():
    return drawn(stages())


def test_the_light_theme_changes_no_pixel():
    with visualize.theme("light"):
        figure = stages()
    np.testing.assert_array_equal(drawn(figure), light_page())
    with visualize.theme("dark"), visualize.theme("light"):
        figure = stages()
    np.testing.assert_array_equal(drawn(figure), light_page())


def test_the_dark_theme_is_dark_everywhere_and_ends_with_its_block(tmp_path):
    with visualize.theme("dark"):
        figure = stages()
        inside = imread(visualize.save(figure, tmp_path / "inside.png"))
    after = imread(visualize.save(figure, tmp_path / "after.png"))
    np.testing.assert_array_equal(inside, after)
    assert (after[..., :3].max(-1) < 0.2).mean() > 0.7 and (
        after[..., :3].min(-1) > 0.99
    ).mean() < 0.001
    np.testing.assert_array_equal(drawn(stages()), light_page())


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name for name in FIGURES if not name.endswith(("dark", "unseen", "grey"))]
)
def test_every_word_stands_out_in_the_dark(name):
    for text in words(dark(FIGURES[name])):
        if text.get_color() != "white":  # white words lie in coloured bars
            assert contrast(text.get_color()) > 4.5, f"{text.get_text()!r} is {text.get_color()}"


def contrast(colour):
    """With the dark page, as WCAG 2 has it."""
    from matplotlib.colors import to_rgb

    from mvit_np.visualize.dark import PAGE

    one, other = (luminance(to_rgb(each)) for each in (colour, PAGE))
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def luminance(rgb):
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in rgb
    ]
    return np.dot(linear, [0.2126, 0.7152, 0.0722])


def test_theme_refuses_other_names():
    with pytest.raises(ValueError, match="'light' or 'dark'; came 'blue'"):
        with style.theme("blue"):
            pass
