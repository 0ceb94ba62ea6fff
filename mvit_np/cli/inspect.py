"""`mvit-np inspect`: what the data are, and what is wrong with them, before any training."""

from __future__ import annotations

import json
from argparse import Namespace
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..backend.outputs import check_not_read, check_outside, make_folder, own, write
from ..backend.plain_text import many, plain
from ..data.clips import FPS
from ..data.sets.builtin import BUILTIN
from ..data.survey import same_bytes, survey
from ..data.video_table import VideoTable
from ..train.run.recipe import Recipe, changed
from ..train.run.task import model_config, notes_of, task_of
from .arguments import Commands, file_path
from .inspect_report import report, summary_of, table_of
from .terminal import say

TABLE, SHEET = WRITTEN = "inspect.csv", "inspect.png"
# Fields of a recipe that decide what the data are.
FIELDS = ("tests", "data_root", "classes", "holdout", "frame_rate", "tau")
STILLS = "mvit_b_16_image"  # a model of pictures, where no preset is given and there are no films
SHOWN, OF_CLASSES = 6, 16  # films of a class, and classes, in the contact sheet


def add(commands: Commands) -> None:
    """The command's options."""
    parser = commands.add_parser(
        "inspect",
        help="what films are before any training: classes, lengths, sizes, broken and double ones",
    )
    option = parser.add_argument
    option("data", metavar="DATA", type=file_path, help="a folder of class/video.mp4, or a list")
    option("--tests", metavar="DATA", type=file_path, help="the data of the tests")
    for name in FIELDS[1:]:
        about = Recipe.__dataclass_fields__[name].metadata["about"]
        names = dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}"))
        option(*names, metavar="VALUE", help=f"as of mvit-np train: {about}")
    clip = "whose clips the films should be as long as (default: mvit_b_16x4)"
    option("--preset", metavar="NAME", help=clip)
    option("--out", metavar="FOLDER", type=file_path, help=f"for {TABLE} and {SHEET}")
    option("--workers", type=int, default=2, help="threads that read files (%(default)s)")
    option("--json", action="store_true", help="print the numbers as JSON")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Look at all films, print what they are; exit code 1 where none can be read."""
    recipe, task = _recipe_and_task(arguments)
    for note in notes_of(task.train, task.tests):
        say(note)
    out = _folder_for(arguments)
    parts = {"train": task.train, "tests": task.tests}
    seen = list(_seen({part: data for part, data in parts.items() if data}, arguments.workers))
    frames = task.config.frames
    clip_s = frames * (recipe.tau or 0) / FPS if frames > 1 else 0.0
    twins = same_bytes(seen)
    summary = summary_of(seen, twins, task.train.classes, clip_s)
    print(json.dumps(summary, indent=1) if arguments.json else report(summary, arguments.data))
    for path in _written(seen, twins, task.train.classes, arguments.data, out):
        say(f"wrote {plain(path)}")
    return 0 if any(not one.problem for one in seen) else 1


def _recipe_and_task(arguments):
    """As of a training; without a preset, pictures are those of an image model."""
    if arguments.data in BUILTIN:
        raise ValueError(
            f"films on disk are looked at; {arguments.data} comes with the package: "
            "give a folder or a list"
        )
    given = {name: getattr(arguments, name) for name in FIELDS}
    given = {name: value for name, value in given.items() if value is not None}
    recipe = changed(
        Recipe(), {"data": arguments.data, "model": arguments.preset or Recipe().model}
    )
    recipe = changed(recipe, given)
    model_config(recipe)
    try:
        return recipe, task_of(recipe)
    except ValueError as problem:
        if arguments.preset:
            raise
        try:
            stills = changed(recipe, {"model": STILLS})
            task = task_of(stills)
        except ValueError:
            raise problem from None
        say("each picture is an example, as for an image model")
        return stills, task


def _folder_for(arguments):
    """The folder to write into, made, or None."""
    if arguments.out is None:
        return None
    folder, read = Path(arguments.out), [arguments.data, *filter(None, [arguments.tests])]
    check_not_read([folder / name for name in WRITTEN], read)
    check_outside(folder, read)
    make_folder(folder)
    own(folder, "inspect", WRITTEN)
    return folder


def _seen(parts: dict[str, VideoTable], workers: int):
    """All examples of all parts, with a picture of those alone that the sheet shows."""
    total = sum(map(len, parts.values()))
    with tqdm(total=total, unit=" films", dynamic_ncols=True, leave=False) as bar:
        for part, table in parts.items():
            drawn = _drawn(table.labels) if part == "train" else set()
            for index, one in enumerate(survey(table, part, workers)):
                bar.update()
                yield one if index in drawn else replace(one, picture=None)


def _drawn(labels):
    """Indices of some examples of each class, spread over it."""
    chosen: set[int] = set()
    for label in np.unique(labels)[:OF_CLASSES]:
        own = np.flatnonzero(labels == label)
        chosen |= set(own[np.linspace(0, len(own) - 1, min(SHOWN, len(own))).astype(int)].tolist())
    return chosen


def _written(seen, twins, classes, name, folder):
    """The table and the contact sheet."""
    if folder is None:
        return
    write(folder / TABLE, table_of(seen, twins))
    yield folder / TABLE
    drawn = [one for one in seen if one.picture is not None]
    if not drawn:
        return
    from .. import visualize

    pictures = {c: [one.picture for one in drawn if one.label == c] for c in classes}
    counts = Counter(one.label for one in seen)
    title = f"{many(seen, 'example')} of {Path(name).resolve().name}"
    figure = visualize.class_sheet_figure({c: p for c, p in pictures.items() if p}, counts, title)
    yield visualize.save(figure, folder / SHEET)
