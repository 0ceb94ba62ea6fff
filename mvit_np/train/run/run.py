"""A run from its recipe to its last step; if stopped and resumed, it ends the same.

The state of a run is its parameters, what the optimiser remembers, their running mean and the
number of steps done; whatever is random follows from the seed and the step (`data/draws.py`).
Nothing here prints; `cli` drives it and shows the progress.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import asdict
from typing import Any

from ...backend.arrays import to_host
from ...backend.outputs import telling
from ...weights.about import About
from ...weights.load import BEST, MODEL, save
from ..metrics import Metrics
from . import snapshot
from .early_stop import best_test, has_seen_enough
from .job import Job
from .probe import on_features
from .run_folder import CURVES, SNAPSHOTS
from .toml_text import BEGUN_IN
from .training import Clock, learned, results_of, test_is_due, tested, train


def run(
    job: Job, stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], Any] = lambda done, of: None,
) -> Generator[dict[str, Any], None, None]:  # fmt: skip
    """Train to the end; yields a row of `metrics.FIELDS` after every step.

    stop       asked in every step, and in tests after every batch: whether to end now. The step is
               then saved, and `prepare(..., resume=True)` goes on, with the test that was not made
    progress   of a probe: called with (examples that have their features, examples in all)

    Raises NotFinite at a loss or gradient of NaN or infinity, unless the recipe says to skip such
    steps.
    """
    with job.lock:
        ready = on_features(job, stop, progress) if job.recipe.probe else job
        if ready is not None:
            yield from _trained(ready, stop)


def _trained(job, stop):
    state, clock, best, saved_at = job.state, Clock(job.seconds), job.best, time.monotonic()
    with closing(train(job, stop, clock)) as steps, closing(_metrics(job)) as metrics:
        if job.renewed:  # else the next one to go on would be asked about the examples again
            _save(job, metrics, state, clock.seconds, best, better=False)
        if _is_left_untested(job, metrics.rows):
            with clock.standing():
                test = tested(job, state, stop)
            if test is None:
                return
            metrics.complete(results_of(test))
            best, better = _best(best, test)
            if better:
                _save(job, metrics, state, clock.seconds, best, better)
        ended = _has_seen_enough(job, metrics.rows)
        for state, row, test, untested, stopping in () if ended else steps:
            metrics.add(row)
            best, better = _best(best, test)
            ended = test is not None and _has_seen_enough(job, metrics.rows)
            if stopping or better or ended or _save_is_due(job, state.step, saved_at):
                _save(job, metrics, state, clock.seconds, best, better)
                saved_at = time.monotonic()
            if test is not None and state.step < job.steps:
                _draw(job, metrics.rows)
            yield row
            if ended:
                break
            if stopping and (untested or state.step < job.steps):
                return
        if ended and job.writes:
            job.say(_early(job, metrics.rows))
        _finish(job, state, metrics.rows)


def _has_seen_enough(job, rows):
    """What rank 0 says: the others may not have all rows."""
    enough = has_seen_enough(rows, job.recipe.patience)
    return job.comm.broadcast(enough) if job.recipe.patience else False


def _early(job, rows):
    best, since = best_test(rows)
    step, accuracy = best["step"], best["test_accuracy"]  # type: ignore[index]  # there was a test
    return (
        f"no test has been better than the {accuracy:.1%} of step {step} "
        f"since then ({since} tests), so the run ends at step {rows[-1]['step']} of {job.steps}: "
        f"{BEST} is the best model, {MODEL} the last"
    )


def _is_left_untested(job, rows):
    """Whether the run was stopped before the end of the test that its last step was due."""
    untested = rows and rows[-1]["step"] == job.state.step and rows[-1]["test_accuracy"] is None
    return test_is_due(job, job.state.step) and job.comm.broadcast(bool(untested))


def _best(best, test):
    """(the best accuracy in a test so far, whether it is of this one)"""
    better = test is not None and (best is None or test.top1 > best)
    return (test.top1, True) if better else (best, False)


# -- what stays ------------------------------------------------------------------------------------


def _metrics(job):
    return Metrics(job.folder if job.writes else None, job.state.step)


def _save_is_due(job, step, saved_at):
    recipe = job.recipe
    by_steps = recipe.save_steps and step % recipe.save_steps == 0
    by_clock = recipe.save_minutes and time.monotonic() - saved_at >= 60 * recipe.save_minutes
    return by_steps or by_clock or step == job.steps


def _save(job, metrics, state, seconds, best, better):
    if job.writes:
        metrics.sync()
        if better:  # before the snapshot that says how good it is
            _write(job, BEST, state)
        written = {
            "step": state.step,
            "seconds": seconds,
            "best": best,
            "params": state.params,
            "optimizer": state.optimizer,
            "average": state.average,
            "recipe": asdict(job.recipe),
            "config": asdict(job.task.config),
            BEGUN_IN: job.begun_in,
            "data": job.data,
        }
        snapshot.save(job.folder / SNAPSHOTS, written, keep=job.recipe.keep)


def _write(job, name, state):
    """The model to use, with what it needs outside its run."""
    about = About(tuple(job.task.train.classes), job.recipe.tau, job.recipe.normalise)
    with telling(job.folder / name):
        save(job.folder / name, to_host(learned(state)), job.task.config, about)


def _draw(job, rows):
    if job.writes:
        from ... import visualize

        figure = visualize.curves_figure(rows, chance=1 / len(job.task.train.classes))
        visualize.save(figure, job.folder / CURVES)


def _finish(job, state, rows):
    if job.writes:
        _write(job, MODEL, state)
    if rows:
        _draw(job, rows)
    job.comm.barrier()
    job.finished.set()
