"""`mvit-np demo`: train a small MViT on real video in front of the user."""

from __future__ import annotations

import sys
import time
from argparse import Namespace

from tqdm import tqdm

from ..backend.arrays import to_device
from ..backend.plain_text import plain
from ..model.plan import plan
from ..train import demo
from ..train.run.training import train
from .arguments import Commands, count, file_path
from .terminal import BAR, RECENT, tell


def add(commands: Commands) -> None:
    """The command's options."""
    parser = commands.add_parser(
        "demo", help="train a small MViT on real video: which way does the picture move?"
    )
    option = parser.add_argument
    out = "folder for figures, metrics and the model (%(default)s)"
    seed = "seed of the weights and of the order of the clips (%(default)s)"

    option("--out", type=file_path, default="mvit_demo", help=out)
    option("--epochs", type=count, default=1, help="passes over the training clips (%(default)s)")
    option("--seed", type=int, default=0, help=seed)
    option("--device", default="cpu", help="cpu, cuda or cuda:N (%(default)s)")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Train, test, draw, save; exit code 1 where the trained model's gradients disagree."""
    start = time.perf_counter()
    recipe = demo.recipe_of(arguments.epochs, arguments.seed, arguments.device)
    to_device([], recipe.device)
    folder = demo.Folder(arguments.out)
    training = demo.training(_clips(), recipe)
    rows, params = _train(training, folder)
    if not rows:
        tell("stopped before the first step, nothing was learned")
        return 130

    config = training.task.config
    result = demo.tested(params, training)
    paths = folder.finish(params, training, result)
    report = demo.check_trained(params, training)
    print(f"\n{plan(config)}\n\n{demo.totals(config)}\n")
    seconds, verdict = rows[-1]["seconds"], "agree" if report.passed else "DISAGREE"
    whole, shuffled = result["test_accuracy"], result["shuffled_accuracy"]
    print(f"accuracy on unseen shots        {whole:6.1%}  after {seconds:.0f} s of training")
    print(f"the same, frames shuffled       {shuffled:6.1%}  (guessing: 50 %)")
    print(f"gradients of the trained model  {verdict} with finite differences")
    print(f"{'':30}  ({len(report.checks)} directions, worst error {report.worst.error:.0e})")
    print(f"\nwrote into {plain(folder.path)}: {', '.join(path.name for path in paths[:3])},")
    print(", ".join(path.name for path in paths[3:]))
    print(f"{time.perf_counter() - start:.0f} s in all")
    return 0 if report.passed else 1


def _clips():
    """The clips, with a word on where they come from."""
    from ..data import load_motion

    films: list[str] = []
    clips = load_motion(progress=films.append)
    train, test = (len(labels) // 4 for labels in (clips.train_labels, clips.test_labels))
    shots, others = (len(set(ids.tolist())) for ids in (clips.train_shots, clips.test_shots))
    print(
        f"real video: {', '.join(films)}\n"
        f"{train} clips from {shots} shots to learn from, "
        f"{test} from {others} other shots to test on,\n"
        "each clip in four ways: as it is, mirrored, reversed in time, both\n"
        "task: does the picture move left or right?"
    )
    return clips


def _train(training, folder):
    """All rows and the last parameters; Ctrl-C ends the training early and keeps both."""
    rows, params, batch = [], None, training.recipe.batch
    drawn = {"unit": " clips", "bar_format": BAR, "smoothing": 0.1, "dynamic_ncols": True}
    try:
        with tqdm(total=training.steps * batch, **drawn) as bar:
            for taken in train(training):
                params = taken.state.params
                rows.append(taken.row)
                folder.add(taken.row)
                bar.update(batch)
                _show(bar, rows)
    except KeyboardInterrupt:
        print("stopped: keeping what there is", file=sys.stderr)
    return rows, params


def _show(bar, rows):
    last = rows[-RECENT:]
    means = {name: sum(row[name] for row in last) / len(last) for name in ("loss", "accuracy")}
    tests = [row["test_accuracy"] for row in rows if row["test_accuracy"] is not None]
    text = {"loss": f"{means['loss']:.3f}", "acc": f"{means['accuracy']:.0%}"}
    bar.set_postfix(text | ({"test": f"{tests[-1]:.0%}"} if tests else {}), refresh=False)
