"""What a model said of each example of a test: the table of its answers, and its worst mistakes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..backend.types import Array
from ..data.datasets import BrokenExample, Dataset

SHOWN = 4  # frames of a mistake


@dataclass(frozen=True)
class Answers:
    """The answers about E examples, in the order of the data; K classes of each are kept."""

    index: Array  # (E,) int64, of the example
    truth: Array  # (E,) int64, its class
    top: Array  # (E, K) int64, the most probable classes, the most probable first
    probability: Array  # (E, K) float64, theirs
    of_truth: Array  # (E,) float64, the probability of the example's class

    @property
    def wrong(self) -> Array:
        """(E,) bool: whether another class than the example's is the most probable one."""
        return self.top[:, 0] != self.truth


class Mistake(NamedTuple):
    """An example that a model took for something else."""

    name: str
    truth: str
    answer: str
    probability: float  # of the answer
    frames: Array  # (F, h, w, C) uint8, up to SHOWN of one clip


def answers_in(found: Array, labels: Array) -> Answers:
    """The `Answers` in a row per example.

    found    (N, 1 + 2 K) float64: the probability of the example's class (of one that could not be
             read, 0), K classes, their probabilities
    labels   (N,) the examples' classes
    """
    kept = (found.shape[1] - 1) // 2
    index = np.flatnonzero(found[:, 0])
    rows = found[index]
    top = np.rint(rows[:, 1 : 1 + kept]).astype(np.int64)
    return Answers(index, np.asarray(labels)[index], top, rows[:, 1 + kept :], rows[:, 0])


def prediction_rows(
    answers: Answers, dataset: Dataset, classes: tuple[str, ...]
) -> Iterator[list[str]]:
    """The rows of predictions.csv, the titles first.

    path, truth, answer, its probability, that of the truth, and the next most probable classes
    """
    ranks = range(2, answers.top.shape[1] + 1)
    further = [f"{what}_{rank}" for rank in ranks for what in ("answer", "probability")]
    yield ["path", "truth", "answer", "probability", "probability_of_truth", *further]
    rows = zip(*(answers.index, answers.truth, answers.of_truth, answers.top, answers.probability))
    for index, truth, of_truth, top, probability in rows:
        pairs = [(classes[k], f"{p:.6f}") for k, p in zip(top, probability)]
        others = [cell for pair in pairs[1:] for cell in pair]
        name = dataset.name_of(int(index))
        yield [name, classes[truth], *pairs[0], f"{of_truth:.6f}", *others]


def worst_mistakes(
    answers: Answers, dataset: Dataset, classes: tuple[str, ...], count: int = 12
) -> list[Mistake]:
    """The wrong answers of the highest probability, the highest first, with frames to look at."""
    wrong = np.flatnonzero(answers.wrong)
    wrong = wrong[np.argsort(-answers.probability[wrong, 0], kind="stable")]
    found = []
    for row in wrong[:count]:
        index, answer = int(answers.index[row]), classes[answers.top[row, 0]]
        try:
            clip = dataset.views(index, 1)[0]
        except BrokenExample:  # it could be read a moment ago
            continue
        shown = np.linspace(0, len(clip) - 1, min(SHOWN, len(clip))).round().astype(int)
        probability = float(answers.probability[row, 0])
        name, truth = dataset.name_of(index), classes[answers.truth[row]]
        found.append(Mistake(name, truth, answer, probability, clip[shown]))
    return found
