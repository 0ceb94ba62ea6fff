"""What the numbers say: a line for each variant and test, and which differences are no accident."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .table import ORDERED, Experiment, Finding, Variant

SPREADS = 2  # how many times the spread over seeds a difference has to be
LEAST = 0.01  # and how large at least
LEARNED = 0.05  # above chance a line has to be before it says anything
TOP = 0.99  # from here on two lines are too good to be distinguished
ALIKE_BELOW = 0.03  # two lines are alike only where so small a difference would have counted

SHOWS, OPPOSITE, UNCLEAR = "shows", "the opposite shows", "does not show"
ALIKE, DIFFERENT = "shows: no difference is seen", "does not show: there is a difference"
SEEDS_DIFFER = "not clear: seeds differ too much"
NOTHING_LEARNED = "cannot show: neither model has learned"
TOO_EASY = "cannot show: both are near 100 %"
ONE_SEED = "not clear from one seed"

RULE = f"""A difference between two means counts if it is more than {SPREADS} times the spread
and at least {100 * LEAST:.0f} point. The spread is the root of the mean of the two variances
over seeds. With three seeds each, two equal models are taken for different about one time in 14,
so among all comparisons on this page one or two may be wrong. The finding that two models are
equal counts as shown only if a difference of {100 * ALIKE_BELOW:.0f} points would have counted.
If neither model is {100 * LEARNED:.0f} points above chance, or both are above {100 * TOP:.0f} %,
nothing can show."""


@dataclass(frozen=True)
class Line:
    """A variant under one test."""

    name: str
    accuracies: tuple[float, ...]  # one share per seed
    params: int
    macs: int  # of a clip
    seconds: float  # of training, mean
    paper: float | None  # accuracy of its like in the paper, in per cent

    @property
    def mean(self) -> float:
        """The mean accuracy over seeds."""
        return statistics.fmean(self.accuracies)

    @property
    def spread(self) -> float | None:
        """The standard deviation over seeds; None for one seed."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None


def lines(experiment: Experiment, results: Mapping[str, Any]) -> list[Line]:
    """[Line, ...] in the order of the table, of the variants that have been run."""
    found = []
    for variant in experiment.variants:
        runs = [run for run in results["runs"] if run["variant"] == variant.label]
        for test, paper in zip(experiment.tests, variant.paper) if runs else ():
            found.append(_line(name_of(variant, test), test, runs, paper))
    return found


def _line(name, test, runs, paper):
    in_order = sorted(runs, key=lambda run: run["seed"])
    shares = tuple(run["accuracy"][test] for run in in_order)
    seconds = statistics.fmean(run["seconds"] for run in runs)
    return Line(name, shares, runs[0]["params"], runs[0]["macs"], seconds, paper)


def name_of(variant: Variant, test: str) -> str:
    """MViT, or "MViT, shuffled"."""
    return variant.label if test == ORDERED else f"{variant.label}, {test}"


def verdict(high: Line, low: Line, chance: float, alike: bool = False) -> str:
    """Whether a finding shows: one of the words above.

    high, low   the lines that it compares
    chance      the share that guessing gets right
    alike       the finding is that they do not differ
    """
    if high.spread is None or low.spread is None:
        return ONE_SEED
    if max(high.mean, low.mean) < chance + LEARNED:
        return NOTHING_LEARNED
    if min(high.mean, low.mean) > TOP:
        return TOO_EASY
    difference, needed = high.mean - low.mean, limit(high, low)
    if alike and abs(difference) > needed:
        return DIFFERENT
    if alike:
        return ALIKE if needed <= ALIKE_BELOW else SEEDS_DIFFER
    return SHOWS if difference > needed else OPPOSITE if difference < -needed else UNCLEAR


def limit(high: Line, low: Line) -> float:
    """The difference of two lines' means from which on it counts, of several seeds each."""
    spread = math.hypot(high.spread, low.spread) / math.sqrt(2)  # type: ignore[arg-type]
    return max(SPREADS * spread, LEAST)


def findings(
    experiment: Experiment, results: Mapping[str, Any]
) -> list[tuple[Finding, Line, Line, str]]:
    """[(Finding, its high Line, its low one, the verdict), ...], where both have been run."""
    by_name = {line.name: line for line in lines(experiment, results)}
    pairs = [(each, by_name.get(each.high), by_name.get(each.low)) for each in experiment.findings]
    return [
        (finding, high, low, verdict(high, low, results["chance"], finding.alike))
        for finding, high, low in pairs
        if high and low
    ]
