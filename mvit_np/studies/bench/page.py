"""docs/performance.md: what was measured. It follows from the results of `suite.run` alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...model.text_table import markdown, wrapped
from . import runtimes, tables

FIGURE = "figures/scaling.png"
INTRO = """Written by `{command}` from what it measured. The `.json` file beside the page keeps
the measurements; a test fails if the two differ."""
TIME = """The table gives the median of {turns}, divided among three processes, and the
quartiles, in float32, with batch 1 unless another batch is named. Parameters come from a file,
as those of `mvit-np classify` do. A step is a forward pass, a backward pass and AdamW. A
checkpointed step keeps only the inputs of the blocks; a step with "hidden layers kept" keeps the
hidden layers of the MLPs for the backward pass (`mv.keep`). GFLOP/s counts two operations per
multiply-add of the paper's count; we leave out the part of it that no pool looks at (2 % of
MViT-B). A step counts as three forward passes. "Of roof" is the share of the speed that products
of large matrices reach on this machine."""
BESIDE = """Beside our numbers are those of torchvision's MViT in PyTorch eager, with the same
weights, clips, precision and number of threads; the two take turns in each process. The ratio is
our time divided by torch's: below 1 we are faster. "Wanted" is the ratio that we aim for."""
PLAIN = """A line with plain definitions is the same call within `mv.plain_ops()`, in turns with
the line above it: the difference between the two lines is what the fast versions gain."""
RUNTIMES = """These are the same forward passes in runtimes for inference (`pip install onnx
onnxscript onnxruntime openvino`). They run the model that PyTorch exports as ONNX, with the same
weights, clips, precision and number of threads, in turns with ours. Torchvision's MViTv2 adds
relative positions in place. The export turns this into transposes and scatters, which take more
than half of ONNX Runtime's time: code written for the export would be faster. Ratios are our
number divided by theirs; "imports" is the resident memory once the library is imported. The last
column is ||x - y|| / ||y|| of their logits x against ours."""
MEMORY = """The table gives the largest resident memory of a process that makes the call twice
and does nothing else, and its resident memory after its libraries were imported ("imports")."""
ACCURACY = """The table gives ||x - y|| / ||y|| of float32 numbers x against our float64 numbers
y, on one clip with random weights, without dropout: for the logits, and for the gradients of all
parameters together."""
PROFILE = """These tables list every op of a call. The floor of an op is the larger of two times:
the time of its arithmetic at the roof, and the time in which its arrays go through memory once,
at the speed of a copy. In backward passes, what is computed again counts too. Arrays that are in
a cache can be faster than this floor."""
SCALING = """This table is for {preset} on one clip, with one process per line and mode.
Multiply-adds and the memory that a step keeps for its backward pass are counted
(`mvit_np/model/account.py`); the rest is measured."""


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
        return "this system does not say whether other processes used the machine"
    return f"other processes used at most {max(known):.2f} cores while times were measured"


def _takes_part(who, results):
    return any(who in case["by"] for case in results["cases"])


def _speed(results):
    against = _takes_part("torch", results)
    words = TIME.format(turns=tables.count(results["rounds"], "turn"))
    words += f" {BESIDE}" * against + f" {PLAIN}" * _takes_part("plain", results)
    differing = filter(None, (tables.disagreement(case, case["by"]) for case in results["cases"]))
    listed = [wrapped(f"- {sentence}", indent="  ") for sentence in differing]
    rest = [*["\n".join(listed)] * bool(listed), *_runtimes(results)]
    return _section("Time", words, markdown(*_speed_table(results, against)), *rest)


def _speed_table(results, against):
    aims = against and any(case["time_aim"] for case in results["cases"])
    head = ["", "mvit_np", "quartiles", *["torch", "quartiles", "ratio"] * against]
    head += [*["wanted"] * aims, "clips/s", "GFLOP/s", "of roof"]
    rows = [_speed_row(case, who, results, against, aims) for case, who in _ours(results)]
    return head, rows


def _ours(results):
    """(case, who) of each line of ours: with the fast versions, and by the definitions alone."""
    for case in results["cases"]:
        yield from ((case, who) for who in ("mvit_np", "plain") if who in case["by"])


def _title(case, who):
    return case["title"] + ", plain definitions" * (who == "plain")


def _speed_row(case, who, results, against, aims):
    median, quartiles, *speed, _ = tables.case_cells(case, case["by"][who], results["roof"])
    cells, first = [_title(case, who), median, quartiles], who == "mvit_np"
    if against:
        cells += _beside(case, "torch") if first and "torch" in case["by"] else ["", ""]
        cells.append(_bold(tables.ratio(case, "median_s", who=who)))
    return [*cells, *[_aim(case["time_aim"] if first else None)] * aims, *speed]


def _beside(case, who):
    found = case["by"][who]
    return [tables.seconds(found["median_s"]), tables.span(found)]


def _bold(cell):
    return f"**{cell}**" if cell else ""


def _aim(value):
    return "" if value is None else f"{value:g}"


def _runtimes(results):
    """Words and a table, a line for each case and runtime; nothing without one."""
    head = ["", "runtime", "median", "quartiles", "ratio", "memory", "imports", "ratio", "logits"]
    lines = [
        (case, who) for case in results["cases"] for who in runtimes.TITLES if who in case["by"]
    ]
    if not lines:
        return []
    table = markdown(head, [_runtime_row(*line) for line in lines])
    return ["### Beside runtimes for inference", wrapped(RUNTIMES), table]


def _runtime_row(case, who):
    found = case["by"][who]
    return [
        *(case["title"], runtimes.TITLES[who], *_beside(case, who)),
        _bold(tables.ratio(case, "median_s", who)),
        *_sizes(found),
        _bold(tables.ratio(case, "peak_bytes", who)),
        f"{found['logits_off']:.1e}",
    ]


def _sizes(found):
    return [tables.size_of(found[name]) for name in ("peak_bytes", "import_bytes")]


def _memory(results):
    against = _takes_part("torch", results)
    aims = against and any(case["memory_aim"] for case in results["cases"])
    head = ["", "mvit_np", "imports"] + ["torch", "imports", "ratio"] * against + ["wanted"] * aims
    rows = [_memory_row(case, who, against, aims) for case, who in _ours(results)]
    return _section("Memory", MEMORY, markdown(head, rows))


def _memory_row(case, who, against, aims):
    cells, first = [_title(case, who), *_sizes(case["by"][who])], who == "mvit_np"
    if against:
        cells += _sizes(case["by"]["torch"]) if first and "torch" in case["by"] else ["", ""]
        cells.append(_bold(tables.ratio(case, "peak_bytes", who=who)))
    return [*cells, *[_aim(case["memory_aim"] if first else None)] * aims]


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
