"""`mvit-np classify`: what is in a video, a picture or a folder of them."""

from __future__ import annotations

import argparse
import csv
import os
import sys
from pathlib import Path

from tqdm import tqdm

from ..backend import tree as trees
from ..backend.arrays import from_host
from ..backend.outputs import (
    carries,
    check_free,
    check_not_read,
    is_drawn_here,
    make_folder,
    telling,
    write,
)
from ..backend.plain_text import ENCODING, are, plain
from ..data import NORMALISATIONS, labels_for
from ..data.media import IMAGES, VIDEOS
from ..model.inspection import class_attention
from ..model.plan import plan
from ..train import run as runs
from ..train.classify import TAU, classify, default_normalisation, media_in
from ..weights.formats.files import SUFFIXES
from ..weights.load import BEST, MODEL
from .arguments import count, place, positive
from .terminal import say

WIDTH, BAR = 40, 28  # characters: a class's name at most, a bar
SHEETS = (".png", ".jpg", ".jpeg", ".pdf", ".svg")  # endings of a contact sheet
# what `labels_for` takes so many for
USUAL = {400: "the classes of Kinetics", 1000: "the classes of ImageNet"}
TABLE, HEADER = "classes.csv", "path,label_1,probability_1,"  # and how it begins


def add(commands):
    """The command's options."""
    parser = commands.add_parser(
        "classify", help="the classes of a video, a picture or a folder, by a model's weights"
    )
    parser.add_argument(
        "paths",
        metavar="PATH",
        nargs="+",
        type=place,
        help="videos, pictures, folders; several: a CSV",
    )
    parser.add_argument(
        "--weights",
        metavar="FILE",
        required=True,
        type=place,
        help="the model, or the folder of a run",
    )
    parser.add_argument(
        "--best",
        action="store_true",
        help="of a run: the parameters of its best test, not the last ones",
    )
    parser.add_argument(
        "--preset", metavar="NAME", help="its architecture, where the file does not say"
    )
    parser.add_argument(
        "--labels", metavar="FILE", type=place, help="a class a line, or JSON (as the model tells)"
    )
    parser.add_argument(
        "--views",
        type=views,
        default=(5, 1),
        metavar="CxS",
        help="clips in time x crops in space (5x1)",
    )
    parser.add_argument(
        "--tau",
        type=positive,
        help=f"frames of 1/30 s between a clip's (as the model tells, else {TAU})",
    )
    parser.add_argument(
        "--normalise", choices=NORMALISATIONS, help="the weights' (as the model tells)"
    )
    parser.add_argument("--top", type=count, default=5, help="classes to name (%(default)s)")
    parser.add_argument(
        "--out",
        metavar="PLACE",
        type=place,
        default=".",
        help="folder, or .png for the sheet of a single file (here)",
    )
    parser.add_argument(
        "--csv",
        metavar="FILE",
        type=place,
        help=f"for more than one file ({TABLE} in the folder of --out)",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (%(default)s)")
    parser.set_defaults(run=run)


def views(text):
    """5x3 -> (5, 3); 5 -> (5, 1)"""
    clips, _, crops = (text if "x" in text.lower() else f"{text}x1").lower().partition("x")
    try:
        return count(clips), count(crops)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"clips x crops, such as 5x3; came {text!r}") from None


def run(arguments):
    """One file: print and draw. More, or a folder: a CSV; exit code 1 where not one of them could
    be classified.
    """
    files = _files(arguments.paths)
    one = len(files) == 1 and not Path(arguments.paths[0]).is_dir() and not arguments.csv
    target = _sheet(files[0], arguments) if one else _table(arguments)
    _check_target(target, files, arguments)
    model, about = _model(arguments)
    options = _options(model[1], about, arguments)
    make_folder(target.parent)
    return (
        _one(model, files[0], options, target, arguments.top)
        if one
        else _many(model, files, options, target, arguments.top)
    )


def _files(paths):
    """The files named, and those in the folders named."""
    drawn = []
    files = [
        file
        for path in map(Path, paths)
        for file in (media_in(path, drawn) if path.is_dir() else [path])
    ]
    if drawn:
        say(
            f"{len(drawn)} picture{'s' * (len(drawn) > 1)} that mvit-np drew {are(drawn)} left out, "
            f"such as {drawn[0]}"
        )
    if not files:
        raise ValueError(
            f"classify reads videos and pictures, and {', '.join(paths)} holds none: pass files or "
            "their folder"
        )
    return files


# -- what is written -------------------------------------------------------------------------------


def _sheet(path, arguments):
    out = Path(arguments.out)
    return out if _is_picture(out) else out / f"{path.stem}_attention.png"


def _table(arguments):
    if arguments.csv:
        return Path(arguments.csv)
    if _is_picture(arguments.out):
        raise ValueError(
            f"more than one file gives a table and no sheet; came --out {arguments.out}: give a "
            "folder or --csv"
        )
    return Path(arguments.out) / TABLE


