"""Experiments: variants differ in what they say and nothing else, tables are those of numbers by
hand, nothing is run twice.
"""

import argparse
import functools
import json
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from figure_layout import all_words, check_layout

from mvit_np import costs, forward, init, plan
from mvit_np.backend import tree
from mvit_np.backend.outputs import LEDGER
from mvit_np.cli import experiment as command
from mvit_np.data import ArrayClips
from mvit_np.model import paper
from mvit_np.studies.ablations import findings, page, run, sets
from mvit_np.studies.ablations.table import EXPERIMENTS, ORDERED, SHUFFLED, experiment
from mvit_np.visualize import experiment_figure

VIT = {"cube_kernel", "cube_stride", "dim", "heads", "depths", "stride_kv"}
VARY = {
    "shuffle": VIT,
    "pooling": {"pool"},
    "kv_stride": {"stride_kv", "adaptive_kv"},
    "positions": {"positions"},
    "skip": {"skip"},
    "stages": {"depths", "unpooled_kv"},
    "two_scale_vit": {"depths", "expand", "stride_kv", "unpooled_kv"},
}


def differing(a, b):
    return {f.name for f in fields(a) if getattr(a, f.name) != getattr(b, f.name)}


# -- the table -------------------------------------------------------------------------------------


@pytest.mark.parametrize("one", EXPERIMENTS.values(), ids=EXPERIMENTS)
def test_variants_differ_in_what_is_said_and_in_nothing_else(one):
    configs = [variant.config for variant in one.variants]
    found = set().union(*(differing(a, b) for a, b in pairwise(configs)))
    assert found == set(one.varies) == VARY[one.name]
    assert len(set(configs)) == len(configs) == len({variant.label for variant in one.variants})
    for config in configs:
        plan(config)


def test_every_ablation_of_the_issue_is_there():
    tables = {one.name: one.table for one in EXPERIMENTS.values()}
    assert tables == {
        "shuffle": "Table 9",
        "pooling": "Table 15",
        "kv_stride": "Table 14",
        "positions": "Table 11",
        "skip": "Table A.1",
        "stages": "Table 13",
        "two_scale_vit": "Table 10",
    }


@pytest.mark.parametrize("name", ["positions", "pooling", "stages", "kv_stride", "two_scale_vit"])
def test_the_papers_accuracies_are_those_of_its_tables(name):
    one = experiment(name)
    printed = {row.top1 for table in paper.TABLES if table.name == one.table for row in table.rows}
    assert {number for variant in one.variants for number in variant.paper} <= printed


@pytest.mark.parametrize("one", EXPERIMENTS.values(), ids=EXPERIMENTS)
def test_findings_compare_lines_that_there_are_and_say_the_papers_numbers(one):
    numbers = {
        findings.name_of(v, test): number
        for v in one.variants
        for test, number in zip(one.tests, v.paper)
    }
    for finding in one.findings:
        high, low = numbers[finding.high], numbers[finding.low]
        assert str(high) in finding.paper and str(low) in finding.paper
        assert abs(high - low) <= 0.4 if finding.alike else high > low


def test_split_stages_have_as_many_blocks_and_leave_the_last_stage_unpooled():
    for variant in experiment("stages").variants:
        config = variant.config
        assert sum(config.depths) == 8
        assert [b.index for b in plan(config).blocks if b.index in config.unpooled_kv] == [
            b.index for b in plan(config).blocks if b.stage == 3
        ]


def test_strides_of_keys_and_values_are_the_papers_for_half_the_grid():
    grids = {
        variant.label: [b.thw_kv for b in plan(variant.config).blocks]
        for variant in experiment("kv_stride").variants
    }
    # A stage's first block meets the larger grid of the stage before; the last stage is not pooled.
    assert grids["1x4x4, adaptive"] == [(4, 2, 2), (4, 4, 4), (4, 2, 2), (4, 4, 4)]
    assert grids["2x4x4, adaptive"] == [(2, 2, 2), (2, 4, 4), (2, 2, 2), (4, 4, 4)]
    assert grids["2x2x2, adaptive"] == [(2, 4, 4), (2, 8, 8), (2, 4, 4), (4, 4, 4)]
    assert grids["2x2x2, fixed"] == [(2, 4, 4), (2, 4, 4), (2, 2, 2), (4, 4, 4)]
    assert grids["none"] == [(4, 8, 8), (4, 8, 8), (4, 4, 4), (4, 4, 4)]


