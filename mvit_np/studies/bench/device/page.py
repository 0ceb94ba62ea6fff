"""A page of what was measured on a device: it follows from the results of `suite.run` alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ....model.text_table import markdown, wrapped
from . import tables
from .plan import COMPILED, MVIT

INTRO = """Written by `{command}` from what it measured, which the `.json` file beside this page
keeps."""
TIME = """Medians of {turns}, and quartiles, by the device's own clock: events around some calls in
a row, after others that did not count. All who are compared take turns in one process. Parameters
and clips lie on the device. A step is forward, backward, clipping by the norm and AdamW, as in
training. Dropout and stochastic depth are off everywhere, but for lines that say masks: there
everybody draws their own. TFLOP/s: two operations to a multiply-add of the paper's count, a step
counting three forward passes, of the faster of our two ways; "of roof" is their share of what
products of large matrices reach here in the same precision."""
TORCH = """Beside it torchvision's MViT in PyTorch eager, with the same parameters and clips, its
AdamW fused, tf32 as `allow_tf32`, bf16 as `torch.autocast`. A ratio is ours to torch's: below 1 we
are faster."""
MEMORY = """The most that arrays took during a call, parameters and all that stays from call to call
included, and what was taken from the device for them. A graph keeps a pool of its own, which counts
as a whole, with 32 MiB in it for cuBLAS to work in. What cuBLAS works in otherwise, and the code of
kernels, is not counted."""
GRAPHS = """How many times as fast a call is as one CUDA graph as when it is launched kernel by
kernel."""
COMPILED_WORDS = """Ours as a graph beside torchvision's MViT compiled by `torch.compile` in its
default mode, AdamW fused and not compiled."""
KERNELS = """Each op as {title} calls it, in float32, with our kernels and with array functions
alone (`mv.plain_ops`): times are of all its calls in a step, the worst ratio that of one shape.
Names in brackets are parts of ops. A ratio of 1 or more is a kernel to delete."""
CURVES = """Losses of {steps} training steps of {preset}, batch {batch}, from the same start on the
same batches without masks. "Distance" is the mean distance from the curve of float32, as a share of
how far that one falls; "start nudged" is the same run in float32 from parameters that differ by a
millionth, so that what rounding alone makes of it is known."""


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