def _is_picture(out):
    return Path(out).suffix.lower() in SHEETS


def _check_target(target, files, arguments):
    """Before anything is computed: what is written is nothing that is read, and no file of somebody
    else's.
    """
    weights = Path(arguments.weights)
    read = [
        *files,
        weights,
        weights / MODEL,
        weights / BEST,
        *([arguments.labels] if arguments.labels else []),
    ]
    check_not_read([target], read)
    for option, kind in (("csv", "a table"), ("out", "a folder, or a picture of one file")):
        _check_ending(option, getattr(arguments, option), kind)
    check_free(target, is_drawn_here if _is_picture(target) else _is_table)


def _check_ending(option, name, kind):
    """An option without its value takes the next word, which the shell may have made of *.mp4."""
    media = {*VIDEOS, *IMAGES, *SUFFIXES} - {*(SHEETS if option == "out" else ())}
    if name and Path(name).suffix.lower() in media and not Path(name).is_dir():
        raise ValueError(
            f"--{option} is {kind}, and came with {name}, which is called like a video, a picture "
            "or weights: give it a name of its own"
        )


def _is_table(path):
    return carries(path, HEADER.encode())


# -- the model -------------------------------------------------------------------------------------


def _model(arguments):
    """((params, config), About)"""
    found = runs.trained(arguments.weights, arguments.device, arguments.best, arguments.preset)
    return (found.params, found.config), found.about


def _options(config, about, arguments):
    """What `classify` is told: by the user, else by the model; what neither says is assumed, and
    said.
    """
    labels = labels_for(config.num_classes, arguments.labels) if arguments.labels else about.classes
    tau, normalisation = arguments.tau or about.tau, arguments.normalise or about.normalise
    usual = labels_for(config.num_classes)
    assumed = {
        "--labels": None if labels else USUAL.get(len(usual), "classes by number"),
        "--tau": None if tau or config.frames == 1 else f"tau {TAU}",
        "--normalise": None if normalisation else f"normalisation {default_normalisation(config)}",
    }
    if missing := {option: words for option, words in assumed.items() if words}:
        say(
            f"{arguments.weights} does not say, and it is assumed: {', '.join(missing.values())} "
            f"({', '.join(missing)})"
        )
    return {
        "views": arguments.views,
        "tau": tau or TAU,
        "labels": labels or usual,
        "normalisation": normalisation,
    }


# -- one file --------------------------------------------------------------------------------------


def _one(model, path, options, sheet, top):
    with tqdm(unit=" views", leave=False, dynamic_ncols=True, delay=1) as bar:
        result = classify(
            *model, path, **options, progress=lambda done, of: _advance(bar, done, of)
        )
    clips, crops = result.views
    print(
        f"{plain(path.name)}: {_length(result)}{clips} clip{'s' * (clips > 1)} x {crops} "
        f"crop{'s' * (crops > 1)}\n"
    )
    for line in _lines(result.top(top)):
        print(line)
    print(f"\nwrote {plain(_draw(model, result, sheet))}")
    return 0


def _advance(bar, done, of):
    bar.total = of
    bar.update(done - bar.n)


def _length(result):
    return f"{result.duration:.1f} s, " if result.duration else ""


def _lines(top):
    """Name, probability and a bar, in 80 columns."""
    block = "█" if "utf" in (sys.stdout.encoding or "").lower() else "#"
    for name, value in ((plain(name), value) for name, value in top):
        short = name if len(name) <= WIDTH else name[: WIDTH - 3] + "..."
        yield f"{short:{WIDTH}} {100 * value:5.1f} %  {block * round(BAR * value)}".rstrip()


def _draw(model, result, path):
    from .. import visualize

    params, config = model
    maps = class_attention(params, from_host(result.clip, trees.leaves(params)[0]), config)
    return visualize.save(visualize.contact_sheet_figure(result, maps, plan(config)), path)


# -- many files ------------------------------------------------------------------------------------


def _many(model, files, options, table, top):
    top, good = min(top, len(options["labels"])), 0
    _begin(table, top)
    # From here on rows go straight into the table, and not into a file that takes its name at the end:
    # they may be hours of work, and one that is written stays, whatever comes after.
    with (
        table.open("a", newline="", **ENCODING) as file,
        tqdm(files, unit=" files", dynamic_ncols=True) as bar,
    ):
        for path in bar:
            row, error = _row(model, path, options, top)
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


def _row(model, path, options, top):
    """([label, probability, ...], "") or ([""...], what went wrong)"""
    try:
        result = classify(*model, path, **options)
    except ImportError:  # no decoder: no file will do better
        raise
    # files are broken in ways nobody foresees, and the next one must have its turn
    except Exception as problem:
        return [""] * 2 * top, str(problem) or type(problem).__name__
    return [cell for name, value in result.top(top) for cell in (name, f"{value:.6f}")], ""