def test_an_unknown_experiment_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'pooling'"):
        experiment("poolings")


# -- numbers by hand -------------------------------------------------------------------------------


def line(name, *shares, macs=1_500_000, paper=None):
    return findings.Line(name, shares, 90_000, macs, 12.0, paper)


def by_hand(
    name="pooling", accuracies=((0.5, 0.52, 0.54), (0.4, 0.41, 0.42), (0.53, 0.51, 0.52)), steps=7
):
    """Results as they would be on disk."""
    one = experiment(name)
    runs = [
        {
            "variant": variant.label,
            "seed": seed,
            "params": 1000,
            "macs": 2_000_000,
            "accuracy": {test: share - 0.3 * (test == SHUFFLED) for test in one.tests},
            "loss": 1.0,
            "seconds": 10.0 + seed,
            "seconds_of_tests": 1.0,
        }
        for variant, shares in zip(one.variants, accuracies)
        for seed, share in enumerate(shares)
    ]
    return json.loads(json.dumps({**run.begun(one, steps), "runs": runs}))


def test_mean_and_spread_are_those_over_seeds():
    found = findings.lines(experiment("pooling"), by_hand())
    assert [one.name for one in found] == ["max", "average", "convolution"]
    assert [one.mean for one in found] == pytest.approx([0.52, 0.41, 0.52])
    # sqrt((0.02^2 + 0 + 0.02^2) / 2)
    assert [one.spread for one in found] == pytest.approx([0.02, 0.01, 0.01])
    assert [one.paper for one in found] == [77.2, 75.4, 78.3] and found[0].seconds == pytest.approx(
        11
    )
    assert line("one", 0.5).spread is None


def test_a_test_more_is_a_line_more():
    found = findings.lines(experiment("shuffle"), by_hand("shuffle", ((0.9, 0.92), (0.5, 0.5))))
    assert [one.name for one in found] == ["MViT", "MViT, shuffled", "ViT", "ViT, shuffled"]
    assert [one.mean for one in found] == pytest.approx([0.91, 0.61, 0.5, 0.2])
    assert [one.paper for one in found] == [77.2, 70.1, 68.5, 68.4]


@pytest.mark.parametrize(
    "high, low, alike, words",
    [
        ((0.5, 0.52, 0.54), (0.4, 0.41, 0.42), False, findings.SHOWS),  # 11 points, 2 x 1.58
        ((0.4, 0.41, 0.42), (0.5, 0.52, 0.54), False, findings.OPPOSITE),
        ((0.50, 0.52, 0.54), (0.48, 0.50, 0.52), False, findings.UNCLEAR),  # 2 points, 2 x 2
        ((0.504, 0.504), (0.5, 0.5), False, findings.UNCLEAR),  # no spread, but less than a point
        ((0.50, 0.51, 0.52), (0.49, 0.50, 0.51), True, findings.ALIKE),
        ((0.50, 0.52, 0.54), (0.48, 0.50, 0.52), True, findings.SEEDS_DIFFER),
        ((0.5, 0.52, 0.54), (0.4, 0.41, 0.42), True, findings.DIFFERENT),
        ((0.29, 0.28), (0.25, 0.25), True, findings.NOTHING_LEARNED),
        ((0.999, 0.998), (0.992, 0.993), False, findings.TOO_EASY),
        ((0.9,), (0.5,), False, findings.ONE_SEED),
    ],
)
def test_a_difference_counts_against_the_spread_over_seeds(high, low, alike, words):
    assert findings.verdict(line("high", *high), line("low", *low), 0.25, alike) == words


