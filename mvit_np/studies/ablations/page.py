"""What is written of results alone: a table of one experiment, and docs/experiments.md of all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...model.text_table import aligned, markdown, percent, si_prefix, wrapped
from .findings import RULE, findings, lines
from .sets import classes_of
from .table import EXPERIMENTS, Experiment

Results = Mapping[str, Any]
Cells = tuple[list[str], list[list[str]]]  # head, rows

FIGURE = "figures/experiment_{name}.png"  # beside the page
INTRO = """Written by `mvit-np experiment --page docs/experiments.md` from what it measured. The
`.json` files in the folder of the page's name keep the measurements; a test fails if page and
files differ. Each experiment is one of the paper's ablations, at a scale where a run takes half
a minute. It trains models that differ in one thing only, with the same recipe, for the same
number of steps, on clips that come with packages. `mvit-np experiment NAME` repeats one of them."""
SCALE = """The paper's models see 16 frames of 224 x 224 pixels and are trained for 200 epochs of
Kinetics-400. Our models see 8 frames of 32 x 32 pixels, or one frame, and are trained for some
hundred steps from random weights. So a number here tells how fast a model learns, more than how
good it could become. Strides of keys and values are halved because the grid is smaller (1x4x4
for the paper's 1x8x8), and the models have fewer blocks. What the paper finds need not show at
this scale. This page says for each finding whether it does, by the following rule."""
PAPER = """Beside each row is the accuracy that the paper prints for the corresponding model.
Compare the order of the rows, not the numbers."""


def table_of(experiment: Experiment, results: Results) -> Cells:
    """(head, rows) of cells: a line of the experiment each."""
    known = lines(experiment, results)
    factor, prefix = si_prefix(max(line.macs for line in known))
    head = ["", "mean, %", "spread", "each seed, %", f"{prefix} mult-adds"]
    head += ["parameters", "s per run", "paper, %"]
    return head, [_row(line, factor) for line in known]


def _row(line, factor):
    spread = "" if line.spread is None else percent(line.spread, 1, sign="")
    seeds = " ".join(percent(share, 1, sign="") for share in line.accuracies)
    costs = [f"{line.macs / factor:.2f}", f"{line.params:,}", f"{line.seconds:.0f}"]
    paper = "" if line.paper is None else f"{line.paper:.1f}"
    return [line.name, percent(line.mean, 1, sign=""), spread, seeds, *costs, paper]


def findings_of(experiment: Experiment, results: Results) -> Cells:
    """(head, rows) of cells: what the paper found, the difference here, and whether it shows."""
    rows = [_finding(*judged) for judged in findings(experiment, results)]
    return ["the paper", "here", ""], rows


def _finding(finding, high, low, verdict):
    here = "; ".join(f"{line.name}: {percent(line.mean, 1, sign='')}" for line in (high, low))
    return [finding.paper, here, f"**{verdict}**"]


def plain(experiment: Experiment, results: Results) -> Iterator[str]:
    """The table and the findings as lines for a terminal."""
    head, rows = table_of(experiment, results)
    yield from aligned([head, *rows], left=1)
    yield ""
    for paper, here, verdict in findings_of(experiment, results)[1]:
        yield from (f"the paper: {paper}", f"  here {here} ({verdict.strip('*')})")


def section(
    experiment: Experiment, results: Results, level: str = "#", figure: str = "figure.png"
) -> str:
    """One experiment as Markdown."""
    accuracies = [f"{line.name}: {percent(line.mean, 1)}" for line in lines(experiment, results)]
    parts = [f"{level} {experiment.table}: {experiment.question}", _about(experiment, results)]
    parts += [f"![{experiment.question} {'; '.join(accuracies)}]({figure})"]
    parts.append(markdown(*table_of(experiment, results)))
    parts.append(markdown(*findings_of(experiment, results), numbers=False))
    return "\n\n".join(parts)


def about(experiment: Experiment, results: Results) -> str:
    """What was done, in a line."""
    seeds = len({run["seed"] for run in results["runs"]})
    return f"{results['steps']} steps on '{experiment.data}', {seeds} seed{'s' * (seeds != 1)}"


def _about(experiment, results):
    batch, classes = experiment.recipe.batch, len(classes_of(experiment.data))
    differ = _listed([f"`{name}`" for name in experiment.varies])
    return wrapped(
        f"`mvit-np experiment {experiment.name}` runs {about(experiment, results)}, "
        f"with batches of {batch} and {classes} classes. The variants differ only in {differ}. "
        f"The data are {experiment.why}."
    )


def page(found: Mapping[str, Results]) -> str:
    """docs/experiments.md.   found: {name: results}, of some experiments"""
    known = [(EXPERIMENTS[name], found[name]) for name in EXPERIMENTS if name in found]
    words = map(wrapped, (INTRO, SCALE, RULE, PAPER))
    intro = ["# The paper's ablations at small scale", *words, _machines(found)]
    judged = [
        [experiment.table, *row]
        for experiment, results in known
        for row in findings_of(experiment, results)[1]
    ]
    summary = markdown(["", "the paper", "here", ""], judged, numbers=False)
    sections = [
        section(experiment, results, "##", FIGURE.format(name=experiment.name))
        for experiment, results in known
    ]
    parts = [*intro, "## What shows, and what does not", summary, *sections]
    return "\n\n".join(parts) + "\n"


def _machines(found):
    """What ran where, a line each where there were several."""
    told: dict[str, list[str]] = {}
    for name, results in found.items():
        told.setdefault(_machine(results["machine"]), []).append(name)
    runs = [run for results in found.values() for run in results["runs"]]
    total = sum(run["seconds"] + run["seconds_of_tests"] for run in runs)
    entries = [f"- {machine}: {_listed(names)}" for machine, names in told.items()]
    entries.append(f"- {len(runs)} runs, {total / 60:.0f} minutes with their tests")
    return "\n".join(wrapped(entry, indent="  ") for entry in entries)


def _machine(m):
    cores = f"{m['cores']} core{'s' * (m['cores'] != 1)}"
    threads = f"{m['threads']} thread{'s' * (m['threads'] != 1)}"
    software = f"Python {m['python']}, NumPy {m['numpy']}, {threads}"
    return f"{m['cpu']}, {cores}, {m['system']}; {software}; {m['date']}"


def _listed(words):
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
