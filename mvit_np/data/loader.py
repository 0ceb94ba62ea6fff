"""Batches of a data set, made ahead of training by threads.

What a batch holds follows from the seed and the step alone (see `draws`), so that neither the
number of threads nor of ranks changes a bit of it, and a run goes on at step k as if it had never
stopped.

    slots of a step, for batch 8 and repeats 2:   a b c d a b c d
    neighbours are different examples: they get mixed
    ranks, where there are two:                   0 0 0 0 1 1 1 1

Threads are enough, because decoding and most of NumPy release Python's lock.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, TypeAlias, TypeVar

import numpy as np

from ..backend.blas import begin_thread, one_blas_thread
from ..backend.plain_text import plain
from ..backend.plain_values import is_whole
from ..backend.types import Array, Generator
from .balance import balanced
from .datasets import BrokenExample, Dataset
from .draws import EXAMPLE, MIX, ORDER, rng_for

TRIES = 1000  # broken examples in a row until the fault is not theirs
Item = TypeVar("Item")
Augment: TypeAlias = Callable[[Array, Generator], Array]
Mix: TypeAlias = Callable[[Array, Array, Callable[[int], Generator]], tuple[Array, Array]]


@dataclass(frozen=True, eq=False)
class Loader:
    """Endless epochs of a data set in batches: each example once per epoch, in a new order.

    augment    (clip (T, H, W, C) uint8, rng) -> (T, H', W', C) float32, of one size for all
    mix        (clips, targets, rng_of_pair) -> (clips, targets): what pairs of neighbours do to
               each other, as `mixing.mix`; rng_of_pair(j) is the generator of the pair
               (2 j, 2 j + 1); None: nothing
    balance    an epoch has each class equally often, as `balanced` draws, not each example once
    on_broken  called once with the name of an example that cannot be read and with the reason, in
               the thread that takes the batches; None: a warning

    Those left over when no whole batch can be filled wait for another epoch. Raises ValueError for
    sizes that do not divide or are out of range.
    """

    dataset: Dataset
    _: KW_ONLY
    batch: int  # clips of a step, on all ranks together
    augment: Augment
    seed: int = 0
    workers: int = 2  # threads that decode and augment; 0: whoever takes the batches does it all
    repeats: int = 1  # clips of each chosen example in a batch, each drawn and cropped anew
    shard: tuple[int, int] = (0, 1)  # (rank, ranks): this one's part of each batch
    ahead: int = 2  # batches under way or waiting, at most, while one is in use
    mix: Mix | None = None
    balance: bool = False
    on_broken: Callable[[str, str], None] | None = None
    _reported: set[str] = field(default_factory=set, init=False, repr=False)
    _orders: dict[int, Array] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        _check(self)

    @property
    def steps_per_epoch(self) -> int:
        """Batches until each example was chosen."""
        return len(self.dataset) // self._chosen

    def batches(self, first_step: int, last_step: int) -> Iterator[tuple[Array, Array]]:
        """Those of the steps first_step, ..., last_step - 1.

        -> clips (B, T, H, W, C), targets (B, K), both float32

        B is this rank's part of the batch; a target is 1 at the class, or what `mix` makes of it.
        The next example that can be read replaces a broken one. Threads end when the generator is
        closed, also by an error.

        Raises ValueError where no example can be read and where clips differ in size, else whatever
        `augment` raises.
        """
        steps = range(first_step, last_step)
        if not self.workers:
            for step in steps:
                examples = (self._example(step, slot) for slot in self._slots)
                yield self._hand_over(*self._made(step, examples))
            return
        with _threads(self.workers) as (decoding, joining):

            def submit(step):
                clips = deque(decoding.submit(self._example, step, slot) for slot in self._slots)
                return joining.submit(self._made, step, _results(clips))

            for made in run_ahead(submit, steps, self.ahead):
                yield self._hand_over(*made)

    def names_at(self, step: int) -> tuple[str, ...]:
        """The names of this rank's examples in a step, as far as broken ones are known by then."""
        chosen = (self._index(step, slot) for slot in self._slots)
        return tuple(self.dataset.name_of(self._sound(index)) for index in chosen)

    @property
    def _chosen(self) -> int:
        """Different examples in a batch."""
        return self.batch // self.repeats

    @property
    def _slots(self) -> range:
        """This rank's slots of the batch."""
        rank, ranks = self.shard
        return range(self.batch * rank // ranks, self.batch * (rank + 1) // ranks)

    def _index(self, step, slot):
        """The example chosen for a slot of the batch."""
        epoch, batch = divmod(step, self.steps_per_epoch)
        return int(self._order(epoch)[batch * self._chosen + slot % self._chosen])

    def _order(self, epoch):
        """The examples of an epoch in the order in which they are chosen.   -> (N,)"""
        order = self._orders.get(epoch)
        if order is None:
            rng, labels = rng_for(self.seed, ORDER, epoch), self.dataset.labels
            order = balanced(labels, rng) if self.balance else rng.permutation(len(self.dataset))
            for old in [other for other in list(self._orders) if other < epoch - 1]:
                self._orders.pop(old, None)
            self._orders[epoch] = order
        return order

    def _example(self, step, slot):
        """-> augmented clip, its class, [BrokenExample] of those that it replaces"""
        broken, count = [], len(self.dataset)
        for k in range(min(count, TRIES)):
            index = (self._index(step, slot) + k) % count
            rng = rng_for(self.seed, EXAMPLE, step, slot)  # anew: a broken one may have drawn
            try:
                clip = self.dataset.clip(index, rng)
            except BrokenExample as problem:
                broken.append(problem)
                continue
            with one_blas_thread():  # several would round in another way, now and then
                return self.augment(clip, rng), int(self.dataset.labels[index]), broken
        raise ValueError(
            f"training needs examples that can be read; of {count}, {len(broken)} in a row cannot, "
            f"the first as {broken[0].reason}: check where they come from"
        )

    def _made(self, step, examples):
        """-> clips (B, T, H, W, C), targets (B, K), [BrokenExample]"""
        clips, broken = None, []
        targets = np.zeros((len(self._slots), len(self.dataset.classes)), np.float32)
        for slot, (clip, label, skipped) in enumerate(examples):
            if clips is None:
                clips = np.empty((len(targets), *np.shape(clip)), np.float32)
            _check_clip(clip, clips)
            clips[slot], targets[slot, label] = clip, 1
            broken += skipped
        if self.mix:
            first = self._slots[0] // 2

            def rng_of_pair(pair):
                return rng_for(self.seed, MIX, step, first + pair)

            with one_blas_thread():
                clips, targets = self.mix(clips, targets, rng_of_pair)
        return clips, targets, broken

    def _hand_over(self, clips, targets, broken):
        """The batch, once the broken examples met on the way are reported."""
        for problem in broken:
            if problem.name not in self._reported:
                self._reported.add(problem.name)
                (self.on_broken or _warn)(problem.name, problem.reason)
        return clips, targets

    def _sound(self, index):
        """The example itself, or the next that is not known to be broken."""
        after = ((index + k) % len(self.dataset) for k in range(len(self.dataset)))
        return next((i for i in after if self.dataset.name_of(i) not in self._reported), index)


def run_ahead(submit: Callable[[Item], Future], items: Iterable[Item], ahead: int) -> Iterator[Any]:
    """The results of `submit(item)`, a future, in order; `ahead` further ones are under way."""
    waiting: deque[Future] = deque()
    for item in items:
        waiting.append(submit(item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    yield from _results(waiting)


def _results(futures):
    """Their results in order; none is kept."""
    while futures:
        yield futures.popleft().result()


@contextmanager
def _threads(workers):
    """(threads that make clips, a thread that makes batches), ended after the block."""
    counts = {"clips": workers, "batch": 1}
    pools = [ThreadPoolExecutor(n, f"mvit-np {of}", begin_thread) for of, n in counts.items()]
    try:
        yield pools
    finally:
        for pool in pools:
            pool.shutdown(cancel_futures=True)


def _warn(name, reason):
    warnings.warn(plain(f"{name} is left out: {reason}"), stacklevel=4)


def _check_clip(clip, clips):
    if np.shape(clip) != clips.shape[1:]:
        came = f"came {np.shape(clip)} after {clips.shape[1:]}"
        raise ValueError(f"the clips of a batch have one size; {came}: let augment crop to one")
    if clip.dtype != np.float32:
        remedy = "end it with a normalisation to float32"
        raise TypeError(f"augment gives float32; came {clip.dtype}: {remedy}")


def _check(loader):
    """Raise ValueError where the sizes do not fit each other."""
    rank, ranks = loader.shard
    least = {"batch": 1, "seed": 0, "workers": 0, "repeats": 1, "ahead": 1}
    for name, limit in least.items():
        value = getattr(loader, name)
        if not is_whole(value, limit):
            rule = f"{name} is a whole number of at least {limit}"
            raise ValueError(f"{rule}; came {value!r}: give another")
    if not 0 <= rank < ranks:
        rule = "shard is (rank, ranks) with rank from 0 to ranks - 1"
        raise ValueError(f"{rule}; came {loader.shard}: number ranks from 0")
    if loader.batch % ranks or loader.batch % loader.repeats:
        raise ValueError(
            f"a batch is shared out evenly; came {loader.batch} clips for {ranks} ranks and "
            f"{loader.repeats} repeats: take a batch that both divide"
        )
    if loader.mix and loader.batch // ranks % 2:
        came = f"a rank has {loader.batch // ranks} clips"
        raise ValueError(f"neighbours are mixed in pairs; {came}: take an even number")
    if loader._chosen > len(loader.dataset):
        rule = f"a batch has {loader._chosen} different examples"
        raise ValueError(f"{rule}, the data set {len(loader.dataset)}: take a smaller batch")
