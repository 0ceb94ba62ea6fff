"""The demo: a small MViT learns on real video which way the picture moves, and shows that it needs the order of frames.

Nothing here prints; `cli` drives it and shows the progress.
"""

from __future__ import annotations

import csv
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from ..autodiff.gradcheck import gradcheck
from ..backend.arrays import from_host, to_device, to_host
from ..backend.outputs import LEDGER, carries, claim, make_folder, own, write
from ..backend.random import default_rng
from ..data import LABELS, shuffle_frames
from ..model.costs import costs
from ..model.forward import forward, init, predict
from ..model.inspection import class_attention
from ..model.plan import plan
from ..model.text_table import si_prefix
from ..ops import cross_entropy
from ..weights import save
from ..weights.about import About
from ..weights.load import MODEL
from . import fit, warmup_cosine
from .metrics import METRICS

TAU = 1.8  # of 1/30 s: between every frame (1.2) and every second frame (2.4) of films of 25 frames a second
ABOUT = About(classes=LABELS, tau=TAU, normalise="clip")
FIGURES = "stages.png", "training.png", "attention.png", "pooling_attention.png"
CONFIG = "config.json"
WRITTEN = METRICS, MODEL, CONFIG, *FIGURES
FIELDS = ("step", "seconds", "loss", "accuracy", "learning_rate", "clips_per_s", "test_accuracy")


