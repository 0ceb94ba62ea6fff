"""`mvit-np classify`: what is in a video, a picture or a folder of them."""

from __future__ import annotations

import csv
import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tqdm import tqdm

from ..backend import tree as trees
from ..backend.arrays import from_host
from ..backend.outputs import make_folder, telling, write
from ..backend.plain_text import ENCODING, are, plain
from ..data import NORMALISATIONS, labels_for
from ..model.inspection import check_one_list, class_attention
from ..model.plan import plan
from ..train import run as runs
from ..train.classify import TAU, classify, default_normalisation, media_in
from ..train.run import Trained
from . import classify_film
from .arguments import Commands, count, file_path, positive, views
from .classify_files import TABLE, check_target, sheet_of, table_of
from .terminal import advance, say

WIDTH, BAR = 40, 28  # characters: a class's name at most, a bar
ONE_FILM = "explain", "video", "timeline"  # what is made of one film alone
# What `labels_for` takes so many classes for.
USUAL = {400: "the classes of Kinetics", 1000: "the classes of ImageNet"}


def add(commands: Commands) -> None:
    """The command's options."""
    parser = commands.add_parser(
        "classify", help="classify a video, a picture or a folder with a model"
    )
    option = parser.add_argument
    file = partial(option, type=file_path, metavar="FILE")

    paths = "videos, pictures or folders; for more than one file a table (CSV) is written"
    file("paths", metavar="PATH", nargs="+", help=paths)
    file("--weights", required=True, help="the model, or the folder of a run")
    best = "for a run: take the parameters of its best test, not the last ones"
    option("--best", action="store_true", help=best)
    option("--preset", metavar="NAME", help="the preset of the model, if the file does not say it")
    file("--labels", help="names of the classes: one per line, or JSON (default: the model's)")
    shown = "views: clips in time x crops in space (5x1)"
    option("--views", type=views, default=(5, 1), metavar="CxS", help=shown)
    tau = f"frames of 1/30 s from one frame to the next (default: the model's, else {TAU})"
    option("--tau", type=positive, help=tau)
    how = "how pixels are normalised (default: as the model says)"
    option("--normalise", choices=NORMALISATIONS, help=how)
    option("--top", type=count, default=5, help="number of classes to name (%(default)s)")
    out = "folder, or a .png for the picture of a single file (default: the current folder)"
    file("--out", metavar="OUT", default=".", help=out)
    file("--csv", help=f"the table of more than one file (default: {TABLE} in --out)")
    classify_film.add(option)
    option("--device", default="cpu", help="cpu, cuda or cuda:N (%(default)s)")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """One file: print and draw. More, or a folder: a CSV; exit code 1 where all of them failed."""
    files = files_in(arguments.paths)
    one = len(files) == 1 and not Path(arguments.paths[0]).is_dir() and not arguments.csv
    target = sheet_of(files[0], arguments) if one else table_of(arguments)
    check_target(target, files, arguments)
    more = classify_film.targets(files[0], target, arguments) if one else _alone(arguments)
    found = runs.trained(arguments.weights, arguments.device, arguments.best, arguments.preset)
    options = _options(found, arguments)
    if more.keys() & {"explain", "video"}:
        check_one_list(plan(found.config), "relevance")  # before anything is written
    make_folder(target.parent)
    if one:
        return _one(found, files[0], options, target, arguments, more)
    return _many(found, files, options, target, arguments.top)


def files_in(paths: Sequence[str]) -> list[Path]:
    """The files named, and those in the folders named. Raises ValueError where there are none."""
    files: list[Path] = []
    drawn: list[Path] = []
    for path in map(Path, paths):
        files += media_in(path, drawn) if path.is_dir() else [path]
    if drawn:
        made = f"{len(drawn)} file{'s' * (len(drawn) > 1)}"
        say(f"{made} that mvit-np drew {are(drawn)} left out, such as {drawn[0]}")
    if not files:
        raise ValueError(
            f"videos and pictures are read, and {', '.join(paths)} holds none: "
            "pass files or their folder"
        )
    return files


def _options(found, arguments):
    """What `classify` is told by the user, else by the model; else it is assumed, and said."""
    config, about = found.config, found.about
    labels = labels_for(config.num_classes, arguments.labels) if arguments.labels else about.classes
    tau, normalisation = arguments.tau or about.tau, arguments.normalise or about.normalise
    usual = labels_for(config.num_classes)
    named = {"--labels": None if labels else USUAL.get(len(usual), "classes by number")}
    say_assumed(arguments.weights, named | assumed(found, arguments))
    return {
        "views": arguments.views,
        "tau": tau or TAU,
        "labels": labels or usual,
        "normalisation": normalisation,
    }


