"""The paper's ablations at small scale: of each what differs, the data, and what the paper found.

What the paper does at 224 pixels with widths from 96 to 768 is done here at 32 pixels with widths
from 16, for some hundred steps. Strides of keys and values are halved with the grid (1 x 8 x 8
becomes 1 x 4 x 4), depths with the model.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from ...backend.plain_text import did_you_mean
from ...model.config import MViTConfig
from ...model.presets import preset
from ...train.demo import vit_beside
from ...train.run.recipe import PLAIN, Recipe
from .sets import BOTH

ORDERED, SHUFFLED = "in order", "shuffled"  # the frames of a test

WARMUP = 0.1  # of all steps


@dataclass(frozen=True)
class Variant:
    """One row: a model, and what the paper prints for its like, in per cent, test by test."""

    label: str
    config: MViTConfig  # classes, frames and colours are those of the data
    paper: tuple[float, ...]


@dataclass(frozen=True)
class Finding:
    """A sentence of the paper's, and the two lines whose accuracies it compares."""

    paper: str
    high: str  # names of lines: "conv", or "MViT, shuffled"
    low: str
    alike: bool = False  # the sentence says that they are equal


@dataclass(frozen=True)
class Experiment:
    """Models that differ in one thing only, trained alike on the same clips."""

    name: str
    table: str  # of the paper
    question: str
    varies: tuple[str, ...]  # the fields of MViTConfig in which the variants differ
    variants: tuple[Variant, ...]
    findings: tuple[Finding, ...]
    data: str  # a built-in set
    why: str  # this set, and so many steps
    steps: int
    tests: tuple[str, ...] = (ORDERED,)
    sizes: dict[str, int] = field(default_factory=dict)  # of the set, where not its own
    recipe: Recipe = PLAIN


# "By default all MViT ablations are with max-pooling" (Sec. 4.2), of kernel s + 1.
BASE = replace(preset("mvit_micro"), pool="max", pool_kernel="s+1")
VIT = vit_beside(BASE)
STILL = replace(VIT, cube_kernel=(1, 4, 4), cube_stride=(1, 4, 4))  # 64 patches of a picture
PICTURE = replace(BASE, cube_kernel=(1, 7, 7), cube_stride=(1, 4, 4))
FOUR = replace(PICTURE, stride_kv=(1, 2, 2))  # with four stages
UNPLACED = replace(BASE, positions="none")
# Tables 13 and 14 leave the last stage's keys and values alone: see docs/costs.md
LATE: dict[str, Any] = {"unpooled_kv": (3,)}
CLOTHES = (
    "single pictures of clothing. They were chosen after trials that were not kept: on moving "
    "pictures a ViT of this size stays at chance after so few steps, and seeds differ so much that "
    "they hide differences between models"
)
CLOTHING = {"train": 20_000, "test": 2_000}  # pictures
TURNS = (
    "clips of a camera that moves over photos. To tell a turn from a zoom, and a zoom from a pan, "
    "a model has to see motion together with its place. After so few steps accuracies lie between "
    "12.5 % (chance) and 90 %, which leaves room for differences. On the demo's streets, in trials "
    "that were not kept, little was left to improve after fewer steps"
)


def _kv(label, stride, adaptive, paper):
    """A row of Table 14."""
    config = replace(UNPLACED, stride_kv=stride, adaptive_kv=adaptive, **LATE)
    return Variant(label, config, (paper,))


def _split(depths, unpooled, paper):
    """A row of Table 13."""
    label = f"[{', '.join(map(str, depths))}]"
    return Variant(label, replace(FOUR, depths=depths, unpooled_kv=unpooled), (paper,))


