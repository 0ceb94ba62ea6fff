"""What all tests share."""

import os
import subprocess
import sys

# One thread a product: the arrays are small, and several threads on a busy machine run such code ten times slower.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pytest


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def run_python():
    """Runs a line of code in a process of its own: run_python(code, **environment)."""

    def run(code, **environment):
        return subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, timeout=60
        )

    return run
