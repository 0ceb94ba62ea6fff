"""Tables, numbers and paragraphs as text; and the stage table of a plan: its sizes and costs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from .account import account

PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""))
HEAD = ("stage", "blocks", "grid", "tokens", "channels", "heads", "stride q", "kv")


def stage_table(p: Any) -> str:  # a Plan, whose module needs this one
    """The stages of a plan, in at most 80 columns: grids (time x height x width), sizes and costs.

    A line for the cube embedding, one per stage, one for the head and the total; a stage's strides
    are those of its first block.
    """
    bill = account(p)
    units = si_prefix(bill.params), si_prefix(bill.macs)
    cubes, last = p.embed, bill.lines[-1]
    tokens = p.blocks[0].tokens_in
    rows = [(*HEAD, f"{units[0][1]} params".strip(), f"{units[1][1]} mult-adds".strip())]
    sizes = _times(cubes.thw), tokens, cubes.dim, "", _times(cubes.stride), ""
    rows.append(_row("cubes", "", *sizes, [bill.lines[0]], units))
    stages = sorted({block.stage for block in p.blocks})
    rows += [_stage_row(p, bill, stage, units) for stage in stages]
    rows.append(_row("head", "", "", 1, p.head.num_classes, "", "", "", [last], units))
    rows.append(_row("total", len(p.blocks), "", "", "", "", "", "", bill.lines, units))
    lines = aligned(rows)
    rule = "-" * len(lines[0])
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def _stage_row(p, bill, stage, units):
    blocks = [block for block in p.blocks if block.stage == stage]
    first, last = blocks[0], blocks[-1]
    stride_kv = _times(first.stride_kv) if first.pool_kv else "-"
    lists = f"{last.sequences}*" if last.sequences > 1 else ""  # of tokens
    grid, strides = lists + _times(last.thw_q), (_times(first.stride_q), stride_kv)
    sizes = grid, last.tokens_q, last.dim_attn, last.heads, *strides
    lines = [line for line in bill.lines if line.stage == stage]
    return _row(stage + 1, len(blocks), *sizes, lines, units)


def _row(*cells_lines_units):
    """Cells as they are, then the lines' parameters and multiply-adds in the table's units."""
    *cells, lines, units = cells_lines_units
    sums = sum(line.params for line in lines), sum(line.macs for line in lines)
    return (*map(str, cells), *(f"{total / factor:.3f}" for total, (factor, _) in zip(sums, units)))


def _times(thw):
    return "x".join(map(str, thw))


# -- for every table and page ----------------------------------------------------------------------


def aligned(rows: Sequence[Sequence[str]], left: int = 0) -> list[str]:
    """A line of text for each row of cells, whose columns are as wide as their widest cell.

    The cells of the first `left` columns start on the left, all others end on the right.
    """
    widths = [max(map(len, column)) for column in zip(*rows)]
    sides = [str.ljust] * left + [str.rjust] * (len(widths) - left)
    cells = [[side(x, width) for side, x, width in zip(sides, row, widths)] for row in rows]
    return [" ".join(line).rstrip() for line in cells]


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: bool = True) -> str:
    """A Markdown table of cells. All columns but the first are numbers, on the right, or words."""
    rule = ["---"] + ["---:" if numbers else "---"] * (len(head) - 1)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def wrapped(words: str, width: int = 120, indent: str = "") -> str:
    """A paragraph in lines of at most `width` characters, all but the first after `indent`."""
    words = " ".join(words.split())
    return textwrap.fill(words, width, subsequent_indent=indent, break_on_hyphens=False)


def si_prefix(largest: float) -> tuple[float, str]:
    """The factor and prefix in which a number reads best: 7.06e10 -> (1e9, "G")"""
    return next((pair for pair in PREFIXES if largest >= pair[0]), PREFIXES[-1])


def percent(share: float, decimals: int = 0, sign: str = " %") -> str:
    """0.614 -> "61 %"; in columns whose head says so, without the sign."""
    return f"{100 * share:.{decimals}f}{sign}"


def digits(value: float, least: int = 0, most: int = 3) -> str:
    """Three digits, at least and at most so many after the point: 0.123, 1.23, 12.3, 123"""
    size = abs(value)
    decimals = 0 if size >= 99.95 else 1 if size >= 9.995 else 2 if size >= 0.9995 else 3
    return f"{value:.{min(max(decimals, least), most)}f}"


def grouped(value: float) -> str:
    """Four digits, or all of a whole number: 0.006877, 70.6, 3,957"""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
