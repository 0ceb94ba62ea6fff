"""What one chooses for a run: plain values, from a TOML file, the command line, or both.

The defaults are the paper's (Sec. D.1 of arXiv 2104.11227, Kinetics). What D.1 leaves open is as in
the authors' published config and says so.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from ...backend.types import FilePath
from . import named_recipes as named
from .recipe_changes import changed, field_of, meant, tau_of
from .recipe_fields import (
    ASPECT,
    COUNT,
    FIELDS,
    MAGNITUDE,
    MAYBE_AREA,
    MAYBE_TEXT,
    NATURAL,
    NORMALISATION,
    NOT_NEGATIVE,
    PATHS,
    POSITIVE,
    SHARE,
    SHARE_ABOVE_0,
    SHARE_BELOW_1,
    SWITCH,
    TAU,
    TEXT,
    TWO_SHARES,
    VIEWS,
    check_together,
    one_of,
    option,
    shown,
    under_new_names,
)
from .toml_text import BEGUN_IN, table_in


@dataclass(frozen=True)
class Recipe:
    """Everything that decides how a run goes. Raises ValueError where a value is impossible."""

    # the model and its data
    model: str = option("mvit_b_16x4", TEXT, "a preset")
    model_fields: dict = option(
        {}, FIELDS, "fields of MViTConfig that differ from the preset's: --model.drop_path 0.1"
    )
    weights: str | None = option(
        None, MAYBE_TEXT, "a file of parameters to start from; none: random parameters"
    )
    data: str | None = option(
        None, MAYBE_TEXT, "a built-in set, a folder of class/video.mp4, or a list of path and label"
    )
    tests: str | None = option(
        None, MAYBE_TEXT, "the data of the tests; none: a built-in set's own, else no tests"
    )
    data_root: str | None = option(
        None, MAYBE_TEXT, "where relative paths of lists start; none: in the list's own folder"
    )
    classes: str | None = option(
        None, MAYBE_TEXT, "a file with the name of a class per line; none: as the data call them"
    )
    holdout: float = option(
        0.0, SHARE_BELOW_1, "share of each class's films that is held out for the tests"
    )
    balance: bool = option(False, SWITCH, "draw each class equally often, however few its films")
    frame_rate: float = option(30.0, POSITIVE, "frames per second of films in folders of frames")
    train_clips: int = option(
        0, NATURAL, "number of clips of a built-in set, if it lets you choose; 0: its usual number"
    )
    test_clips: int = option(0, NATURAL, "the same for the clips of its tests")
    tau: float | None = option(
        None, TAU, "frames of 1/30 s from one of a clip to the next; left out: the model's own"
    )
    normalise: str | tuple = option("video", NORMALISATION, "what is done to the pixels")
    directed: bool = option(
        False, SWITCH, "left and right matter to the classes: nothing is flipped, turned or sheared"
    )

    # one clip, changed: all its frames alike
    crop_area: tuple[float, float] | None = option(
        (0.08, 1.0), MAYBE_AREA, "share of the picture that a crop takes; none: the whole centre"
    )
    crop_aspect: tuple[float, float] = option((3 / 4, 4 / 3), ASPECT, "width / height of a crop")
    flip: float = option(0.5, SHARE, "share of the clips that are mirrored")
    rand_layers: int = option(4, NATURAL, "RandAugment: operations per clip")
    rand_magnitude: float = option(7.0, MAGNITUDE, "RandAugment: magnitude, from 0 to 10")
    rand_deviation: float = option(
        0.5, NOT_NEGATIVE, "RandAugment: standard deviation of the magnitude (published config)"
    )
    rand_p: float = option(0.5, SHARE, "RandAugment: probability of each operation")
    erasing: float = option(0.25, SHARE, "share of the clips that get a rectangle of noise")

    # clips of a batch together
    repeats: int = option(2, COUNT, "how often an example is in a batch, each time changed anew")
    mixup: float = option(0.8, NOT_NEGATIVE, "alpha of Mixup's Beta(alpha, alpha); 0: no Mixup")
    cutmix: float = option(1.0, NOT_NEGATIVE, "alpha of CutMix; 0: no CutMix")
    switch: float = option(
        0.5, SHARE, "if both are on: share of the mixed pairs that get CutMix, the others get Mixup"
    )
    mix_p: float = option(1.0, SHARE, "share of the pairs that are mixed")
    smoothing: float = option(0.1, SHARE_BELOW_1, "label smoothing")

    # the steps
    epochs: float = option(200.0, POSITIVE, "passes over the examples; may be a fraction")
    batch: int = option(512, COUNT, "clips per step, on all ranks together")
    accumulate: int = option(
        1, COUNT, "number of parts that a rank's clips are cut into, to save memory; same gradient"
    )
    optimizer: str = option("adamw", one_of("adamw", "sgd"), "adamw, or sgd with momentum")
    lr: float = option(
        1.6e-3,
        POSITIVE,
        "peak learning rate for a batch of `lr_batch` clips; in proportion for other batches",
    )
    lr_batch: int = option(512, COUNT, "the batch that the three learning rates are given for")
    start_lr: float = option(
        1.6e-5, NOT_NEGATIVE, "learning rate that the warm-up starts from (published config)"
    )
    end_lr: float = option(1.6e-5, NOT_NEGATIVE, "learning rate at the end of the half-cosine")
    warmup: float = option(30.0, NOT_NEGATIVE, "epochs in which the learning rate rises")
    betas: tuple[float, float] = option(
        (0.9, 0.999), TWO_SHARES, "AdamW: decay of the two running means (published config)"
    )
    epsilon: float = option(1e-8, POSITIVE, "AdamW: added to the square root (published config)")
    momentum: float = option(0.9, SHARE_BELOW_1, "SGD: momentum")
    nesterov: bool = option(True, SWITCH, "SGD: Nesterov's momentum")
    weight_decay: float = option(
        0.05, NOT_NEGATIVE, "decay of matrices and filters; vectors and positions do not decay"
    )
    no_decay: tuple[str, ...] = option(
        (), PATHS, "parameter paths that do not decay either, such as head.w or blocks.*.attn.*"
    )
    layer_decay: float = option(
        1.0, SHARE_ABOVE_0, "factor on the learning rate from a block to the one before; 1: none"
    )
    freeze: tuple[str, ...] = option(
        (),
        PATHS,
        "parameter paths that stay as they are, such as blocks.?.*; none: all are learned",
    )
    probe: bool = option(
        False, SWITCH, "the head alone is learned, from features of unchanged clips, computed once"
    )
    clip_norm: float = option(1.0, POSITIVE, "largest norm of a gradient (published config)")
    ema: float = option(
        0.0,
        SHARE_BELOW_1,
        "decay of the running mean of the parameters, which the tests then use; 0: no mean",
    )
    non_finite: str = option(
        "stop", one_of("stop", "skip"), "what to do if a loss or gradient has NaN or infinity"
    )
    checkpoint: bool = option(
        False, SWITCH, "keep only the blocks' inputs and run each block again: less memory, slower"
    )
    keep_hidden: bool = option(False, SWITCH, "keep the MLPs' hidden layers: faster, more memory")

    # tests
    test_every: float = option(
        10.0, POSITIVE, "epochs from one test to the next; there is always one after the last step"
    )
    patience: int = option(
        0, NATURAL, "tests in a row without a better accuracy that end the run early; 0: none do"
    )
    views: tuple[int, int] = option((5, 1), VIEWS, "of a test: clips in time x crops in space")

    # the machine
    seed: int = option(0, NATURAL, "seed of all random draws")
    device: str = option("cpu", TEXT, "cpu, cuda or cuda:N")
    precision: str = option(
        "float32",
        one_of("float32", "tf32", "bf16"),
        "precision of the factors of matrix products; everything else is float32",
    )
    graph: bool = option(
        False, SWITCH, "replay the whole step as a CUDA graph, on a device; the same result"
    )
    cache: str | None = option(
        None, MAYBE_TEXT, "a folder for films once decoded, which all runs may share; none: none"
    )
    cache_gb: float = option(20.0, POSITIVE, "gigabytes that the cache may grow to")
    workers: int = option(2, NATURAL, "threads that read clips in advance; 0: none, same clips")
    ahead: int = option(2, COUNT, "number of batches that are made in advance")
    save_steps: int = option(
        0, NATURAL, "steps from one snapshot to the next; 0: only by the clock"
    )
    save_minutes: float = option(
        10.0, NOT_NEGATIVE, "minutes from one snapshot to the next; 0: only by the steps"
    )
    keep: int = option(3, COUNT, "number of snapshots that are kept, besides the best one")

    def __post_init__(self) -> None:
        if self.tau is None:
            object.__setattr__(self, "tau", tau_of(self.model))
        for f in dataclasses.fields(self):
            value = f.metadata["field_type"].fitting(f.name, getattr(self, f.name), f.default)
            object.__setattr__(self, f.name, value)
        check_together(self)

    @classmethod
    def from_toml(
        cls, path: FilePath | None = None, changes: dict | None = None, base: str | None = None
    ) -> Recipe:
        """The recipe of a file, with `changes` {name: value or text} over it.

        base   one of RECIPES, on which both build; without it the file's `recipe`, or the paper's

        `[model]` of a file is a table: `preset` and fields of MViTConfig. Raises FileNotFoundError,
        or ValueError for bad TOML, an unknown name (with the nearest) or an impossible value.
        """
        table = {} if path is None else table_in(path)
        table.pop(BEGUN_IN, None)
        in_file = table.pop("recipe", None)
        name = in_file if base is None else base
        try:
            recipe = changed(cls() if name is None else known(name), table)
        except ValueError as problem:
            raise ValueError(f"{path}: {problem}" if path else str(problem)) from None
        given = {"tau": table["tau"]} if "tau" in table else {}  # it holds for another model too
        return changed(recipe, given | (changes or {}))


def known(name: str) -> Recipe:
    """One of RECIPES. Raises ValueError for another name, with the nearest."""
    if not isinstance(name, str) or name not in RECIPES:
        names = ", ".join(RECIPES)
        raise ValueError(
            f"there is no recipe {shown(name)}: {meant(name, RECIPES)}they are {names}"
        )
    return RECIPES[name]


def steps_of(recipe: Recipe, steps_per_epoch: int) -> int:
    """The number of steps of a run."""
    return max(round(recipe.epochs * steps_per_epoch), 1)


def from_plain(fields: dict) -> Recipe:
    """The recipe of `dataclasses.asdict(recipe)`, also after a way through JSON."""
    for name in (fields := under_new_names(fields)):
        check_field(name)
    return Recipe(**fields)


def check_field(name: str) -> dataclasses.Field:
    """The field of that name. Raises ValueError where there is none, with the nearest."""
    return field_of(Recipe, name)


PLAIN = Recipe(**named.PLAIN)
RECIPES = {name: Recipe(**fields) for name, fields in named.RECIPES.items()}
