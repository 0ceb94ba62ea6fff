"""The figures: the numbers that must be there are there, every word is inside the figure and none
covers another.
"""

from dataclasses import replace
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
from figure_layout import all_words, check_layout
from matplotlib.text import Text
from training_rows import training_rows

import mvit_np as mv
from mvit_np import visualize
from mvit_np.backend.outputs import is_drawn_here
from mvit_np.model.forward import forward
from mvit_np.model.text_table import si_prefix
from mvit_np.train.answers import Mistake
from mvit_np.train.evaluate import Evaluation
from mvit_np.visualize.style import counted, fold, rounded
from mvit_np.visualize.training import smoothed

PRESETS = ("mvit_b_16x4", "mvit_s_16x4", "vit_b_8f", "mvit_micro")


def plan_of(name):
    return mv.plan(mv.preset(name))


def micro_vit():
    config = mv.preset("mvit_micro")
    return mv.plan(
        replace(config, cube_stride=(2, 8, 8), dim=64, heads=4, depths=(4,), stride_kv=None)
    )


# -- stages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("baseline", ["vit_b_8f", "mvit_b_16x4"])
@pytest.mark.parametrize("name", PRESETS)
def test_stage_figure_says_every_size(name, baseline):
    p = plan_of(name)
    figure = visualize.stage_figure(p, micro_vit() if name == "mvit_micro" else plan_of(baseline))
    check_layout(figure)
    text = all_words(figure)
    for block in p.blocks:
        assert " × ".join(map(str, block.thw_q)) in text
        assert f"{block.tokens_q} tokens" in text and f"{block.dim_attn} channels" in text
    account = mv.costs(p.config)
    assert f"{counted(account.macs)} multiply-adds, {counted(account.params)} parameters" in text


def test_stage_figure_of_mvit_b_has_the_papers_numbers():
    figure = visualize.stage_figure(plan_of("mvit_b_16x4"), plan_of("vit_b_8f"))
    lines = all_words(figure).split("\n")
    for number in ("25089", "6273", "1569", "393", "96", "192", "384", "768"):
        assert number in lines  # at its mark
    for text in (
        "MViT",
        "ViT",
        "70.6 G",
        "179.6 G",
        "36.6 M",
        "87.2 M",
        "2.5× fewer",
        "Tokens fall 64×, channels grow 8×",
    ):
        assert text in all_words(figure)
    assert "6.06" in lines and "6.90" in lines and "ViT 14.9" in lines  # G multiply-adds per block


def test_stage_figure_names_and_equal_models():
    figure = visualize.stage_figure(
        plan_of("vit_b_8f"), plan_of("vit_b_8f"), names=("one", "other")
    )
    check_layout(figure)
    assert "one against other: as many multiply-adds and as many parameters" in all_words(figure)


def test_stage_figure_refuses_what_does_not_fit():
    deep = mv.plan(mv.MViTConfig(depths=(1,) * 6, cube_stride=(2, 2, 2), size=256))
    with pytest.raises(ValueError, match="about 8 stages"):
        visualize.stage_figure(deep, deep)


# -- pooling attention -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_pooling_attention_figure_of_every_block(name):
    seen = set()
    for spec in plan_of(name).blocks:
        shape = (spec.stage, spec.pool_q is None)
        if shape not in seen:
            seen.add(shape)
            check_layout(visualize.pooling_attention_figure(spec))


def test_pooling_attention_figure_has_the_sizes_of_block_1():
    text = all_words(visualize.pooling_attention_figure(plan_of("mvit_b_16x4").blocks[1]))
    for grid in ("8 × 56 × 56", "8 × 28 × 28", "8 × 14 × 14"):
        assert grid in text
    for size in (
        "25089 tokens, 192 channels",
        "6273 tokens, 192 channels",
        "1569 tokens, 192 channels",
    ):
        assert size in text
    for pool in ("conv 3×3×3, stride 1×2×2", "conv 3×3×3, stride 1×4×4", "max 1×3×3, stride 1×2×2"):
        assert pool in text
    assert "2 heads × 6273 queries × 1569 keys" in text
    assert "64× fewer attention weights, 4× fewer tokens" in text


def test_pooling_attention_figure_without_pools():
    text = all_words(visualize.pooling_attention_figure(plan_of("vit_b_8f").blocks[0]))
    assert text.count("none") == 4 and "without pooling" in text and "stride" not in text


