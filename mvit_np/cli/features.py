"""`mvit-np features`: the pooled vectors of films and pictures, with their names, as one file."""

from __future__ import annotations

from argparse import Namespace
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..backend.outputs import carries, check_free, check_not_read, make_folder, replacing
from ..backend.plain_text import plain
from ..data import NORMALISATIONS
from ..train import run as runs
from ..train.classify import TAU, pooled_views
from .arguments import Commands, file_path, positive, views
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
    about = found.about
    say_assumed(arguments.weights, assumed(found, arguments))
    options = {"views": arguments.views, "tau": arguments.tau or about.tau or TAU}
    options["normalisation"] = arguments.normalise or about.normalise
    make_folder(out.parent)
    names, vectors = _vectors(found, files, options)
    if names:
        with replacing(out) as file:
            np.savez(file, names=np.array(names), pooled=np.stack(vectors))
        print(f"{len(names)} of {len(files)} files, {len(vectors[0])} numbers each; wrote {out}")
    return 0 if names else 1


def _vectors(found, files, options):
    """Names and vectors; a file that cannot be read is said and left out."""
    names, vectors = [], []
    for path in tqdm(files, unit=" files", dynamic_ncols=True):
        try:
            of_views = pooled_views(found.params, found.config, path, **options)
        except ImportError:  # no decoder: no file will do better
            raise
        except Exception as problem:  # files are broken in unforeseen ways; the next has its turn
            say(f"{path} is left out: {plain(problem)}")
            continue
        names.append(plain(path))
        vectors.append(of_views.mean(axis=0))
    return names, vectors
