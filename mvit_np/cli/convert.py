"""`mvit-np convert`: a checkpoint in another format, or in another code base's layout."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np

from ..backend.outputs import check_not_read, check_own, claim
from ..backend.plain_text import plain
from ..model.costs import costs
from ..weights.convert import LAYOUTS, OWN, convert
from ..weights.inflate import HOW
from ..weights.layouts.state_dicts import TITLES
from ..weights.load import BEST, MODEL
from .arguments import place

WIDTH = 80  # characters


def add(commands):
    """The command's options."""
    parser = commands.add_parser(
        "convert", help="parameters in another format or another code base's layout"
    )
    parser.add_argument(
        "source",
        metavar="IN",
        type=place,
        help=".npz, .safetensors, .pth, .pyth or .pt, of any layout, or a run's folder",
    )
    parser.add_argument("target", metavar="OUT", type=place, help="the file to write")
    parser.add_argument(
        "--to",
        choices=(*OWN, *LAYOUTS),
        help="the layout of OUT (as its suffix says, if that is ours)",
    )
    parser.add_argument(
        "--best",
        action="store_true",
        help="of a run: the parameters of its best test, not the last ones",
    )
    parser.add_argument("--like", metavar="PRESET", help="what IN is, where its shapes do not tell")
    parser.add_argument(
        "--split",
        action="store_true",
        default=None,
        help="q, k and v as three layers (PyTorchVideo's way)",
    )
    parser.add_argument(
        "--fused",
        action="store_false",
        dest="split",
        help="q, k and v as one layer (SlowFast's way)",
    )
    parser.add_argument(
        "--inflate",
        choices=HOW,
        help="make a video model of an image model, its kernels filled so in time",
    )
    parser.add_argument("--into", metavar="PRESET", help="the video model, with --inflate")
    parser.add_argument(
        "--seed", type=int, default=0, help="draws what the image model has not (%(default)s)"
    )
    parser.set_defaults(run=run)


def run(arguments):
    """Convert, and say what was recognised, assumed, drawn and written."""
    source, target = Path(arguments.source), Path(arguments.target)
    check_not_read([target], [source, source / MODEL, source / BEST])
    check_own(target.parent, "convert", [target.name], "give another name")
    options = {
        "to": arguments.to,
        "like": arguments.like,
        "split": arguments.split,
        "best": arguments.best,
    }
    rng = np.random.default_rng(arguments.seed)
    done = convert(
        source, target, **options, inflate=arguments.inflate, into=arguments.into, rng=rng
    )
    claim(target.parent, "convert", [target.name])
    for line in _report(done, arguments):
        print(textwrap.fill(plain(line), WIDTH, subsequent_indent="  ", break_on_hyphens=False))
    return 0


def _report(done, arguments):
    found = done.source
    layout = f"{TITLES[found.layout]} layout" if found.layout in TITLES else "our own layout"
    yield f"read {arguments.source}: {layout}, {found.count} tensors, {costs(found.config).params / 1e6:.1f} M parameters"
    yield from map(str, found.notes)
    if arguments.inflate:
        drawn = f"; drawn with seed {arguments.seed}: {', '.join(done.new)}" if done.new else ""
        yield f"inflated ({arguments.inflate}) into {arguments.into}{drawn}"
    yield f"wrote {arguments.target}: {done.to}, {done.tensors} tensors, {costs(done.config).params / 1e6:.1f} M parameters"
