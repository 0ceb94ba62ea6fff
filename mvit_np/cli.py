"""The command line: `mvit-np demo | info | check`. The only file that prints."""

from __future__ import annotations

import argparse
import sys
import time

from threadpoolctl import threadpool_limits
from tqdm import tqdm

from . import __version__, plan
from .presets import PRESETS, preset

BAR = "{percentage:3.0f}%|{bar}| {rate_fmt}, {remaining} left{postfix}"  # with loss and accuracies within 80 columns


def main(argv=None):
    """Run one command; the exit code is 0, 1 where a check failed, 2 for a mistake of the user's (one sentence says which)."""
    arguments = _parser().parse_args(argv)
    try:
        # These models are small: with several BLAS threads a step takes ten times as long where the machine is busy.
        with threadpool_limits(1, user_api="blas"):
            return arguments.run(arguments)
    except (ValueError, TypeError, OSError, ImportError) as mistake:
        print(f"mvit-np: {mistake}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("mvit-np: stopped", file=sys.stderr)
        return 130


def _parser():
    parser = argparse.ArgumentParser(prog="mvit-np", description="Multiscale Vision Transformers as explicit array maths.")
    parser.add_argument("--version", action="version", version=f"mvit-np {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="train a small MViT on real video: which way does the picture move?")
    demo.add_argument("--out", default="mvit_demo", help="folder for figures, metrics and the model (%(default)s)")
    demo.add_argument("--epochs", type=_count, default=1, help="passes over the training clips (%(default)s)")
    demo.add_argument("--seed", type=int, default=0, help="of the weights and the order of clips (%(default)s)")
    demo.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (%(default)s)")
    demo.set_defaults(run=_demo)

    info = commands.add_parser("info", help="the stage table and the totals of a preset")
    info.add_argument("preset", metavar="PRESET", help=", ".join(PRESETS))
    info.add_argument("--figures", metavar="FOLDER", help="also draw its stages and its pooling attention there")
    info.set_defaults(run=_info)

    check = commands.add_parser("check", help="check every gradient against finite differences, a line each")
    check.add_argument("--verbose", action="store_true", help="show the whole report of every check")
    check.set_defaults(run=_check)
    return parser


def _count(text):
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number >= 1, came {text!r}")
    return int(text)


# -- info and check ---------------------------------------------------------------------------------------------------


def _info(arguments):
    from .demo import totals, vit_beside

    config = preset(arguments.preset)
    published = PRESETS[arguments.preset]
    print(f"{arguments.preset}: {published.about}\n\n{plan(config)}\n\n{totals(config)}")
    if arguments.figures:
        baseline = preset("vit_b_8f") if config.size == 224 else vit_beside(config)
        for path in _figures(arguments.figures, arguments.preset, config, baseline):
            print(path)
    return 0


def _figures(folder, name, config, baseline):
    from . import visualize

    p = plan(config)
    yield visualize.save(visualize.stage_figure(p, plan(baseline)), f"{folder}/{name}_stages.png")
    if pooled := [block for block in p.blocks if block.pool_q]:
        figure = visualize.pooling_attention_figure(pooled[0])
        yield visualize.save(figure, f"{folder}/{name}_pooling_attention.png")


def _check(arguments):
    from .checks import all_cases

    start, failed, count = time.perf_counter(), 0, 0
    for case in all_cases():
        for dtype in ("float64", "float32"):
            report = case.check(dtype, check=False)
            print(report if arguments.verbose or not report.passed else report.summary(), flush=True)
            failed, count = failed + (not report.passed), count + len(report.checks)
    verdict = f"{failed} FAILED" if failed else "all agree with finite differences"
    print(f"{count} directional derivatives in {time.perf_counter() - start:.1f} s: {verdict}")
    return 1 if failed else 0


# -- demo -------------------------------------------------------------------------------------------------------------


def _demo(arguments):
    from . import demo
    from .backend import to_device

    start = time.perf_counter()
    settings = demo.Settings(epochs=arguments.epochs, seed=arguments.seed, device=arguments.device)
    config = preset("mvit_micro")
    to_device([], settings.device)
    folder = demo.Folder(arguments.out)
    clips = _clips()
    rows, params = _train(demo, clips, config, settings, folder)
    if not rows:
        print("mvit-np: stopped before the first step, nothing was learned", file=sys.stderr)
        return 130

    result = demo.evaluate(params, clips, config)
    paths = folder.finish(rows, params, config, clips, result)
    report = demo.check_trained(params, clips, config)
    print(f"\n{plan(config)}\n\n{demo.totals(config)}\n")
    print(f"accuracy on unseen shots        {result['test_accuracy']:6.1%}  after {rows[-1]['seconds']:.0f} s of training")
    print(f"the same, frames shuffled       {result['shuffled_accuracy']:6.1%}  where a coin gets 50 %")
    print(f"gradients of the trained model  {'agree' if report.passed else 'DISAGREE'} with finite differences")
    print(f"{'':30}  ({len(report.checks)} directions, worst error {report.worst.error:.0e})")
    print(f"\nwrote into {folder.path}: {', '.join(path.name for path in paths[:3])},")
    print(", ".join(path.name for path in paths[3:]))
    print(f"{time.perf_counter() - start:.0f} s in all")
    return 0 if report.passed else 1


def _clips():
    """The clips, with a word on where they come from."""
    from .data import load_motion

    films = []
    clips = load_motion(progress=films.append)
    train, test = (len(labels) // 4 for labels in (clips.train_labels, clips.test_labels))
    shots = {kind: len(set(ids.tolist())) for kind, ids in (("train", clips.train_shots), ("test", clips.test_shots))}
    print(
        f"real video: {', '.join(films)}\n"
        f"{train} clips from {shots['train']} shots to learn from, {test} from {shots['test']} other shots to test on,\n"
        "each four ways: as it is, mirrored, reversed in time, both\n"
        "task: does the picture move left or right?"
    )
    return clips


def _train(demo, clips, config, settings, folder):
    """All rows and the last parameters; Ctrl-C ends the training early and keeps both."""
    rows, params = [], None
    total = settings.steps(len(clips.train_clips)) * settings.batch
    try:
        with tqdm(total=total, unit=" clips", smoothing=0.1, dynamic_ncols=True, bar_format=BAR) as bar:
            for row, latest in demo.training(clips, config, settings):
                params = latest
                rows.append(row)
                folder.add(row)
                bar.update(settings.batch)
                _show(bar, rows)
    except KeyboardInterrupt:
        print("stopped: keeping what there is", file=sys.stderr)
    return rows, params


def _show(bar, rows):
    last = rows[-20:]
    means = {name: sum(row[name] for row in last) / len(last) for name in ("loss", "accuracy")}
    tests = [row["test_accuracy"] for row in rows if row["test_accuracy"] is not None]
    text = {"loss": f"{means['loss']:.3f}", "acc": f"{means['accuracy']:.0%}"}
    bar.set_postfix(text | ({"test": f"{tests[-1]:.0%}"} if tests else {}), refresh=False)