_ALL = (
    Experiment(
        "shuffle", "Table 9", "Does the model use the order of frames?",
        ("cube_kernel", "cube_stride", "dim", "heads", "depths", "stride_kv"),  # of the demo's ViT
        (Variant("MViT", BASE, (77.2, 70.1)), Variant("ViT", VIT, (68.5, 68.4))),
        (
            Finding("MViT-B loses 7.1 points when the frames are shuffled, from 77.2 to 70.1",
                    "MViT", "MViT, shuffled"),
            Finding("ViT-B loses nothing, from 68.5 to 68.4: it does not use their order",
                    "ViT", "ViT, shuffled", alike=True),
            Finding("MViT-B is right more often than ViT-B, 77.2 against 68.5", "MViT", "ViT"),
        ),
        BOTH,
        "streets and digits that move left or right. A single frame tells streets from digits, "
        "which is half of the answer; only the order of frames tells left from right. On the "
        "demo's streets alone the ViT stays at chance after so few steps, so shuffling cannot make "
        "it worse",
        140, tests=(ORDERED, SHUFFLED),
    ),
    Experiment(
        "pooling", "Table 15", "Which function pools?", ("pool",),
        (
            Variant("max", PICTURE, (77.2,)),
            Variant("average", replace(PICTURE, pool="avg"), (75.4,)),
            Variant("convolution", replace(PICTURE, pool="conv"), (78.3,)),
        ),
        (
            Finding("a convolution is better than the maximum, 78.3 against 77.2",
                    "convolution", "max"),
            Finding("the maximum is better than the average, 77.2 against 75.4", "max", "average"),
        ),
        "fashion", CLOTHES, 500, sizes=CLOTHING,
    ),
    Experiment(
        "kv_stride", "Table 14", "How far may keys and values be pooled?",
        ("stride_kv", "adaptive_kv"),
        (
            _kv("none", None, True, 77.6),
            _kv("2x2x2, fixed", (2, 2, 2), False, 74.8),
            _kv("2x2x2, adaptive", (2, 2, 2), True, 77.1),
            _kv("1x4x4, adaptive", (1, 4, 4), True, 77.2),
            _kv("2x4x4, adaptive", (2, 4, 4), True, 75.8),
        ),
        (
            Finding("the stride should shrink with the grid: 2x4x4 adaptive 77.1, fixed 74.8",
                    "2x2x2, adaptive", "2x2x2, fixed"),
            Finding("time should not be pooled: 1x8x8 77.2, 2x8x8 75.8",
                    "1x4x4, adaptive", "2x4x4, adaptive"),
            Finding("leaving out the pooling gains little: 77.6, with 1x8x8 77.2",
                    "none", "1x4x4, adaptive", alike=True),
        ),
        "camera",
        f"{TURNS}. The models have no positions here: with positions, seeds differ so much "
        "(Table 11 below) that they would hide the effect of the strides",
        260,
    ),
    Experiment(
        "positions", "Table 11", "Which positions does the model need?", ("positions",),
        tuple(
            Variant(label, replace(BASE, positions=name), (paper,))
            for label, name, paper in (
                ("none", "none", 75.8), ("space only", "space", 76.7), ("joint", "joint", 76.5),
                ("separate", "separate", 77.2),
            )
        ),
        (
            Finding("positions help: separate in space and time 77.2, none 75.8",
                    "separate", "none"),
            Finding("time adds to space: separate 77.2, space only 76.7", "separate", "space only"),
            Finding("joint positions are not better than separate ones: 76.5, separate 77.2",
                    "separate", "joint"),
        ),
        "camera", TURNS, 350,
    ),
    Experiment(
        "skip", "Table A.1", "Where the width grows, what is the skip made of?", ("skip",),
        (
            Variant("normalised", PICTURE, (77.2,)),
            Variant("not normalised", replace(PICTURE, skip="plain"), (74.6,)),
            Variant("none", replace(PICTURE, skip="none"), (74.7,)),
        ),
        (
            Finding("the normed input is better than the plain one, 77.2 against 74.6",
                    "normalised", "not normalised"),
            Finding("the normed input is better than no skip, 77.2 against 74.7",
                    "normalised", "none"),
            Finding("the plain input is no better than no skip, 74.6 against 74.7",
                    "not normalised", "none", alike=True),
        ),
        "fashion", CLOTHES, 500, sizes=CLOTHING,
    ),
    Experiment(
        "stages", "Table 13", "Where should the blocks be?", ("depths", "unpooled_kv"),
        (
            _split((1, 3, 3, 1), (7,), 76.3),
            _split((1, 2, 3, 2), (6, 7), 75.9),
            _split((1, 1, 5, 1), (7,), 77.1),
        ),
        (
            Finding("more blocks in the third stage than earlier: "
                    "[1, 2, 11, 2] 77.1, [2, 6, 6, 2] 76.3",
                    "[1, 1, 5, 1]", "[1, 3, 3, 1]"),
            Finding("more blocks in the third stage than in the last: "
                    "[1, 2, 11, 2] 77.1, [2, 4, 6, 4] 75.9",
                    "[1, 1, 5, 1]", "[1, 2, 3, 2]"),
        ),
        "fashion", CLOTHES, 400, sizes=CLOTHING,
    ),
    Experiment(
        "two_scale_vit", "Table 10", "What does one more scale do for a ViT?",
        ("depths", "expand", "stride_kv", "unpooled_kv"),
        (
            Variant("ViT", STILL, (68.5,)),
            Variant("2 scales, Q pooled", replace(STILL, depths=(2, 2), expand=False), (71.0,)),
            Variant("K, V pooled", replace(STILL, stride_kv=(1, 2, 2), unpooled_kv=(0,)), (69.1,)),
        ),
        (
            Finding("a second scale is better, 71.0 against 68.5, and 38 % cheaper",
                    "2 scales, Q pooled", "ViT"),
            Finding("pooled keys and values are a little better, 69.1 against 68.5",
                    "K, V pooled", "ViT"),
            Finding("a second scale is better than pooled keys and values, 71.0 against 69.1",
                    "2 scales, Q pooled", "K, V pooled"),
        ),
        "fashion", CLOTHES, 270, sizes=CLOTHING,
    ),
)  # fmt: skip

EXPERIMENTS = {experiment.name: experiment for experiment in _ALL}


def experiment(name: str) -> Experiment:
    """One of EXPERIMENTS. Raises ValueError for another name, with the nearest."""
    if name not in EXPERIMENTS:
        known, meant = ", ".join(EXPERIMENTS), did_you_mean(name, EXPERIMENTS)
        raise ValueError(f"there is no experiment {name!r} among {known}: {meant}")
    return EXPERIMENTS[name]
