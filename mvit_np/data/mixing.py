"""Mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019): two clips in one, and so the labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..backend.types import Array, Generator
from .transforms import happens


def soft(labels: Sequence[int] | Array, classes: int, smoothing: float = 0.0) -> Array:
    """Labels as shares of the classes.

    (B,) integers in [0, K) -> (B, K) float32, rows that sum to 1

    With smoothing e, 1 - e + e / K at the label and e / K elsewhere. Raises ValueError for other
    labels or shares.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(
            f"labels are one integer per clip; came {labels.dtype} {labels.shape}: give shape (B,)"
        )
    if labels.size and not 0 <= labels.min() <= labels.max() < classes:
        came = f"{labels.min()} to {labels.max()}"
        remedy = "renumber them or give more classes"
        raise ValueError(f"labels lie in [0, {classes}), the classes; came {came}: {remedy}")
    if not 0 <= smoothing < 1:
        rule = "label smoothing is a share in [0, 1)"
        raise ValueError(f"{rule}; came {smoothing}: the paper's is 0.1")
    shares = np.full((len(labels), classes), smoothing / classes, np.float32)
    shares[np.arange(len(labels)), labels] += 1 - smoothing
    return shares


def mix(
    clips: Array,
    targets: Array,
    rng_of_pair: Callable[[int], Generator],
    mixup: float = 0.8,
    cutmix: float = 1.0,
    switch: float = 0.5,
    p: float = 1.0,
) -> tuple[Array, Array]:
    """Each clip with its neighbour's content in it, and its target with the neighbour's.

    -> (clips, targets), new arrays

    clips, targets  (B, T, H, W, C) floats and (B, K), the shares of the classes; B even
    rng_of_pair     called with j = 0 .. B / 2 - 1, gives the generator of clips 2 j and 2 j + 1
    mixup, cutmix   the a of the Beta(a, a) that the first clip's share is drawn from; 0 for never
    switch          how likely CutMix is, where both may be
    p               how likely a pair is mixed at all

    Mixup is the weighted mean. CutMix exchanges a rectangle, the same in all frames; the share is
    then what its area leaves. Partners are neighbours, so that a process that holds an even number
    of clips needs no clips of others.

    Raises ValueError for shapes or numbers that are not such, TypeError for clips or targets that
    are not floats.
    """
    _check_batch(clips, targets)
    _check_numbers(mixup, cutmix, switch)
    clips, targets = clips.copy(), targets.copy()
    for pair in range(len(clips) // 2):
        rng, two = rng_of_pair(pair), slice(2 * pair, 2 * pair + 2)
        if happens(rng, p) and (mixup or cutmix):
            share = _mix_pair(clips[two], rng, mixup, cutmix, switch)
            targets[two] = share * targets[two] + (1 - share) * targets[two][::-1]
    return clips, targets


def _mix_pair(two, rng, mixup, cutmix, switch):
    """Mix two clips, in place.   (2, T, H, W, C) -> the share of itself that each keeps"""
    by_cutmix = cutmix and (not mixup or rng.random() < switch)
    share = float(rng.beta(*[cutmix if by_cutmix else mixup] * 2))
    if not by_cutmix:
        two[...] = share * two + (1 - share) * two[::-1]
        return share
    h, w = two.shape[2:4]
    rows, columns = _rectangle(h, w, share, rng)
    part = two[:, :, rows, columns]
    part[...] = part[::-1]
    return 1 - (rows.stop - rows.start) * (columns.stop - columns.start) / (h * w)


def _rectangle(h, w, share, rng):
    """Of the picture's shape, with its centre anywhere; what is over the edge is cut off.

    -> (rows, columns) slices
    """
    slices = []
    for length in (h, w):
        side = int(length * (1 - share) ** 0.5)
        start = int(rng.integers(length)) - side // 2
        slices.append(slice(max(start, 0), min(start + side, length)))
    return slices


def _check_batch(clips, targets):
    for name, array in {"clips": clips, "targets": targets}.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
            came = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
            remedy = "normalise clips, turn labels soft"
            raise TypeError(f"mix takes arrays of floats; {name} came as {came}: {remedy}")
    if clips.ndim != 5 or targets.ndim != 2 or len(clips) != len(targets):
        came = f"{clips.shape} and {targets.shape}"
        rule = "mix takes clips (B, T, H, W, C) and targets (B, K)"
        raise ValueError(f"{rule}; came {came}: use soft for labels (B,)")
    if len(clips) % 2:
        rule = "mix pairs neighbours, so a batch is even"
        raise ValueError(f"{rule}; came {len(clips)} clips: give one more, or one fewer")


def _check_numbers(mixup, cutmix, switch):
    for name, a in {"mixup": mixup, "cutmix": cutmix}.items():
        if not 0 <= a < np.inf:
            rule = f"{name} is the a of Beta(a, a), 0 or more"
            raise ValueError(f"{rule}; came {a}: the paper's are 0.8 and 1, 0 is never")
    if not 0 <= switch <= 1:
        raise ValueError(f"switch is a probability in [0, 1]; came {switch}: the paper's is 0.5")
