"""Write docs/handout.html, the course on one printed page: `python docs/handout.py`.

The symbols are those of docs/notation.md, the table of stages and its costs are the package's.
"""

import html
import re
from pathlib import Path

import mvit_np as mv
from mvit_np.model.text_table import digits

HERE = Path(__file__).parent
PRESET = "mvit_b_16x4"
FORMULAS = (
    ("A grid: windows that fit on an axis", "01, 02",
     r"\tilde n = \left\lfloor \frac{n + 2p - k}{s} \right\rfloor + 1"),
    ("Attention: each row of weights sums to 1", "03",
     r"\mathrm{Attention}(Q, K, V) = \mathrm{softmax}\!\left(\frac{Q K^\top}{\sqrt d}\right) V"),
    ("Pooling attention: project, then pool", "04",
     r"\begin{aligned} Q &= \mathcal P(X W_Q;\, s^Q) \\ K &= \mathcal P(X W_K;\, s^{KV}), \quad "
     r"V = \mathcal P(X W_V;\, s^{KV}) \end{aligned}"),
    ("A block: the skip is pooled as queries are", "03b, 05",
     r"\begin{aligned} Z &= \mathrm{MHPA}(\mathrm{LN}(X)) + \mathcal P(X) \\ "
     r"Y &= \mathrm{MLP}(\mathrm{LN}(Z)) + Z \end{aligned}"),
    ("A new stage, from the one before it", "05",
     r"\begin{aligned} N &\to N / 4, & D &\to 2D, \\ h &\to 2h, & s^{KV} &\to s^{KV} / s^Q "
     r"\end{aligned}"),
    ("Multiply-adds of a block without its pools", "05, 07",
     r"3 N D^2 + N_q D^2 \;+\; 2 N_q N_k D \;+\; 8 N_q D^2"),
)  # fmt: skip
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Multiscale Vision Transformers on one page</title>
<!-- written by docs/handout.py -->
<script>MathJax = {{ options: {{ enableMenu: false }} }};</script>
<script defer src="_static/mathjax/tex-svg.js"></script>
<style>
@page {{ size: A4; margin: 11mm 13mm; }}
:root {{ --ink: #222; --grey: #5f5f5f; --pale: #ddd; --page: #fff; --ours: #0072b2; }}
@media screen and (prefers-color-scheme: dark) {{
  :root {{ --ink: #eee; --grey: #b5b5b5; --pale: #444; --page: #16181c; --ours: #56b4e9; }}
}}
* {{ box-sizing: border-box; }}
body {{ margin: 0 auto; max-width: 184mm; color: var(--ink); background: var(--page); }}
body {{ font: 8.6pt/1.25 system-ui, sans-serif; }}
h1 {{ font-size: 14pt; margin: 0; }}
h2 {{ font-size: 10pt; margin: 2.6mm 0 1mm; color: var(--ours); }}
p {{ margin: .8mm 0; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ padding: .4mm 1.2mm; text-align: left; vertical-align: top; }}
th, td {{ border-bottom: .2mm solid var(--pale); }}
thead th {{ color: var(--grey); font-weight: 600; }}
.numbers :is(td, th) {{ text-align: right; font-variant-numeric: tabular-nums; }}
.numbers td, .symbols td:nth-child(2) {{ white-space: nowrap; }}
.numbers :is(td, th):first-child {{ text-align: left; }}
.formulas {{ display: grid; grid-template-columns: 1fr 1fr; gap: 1.2mm 4mm; margin: 0; }}
.formulas div {{ border: .2mm solid var(--pale); padding: .8mm 2mm; overflow-x: auto; }}
.formulas dt {{ font-weight: 600; }}
.formulas dd {{ margin: 0; min-height: 9mm; }}
.grey {{ color: var(--grey); font-weight: 400; }}
code {{ font-size: .92em; }}
mjx-container[display="true"] {{ margin: .6mm 0 !important; }}
mjx-container path {{ stroke: none; }}
@media screen {{ body {{ padding: 6mm; max-width: 270mm; font-size: 11pt; }} }}
@media screen {{ .scroll {{ overflow-x: auto; }} }}
@media screen and (max-width: 700px) {{ .formulas {{ grid-template-columns: 1fr; }} }}
</style>
</head>
<body>
<main>
<h1>Multiscale Vision Transformers on one page</h1>
<p class="grey">After Fan et al., ICCV 2021, arXiv 2104.11227. {about}</p>
<h2>Six formulas <span class="grey">and the notebooks that build them</span></h2>
<dl class="formulas">
{formulas}
</dl>
<h2>The stages of {preset}</h2>
<div class="scroll"><table class="numbers">
{stages}
</table></div>
<p class="grey">{below}</p>
<h2>Symbols</h2>
<div class="scroll"><table class="symbols">
{symbols}
</table></div>
</main>
</body>
</html>
"""
HEAD = (
    "stage",
    "blocks",
    "grid",
    "tokens N",
    "channels D",
    "heads h",
    "stride of Q",
    "stride of K, V",
)
HEAD += "keys Nk", "multiply-adds", "parameters"


def page():
    """The page's text."""
    plan, account = mv.plan(mv.preset(PRESET)), mv.costs(mv.preset(PRESET))
    clip = plan.config
    about = f"{PRESET}: {clip.frames} frames of {clip.size} x {clip.size} pixels."
    below = (
        f"All together, with embedding and head: {_giga(account.macs)} multiply-adds and "
        f"{_mega(account.params)} parameters. A multiply-add counts as one. N counts the "
        "class token."
    )
    return PAGE.format(
        about=about, preset=PRESET, below=below, formulas="\n".join(map(_formula, FORMULAS)),
        stages=_table(HEAD, _stages(plan, account)), symbols=_table(*_symbols()),
    )  # fmt: skip


def _formula(formula):
    title, notebooks, tex = formula
    heading = f'{title} <span class="grey">{notebooks}</span>'
    return f"<div><dt>{heading}</dt><dd>$${html.escape(tex)}$$</dd></div>"


def _stages(plan, account):
    for number in sorted({block.stage for block in plan.blocks}):
        blocks = [block for block in plan.blocks if block.stage == number]
        lines = [line for line in account.lines if line.stage == number]
        first, last = blocks[0], blocks[-1]
        sizes = [_times(last.thw_q), f"{last.tokens_q:,}", last.dim_attn, last.heads]
        strides = [_times(first.pool_q.stride) if first.pool_q else "none"]
        strides += [_times(last.pool_kv.stride) if last.pool_kv else "none"]
        bill = [_giga(sum(s.macs for s in lines)), _mega(sum(s.params for s in lines))]
        yield [number + 1, len(blocks), *sizes, *strides, f"{last.tokens_kv:,}", *bill]


def _symbols():
    """(head, rows) of the table of docs/notation.md, without its last columns."""
    lines = (HERE / "notation.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")][:3]
             for line in lines if line.startswith("|")]  # fmt: skip
    head, _, *rows = cells
    return head, [[_code(cell) for cell in row] for row in rows]


def _code(cell):
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(cell))


def _table(head, rows):
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "\n".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<thead><tr>{top}</tr></thead>\n<tbody>\n{body}\n</tbody>"


def _times(numbers):
    return " &times; ".join(map(str, numbers))


def _giga(value):
    return f"{digits(value / 1e9, least=1, most=2)} G"


def _mega(value):
    return f"{digits(value / 1e6, least=1, most=2)} M"


if __name__ == "__main__":
    (HERE / "handout.html").write_text(page(), encoding="utf-8")
