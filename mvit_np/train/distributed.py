"""Several processes, one model: the mean of the gradients of their shares is the whole batch's.

    mpiexec -n 4 mvit-np train ...              # after pip install '.[mpi]' in the clone

Training needs three things of the other ranks. It calls the same functions where there are no
other ranks:

    comm = communicator()                       # Mpi where mpiexec started this process, else Alone
    params = comm.broadcast(params)             # rank 0's, everywhere
    loss, grads = comm.mean([loss, grads])      # one Allreduce: all numbers in one flat array
    comm.barrier()                              # nobody goes on before all are here

Why the mean is enough: the loss is a mean over clips. n ranks with B / n clips each have the
gradients g_r of the means over their shares, and

    grad (1/B) sum_i l_i  =  (1/n) sum_r grad (n/B) sum_{i in r} l_i  =  (1/n) sum_r g_r

So all ranks need equally many clips. Every rank gets the same bits of the sum, takes the same step
and keeps the same parameters, which therefore never travel again. Another number of ranks adds in
another order: the same up to rounding.

Whatever decides the course of a run has to be decided alike on all ranks, or some ranks wait for
those that left: look at what `mean` returned (a NaN of one rank is there on all). A wish to stop
travels with the gradients: `extra_metrics` of `fit`.

Why the sum does not begin while the backward pass still runs: it was tried, with chunks sent by
Iallreduce as their gradients became ready, on two ranks of one machine with a core each, for
mvit_micro and for gradients as large as mvit_s_16x4's. The difference was within the noise: MPI
adds on the ranks' own cores. It may be other on a network: `docs/scaling_ranks.py` has a model.
"""

from __future__ import annotations

import os
import platform
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeAlias

import numpy as np

from ..backend import tree as trees
from ..backend.arrays import array_module, check_not_mixed, from_host, is_array, to_host
from ..backend.install import install
from ..backend.plain_text import plain
from ..backend.types import Array, Tree
from . import rank_monitor

# Variables in the environment of what mpiexec started.
SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
RANKS = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")
# For mpiexec to pass on a rank's last words: once it is told to end the job it may drop them.
HEARD_S = 0.5
# Types of errors that are the user's.
Mistakes: TypeAlias = tuple[type[BaseException], ...]


def communicator(kind: str = "auto") -> Alone | Mpi:
    """`Alone` or `Mpi` by name; "auto" is "mpi" where mpiexec started this process, else "alone".

    mpi4py is imported for "mpi" alone. Raises ValueError for an unknown name, ImportError where
    mpi4py is missing.
    """
    classes: dict[str, type[Alone] | type[Mpi]] = {"alone": Alone, "mpi": Mpi}
    if kind == "auto":
        kind = "mpi" if any(name in os.environ for name in RANKS) else "alone"
    if kind not in classes:
        names = ", ".join(map(repr, ["auto", *classes]))
        raise ValueError(f"a communicator is {names}; came {kind!r}: choose one of them")
    return classes[kind]()


class Alone:
    """One process: what `Mpi` does, where there is nobody else."""

    rank, size, local_size = 0, 1, 1

    def broadcast(self, tree: Tree = None) -> Tree:
        """The tree itself."""
        return tree

    def mean(self, tree: Tree) -> Tree:
        """The tree itself."""
        return tree

    def barrier(self) -> None:
        """Nothing to wait for."""

    def guarding(self, mistakes: Mistakes = ()) -> AbstractContextManager[None]:
        """A context that leaves errors alone."""
        return nullcontext()


