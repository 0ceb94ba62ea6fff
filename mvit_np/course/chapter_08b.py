"""Exercises of notebook 08, second part: what an accuracy says, and an ablation of one's own."""

from __future__ import annotations

import json
import math
import statistics
from functools import partial
from pathlib import Path

import numpy as np

from .checker import INVESTIGATE, SPECIFICATION, Exercise

OWN = "mvit_experiment"  # where `mvit-np experiment NAME` writes, beside the notebook
ORDERED = "in order"


def accuracy_by_order(guess, clips, labels, orders):
    """How often a classifier is right with the frames in order, and in other orders.

    guess: a function, (B, F, H, W) -> (B,), which guesses the class of each clip
    clips: (B, F, H, W)   labels: (B,)   orders: lists of F whole numbers, from 0 to F - 1 each
    ->   (1 + number of orders,), shares: first with the frames as they are, then in each order
    Hint: clips[:, order] puts the frames of every clip in another order. The labels stay.
    """
    shown = [clips, *(clips[:, list(order)] for order in orders)]
    return np.array([(guess(each) == labels).mean() for each in shown])


def _place(clips):
    """The bright column of each frame, (B, F)."""
    return clips.sum(axis=2).argmax(axis=2)


def _by_ends(clips, frames=(0, -1)):
    """Whether the bright column of one frame lies left of that of another."""
    place = _place(clips)
    return (place[:, frames[1]] > place[:, frames[0]]).astype(float)


def _by_set(clips, threshold=0.0):
    """A guess from the clip's mean picture, which knows of no order."""
    mean = clips.mean(axis=(1, 2))
    return (mean[:, ::2].sum(axis=1) - mean[:, 1::2].sum(axis=1) > threshold).astype(float)


def _moving(rng, batch, frames):
    """A bright column that moves right (label 1) or left (0) by one place per frame."""
    labels, clips = rng.integers(0, 2, batch).astype(float), np.zeros((batch, frames, 8, 12))
    for clip, label, start in zip(clips, labels, rng.integers(0, 12 - frames + 1, batch)):
        for t in range(frames):
            clip[t, :, start + (t if label else frames - 1 - t)] = 1
    return clips + rng.random(clips.shape) / 4, labels


def _films(rng):
    for frames, guess in ((8, partial(_by_ends, frames=(2, 5))), (6, _by_set), (7, _by_ends)):
        clips, labels = _moving(rng, 8 if frames == 8 else 12, frames)
        other = tuple(map(int, rng.permutation(frames)))
        forward = tuple(range(frames))
        yield guess, clips, labels, (forward[::-1], other, forward[2:] + forward[:2])


def _shares(guess, clips, labels, orders, *, moved=lambda clips, order: clips[:, list(order)]):
    """Clip by clip."""
    found = []
    for order in (range(clips.shape[1]), *orders):
        told = guess(moved(clips, order))
        found.append(sum(a == b for a, b in zip(told, labels)) / len(labels))
    return np.array(found)


def _one_after_another(guess, clips, labels, orders):
    found = list(_shares(guess, clips, labels, ()))
    for order in orders:
        clips = clips[:, list(order)]
        found.append(_shares(guess, clips, labels, ())[0])
    return np.array(found)


ACCURACY_BY_ORDER = Exercise(
    accuracy_by_order,
    _shares,
    _films,
    (
        ("these are the shares of wrong answers: count the right ones", lambda *a: 1 - _shares(*a)),
        ("the shares are in per cent: give numbers between 0 and 1", lambda *a: 100 * _shares(*a)),
        ("the right answers are counted: divide by the number of clips",
         lambda guess, clips, labels, orders: len(labels) * _shares(guess, clips, labels, orders)),
        ("the clips are put in another order: reorder the frames of each clip, axis 1",
         lambda *a: _shares(*a, moved=lambda clips, order: clips[list(order)])),
        ("the rows of each frame are put in another order: reorder the frames, axis 1",
         lambda *a: _shares(*a, moved=lambda clips, order: clips[:, :, list(order)])),
        ("the share with the frames in order is missing: it is the first",
         lambda *a: _shares(*a)[1:]),
        ("one order is applied on top of the other: apply each to the clips as they are",
         _one_after_another),
    ),
    level=SPECIFICATION,
    single=False,
)  # fmt: skip


def coin_flips(right, clips):
    """How probable it is that a fair coin gets as many answers right, or more.

    right: whole numbers of right answers   clips: how many answers of two classes were given
    ->   (how many numbers,), each to within 0.02
    Hint: flip it, np.random.default_rng(0).integers(0, 2, (20_000, clips)); or count: of all
    2^clips answers, math.comb(clips, k) have k right.
    """
    flips = np.random.default_rng(0).integers(0, 2, (20_000, clips)).sum(axis=1)
    return np.array([(flips >= count).mean() for count in right])


def _tail(right, clips, ends=lambda k, clips: range(k, clips + 1)):
    """By counting."""
    found = [sum(math.comb(clips, k) for k in ends(count, clips)) for count in right]
    return np.array([ways / 2**clips for ways in found])


def _tests(rng):
    yield (10, 12, 14, 16), 20
    yield (50, 56), 100
    clips = int(rng.integers(10, 60))
    yield tuple(int(clips / 2 + more) for more in rng.integers(-3, 5, 3)), clips