V2 = {
    "expand_in": "attention",
    "pool_q_always": True,
    "positions": "relative",
    "residual_pooling": "tokens",
}


@pytest.mark.parametrize("skip", ["normalised", "plain", "none"])
def test_pooling_attention_figure_widens_where_the_block_does(skip):
    spec = mv.plan(mv.MViTConfig(skip=skip, **V2)).blocks[1]
    figure = visualize.pooling_attention_figure(spec)
    check_layout(figure)
    text = all_words(figure)
    assert "25089 tokens, 96 channels" in text and "relative positions" in text and "+ Q" in text
    assert ("96 to 192 channels" in text) == (skip != "none") == ("Pool skip" in text)
    assert ("of the normed X" in text) == (skip == "normalised")


# -- attention -------------------------------------------------------------------------------------


def micro_attention(**changes):
    config = replace(mv.preset("mvit_micro"), **changes)
    rng = np.random.default_rng(0)
    params = mv.init(config, rng)
    clip = rng.standard_normal((1, *config.thw, config.channels)).astype(np.float32)
    return config, params, clip, visualize.class_attention(params, clip, config)


def last_blocks(config):
    return {block.stage: block for block in mv.plan(config).blocks}


@pytest.mark.parametrize("cls", [True, False])
def test_class_attention_agrees_with_the_models_own(cls):
    config, params, clip, maps = micro_attention(cls_token=cls)
    taken = {}
    forward(params, clip, config, hook=taken.__setitem__)
    assert [stage for stage, _ in maps] == list(range(len(config.depths)))
    for stage, shares in maps:
        spec = last_blocks(config)[stage]
        weights = taken[f"blocks.{spec.index}.attention"][0]  # (heads, Nq, Nk)
        assert shares.shape == spec.thw_kv and (shares >= 0).all()
        if cls:
            left = np.mean([head[0, 0] for head in weights])
            assert shares.sum() == pytest.approx(1 - left, abs=1e-5) and shares.sum() <= 1
        else:
            assert shares.sum() == pytest.approx(1, abs=1e-5)
        t, h, w = (n - 1 for n in spec.thw_kv)
        key = cls + (t * spec.thw_kv[1] + h) * spec.thw_kv[2] + w
        rows = [head[0, key] if cls else head[:, key].mean() for head in weights]
        assert shares[t, h, w] == pytest.approx(np.mean(rows), abs=1e-6)


def test_class_attention_recomputed_from_queries_and_keys():
    """One block without any pooling, by hand: norm, project, split, softmax."""
    config, params, clip, maps = micro_attention(depths=(1,), stride_kv=None, heads=2)
    embedded = []
    forward(
        params,
        clip,
        config,
        hook=lambda name, x: embedded.append(x) if name == "embedding" else None,
    )
    x, block = embedded[0][0].astype(np.float64), params["blocks"][0]
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + config.eps)
    x = x * block["norm1"]["g"] + block["norm1"]["b"]
    qkv = (x @ block["attn"]["qkv"]["w"] + block["attn"]["qkv"]["b"]).reshape(
        len(x), 3, config.heads, -1
    )
    scores = np.einsum("hd,nhd->hn", qkv[0, 0], qkv[:, 1]) * qkv.shape[-1] ** -0.5
    shares = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    ((stage, found),) = maps
    assert stage == 0
    np.testing.assert_allclose(found.ravel(), shares.mean(0)[1:], rtol=1e-4)


def family():
    hiera = dict(
        mask_unit=(1, 4, 4),
        pool="max",
        pool_kernel="s",
        skip_kernel="s",
        stride_kv=None,
        cls_token=False,
    )
    micro = mv.preset("mvit_micro")
    yield "Hiera", replace(micro, expand_in="attention", **hiera), [(4, 8, 8), (4, 4, 4), (4, 4, 4)]
    yield (
        "ViViT",
        replace(micro, depths=(2,), time_depth=1, stride_kv=None, positions="joint"),
        [(4, 8, 8), (4, 1, 1)],
    )
    reversible = dict(reversible=True, expand_in="attention", skip="plain", cls_token=False)
    yield "Rev-MViT", replace(micro, **reversible), [(4, 2, 2), (4, 2, 2), (4, 4, 4)]