def test_the_chance_that_equal_models_pass_for_different_is_as_the_page_says(rng):
    shares = 0.5 + 0.01 * rng.standard_normal((20_000, 2, 3))
    difference = np.abs(shares.mean(-1)[:, 0] - shares.mean(-1)[:, 1])
    passed = (difference > findings.SPREADS * np.sqrt(shares.var(-1, ddof=1).mean(-1))).mean()
    assert 1 / 15 < passed < 1 / 13 and "one time in 14" in findings.RULE


def test_the_page_holds_the_numbers_and_a_verdict_for_each_finding():
    text = page.page({"pooling": by_hand()})
    assert "| max | 52.0 | 2.0 | 50.0 52.0 54.0 | 2.00 | 1,000 | 11 | 77.2 |" in text
    assert (
        "| Table 15 | the maximum is better than the average, 77.2 against 75.4 | max: 52.0; "
        "average: 41.0 | **shows** |" in text
    )
    assert "convolution: 52.0; max: 52.0 | **does not show** |" in text
    assert (
        "7 steps on 'fashion', 3 seeds" in text and "- 9 runs, 2 minutes with their tests" in text
    )
    assert f"({page.FIGURE.format(name='pooling')})" in text
    for block in (block.splitlines() for block in text.split("\n\n") if block.startswith("|")):
        assert len({row.count("|") for row in block}) == 1 and len(block) > 2
    prose = [row for row in text.splitlines() if not row.startswith(("|", "!", "#"))]
    assert max(map(len, prose)) <= 120


def test_the_committed_page_is_up_to_date():
    docs = Path(__file__).parents[2] / "docs"
    found = {
        name: json.loads(file.read_text())
        for name in EXPERIMENTS
        if (file := docs / "experiments" / f"{name}.json").exists()
    }
    if not found:
        pytest.skip("no results are kept")
    assert (docs / "experiments.md").read_text() == page.page(found), (
        "run mvit-np experiment --page docs/experiments.md"
    )
    for name, results in found.items():
        run.begun(experiment(name), results["steps"], results)


# -- the figure ------------------------------------------------------------------------------------


def test_the_figure_shows_every_seed_the_means_and_the_costs():
    names = ["max", "average", "2x4x4, adaptive", "2 scales, Q pooled", "not normalised"]
    found = [
        line(name, 0.5 + 0.05 * i, 0.52 + 0.05 * i, 0.51, macs=(i + 1) * 1_500_000, paper=70 + i)
        for i, name in enumerate(names)
    ]
    figure = experiment_figure(
        found, "Which positions does the model need?", "Table 99 at small scale", 0.5
    )
    check_layout(figure)
    text = all_words(figure)
    for one in found:
        assert (
            one.name in text
            and f"{100 * one.mean:.1f} ± {100 * one.spread:.1f}" in text
            and f"{one.paper:.1f}" in text
        )
    assert "7.50" in text and "dashed: by chance" in text and "M multiply-adds per clip" in text
    dots = [drawn.get_xdata() for drawn in figure.axes[0].lines if drawn.get_marker() == "o"]
    assert np.concatenate(dots) == pytest.approx(
        [100 * share for one in found for share in one.accuracies]
    )


def test_a_figure_of_one_seed_and_without_the_papers_numbers():
    figure = experiment_figure(
        [line("MViT", 0.99), line("MViT, shuffled", 0.48)], "Does it?", "", 0.25
    )
    check_layout(figure)
    assert "±" not in all_words(figure).replace(
        "mean ± spread", ""
    ) and "by chance" not in all_words(figure)


# -- runs ------------------------------------------------------------------------------------------


