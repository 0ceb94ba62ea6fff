"""What all tests share."""

import os

# One thread a product: the arrays are small, and several threads on a busy machine run such code ten times slower.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pytest


@pytest.fixture
def rng():
    return np.random.default_rng(0)
