"""`mvit-np classify`: what is in a video, a picture or a folder of them."""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

from tqdm import tqdm

from .. import load, plan, to_device
from .. import tree as trees
from ..backend import from_host
from ..classify import classify, media_in
from ..data import NORMALISATIONS, labels_for
from .arguments import count

WIDTH, BAR = 40, 28  # characters: a class's name at most, a bar
SHEETS = (".png", ".jpg", ".pdf", ".svg")  # endings of a contact sheet


def add(commands):
    """The command's options."""
    parser = commands.add_parser("classify", help="the classes of a video, a picture or a folder, by a model's weights")
    parser.add_argument("paths", metavar="PATH", nargs="+", help="videos, pictures or folders; more than one file: a CSV")
    parser.add_argument("--weights", metavar="FILE", required=True, help="the model")
    parser.add_argument("--preset", metavar="NAME", help="its architecture, where the file does not say")
    parser.add_argument("--labels", metavar="FILE", help="a class a line, or JSON (400: Kinetics, 1000: ImageNet)")
    parser.add_argument("--views", type=views, default=(5, 1), metavar="CxS", help="clips in time x crops in space (5x1)")
    parser.add_argument("--tau", type=count, default=4, help="frames of 1/30 s between a clip's (%(default)s, of 16x4)")
    parser.add_argument("--normalise", choices=NORMALISATIONS, help="the weights' (one frame: imagenet; grey: clip)")
    parser.add_argument("--top", type=count, default=5, help="classes to name (%(default)s)")
    parser.add_argument("--out", metavar="PLACE", default=".", help="folder, or .png for the sheet of a single file (here)")
    parser.add_argument("--csv", metavar="FILE", help="for more than one file (classes.csv in the folder of --out)")
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
    """One file: print and draw. More, or a folder: a CSV; exit code 1 where not one of them could be classified."""
    files = _files(arguments.paths)
    params, config = load(arguments.weights, **({"like": arguments.preset} if arguments.preset else {}))
    options = {
        "views": arguments.views,
        "tau": arguments.tau,
        "labels": labels_for(config.num_classes, arguments.labels),
        "normalisation": arguments.normalise,
    }
    model = to_device(params, arguments.device), config
    if len(files) == 1 and not Path(arguments.paths[0]).is_dir() and not arguments.csv:
        return _one(model, files[0], options, arguments)
    return _many(model, files, options, arguments)


def _files(paths):
    """The files named, and those in the folders named."""
    files = [file for path in map(Path, paths) for file in (media_in(path) if path.is_dir() else [path])]
    if not files:
        raise ValueError(f"classify reads videos and pictures, and {', '.join(paths)} holds none: pass files or their folder")
    return files


# -- one file ---------------------------------------------------------------------------------------------------------


def _one(model, path, options, arguments):
    with tqdm(unit=" views", leave=False, dynamic_ncols=True, delay=1) as bar:
        result = classify(*model, path, **options, progress=lambda done, of: _advance(bar, done, of))
    clips, crops = result.views
    print(f"{path.name}: {_length(result)}{clips} clip{'s' * (clips > 1)} x {crops} crop{'s' * (crops > 1)}\n")
    for line in _lines(result.top(arguments.top)):
        print(line)
    print(f"\nwrote {_sheet(model, result, arguments.out)}")
    return 0


def _advance(bar, done, of):
    bar.total = of
    bar.update(done - bar.n)


def _length(result):
    return f"{result.duration:.1f} s, " if result.duration else ""


def _lines(top):
    """Name, probability and a bar, in 80 columns."""
    block = "█" if "utf" in (sys.stdout.encoding or "").lower() else "#"
    for name, value in top:
        short = name if len(name) <= WIDTH else name[: WIDTH - 3] + "..."
        yield f"{short:{WIDTH}} {100 * value:5.1f} %  {block * round(BAR * value)}".rstrip()


def _sheet(model, result, out):
    """Where the contact sheet went."""
    from .. import visualize

    params, config = model
    name = f"{result.path.stem}_attention.png"
    path = Path(out) if _is_picture(out) else Path(out) / name
    maps = visualize.class_attention(params, from_host(result.clip, trees.leaves(params)[0]), config)
    return visualize.save(visualize.contact_sheet_figure(result, maps, plan(config)), path)


def _is_picture(out):
    return Path(out).suffix.lower() in SHEETS


# -- many files -------------------------------------------------------------------------------------------------------


def _many(model, files, options, arguments):
    if _is_picture(arguments.out):
        raise ValueError(f"more than one file gives a table and no sheet; came --out {arguments.out}: give a folder or --csv")
    table = Path(arguments.csv or Path(arguments.out) / "classes.csv")
    table.parent.mkdir(parents=True, exist_ok=True)
    top = min(arguments.top, len(options["labels"]))
    good = 0
    with table.open("w", newline="", encoding="utf-8") as file, tqdm(files, unit=" files", dynamic_ncols=True) as bar:
        writer = csv.writer(file)
        columns = [f"{what}_{rank}" for rank in range(1, top + 1) for what in ("label", "probability")]
        writer.writerow(["path", *columns, "error"])
        for path in bar:
            row, error = _row(model, path, options, top)
            writer.writerow([path, *row, error])
            file.flush()  # a row that is written stays, whatever comes after
            good += not error
    print(f"{good} of {len(files)} files classified; wrote {table}")
    return 0 if good else 1


def _row(model, path, options, top):
    """([label, probability, ...], "") or ([""...], what went wrong)"""
    try:
        result = classify(*model, path, **options)
    except ImportError:  # no decoder: no file will do better
        raise
    except Exception as problem:  # files are broken in ways nobody foresees, and the next one must have its turn
        return [""] * 2 * top, str(problem) or type(problem).__name__
    return [cell for name, value in result.top(top) for cell in (name, f"{value:.6f}")], ""
