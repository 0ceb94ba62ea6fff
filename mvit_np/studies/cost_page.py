"""docs/costs.md: every number of the paper that follows from a config, beside what we count.

`mvit-np info --tables docs/costs.md` writes it; a test fails where the page is out of date.
"""

from __future__ import annotations

from dataclasses import replace

from ..model.account import FLOAT32_BYTES, attention_complexity, attention_macs
from ..model.config import MViTConfig
from ..model.costs import costs
from ..model.paper import BEYOND, CONFIG, TABLES, VIVIT_L, Row
from ..model.plan import plan
from ..model.text_table import grouped, markdown, wrapped

CLIPS = 4  # in the batch whose memory the paper gives
INTRO = """Written by `mvit-np info --tables docs/costs.md` from the configs alone:
`mvit_np/model/paper.py` holds the numbers that the papers print, and `mvit_np/model/account.py`
counts. `tests/model/test_paper.py` fails if this page is out of date, if a count differs by more
than 1 % and has no explanation, or if an explanation is no longer needed."""
UNITS = """G is 1e9 multiply-adds per clip (the paper's "FLOPs": a multiply-add counts as one), M
is 1e6 parameters, and top-1 is the accuracy in per cent that the paper reports; nothing was
trained here. Convolutions and matrix products are counted; norms, softmax and max pooling are
not. The paper's numbers were read from a machine-made transcript of its tables. "Off" is the
difference between our count and the paper's."""
MEMORY = """GB is the memory of a GPU that trains on 4 clips. Our number is a rule of thumb for a
framework. It is the sum of what `costs` says is kept for the backward pass; of what this package
computes again (the hidden layer of each MLP before and after GELU, each pooled skip); of twice
all attention weights; and of 16 bytes per parameter (weight, gradient, two moments of AdamW).
The factor "twice" is fitted, not derived, so these numbers are not required to be within 1 %."""
CHEAPER = """This is the claim of the abstract, for whole videos of Kinetics-400. Clips and crops
are as in Table 4 and Fig. A.4, and the most expensive model comes first. "Trained before" names
the data that a model was trained on before Kinetics. This package does not build VTN and
TimeSformer, so they have the paper's numbers."""
BLOCKS = """The table gives MB of float32 for one clip: what a block keeps for its backward pass,
and its attention weights, which this package computes twice and never keeps
(`ops/fast/attend.py`)."""
GROWTH = """Take pooling attention with D channels and h heads on T x H x W tokens, where queries
are pooled f_Q-fold and keys f_K-fold. Up to constant factors it takes"""
COMPLEXITY = """`attention_complexity` (`model/account.py`) computes both terms. The table gives
their sums over the blocks of each stage, beside what is counted: the multiply-adds of the
attention, and the floats that a block keeps (16 to 20 THW D with its MLP, if queries are not
pooled) plus its attention weights. By hand, the multiply-adds are (3 + 1 / f_Q) THW D^2 + 2 THW
D THW / (f_Q f_K), for queries, keys and values; the output; scores and their sum. So the ratio
of the multiply-adds lies between 2 (long sequences) and 4 (wide ones), except that the
convolutions of the pooling come on top. The column of time shows the paper's design: from the
first stage to the last, THW falls 64-fold and D grows 8-fold, and yet the average block of every
stage takes between 0.5 and 2 (1e9)."""
DEPTH = """The table gives MB of float32 kept for the backward pass of one clip, for Rev-MViT-B
with more and more blocks in its third stage: a chain of reversible blocks keeps its last result
and computes the others again."""


def page() -> str:
    """The whole page as Markdown."""
    parts = ["# What the models cost, counted", *map(wrapped, (INTRO, UNITS, MEMORY))]
    parts += [_section(table) for table in TABLES]
    parts += [_cheaper(), _memory(), _complexity(), "## Beyond the paper"]
    parts += [*(_section(table, "###") for table in BEYOND), _reversible()]
    return "\n\n".join(parts) + "\n"


def off(printed: float | None, counted: float) -> float | None:
    """How far a count is from the number printed, in per cent; None where none was printed."""
    return None if printed is None else 100 * (counted / printed - 1)