@pytest.mark.parametrize(
    "name, config, grids", list(family()), ids=lambda x: x if isinstance(x, str) else ""
)
def test_mask_units_and_frames_encoded_alone_lie_where_they_are_in_the_clip(name, config, grids):
    params, clip = (
        mv.init(config, np.random.default_rng(0)),
        np.random.default_rng(1).random((1, *config.thw, 1)),
    )
    maps = visualize.class_attention(params, clip.astype("float32"), config)
    assert [shares.shape for _, shares in maps] == grids
    for _, shares in maps:
        assert shares.sum() <= 1 + 1e-6 and (config.cls_token or shares.sum() > 1 - 1e-6)
    check_layout(visualize.attention_figure(clip[0], maps, mv.plan(config)))
    figure = visualize.stage_figure(mv.plan(config), mv.plan(mv.preset("mvit_micro")))
    check_layout(figure)
    assert f"{name} against MViT:" in all_words(figure)


def test_a_unit_that_keys_attract_shows_in_its_place():
    """Keys of one unit are all alike but one, which draws all attention: its share is the unit's, 1
    / 16.
    """
    from mvit_np.model.inspection import class_shares

    spec = mv.plan(next(family())[1]).blocks[0]
    weights = np.full((16, 1, 16, 16), 1 / 16)
    weights[5] = 0  # the unit in frame 2, upper row, right column
    weights[5, :, :, 3] = 1  # its key in the upper row, fourth column
    shares = class_shares(weights, spec)
    assert np.unravel_index(shares.argmax(), shares.shape) == (1, 0, 7) and shares.max() == 1 / 16


def test_class_attention_takes_one_clip():
    config, params, clip, _ = micro_attention()
    with pytest.raises(ValueError, match=r"one clip.*came 2"):
        visualize.class_attention(params, np.concatenate([clip, clip]), config)


def test_attention_figure_of_the_micro_model():
    config, _, clip, maps = micro_attention()
    figure = visualize.attention_figure(
        clip[0] * 90 + 1000, maps, mv.plan(config), title="a clip that moves left"
    )
    check_layout(figure)
    text = all_words(figure)
    for number, (stage, shares) in enumerate(maps, 1):
        spec = last_blocks(config)[stage]
        assert f"stage {number}" in text and "keys " + " × ".join(map(str, shares.shape)) in text
        assert f"max {shares.max() * spec.tokens_kv:.1f}× uniform" in text
    assert "a clip that moves left" in text and "frame 8" in text


