"""`mvit-np features`: the pooled vectors of films and pictures, with their names, as one file."""

from __future__ import annotations

from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..backend.outputs import carries, check_free, check_not_read, make_folder, replacing
from ..backend.plain_text import plain
from ..data import NORMALISATIONS
from ..train import run as runs
from ..train.classify import TAU, features_of
from .arguments import Commands, count, file_path, positive, views
from .classify import assumed, files_in, say_assumed
from .terminal import say


def add(commands: Commands) -> None:
    """The command's options."""
    parser = commands.add_parser(
        "features", help="what a model makes of films before its head: a vector each, as .npz"
    )
    option = parser.add_argument
    file = partial(option, type=file_path, metavar="FILE")

    file("paths", metavar="PATH", nargs="+", help="videos, pictures, folders")
    file("--weights", required=True, help="the model, with or without a head, or a run's folder")
    option("--best", action="store_true", help="of a run: the parameters of its best test")
    option("--preset", metavar="NAME", help="its architecture, where the file does not say")
    shown = "clips in time x crops in space, whose vectors are averaged (1x1)"
    option("--views", type=views, default=(1, 1), metavar="CxS", help=shown)
    tau = f"frames of 1/30 s between a clip's (as the model tells, else {TAU})"
    option("--tau", type=positive, help=tau)
    option("--normalise", choices=NORMALISATIONS, help="the weights' (as the model tells)")
    maps = "the maps of these stages too, such as 4 or 1,2,3,4 (map_4: (N, t, h, w, D))"
    option("--maps", type=_stages, default=(), metavar="STAGES", help=maps)
    file("--out", required=True, metavar="FILE.npz", help="names (N,) and pooled (N, D)")
    option("--device", default="cpu", help="cpu, cuda or cuda:N (%(default)s)")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Write the vectors of all files that can be read; exit code 1 where none can."""
    files, out = files_in(arguments.paths), Path(arguments.out)
    if out.suffix != ".npz":
        raise ValueError(f"features are written to .npz; came {out.name}: give such a name")
    check_not_read([out], [*files, arguments.weights])
    check_free(out, lambda path: carries(path, b"pooled.npy"))
    how = (arguments.weights, arguments.device, arguments.best, arguments.preset)
    found = runs.trained(*how, headless=True)
    about, wrong = found.about, [k for k in arguments.maps if k > len(found.config.depths)]
    if wrong:
        raise ValueError(
            f"stages are 1 to {len(found.config.depths)}; came {wrong[0]}: correct --maps"
        )
    say_assumed(arguments.weights, assumed(found, arguments))
    options = {"views": arguments.views, "tau": arguments.tau or about.tau or TAU}
    options["stages"] = [stage - 1 for stage in arguments.maps]
    options["normalisation"] = arguments.normalise or about.normalise
    make_folder(out.parent)
    names, features = _features(found, files, options)
    if names:
        titles = ["pooled", *(f"map_{stage}" for stage in arguments.maps)]
        arrays: dict[str, Any] = dict(zip(titles, map(np.stack, zip(*features))))
        with replacing(out) as file:
            np.savez(file, names=np.array(names), **arrays)
        numbers = sum(array[0].size for array in arrays.values())
        print(f"{len(names)} of {len(files)} files, {numbers} numbers each; wrote {out}")
    return 0 if names else 1


def _stages(text):
    """ "1,4" -> (1, 4)"""
    return tuple(dict.fromkeys(count(part) for part in text.split(",")))


def _features(found, files, options):
    """Names and features; a file that cannot be read is said and left out."""
    names, features = [], []
    for path in tqdm(files, unit=" files", dynamic_ncols=True):
        try:
            of_film = features_of(found.params, found.config, path, **options)
        except ImportError:  # no decoder: no file will do better
            raise
        except Exception as problem:  # files are broken in unforeseen ways; the next has its turn
            say(f"{path} is left out: {plain(problem)}")
            continue
        names.append(plain(path))
        features.append(of_film)
    return names, features