def tiny_sets(name, **sizes):
    """Noise with a label in its brightness: a few clips of the shape of the set."""
    rng, classes = np.random.default_rng(0), sets.classes_of(name)
    shape = {"fashion": (1, 32, 32, 1), "camera": (8, 32, 32, 3)}.get(name, (8, 32, 32, 1))

    def part(count):
        clips = rng.integers(0, 255, (count, *shape), dtype=np.uint8)
        return ArrayClips(clips, np.arange(count) % len(classes), classes, direction_sensitive=True)

    return part(8), part(6)


@functools.cache
def tiny(name):
    """An experiment of few clips."""
    one = experiment(name)
    return replace(one, recipe=replace(one.recipe, batch=4), steps=2)


def trained(one, results=None, seeds=1):
    return list(run.run(one, results or run.begun(one), seeds, sets=tiny_sets(one.data)))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_runs_and_its_costs_are_those_of_costs(name):
    one = tiny(name)
    results = trained(one)[-1]
    assert [made["variant"] for made in results["runs"]] == [
        variant.label for variant in one.variants
    ]
    for made, variant in zip(results["runs"], one.variants):
        config = run.fitted(variant.config, tiny_sets(one.data)[0])
        assert (made["macs"], made["params"]) == (costs(config).macs, costs(config).params)
        assert made["params"] == sum(
            leaf.size for leaf in tree.leaves(init(config, np.random.default_rng(0)))
        )
        assert list(made["accuracy"]) == list(one.tests) and np.isfinite(made["loss"])
        assert all(0 <= share <= 1 for share in made["accuracy"].values())


def same(runs):
    """What does not depend on the clock."""
    return [
        {name: value for name, value in made.items() if not name.startswith("seconds")}
        for made in runs
    ]


def test_what_was_cut_short_goes_on_as_if_nothing_had_happened():
    one = tiny("positions")
    whole = trained(one, seeds=2)
    assert len(whole) == 8 and [len(results["runs"]) for results in whole] == list(range(1, 9))
    stopped = json.loads(json.dumps(whole[2]))
    assert [(variant.label, seed) for variant, seed in run.left(one, stopped, 2)][:2] == [
        ("separate", 0),
        ("none", 1),
    ]
    rest = trained(one, stopped, seeds=2)
    assert len(rest) == 5 and same(rest[-1]["runs"]) == same(whole[-1]["runs"])
    assert trained(one, rest[-1], seeds=2) == []
    assert len(stopped["runs"]) == 3


def test_seeds_differ_and_every_variant_sees_the_same_clips(monkeypatch):
    one, seen = tiny("skip"), []

    def noting(params, clip, config, **options):
        if options.get("rng") is not None:
            seen.append(np.asarray(clip).copy())
        return forward(params, clip, config, **options)

    monkeypatch.setattr("mvit_np.train.run.task.forward", noting)
    trained(one, seeds=2)
    first, other = seen[:2], seen[6:8]  # of the first variant under each seed
    for k in (2, 4):
        assert all(np.array_equal(a, b) for a, b in zip(first, seen[k : k + 2]))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other))


def test_steps_are_told_one_by_one():
    told = []
    one = tiny("skip")
    list(run.run(one, run.begun(one), 1, sets=tiny_sets(one.data), on_step=told.append))
    assert [(at.variant, at.step) for at in told[:3]] == [
        ("normalised", 1),
        ("normalised", 2),
        ("not normalised", 1),
    ]
    assert all(np.isfinite(at.loss) and 0 <= at.accuracy <= 1 for at in told)


def test_shuffled_tests_hold_the_same_frames_in_another_order():
    tests = tiny_sets("street")[1]
    shown = run._shown(tests, SHUFFLED)
    assert run._shown(tests, ORDERED) is tests and np.array_equal(shown.labels, tests.labels)
    assert not np.array_equal(shown.clips, tests.clips)
    for ours, theirs in zip(shown.clips, tests.clips):
        assert sorted(frame.tobytes() for frame in ours) == sorted(
            frame.tobytes() for frame in theirs
        )


