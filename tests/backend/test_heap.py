"""Freed memory stays with the process: page faults are counted in processes of their own."""

import os
import subprocess
import sys

import pytest

from mvit_np.backend.heap import ENVIRONMENT

pytest.importorskip("resource", reason="it counts page faults: Windows has none")

CODE = """
import resource
import numpy as np
from mvit_np.backend import tiles
from mvit_np.backend.heap import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    large = [np.ones(1 << 20, np.uint8) for _ in range(80)]
    del large
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

first = [faults(), faults()][1]
tiles.run(len, ["ab", "c"])
print(first, [faults(), faults()][1], keep_freed_memory())
"""


def counted(**environment):
    """(faults before tiles ran, faults after, whether memory is kept)"""
    clean = {name: value for name, value in os.environ.items() if name not in ENVIRONMENT}
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True,
        text=True,
        check=True,
        env=clean | environment,
    )
    before, after, kept = done.stdout.split()
    return int(before), int(after), kept == "True"


def test_freed_arrays_are_not_fetched_again():
    """80 MiB, more than glibc's threshold can reach by itself."""
    before, after, kept = counted()
    if not kept:
        pytest.skip("memory is kept by glibc alone")
    assert after < 100 < before


def test_the_environment_has_the_last_word():
    assert not counted(MALLOC_TRIM_THRESHOLD_="131072")[2]
