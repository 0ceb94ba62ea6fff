"""`mvit-np convert`: a checkpoint in another format, or in another code base's layout."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import numpy as np

from ..backend.outputs import check_not_read, check_own, claim
from ..backend.plain_text import plain
from ..model.costs import costs
from ..model.text_table import wrapped
from ..weights.convert import LAYOUTS, OWN, convert
from ..weights.inflate import HOW
from ..weights.layouts.state_dicts import TITLES
from ..weights.load import BEST, MODEL
from .arguments import Commands, file_path
from .terminal import WIDTH


def add(commands: Commands) -> None:
    """The command's options."""
    parser = commands.add_parser(
        "convert", help="convert parameters to another format or to another code base's layout"
    )
    option = parser.add_argument
    source = ".npz, .safetensors, .pth, .pyth or .pt, in any layout, or the folder of a run"
    layout = f"the layout of OUT (default: ours, if OUT ends in {' or '.join(OWN.values())})"
    best = "for a run: take the parameters of its best test, not the last ones"
    split = "q, k and v as three layers (as PyTorchVideo has them)"
    fused = "q, k and v as one layer (as SlowFast has them)"
    inflate = "turn an image model into a video model, and extend its kernels in time in this way"
    seed = "seed for parameters that the image model does not have (%(default)s)"

    option("source", metavar="IN", type=file_path, help=source)
    option("target", metavar="OUT", type=file_path, help="the file to write")
    option("--to", choices=(*OWN, *LAYOUTS), help=layout)
    option("--best", action="store_true", help=best)
    option("--like", metavar="PRESET", help="the preset of IN, if its shapes do not tell it")
    option("--split", action="store_true", default=None, help=split)
    option("--fused", action="store_false", dest="split", help=fused)
    option("--inflate", choices=HOW, help=inflate)
    option("--into", metavar="PRESET", help="with --inflate: the preset of the video model")
    option("--seed", type=int, default=0, help=seed)
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Convert, and say what was recognised, assumed, drawn and written."""
    source, target = Path(arguments.source), Path(arguments.target)
    check_not_read([target], [source, source / MODEL, source / BEST])
    check_own(target.parent, "convert", [target.name], "give another name")
    names = ("to", "like", "split", "best", "inflate", "into")
    options = {name: getattr(arguments, name) for name in names}
    done = convert(source, target, **options, rng=np.random.default_rng(arguments.seed))
    claim(target.parent, "convert", [target.name])
    for line in _report(done, arguments):
        print(wrapped(plain(line), WIDTH, indent="  "))
    return 0


def _report(done, arguments):
    found = done.source
    layout = f"{TITLES[found.layout]} layout" if found.layout in TITLES else "our own layout"
    read = f"{layout}, {found.count} tensors, {_parameters(found.config)}"
    yield f"read {arguments.source}: {read}"
    yield from map(str, found.notes)
    if arguments.inflate:
        drawn = f"; drawn with seed {arguments.seed}: {', '.join(done.new)}" if done.new else ""
        yield f"inflated ({arguments.inflate}) into {arguments.into}{drawn}"
    wrote = f"{done.to}, {done.tensors} tensors, {_parameters(done.config)}"
    yield f"wrote {arguments.target}: {wrote}"


def _parameters(config):
    return f"{costs(config).params / 1e6:.1f} M parameters"
