"""A model's accuracy on a data set, from the mean over several views of each example (Sec. D.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..backend import tree as trees
from ..backend.arrays import from_host, to_host
from ..backend.types import Array, Params
from ..data.clips import cover_of, covering_size, crop_corners, cut, normalise
from ..data.datasets import BrokenExample, Dataset
from ..data.loader import run_ahead
from ..data.transforms import resize
from ..model.config import MViTConfig
from ..model.forward import forward
from ..ops.softmax import softmax_array
from .answers import Answers, answers_in
from .distributed import Alone, Mpi

TOP = 5  # of the classes


@dataclass(frozen=True)
class Evaluation:
    """How often a model was right."""

    classes: tuple[str, ...]
    confusion: Array  # (classes, classes) int64: of the row's class, taken for the column's
    among_top: int  # examples whose class was among the TOP most probable
    loss: float  # mean of -log of the class's probability
    answers: Answers | None = None  # about each example; those so far have none

    @property
    def examples(self) -> int:
        """How many examples were looked at."""
        return int(self.confusion.sum())

    @property
    def top1(self) -> float:
        """The share of the examples about which the model was right."""
        return float(np.trace(self.confusion) / self.examples)

    @property
    def top5(self) -> float:
        """The share of the examples whose class was among the five most probable."""
        return self.among_top / self.examples

    @property
    def recall(self) -> Array:
        """(classes,) the share of a class's examples that are right; NaN where it has none."""
        return _shares(np.diag(self.confusion), self.confusion.sum(axis=1))

    @property
    def precision(self) -> Array:
        """(classes,) the share of a class's answers that are right; NaN where there are none."""
        return _shares(np.diag(self.confusion), self.confusion.sum(axis=0))


def _shares(part, whole):
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


@dataclass(frozen=True)
class Views:
    """What a model is shown of an example."""

    size_hw: tuple[int, int]  # of the model's clips
    clips: int = 5  # uniform in time
    crops: int = 1  # uniform along the longer side
    normalise: str | tuple = "video"
    unchanged: bool = False  # the clips are as the model wants them


def evaluate(
    predict: Callable[[Array], Array], dataset: Dataset, views: Views, *,
    batch: int = 32, workers: int = 0, comm: Alone | Mpi | None = None,
    progress: Callable[[Evaluation], Any] | None = None,
    on_broken: Callable[[str, str], Any] | None = None, stop: Callable[[], bool] | None = None,
) -> Evaluation | None:  # fmt: skip
    """The accuracy of `predict` on a `Dataset`.   -> Evaluation

    predict    clips (B, T, H, W, C) float32 -> (B, classes), a host array
    views      the `Views` of each example
    batch      how many views go through the model together, at least
    workers    threads that read examples ahead
    comm       ranks that share the examples; all get the same `Evaluation`
    progress   called with the `Evaluation` so far, of this rank, after each batch
    on_broken  called with (name, reason) for an example that cannot be read; it does not count
    stop       asked after each batch: whether to give up; where one rank does, all get None

    Raises ValueError where no example can be read or a score is not finite.
    """
    comm, classes = comm or Alone(), tuple(dataset.classes)
    # `sums` has two: examples whose class was among the top, and their loss.
    confusion, sums, stopped = np.zeros((len(classes), len(classes))), np.zeros(2), np.zeros(1)
    kept = min(TOP, len(classes))
    found = np.zeros((len(dataset), 1 + 2 * kept))  # as `answers_in` reads it
    share = range(comm.rank, len(dataset), comm.size)
    for examples in gathered(readable(dataset, views, share, workers, on_broken), batch):
        for index, probabilities in _averaged(predict, examples, batch):
            label, order = dataset.labels[index], np.argsort(-probabilities, kind="stable")
            confusion[label, order[0]] += 1
            top, of_truth = order[:kept], max(probabilities[label], np.finfo(float).tiny)
            sums += label in top, -np.log(of_truth)
            found[index] = of_truth, *top, *probabilities[top]
        if progress:
            progress(_evaluation(classes, confusion, sums))
        if stop and stop():
            stopped[:] = 1
            break
    parts = comm.mean([confusion, sums, stopped, found])
    confusion, sums, stopped, found = (part * comm.size for part in parts)
    if stopped.any():
        return None
    if not confusion.any():
        raise ValueError(
            f"a test needs examples that can be read; of {len(dataset)} none can: "
            "check where they come from"
        )
    answers = answers_in(found, dataset.labels)
    return replace(_evaluation(classes, confusion, sums), answers=answers)


