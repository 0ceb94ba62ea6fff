"""A run before its first step, or before the step at which it was stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

from ...backend import tree as trees
from ...backend.arrays import is_array, to_device
from ...backend.types import FilePath
from ..distributed import Alone, Mpi
from ..loop import State
from ..optimizer import under_new_names
from . import examples
from . import task as tasks
from .recipe import Recipe, from_plain
from .run_folder import claim, look_into
from .training import Training, training_of


@dataclass(frozen=True, kw_only=True)
class Job(Training):
    """A run that is ready to go, or to go on: a training and the folder that it is written into."""

    folder: Path
    best: float | None  # accuracy in a test so far
    lock: AbstractContextManager[Any]  # within it this process alone writes into the folder
    begun_in: str  # the folder that the recipe's relative paths start from
    data: Any  # what a snapshot keeps of the examples, where this process writes
    renewed: bool  # whether that, or the recipe, is not what the snapshot that it goes on from has
    finished: Event = field(default_factory=Event)  # set once the model is written

    @property
    def writes(self) -> bool:
        """Whether this process is the one that writes."""
        return self.comm.rank == 0


def prepare(
    recipe: Recipe | None, folder: FilePath, *, resume: bool = False, data_changed: bool = False,
    read: Iterable[FilePath] = (), comm: Alone | Mpi | None = None,
    say: Callable[[str], Any] | None = None,
) -> Job:  # fmt: skip
    """The `Job` of a recipe, begun or with `resume` taken up at its newest snapshot.

    recipe         None: that of the run in `folder`
    data_changed   go on also where the examples are others than the run had so far
    read           files that the recipe is from, which are not written over
    say            called with a sentence about whatever is left out or goes otherwise than one
                   would expect

    Raises ValueError or FileNotFoundError where the folder is another run's or cannot be written,
    the recipe is impossible, or the data have other classes, or without `data_changed` other
    examples, than the run had so far.
    """
    comm, say, found = comm or Alone(), say or (lambda sentence: None), None
    longer = False
    if comm.rank == 0:
        looked = look_into(folder, recipe, resume, read)
        for sentence in looked.said:
            say(sentence)
        longer = looked.longer
        found = asdict(looked.recipe), asdict(looked.resolved), looked.begun_in, looked.state
    plain, plain_resolved, begun_in, saved = comm.broadcast(found)
    recipe, resolved = from_plain(plain), from_plain(plain_resolved)
    _check_machine(recipe, comm)
    task = tasks.task_of(resolved)
    _check_patience(recipe, task)
    record, renewed = None, False
    lock: AbstractContextManager[Any] = nullcontext()
    if comm.rank == 0:
        record, renewed = _noted(task, resolved, saved, folder, data_changed, say)
    state = _taken_up(saved, recipe.device) if saved else None
    training = training_of(resolved, task, comm=comm, say=say, state=state)
    if record:
        lock = claim(folder, recipe, begun_in, task.train.classes, record.table)
    before = saved or {"seconds": 0.0, "best": None}
    own = {"recipe": recipe, "seconds": before["seconds"], "best": before["best"]}
    own |= {"folder": Path(folder), "begun_in": begun_in, "lock": lock}
    own |= {"data": record and record.summary, "renewed": renewed or longer}
    return Job(**vars(training) | own)


def _noted(task, resolved, saved, folder, data_changed, say):
    """(record of the examples, whether they are others than before and meant to be)."""
    for sentence in tasks.notes_of(task.train, task.tests):
        say(sentence)
    record = examples.record_of(task, resolved)
    sentence = examples.check(record, saved, folder, data_changed) if saved else ""
    if sentence:
        say(sentence)
    return record, bool(sentence)


def _check_machine(recipe, comm):
    """Before anything that takes time, and before anything is written."""
    to_device([], recipe.device)
    if recipe.graph and comm.size > 1:
        raise ValueError(
            f"a graph holds the step of one process, came {comm.size} processes: give --graph false"
        )
    if recipe.probe and comm.size > 1:
        raise ValueError(
            f"a probe is trained by one process, came {comm.size}: start it without mpiexec"
        )


def _check_patience(recipe, task):
    if recipe.patience and task.tests is None:
        raise ValueError(
            f"a run ends early by its tests; came patience {recipe.patience} and no tests: give "
            "--tests, or leave --patience out"
        )


def _taken_up(saved, device):
    """The state in a snapshot, in new arrays: an optimiser works in place."""

    def copied(leaf):
        return to_device(np.array(leaf), device) if is_array(leaf) else leaf

    params, average = (trees.map(copied, saved[name]) for name in ("params", "average"))
    remembered = trees.map(copied, under_new_names(saved["optimizer"]))
    return State(saved["step"], params, remembered, average)