def deviations(row: Row) -> tuple[float | None, float | None]:
    """How far both counts are from the paper, in per cent: (multiply-adds, parameters).

    Each is None where the paper prints none. The row has a config.
    """
    account = costs(row.config)  # type: ignore[arg-type]
    return off(row.gmacs, account.macs / 1e9), off(row.params, account.params / 1e6)


def training_gb(config: MViTConfig) -> float:
    """The rule of thumb for the memory of training on 4 clips, in 1e9 bytes."""
    account = costs(config)
    weights = sum(line.attention_bytes for line in account.lines)
    rebuilt = sum(
        block.tokens_q * (2 * block.dim_mlp + (block.dim_attn if block.pool_skip else 0))
        for block in plan(config).blocks
    )
    of_a_clip = account.activation_bytes + FLOAT32_BYTES * rebuilt + 2 * weights
    return (CLIPS * of_a_clip + 16 * account.params) / 1e9


def _section(table, level="##"):
    known = [row for row in table.rows if row.config]
    words = [table.remark] * bool(table.remark)
    words += [f"{row.label}: {row.why}." for row in known if row.why]
    title = f"{level} {table.name}\n\n{table.about}."
    return "\n\n".join([title, _paper_table(known), *map(wrapped, words)])


def _paper_table(rows):
    memory = any(row.memory for row in rows)
    head = ["", "G, paper", "ours", "off", "M, paper", "ours", "off"]
    head += ["GB, paper", "ours"] * memory
    return markdown([*head, "top-1"], [_paper_row(row, memory) for row in rows])


def _paper_row(row, memory):
    account, (macs_off, params_off) = costs(row.config), deviations(row)
    cells = [row.label, _short(row.gmacs), f"{account.macs / 1e9:.2f}", _signed(macs_off)]
    cells += [_short(row.params), f"{account.params / 1e6:.2f}", _signed(params_off)]
    cells += [_short(row.memory), f"{training_gb(row.config):.1f}"] * memory
    return [*cells, _short(row.top1)]


def _cheaper():
    """What one video takes: multiply-adds of a clip times crops times clips."""
    by_name = {table.name: table for table in TABLES}
    early = Row("ViViT-L/16x2", VIVIT_L, 1446, None, 80.3, views=(1, 4), data="IN-21K")  # Fig. A.4
    rows = sorted([*by_name["Table 4"].rows, early], key=lambda row: -_video(row))
    one = next(_video(row) for row in rows if row.label == "MViT-B 32x3")
    head = ["", "trained before", "top-1", "G per clip", "crops x clips", "G per video"]
    head += ["x MViT-B 32x3's", "M"]
    pairs = "".join(f"\n- {line}" for line in _pairs({(row.label, row.top1): row for row in rows}))
    return f"""## "5-10x more costly"

{wrapped(CHEAPER)}

{markdown(head, [_video_row(row, one) for row in rows])}

Pairs of about equal accuracy:
{pairs}"""


def _pairs(rows):
    pairs = [
        (("ViViT-L/16x2", 80.3), ("MViT-B 32x3", 80.2)),
        (("ViT-B-TimeSformer", 80.7), ("MViT-B 32x3", 80.2)),
        (("ViViT-L/16x2, 320 px", 81.3), ("MViT-B 64x3", 81.2)),
        (("ViT-B-VTN", 78.6), ("MViT-B 16x4", 78.4)),
        (("ViT-B", 79.3), ("MViT-B 16x4", 78.4)),
    ]
    for other, mvit in ((rows[a], rows[b]) for a, b in pairs):
        macs, params = _video(other) / _video(mvit), _millions(other) / _millions(mvit)
        names = f"{other.label} ({other.top1}) to {mvit.label} ({mvit.top1})"
        yield f"{names}: {macs:.1f} x the multiply-adds, {params:.1f} x the parameters"


def _video_row(row, one):
    crops, clips = row.views
    cells = [row.label, row.data or "-", _short(row.top1), grouped(_clip(row))]
    video = [f"{crops} x {clips}", f"{_video(row):,.0f}", f"{_video(row) / one:.2f}"]
    return [*cells, *video, f"{_millions(row):.1f}"]


