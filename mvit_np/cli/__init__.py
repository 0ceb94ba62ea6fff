"""The command line: one file a command. The only part of the package that prints."""

from __future__ import annotations

import argparse
import sys

from .. import __version__
from . import bench, check, classify, convert, demo, evaluate, experiment, info, train
from .arguments import MISTAKES


def main(argv=None):
    """Run one command; the exit code is 0, 1 where a check failed, 2 for a mistake of the user's (one sentence says which)."""
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
    if rest and not getattr(arguments, "takes_fields", False):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    arguments.rest = rest
    try:
        return arguments.run(arguments)
    except MISTAKES as mistake:
        print(f"mvit-np: {mistake}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("mvit-np: stopped", file=sys.stderr)
        return 130


def _parser():
    parser = argparse.ArgumentParser(prog="mvit-np", description="Multiscale Vision Transformers as explicit array maths.")
    parser.add_argument("--version", action="version", version=f"mvit-np {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (demo, train, evaluate, experiment, info, classify, convert, check, bench):
        command.add(commands)
    return parser
