"""`mvit-np info`: what a preset is and what it costs."""

from __future__ import annotations

from .. import plan
from ..presets import PRESETS, preset


def add(commands):
    """The command's options."""
    parser = commands.add_parser("info", help="the stage table and the totals of a preset")
    parser.add_argument("preset", metavar="PRESET", help=", ".join(PRESETS))
    parser.add_argument("--figures", metavar="FOLDER", help="also draw its stages and its pooling attention there")
    parser.set_defaults(run=run)


def run(arguments):
    """Print the table, draw the figures."""
    from ..demo import totals, vit_beside

    config = preset(arguments.preset)
    published = PRESETS[arguments.preset]
    print(f"{arguments.preset}: {published.about}\n\n{plan(config)}\n\n{totals(config)}")
    if arguments.figures:
        baseline = preset("vit_b_8f") if config.size == 224 else vit_beside(config)
        for path in _figures(arguments.figures, arguments.preset, config, baseline):
            print(path)
    return 0


def _figures(folder, name, config, baseline):
    from .. import visualize

    p = plan(config)
    yield visualize.save(visualize.stage_figure(p, plan(baseline)), f"{folder}/{name}_stages.png")
    if pooled := [block for block in p.blocks if block.pool_q]:
        figure = visualize.pooling_attention_figure(pooled[0])
        yield visualize.save(figure, f"{folder}/{name}_pooling_attention.png")