def _clip(row):
    return costs(row.config).macs / 1e9 if row.config else row.gmacs


def _millions(row):
    return costs(row.config).params / 1e6 if row.config else row.params


def _video(row):
    return _clip(row) * row.views[0] * row.views[1]


def _memory():
    """Block by block: MViT-B beside ViT-B."""
    models = [costs(CONFIG[name]).lines[1:-1] for name in ("mvit_b_16x4", "vit_b_8f")]
    blocks = [plan(CONFIG[name]).blocks for name in ("mvit_b_16x4", "vit_b_8f")]
    rows = []
    for index in range(len(models[0])):
        cells = [(b[index], m[index]) if index < len(m) else None for b, m in zip(blocks, models)]
        rows.append([str(index)] + [text for cell in cells for text in _memory_cells(cell)])
    totals = [f"**{sum(line.activation_bytes for line in m) / 1e6:.0f}**" for m in models]
    largest = [f"**{max(line.attention_bytes for line in m) / 1e6:.0f}**" for m in models]
    name = "**sum of MB kept, largest attention**"
    rows.append([name, "", totals[0], largest[0], "", totals[1], largest[1]])
    head = ["block"]
    for model in ("MViT-B", "ViT-B"):
        head += [f"{model}: queries x keys", "MB kept", "MB attention"]
    return f"""## Memory, block by block

{wrapped(BLOCKS)}

{markdown(head, rows)}"""


def _memory_cells(cell):
    if cell is None:
        return ["", "", ""]
    block, line = cell
    sizes = f"{block.tokens_q:,} x {block.tokens_kv:,}"
    return [sizes, f"{line.activation_bytes / 1e6:.1f}", f"{line.attention_bytes / 1e6:.1f}"]


def _complexity():
    rows = [row for name in ("mvit_b_16x4", "vit_b_8f") for row in _complexity_rows(name)]
    head = ["", "blocks", "THW", "D", "h", "time, 1e9", "G counted", "ratio"]
    head += ["memory, 1e6", "M floats counted", "ratio"]
    return f"""## The complexity of Sec. 3.1

{wrapped(GROWTH)}

- time THW D (D + THW / (f_Q f_K)),
- memory THW h (D / h + THW / (f_Q f_K)).

{wrapped(COMPLEXITY)}

{markdown(head, rows)}"""


def _complexity_rows(name):
    p, account = plan(CONFIG[name]), costs(CONFIG[name])
    for stage in sorted({block.stage for block in p.blocks}):
        blocks = [block for block in p.blocks if block.stage == stage]
        lines = [line for line in account.lines if line.stage == stage]
        time, memory = (sum(both) for both in zip(*map(attention_complexity, blocks)))
        macs = sum(map(attention_macs, blocks))
        floats = sum(line.activation_bytes + line.attention_bytes for line in lines) / FLOAT32_BYTES
        last = blocks[-1]
        cells = [f"{name}, stage {stage + 1}", str(len(blocks))]
        cells += [f"{last.tokens_in - last.cls:,}", str(last.dim_attn), str(last.heads)]
        cells += [f"{time / 1e9:.2f}", f"{macs / 1e9:.2f}", f"{macs / time:.2f}"]
        cells += [f"{memory / 1e6:.1f}", f"{floats / 1e6:.1f}", f"{floats / memory:.2f}"]
        yield cells


def _reversible():
    """Activations against depth."""
    reversible = CONFIG["rev_mvit_b_16x4"]
    configs = [replace(reversible, depths=(1, 2, third, 2)) for third in (2, 11, 22, 44)]
    rows = [[str(c.depth), _kept(replace(c, reversible=False)), _kept(c)] for c in configs]
    return f"""### Reversible blocks: depth without more memory

{wrapped(DEPTH)}

{markdown(["blocks", "not reversible", "reversible"], rows)}"""


def _kept(config):
    return f"{costs(config).activation_bytes / 1e6:.0f}"


def _short(value):
    """As it was printed."""
    return "" if value is None else str(value)


def _signed(percent):
    return "" if percent is None else f"{percent:+.1f} %"
