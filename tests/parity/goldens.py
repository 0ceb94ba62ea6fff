"""Writes the golden files: what torchvision computes, so that parity is checked where there is no
torch.

Run `PYTHONPATH=tests/support python tests/parity/goldens.py` after a change of `GOLDEN` or of how
`draws` draws, and only then.

A file holds the seed of the weights and the clip, torchvision's logits, the gradient of the first
clip whole, and of every parameter's gradient one number: its product with a random array of its
shape.
"""

from pathlib import Path

import numpy as np
from draws import draw, draw_clip, draw_cotangent, draw_params

import mvit_np as mv

FOLDER = Path(__file__).parent / "golden"

_SMALL = dict(frames=4, size=(16, 24), num_classes=5, dim=8, depths=(1, 2), stride_kv=(1, 2, 2))
GOLDEN = {
    "mvit": mv.MViTConfig(**_SMALL, heads=2),
    "mvitv2": mv.MViTConfig(
        **_SMALL,
        pool_q_always=True,
        positions="relative",
        residual_pooling="tokens",
        expand_in="attention",
    ),
}


def drawn(config, seed):
    """(parameters, clip, cotangent) of a golden file."""
    return draw_params(config, seed), draw_clip(config, seed), draw_cotangent(config, seed)


def projections(gradients, seed):
    """{path: <gradient, random array>}, one number for each parameter."""
    every = {
        path: (g * draw(seed, f"along {path}", g.shape)).sum() for path, g in gradients.items()
    }
    return {path: number for path, number in every.items() if path != "clip"}


def write(name, config, seed):
    import torch_models  # only the writing needs torch

    params, clip, cotangent = drawn(config, seed)
    logits, gradients = torch_models.logits_and_gradients(params, clip, config, cotangent)
    along = projections(gradients, seed)
    np.savez_compressed(
        FOLDER / f"{name}.npz",
        seed=seed,
        logits=logits,
        clip_gradient=gradients["clip"][0],
        paths=np.array(list(along)),
        projections=np.array(list(along.values())),
        made_by=f"torch {torch_models.torch.__version__}",
    )


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for seed, (name, config) in enumerate(GOLDEN.items(), 1):
        write(name, config, seed)
        print(f"{name}.npz: {(FOLDER / name).with_suffix('.npz').stat().st_size:,} bytes")
