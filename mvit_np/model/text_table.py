"""The stage table: what a plan looks like and what each stage costs, as text of at most 80 columns."""

from __future__ import annotations

from .account import account
from .units import unit_of

HEAD = ("stage", "blocks", "grid", "tokens", "channels", "heads", "stride q", "kv")


def stage_table(p):
    """The stages of a plan: grid (time x height x width), tokens, channels, heads, strides, parameters, multiply-adds.

    A line for the cube embedding, one a stage, one for the head and the total; a stage's strides are its first block's.
    """
    bill = account(p)
    units = unit_of(bill.params), unit_of(bill.macs)
    cubes, last = p.embed, bill.lines[-1]
    tokens = p.blocks[0].tokens_in
    rows = [(*HEAD, f"{units[0][1]} params".strip(), f"{units[1][1]} mult-adds".strip())]
    rows.append(_row("cubes", "", _times(cubes.thw), tokens, cubes.dim, "", _times(cubes.stride), "", [bill.lines[0]], units))
    rows += [_stage_row(p, bill, stage, units) for stage in sorted({block.stage for block in p.blocks})]
    rows.append(_row("head", "", "", 1, p.head.num_classes, "", "", "", [last], units))
    rows.append(_row("total", len(p.blocks), "", "", "", "", "", "", bill.lines, units))
    lines = aligned(rows)
    rule = "-" * len(lines[0])
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def aligned(rows, left=0):
    """A line of text for each row of cells, as wide as each column's widest; the first `left` columns start on the left."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return [" ".join(_cells(row, widths, left)).rstrip() for row in rows]


def _cells(row, widths, left):
    return (cell.ljust(width) if i < left else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths)))


def _stage_row(p, bill, stage, units):
    blocks = [block for block in p.blocks if block.stage == stage]
    first, last = blocks[0], blocks[-1]
    stride_kv = _times(first.stride_kv) if first.pool_kv else "-"
    apart = f"{last.sequences}*" if last.sequences > 1 else ""  # so many lists of tokens
    sizes = apart + _times(last.thw_q), last.tokens_q, last.dim_attn, last.heads, _times(first.stride_q), stride_kv
    return _row(stage + 1, len(blocks), *sizes, [line for line in bill.lines if line.stage == stage], units)


def _row(*cells_lines_units):
    """Cells as they are, then the lines' parameters and multiply-adds in the table's units."""
    *cells, lines, units = cells_lines_units
    sums = sum(line.params for line in lines), sum(line.macs for line in lines)
    return (*map(str, cells), *(f"{total / factor:.3f}" for total, (factor, _) in zip(sums, units)))


def _times(thw):
    return "x".join(map(str, thw))