COIN_FLIPS = Exercise(
    coin_flips,
    _tail,
    _tests,
    (
        ("exactly as many are counted: count as many, or more",
         lambda r, n: _tail(r, n, lambda k, n: (k,))),
        ("only more are counted: count as many, or more",
         lambda r, n: _tail(r, n, lambda k, n: range(k + 1, n + 1))),
        ("as many or fewer are counted: count as many, or more",
         lambda r, n: _tail(r, n, lambda k, n: range(k + 1))),
        ("fewer are counted: count as many, or more",
         lambda r, n: _tail(r, n, lambda k, n: range(k))),
        ("both sides are counted: a number as far below a half is no success",
         lambda r, n: np.minimum(2 * _tail(r, n), 1)),
        ("the share of right answers is returned: return how probable it is for a coin",
         lambda r, n: np.array(r) / n),
    ),
    tolerance=0.02,
    level=INVESTIGATE,
    finding="a coin gets 56 or more of 100 right in 13.6 % of all tests, and 560 or more of 1,000 "
    "in 0.008 %. So 56 % of a hundred clips says little, and of a thousand much.",
)  # fmt: skip


def own_ablation(results, high, low):
    """Two lines of a table that `mvit-np experiment` made, and whether they differ.

    results: what results.json holds; results["runs"] is a list with, for each run, its "variant",
    its "seed", and its "accuracy", {"in order": a share}   high, low: names of two variants
    ->   (4,), in percentage points: mean of high, mean of low, their difference (high - low), and
    the smallest difference that counts
    A difference counts where it is more than twice the spread, and 1 point at least. The spread is
    the root of the mean of the two variances over seeds, whose sums are divided by n - 1.
    Hint: np.var(shares, ddof=1). Each run is one seed.
    """
    shares = [
        [100 * run["accuracy"]["in order"] for run in results["runs"] if run["variant"] == name]
        for name in (high, low)
    ]
    means = [np.mean(each) for each in shares]
    spread = np.sqrt(np.mean([np.var(each, ddof=1) for each in shares]))
    return np.array([*means, means[0] - means[1], max(2 * spread, 1)])


def _of(results, name):
    return [run["accuracy"][ORDERED] for run in results["runs"] if run["variant"] == name]


def _table(results, high, low, *, ddof=1, times=2.0, least=1.0, spread=None, of=_of, points=100):
    """The same by Python's own statistics, with switches for what can go wrong."""
    a, b = of(results, high), of(results, low)
    variances = [statistics.variance(x) * (len(x) - 1) / (len(x) - ddof) for x in (a, b)]
    found = spread(variances) if spread else math.sqrt(statistics.fmean(variances))
    means = statistics.fmean(a), statistics.fmean(b)
    needed = max(points * times * found, least)
    return np.array([points * means[0], points * means[1], points * (means[0] - means[1]), needed])


def _drawn(rng, spread, seeds):
    """Results like the command's."""
    runs = [
        {"variant": name, "seed": seed, "accuracy": {ORDERED: float(share)}}
        for name, mean in zip(("max", "average", "convolution"), rng.uniform(0.5, 0.8, 3))
        for seed, share in enumerate(mean + spread * rng.uniform(-1, 1, seeds))
    ]
    rng.shuffle(runs)
    return {"experiment": "drawn", "chance": 0.1, "runs": runs}


def _results(rng):
    """Drawn ones, and those of the reader's own that lie beside the notebook."""
    yield _drawn(rng, 0.05, 3), "convolution", "max"
    yield _drawn(rng, 0.002, 3), "max", "average"
    yield _drawn(rng, 0.03, 4), "average", "convolution"
    for path in sorted(Path(OWN).glob("*/results.json")):
        try:
            yield from _two_lines(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # no results of the command


def _two_lines(results):
    """The results with the names of the first two variants that have several seeds, if any."""
    names = [run["variant"] for run in results["runs"]]
    often = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if len(often) > 1 and all(ORDERED in run["accuracy"] for run in results["runs"]):
        yield results, often[0], often[1]


def _all_tests_of(results, name):
    return [run["accuracy"][ORDERED] for run in results["runs"]]


OWN_ABLATION = Exercise(
    own_ablation,
    _table,
    _results,
    (
        ("the numbers are shares: percentage points are asked for",
         lambda *a: np.array([*_table(*a)[:3] / 100, max(_table(*a, least=0)[3] / 100, 0.01)])),
        ("the difference is low - high: high - low is asked for",
         lambda *a: _table(*a) * np.array([1, 1, -1, 1])),
        ("the variance is divided by n: divide by n - 1, ddof=1", lambda *a: _table(*a, ddof=0)),
        ("the spread itself is returned: twice the spread counts", lambda *a: _table(*a, times=1)),
        ("a difference counts from 1 point on: the larger of both is asked for",
         lambda *a: _table(*a, least=0)),
        ("the two spreads are averaged: average their squares, then take the root",
         lambda *a: _table(*a, spread=lambda v: (math.sqrt(v[0]) + math.sqrt(v[1])) / 2)),
        ("the two variances are added: take their mean",
         lambda *a: _table(*a, spread=lambda v: math.sqrt(v[0] + v[1]))),
        ("the root is missing: the spread is the root of a variance",
         lambda *a: _table(*a, spread=lambda v: 100 * (v[0] + v[1]) / 2)),
        ("the runs of all variants are taken: those of high, and those of low",
         lambda *a: _table(*a, of=_all_tests_of)),
    ),
    single=False,
    level=INVESTIGATE,
    finding="`positions` with 60 steps and 3 seeds: separate 25.6, none 21.1, a difference of 4.5 "
    "where 25.3 would count, so nothing can be said. `pooling` with its own 500 steps: convolution "
    "82.6, max 71.9, a difference of 10.7 where 1.0 counts.",
)  # fmt: skip

EXERCISES = (ACCURACY_BY_ORDER, COIN_FLIPS, OWN_ABLATION)
