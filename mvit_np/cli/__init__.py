"""The command line: one file per command. It is the only part of the package that prints."""

from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Sequence

from .. import __version__
from ..backend import arrays, tiles
from ..backend.plain_text import plain
from ..train.guard import NotFinite
from . import (
    bench,
    check,
    classify,
    convert,
    course,
    demo,
    evaluate,
    experiment,
    explainer,
    features,
    finetune,
    info,
    inspect,
    train,
)
from .arguments import MISTAKES
from .terminal import READER_GONE, let_go, prepare, tell, warnings_told


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, or 2 for a mistake of the user's, told in a sentence.

    It is 1 where a check failed or a loss was not finite, and 141 where whoever reads what is
    printed has gone.
    """
    prepare()
    try:
        try:
            with warnings_told():
                return _run(argv)
        finally:
            sys.stdout.flush()
    except MISTAKES as mistake:
        of_windows = getattr(mistake, "errno", None) == errno.EINVAL  # where a pipe is broken
        if (let_go() and of_windows) or isinstance(mistake, BrokenPipeError):
            return READER_GONE
        tell(mistake)
        return 2
    except NotFinite as problem:
        tell(problem)
        return 1
    except KeyboardInterrupt:
        tell("stopped")
        return 130


def _run(argv):
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
    if rest and not getattr(arguments, "takes_fields", False):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    arguments.rest, arguments.typed = rest, sys.argv[1:] if argv is None else argv
    arrays.plain(), tiles.threads()  # an unknown word in the environment, before a file is written
    return arguments.run(arguments)


class _Parser(argparse.ArgumentParser):
    """Its subcommands' parsers are of this class too."""

    def error(self, message):
        """The message holds what the user typed, or what the shell made of a pattern."""
        super().error(plain(message))


def _parser():
    about = "Multiscale Vision Transformers as explicit array maths."
    parser = _Parser(prog="mvit-np", description=about)
    parser.add_argument("--version", action="version", version=f"mvit-np {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    every = (
        demo, inspect, train, finetune, evaluate, experiment, info, explainer, classify, features,
        convert, check, bench, course,
    )  # fmt: skip
    for command in every:
        command.add(commands)
    return parser
