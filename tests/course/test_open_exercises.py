"""The exercises of chapters 00, 07 and 08 and the investigations, held against other sources."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

import mvit_np as mv
from mvit_np import course
from mvit_np.studies.ablations import findings
from mvit_np.studies.ablations.table import EXPERIMENTS
from mvit_np.train import adamw, adamw_state, warmup_cosine

RESULTS = Path(__file__).parents[2] / "docs" / "experiments"


def solution(name):
    return course.exercise(name).solution


def results(name):
    return json.loads((RESULTS / f"{name}.json").read_text())


# -- against other sources -------------------------------------------------------------------------


def test_rates_are_those_of_the_package():
    found = solution("08.rates")(40, 6, 0.003)
    expected = [warmup_cosine(step, 40, 0.003, warmup=6) for step in range(40)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_steps_of_adamw_are_those_of_the_package():
    rng = np.random.default_rng(1)
    p = rng.standard_normal((3, 4))
    params, m, v = {"w": p}, np.zeros_like(p), np.zeros_like(p)
    state = adamw_state(params)
    for t in range(1, 5):
        g = rng.standard_normal(p.shape)
        params, state = adamw(params, {"w": g}, state, 0.02, weight_decay=0.1)
        p, m, v = solution("08.adamw_step")(p, g, m, v, t, 0.02, 0.1)
        np.testing.assert_allclose(p, params["w"], rtol=1e-12)


def test_the_gradient_of_the_loss_is_that_of_the_package():
    rng = np.random.default_rng(2)
    z, labels = rng.standard_normal((5, 4)), rng.integers(0, 4, 5)
    _, expected = mv.value_and_grad(mv.cross_entropy)(z, labels)
    found = solution("08.cross_entropy_gradient")(z, np.eye(4)[labels])
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("name", ["pooling", "positions", "kv_stride"])
def test_what_counts_is_what_the_command_says(name):
    known = results(name)
    for _, high, low, _ in findings.findings(EXPERIMENTS[name], known):
        found = solution("08.own_ablation")(known, high.name, low.name)
        expected = high.mean, low.mean, high.mean - low.mean, findings.limit(high, low)
        np.testing.assert_allclose(found, 100 * np.array(expected), rtol=1e-9)


def test_the_finding_of_the_ablation_is_what_the_page_holds():
    found = solution("08.own_ablation")(results("pooling"), "convolution", "max").round(1)
    shown = "convolution 82.6, max 71.9, a difference of 10.7 where 1.0 counts"
    assert shown in course.exercise("08.own_ablation").finding
    assert found.tolist() == [82.6, 71.9, 10.7, 1.0]


def test_results_of_the_reader_s_own_are_tried_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "high=none" not in str(course.check("08.own_ablation", solution("08.own_ablation")))
    (tmp_path / "mvit_experiment" / "positions").mkdir(parents=True)
    target = tmp_path / "mvit_experiment" / "positions" / "results.json"
    shutil.copy(RESULTS / "positions.json", target)
    said = course.check("08.own_ablation", solution("08.own_ablation"))
    assert said and "high=none, low=space only" in str(said)
    for broken in ("", "[]", '{"runs": [1]}'):
        target.write_text(broken)
        assert course.check("08.own_ablation", solution("08.own_ablation"))


def test_probabilities_of_a_coin_are_scipy_s():
    expected = scipy.stats.binom.sf(np.array([55, 559]), [100, 1000], 0.5)
    found = [solution("08.coin_flips")((56,), 100)[0], solution("08.coin_flips")((560,), 1000)[0]]
    np.testing.assert_allclose(found, expected, atol=0.01)
    assert "13.6 %" in course.exercise("08.coin_flips").finding
    assert expected.round(6).tolist() == [0.135627, 0.000083]


@pytest.mark.parametrize("name", ["mvit_micro", "mvit_b_16x4", "vit_b_8f"])
def test_a_model_s_numbers_and_multiply_adds(name):
    config = mv.preset(name)
    assert solution("07.predict_macs")(config) == mv.costs(config).macs
    assert abs(solution("05.stage_shares")(config).sum() - 1) < 1e-12
    if name == "mvit_micro":
        params = mv.init(config, np.random.default_rng(0))
        assert solution("00.count_numbers")(params) == mv.costs(config).params


def test_findings_about_whole_models_are_what_is_measured():
    mvit, vit = mv.preset("mvit_b_16x4"), mv.preset("vit_b_8f")
    for config, told in ((vit, "1.32, 1.49, 1.65 and 1.79"), (mvit, "1.15, 1.27, 1.42 and 1.59")):
        found = solution("07.growth")(config, (8, 16, 32, 64, 128))
        assert "{:.2f}, {:.2f}, {:.2f} and {:.2f}".format(*found) == told
        assert told in " ".join(course.exercise("07.growth").finding.split())
    for frames, told in ((16, "9, 20, 59 and 13 %"), (64, "10, 25, 54 and 11 %")):
        shares = 100 * solution("05.stage_shares")(replace(mvit, frames=frames))
        assert "{:.0f}, {:.0f}, {:.0f} and {:.0f} %".format(*shares) == told
        assert told in course.exercise("05.stage_shares").finding
    seen = [solution("02.cells_seen")((7, 3, 3, 3)[:n], (4, 2, 2, 2)[:n]) for n in (1, 2, 3, 4)]
    assert seen == [7, 15, 31, 63]
    assert solution("01.times_read")(224, 7, 4, 3) == (1, 2)
    assert solution("01.times_read")(16, 3, 2, 1) == (1, 2)


def test_the_two_designs_that_are_told():
    exercise = course.exercise("07.design_pyramid")
    three = solution("07.design_pyramid")(16, 224, 0, 25088, 384, 10)
    four = exercise.reference(16, 224, 0, 25088, 384, 10)
    told = {(three.depths, 46.8), (four.depths, 15.9)}
    assert {(c.depths, round(mv.costs(c).macs / 1e9, 1)) for c in (three, four)} == told
    for depths, cost in told:
        assert str(depths) in exercise.finding and f"{cost} G" in exercise.finding


def by_neighbours(clips):
    """Right (1) where the next frame is more like this one moved to the right than to the left."""
    now, following = clips[:, :-1], clips[:, 1:]
    right = (now[..., :-1, :] * following[..., 1:, :]).sum(axis=(1, 2, 3, 4))
    left = (now[..., 1:, :] * following[..., :-1, :]).sum(axis=(1, 2, 3, 4))
    return (right > left).astype(int)


def by_mean_picture(clips):
    mean = clips.mean(axis=1)
    return (mean[:, :, :16].sum(axis=(1, 2, 3)) > mean[:, :, 16:].sum(axis=(1, 2, 3))).astype(int)


@pytest.mark.slow
def test_what_the_notebook_tells_of_the_films():
    pytest.importorskip("av", reason="needs the films: pip install '.[video]'")
    task, measure = mv.data.load_motion(), solution("08.accuracy_by_order")
    clips, rng = task.test_clips.astype(np.float64), np.random.default_rng(0)
    orders = [tuple(range(7, -1, -1)), *(tuple(rng.permutation(8)) for _ in range(20))]
    moving = measure(by_neighbours, clips, task.test_labels, orders)
    assert (100 * moving[:2]).round(1).tolist() == [99.6, 0.4]
    assert (100 * moving[2:].min()).round() == 0 and (100 * moving[2:].max()).round() == 94
    still = measure(by_mean_picture, clips, task.test_labels, orders)
    np.testing.assert_allclose(still, 0.5, atol=0.002)
    text = (RESULTS.parents[1] / "notebooks" / "exercises" / "08_training.py").read_text()
    text = " ".join(text.replace("\n# ", " ").split())
    assert "right for 99.6 % of the clips in order and for 0.4 % of the clips backward" in text
    assert "it is right for between 0 and 94 %" in text
