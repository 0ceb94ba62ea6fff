"""A page of what was measured on a device: it follows from the results of `suite.run` alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ....model.text_table import markdown, wrapped
from . import tables
from .plan import COMPILED, MVIT

INTRO = """Written by `{command}` from what it measured. The `.json` file beside the page keeps
the measurements."""
TIME = """The table gives medians of {turns}, and quartiles, by the clock of the device: events
before and after some calls in a row, which follow calls that are not counted. All programs that
are compared take turns in one process. Parameters and clips are on the device. A step is a
forward pass, a backward pass, clipping by the norm and AdamW, as in training. Dropout and
stochastic depth are off, except in lines that say "masks", where each program draws its own
masks. TFLOP/s counts two operations per multiply-add of the paper's count, and a step as three
forward passes; it is that of the faster of our two ways. "Of roof" is the share of what products
of large matrices reach on this device in the same precision."""
TORCH = """Beside our numbers are those of torchvision's MViT in PyTorch eager, with the same
parameters and clips, its AdamW fused, tf32 as `allow_tf32`, bf16 as `torch.autocast`. A ratio is
our time divided by torch's: below 1 we are faster."""
MEMORY = """The table gives the largest memory of all arrays during a call, including parameters
and everything that stays from call to call, and the memory that was reserved on the device for
them. A graph keeps a pool of its own, which counts as a whole, with 32 MiB in it as the
workspace of cuBLAS. The other workspace of cuBLAS, and the code of kernels, are not counted."""
GRAPHS = """The table says how many times faster a call is as one CUDA graph than when it is
launched kernel by kernel."""
COMPILED_WORDS = """The table compares our model as a graph with torchvision's MViT, compiled by
`torch.compile` in its default mode, with AdamW fused and not compiled."""
KERNELS = """The table lists each op as {title} calls it, in float32, with our kernels and with
array functions alone (`mv.plain_ops`). Times are the sum of all calls of the op in a step; the
worst ratio is that of one shape. Names in brackets are parts of ops. A kernel with a ratio of 1
or more should be deleted."""
CURVES = """The table gives losses of {steps} training steps of {preset}, batch {batch}, from the
same start on the same batches, without masks. "Distance" is the mean distance from the curve of
float32, as a share of the fall of that curve. "Start nudged" is the same run in float32 from
parameters that differ by a millionth, which shows how large a distance rounding alone causes."""


def render(results: Mapping[str, Any]) -> str:
    """The page as Markdown, of all that the results hold."""
    eager = [case for case in results["cases"] if MVIT in case["by"]]
    compiled = [case for case in results["cases"] if COMPILED in case["by"]]
    parts = [_intro(results)]
    if eager:
        parts.append(_time(results, eager))
        parts.append(_section("Memory", MEMORY, tables.memory_table(eager)))
        parts.append(_section("What a graph gains", GRAPHS, tables.graph_table(eager)))
    if compiled:
        table = tables.compiled_table(compiled)
        parts.append(_section("Beside compiled PyTorch", COMPILED_WORDS, table))
    parts += [_kernels(found) for found in results["kernels"]]
    parts += [_curves(found) for found in results["curves"]]
    return "\n\n".join(parts) + "\n"


def _intro(results):
    facts = [tables.card_line(results), tables.roof_line(results)]
    if differences := tables.spread(results["cases"]):
        sizes = ", ".join(f"{share:.1e} in {name}" for name, share in differences.items())
        rule = "logits of all who are compared agree: their root mean squares differ by at most"
        facts.append(f"{rule} {sizes}")
    listed = "\n".join(wrapped(f"- {fact}", indent="  ") for fact in facts)
    return f"# How fast on a GPU\n\n{wrapped(INTRO.format(command=results['command']))}\n\n{listed}"


def _time(results, cases):
    words = TIME.format(turns=tables.count(results["rounds"], "turn"))
    words += f" {TORCH}" * ("peers" in results)
    return _section("Time", words, tables.time_table(cases, results["roofs"]))


def _kernels(found):
    words = KERNELS.format(title=f"{found['preset']}, batch {found['batch']},")
    return _section("Kernels against plain arrays", words, tables.kernel_table(found["rows"]))


def _curves(found):
    words = CURVES.format(**found)
    return _section("Training in each precision", words, tables.curve_table(found))


def _section(title, words, table):
    """With a table as (head, rows)."""
    return f"## {title}\n\n{wrapped(words)}\n\n{markdown(*table)}"