@dataclass(frozen=True)
class Settings:
    """How the demo trains."""

    epochs: int = 1
    batch: int = 32
    lr: float = 1.5e-3  # at its peak
    warmup: float = 0.1  # of all steps
    weight_decay: float = 0.05
    tests: int = 5  # times the model is tested along the way
    seed: int = 0
    device: str = "cpu"

    def steps(self, clips):
        """Training steps for so many clips."""
        return self.epochs * (clips // self.batch)


def training(clips, config, settings):
    """Train on `MotionClips`; yields (row of `FIELDS`, parameters) after every step. Time spent on tests is not counted."""
    steps = settings.steps(len(clips.train_clips))
    tests_at = {round(steps * k / settings.tests) for k in range(1, settings.tests + 1)}
    rng = np.random.default_rng(settings.seed)
    params = to_device(init(config, rng), settings.device)
    like = params["head"]["w"]
    masks = default_rng(settings.seed, like)

    def loss(params, batch):
        logits = forward(params, from_host(batch[0], like), config, rng=masks)
        return cross_entropy(logits, from_host(batch[1], like)), (logits, batch[1])

    def lr(step):
        return warmup_cosine(step, steps, settings.lr, warmup=int(settings.warmup * steps))

    start = time.perf_counter()
    for step in fit(loss, params, _batches(clips, settings, rng), lr=lr, weight_decay=settings.weight_decay):
        row = _row(step, time.perf_counter() - start, settings.batch)
        if row["step"] in tests_at:
            before = time.perf_counter()
            row["test_accuracy"] = accuracy(step.params, clips.test_clips, clips.test_labels, config)
            start += time.perf_counter() - before
        yield row, step.params


def _batches(clips, settings, rng):
    """(clips, labels) on the host, in a new order each epoch; what is left at an epoch's end is not used."""
    count, size = len(clips.train_clips), settings.batch
    for _ in range(settings.epochs):
        order = rng.permutation(count)
        for start in range(0, count - size + 1, size):
            chosen = order[start : start + size]
            yield clips.train_clips[chosen], clips.train_labels[chosen]


def _row(step, seconds, batch):
    """One line of metrics.csv."""
    logits, labels = step.aux
    return {
        "step": step.index + 1,
        "seconds": seconds,
        "loss": float(step.loss),
        "accuracy": float((to_host(logits).argmax(-1) == labels).mean()),
        "learning_rate": step.lr,
        "clips_per_s": (step.index + 1) * batch / seconds,
        "test_accuracy": None,
    }


def accuracy(params, clips, labels, config):
    """The share of clips whose label scores highest."""
    logits = predict(params, from_host(clips, params["head"]["w"]), config)
    return float((to_host(logits).argmax(-1) == labels).mean())


def evaluate(params, clips, config, seed=0):
    """Accuracy on unseen shots, with the frames in order and shuffled (Table 9)."""
    shuffled = shuffle_frames(clips.test_clips, np.random.default_rng(seed))
    return {
        "test_accuracy": accuracy(params, clips.test_clips, clips.test_labels, config),
        "shuffled_accuracy": accuracy(params, shuffled, clips.test_labels, config),
    }


def check_trained(params, clips, config):
    """The gradient check of the trained model: every parameter and the clip, on two test clips, in float64."""
    from ..backend import tree as trees

    params = trees.map(lambda p: p.astype(np.float64), to_host(params))
    two = clips.test_clips[:2].astype(np.float64)
    return gradcheck(lambda p, x: forward(p, x, config), params, two, name="the trained model", check=False)


def vit_beside(config):
    """A ViT for the same clips: one stage, no pooling, 8 x 8 patches of single frames, as wide as the MViT ends."""
    width = plan(config).blocks[-1].dim_attn
    return replace(
        config, cube_kernel=(1, 8, 8), cube_stride=(1, 8, 8), dim=width, heads=4, depths=(sum(config.depths),), stride_kv=None
    )


def _is_of_an_earlier_version(folder):
    """Whether a folder has no note of who wrote what, and a table with the demo's columns."""
    return not (folder / LEDGER).exists() and carries(folder / METRICS, f"{','.join(FIELDS)}\r\n".encode())


class Folder:
    """The folder that the demo writes into. Raises ValueError at once where it cannot be written, or holds files of others."""

    def __init__(self, path):
        self.path = Path(path)
        make_folder(path)
        if _is_of_an_earlier_version(self.path):
            claim(path, "demo", WRITTEN)
        own(path, "demo", WRITTEN)

    def add(self, row):
        """One more line of metrics.csv, on disk at once; the first starts the file anew."""
        path = self.path / METRICS
        if row["step"] == 1:
            write(path, ",".join(FIELDS) + "\r\n")
        with open(path, "a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, FIELDS).writerow({name: _short(value) for name, value in row.items()})

    def finish(self, rows, params, config, clips, result):
        """The checkpoint and the four figures; returns the paths written."""
        from .. import visualize

        params = to_host(params)
        save(self.path / MODEL, params, config, ABOUT)
        write(self.path / CONFIG, json.dumps(asdict(config), indent=1) + "\n")
        clip, label = _surest(params, clips, config)
        maps = class_attention(params, clip, config)
        figures = (
            visualize.stage_figure(plan(config), plan(vit_beside(config))),
            visualize.training_figure(rows, result),
            visualize.attention_figure(
                clip[0], maps, plan(config), title=f"the test clip the model is surest of: it moves {label}"
            ),
            visualize.pooling_attention_figure(_first_pooled(plan(config))),
        )
        for name, figure in zip(FIGURES, figures):
            visualize.save(figure, self.path / name)
        return [self.path / name for name in WRITTEN]


def _surest(params, clips, config):
    """The test clip that the model gets right with the widest margin, as (1, T, H, W, C), and its label in words."""
    logits = predict(params, clips.test_clips, config)
    sign = np.where(clips.test_labels == 1, 1, -1)
    best = int(((logits[:, 1] - logits[:, 0]) * sign).argmax())
    return clips.test_clips[best : best + 1], LABELS[int(clips.test_labels[best])]


def _first_pooled(p):
    """The first block whose queries are pooled."""
    return next(block for block in p.blocks if block.pool_q)


def _short(value):
    return f"{value:.6g}" if isinstance(value, float) else value


def totals(config):
    """Parameters, multiply-adds and memory of one clip, two lines."""
    account = costs(config)
    factor, prefix = si_prefix(account.macs)
    return (
        f"{account.params:,} parameters, {account.macs / factor:.2f} {prefix} multiply-adds a clip\n"
        f"{account.activation_bytes / 1e6:.2f} MB kept a clip in training, "
        f"largest attention {account.attention_bytes / 1e6:.2f} MB"
    )
