"""The pictures of docs/looking.md: python docs/looking_example.py --out look --figures docs/figures

It trains the demo's model, draws a film of a street in which the camera turns left and right by
turns, and asks `mvit-np classify` for a timeline, for what speaks for a class, and for the
annotated film. The pictures, and one frame of that film, are copied into --figures.
"""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import mvit_np as mv
from mvit_np import visualize
from mvit_np.cli.classify_film import THUMBNAILS
from mvit_np.data import decode, drawn_street, frames_at
from mvit_np.data.video_write import write_video
from mvit_np.model.inspection import class_attention
from mvit_np.model.relevance import relevance

SIDE, RATE, PAN = 128, 25, 4  # pixels, frames per second, pixels from frame to frame
TURNS = 1, -1, -1, 1, -1, 1  # the way of each two seconds: 1 is to the right
COLOURS = 128  # of a stored picture, so that it is small


def film():
    """The frames of the street, two seconds for each turn."""
    for number, way in enumerate(TURNS):
        rng = np.random.default_rng(number)
        yield from drawn_street(rng, (SIDE, SIDE), 2 * RATE, way * PAN)


def command(*words):
    print("mvit-np", shlex.join(map(str, words)), flush=True)
    done = subprocess.run([sys.executable, "-m", "mvit_np", *map(str, words)], check=False)
    if done.returncode:
        sys.exit(done.returncode)


def stored(picture, path):
    """A picture with fewer colours."""
    with Image.open(picture) as found:
        found.convert("RGB").quantize(COLOURS).save(path, optimize=True)


def drawn_dark(model, street, out):
    """The timeline and the relevance once more, for the site's dark theme."""
    params, config = mv.load(model)
    result = mv.classify(model, street)
    rows = np.loadtxt(out / "street_timeline.csv", delimiter=",", skiprows=1)
    moments = (np.arange(THUMBNAILS) + 0.5) * rows[-1, 1] / THUMBNAILS
    pictures = frames_at(street, moments, cover=(SIDE, SIDE))
    right = [result.labels.index("right")]
    found = relevance(params, result.clip, config, right)[0]
    attention = class_attention(params, result.clip, config)[-1]
    with visualize.theme("dark"):
        title = f"{street.name}, {rows[-1, 1]:g} s"
        yield (
            "timeline",
            visualize.timeline_figure(rows[:, :2], rows[:, 2:], result.labels, pictures, title),
        )
        yield (
            "relevance",
            visualize.relevance_figure(result, attention, found, "right", mv.plan(config)),
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path, default="look")
    parser.add_argument("--model", type=Path, help="a trained model (default: the demo's, trained)")
    parser.add_argument("--figures", type=Path, help="where to copy the pictures to")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.model is None:
        command("demo", "--out", options.out / "demo")
        options.model = options.out / "demo" / "model.npz"
    street = options.out / "street.mp4"
    write_video(street, film(), RATE)
    drawn = ["--explain", "right", "--video", "--timeline", "--out", options.out]
    command("classify", street, "--weights", options.model, *drawn)
    if options.figures:
        for name in ("timeline", "relevance"):
            stored(options.out / f"street_{name}.png", options.figures / f"looking_{name}.png")
        for name, figure in drawn_dark(options.model, street, options.out):
            path = visualize.save(figure, options.out / f"{name}_dark.png")
            stored(path, options.figures / f"looking_{name}.dark.png")
        frame = decode(options.out / "street_annotated.mp4")[RATE]
        Image.fromarray(frame).save(options.out / "frame.png")
        stored(options.out / "frame.png", options.figures / "looking_annotated.png")


if __name__ == "__main__":
    main()
