"""A probe: the head alone is learned, from the pooled vectors that all before it gives once.

The vectors of all views of all examples are kept in `features.npz` in the run's folder, so that a
run that was stopped goes on with those it has. A step then reads one view of each example, and a
test all of them: what was a forward pass is the product with the head.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...backend import tree as trees
from ...backend.arrays import from_host, to_host
from ...backend.outputs import telling
from ...backend.precision import use_precision
from ...backend.types import Array, Generator, Params
from ...data.datasets import BrokenExample, Dataset
from ...model.features import pooled
from ...weights.formats import files
from ..evaluate import Views, gathered, readable
from .run_folder import FEATURES
from .training import on_task

TOGETHER = 8  # views that go through the model at once, at least


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """The pooled vectors of a data set's examples; a `Dataset` whose clips are (1, 1, 1, D)."""

    vectors: Array  # (N, V, D) float32: NaN where an example cannot be read
    examples: Dataset

    @property
    def classes(self) -> tuple[str, ...]:
        return self.examples.classes

    @property
    def labels(self) -> Array:
        return self.examples.labels

    @property
    def direction_sensitive(self) -> bool:
        return self.examples.direction_sensitive

    @property
    def notes(self) -> tuple[str, ...]:
        return self.examples.notes

    def __len__(self) -> int:
        return len(self.vectors)

    def clip(self, index: int, rng: Generator) -> Array:
        """The vector of one of its views.   -> (1, 1, 1, D)"""
        return self.views(index, 1)[int(rng.integers(self.vectors.shape[1]))]

    def views(self, index: int, clips: int) -> Array:
        """The vectors of all its views.   -> (V, 1, 1, 1, D)"""
        if np.isnan(self.vectors[index, 0, 0]):
            raise BrokenExample(self.name_of(index), "no view of it could be read")
        return self.vectors[index][:, None, None, None]

    def name_of(self, index: int) -> str:
        """As its example is called."""
        return self.examples.name_of(index)


def on_features(
    job: Any, stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], Any] = lambda done, of: None,
) -> Any:  # fmt: skip
    """The `Job` of a probe on features instead of clips; None where it was stopped before.

    progress   called with (examples that have theirs, examples in all)
    """
    task, recipe = job.task, job.recipe
    sets = {"train": task.train} | ({} if task.tests is None else {"tests": task.tests})
    shape = (recipe.views[0] * recipe.views[1], len(job.state.params["head"]["w"]))
    fingerprint = _fingerprint(job)
    found = _kept(job.folder / FEATURES, fingerprint)
    for name, data in sets.items():
        if name not in found or found[name].shape != (len(data), *shape):
            found[name] = np.full((len(data), *shape), np.nan, np.float32)
    if not _fill(job, sets, found, fingerprint, stop, progress):
        return None
    made = {name: FeatureSet(found[name], data) for name, data in sets.items()}
    return on_task(
        job, replace(task, train=made["train"], tests=made.get("tests"), of_features=True)
    )


def _fill(job, sets, found, fingerprint, stop, progress):
    """Compute what is missing, kept as often as the run is saved; whether that came to its end."""
    of = sum(map(len, sets.values()))
    done = of - sum(int(_is_missing(found[name]).sum()) for name in sets)
    progress(done, of)
    if done == of:
        return True
    saved_at = time.monotonic()
    for name, data in sets.items():
        for indices, vectors in _vectors(job, data, _is_missing(found[name]).nonzero()[0]):
            found[name][indices] = vectors
            done += len(indices)
            progress(done, of)
            stopping = bool(stop())
            if stopping or time.monotonic() - saved_at > 60 * (job.recipe.save_minutes or 10):
                _keep(job.folder / FEATURES, found, fingerprint)
                saved_at = time.monotonic()
            if stopping:
                return False
    _keep(job.folder / FEATURES, found, fingerprint)
    return True


def _vectors(job, data, missing):
    """(indices, (n, V, D)) of the examples that are missing and can be read, a few at a time."""
    recipe, config, params = job.recipe, job.task.config, job.state.params
    clips, crops = recipe.views
    views = Views(config.size_hw, clips, crops, recipe.normalise)

    def leave_out(name, reason):
        job.say(f"{name} is left out: {reason}")

    examples = readable(data, views, missing.tolist(), recipe.workers, leave_out)
    for group in gathered(examples, TOGETHER):
        shown = from_host(np.concatenate([seen for _, seen in group]), params["head"]["w"])
        with use_precision(recipe.precision):
            flat = to_host(pooled(params, shown, config))
        ends = np.cumsum([len(seen) for _, seen in group])[:-1]
        # Fewer views than asked for, as of a film that is too short, count as often as needed.
        parts = [np.resize(part, (clips * crops, part.shape[1])) for part in np.split(flat, ends)]
        yield [index for index, _ in group], np.stack(parts)


def _is_missing(vectors):
    return np.isnan(vectors[:, 0, 0])


# -- what stays ------------------------------------------------------------------------------------


def _kept(path: Path, fingerprint: str) -> dict[str, Array]:
    """{part: vectors} in a file that is of the same examples and the same model."""
    try:
        found, said = files.read(path)
    except (OSError, ValueError):  # none yet, or damaged: they are made again
        return {}
    return dict(found) if said.get("fingerprint") == fingerprint else {}


def _keep(path: Path, found: dict[str, Array], fingerprint: str) -> None:
    with telling(path):
        files.write(path, found, {"fingerprint": fingerprint})


def _fingerprint(job: Any) -> str:
    """What the features follow from: examples, how they are shown, and all but the head."""
    recipe = job.recipe
    config = asdict(job.task.config) | {"num_classes": None, "dropout": None, "drop_path": None}
    shown = [job.data, config, recipe.tau, recipe.normalise, recipe.views, recipe.precision]
    shown += [recipe.frame_rate]
    digest = hashlib.sha256(json.dumps(shown).encode())
    for path, leaf in trees.paths(_trunk(job.state.params)):
        digest.update(path.encode())
        digest.update(np.ascontiguousarray(to_host(leaf)).data)
    return digest.hexdigest()


def _trunk(params: Params) -> Params:
    return {name: part for name, part in params.items() if name != "head"}