def predictor(params: Params, config: MViTConfig) -> Callable[[Array], Array]:
    """clips on the host -> logits on the host, as `evaluate` wants them."""
    like = trees.leaves(params)[0]
    return lambda clips: to_host(forward(params, from_host(clips, like), config))


def views_of(dataset: Dataset, index: int, views: Views) -> Array:
    """What is shown of one example: each crop of each clip.   -> (V, T, H, W, C) float32"""
    clips = crops_of(dataset.views(index, views.clips), views)
    if views.unchanged:
        return np.stack(clips)
    return np.stack([normalise(clip, views.normalise) for clip in clips])


def crops_of(clips: Array, views: Views) -> list[Array]:
    """Each crop of each clip, as one sees it.   (V, T, h, w, C) uint8   ->   [(T, H, W, C), ...]

    Pictures of exactly the model's size go in whole; others are brought to 256/224 of it and cut.
    """
    size = (views.size_hw[0], views.size_hw[1])
    if clips.shape[2:4] == size:
        return list(clips)
    cover = covering_size(*clips.shape[2:4], cover_of(size))  # type: ignore[call-arg]
    if clips.shape[2:4] != cover:
        clips = np.stack([resize(clip, cover) for clip in clips])
    corners = crop_corners(cover, size, views.crops)
    return [cut(clip, corner, size) for clip in clips for corner in corners]


def probabilities(logits: Array) -> Array:
    """(B, classes) on the host -> the same after softmax, float64.

    Raises ValueError where a score is not finite.
    """
    if not np.isfinite(logits).all():
        raise ValueError(
            "the scores of a model are finite; this one gives NaN or infinity: check its weights"
        )
    return softmax_array(logits.astype(np.float64))


def readable(
    dataset: Dataset, views: Views, indices: Sequence[int], workers: int = 0,
    on_broken: Callable[[str, str], Any] | None = None,
) -> Iterator[tuple[int, Array]]:  # fmt: skip
    """(index, what `views_of` shows) of some examples, in order, without those that are broken."""

    def read(index):
        try:
            return index, views_of(dataset, index, views)
        except BrokenExample as problem:
            return index, problem

    for index, clips in _in_threads(read, indices, workers):
        if not isinstance(clips, BrokenExample):
            yield index, clips
        elif on_broken:
            on_broken(clips.name, clips.reason)


def _in_threads(function, items, workers):
    """`map`, in order."""
    if not workers:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        yield from run_ahead(lambda item: pool.submit(function, item), items, 2 * workers)


def gathered(
    examples: Iterable[tuple[int, Array]], batch: int
) -> Iterator[list[tuple[int, Array]]]:
    """Lists of examples that have at least `batch` views together."""
    waiting, count = [], 0
    for index, clips in examples:
        waiting.append((index, clips))
        count += len(clips)
        if count >= batch:
            yield waiting
            waiting, count = [], 0
    if waiting:
        yield waiting


def _averaged(predict, examples, batch):
    """(index, mean probabilities of its views) of some examples."""
    clips = np.concatenate([clips for _, clips in examples])
    batches = [clips[i : i + batch] for i in range(0, len(clips), batch)]
    of_views = np.concatenate([probabilities(predict(views)) for views in batches])
    start = 0
    for index, clips in examples:
        yield index, of_views[start : start + len(clips)].mean(axis=0)
        start += len(clips)


def _evaluation(classes, confusion, sums):
    counts = np.rint(confusion).astype(np.int64)
    among_top, loss = map(float, sums)
    return Evaluation(classes, counts, round(among_top), loss / max(int(counts.sum()), 1))
