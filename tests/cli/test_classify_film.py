"""`mvit-np classify` of one film: a timeline, what speaks for a class, and an annotated film."""

import csv
import os
from dataclasses import replace

import numpy as np
import pytest
from films import write_film, write_picture

import mvit_np as mv
from mvit_np.backend.outputs import is_drawn_here
from mvit_np.cli import main
from mvit_np.data import decode, track_of
from mvit_np.data.clips import crop_corners, normalise
from mvit_np.data.video import frames_at
from mvit_np.data.video_write import write_video
from mvit_np.model.relevance import relevance
from mvit_np.train import timeline
from mvit_np.train.classify import media_in

CONFIG = replace(mv.preset("mvit_micro"), channels=3, num_classes=4)
NAMES = ("run", "跑步", "=1+1, quoted", "stand")
TAU = 3.0
SPAN = CONFIG.frames * TAU / 30  # seconds of a clip


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    rng = np.random.default_rng(1)
    drift = np.cumsum(rng.integers(-9, 10, (100, 4, 6, 3)), axis=0) + 128
    frames = np.clip(drift, 0, 255).astype(np.uint8).repeat(10, 1).repeat(10, 2)
    return write_film(tmp_path_factory.mktemp("film") / "a drift.mp4", frames, rate=25)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "model.npz"
    params = mv.init(CONFIG, np.random.default_rng(0))
    params = mv.tree.map(lambda p: p + 0.05 * np.sign(np.sin(1e4 * p)), params)
    params = mv.tree.map(lambda p: p.astype(np.float32), params)
    mv.save(path, params, CONFIG, mv.About(NAMES, TAU, "video"))
    return path


def classify(film, weights, out, *options):
    return main(["classify", str(film), "--weights", str(weights), "--out", str(out), *options])


def test_a_timeline_is_what_the_model_says_of_each_clip(film, weights, tmp_path, capsys):
    assert classify(film, weights, tmp_path, "--timeline", "--views", "1") == 0
    assert "a drift_timeline.csv" in capsys.readouterr().out
    with open(tmp_path / "a drift_timeline.csv", encoding="utf-8", newline="") as file:
        titles, *rows = csv.reader(file)
    assert titles == ["start_s", "end_s", *NAMES] and len(rows) == 9  # 0, 0.4, ... up to 4 - 0.8
    params, config = mv.load(weights)
    for number, row in enumerate(rows):
        start, end, *said = map(float, row)
        assert start == pytest.approx(number * SPAN / 2, abs=1e-3)
        assert end == pytest.approx(min(start + SPAN, 4), abs=1e-3)
        clip = frames_at(film, start + np.arange(8) * TAU / 30, cover=(37, 37))
        assert clip.shape[1:3] == (37, 56)
        ((top, left),) = crop_corners((37, 56), (32, 32), 1)
        clip = clip[:, top : top + 32, left : left + 32]
        scores = mv.forward(params, normalise(clip, "video")[None], config)[0].astype(float)
        right = np.exp(scores) / np.exp(scores).sum()
        np.testing.assert_allclose(said, right, atol=1e-5)
    assert is_drawn_here(tmp_path / "a drift_timeline.png")
    assert classify(film, weights, tmp_path, "--timeline", "--stride", "2") == 0  # over its own
    with open(tmp_path / "a drift_timeline.csv", encoding="utf-8") as file:
        assert len(file.readlines()) == 1 + 2


def test_what_speaks_for_a_class_is_drawn_for_the_answer_or_another(
    film, weights, tmp_path, capsys
):
    assert classify(film, weights, tmp_path, "--explain") == 0
    first = (tmp_path / "a drift_relevance.png").read_bytes()
    assert classify(film, weights, tmp_path, "--explain", "stand") == 0
    assert (tmp_path / "a drift_relevance.png").read_bytes() != first
    capsys.readouterr()
    assert classify(film, weights, tmp_path / "new", "--explain", "stant") == 2
    assert "has no class 'stant': did you mean 'stand'?" in capsys.readouterr().err


def test_an_annotated_film_has_as_many_frames_the_same_speed_and_words(film, weights, tmp_path):
    assert classify(film, weights, tmp_path, "--video") == 0
    path = tmp_path / "a drift_annotated.mp4"
    frames, track = decode(path), track_of(path)
    assert len(frames) == 100 and track.times[-1] == pytest.approx(track_of(film).times[-1])
    assert frames.shape[1:3] == (360 + 3 * 24, 540) and is_drawn_here(path)
    assert (frames[:, 362:] > 200).mean() > 0.7  # dark words on white
    assert media_in(tmp_path) == []
    assert classify(film, weights, tmp_path, "--video") == 0  # our own is written over


