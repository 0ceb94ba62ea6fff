"""The recipes that come with the package: the fields in which each differs from the paper's."""

from typing import Any

# Nothing is augmented, so that half a minute is enough to learn something.
PLAIN: dict[str, Any] = dict(
    model="mvit_micro", normalise="clip", crop_area=None, flip=0, rand_layers=0, erasing=0,
    repeats=1, mixup=0, cutmix=0, mix_p=0, smoothing=0, batch=32, lr=1.5e-3, lr_batch=32,
    start_lr=0, end_lr=1.5e-5, views=(1, 1),
)  # fmt: skip

# From a released model to other films: few steps, small batches, and what was learned moves little.
TRANSFER: dict[str, Any] = dict(
    crop_area=(0.4, 1.0), rand_layers=2, repeats=1, mixup=0.0, cutmix=0.0, erasing=0.0, epochs=10.0,
    batch=8, lr=5e-4, lr_batch=8, start_lr=1e-5, end_lr=1e-6, warmup=1.0, test_every=1.0,
    views=(1, 1),
)  # fmt: skip

RECIPES: dict[str, dict[str, Any]] = {
    # Kinetics-400 on 128 GPUs: give `data` and `tests`.
    "paper": {},
    # Which way the picture of a film goes: `mvit-np demo`.
    "demo": PLAIN | dict(
        data="street", epochs=1.0, warmup=0.1, test_every=0.21, save_minutes=1.0,
    ),
    # Eight directions of moving digits: under a minute on two cores.
    "small": dict(
        model="mvit_micro", data="moving_digits", normalise="clip", crop_area=(0.6, 1.0),
        rand_layers=2, erasing=0.1, repeats=1, mixup=0.2, epochs=4.0, batch=32, lr=1.5e-3,
        lr_batch=32, start_lr=0.0, end_lr=1.5e-5, warmup=0.5, ema=0.99, test_every=1.0,
        views=(1, 1), save_minutes=1.0,
    ),
    # The same task in 64 x 64 pixels, 3.0 M parameters: a few minutes on a large GPU.
    "gpu": dict(
        model="mvit_micro", model_fields={"size": 64, "dim": 64, "depths": (1, 2, 3)},
        data="moving_digits_64", crop_area=None, rand_layers=0, erasing=0.1, repeats=1, mixup=0.0,
        cutmix=0.0, epochs=40.0, batch=128, lr=1e-3, lr_batch=128, start_lr=0.0, end_lr=1e-5,
        warmup=2.0, ema=0.999, test_every=4.0, views=(1, 1), device="cuda", precision="tf32",
        graph=True, save_minutes=1.0,
    ),
    # The head alone, from features that are computed once.
    "probe": TRANSFER | dict(
        probe=True, crop_area=None, flip=0.0, rand_layers=0, smoothing=0.0, epochs=100.0, lr=1e-3,
        start_lr=0.0, weight_decay=0.0, warmup=1.0, test_every=25.0, model_fields={"dropout": 0.0},
    ),
    # All from the last stage on; `mvit-np finetune` says which blocks that are.
    "freeze": TRANSFER | dict(freeze=("patch_embed.*",)),
    # All of it, each block more slowly than the next.
    "full": TRANSFER | dict(layer_decay=0.75),
    # A few steps with everything switched on: seconds, learns nothing.
    "smoke": dict(
        model="mvit_micro", model_fields={"dim": 8, "depths": (1, 1)}, data="moving_digits",
        train_clips=64, test_clips=16, normalise="clip", repeats=2, epochs=1.0, batch=8,
        accumulate=2, lr=1e-3, lr_batch=8, start_lr=0.0, end_lr=1e-5, warmup=0.25, ema=0.9,
        layer_decay=0.9, test_every=1.0, views=(1, 1), save_steps=2, workers=1,
    ),
}  # fmt: skip
