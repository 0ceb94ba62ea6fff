"""What is in a video or a picture: what a model says of some views of it, averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import tree as trees
from ..backend.arrays import from_host, to_host
from ..backend.outputs import is_drawn_here
from ..backend.types import Array, FilePath, Params
from ..data import cover_of, frames_at, labels_for, normalise, track_of
from ..data.clips import view_times
from ..data.media import files_in, is_media
from ..model.config import MViTConfig
from ..model.features import features, pooled
from ..model.forward import check_params
from .evaluate import Views, crops_of, predictor, probabilities

TAU = 4  # frames of 1/30 s between a clip's, of "16 x 4": where nobody knows better


@dataclass(frozen=True)
class Result:
    """What a model says about a file, and the view in the middle of those it saw."""

    path: Path
    labels: tuple[str, ...]  # of the classes
    probabilities: Array  # (classes,): the mean of `of_views`
    of_views: Array  # (clips x crops, classes), after softmax
    views: tuple[int, int]  # clips, crops
    duration: float  # seconds, of the film; 0 for a picture
    seconds: Array  # (T,) since the first frame: when the frames of the middle view are shown
    frames: Array  # (T, H, W, C) uint8: the middle view as one sees it
    clip: Array  # (1, T, H, W, C): the same as the model gets it

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """[(label, probability)], the most probable class first."""
        order = np.argsort(-self.probabilities, kind="stable")[:count]
        return [(self.labels[k], float(self.probabilities[k])) for k in order]


def classify(
    params: Params,
    config: MViTConfig,
    path: FilePath,
    *,
    views: tuple[int, int] = (5, 1),
    tau: float = TAU,
    labels: tuple[str, ...] | None = None,
    normalisation: str | tuple | None = None,
    progress: Callable[[int, int], Any] | None = None,
) -> Result:
    """The classes of a video or a picture by a model.   -> Result

    views          (clips, crops): clips uniform in time times crops uniform in space; the paper's
                   is (5, 1). If the film is not longer than a clip, and for a picture, all clips
                   would be one, and it goes in once
    tau            frames of 1/30 s from one frame of a clip to the next: the 4 of "16 x 4"
    labels         of the classes; None: as `labels_for` names them
    normalisation  as `normalise` has it; None: "imagenet" for models of one frame, "clip" for grey
                   ones, else "video"
    progress       called with (views done, views in all) after each

    A model of one frame sees single frames of a film; a model of clips sees a picture as a film
    that stands still. The views go through the model one by one, and their probabilities (not their
    scores) are averaged.

    Raises FileNotFoundError or ValueError, for an unreadable file, parameters that do not fit, or
    impossible views.
    """
    _check(params, config, views)
    labels = labels_for(config.num_classes) if labels is None else _named(labels, config)
    shown = Views(config.size_hw, *views, normalisation or default_normalisation(config))
    frames, times, duration = _clips(path, config, tau, shown.clips)
    seen, dtype = crops_of(frames, shown), trees.leaves(params)[0].dtype
    predict, said = predictor(params, config), []
    for view in seen:
        said.append(probabilities(predict(normalise(view, shown.normalise, dtype)[None])))
        if progress:
            progress(len(said), len(seen))
    of_views, clips, crops = np.concatenate(said), len(times), len(seen) // len(times)
    middle = seen[clips // 2 * crops + crops // 2]
    return Result(
        path=Path(path),
        labels=tuple(labels),
        probabilities=of_views.mean(0),
        of_views=of_views,
        views=(clips, crops),
        duration=duration,
        seconds=times[clips // 2],
        frames=middle,
        clip=normalise(middle, shown.normalise, dtype)[None],
    )


def features_of(
    params: Params, config: MViTConfig, path: FilePath, *, stages: Sequence[int] = (),
    views: tuple[int, int] = (1, 1), tau: float = TAU, normalisation: str | tuple | None = None,
) -> list[Array]:  # fmt: skip
    """What a model makes of a video or a picture before its head, as a mean over the views.

    ->   [(D,) the pooled vector, as the head would read it, (t, h, w, D_s) of each stage asked for]

    stages   numbers of stages, from 0; other options and the errors are as of `classify`
    """
    _check(params, config, views)
    shown = Views(config.size_hw, *views, normalisation or default_normalisation(config))
    frames, _, _ = _clips(path, config, tau, shown.clips)
    like = trees.leaves(params)[0]
    each = []
    for view in crops_of(frames, shown):
        clip = from_host(normalise(view, shown.normalise, like.dtype)[None], like)
        if stages:
            found = features(params, clip, config)
            each.append([found.pooled, *(found.maps[stage] for stage in stages)])
        else:
            each.append([pooled(params, clip, config)])  # faster
    return [np.mean([to_host(part)[0] for part in parts], axis=0) for parts in zip(*each)]


def default_normalisation(config: MViTConfig) -> str:
    """What a model of this config was most probably trained with."""
    if config.channels == 1:
        return "clip"
    return "imagenet" if config.frames == 1 else "video"


def media_in(folder: FilePath, left_out: list[Path] | None = None) -> list[Path]:
    """The videos and pictures in a folder and the folders inside it, by their endings, sorted.

    Hidden ones are left out. So is what this package drew, such as the contact sheets of last time:
    `left_out`, a list, gets those.
    """
    shown = [path for path in files_in(folder) if is_media(path)]
    drawn = {path for path in shown if is_drawn_here(path)}
    if left_out is not None:
        left_out += sorted(drawn)
    return [path for path in shown if path not in drawn]


def _clips(path, config, tau, clips):
    """(pictures (V, T, h, w, C) uint8, when they are shown (V, T) s, seconds of the film)."""
    track = track_of(path)
    times = view_times(track, config.frames, tau, clips)
    how = {"cover": cover_of(config.size_hw), "grey": config.channels == 1, "track": track}
    frames = frames_at(path, times.ravel(), **how)
    duration = track.duration if len(track.times) > 1 else 0.0
    return frames.reshape(*times.shape, *frames.shape[1:]), times, duration


def _check(params, config, views):
    check_params(params, config)
    whole = len(views) == 2 and all(isinstance(n, int) and n >= 1 for n in views)
    if not whole:
        raise ValueError(
            f"views are clips x crops, whole numbers >= 1; came {views!r}: give such as (5, 3)"
        )
    if config.channels not in (1, 3):
        raise ValueError(
            f"files hold grey or RGB pictures; this model has {config.channels} channels: "
            "call forward yourself"
        )


def _named(labels, config):
    if len(labels) != config.num_classes:
        raise ValueError(
            f"there is a label for each of the {config.num_classes} classes; "
            f"came {len(labels)}: pass them all"
        )
    return labels