def test_files_of_others_are_left_alone_before_anything_is_computed(
    film, weights, tmp_path, capsys
):
    for name in ("timeline.csv", "timeline.png", "relevance.png", "annotated.mp4"):
        (tmp_path / f"a drift_{name}").write_text("mine")
    for option in ("--timeline", "--explain", "--video"):
        assert classify(film, weights, tmp_path, option) == 2
        assert "is there already, and this command did not write it" in capsys.readouterr().err
    assert all(path.read_text() == "mine" for path in tmp_path.iterdir())
    assert len(os.listdir(tmp_path)) == 4


def test_what_has_no_time_or_is_many_files_is_refused(film, weights, tmp_path, capsys, rng):
    pixels = rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)
    picture = write_picture(tmp_path / "a.png", pixels)
    assert classify(picture, weights, tmp_path / "out", "--timeline") == 2
    assert "need a film; " in capsys.readouterr().err
    assert classify(picture, weights, tmp_path / "out", "--explain") == 0
    capsys.readouterr()
    assert classify(film.parent, weights, tmp_path / "out", "--timeline", "--video") == 2
    assert "--video and --timeline are made of one file, and a folder" in capsys.readouterr().err
    assert classify(film, weights, tmp_path / "out", "--stride", "1") == 2
    assert "neither came: add one" in capsys.readouterr().err


def test_a_model_of_two_streams_is_refused_before_anything_is_written(film, tmp_path, capsys):
    config = replace(CONFIG, reversible=True, cls_token=False, expand_in="attention")
    path = tmp_path / "rev.npz"
    mv.save(path, mv.init(config, np.random.default_rng(0)), config, mv.About(NAMES, TAU, "video"))
    for option in ("--explain", "--video"):
        assert classify(film, path, tmp_path / "out", option) == 2
        assert "came a model with two streams" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert classify(film, path, tmp_path / "out", "--timeline") == 0


@pytest.mark.parametrize("duration, count", [(0.1, 1), (0.8, 1), (1.2, 2), (4.0, 9)])
def test_clips_slide_by_half_until_the_last_that_fits(duration, count):
    starts = timeline.window_starts(duration, CONFIG, TAU, None)
    assert len(starts) == count and starts[0] == 0
    assert count == 1 or starts[-1] + SPAN <= duration + 1e-9
    with pytest.raises(ValueError, match="above 0 seconds; came 0"):
        timeline.window_starts(duration, CONFIG, TAU, 0.0)


def test_the_map_at_a_moment_is_the_mean_of_the_clips_that_are_there():
    maps = [np.full((4, 1, 1), k) * np.arange(1, 5)[:, None, None] for k in (1.0, 10.0)]
    edges = np.array([(0.0, 2.0), (1.0, 3.0)])
    for second, expected in ((0.2, 1), (1.6, (4 + 20) / 2), (2.9, 40), (9.0, 40), (-1.0, 1)):
        assert timeline.heat_at(second, edges, maps)[0, 0] == expected


@pytest.mark.parametrize("height, width", [(100, 100), (90, 160), (200, 80)])
def test_the_part_that_is_seen_is_the_central_224_of_256(height, width):
    top, left, bottom, right = timeline.seen_part((height, width), (224, 224))
    side = min(height, width) * 224 / 256
    assert bottom - top == pytest.approx(side, abs=1.5) and right - left == pytest.approx(
        side, abs=2
    )
    assert abs(top - (height - bottom)) <= 2 and abs(left - (width - right)) <= 2


def test_the_relevance_in_a_film_is_that_of_its_clip(film, weights):
    params, config = mv.load(weights)
    window = next(timeline.windows(params, config, film, np.array([0.4]), TAU, "video"))
    found = timeline.relevance_of(params, config, window, 2)
    np.testing.assert_allclose(found, relevance(params, window.clip, config, [2])[0], rtol=1e-6)


def test_a_film_that_cannot_be_written_leaves_nothing(tmp_path):
    def frames():
        yield np.zeros((32, 32, 3), np.uint8)
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        write_video(tmp_path / "a.mp4", frames(), 25)
    with pytest.raises(ValueError, match="at least one frame"):
        write_video(tmp_path / "a.mp4", [], 25)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shape", [(31, 45, 3), (64, 64, 3)])
def test_a_written_film_shows_its_frames(shape, tmp_path):
    levels = np.arange(20, 220, 10, dtype=np.uint8)
    write_video(tmp_path / "a.mp4", (np.full(shape, level) for level in levels), 12.5)
    frames = decode(tmp_path / "a.mp4")
    assert frames.shape[1:3] == (shape[0] // 2 * 2, shape[1] // 2 * 2)
    np.testing.assert_allclose(frames.mean(axis=(1, 2, 3)), levels, atol=3)
    assert track_of(tmp_path / "a.mp4").times[-1] == pytest.approx(19 / 12.5)