class Mpi:
    """Processes that mpiexec started, through mpi4py: `rank` of `size`, `local_size` of them here.

    An uncaught error in one ends all: see `guarding`. One that is killed cannot say so;
    `rank_monitor` names it, and mpiexec ends the others. Raises ImportError where mpi4py is
    missing, ValueError where it is of another MPI than mpiexec.
    """

    def __init__(self) -> None:
        self._mpi = _library()
        self._flats: dict[tuple[str, Any], Array] = {}
        self._world = self._mpi.COMM_WORLD
        self.rank, self.size = self._world.Get_rank(), self._world.Get_size()
        _check_size(self.size)
        here = self._world.Split_type(self._mpi.COMM_TYPE_SHARED)
        self.local_size = here.Get_size()
        self._line, sys.excepthook = None, self._end_all
        if self.size > 1:
            self._line = rank_monitor.join(here, self.rank)

    def broadcast(self, tree: Tree = None) -> Tree:
        """Rank 0's tree, on every rank: NumPy arrays, and numbers, words and None as they are.

        What the others pass is not looked at, so that rank 0 alone may have read it from a file.
        Raises TypeError for arrays on a device: move them once they are there.
        """
        leaves, rebuild = trees.flatten(tree)
        said = None
        if self.rank == 0:
            said = rebuild(range(len(leaves))), [_described(leaf) for leaf in leaves]
        skeleton, described = self._world.bcast(said)
        if self.rank:
            leaves = [np.empty(*what) if sent else what for sent, what in described]
        for leaf, (sent, _) in zip(leaves, described):
            if sent:
                self._world.Bcast(np.ascontiguousarray(leaf).reshape(-1).view(np.uint8))
        return tree if self.rank == 0 else trees.map(lambda index: leaves[index], skeleton)

    def mean(self, tree: Tree) -> Tree:
        """The mean over all ranks of a tree of float arrays of one dtype, as new arrays.

        All ranks pass trees of the same shapes. Arrays on a device are packed there, and go through
        the host as one. Raises TypeError where dtypes or array libraries are mixed.
        """
        leaves, rebuild = trees.flatten(tree)
        check_not_mixed(*leaves)
        xp, flat = array_module(leaves[0]), self._kept(leaves[0], sum(leaf.size for leaf in leaves))
        views = trees.views(flat, leaves)
        # One by one: to join them at once CuPy would copy a table of addresses to the device.
        for view, leaf in zip(views, leaves):
            view[...] = leaf
        self._sum(flat)
        return rebuild([xp.divide(view, self.size, out=xp.empty_like(view)) for view in views])

    def barrier(self) -> None:
        """Wait until all ranks are here."""
        self._world.Barrier()

    @contextmanager
    def guarding(self, mistakes: Mistakes = ()) -> Iterator[None]:
        """An error within the block is printed with this rank's number and ends the job, with 1.

        mistakes   types of errors that are the user's: the sentence alone is printed

        So does leaving by `sys.exit` with a code: the other ranks would wait for this one forever.
        (Errors that nobody catches end the job outside such a block too; it is for programs that
        catch errors further out.)
        """
        try:
            yield
        except BaseException as error:
            if isinstance(error, (SystemExit, GeneratorExit)) and not getattr(error, "code", None):
                raise
            trace = None if isinstance(error, mistakes) else error.__traceback__
            self._end_all(type(error), error, trace)

    def _end_all(self, error_type, error, trace):
        """What `sys.excepthook` is while there are other ranks."""
        lines = traceback.format_exception(error_type, error, trace)
        where = f"rank {self.rank} of {self.size} (process {os.getpid()} on {platform.node()})"
        shown = "".join(lines) if trace else ""
        sys.stdout.flush()
        sys.stderr.write(f"{shown}{where} ends the job: {plain(lines[-1].strip())}\n")
        sys.stderr.flush()
        if self._line:
            rank_monitor.leave(self._line)
        time.sleep(HEARD_S)
        self._world.Abort(1)

    def _kept(self, like, size):
        """A flat array that stays from step to step: fresh memory is slow, and slower to send."""
        xp = array_module(like)
        key = xp.__name__, like.dtype
        if key not in self._flats or self._flats[key].size < size:
            self._flats[key] = xp.empty(size, dtype=like.dtype)
        return self._flats[key][:size]

    def _sum(self, flat):
        """Over all ranks, in place; what lies on a device goes through the host."""
        host = to_host(flat)
        self._world.Allreduce(self._mpi.IN_PLACE, host)
        if host is not flat:
            flat[...] = from_host(host, flat)


# -- what is sent ----------------------------------------------------------------------------------


def _described(leaf):
    """(whether it is an array, what makes an empty one like it, or the thing itself)"""
    if not is_array(leaf):
        return False, leaf
    if not isinstance(leaf, np.ndarray):
        raise TypeError(
            f"MPI sends NumPy arrays; came {array_module(leaf).__name__}: send mv.to_host of them"
        )
    return True, (leaf.shape, leaf.dtype.str)


# -- processes -------------------------------------------------------------------------------------


def _library():
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as problem:  # RuntimeError: mpi4py is there, an MPI is not
        raise ImportError(
            f"several processes need mpi4py and an MPI ({problem}): {install('mpi')}"
        ) from None
    return MPI


def _check_size(size):
    """An mpi4py built for another MPI sees itself alone: each rank would train its own model."""
    said = next((os.environ[name] for name in SIZES if name in os.environ), str(size))
    if said != str(size):
        raise ValueError(
            f"mpiexec started {said} ranks, but mpi4py sees {size}: they belong to different MPIs; "
            f"install both from one source ({install('mpi')}) and call the mpiexec that came with "
            "it"
        )