def assumed(found: Trained, arguments: Namespace) -> dict[str, str | None]:
    """{option: what is assumed of how clips are sampled, or None where somebody says}"""
    config, about = found.config, found.about
    tau, normalisation = arguments.tau or about.tau, arguments.normalise or about.normalise
    usual = default_normalisation(config)
    return {
        "--tau": None if tau or config.frames == 1 else f"tau {TAU}",
        "--normalise": None if normalisation else f"normalisation {usual}",
    }


def say_assumed(weights: str, assumptions: dict[str, str | None]) -> None:
    """One sentence about all that a file does not say, if any."""
    if missing := {option: words for option, words in assumptions.items() if words}:
        words = f"{', '.join(missing.values())} ({', '.join(missing)})"
        say(f"{weights} does not say, and it is assumed: {words}")


# -- one file --------------------------------------------------------------------------------------


def _alone(arguments):
    """Raise ValueError where what is made of one film is asked for many files."""
    if asked := [f"--{name}" for name in ONE_FILM if getattr(arguments, name) not in (None, False)]:
        raise ValueError(
            f"{' and '.join(asked)} {are(asked)} made of one file, and a folder, a --csv or "
            "several files came: give the file itself"
        )
    return {}


def _one(found, path, options, sheet, arguments, more):
    with tqdm(unit=" views", leave=False, dynamic_ncols=True, delay=1) as bar:
        show = partial(advance, bar)
        result = classify(found.params, found.config, path, **options, progress=show)
    clips, crops = (_counted(n, what) for n, what in zip(result.views, ("clip", "crop")))
    length = f"{result.duration:.1f} s, " if result.duration else ""
    print(f"{plain(path.name)}: {length}{clips} x {crops}\n")
    for line in _lines(result.top(arguments.top)):
        print(line)
    index = classify_film.class_of(result, arguments.explain)
    print(f"\nwrote {plain(_draw(found, result, sheet))}")
    if "explain" in more:
        print(f"wrote {plain(classify_film.explained(found, result, index, more['explain']))}")
    for file in classify_film.along(found, result, options, arguments.stride, more, index):
        print(f"wrote {plain(file)}")
    return 0


def _counted(number, what):
    return f"{number} {what}{'s' * (number > 1)}"


def _lines(top):
    """Name, probability and a bar, in 80 columns."""
    block = "█" if "utf" in (sys.stdout.encoding or "").lower() else "#"
    for name, value in ((plain(name), value) for name, value in top):
        short = name if len(name) <= WIDTH else name[: WIDTH - 3] + "..."
        yield f"{short:{WIDTH}} {100 * value:5.1f} %  {block * round(BAR * value)}".rstrip()


def _draw(found, result, path):
    from .. import visualize

    params, config = found.params, found.config
    maps = class_attention(params, from_host(result.clip, trees.leaves(params)[0]), config)
    return visualize.save(visualize.contact_sheet_figure(result, maps, plan(config)), path)


# -- many files ------------------------------------------------------------------------------------


def _many(found, files, options, table, top):
    top, good = min(top, len(options["labels"])), 0
    _begin(table, top)
    # From here on rows go straight into the table, and not into a file that takes its name at the
    # end: they may be hours of work, and one that is written stays, whatever comes after.
    with table.open("a", newline="", **ENCODING) as file:
        for path in tqdm(files, unit=" files", dynamic_ncols=True):
            row, error = _row(found, path, options, top)
            with telling(table):
                csv.writer(file).writerow([_in_utf8(path), *map(plain, row), plain(error)])
                file.flush()
            good += not error
    print(f"{good} of {len(files)} files classified; wrote {plain(table)}")
    return 0 if good else 1


def _begin(table, top):
    columns = [f"{what}_{rank}" for rank in range(1, top + 1) for what in ("label", "probability")]
    write(table, ",".join(["path", *columns, "error"]) + "\r\n")


def _in_utf8(path):
    """A path as the file system has its bytes, whatever encoding Python takes them for."""
    return os.fsencode(path).decode(**ENCODING)


def _row(found, path, options, top):
    """([label, probability, ...], "") or ([""...], what went wrong)"""
    try:
        result = classify(found.params, found.config, path, **options)
    except ImportError:  # no decoder: no file will do better
        raise
    except Exception as problem:  # files are broken in unforeseen ways; the next has its turn
        return [""] * 2 * top, str(problem) or type(problem).__name__
    return [cell for name, value in result.top(top) for cell in (name, f"{value:.6f}")], ""