def test_results_of_another_making_are_refused():
    one = tiny("skip")
    found = run.begun(one)
    assert run.begun(one, found=found) is found
    with pytest.raises(ValueError, match="another 'steps'"):
        run.begun(one, 3, found)
    with pytest.raises(ValueError, match="another 'variants'"):
        changed = replace(one.variants[0], config=replace(one.variants[0].config, heads=2))
        run.begun(replace(one, variants=(changed, *one.variants[1:])), found=found)


# -- data ------------------------------------------------------------------------------------------


def test_half_of_the_answer_is_in_a_frame(monkeypatch):
    """Streets keep their four ways together; digits keep those that go sideways, under the labels
    of theirs.
    """
    # as `four_ways` has them, all going left
    street = [(i, way in (1, 2)) for way in range(4) for i in range(12)]

    def builtin(name, **sizes):
        if name == "street":
            clips, labels = (
                np.array([i for i, _ in street], np.uint8),
                [int(flipped) for _, flipped in street],
            )
            classes = ("left", "right")
        else:
            clips, labels = np.full(16, 200, np.uint8), np.tile(np.arange(8), 2)
            classes = (
                "right",
                "down right",
                "down",
                "down left",
                "left",
                "up left",
                "up",
                "up right",
            )
        return [ArrayClips(clips[:, None, None, None, None], np.array(labels), classes)] * 2

    monkeypatch.setattr(sets, "builtin", builtin)
    train, tests = sets.street_and_digits()
    assert np.bincount(train.labels).tolist() == [12, 12, 2, 2] and np.bincount(
        tests.labels
    ).tolist() == [4, 4, 2, 2]
    films = train.clips[:24, 0, 0, 0, 0].reshape(4, 6)
    assert (films == np.arange(0, 12, 2)).all() and (train.clips[24:] == 200).all()
    assert train.labels[24:].tolist() == [3, 2, 3, 2]  # right, left, right, left
    assert train.classes == (
        "street to the left",
        "street to the right",
        "digit to the left",
        "digit to the right",
    )


def test_small_pictures_get_a_black_frame(monkeypatch):
    pictures = ArrayClips(
        np.full((10, 1, 28, 28, 1), 9, np.uint8), np.arange(10), tuple("0123456789")
    )
    monkeypatch.setattr(sets, "builtin", lambda name, **sizes: (pictures, pictures))
    for part in sets.sets_of("fashion"):
        assert part.clips.shape == (10, 1, 32, 32, 1) and (part.clips[:, :, 2:30, 2:30] == 9).all()
        assert part.clips.sum() == pictures.clips.sum() and part.classes == pictures.classes


# -- the command -----------------------------------------------------------------------------------


def call(*words):
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    arguments = parser.parse_args(["experiment", *map(str, words)])
    return arguments.run(arguments)


@pytest.fixture
def small(monkeypatch):
    """Experiments of few clips, and a list of the sets that were made."""
    made = []

    def sets_of(name, **sizes):
        made.append(name)
        return tiny_sets(name)

    monkeypatch.setattr(run, "sets_of", sets_of)
    for name in EXPERIMENTS:
        monkeypatch.setitem(EXPERIMENTS, name, tiny(name))
    return made


def test_the_command_writes_results_a_table_and_a_figure_and_trains_nothing_twice(
    small, tmp_path, capsys
):
    out = tmp_path / "new" / "skip"
    assert call("skip", "--seeds", 2, "--out", out) == 0
    text = capsys.readouterr().out
    assert "Table A.1" in text and "not normalised" in text and "each seed, %" in text
    assert {path.name for path in out.iterdir()} == {
        "results.json",
        "table.md",
        "figure.png",
        LEDGER,
    }
    results = json.loads((out / "results.json").read_text())
    assert (
        len(results["runs"]) == 6
        and results["machine"]["numpy"] == np.__version__
        and small == ["fashion"]
    )
    before = (out / "results.json").read_bytes()
    assert call("skip", "--seeds", 2, "--out", out) == 0
    assert small == ["fashion"] and (out / "results.json").read_bytes() == before
    assert (out / "table.md").read_text().count("\n| ---") == 2


