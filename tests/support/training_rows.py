"""Rows of a training that never was, as `metrics.csv` has them."""

import numpy as np


def training_rows(count):
    rng = np.random.default_rng(0)
    for step in range(1, count + 1):
        row = {
            "step": step,
            "seconds": 0.2 * step,
            "loss": 0.7 / step,
            "accuracy": rng.uniform(0.4, 1),
        }
        row |= {"learning_rate": 1e-3, "clips_per_s": 160.0}
        yield row | ({"test_accuracy": 0.9 if step % 10 == 0 else None} if step % 2 == 0 else {})
