"""`mvit-np explainer`: a page on which a trained model runs live in the browser."""

from __future__ import annotations

from argparse import Namespace

from ..backend import tree as trees
from ..backend.outputs import carries, check_free, check_not_read, write
from ..backend.plain_text import plain
from ..data import labels_for
from ..data.sets.builtin import BUILTIN
from ..train import run as runs
from ..train.classify import TAU
from .arguments import Commands, file_path
from .terminal import say

VIEWS = 1, 1  # clips in time and crops in space: the page looks at one clip


def add(commands: Commands) -> None:
    """The command's options."""
    parser = commands.add_parser(
        "explainer", help="a page in which a small trained model runs live, to look inside it"
    )
    option = parser.add_argument
    model = "a run's folder, or its model, as of the recipes small and demo"
    data = (
        f"test the model on it and state the accuracy on the page: {', '.join(BUILTIN)}, or files"
    )
    best = "of a run: the parameters of its best test, not the last ones"

    option("--model", type=file_path, required=True, metavar="FILE", help=model)
    out = "the page (%(default)s)"
    option("--out", type=file_path, default="explainer.html", metavar="FILE", help=out)
    option("--best", action="store_true", help=best)
    option("--data", metavar="DATA", help=data)
    option("--note", default="", metavar="TEXT", help="a sentence for the page: how it was trained")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Read the model, test it if asked to, write the page."""
    from ..visualize.explainer import MARK, page

    check_free(arguments.out, lambda path: carries(path, MARK.encode()))
    check_not_read([arguments.out], [arguments.model])
    found = runs.trained(arguments.model, best=arguments.best)
    about, config = found.about, found.config
    classes = about.classes or tuple(labels_for(config.num_classes))
    told = [f"{_parameters(found.params)} parameters.", arguments.note]
    if arguments.data:
        told.append(_tested(found, arguments.data))
    text = page(
        found.params, config, classes, about.normalise or "clip", about.tau or TAU,
        note=" ".join(filter(None, told)),
    )  # fmt: skip
    write(arguments.out, text)
    print(f"{' '.join(filter(None, told))}")
    print(f"wrote {plain(arguments.out)}, {len(text.encode()) / 1e6:.2f} MB")
    return 0


def _parameters(params):
    return f"{sum(leaf.size for leaf in trees.leaves(params)):,}"


def _tested(found, data):
    """The accuracy on a data set, in a sentence."""
    test = runs.test_of(found, data, VIEWS, say=say)
    result = runs.evaluated(found, test)
    right = f"{result.top1:.1%} are right" if result else "none could be read"
    return f"Of {len(test.data):,} test clips of {plain(test.name)}, {right}."