def test_the_page_is_made_of_all_results_that_there_are(small, tmp_path):
    target = tmp_path / "experiments.md"
    assert call("skip", "--seeds", 1, "--page", target) == 0
    assert call("shuffle", "--seeds", 1, "--page", target) == 0
    text = target.read_text()
    assert (
        "Table A.1" in text
        and "Table 9" in text
        and "Table 15" not in text
        and findings.ONE_SEED in text
    )
    assert {path.name for path in (tmp_path / "experiments").iterdir()} == {
        "skip.json",
        "shuffle.json",
    }
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        "experiment_skip.png",
        "experiment_shuffle.png",
    }
    target.unlink()
    assert call("skip", "--seeds", 1, "--page", target) == 0 and target.read_text() == text
    assert small == ["fashion", sets.BOTH]


def test_the_command_says_what_is_wrong(small, tmp_path):
    with pytest.raises(ValueError, match="name one"):
        call()
    with pytest.raises(ValueError, match="no experiment"):
        call("depth")
    with pytest.raises(ValueError, match="give one of them"):
        call("--page", tmp_path / "a.md", "--out", tmp_path)
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(ValueError, match="results.json: these are no results"):
        call("skip", "--out", tmp_path)


@pytest.mark.parametrize("name", ["results.json", "table.md", "figure.png"])
def test_a_folder_with_files_of_others_is_refused_before_a_run(name, small, tmp_path):
    (tmp_path / name).write_text("mine")
    with pytest.raises(
        ValueError, match="these are no results|which `mvit-np experiment` did not write there"
    ):
        call("skip", "--seeds", 1, "--out", tmp_path)
    assert (
        small == []
        and [path.name for path in tmp_path.iterdir()] == [name]
        and (tmp_path / name).read_text() == "mine"
    )


def test_results_of_an_earlier_version_are_gone_on_with(small, tmp_path):
    assert call("skip", "--seeds", 1, "--out", tmp_path) == 0
    (tmp_path / LEDGER).unlink()
    assert call("skip", "--seeds", 2, "--out", tmp_path) == 0
    assert len(json.loads((tmp_path / "results.json").read_text())["runs"]) == 6


@pytest.mark.parametrize(
    "name", ["a.md", "a/skip.json", "a/pooling.json", "figures/experiment_skip.png"]
)
def test_a_page_is_written_over_no_file_of_others(name, small, tmp_path):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match="these are no results|is there already"):
        call("skip", "--seeds", 1, "--page", tmp_path / "a.md")
    assert (
        small == []
        and sorted(tmp_path.rglob("*")) == before
        and (tmp_path / name).read_text() == "mine"
    )


def test_a_page_that_is_its_own_folder_is_refused_before_a_run(small, tmp_path):
    with pytest.raises(
        ValueError, match="such as .*/a.md, with results in the folder .*/a: give its ending too"
    ):
        call("skip", "--page", tmp_path / "a")
    assert small == [] and not list(tmp_path.iterdir())


@pytest.mark.parametrize("changed", [{"runs": [{}]}, {"runs": [1]}, {"machine": ...}])
def test_results_that_lack_something_are_one_sentence(changed, small, tmp_path):
    assert call("skip", "--seeds", 1, "--out", tmp_path) == 0
    results = json.loads((tmp_path / "results.json").read_text()) | changed
    (tmp_path / "results.json").write_text(
        json.dumps({k: v for k, v in results.items() if v is not ...})
    )
    with pytest.raises(ValueError, match="results.json: these results lack numbers"):
        call("skip", "--seeds", 1, "--out", tmp_path)


def test_results_too_deep_to_be_ours_are_one_sentence(small, tmp_path):
    (tmp_path / "results.json").write_text("[" * 10**5)
    with pytest.raises(ValueError, match="these are no results"):
        call("skip", "--seeds", 1, "--out", tmp_path)
