"""`mvit-np info`: what a preset is and what it costs."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from pathlib import Path

from ..backend.outputs import carries, check_free, is_drawn_here, write
from ..backend.plain_text import plain
from ..model.plan import plan
from ..model.presets import PRESETS, preset
from .arguments import Commands, file_path

PAGE = b"Written by `mvit-np info"  # in the page of tables
FIGURES = "stages", "layers", "pooling_attention"


def add(commands: Commands) -> None:
    """The command's options."""
    parser = commands.add_parser(
        "info",
        help="list the presets; show the stage table and the cost of one; recount the paper's "
        "tables",
    )
    option = parser.add_argument
    every = f"the preset to show; without one all are listed: {', '.join(PRESETS)}"
    others = "other presets, whose costs are shown beside it"
    figures = "also draw its stages, its layers and its pooling attention into this folder"
    tables = "write the paper's tables as Markdown, into FILE if it is given"

    option("preset", metavar="PRESET", nargs="?", help=every)
    option("--compare", metavar="OTHER", nargs="+", default=[], help=others)
    option("--figures", type=file_path, metavar="FOLDER", help=figures)
    option("--tables", type=file_path, metavar="FILE", nargs="?", const="-", help=tables)
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Print a preset's table and draw its figures; or list presets; or write the paper's tables."""
    chosen, extras = arguments.preset, arguments.compare or arguments.figures
    if arguments.tables and (chosen or extras):
        raise ValueError(
            f"--tables is about all models, came with {chosen or 'more options'}: give it alone"
        )
    if extras and not chosen:
        raise ValueError(
            "--compare and --figures need a PRESET: mvit-np info mvit_b_16x4 --compare vit_b_8f"
        )
    if arguments.tables:
        _tables(arguments.tables)
    elif chosen is None:
        from ..studies.compare import presets_table

        print(presets_table())
    else:
        _one(chosen, arguments.compare, arguments.figures)
    return 0


def _tables(target):
    from ..studies.cost_page import page

    text = page()
    if target == "-":
        print(text, end="")
        return
    check_free(target, lambda path: carries(path, PAGE))
    write(target, text)
    print(plain(target))


def _one(name, others, folder):
    from ..studies.compare import comparison
    from ..train.demo import totals, vit_beside

    config = preset(name)
    figures = [Path(folder, f"{name}_{figure}.png") for figure in FIGURES] if folder else []
    for path in figures:
        check_free(path, is_drawn_here)
    beside = f"\n\n{comparison(name, others)}" if others else ""
    print(f"{name}: {PRESETS[name].about}\n\n{plan(config)}\n\n{totals(config)}{beside}")
    if folder:
        vit = replace(preset("vit_b_8f"), frames=1) if config.frames == 1 else preset("vit_b_8f")
        baseline = vit if config.size == 224 else vit_beside(config)
        for path in _drawn(figures, config, baseline):
            print(plain(path))


def _drawn(paths, config, baseline):
    from .. import visualize

    p = plan(config)
    yield visualize.save(visualize.stage_figure(p, plan(baseline)), paths[0])
    yield visualize.save(visualize.layer_table_figure(p), paths[1])
    if pooled := [block for block in p.blocks if block.pool_q]:
        yield visualize.save(visualize.pooling_attention_figure(pooled[0]), paths[2])
