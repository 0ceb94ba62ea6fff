"""docs/performance.md: what was measured. It follows from the results of `suite.run` alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...model.text_table import markdown, wrapped
from . import tables

FIGURE = "figures/scaling.png"
INTRO = """Written by `{command}` from what it measured, which the `.json` file beside this page
keeps; a test fails where the two differ."""
TIME = """Median of {turns}, shared out among three processes, and quartiles, in float32, batch 1
unless said. A step is forward, backward and AdamW, checkpointed where only the blocks' inputs are
kept. GFLOP/s: two operations to a multiply-add of the paper's count, of which we leave out what no
pool looks at (2 % of MViT-B), a step counting three forward passes; "of roof" is their share of
what products of large matrices reach here."""
BESIDE = """Beside it torchvision's MViT in PyTorch eager, with the same weights, clips, precision
and number of threads: the two take turns in each process. The ratio is ours to torch's: below 1 we
are faster."""
MEMORY = """The most that was ever resident of a process that makes the call twice and nothing else,
and what it held once its libraries were imported."""
ACCURACY = """||x - y|| / ||y|| of float32 numbers x against our float64 numbers y, on one clip with
random weights, without dropout: logits, and the gradients by all parameters together."""
PROFILE = """Every op of a call. Its floor is the larger of two times: that of its arithmetic at the
roof, and that of its arrays through memory once, at the speed of a copy. Backward passes count what
they compute again. Arrays that lie in a cache can be faster."""
SCALING = """{preset} on one clip, a process for each line and mode. Multiply-adds and what a
step keeps for its backward pass are counted (`mvit_np/model/account.py`); the rest is
measured."""


def render(results: Mapping[str, Any]) -> str:
    """The page as Markdown of the results of `suite.PAGE`, with torch or without."""
    parts = [_intro(results), _speed(results), _memory(results), _accuracy(results)]
    parts += [_profiles(results), _scaling(results)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _intro(results):
    facts = (tables.machine_line(results), tables.roof_line(results), _idleness(results))
    listed = "\n".join(wrapped(f"- {fact}", indent="  ") for fact in facts)
    words = wrapped(INTRO.format(command=results["command"]))
    return f"# How fast, how large, how exact\n\n{words}\n\n{listed}"


def _section(title, words, *rest):
    return "\n\n".join([f"## {title}", wrapped(words), *rest])


def _idleness(results):
    taken = [results["idle_others"], *(case["others"] for case in results["cases"])]
    known = [cores for cores in taken if cores is not None]
    if not known:
        return "whether others used the machine is not known: this system does not say"
    return f"others took at most {max(known):.2f} cores while times were taken"


def _speed(results):
    against = "torch" in results["machine"]
    words = TIME.format(turns=tables.count(results["rounds"], "turn"))
    words += f" {BESIDE}" * against
    return _section("Time", words, markdown(*_speed_table(results, against)))


def _speed_table(results, against):
    aims = against and any(case["time_aim"] for case in results["cases"])
    head = ["", "mvit_np", "quartiles", *["torch", "quartiles", "ratio"] * against]
    head += [*["wanted"] * aims, "clips/s", "GFLOP/s", "of roof"]
    return head, [_speed_row(case, results, against, aims) for case in results["cases"]]


def _speed_row(case, results, against, aims):
    mvit = case["by"]["mvit_np"]
    median, quartiles, *speed, _ = tables.case_cells(case, mvit, results["roof"])
    cells = [case["title"], median, quartiles]
    if against:
        torch = case["by"]["torch"]
        cells += [tables.seconds(torch["median_s"]), tables.span(torch)]
        cells.append(f"**{tables.ratio(case, 'median_s')}**")
    return [*cells, *[_aim(case["time_aim"])] * aims, *speed]


def _aim(value):
    return "" if value is None else f"{value:g}"


def _memory(results):
    against = "torch" in results["machine"]
    aims = against and any(case["memory_aim"] for case in results["cases"])
    head = ["", "mvit_np", "imports"] + ["torch", "imports", "ratio"] * against + ["wanted"] * aims
    rows = [_memory_row(case, aims) for case in results["cases"]]
    return _section("Memory", MEMORY, markdown(head, rows))


def _memory_row(case, aims):
    cells = [case["title"]]
    for found in case["by"].values():
        cells += [tables.size_of(found["peak_bytes"]), tables.size_of(found["import_bytes"])]
    if "torch" in case["by"]:
        cells.append(f"**{tables.ratio(case, 'peak_bytes')}**")
    return [*cells, *[_aim(case["memory_aim"])] * aims]


def _accuracy(results):
    if not results["accuracy"]:
        return ""
    return _section("Accuracy", ACCURACY, markdown(*tables.accuracy_table(results["accuracy"])))


def _profiles(results):
    if not results["profiles"]:
        return ""
    every = [
        f"### {profile['title']}\n\n{markdown(*tables.profile_table(profile))}"
        for profile in results["profiles"]
    ]
    return _section("Where the time goes", PROFILE, *every)


def _scaling(results):
    if not results["scaling"]:
        return ""
    figure = f"![Time and peak memory against frames and pixels, beside what is counted]({FIGURE})"
    words = SCALING.format(preset=results["scaling"]["preset"])
    table = markdown(*tables.scaling_table(results["scaling"]["points"]))
    return _section("Longer and larger clips", words, figure, table)