def test_attention_figure_repeats_a_map_over_the_frames_that_it_covers():
    config, _, clip, maps = micro_attention()
    figure = visualize.attention_figure(clip[0], maps[:1], mv.plan(config))
    over = [axes.images[1] for axes in figure.axes if len(axes.images) == 2]
    assert len(over) == config.frames
    for frame, image in enumerate(over):
        np.testing.assert_array_equal(image.get_array(), maps[0][1][frame // 2])
        assert image.norm.vmin == 0 and image.norm.vmax == maps[0][1].max()


@pytest.mark.parametrize(
    "frames, size, channels", [(32, (32, 96), 3), (2, 64, 3), (8, (96, 32), 1)]
)
def test_attention_figure_of_other_clips(frames, size, channels):
    config, _, clip, maps = micro_attention(frames=frames, size=size, channels=channels)
    check_layout(visualize.attention_figure(clip[0], maps, mv.plan(config)))


def test_attention_figure_of_images_of_mvit_b_and_of_a_model_without_class_token():
    config = mv.preset("mvit_b_16x4")
    last = last_blocks(config).items()
    maps = [
        (stage, f"stage {stage + 1}", np.ones(spec.thw_kv) / spec.tokens_kv) for stage, spec in last
    ]
    figure = visualize.attention_figure(np.zeros((*config.thw, 3)), maps, mv.plan(config))
    check_layout(figure)
    assert "max 1.0× uniform" in all_words(figure) and "class token" in all_words(figure)
    config, _, clip, maps = micro_attention(cls_token=False)
    assert "mean token" in all_words(visualize.attention_figure(clip[0], maps, mv.plan(config)))


def test_attention_figure_refuses_maps_of_another_model():
    config, _, clip, _ = micro_attention()
    with pytest.raises(ValueError, match="keys' grid .* came 4 × 2 × 3"):
        visualize.attention_figure(clip[0], [(0, np.ones((4, 2, 3)))], mv.plan(config))


# -- training --------------------------------------------------------------------------------------


@pytest.mark.parametrize("x", ["seconds", "step"])
@pytest.mark.parametrize("count", [1, 7, 330])
def test_training_figure(count, x):
    summary = {"test_accuracy": 0.97, "shuffled_accuracy": 0.5}
    figure = visualize.training_figure(list(training_rows(count)), summary, x=x)
    check_layout(figure)
    text = all_words(figure)
    assert "97 % in order, 50 % shuffled: the model uses the order of frames" in text
    assert "guessing: 50 %" in text and "guessing: 0.69" in text and f"{count} step" in text


def test_training_figure_marks_the_tests_and_claims_no_more_than_they_show():
    rows = list(training_rows(30))
    figure = visualize.training_figure(
        rows, {"test_accuracy": 0.52, "shuffled_accuracy": 0.03}, x="step"
    )
    check_layout(figure)
    rings = next(
        line for axes in figure.axes for line in axes.lines if line.get_label() == "unseen clips"
    )
    np.testing.assert_array_equal(rings.get_xdata(), [10, 20, 30])
    figure = visualize.training_figure(rows, {"test_accuracy": 0.55, "shuffled_accuracy": 0.5})
    assert "hardly uses the order" in all_words(figure)
    figure = visualize.training_figure(rows, {"test_accuracy": 0.996, "shuffled_accuracy": 0.5})
    assert "99 % in order" in all_words(figure)  # 100 % is said of all alone


def test_smoothed_keeps_constants_and_means():
    np.testing.assert_allclose(smoothed(np.full(100, 3.0)), 3.0)
    y = np.random.default_rng(0).standard_normal(200)
    assert smoothed(y)[100] == pytest.approx(y[95:106].mean())
    assert smoothed(y)[0] == pytest.approx(y[:6].mean())
    assert len(smoothed(y[:1])) == 1


# -- what they share -------------------------------------------------------------------------------


def test_numbers_are_written_with_their_units():
    assert [counted(n) for n in (7.06e10, 179.56e9, 36_610_672, 94_900, 512)] == [
        "70.6 G",
        "179.6 G",
        "36.6 M",
        "94.9 k",
        "512",
    ]
    assert [rounded(x) for x in (6.057, 9.996, 70.6)] == ["6.06", "10.0", "70.6"]
    assert [fold(x) for x in (63.8, 8.0, 1.857, 2.96)] == ["64", "8", "1.9", "3"]
    assert si_prefix(0.3) == (1, "")


def test_save_writes_a_picture_and_touches_no_global_state(tmp_path):
    import matplotlib
    from matplotlib import pyplot

    before = dict(matplotlib.rcParams)
    figure = visualize.pooling_attention_figure(plan_of("mvit_micro").blocks[1])
    path = visualize.save(figure, tmp_path / "figure.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert dict(matplotlib.rcParams) == before and pyplot.get_fignums() == []


def test_save_makes_its_folder_and_says_where_it_cannot(tmp_path):
    figure = visualize.pooling_attention_figure(plan_of("mvit_micro").blocks[1])
    assert visualize.save(figure, tmp_path / "a" / "b" / "figure.png").is_file()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ValueError, match="cannot be written"):
        visualize.save(figure, tmp_path / "file" / "figure.png")


@pytest.fixture
def confusion():
    """Of classes with names that a terminal or a formula could take amiss, or no font has."""
    names = "白鶴", "a$b$c", "d\udce9j", "esc\x1b[2J", "two\nlines", "\U000f0000"
    confusion = 2 * np.eye(6, dtype=int)
    return visualize.confusion_figure(
        SimpleNamespace(confusion=confusion, classes=names, examples=12, top1=1.0, top5=1.0)
    )


@pytest.fixture
def figure():
    return visualize.pooling_attention_figure(plan_of("mvit_micro").blocks[1])


@pytest.mark.parametrize("ending", ["png", "svg", "pdf", "jpg", "JPEG", "PNG"])
def test_our_pictures_are_known_again(ending, figure, tmp_path):
    assert is_drawn_here(visualize.save(figure, tmp_path / f"a.{ending}"))
    figure.savefig(tmp_path / f"b.{ending}")
    assert not is_drawn_here(tmp_path / f"b.{ending}") and not is_drawn_here(
        tmp_path / "nowhere.png"
    )
    figure.savefig(tmp_path / "x_attention.png")  # as earlier versions wrote them
    assert is_drawn_here(tmp_path / "x_attention.png")


def test_a_picture_is_whole_or_as_it_was(figure, tmp_path, monkeypatch):
    path = visualize.save(figure, tmp_path / "a.png")
    before = path.read_bytes()

    def killed(file, **options):
        file.write(before[:100])
        raise KeyboardInterrupt

    monkeypatch.setattr(figure, "savefig", killed)
    for name in ("a.png", "b.png"):
        with pytest.raises(KeyboardInterrupt):
            visualize.save(figure, tmp_path / name)
    assert list(tmp_path.iterdir()) == [path] and path.read_bytes() == before


def test_a_picture_without_an_ending_is_a_png_and_of_an_unknown_one_nothing(figure, tmp_path):
    assert visualize.save(figure, tmp_path / "a").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="xyz"):
        visualize.save(figure, tmp_path / "a.xyz")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_names_of_classes_are_words_without_a_warning(confusion, tmp_path, recwarn):
    for ending in ("png", "pdf", "svg"):
        visualize.save(confusion, tmp_path / f"a.{ending}")
    assert not [warning for warning in recwarn if issubclass(warning.category, UserWarning)]
    words = [text.get_text() for text in confusion.findobj(Text)]
    assert {"白鶴", r"a\$b\$c", r"d\udce9j", r"esc\x1b[2J", r"two\nlines", r"\U000f0000"} <= set(
        words
    )
    # beside the outlines of letters, and no formula
    assert "a$b$c" in (tmp_path / "a.svg").read_text(encoding="utf-8")
    ElementTree.parse(tmp_path / "a.svg")


def test_every_public_name_says_how_to_read_its_figure():
    for name in visualize.__all__:
        public = getattr(visualize, name)
        assert public.__doc__
        assert not name.endswith("_figure") or "How to read it" in public.__doc__


@pytest.mark.parametrize(
    "name", ["hiera_b_16x224", "rev_mvit_b_16x4", "mvitv2_l_40x3", "vivit_b_fe", "mvit_b_16_image"]
)
def test_the_figures_of_the_family(name):
    p = plan_of(name)
    stages = visualize.stage_figure(p, plan_of("vit_b_8f"))
    check_layout(stages)
    assert ("varies by a factor" if name == "vivit_b_fe" else "stays within a factor") in all_words(
        stages
    )
    for block in [block for block in p.blocks if block.pool_q][:1]:
        figure = visualize.pooling_attention_figure(block)
        check_layout(figure)
        assert ("64 keys in a unit" in all_words(figure)) == (name == "hiera_b_16x224")


def mistakes(rng, count, shape=(4, 12, 16, 3)):
    """Some mistakes, and the evaluation that they are of."""
    frames = rng.integers(0, 255, shape).astype(np.uint8)
    found = [Mistake(f"a/film {k}.mp4", "left", "right", 0.9, frames) for k in range(count)]
    confusion = np.array([[5, count], [0, 5]])
    return found, Evaluation(("left", "right"), confusion, 10 + count, 0.5)


@pytest.mark.parametrize("count", [1, 2, 12])
@pytest.mark.parametrize("shape", [(4, 12, 16, 3), (2, 30, 8, 1), (1, 12, 16, 1)])
def test_each_mistake_is_a_strip_of_its_frames_with_the_answer_over_it(rng, count, shape, tmp_path):
    figure = visualize.mistakes_figure(*mistakes(rng, count, shape))
    assert len(figure.axes) == count * shape[0]
    words = [text.get_text() for text in figure.texts]
    assert words[0] == (f"All {count} mistakes" if count > 1 else "The only mistake")
    found, evaluation = mistakes(rng, count + 1, shape)
    worst = visualize.mistakes_figure(found[:count], evaluation).texts[0].get_text()
    assert worst == f"The {count} worst of {count + 1} mistakes"
    assert words.count("right: 90.0 %") == words.count("is left") == count
    assert [w for w in words if w.startswith("film")] == [f"film {k}.mp4" for k in range(count)]
    boxes = [axes.get_position() for axes in figure.axes]
    assert all(0 <= box.x0 and box.x1 <= 1 and 0 <= box.y0 and box.y1 <= 1 for box in boxes)
    visualize.save(figure, tmp_path / "mistakes.png")


def test_no_mistakes_are_no_figure(rng):
    with pytest.raises(ValueError, match="came none: leave it out"):
        visualize.mistakes_figure(*mistakes(rng, 0))
