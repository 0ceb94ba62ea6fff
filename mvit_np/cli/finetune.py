"""`mvit-np finetune`: from a trained model and one's own films to a model of these."""

from __future__ import annotations

from argparse import Namespace
from functools import partial
from pathlib import Path

from ..train.run.recipe import changed
from ..train.run.run_folder import RECIPE, recipe_in, resolve
from ..train.run.transfer import MODES, transfer_recipe
from .arguments import Commands, file_path
from .recipe_options import add_fields, fields_of
from .terminal import say
from .train import drive


def add(commands: Commands) -> None:
    """The command's options: a few of its own, and one for every field of a recipe."""
    parser = commands.add_parser(
        "finetune",
        help="from the weights of a trained model and a folder of films to a model of these",
        usage="mvit-np finetune --weights FILE --data FOLDER --out FOLDER [--mode MODE] "
        "[--resume] [--FIELD VALUE ...]",
        description="Train a model further on other data. Its file says what it is; the mode is a "
        "recipe (probe: a new head on features that are computed once; freeze: the last stage "
        "and the head; full: everything, the first layers least), and a field of it may be "
        "given as --field VALUE. What it makes is the folder of a run, as of mvit-np train.",
        allow_abbrev=False,
    )
    option, switch = parser.add_argument, partial(parser.add_argument, action="store_true")
    option("--mode", choices=MODES, default="probe", help="what is learned (%(default)s)")
    option("--preset", metavar="NAME", help="the file's architecture, where it does not say")
    option("--out", type=file_path, metavar="FOLDER", help="for the model and all about the run")
    switch("--resume", help="go on with the run in FOLDER, or begin where there is none")
    switch("--data-changed", help="with --resume: go on although the examples are others now")
    add_fields(parser)
    parser.set_defaults(run=run, takes_fields=True)


def run(arguments: Namespace) -> int:
    """Train; exit codes as of `mvit-np train`."""
    fields, out = fields_of(arguments), arguments.out
    if out is None:
        raise ValueError("a run needs a folder for what it learns: give --out FOLDER")
    options = {"resume": arguments.resume, "data_changed": arguments.data_changed}
    weights = fields.pop("weights", None)
    if arguments.resume and weights is None and (Path(out) / RECIPE).is_file():
        return drive(changed(resolve(*recipe_in(out)), fields), out, **options)
    if weights is None:
        raise ValueError("a model is trained further from its weights: give --weights FILE")
    recipe = transfer_recipe(weights, arguments.mode, fields, arguments.preset, say)
    return drive(recipe, out, **options)
