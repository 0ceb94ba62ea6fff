"""`mvit-np check`: every gradient against finite differences."""

from __future__ import annotations

import time
from argparse import Namespace

from .arguments import Commands


def add(commands: Commands) -> None:
    """The command's options."""
    parser = commands.add_parser(
        "check",
        help="compare every gradient with finite differences: with the definitions, with the fast "
        "versions, and with the fast versions in small tiles",
    )
    about = "show the whole report of every check"
    parser.add_argument("--verbose", action="store_true", help=about)
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """A line for each op, layer and model, in either precision; exit code 1 if one disagrees."""
    from ..studies.gradient_cases import all_cases

    start, failed, count = time.perf_counter(), 0, 0
    for case in all_cases():
        for dtype in ("float64", "float32"):
            report = case.check(dtype, check=False)
            short = report.passed and not arguments.verbose
            print(report.summary() if short else report, flush=True)
            failed, count = failed + (not report.passed), count + len(report.checks)
    agreed = "definitions and fast versions all agree with finite differences"
    verdict = f"{failed} FAILED" if failed else agreed
    print(f"{count} directional derivatives in {time.perf_counter() - start:.1f} s: {verdict}")
    return 1 if failed else 0
